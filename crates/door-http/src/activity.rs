//! What a connection is doing, as its deadlines see it.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::payload::Payload;

/// The state of one connection. Shared by its driver, its socket and its responses, which are all
/// on one thread.
pub(crate) struct Activity {
    in_flight: Cell<usize>,
    /// Since when no request is in flight.
    idle_since: Cell<Instant>,
    /// Since when bytes of a request have been coming that is not whole yet.
    reading_since: Cell<Option<Instant>>,
    /// Since when the socket takes nothing although there is something to write.
    blocked_since: Cell<Option<Instant>>,
    /// An answer that takes the connection over.
    takeover: RefCell<Option<Response<Payload>>>,
}

/// Marks a request as being worked on while it lives.
pub(crate) struct InFlight(Rc<Activity>);

impl Activity {
    pub(crate) fn new(reading_since: Option<Instant>) -> Rc<Self> {
        Rc::new(Self {
            in_flight: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            reading_since: Cell::new(reading_since),
            blocked_since: Cell::new(None),
            takeover: RefCell::new(None),
        })
    }

    /// The headers of a request are whole.
    pub(crate) fn begin(self: &Rc<Self>) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        self.reading_since.set(None);
        InFlight(Rc::clone(self))
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.get() > 0
    }

    /// Whether everything that was answered so far is with the socket.
    pub(crate) fn is_flushed(&self) -> bool {
        self.blocked_since.get().is_none()
    }

    pub(crate) fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since.get()
    }

    pub(crate) fn idle_since(&self) -> Instant {
        self.idle_since.get()
    }

    pub(crate) fn reading_since(&self) -> Option<Instant> {
        self.reading_since.get()
    }

    /// Leaves an answer that is to have the socket for itself.
    pub(crate) fn take_over(&self, response: Response<Payload>) {
        *self.takeover.borrow_mut() = Some(response);
    }

    pub(crate) fn is_taken_over(&self) -> bool {
        self.takeover.borrow().is_some()
    }

    pub(crate) fn takeover(&self) -> Option<Response<Payload>> {
        self.takeover.borrow_mut().take()
    }

    fn note_read(&self) {
        if !self.is_busy() && self.reading_since.get().is_none() {
            self.reading_since.set(Some(Instant::now()));
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let left = self.0.in_flight.get() - 1;
        self.0.in_flight.set(left);
        if left == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

/// A socket that notes what is done with it, behind bytes that were read from it before.
pub(crate) struct Watched<I> {
    io: I,
    before: Bytes,
    activity: Rc<Activity>,
}

impl<I> Watched<I> {
    pub(crate) fn new(io: I, before: Bytes, activity: Rc<Activity>) -> Self {
        Self { io, before, activity }
    }

    pub(crate) fn into_inner(self) -> I {
        self.io
    }

    fn note_write(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let blocked = &self.activity.blocked_since;
        if written.is_ready() {
            blocked.set(None);
        } else if blocked.get().is_none() {
            blocked.set(Some(Instant::now()));
        }
        written
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.before.has_remaining() {
            let some = this.before.split_to(this.before.len().min(buf.remaining()));
            buf.put_slice(&some);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            this.activity.note_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, data);
        self.note_write(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, data);
        self.note_write(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
