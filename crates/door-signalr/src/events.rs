//! A connection on an event stream: what the client sends comes by POST requests, on any shard.
//!
//! The connection lives in the stream, which asks for it whenever the socket takes bytes; it has no task of its own.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use dovetail_auth::Principal;
use tokio::sync::mpsc;

use crate::Local;
use crate::counters::Open;
use crate::hub::{Hub, Traits};
use crate::pulse::Pulse;
use crate::registry::{Begun, Registered};

/// What a stream begins with: some browsers take it for open only when something comes.
const GREETING: &[u8] = b":\r\n\r\n";

/// The event stream of a connection. Dropping it ends the connection.
pub struct Events {
    hub: Hub,
    input: mpsc::Receiver<Bytes>,
    pulse: Pulse,
    is_open: bool,
    _registered: Registered,
    _open: Open,
}

impl Events {
    pub(crate) fn new(local: Rc<Local>, principal: Principal, begun: Begun<mpsc::Receiver<Bytes>>) -> Self {
        let Begun { registered, inbox } = begun;
        let open = Open::count(&local.tally, |tally| &tally.event_streams);
        let pulse = Pulse::new(&local);
        let traits = Traits { is_text: true, has_polls: false, may_resend: false };
        let hub = Hub::new(local, principal, traits);
        Self { hub, input: inbox, pulse, is_open: false, _registered: registered, _open: open }
    }

    /// The next chunk, which is never empty; `None` at the end. All calls are of one task.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        if self.hub.is_over() {
            return Poll::Ready(None);
        }
        let now = crate::now();
        self.hub.go_on(now);
        let has_room = self.hub.reads();
        while self.hub.reads()
            && let Poll::Ready(Some(bytes)) = self.input.poll_recv(cx)
        {
            self.hub.receive(&bytes, now);
        }
        self.pulse.poll(&mut self.hub, cx, now, None);
        let mut text = Vec::new();
        self.hub.write(cx, &mut text, now);
        if !has_room && self.hub.reads() {
            cx.waker().wake_by_ref();
        }
        let mut out = Vec::with_capacity(text.len() + 16);
        if !std::mem::replace(&mut self.is_open, true) {
            out.extend_from_slice(GREETING);
        }
        event(&mut out, &text);
        match (out.is_empty(), self.hub.is_over()) {
            (false, _) => Poll::Ready(Some(out)),
            (true, true) => Poll::Ready(None),
            (true, false) => Poll::Pending,
        }
    }
}

/// Appends an event whose data is `text`, each of its lines on one of its own.
fn event(out: &mut Vec<u8>, text: &[u8]) {
    if text.is_empty() {
        return;
    }
    for line in text.split(|&byte| byte == b'\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}
