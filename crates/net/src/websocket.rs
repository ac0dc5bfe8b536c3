//! WebSockets (RFC 6455): here as the stream of bytes that binary messages carry, in `messages` as whole messages.
//!
//! The stream is for protocols that only want bytes, such as MQTT (MQTT 5 §6): where messages and frames begin and end
//! means nothing. Data is unmasked where it was read to, and written from where it lies, so that a connection keeps no
//! buffer of its own, and a frame needs no memory, however long it says it is
//! (`docs/adr/0007-websocket-frames.md`).
//!
//! Both read with the same `frames` and end in the same way (`source`). The handshake is the HTTP door's; [`accept_key`]
//! is its one part that is about WebSocket alone.

mod frames;
mod messages;
mod source;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Draining;
use frames::{Inbound, OWN_HEADER_BYTES, Purpose};
use source::{Parting, Source};

pub use frames::{CloseCode, End, Kind};
pub use messages::{Input, Message, Messages};

/// Appended to a client's key before it is hashed (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of the key that a client makes up.
const KEY_BYTES: usize = 16;
/// Pieces of data in one gathered write.
const PIECES: usize = 64;

/// The server's end of a WebSocket.
///
/// Each write is one binary frame. Pings are answered. The end of the stream is a close frame or a violation, which
/// also swallows what is written after it; shutting down says why in a close frame of its own: 1000, 1001 when
/// draining has begun, the client's own code, or what it did wrong.
#[derive(Debug)]
pub struct WebSocket<S> {
    source: Source<S>,
    outbound: Outbound,
    parting: Parting,
    draining: Draining,
}

/// What has to be written before anything else can be.
#[derive(Debug, Default)]
struct Outbound {
    /// What is left of control frames.
    control: Vec<u8>,
    /// The header of the frame that is being written, and how much of it was.
    header: [u8; OWN_HEADER_BYTES],
    header_written: usize,
    header_used: usize,
    /// Bytes that the header promised and that were not written.
    left: u64,
}

/// What answers the key of a handshake in `Sec-WebSocket-Accept` (RFC 6455 §4.2.2); `None` for what is no key.
pub fn accept_key(key: &str) -> Option<String> {
    BASE64_STANDARD.decode(key).ok().filter(|key| key.len() == KEY_BYTES)?;
    let mut hash = sha1_smol::Sha1::from(key);
    hash.update(GUID.as_bytes());
    Some(BASE64_STANDARD.encode(hash.digest().bytes()))
}

impl<S> WebSocket<S> {
    /// A WebSocket whose handshake is done. `before` is what was read of `stream` behind the handshake; a frame that
    /// says to be longer than `frame_bytes` ends it with 1009.
    pub fn new(stream: S, before: Bytes, frame_bytes: usize, draining: Draining) -> Self {
        let source = Source::new(stream, before, Inbound::new(Purpose::Stream, frame_bytes));
        Self { source, outbound: Outbound::default(), parting: Parting::Not, draining }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Reads frames until there is data in `buf` or the stream has ended.
    fn poll_data(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while buf.remaining() > 0 && self.source.inbound.end().is_none() {
            let free = buf.initialize_unfilled();
            let count = ready!(self.source.poll_raw(cx, free))?;
            if count == 0 {
                self.source.inbound.lost();
                break;
            }
            let data = self.source.inbound.decode(&mut free[..count]);
            buf.advance(data);
            if data > 0 {
                break;
            }
            self.answer_ping(cx)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the answer to a ping as far as the stream takes it now.
    fn answer_ping(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.poll_control(cx) {
            Poll::Ready(written) => written,
            // The stream wakes us when it takes more.
            Poll::Pending => Ok(()),
        }
    }

    /// Writes the answer to a ping and what is left of others, unless a frame of data is half written. Nothing goes
    /// out behind our close frame.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outbound.is_in_frame() || self.parting != Parting::Not {
            return Poll::Ready(Ok(()));
        }
        self.queue_pong();
        self.poll_queued(cx)
    }

    /// Writes the control frames that are queued.
    fn poll_queued(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbound.control.is_empty() {
            let written = ready!(Pin::new(&mut self.source.stream).poll_write(cx, &self.outbound.control))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outbound.control_written(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Puts the answer to a ping where it goes out next. One that is not out yet has to go first, so that a client
    /// that only pings gets few answers and takes no memory.
    fn queue_pong(&mut self) {
        if self.outbound.control.is_empty()
            && let Some(ping) = self.source.inbound.take_ping()
        {
            frames::pong(&mut self.outbound.control, &ping);
        }
    }

    /// The code of our own close frame.
    fn close_code(&self) -> Option<CloseCode> {
        match self.source.inbound.end() {
            Some(end) => end.answer(),
            None if self.draining.is_begun() => Some(CloseCode::GOING_AWAY),
            None => Some(CloseCode::NORMAL),
        }
    }
}

impl Outbound {
    fn is_in_frame(&self) -> bool {
        self.left > 0
    }

    fn open(&mut self, length: u64) {
        (self.header, self.header_used) = frames::header(Kind::Binary, length);
        self.header_written = 0;
        self.left = length;
    }

    fn control_written(&mut self, count: usize) {
        self.control.drain(..count);
        if self.control.is_empty() {
            self.control = Vec::new();
        }
    }

    /// Notes `count` written bytes and returns how many of them are data.
    fn written(&mut self, mut count: usize) -> usize {
        let control = count.min(self.control.len());
        self.control_written(control);
        count -= control;
        let header = count.min(self.header_used - self.header_written);
        self.header_written += header;
        count -= header;
        self.left -= count as u64;
        count
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.answer_ping(cx)?;
        self.poll_data(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let length: usize = data.iter().map(|piece| piece.len()).sum();
        if this.source.inbound.end().is_some() || length == 0 {
            return Poll::Ready(Ok(length));
        }
        loop {
            if !this.outbound.is_in_frame() {
                this.queue_pong();
                this.outbound.open(length as u64);
            }
            let Outbound { control, header, header_written, header_used, left } = &this.outbound;
            let mut pieces = [IoSlice::new(&[]); PIECES + 2];
            pieces[0] = IoSlice::new(control);
            pieces[1] = IoSlice::new(&header[*header_written..*header_used]);
            let mut used = 2;
            let mut room = usize::try_from(*left).unwrap_or(usize::MAX);
            for piece in data.iter().take(PIECES) {
                let piece = &piece[..piece.len().min(room)];
                room -= piece.len();
                pieces[used] = IoSlice::new(piece);
                used += 1;
            }
            let written = ready!(Pin::new(&mut this.source.stream).poll_write_vectored(cx, &pieces[..used]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            match this.outbound.written(written) {
                // Only what goes before the data was taken.
                0 => {}
                data => return Poll::Ready(Ok(data)),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_control(cx))?;
        Pin::new(&mut self.source.stream).poll_flush(cx)
    }

    /// Ends the WebSocket in order, which takes the client's close frame: bound it with a timeout.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            this.parting = match this.parting {
                // Half a frame cannot be taken back, and nothing that follows it would be understood.
                Parting::Not if this.outbound.is_in_frame() => Parting::Leaving,
                Parting::Not => {
                    let code = this.close_code();
                    frames::close(&mut this.outbound.control, code, "");
                    Parting::Saying
                }
                Parting::Saying => {
                    ready!(this.poll_queued(cx))?;
                    ready!(Pin::new(&mut this.source.stream).poll_flush(cx))?;
                    this.source.after_ours()
                }
                _ => return this.source.poll_part(cx, &mut this.parting),
            };
        }
    }
}
