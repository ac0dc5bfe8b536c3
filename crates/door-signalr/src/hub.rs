//! A hub connection without what carries its bytes.
//!
//! It takes bytes of the client as they come ([`Hub::receive`]) and appends what there is to say when somebody takes it
//! ([`Hub::write`]). While nobody does it makes nothing: its feeds hold positions, its calls their answers.

mod dispatch;
mod uploads;
mod voice;
mod watches;

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use dovetail_auth::Principal;
use dovetail_calls::{Queue, Refusal, Reply, frame};
use dovetail_engine::{FeedId, Item};
use dovetail_model::limits;
use dovetail_signalr_proto::{Decoder, Protocol, encode, handshake, handshake_response, to_messagepack};

use crate::Local;
use uploads::Upload;
use voice::Voice;
use watches::{Told, Watches};

/// The client's method that subscriptions call.
const CHANGED: &str = "Changed";
/// Bytes at which no further item is taken from the feeds in one turn.
const OUTPUT_BYTES: usize = 64 << 10;
/// Bytes of answers given at once that are not taken yet, at which nothing more is read.
const EARLY_BYTES: usize = 256 << 10;

/// One hub connection.
pub(crate) struct Hub {
    local: Rc<Local>,
    principal: Principal,
    traits: Traits,
    stage: Stage,
    queue: Queue<Tag>,
    watches: Watches,
    /// Subscriptions that there have been.
    subscriptions: u64,
    uploads: Vec<Upload>,
    voice: Voice,
    /// What was answered at once and is not taken yet.
    early: Vec<u8>,
    times: Times,
    ending: Option<Ending>,
    is_over: bool,
}

/// What a transport is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traits {
    /// It carries text only.
    pub(crate) is_text: bool,
    /// The client shows by its requests that it is there: neither side pings.
    pub(crate) has_polls: bool,
    /// The connection may go on with another socket.
    pub(crate) may_resend: bool,
}

/// What a call is answered to.
enum Tag {
    Invocation(Option<Box<str>>),
    /// An item of this stream.
    Item(Box<str>),
}

enum Stage {
    /// The handshake is awaited; what came of it.
    Greeting(Vec<u8>),
    Serving(Decoder),
}

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The client asked for it.
    Asked,
    /// There was no handshake that could be agreed to; it is answered.
    Unagreed,
    /// The client broke the protocol.
    Violated(String),
    /// The client fell silent.
    Silent,
    /// The server stops.
    Stopping,
}

/// What was when, and what is due.
struct Times {
    began: Instant,
    heard: Instant,
    spoke: Instant,
    /// When watches that are silent until then say how far they are.
    progress: Option<Instant>,
    is_progress_due: bool,
}

/// Whether there may be more to say at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    /// That is all until the connection is woken.
    Everything,
    /// There is more.
    Enough,
}

impl Hub {
    pub(crate) fn new(local: Rc<Local>, principal: Principal, traits: Traits) -> Self {
        let now = crate::now();
        let queue = Queue::new(local.desk.clone());
        Self {
            local,
            principal,
            traits,
            stage: Stage::Greeting(Vec::new()),
            queue,
            watches: Watches::default(),
            subscriptions: 0,
            uploads: Vec::new(),
            voice: Voice::new(Protocol::Json),
            early: Vec::new(),
            times: Times { began: now, heard: now, spoke: now, progress: None, is_progress_due: false },
            ending: None,
            is_over: false,
        }
    }

    /// Whether its messages are bytes that are no text.
    pub(crate) fn is_binary(&self) -> bool {
        self.voice.protocol.is_binary()
    }

    /// Whether it can go on with another socket when this one is lost.
    pub(crate) fn resends(&self) -> bool {
        self.voice.resends() && self.ending.is_none()
    }

    /// Whether everything was said and nothing more will be.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Why it ends, if it does.
    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Whether input can be used now.
    pub(crate) fn reads(&self) -> bool {
        self.ending.is_none() && self.queue.len() < limits::CALLS_PENDING && self.early.len() < EARLY_BYTES
    }

    /// Takes bytes of the client. What cannot be used now waits for [`Hub::go_on`].
    pub(crate) fn receive(&mut self, bytes: &[u8], now: Instant) {
        self.times.heard = now;
        self.local.tally.bytes_received.add(bytes.len() as u64);
        match &mut self.stage {
            Stage::Serving(decoder) => decoder.push(bytes),
            Stage::Greeting(received) => {
                received.extend_from_slice(bytes);
                self.greet();
            }
        }
        self.go_on(now);
    }

    /// Goes on with what was received.
    pub(crate) fn go_on(&mut self, now: Instant) {
        while self.reads() {
            let Stage::Serving(decoder) = &mut self.stage else { return };
            match decoder.next() {
                Ok(Some(message)) => self.on_message(message, now),
                Ok(None) => return,
                Err(error) => self.violated(&error),
            }
        }
    }

    /// Reads the handshake and answers it.
    fn greet(&mut self) {
        let Stage::Greeting(received) = &self.stage else { return };
        let refusal = match handshake(received) {
            Ok(None) => return,
            Ok(Some((request, _))) if request.protocol.is_binary() && self.traits.is_text => {
                format!("protocol '{}' needs a transport for binary data", request.protocol.name())
            }
            Ok(Some((request, used))) => {
                handshake_response(&mut self.early, None);
                self.voice = Voice::new(request.protocol);
                // Clients that know how to go on with another socket say so by the version.
                if self.traits.may_resend && request.version >= 2 {
                    self.voice.resend(self.local.options().resend_bytes);
                }
                let mut decoder = Decoder::new(request.protocol, self.local.options().message_bytes);
                decoder.push(&received[used..]);
                self.stage = Stage::Serving(decoder);
                self.local.tally.handshakes.add(1);
                return;
            }
            Err(error) => error.to_string(),
        };
        handshake_response(&mut self.early, Some(&refusal));
        self.end(Ending::Unagreed);
    }

    /// The server stops.
    pub(crate) fn shut_down(&mut self) {
        self.end(Ending::Stopping);
    }

    fn violated(&mut self, error: &dyn std::error::Error) {
        self.end(Ending::Violated(error.to_string()));
    }

    fn end(&mut self, ending: Ending) {
        if self.ending.is_some() {
            return;
        }
        match &ending {
            Ending::Violated(violation) => {
                self.local.tally.violations.add(1);
                tracing::debug!(violation, "a client broke the protocol");
            }
            Ending::Silent => self.local.tally.timeouts.add(1),
            Ending::Asked | Ending::Unagreed | Ending::Stopping => {}
        }
        self.ending = Some(ending);
    }

    /// Does what is due. When something is next.
    pub(crate) fn keep_time(&mut self, now: Instant) -> Option<Instant> {
        let options = &self.local.shared.options;
        let (handshake, ping, silence, progress) =
            (options.handshake, options.ping, options.silence, options.progress);
        if self.ending.is_some() {
            return None;
        }
        if let Stage::Greeting(_) = self.stage {
            let due = self.times.began + handshake;
            if due <= now {
                handshake_response(&mut self.early, Some("the handshake did not come in time"));
                self.local.tally.timeouts.add(1);
                self.end(Ending::Unagreed);
            }
            return Some(due);
        }
        if !self.reads() {
            // It is not heard for our own reasons.
            self.times.heard = now;
        }
        if self.times.progress.is_some_and(|due| due <= now) {
            self.times.is_progress_due = true;
            self.times.progress = (!self.watches.is_empty()).then_some(now + progress);
        }
        let due = [self.times.progress, self.voice.ack_at()].into_iter().flatten().min();
        if self.traits.has_polls {
            return due;
        }
        if self.times.heard + silence <= now {
            self.end(Ending::Silent);
            return None;
        }
        if self.times.spoke + ping <= now {
            encode::ping(self.voice.protocol, &mut self.early);
            self.times.spoke = now;
        }
        let lasts = (self.times.heard + silence).min(self.times.spoke + ping);
        Some(due.map_or(lasts, |due| due.min(lasts)))
    }

    pub(crate) fn expect_progress(&mut self, now: Instant) {
        self.times.progress.get_or_insert(now + self.local.options().progress);
    }

    /// Appends what there is to say, as whole messages, until `out` is long enough.
    pub(crate) fn write(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>, now: Instant) -> Said {
        let start = out.len();
        out.append(&mut self.early);
        if self.early.capacity() > OUTPUT_BYTES {
            self.early = Vec::new();
        }
        let said = match self.ending {
            None => self.go_through(cx, out, now),
            // Calls that came in are answered before the end.
            Some(Ending::Stopping) => self.settle(cx, out, false),
            Some(_) => Said::Everything,
        };
        self.say_end(out);
        if out.len() > start {
            self.times.spoke = now;
            self.local.tally.bytes_sent.add((out.len() - start) as u64);
        }
        said
    }

    /// Appends answers, what the feeds say, and what is acknowledged.
    fn go_through(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>, now: Instant) -> Said {
        let mut said = self.settle(cx, out, true);
        if self.voice.is_overfull() {
            self.end(Ending::Violated("too much is not acknowledged".to_owned()));
        }
        if std::mem::take(&mut self.times.is_progress_due) {
            self.say_progress(out);
        }
        while !self.voice.is_full() {
            if out.len() >= OUTPUT_BYTES {
                said = Said::Enough;
                break;
            }
            let Some(subscriber) = &mut self.watches.subscriber else { break };
            let Poll::Ready((feed, item)) = subscriber.poll_next(cx) else { break };
            self.tell(out, feed, &item);
        }
        self.voice.acknowledge(out, now);
        said
    }

    /// Appends answers. Where much is not acknowledged and that `matters`, one only makes room for what acknowledges it.
    fn settle(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>, matters: bool) -> Said {
        while !(matters && self.voice.is_full()) || self.queue.len() >= limits::CALLS_PENDING {
            if out.len() >= OUTPUT_BYTES {
                return Said::Enough;
            }
            let Poll::Ready((tag, answer)) = self.queue.poll_next(cx) else { break };
            self.answer(out, tag, answer);
        }
        Said::Everything
    }

    fn answer(&mut self, out: &mut Vec<u8>, tag: Tag, answer: Result<Reply, Refusal>) {
        match (tag, answer) {
            (Tag::Invocation(None), _) => {}
            (Tag::Invocation(Some(id)), Ok(reply)) => {
                let mut json = self.local.scratch.take();
                json.clear();
                reply.encode(&mut json);
                self.voice.result(out, &self.local.tally, &id, &json);
                self.local.keep_scratch(json);
            }
            (Tag::Invocation(Some(id)), Err(refusal)) => {
                self.voice.failed(out, &self.local.tally, &id, refusal.problem());
            }
            (Tag::Item(stream), answer) => {
                if let Some(upload) = self.uploads.iter_mut().find(|upload| upload.stream == stream) {
                    upload.settled(answer);
                    self.finish_upload(out, &stream);
                }
            }
        }
    }

    /// Says how far the watches are that were silent.
    fn say_progress(&mut self, out: &mut Vec<u8>) {
        for feed in self.watches.silent() {
            let Some(subscriber) = &mut self.watches.subscriber else { return };
            if let Some(item) = subscriber.progress(feed) {
                self.tell(out, feed, &item);
            }
        }
    }

    /// Appends what a feed says.
    fn tell(&mut self, out: &mut Vec<u8>, feed: FeedId, item: &Item) {
        let Some(watch) = self.watches.get(feed) else { return };
        watch.spoke = true;
        let epoch = self.local.desk.shard().head().epoch;
        let mut frame = self.local.scratch.take();
        frame.clear();
        match self.voice.protocol {
            Protocol::Json => frame::write(&mut frame, item, epoch),
            Protocol::MessagePack => frame::write_messagepack(&mut frame, item, epoch, transcode),
        }
        let tally = &self.local.tally;
        match &watch.told {
            Told::Stream(id) => self.voice.item(out, tally, id, &frame),
            Told::Calls(id) => {
                let mut packed = Vec::new();
                let id: &[u8] = match self.voice.protocol {
                    Protocol::Json => id.as_bytes(),
                    Protocol::MessagePack => {
                        transcode(id.as_bytes(), &mut packed);
                        &packed
                    }
                };
                self.voice.call(out, tally, CHANGED, &[id, &frame]);
            }
        }
        self.local.keep_scratch(frame);
        if let Item::End(_) = item {
            if let Told::Stream(id) = &watch.told {
                self.voice.done(out, tally, id);
            }
            self.watches.remove(feed);
        }
    }

    /// Appends the last message, once.
    fn say_end(&mut self, out: &mut Vec<u8>) {
        let Some(ending) = &self.ending else { return };
        if matches!(ending, Ending::Stopping) && !self.queue.is_empty() {
            return;
        }
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let (error, may_return) = match ending {
            Ending::Unagreed => return,
            Ending::Asked => (None, false),
            Ending::Violated(violation) => (Some(violation.as_str()), false),
            Ending::Silent => (Some("the client was silent for too long"), true),
            Ending::Stopping => (Some("the server is stopping"), true),
        };
        // Before the handshake is agreed to, clients understand nothing but its answer, and take a refusal for final.
        if let Stage::Serving(_) = &self.stage {
            encode::close(self.voice.protocol, out, error, may_return);
        }
    }

    /// The socket is lost. What was said and not taken is said again to the next one.
    pub(crate) fn lose_socket(&mut self) {
        self.early.clear();
        if let Stage::Serving(decoder) = &mut self.stage {
            *decoder = Decoder::new(decoder.protocol(), self.local.options().message_bytes);
        }
    }

    /// There is another socket.
    pub(crate) fn take_socket(&mut self, now: Instant) {
        self.local.tally.reconnects.add(1);
        (self.times.heard, self.times.spoke) = (now, now);
        self.voice.go_on(&mut self.early);
    }
}

/// Appends JSON as `MessagePack`, in which all of it has a form; what is no JSON is told as nothing.
fn transcode(json: &[u8], out: &mut Vec<u8>) {
    const NIL: u8 = 0xc0;
    if to_messagepack(json, out).is_err() {
        out.push(NIL);
    }
}
