//! A connection on a WebSocket: a loop that reads, does what is asked, says what there is to say and writes it out, in the
//! task of its socket. With stateful reconnect it outlives the socket and waits for another one.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dovetail_auth::Principal;
use dovetail_model::limits;
use dovetail_net::{CloseCode, End, Kind, Messages};
use tokio::sync::mpsc;

use crate::Local;
use crate::counters::Open;
use crate::hub::{Ending, Hub, Said, Traits};
use crate::pulse::Pulse;
use crate::registry::{Arrival, Begun, Registered};
use crate::stream::Stream;

/// Bytes of output at which nothing more is read: a client that asks and does not take the answers.
const ANSWER_BYTES: usize = 256 << 10;
/// Rounds of one turn before other connections of the shard have theirs.
const ROUNDS: usize = 4;
/// How long the last bytes of a connection may take to leave.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(2);

/// One connection.
pub(crate) struct Client {
    local: Rc<Local>,
    hub: Hub,
    link: Link,
    /// Where further sockets come from, if the connection can go on with them.
    arrivals: Option<mpsc::Receiver<Arrival>>,
    pulse: Pulse,
    _registered: Option<Registered>,
    _open: Open,
}

enum Link {
    Up(Messages<Box<dyn Stream>>),
    /// The socket was lost then; another may come.
    Down(Instant),
}

/// Bytes of one message of a WebSocket, which may hold many of the hub's.
pub(crate) fn socket_bytes(local: &Local) -> usize {
    local.options().message_bytes.max(limits::PAYLOAD_BYTES) + limits::WEBSOCKET_FRAME_OVERHEAD
}

impl Client {
    pub(crate) fn new(
        local: Rc<Local>,
        stream: Box<dyn Stream>,
        before: Bytes,
        principal: Principal,
        begun: Option<Begun<Option<mpsc::Receiver<Arrival>>>>,
    ) -> Self {
        let (registered, arrivals) = match begun {
            Some(Begun { registered, inbox }) => (Some(registered), inbox),
            None => (None, None),
        };
        let traits = Traits { is_text: false, has_polls: false, may_resend: arrivals.is_some() };
        Self {
            hub: Hub::new(Rc::clone(&local), principal, traits),
            link: Link::Up(Messages::new(stream, before, socket_bytes(&local))),
            arrivals,
            pulse: Pulse::new(&local),
            _registered: registered,
            _open: Open::count(&local.tally, |tally| &tally.websockets),
            local,
        }
    }

    /// Serves the connection until it ends. In a box, or the task would keep room for what comes before and after.
    pub(crate) async fn run(mut self: Box<Self>) {
        poll_fn(|cx| self.poll(cx)).await;
        Box::pin(self.part()).await;
    }

    /// Says the last words, if there is a socket to say them on.
    async fn part(&mut self) {
        let Link::Up(messages) = &mut self.link else { return };
        let (code, reason) = farewell(self.hub.ending());
        if messages.end().is_none() {
            messages.queue_close(code, reason);
        }
        // A client that does not take them has gone.
        let _ = tokio::time::timeout(LAST_WORDS, poll_fn(|cx| messages.poll_close(cx))).await;
    }

    /// Does what can be done now. Ready when nothing more is to be said.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Each connection in turn gathers what it writes in the same memory, which therefore is in the cache.
        let local = Rc::clone(&self.local);
        let mut buffer = local.write_buffer.take();
        if let Link::Up(messages) = &mut self.link {
            messages.lend(&mut buffer);
        }
        let ended = self.poll_rounds(cx);
        if let Link::Up(messages) = &mut self.link {
            messages.give_back(&mut buffer);
        }
        local.write_buffer.set(buffer);
        ended
    }

    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            match self.round(cx) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does whatever can be done: ready with whether the connection goes on, pending when it has to be woken.
    fn round(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let now = crate::now();
        if let Some(arrivals) = &mut self.arrivals
            && let Poll::Ready(Some(arrival)) = arrivals.poll_recv(cx)
        {
            self.take_socket(arrival, now);
        }
        if let Link::Down(since) = self.link {
            return self.wait(cx, now, since);
        }
        self.hub.go_on(now);
        let had_room = self.hub.reads();
        let has_read = had_room && self.read(cx, now);
        self.pulse.poll(&mut self.hub, cx, now, None);
        let Link::Up(messages) = &mut self.link else { return Poll::Ready(true) };
        let mut said = Said::Enough;
        // Items are taken only while the socket takes bytes.
        if messages.takes_bytes() && messages.end().is_none() {
            let hub = &mut self.hub;
            let kind = if hub.is_binary() { Kind::Binary } else { Kind::Text };
            messages.queue_with(kind, |out| said = hub.write(cx, out, now));
        }
        let flushed = messages.poll_flush(cx);
        let is_lost = matches!(flushed, Poll::Ready(Err(_)));
        if is_lost || messages.end().is_some() {
            let end = messages.end().unwrap_or(End::Lost);
            return Poll::Ready(self.lose(end, now));
        }
        if self.hub.is_over() {
            return Poll::Ready(false);
        }
        // What was left for want of room can go on once the output is written.
        let has_written = flushed.is_ready() && said == Said::Enough;
        if has_read || has_written || (!had_room && self.hub.reads()) {
            Poll::Ready(true)
        } else {
            Poll::Pending
        }
    }

    /// Reads what the client sends and has it done. Whether something came.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Link::Up(messages) = &mut self.link else { return false };
        if messages.unwritten() >= ANSWER_BYTES {
            return false;
        }
        let local = Rc::clone(&self.local);
        let mut buffer = local.read_buffer.borrow_mut();
        let Poll::Ready(mut input) = messages.poll_read(cx, &mut buffer) else { return false };
        while self.hub.reads()
            && let Some(message) = messages.next_message(&mut input)
        {
            self.hub.receive(message.as_bytes(), now);
        }
        messages.keep(input);
        true
    }

    /// The socket is lost or was closed. Whether the connection goes on without it.
    fn lose(&mut self, end: End, now: Instant) -> bool {
        if end == End::Lost && self.hub.resends() {
            self.hub.lose_socket();
            self.link = Link::Down(now);
            return true;
        }
        false
    }

    /// Waits for another socket; until then nothing is said and nothing is done.
    fn wait(&mut self, cx: &mut Context<'_>, now: Instant, since: Instant) -> Poll<bool> {
        let until = since + self.local.options().absence;
        if now >= until {
            self.local.tally.timeouts.add(1);
            return Poll::Ready(false);
        }
        if self.pulse.poll_alone(cx, now, until) {
            return Poll::Ready(false);
        }
        Poll::Pending
    }

    /// Goes on with another socket. The client would not have sent one if it still had the one before.
    fn take_socket(&mut self, arrival: Arrival, now: Instant) {
        let Arrival { unpack, before } = arrival;
        let Ok(stream) = unpack() else { return };
        if !self.hub.resends() {
            // It was never agreed that another socket may come.
            return;
        }
        if let Link::Up(_) = self.link {
            self.hub.lose_socket();
        }
        self.link = Link::Up(Messages::new(stream, before, socket_bytes(&self.local)));
        self.hub.take_socket(now);
    }
}

/// What a close frame says about the end of a connection.
fn farewell(ending: Option<&Ending>) -> (CloseCode, &'static str) {
    match ending {
        None | Some(Ending::Asked | Ending::Unagreed) => (CloseCode::NORMAL, ""),
        Some(Ending::Violated(_)) => (CloseCode::POLICY_VIOLATION, "the protocol was broken"),
        Some(Ending::Silent) => (CloseCode::POLICY_VIOLATION, "silent for too long"),
        Some(Ending::Stopping) => (CloseCode::GOING_AWAY, "the server is stopping"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Client>() <= 768, "{}", size_of::<Client>());
    }
}
