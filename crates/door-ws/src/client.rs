//! One connection: a loop that answers, reads, tells and writes out, and waits only when none of these can go on.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use dovetail_api::problem::ProblemType;
use dovetail_api::socket::{self, Hello, Id, Request};
use dovetail_auth::Principal;
use dovetail_calls::{Queue, Refusal};
use dovetail_net::{Connected, Kind, Message, Messages, StopNotice, Timer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::counters::Counters;
use crate::parting::Reason;
use crate::watches::{Telling, Watches};
use crate::{Local, now};

/// Bytes of output at which no further item is taken from the feeds.
const OUTPUT_BYTES: usize = 64 << 10;
/// Bytes of output at which nothing more is read: a client that asks and does not take the answers.
const ANSWER_BYTES: usize = 256 << 10;
/// Rounds of one turn before other connections of the shard have theirs.
const ROUNDS: usize = 4;
/// How long calls that were taken in are still answered when the server stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// How long the last words may take to leave, and the client to close too.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// One connection.
pub(crate) struct Client<S> {
    local: Rc<Local>,
    principal: Principal,
    messages: Messages<S>,
    queue: Queue<Id>,
    watches: Option<Box<Watches>>,
    timer: Timer,
    stop: StopNotice,
    stage: Stage,
    /// When something last came, and when something last left.
    heard: Instant,
    written: Instant,
    is_pinged: bool,
    /// The last round has made more output than one has room for: others have their turn.
    has_said_much: bool,
    /// Counts the connection as long as it is there.
    counted: Counted,
}

/// A connection that is counted among the open ones.
struct Counted(Arc<Counters>);

/// How far the connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// `hello` is to be said.
    New,
    Serving,
    /// The server stops: what was taken in is answered until then, and nothing more is read.
    Draining(Instant),
    /// The last words are said.
    Parting,
    /// There is nobody to say them to.
    Lost,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(local: Rc<Local>, messages: Messages<S>, principal: Principal) -> Self {
        let counted = Counted::new(&local.counters);
        let now = now();
        Self {
            principal,
            messages,
            queue: Queue::new(local.desk.clone()),
            watches: None,
            timer: Timer::default(),
            stop: local.stopping.join(),
            stage: Stage::New,
            heard: now,
            written: now,
            is_pinged: false,
            has_said_much: false,
            counted,
            local,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Connected for Client<S> {
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Each connection in turn gathers what it writes in the same memory, which therefore is in the cache.
        let local = Rc::clone(&self.local);
        let mut buffer = local.write_buffer.take();
        self.messages.lend(&mut buffer);
        let ended = self.poll_rounds(cx);
        self.messages.give_back(&mut buffer);
        local.write_buffer.set(buffer);
        ended
    }

    /// Ends the WebSocket in order.
    async fn finish(mut self) {
        // What was followed is followed no longer, whatever the client takes its time for.
        self.watches = None;
        let Self { mut messages, stage, counted, .. } = self;
        if stage != Stage::Lost {
            // One that does not take the last words has gone.
            let _ = tokio::time::timeout(LAST_WORDS, poll_fn(|cx| messages.poll_close(cx))).await;
        }
        drop(counted);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let goes_on = self.round(cx);
            if matches!(self.stage, Stage::Parting | Stage::Lost) {
                return Poll::Ready(());
            }
            if !goes_on {
                return Poll::Pending;
            }
            if self.has_said_much {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does whatever can be done. Whether there may be more without anybody's wake-up.
    fn round(&mut self, cx: &mut Context<'_>) -> bool {
        let now = now();
        self.begin(cx, now);
        let could_read = self.reads();
        let has_read = could_read && self.read(cx, now);
        let has_answered = self.answer(cx);
        let told = self.tell(cx, now);
        self.keep_time(cx, now);
        self.part(now);
        // What was left for want of room can go on once the output is written.
        self.has_said_much = self.messages.unwritten() >= ANSWER_BYTES;
        let is_held = told == Telling::Enough || self.has_said_much;
        let has_written = self.write(cx, now);
        has_read || (has_written && is_held) || ((has_answered || has_written) && !could_read && self.reads())
    }

    /// Says `hello`, and notices that the server stops.
    fn begin(&mut self, cx: &mut Context<'_>, now: Instant) {
        if self.stage == Stage::New {
            self.stage = Stage::Serving;
            let options = &self.local.shared.options;
            let hello = Hello {
                rev: self.local.desk.shard().head(),
                message_bytes: options.message_bytes(),
                payload_bytes: options.payload_bytes,
                watches: options.watches,
                pending: options.pending,
                progress_ms: options.progress.as_millis() as u64,
                retry_ms: options.reconnect_ms(),
            };
            self.messages.queue_with(Kind::Text, |out| socket::hello(out, &hello));
        }
        if self.stage == Stage::Serving && self.stop.is_begun(cx) {
            self.stage = Stage::Draining(now + LAST_ANSWERS);
        }
    }

    /// Whether input can be used now.
    fn reads(&self) -> bool {
        self.stage == Stage::Serving && self.has_room() && self.messages.unwritten() < ANSWER_BYTES
    }

    fn has_room(&self) -> bool {
        self.queue.len() < self.local.shared.options.pending
    }

    /// Reads what the client sends and takes it in. Whether there may be more.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let local = Rc::clone(&self.local);
        let mut buffer = local.read_buffer.borrow_mut();
        let Poll::Ready(mut input) = self.messages.poll_read(cx, &mut buffer) else { return false };
        self.heard = now;
        self.is_pinged = false;
        while self.reads()
            && let Some(message) = self.messages.next_message(&mut input)
        {
            self.local.counters.requests.add(1);
            match message {
                Message::Text(text) => self.take(&text, now),
                Message::Binary(_) => self.end(Reason::Binary),
            }
        }
        self.messages.keep(input);
        match self.messages.end() {
            None => true,
            Some(end) => {
                match Reason::of(end) {
                    Some(reason) => self.end(reason),
                    None => self.stage = Stage::Parting,
                }
                false
            }
        }
    }

    /// Takes in one request.
    fn take(&mut self, text: &str, now: Instant) {
        match socket::decode(text) {
            Ok((id, Request::Call(call))) => self.queue.push(id, &self.principal, call),
            Ok((id, Request::Watch(watch))) => {
                let asked = self.local.desk.watch(&self.principal, watch);
                let limit = self.local.shared.options.watches;
                let watches = self.watches.get_or_insert_with(|| {
                    let shard = self.local.desk.shard();
                    let subscriber = shard.subscriber(self.principal.clone());
                    let epoch = shard.head().epoch;
                    Box::new(Watches::new(subscriber, epoch, &self.local.counters, now))
                });
                match watches.has_room(&id, limit).and(asked) {
                    Ok(subscribe) => watches.open(id, subscribe, now),
                    Err(refusal) => self.refuse(Some(&id), &refusal),
                }
            }
            Ok((id, Request::Unwatch(watch))) => self.unwatch(&id, &watch),
            Err(unreadable) => self.refuse(unreadable.id.as_ref(), &unreadable.error.into()),
        }
    }

    fn unwatch(&mut self, id: &Id, watch: &Id) {
        if self.watches.as_mut().is_some_and(|watches| watches.close(watch)) {
            self.messages.queue_with(Kind::Text, |out| socket::done(out, id));
        } else {
            let detail = format!("there is no watch {}", watch.as_str());
            self.refuse(Some(id), &Refusal::new(ProblemType::NotFound, detail));
        }
        if self.watches.as_ref().is_some_and(|watches| watches.is_empty()) {
            self.watches = None;
        }
    }

    fn refuse(&mut self, id: Option<&Id>, refusal: &Refusal) {
        self.local.counters.refused.add(1);
        self.messages.queue_with(Kind::Text, |out| socket::error(out, id, refusal.problem()));
    }

    /// Says what came of calls. Whether anything was said.
    fn answer(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.queue.len();
        while self.messages.unwritten() < ANSWER_BYTES
            && let Poll::Ready((id, answer)) = self.queue.poll_next(cx)
        {
            match answer {
                Ok(reply) => {
                    self.messages.queue_with(Kind::Text, |out| {
                        socket::result(out, &id, |out| reply.encode(out));
                    });
                }
                Err(refusal) => self.refuse(Some(&id), &refusal),
            }
        }
        self.queue.len() < before
    }

    /// Takes items from the feeds while the socket takes bytes.
    fn tell(&mut self, cx: &mut Context<'_>, now: Instant) -> Telling {
        match &mut self.watches {
            None => Telling::Everything,
            Some(_) if !self.messages.takes_bytes() => Telling::Enough,
            Some(watches) => watches.tell(&mut self.messages, cx, now, OUTPUT_BYTES),
        }
    }

    /// Says progress, asks a silent client whether it is there, and gives up one that does not answer.
    fn keep_time(&mut self, cx: &mut Context<'_>, now: Instant) {
        let options = &self.local.shared.options;
        let silence = options.silence;
        let progress = match &mut self.watches {
            // What is said would only wait.
            Some(watches) if self.messages.takes_bytes() => {
                watches.say_progress(&mut self.messages, now, options.progress)
            }
            _ => None,
        };
        let presence = match self.stage {
            Stage::Draining(until) => Some(until),
            _ => self.look_after(now, silence),
        };
        match [progress, presence].into_iter().flatten().min() {
            Some(deadline) => self.timer.arm(deadline, now, cx),
            None => self.timer.disarm(),
        }
    }

    /// Pings a client that has been silent, and gives up one that stays so. When to look again.
    fn look_after(&mut self, now: Instant, silence: Duration) -> Option<Instant> {
        if !self.has_room() {
            // It is not read, so that its silence is ours.
            (self.heard, self.is_pinged) = (now, false);
            return None;
        }
        if self.messages.unwritten() >= ANSWER_BYTES {
            // It is not read either, but that it takes something is a sign of life.
            self.heard = self.heard.max(self.written);
        }
        if self.heard + 2 * silence <= now {
            self.local.counters.silent.add(1);
            self.end(Reason::Silent);
            return None;
        }
        if self.heard + silence <= now && !self.is_pinged {
            self.is_pinged = true;
            self.messages.queue_ping(b"");
        }
        Some(self.heard + if self.is_pinged { 2 * silence } else { silence })
    }

    /// Ends the connection when the server stops and everything is answered.
    fn part(&mut self, now: Instant) {
        if let Stage::Draining(until) = self.stage
            && (self.queue.is_empty() || until <= now)
        {
            self.end(Reason::Shutdown);
        }
    }

    /// Says the last words.
    fn end(&mut self, reason: Reason) {
        if matches!(self.stage, Stage::Parting | Stage::Lost) {
            return;
        }
        self.stage = Stage::Parting;
        if matches!(reason, Reason::Binary | Reason::Violated(_)) {
            self.local.counters.violations.add(1);
            tracing::debug!(reason = reason.word(), "a client of WebSocket broke the protocol");
        }
        reason.say(&mut self.messages, self.local.shared.options.reconnect_ms());
    }

    /// Whether all output was written, and there was some.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let before = self.messages.unwritten();
        let written = self.messages.poll_flush(cx);
        if self.messages.unwritten() < before {
            self.written = now;
        }
        match written {
            Poll::Ready(Ok(())) => before > 0,
            Poll::Pending => false,
            Poll::Ready(Err(_)) => {
                self.stage = Stage::Lost;
                false
            }
        }
    }
}

impl Counted {
    fn new(counters: &Arc<Counters>) -> Self {
        counters.accepted.add(1);
        counters.open.add(1);
        Self(Arc::clone(counters))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.sub(1);
    }
}
