//! An answer on an HTTP/1.1 connection that it has for itself: an event stream, or the start of a WebSocket.
//!
//! hyper keeps buffers of 16 KiB for a connection. A stream needs neither of them: it is
//! written from the chunks that its feed gives, in one write each, and its end is the end of the
//! connection (RFC 9112 §6.3).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use http::response::Parts;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::payload::Chunks;

/// Writes an event stream until it or the client ends.
pub(crate) async fn stream(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    head: &Parts,
    mut feed: Box<dyn Chunks>,
) {
    let mut writer = Writer { out: encode(head, "connection: close\r\n"), written: 0 };
    let is_finished = poll_fn(|cx| {
        loop {
            match writer.poll_write(&mut io, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => break,
            }
            match feed.poll_chunk(cx) {
                Poll::Ready(Some(chunk)) => writer = Writer { out: chunk, written: 0 },
                Poll::Ready(None) => return Poll::Ready(true),
                Poll::Pending => break,
            }
        }
        poll_gone(&mut io, cx).map(|()| false)
    })
    .await;
    if is_finished {
        // The client may be gone, and then there is nobody to tell.
        let _ = io.shutdown().await;
    }
}

/// Writes the head of an answer that HTTP ends with. Whether the client took it in time.
pub(crate) async fn last_head(io: &mut (impl AsyncWrite + Unpin), head: &Parts, within: Duration) -> bool {
    let head = encode(head, "");
    matches!(tokio::time::timeout(within, io.write_all(&head)).await, Ok(Ok(())))
}

fn encode(head: &Parts, more: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let reason = head.status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n{more}", head.status.as_str()).as_bytes());
    for (name, value) in &head.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let date = httpdate::HttpDate::from(SystemTime::now());
    out.extend_from_slice(format!("date: {date}\r\n\r\n").as_bytes());
    out
}

/// A chunk on its way out.
struct Writer {
    out: Vec<u8>,
    written: usize,
}

impl Writer {
    /// Writes what is left, and forgets it once it is written.
    fn poll_write(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        while self.written < self.out.len() {
            match Pin::new(&mut *io).poll_write(cx, &self.out[self.written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(more)) => self.written += more,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        *self = Self { out: Vec::new(), written: 0 };
        Poll::Ready(Ok(()))
    }
}

/// Ready when the client has closed. What it sends is of no interest any more.
fn poll_gone(io: &mut (impl AsyncRead + Unpin), cx: &mut Context<'_>) -> Poll<()> {
    let mut scratch = [0u8; 256];
    loop {
        let mut buf = ReadBuf::new(&mut scratch);
        match Pin::new(&mut *io).poll_read(cx, &mut buf) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
            Poll::Ready(_) => return Poll::Ready(()),
        }
    }
}
