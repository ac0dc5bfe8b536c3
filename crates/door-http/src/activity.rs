//! What a connection is doing, as its deadlines see it.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use std::io;

/// Bytes that tell HTTP/2 from HTTP/1.1 (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The state of one connection. Shared by its driver, its socket and its responses, which are all
/// on one thread.
#[derive(Debug)]
pub(crate) struct Activity {
    in_flight: Cell<usize>,
    /// Since when no request is in flight.
    idle_since: Cell<Instant>,
    /// Since when bytes of a request have been coming that is not whole yet.
    reading_since: Cell<Option<Instant>>,
}

/// Marks a request as being worked on while it lives.
#[derive(Debug)]
pub(crate) struct InFlight(Rc<Activity>);

impl Activity {
    pub(crate) fn new(reading_since: Option<Instant>) -> Rc<Self> {
        Rc::new(Self {
            in_flight: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            reading_since: Cell::new(reading_since),
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

    pub(crate) fn idle_since(&self) -> Instant {
        self.idle_since.get()
    }

    pub(crate) fn reading_since(&self) -> Option<Instant> {
        self.reading_since.get()
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

/// A socket that notes when it is read, with the bytes that were read to tell the version.
pub(crate) struct Watched<I> {
    io: I,
    prefix: [u8; PREFACE.len()],
    /// How much of the prefix there is, and how much of it has been given.
    filled: usize,
    given: usize,
    activity: Rc<Activity>,
}

impl<I> Watched<I> {
    pub(crate) fn new(io: I, prefix: [u8; PREFACE.len()], filled: usize, activity: Rc<Activity>) -> Self {
        Self { io, prefix, filled, given: 0, activity }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.given < this.filled {
            let end = this.filled.min(this.given + buf.remaining());
            buf.put_slice(&this.prefix[this.given..end]);
            this.given = end;
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
        Pin::new(&mut self.io).poll_write(cx, data)
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
        Pin::new(&mut self.io).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
