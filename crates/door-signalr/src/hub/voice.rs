//! What is said to a client: messages in its protocol, kept where they may have to be said again.

use std::time::{Duration, Instant};

use bytes::Bytes;
use dovetail_api::problem::Problem;
use dovetail_signalr_proto::encode::{self, Outcome};
use dovetail_signalr_proto::{Inbox, Message, Outbox, Protocol, SequenceError};

use crate::counters::Tally;

/// After how long what was received is acknowledged.
const ACK_AFTER: Duration = Duration::from_secs(1);
/// Or after how many messages: a client stops sending when much of it is not acknowledged.
const ACK_MESSAGES: u32 = 16;
/// Bytes beyond the limit at which a connection is given up: a client that asks and does not acknowledge the answers.
const UNACKNOWLEDGED_BYTES: usize = 16 << 20;

/// What is said, and in which protocol.
pub(crate) struct Voice {
    pub(crate) protocol: Protocol,
    resending: Option<Box<Resending>>,
}

/// Stateful reconnect: what was sent and what was received.
struct Resending {
    outbox: Outbox,
    inbox: Inbox,
    limit: usize,
    /// Messages received since the last acknowledgement.
    unacknowledged: u32,
    ack_at: Option<Instant>,
}

impl Voice {
    pub(crate) fn new(protocol: Protocol) -> Self {
        Self { protocol, resending: None }
    }

    /// From now on everything is kept until it is acknowledged; more than `limit` bytes hold the feeds back.
    pub(crate) fn resend(&mut self, limit: usize) {
        self.resending = Some(Box::new(Resending {
            outbox: Outbox::new(limit),
            inbox: Inbox::new(),
            limit,
            unacknowledged: 0,
            ack_at: None,
        }));
    }

    /// Whether the connection can go on with another socket.
    pub(crate) fn resends(&self) -> bool {
        self.resending.is_some()
    }

    /// Whether nothing more should be said until the client acknowledges.
    pub(crate) fn is_full(&self) -> bool {
        self.resending.as_ref().is_some_and(|resending| resending.outbox.is_full())
    }

    /// Whether more is not acknowledged than can be kept.
    pub(crate) fn is_overfull(&self) -> bool {
        let is_over = |resending: &Resending| {
            resending.outbox.bytes() > resending.limit.saturating_add(UNACKNOWLEDGED_BYTES)
        };
        self.resending.as_deref().is_some_and(is_over)
    }

    /// Appends an item of a stream.
    pub(crate) fn item(&mut self, out: &mut Vec<u8>, tally: &Tally, id: &str, item: &[u8]) {
        self.say(out, tally, |protocol, out| encode::stream_item(protocol, out, id, item));
    }

    /// Appends a call of a method of the client, which does not answer.
    pub(crate) fn call(&mut self, out: &mut Vec<u8>, tally: &Tally, target: &str, arguments: &[&[u8]]) {
        self.say(out, tally, |protocol, out| encode::invocation(protocol, out, None, target, arguments));
    }

    /// Appends the end of an invocation that gives nothing.
    pub(crate) fn done(&mut self, out: &mut Vec<u8>, tally: &Tally, id: &str) {
        self.complete(out, tally, id, Outcome::Void);
    }

    /// Appends the result of an invocation, which is one JSON value.
    pub(crate) fn result(&mut self, out: &mut Vec<u8>, tally: &Tally, id: &str, json: &[u8]) {
        match self.protocol {
            Protocol::Json => self.complete(out, tally, id, Outcome::Value(json)),
            Protocol::MessagePack => {
                let mut packed = Vec::with_capacity(json.len());
                super::transcode(json, &mut packed);
                self.complete(out, tally, id, Outcome::Value(&packed));
            }
        }
    }

    /// Appends that an invocation failed.
    pub(crate) fn failed(&mut self, out: &mut Vec<u8>, tally: &Tally, id: &str, problem: &Problem) {
        let mut text = Vec::with_capacity(256);
        problem.encode(&mut text);
        self.complete(out, tally, id, Outcome::Error(&String::from_utf8_lossy(&text)));
    }

    fn complete(&mut self, out: &mut Vec<u8>, tally: &Tally, id: &str, outcome: Outcome<'_>) {
        self.say(out, tally, |protocol, out| encode::completion(protocol, out, id, outcome));
    }

    fn say(&mut self, out: &mut Vec<u8>, tally: &Tally, encode: impl FnOnce(Protocol, &mut Vec<u8>)) {
        let start = out.len();
        encode(self.protocol, out);
        tally.messages_sent.add(1);
        if let Some(resending) = &mut self.resending {
            resending.outbox.push(Bytes::copy_from_slice(&out[start..]));
        }
    }

    /// Whether a message is new.
    pub(crate) fn accepts(&mut self, message: &Message, now: Instant) -> bool {
        let Some(resending) = self.resending.as_deref_mut() else { return true };
        if message.is_sequenced() {
            resending.unacknowledged += 1;
            resending.ack_at.get_or_insert(now + ACK_AFTER);
        }
        resending.inbox.accepts(message)
    }

    /// The client has received everything up to here. Without stateful reconnect that means nothing.
    pub(crate) fn on_ack(&mut self, sequence: u64) -> Result<(), SequenceError> {
        self.resending.as_mut().map_or(Ok(()), |resending| resending.outbox.acked(sequence))
    }

    /// The client goes on from here.
    pub(crate) fn on_sequence(&mut self, sequence: u64) -> Result<(), SequenceError> {
        self.resending.as_mut().map_or(Ok(()), |resending| resending.inbox.on_sequence(sequence))
    }

    /// When an acknowledgement is due.
    pub(crate) fn ack_at(&self) -> Option<Instant> {
        self.resending.as_ref()?.ack_at
    }

    /// Appends an acknowledgement, if it is time.
    pub(crate) fn acknowledge(&mut self, out: &mut Vec<u8>, now: Instant) {
        let protocol = self.protocol;
        let Some(resending) = self.resending.as_deref_mut() else { return };
        let is_due = resending.ack_at.is_some_and(|at| at <= now);
        if !is_due && resending.unacknowledged < ACK_MESSAGES {
            return;
        }
        (resending.ack_at, resending.unacknowledged) = (None, 0);
        if let Some(sequence) = resending.inbox.ack_due() {
            encode::ack(protocol, out, sequence);
        }
    }

    /// Appends what a new socket is sent first: where we go on, and what was not acknowledged.
    pub(crate) fn go_on(&mut self, out: &mut Vec<u8>) {
        let protocol = self.protocol;
        let Some(resending) = self.resending.as_deref_mut() else { return };
        resending.inbox.reconnected();
        let (first, messages) = resending.outbox.replay();
        encode::sequence(protocol, out, first);
        for message in messages {
            out.extend_from_slice(message);
        }
    }
}
