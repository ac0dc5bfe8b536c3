//! Reading and writing one stream.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use dovetail_mqtt_proto::Output;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Pieces of one gathered write. Small messages lie together in one piece, so this is rarely more than one.
const PIECES: usize = 64;

/// A stream, and whether it takes bytes.
pub(crate) struct Socket<S> {
    stream: S,
    /// The last write was not taken.
    is_full: bool,
    /// All that was written has left any buffer of the stream's own.
    is_flushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, is_full: false, is_flushed: true }
    }

    /// Whether the peer takes bytes, as far as is known.
    pub(crate) fn takes_bytes(&self) -> bool {
        !self.is_full
    }

    /// Whether the stream keeps nothing back.
    pub(crate) fn is_flushed(&self) -> bool {
        self.is_flushed
    }

    /// Reads into `buffer`; 0 is the end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes all of `output`, as much at once as the stream takes.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, output: &mut Output) -> Poll<io::Result<()>> {
        while !output.is_empty() {
            let front = output.front();
            let written = if front.len() == output.len() {
                Pin::new(&mut self.stream).poll_write(cx, front)
            } else {
                let mut pieces = [IoSlice::new(&[]); PIECES];
                let filled = output.slices(&mut pieces);
                Pin::new(&mut self.stream).poll_write_vectored(cx, &pieces[..filled])
            };
            self.is_full = written.is_pending();
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => output.consume(count),
            }
            self.is_flushed = false;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    /// Ends the writing side.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Reads into nothing, until the peer has ended its side.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut buffer = [0; 512];
        loop {
            match ready!(self.poll_read(cx, &mut buffer)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
    }
}
