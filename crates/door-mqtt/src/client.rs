//! One connection: a loop that settles writes, reads, delivers and writes out, and waits only when none of these can go
//! on.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use dovetail_auth::Principal;
use dovetail_engine::Record;
use dovetail_mqtt_proto::{Cause, Connection, Event, ReasonCode};
use dovetail_net::{Connected, Timer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Local;
use crate::answer::Refusal;
use crate::connect::{Claiming, Opening};
use crate::counters::count;
use crate::durable::not_stored;
use crate::now;
use crate::open::Opened;
use crate::sending::Told;
use crate::serving::Serving;
use crate::share::is_shared;
use crate::socket::Socket;

/// Bytes of output at which no further item is taken from the feeds.
const OUTPUT_BYTES: usize = 64 << 10;
/// Bytes of output at which nothing more is read: a client that asks and does not take the answers.
const ANSWER_BYTES: usize = 256 << 10;
/// Reads of one round. The second one mostly finds nothing, which saves a round.
const READS: usize = 2;
/// Rounds of one turn before other connections of the shard have theirs.
const ROUNDS: usize = 4;
/// How long the last bytes of a connection may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long a client that was told the end may take to close too. What it was about to send would be answered with a reset
/// otherwise, and a client that is told of the reset first never reads why the connection ended.
const LINGER: Duration = Duration::from_secs(1);

/// One connection.
pub(crate) struct Client<S> {
    local: Rc<Local>,
    principal: Principal,
    socket: Socket<S>,
    connection: Connection,
    stage: Stage,
    timer: Timer,
    /// Something happened that may have set a deadline earlier than the timer's.
    deadlines_moved: bool,
    /// Nothing was read when deadlines were last looked at.
    pauses: bool,
}

/// How far the connection is.
enum Stage {
    /// CONNECT is awaited.
    Greeting,
    /// CONNECT was good; the earlier holder of the client id is to go first.
    Claiming(Box<Claiming>),
    /// The client id is free; its session is read and stored.
    Opening(Box<Opening>),
    /// Accepted.
    Serving(Box<Serving>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(local: Rc<Local>, stream: S, principal: Principal) -> Self {
        let connection = Connection::new(Arc::clone(&local.limits), now());
        let (socket, timer) = (Socket::new(stream), Timer::default());
        let (stage, deadlines_moved) = (Stage::Greeting, true);
        Self { local, principal, socket, connection, stage, timer, deadlines_moved, pauses: false }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Connected for Client<S> {
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Each connection in turn gathers what it writes in the same memory, which therefore is in the cache.
        let local = Rc::clone(&self.local);
        let mut buffer = local.write_buffer.take();
        self.connection.output().lend(&mut buffer);
        let ended = self.poll_rounds(cx);
        self.connection.output().give_back(&mut buffer);
        local.write_buffer.set(buffer);
        ended
    }

    /// Stores the session, publishes the will, lets the successor go on, and says what is still to be said.
    async fn finish(mut self) {
        let mut output = std::mem::take(self.connection.output());
        let closed = self.connection.into_closed();
        let cause = closed.as_ref().map(|closed| closed.cause);
        if let Some(Cause::Violation(violation)) = cause {
            count(&self.local.shared.counters.violations);
            tracing::debug!(%violation, "a client broke the protocol");
        }
        let mut socket = self.socket;
        let promises = matches!(&self.stage, Stage::Serving(serving) if serving.promises());
        if !promises {
            // What the socket takes at once is said before the will, the rest after it.
            poll_fn(|cx| {
                let _ = socket.poll_write(cx, &mut output);
                Poll::Ready(())
            })
            .await;
        }
        if let (Stage::Serving(serving), Some(closed)) = (self.stage, closed) {
            let is_true = serving.end(closed).await;
            if promises && !is_true {
                output.clear();
            }
        }
        let last_words = poll_fn(|cx| {
            std::task::ready!(socket.poll_write(cx, &mut output))?;
            socket.poll_shutdown(cx)
        });
        // A client that does not take them has gone.
        let said = tokio::time::timeout(LAST_WORDS, last_words).await;
        if matches!(said, Ok(Ok(()))) {
            let _ = tokio::time::timeout(LINGER, poll_fn(|cx| socket.poll_end(cx))).await;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let goes_on = self.round(cx);
            if self.connection.is_closed() {
                return Poll::Ready(());
            }
            if !goes_on {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does whatever can be done. Whether there may be more without anybody's wake-up.
    fn round(&mut self, cx: &mut Context<'_>) -> bool {
        let now = now();
        self.settle(cx, now);
        let reads = self.reads();
        let has_read = reads && self.read(cx, now);
        if self.deadlines_moved || self.pauses == self.reads() || self.timer.is_due(now) {
            self.keep_time(cx, now);
        }
        let told = self.deliver(cx);
        self.commit(cx, now);
        let has_written = self.write(cx);
        self.count_packets();
        // What was left for want of room can go on once the output is written.
        has_read || (has_written && (told == Told::Enough || !reads && self.reads()))
    }

    fn count_packets(&mut self) {
        let (received, sent) = self.connection.take_packets();
        self.local.traffic.packets_received.add(received.into());
        self.local.traffic.packets_sent.add(sent.into());
    }

    /// Obeys orders, answers writes that are done, accepts the connection when its client id is free.
    fn settle(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let Stage::Claiming(claiming) = &mut self.stage
            && claiming.claim.poll_held(cx).is_ready()
            && let Stage::Claiming(claiming) = std::mem::replace(&mut self.stage, Stage::Greeting)
        {
            self.stage = Stage::Opening(Box::new(claiming.open(&self.local, &self.principal)));
        }
        if let Stage::Opening(opening) = &mut self.stage
            && let Poll::Ready(opened) = opening.poll(cx)
            && let Stage::Opening(opening) = std::mem::replace(&mut self.stage, Stage::Greeting)
        {
            self.deadlines_moved = true;
            self.accept(*opening, opened, now);
        }
        if let Stage::Serving(serving) = &mut self.stage {
            if let Some(reason) = serving.claim.order(cx) {
                if reason == ReasonCode::SessionTakenOver {
                    count(&self.local.shared.counters.taken_over);
                }
                self.connection.disconnect(reason, ordered(reason));
            }
            serving.settle_writes(&mut self.connection, cx);
            if let Some(pace) = &mut serving.writes.pace {
                pace.go_on(now);
            }
        }
    }

    fn accept(&mut self, opening: Opening, opened: Result<Opened, Refusal>, now: Instant) {
        match opened {
            Ok(opened) => {
                let serving = opening.accept(opened, &self.local, &self.principal, &mut self.connection, now);
                self.stage = Stage::Serving(Box::new(serving));
            }
            Err(refusal) => self.refuse(&refusal),
        }
    }

    fn refuse(&mut self, refusal: &Refusal) {
        count(&self.local.shared.counters.refused);
        self.connection.refuse(refusal.reason, &refusal.text);
    }

    /// Reads what the client sends and handles it. Whether there may be more to do at once.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let before = self.unsettled();
        // What was kept while the connection paused comes first.
        self.handle_input(&[], now);
        let local = Rc::clone(&self.local);
        let mut buffer = local.read_buffer.borrow_mut();
        for _ in 0..READS {
            if !self.reads() {
                return true;
            }
            match self.socket.poll_read(cx, &mut buffer) {
                // What was asked for is looked after by the next round, so that it can wake the connection.
                Poll::Pending => return self.unsettled() != before,
                Poll::Ready(Ok(count)) if count > 0 => {
                    local.traffic.bytes_received.add(count as u64);
                    self.handle_input(&buffer[..count], now);
                }
                Poll::Ready(_) => {
                    self.connection.lost();
                    return false;
                }
            }
        }
        true
    }

    /// What the connection waits for besides its client: how far it is, and its writes.
    fn unsettled(&self) -> (std::mem::Discriminant<Stage>, usize, bool) {
        let (pending, waits) = match &self.stage {
            Stage::Serving(serving) => (serving.writes.pending.len(), serving.writes.waiting.is_some()),
            Stage::Greeting | Stage::Claiming(_) | Stage::Opening(_) => (0, false),
        };
        (std::mem::discriminant(&self.stage), pending, waits)
    }

    /// Whether input can be used now.
    fn reads(&mut self) -> bool {
        let has_room = match &self.stage {
            Stage::Greeting => true,
            Stage::Claiming(_) | Stage::Opening(_) => false,
            Stage::Serving(serving) => serving.writes.have_room(),
        };
        has_room && self.connection.wants_input() && self.connection.output().len() < ANSWER_BYTES
    }

    fn handle_input(&mut self, mut input: &[u8], now: Instant) {
        while self.reads() {
            let Some(event) = self.connection.next_event(&mut input, now) else { break };
            self.deadlines_moved = true;
            match (&mut self.stage, event) {
                (Stage::Greeting, Event::Connect(connect)) => {
                    let claim = Claiming::new(&self.local, &self.principal, *connect);
                    match claim {
                        Ok(claiming) => self.stage = Stage::Claiming(Box::new(claiming)),
                        Err(refusal) => self.refuse(&refusal),
                    }
                }
                (Stage::Serving(serving), event) => serving.on_event(&mut self.connection, event, now),
                // The protocol lets nothing else happen.
                (Stage::Greeting | Stage::Claiming(_) | Stage::Opening(_), _) => self.connection.lost(),
            }
        }
        self.connection.keep(input);
    }

    /// Ends a connection whose time is over. One that pauses for our own reasons has no deadline.
    fn keep_time(&mut self, cx: &mut Context<'_>, now: Instant) {
        self.deadlines_moved = false;
        self.pauses = !self.reads();
        if !self.pauses {
            self.connection.handle_timeout(now);
        }
        let silence = if self.pauses { None } else { self.connection.next_timeout() };
        let deadline = match &mut self.stage {
            Stage::Serving(serving) => {
                let progress = serving.keep_time(&mut self.connection, now);
                let flow = serving.flow_due();
                [silence, progress, flow, serving.writes.pauses_until()].into_iter().flatten().min()
            }
            Stage::Greeting | Stage::Claiming(_) | Stage::Opening(_) => silence,
        };
        match deadline {
            Some(deadline) => self.timer.arm(deadline, now, cx),
            None => self.timer.disarm(),
        }
    }

    /// Takes items from the feeds while the socket takes bytes.
    fn deliver(&mut self, cx: &mut Context<'_>) -> Told {
        match &mut self.stage {
            Stage::Serving(_) if !self.socket.takes_bytes() => Told::Enough,
            // Nobody is told any more, so nothing may count as told.
            Stage::Serving(_) if self.connection.is_closed() => Told::Everything,
            // What is sent while the disk is waited for would have to wait for it again.
            Stage::Serving(serving) if serving.is_held() => Told::Enough,
            Stage::Serving(serving) => serving.deliver(&mut self.connection, cx, OUTPUT_BYTES),
            Stage::Greeting | Stage::Claiming(_) | Stage::Opening(_) => Told::Everything,
        }
    }

    /// Gives to the disk what the output promises.
    fn commit(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        serving.commit(&self.connection, now);
        if let Poll::Ready(Err(error)) = serving.poll_released(cx) {
            let (reason, text) = not_stored(&error);
            if self.socket.takes_bytes() {
                // Nothing of it has left.
                self.connection.output().clear();
                self.connection.disconnect(reason, &text);
            } else {
                self.connection.lost();
            }
        }
        if let Some(due) = serving.flow_due() {
            self.timer.arm(due, now, cx);
        }
    }

    /// Whether all output was written, and there was some.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        if self.connection.is_closed() || (self.connection.output().is_empty() && self.socket.is_flushed()) {
            return false;
        }
        if matches!(&self.stage, Stage::Serving(serving) if serving.is_held()) {
            return false;
        }
        let before = self.connection.output().len();
        let written = self.socket.poll_write(cx, self.connection.output());
        self.local.traffic.bytes_sent.add((before - self.connection.output().len()) as u64);
        match written {
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
            Poll::Ready(Err(_)) => {
                self.connection.lost();
                false
            }
        }
    }
}

impl Serving {
    fn on_event(&mut self, connection: &mut Connection, event: Event, now: Instant) {
        match event {
            Event::Publish(publish, receipt) => {
                if self.writes.pace.as_mut().is_some_and(|pace| pace.spend(now)) {
                    count(&self.local.shared.counters.throttled);
                }
                self.on_publish(connection, &publish, receipt);
            }
            Event::Subscribe(subscribe) => {
                self.on_subscribe(connection, &subscribe, now);
                self.count_subscriptions();
            }
            Event::Unsubscribe(unsubscribe) => {
                self.on_unsubscribe(connection, &unsubscribe);
                self.count_subscriptions();
            }
            // These matter for a session that outlives the connection. What is not told to the end of a clean one ends with it.
            Event::Delivered { tag, .. } => {
                if let Some(shares) = self.shares.as_mut().filter(|_| is_shared(tag)) {
                    shares.delivered(tag);
                }
                if let Some(kept) = self.kept.as_deref_mut() {
                    kept.delivered(tag);
                }
            }
            Event::Received { .. } => {
                if let Some(kept) = self.kept.as_deref_mut() {
                    kept.owe_flow();
                }
            }
            Event::Released(id) => {
                if let Some(kept) = self.kept.as_deref_mut() {
                    kept.owe(Record::delete(kept.names.received(id)));
                }
            }
            Event::Connect(_) => {}
        }
    }
}

/// What an order to end means, for people.
fn ordered(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::SessionTakenOver => "another connection uses the client id",
        ReasonCode::ServerShuttingDown => "the server is stopping",
        _ => "",
    }
}
