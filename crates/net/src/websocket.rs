//! A WebSocket (RFC 6455) as the stream of bytes that its binary messages carry.
//!
//! For protocols that only want bytes, such as MQTT (MQTT 5 §6): where messages and frames begin and end means
//! nothing. Data is unmasked where it was read to, and written from where it lies, so that a connection keeps no
//! buffer of its own, and a frame needs no memory, however long it says it is
//! (`docs/adr/0007-websocket-frames.md`).
//!
//! The handshake is the HTTP door's; [`accept_key`] is its one part that is about WebSocket alone.

mod frames;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Draining;
use frames::{CloseCode, End, Inbound, OWN_HEADER_BYTES};

/// Appended to a client's key before it is hashed (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of the key that a client makes up.
const KEY_BYTES: usize = 16;
/// Pieces of data in one gathered write.
const PIECES: usize = 64;
/// Bytes read at once when nothing of them is wanted.
const GLANCE: usize = 512;

/// The server's end of a WebSocket.
///
/// Each write is one binary frame. Pings are answered. The end of the stream is a close frame or a violation, which
/// also swallows what is written after it; shutting down says why in a close frame of its own: 1000, 1001 when
/// draining has begun, the client's own code, or what it did wrong.
#[derive(Debug)]
pub struct WebSocket<S> {
    stream: S,
    /// What was read of the stream before it became a WebSocket.
    before: Bytes,
    inbound: Inbound,
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

/// How far the end is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Parting {
    Not,
    /// Our close frame is on its way.
    Saying,
    /// Theirs is to come.
    Listening,
    /// The writing side ends.
    Leaving,
    /// What they still send is taken, so that they can read why: a socket closed with unread bytes is reset, and the
    /// reset overtakes what was written.
    Skimming,
    Done,
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
        let (inbound, outbound) = (Inbound::new(frame_bytes), Outbound::default());
        Self { stream, before, inbound, outbound, parting: Parting::Not, draining }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Reads frames until there is data in `buf` or the stream has ended.
    fn poll_data(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while buf.remaining() > 0 && self.inbound.end().is_none() {
            let free = buf.initialize_unfilled();
            let count = if self.before.is_empty() {
                let mut raw = ReadBuf::new(free);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut raw))?;
                raw.filled().len()
            } else {
                self.take_before(free)
            };
            if count == 0 {
                self.inbound.lost();
                break;
            }
            let data = self.inbound.decode(&mut free[..count]);
            buf.advance(data);
            if data > 0 {
                break;
            }
            self.answer_ping(cx)?;
        }
        Poll::Ready(Ok(()))
    }

    fn take_before(&mut self, free: &mut [u8]) -> usize {
        let count = free.len().min(self.before.len());
        self.before.copy_to_slice(&mut free[..count]);
        if self.before.is_empty() {
            // What is left, even nothing, keeps all of it alive.
            self.before = Bytes::new();
        }
        count
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
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.outbound.control))?;
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
            && let Some(ping) = self.inbound.take_ping()
        {
            self.outbound.control = frames::pong(&ping);
        }
    }

    /// The code of our own close frame.
    fn close_code(&self) -> Option<CloseCode> {
        match self.inbound.end() {
            Some(end) => end.answer(),
            None if self.draining.is_begun() => Some(CloseCode::GOING_AWAY),
            None => Some(CloseCode::NORMAL),
        }
    }

    /// Takes what the client sends and throws it away, until its side has ended. With `is_frames` a close frame is an
    /// end.
    fn poll_discard(&mut self, cx: &mut Context<'_>, is_frames: bool) -> Poll<()> {
        let mut scratch = [0; GLANCE];
        while !(is_frames && self.inbound.end().is_some()) {
            let mut raw = ReadBuf::new(&mut scratch);
            let read = if is_frames {
                self.poll_data(cx, &mut raw)
            } else {
                Pin::new(&mut self.stream).poll_read(cx, &mut raw)
            };
            match ready!(read) {
                Ok(()) if !raw.filled().is_empty() => {}
                // An empty read is an end, which frames have noted, and an error is another.
                Ok(()) => return Poll::Ready(()),
                Err(_) => {
                    self.inbound.lost();
                    return Poll::Ready(());
                }
            }
        }
        Poll::Ready(())
    }
}

impl Outbound {
    fn is_in_frame(&self) -> bool {
        self.left > 0
    }

    fn open(&mut self, length: u64) {
        (self.header, self.header_used) = frames::header(length);
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
        if this.inbound.end().is_some() || length == 0 {
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
            let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, &pieces[..used]))?;
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
        Pin::new(&mut self.stream).poll_flush(cx)
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
                    this.outbound.control.extend_from_slice(&frames::close(code));
                    Parting::Saying
                }
                Parting::Saying => {
                    ready!(this.poll_queued(cx))?;
                    ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
                    if this.inbound.end().is_some() { Parting::Leaving } else { Parting::Listening }
                }
                Parting::Listening => {
                    ready!(this.poll_discard(cx, true));
                    Parting::Leaving
                }
                Parting::Leaving => {
                    ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                    let is_violated = matches!(this.inbound.end(), Some(End::Violated(_)));
                    if is_violated { Parting::Skimming } else { Parting::Done }
                }
                Parting::Skimming => {
                    ready!(this.poll_discard(cx, false));
                    Parting::Done
                }
                Parting::Done => return Poll::Ready(Ok(())),
            };
        }
    }
}
