//! Stateful reconnect: each message once and in order, though the connection below was replaced.
//!
//! Both sides number what they send, from 1, without writing the numbers down: messages come in order, so counting them is
//! enough. The sender keeps what is not acknowledged. On a new connection each side first says with `Sequence` at which number
//! it goes on, and then sends again what it kept; the receiver knows what it has by the number.
//!
//! The prose of the specification has `Sequence` say the number after the last one ever sent. The clients of Microsoft, and its
//! server, say the number of the first message that they send again, which is what makes the count right; so do we.

use crate::error::SequenceError;
use crate::message::Message;
use bytes::Bytes;
use std::collections::VecDeque;

/// What was sent and not acknowledged, for one connection.
#[derive(Debug)]
pub struct Outbox {
    /// Framed messages; the first has the number `first`.
    messages: VecDeque<Bytes>,
    first: u64,
    bytes: usize,
    limit: usize,
}

impl Outbox {
    /// An outbox that is full from `limit` bytes on.
    pub fn new(limit: usize) -> Self {
        Self { messages: VecDeque::new(), first: 1, bytes: 0, limit }
    }

    /// Keeps a framed message that is being sent. It must be one that is [sequenced](Message::is_sequenced), and all of them
    /// must be pushed in the order in which they are sent.
    pub fn push(&mut self, framed: impl Into<Bytes>) {
        let framed = framed.into();
        self.bytes += framed.len();
        self.messages.push_back(framed);
    }

    /// Forgets what the peer has received: everything up to `sequence`. An acknowledgement that comes again changes nothing.
    ///
    /// # Errors
    /// The peer acknowledges what was never sent; its count cannot be relied on.
    pub fn acked(&mut self, sequence: u64) -> Result<(), SequenceError> {
        let sent = self.next() - 1;
        if sequence > sent {
            return Err(SequenceError::AckAhead { acked: sequence, sent });
        }
        while self.first <= sequence
            && let Some(message) = self.messages.pop_front()
        {
            self.bytes -= message.len();
            self.first += 1;
        }
        if self.messages.is_empty() {
            // A connection that is quiet holds no memory of its busiest moment.
            self.messages = VecDeque::new();
        }
        Ok(())
    }

    /// Whether nothing more should be sent until the peer acknowledges. One message always fits, so the limit can be passed by
    /// one message.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.limit
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What a new connection is sent before anything else: `Sequence` with this number, and then these messages.
    pub fn replay(&self) -> (u64, impl ExactSizeIterator<Item = &Bytes>) {
        (self.first, self.messages.iter())
    }

    /// The number of the next message.
    fn next(&self) -> u64 {
        self.first + self.messages.len() as u64
    }
}

/// What was received, for one connection.
#[derive(Debug, Clone)]
pub struct Inbox {
    /// The number of the next message that comes.
    next: u64,
    /// The highest number that came.
    received: u64,
    /// What the peer was last told.
    told: u64,
    /// After a reconnect, until the peer says where it goes on.
    waits: bool,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { next: 1, received: 0, told: 0, waits: false }
    }
}

impl Inbox {
    /// Nothing was received.
    pub fn new() -> Self {
        Self::default()
    }

    /// The connection below was replaced: until `Sequence` comes nothing counts.
    pub fn reconnected(&mut self) {
        self.waits = true;
        // The last acknowledgement may have been lost, and without one the peer would keep what it has.
        self.told = 0;
    }

    /// Counts a message, and says whether it is to be looked at: not if it was received before the reconnect, and not if it
    /// comes before the peer said where it goes on. A [`Message::Sequence`] is to be looked at, by
    /// [`on_sequence`](Self::on_sequence).
    pub fn accepts(&mut self, message: &Message) -> bool {
        if self.waits {
            return matches!(message, Message::Sequence { .. });
        }
        if !message.is_sequenced() {
            return true;
        }
        let number = self.next;
        self.next += 1;
        if number <= self.received {
            return false;
        }
        self.received = number;
        true
    }

    /// The peer goes on at this number.
    ///
    /// # Errors
    /// There would be a gap, or the number is none; the connection cannot go on.
    pub fn on_sequence(&mut self, sequence: u64) -> Result<(), SequenceError> {
        if sequence == 0 {
            return Err(SequenceError::Zero);
        }
        if sequence > self.received + 1 {
            return Err(SequenceError::Gap { begins: sequence, received: self.received });
        }
        self.next = sequence;
        self.waits = false;
        Ok(())
    }

    /// What to acknowledge, if there is anything that the peer was not told. To be asked now and then, about once a second.
    pub fn ack_due(&mut self) -> Option<u64> {
        let due = !self.waits && self.received > self.told;
        due.then(|| {
            self.told = self.received;
            self.received
        })
    }
}
