//! A WebSocket as whole messages, text and binary.
//!
//! For a loop that reads, acts and writes in turns. Reading is into memory that the caller lends, one buffer for all
//! connections of a shard, and a message that lies in it whole is given out where it lies: only one that is still
//! incomplete takes memory, in step with the bytes that came. What is written is gathered as frames in one buffer, lent
//! too, and leaves in one write for each turn. So an idle connection has neither buffer.
//!
//! ```text
//! messages.lend(&mut write_buffer);
//! if let Poll::Ready(mut input) = messages.poll_read(cx, &mut read_buffer) {
//!     while let Some(message) = messages.next_message(&mut input) { … messages.queue(Kind::Text, &[answer]); }
//!     messages.keep(input);
//! }
//! let written = messages.poll_flush(cx);
//! messages.give_back(&mut write_buffer);
//! if messages.end().is_some() { … messages.poll_close(cx) }
//! ```

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::frames::{self, CloseCode, End, Found, Inbound, Kind, Purpose};
use super::source::{Parting, Source};

/// How much memory in bytes the output keeps when it is empty. More is kept only where it is lent.
const KEEP: usize = 512;
/// Unwritten bytes from which on pings are not answered one by one: the newest is answered when these have left, so that
/// who pings and does not read takes no memory.
const PONG_ROOM: usize = 4096;
/// Room that is left for the header of a message of unknown length. Where another is needed, the message is moved.
const USUAL_HEADER_BYTES: usize = 4;

/// The server's end of a WebSocket that carries messages. Pings are answered.
#[derive(Debug)]
pub struct Messages<S> {
    source: Source<S>,
    /// The message that has begun and is not whole.
    unfinished: Option<Box<Unfinished>>,
    output: Output,
    parting: Parting,
}

/// One message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// Text, which is UTF-8.
    Text(Cow<'a, str>),
    /// Any bytes.
    Binary(Cow<'a, [u8]>),
}

/// What was read and is still to be looked at. Nothing means that nothing was read: [`Messages::end`] says why.
#[derive(Default, Debug)]
pub struct Input<'a>(&'a mut [u8]);

/// A message of which not all has come.
#[derive(Default, Debug)]
struct Unfinished {
    bytes: Vec<u8>,
    utf8: Utf8,
}

/// Whether pieces of text are UTF-8: the beginning of a character that is cut.
#[derive(Default, Debug)]
struct Utf8 {
    cut: [u8; 4],
    used: usize,
}

/// Whole frames on their way out.
#[derive(Default, Debug)]
struct Output {
    bytes: Vec<u8>,
    /// How much of `bytes` is written.
    written: usize,
    /// The memory of `bytes` is somebody else's.
    is_lent: bool,
    /// The last write was not taken.
    is_full: bool,
    /// The stream may have kept some of what was written.
    is_unflushed: bool,
}

impl<S> Messages<S> {
    /// A WebSocket whose handshake is done. `before` is what was read of `stream` behind the handshake; a message of more
    /// than `message_bytes` ends it with 1009.
    pub fn new(stream: S, before: Bytes, message_bytes: usize) -> Self {
        let source = Source::new(stream, before, Inbound::new(Purpose::Messages, message_bytes));
        Self { source, unfinished: None, output: Output::default(), parting: Parting::Not }
    }

    /// The next message of `input`, or `None` when there is no whole one in the rest, which is used then, or the peer's side
    /// has [ended](Self::end).
    ///
    /// A message that lay in the input whole is lent from it; one that came in parts is owned, and its memory is given back
    /// with it.
    pub fn next_message<'a>(&mut self, input: &mut Input<'a>) -> Option<Message<'a>> {
        while !input.0.is_empty() {
            let bytes = std::mem::take(&mut input.0);
            let (used, found) = self.source.inbound.step(bytes);
            let (seen, rest) = bytes.split_at_mut(used);
            input.0 = rest;
            match found {
                Found::Nothing => {}
                Found::Control => self.output.answer_ping(&mut self.source.inbound, self.parting),
                Found::Data { kind, place, ends } => match self.join(kind, &seen[place], ends) {
                    Ok(None) => {}
                    Ok(message) => return message,
                    Err(code) => self.source.inbound.violated(code),
                },
            }
        }
        None
    }

    /// Keeps what is left of `input` in memory of its own, to be read next: for a turn that stops before the input ends.
    pub fn keep(&mut self, Input(rest): Input<'_>) {
        self.source.keep(rest);
    }

    /// How the peer's side ended, once it has. Nothing more is read then, and [`Self::poll_close`] is what is left to do.
    pub fn end(&self) -> Option<End> {
        self.source.inbound.end()
    }

    /// Lends empty memory to gather frames in, until it is [given back](Self::give_back). A connection whose last turn left
    /// bytes unwritten goes on with memory of its own.
    pub fn lend(&mut self, buffer: &mut Vec<u8>) {
        if self.output.bytes.capacity() == 0 {
            debug_assert!(buffer.is_empty(), "what is lent holds nothing");
            std::mem::swap(&mut self.output.bytes, buffer);
            self.output.is_lent = true;
        }
    }

    /// Gives back what was lent. Frames that are still to be written move to memory of their own.
    pub fn give_back(&mut self, buffer: &mut Vec<u8>) {
        if std::mem::take(&mut self.output.is_lent) {
            std::mem::swap(&mut self.output.bytes, buffer);
            self.output.bytes.extend_from_slice(&buffer[self.output.written..]);
            self.output.written = 0;
            buffer.clear();
        }
    }

    /// Queues one message made of `parts`, which are copied. Text has to be UTF-8, which is not looked at. After
    /// [`Self::queue_close`] nothing is queued.
    pub fn queue(&mut self, kind: Kind, parts: &[&[u8]]) {
        if self.parting != Parting::Not {
            return;
        }
        let length = parts.iter().map(|part| part.len() as u64).sum();
        let (header, used) = frames::header(kind, length);
        self.output.bytes.extend_from_slice(&header[..used]);
        for part in parts {
            self.output.bytes.extend_from_slice(part);
        }
    }

    /// Queues one message that `write` appends to the output itself, without a copy. One that is empty is not sent. The rules
    /// of [`Self::queue`] hold.
    pub fn queue_with(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
        if self.parting != Parting::Not {
            return;
        }
        let out = &mut self.output.bytes;
        let start = out.len();
        out.extend_from_slice(&[0; USUAL_HEADER_BYTES]);
        write(out);
        let length = out.len() - start - USUAL_HEADER_BYTES;
        if length == 0 {
            return out.truncate(start);
        }
        let (header, used) = frames::header(kind, length as u64);
        if used == USUAL_HEADER_BYTES {
            out[start..start + used].copy_from_slice(&header[..used]);
        } else {
            out.splice(start..start + USUAL_HEADER_BYTES, header[..used].iter().copied());
        }
    }

    /// Queues a ping, of which at most 125 bytes of payload are sent. The answer is not told: whatever is read is a sign of
    /// life.
    pub fn queue_ping(&mut self, payload: &[u8]) {
        if self.parting == Parting::Not {
            frames::ping(&mut self.output.bytes, payload);
        }
    }

    /// Queues a close frame, with at most 123 bytes of `reason`. It is the last thing that is queued; [`Self::poll_close`]
    /// does the rest.
    pub fn queue_close(&mut self, code: CloseCode, reason: &str) {
        self.say_close(Some(code), reason);
    }

    /// Bytes that are queued and not written.
    pub fn unwritten(&self) -> usize {
        self.output.unwritten().len()
    }

    /// Whether the peer takes bytes, as far as is known.
    pub fn takes_bytes(&self) -> bool {
        !self.output.is_full
    }

    fn say_close(&mut self, code: Option<CloseCode>, reason: &str) {
        if self.parting == Parting::Not {
            frames::close(&mut self.output.bytes, code, reason);
            self.parting = Parting::Saying;
        }
    }

    /// Puts data of a message to what came of it before. The message, if it `ends`.
    fn join<'a>(&mut self, kind: Kind, data: &'a [u8], ends: bool) -> Result<Option<Message<'a>>, CloseCode> {
        if self.unfinished.is_none() && ends {
            return Message::whole(kind, data).map(Some);
        }
        let left = self.source.inbound.left();
        let unfinished = self.unfinished.get_or_insert_default();
        unfinished.push(kind, data, left)?;
        if !ends {
            return Ok(None);
        }
        self.unfinished.take().map(|whole| whole.finish(kind)).transpose()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Messages<S> {
    /// Reads once, into memory that the caller lends. The connection's loss is an end, not an error; after an end or a queued
    /// close frame nothing is read.
    pub fn poll_read<'a>(&mut self, cx: &mut Context<'_>, scratch: &'a mut [u8]) -> Poll<Input<'a>> {
        if self.end().is_some() || self.parting != Parting::Not {
            return Poll::Ready(Input::default());
        }
        debug_assert!(!scratch.is_empty(), "what is lent has room");
        let count = ready!(self.source.poll_raw(cx, scratch)).unwrap_or(0);
        if count == 0 {
            self.source.inbound.lost();
        }
        Poll::Ready(Input(&mut scratch[..count]))
    }

    /// Writes what is queued, as much at once as the stream takes. Ready when all of it has left.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let output = &mut self.output;
        let stream = &mut self.source.stream;
        loop {
            output.answer_ping(&mut self.source.inbound, self.parting);
            if output.unwritten().is_empty() {
                break;
            }
            let written = Pin::new(&mut *stream).poll_write(cx, output.unwritten());
            output.is_full = written.is_pending();
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => output.consume(count),
            }
        }
        if output.is_unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            output.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the WebSocket in order: writes what is queued and a close frame, with the peer's own code, what it did wrong, or
    /// 1000, unless one [was queued](Self::queue_close); then waits for the peer's. Bound it with a timeout, for the peer may
    /// take its time.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unfinished = None;
        self.say_close(self.end().map_or(Some(CloseCode::NORMAL), End::answer), "");
        if self.parting == Parting::Saying {
            ready!(self.poll_flush(cx))?;
            self.parting = self.source.after_ours();
        }
        self.source.poll_part(cx, &mut self.parting)
    }
}

impl<'a> Message<'a> {
    /// A message that lies together.
    fn whole(kind: Kind, data: &'a [u8]) -> Result<Self, CloseCode> {
        match kind {
            Kind::Text => match std::str::from_utf8(data) {
                Ok(text) => Ok(Self::Text(text.into())),
                Err(_) => Err(CloseCode::INVALID_DATA),
            },
            Kind::Binary => Ok(Self::Binary(data.into())),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl Input<'_> {
    /// Whether there is nothing left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Unfinished {
    /// `left` more bytes are known to come. Memory grows in step with what came, and if it can, ends at these.
    fn push(&mut self, kind: Kind, data: &[u8], left: u64) -> Result<(), CloseCode> {
        if kind == Kind::Text && !self.utf8.goes_on(data) {
            return Err(CloseCode::INVALID_DATA);
        }
        let came = self.bytes.len() + data.len();
        match usize::try_from(left) {
            Ok(left) if (1..=came).contains(&left) => self.bytes.reserve_exact(data.len() + left),
            _ => self.bytes.reserve(data.len()),
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    fn finish<'a>(self, kind: Kind) -> Result<Message<'a>, CloseCode> {
        match kind {
            Kind::Text => match String::from_utf8(self.bytes) {
                Ok(text) => Ok(Message::Text(text.into())),
                // The last character is cut.
                Err(_) => Err(CloseCode::INVALID_DATA),
            },
            Kind::Binary => Ok(Message::Binary(self.bytes.into())),
        }
    }
}

impl Utf8 {
    /// Whether `data` can be what follows.
    fn goes_on(&mut self, mut data: &[u8]) -> bool {
        while self.used > 0
            && let Some((&byte, rest)) = data.split_first()
        {
            self.cut[self.used] = byte;
            self.used += 1;
            data = rest;
            match std::str::from_utf8(&self.cut[..self.used]) {
                Ok(_) => self.used = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return false,
            }
        }
        match std::str::from_utf8(data) {
            Ok(_) => true,
            Err(error) if error.error_len().is_none() => {
                let cut = &data[error.valid_up_to()..];
                self.cut[..cut.len()].copy_from_slice(cut);
                self.used = cut.len();
                true
            }
            Err(_) => false,
        }
    }
}

impl Output {
    fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    fn consume(&mut self, count: usize) {
        self.written += count;
        self.is_unflushed = true;
        if self.written < self.bytes.len() {
            // Or the output of who never takes the last byte would grow for ever.
            if self.written > self.bytes.len() / 2 {
                self.bytes.drain(..self.written);
                self.written = 0;
            }
            return;
        }
        self.written = 0;
        if self.bytes.capacity() > KEEP && !self.is_lent {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }

    /// Queues the answer to a ping. Nothing goes out behind our close frame.
    fn answer_ping(&mut self, inbound: &mut Inbound, parting: Parting) {
        if parting == Parting::Not
            && self.unwritten().len() < PONG_ROOM
            && let Some(ping) = inbound.take_ping()
        {
            frames::pong(&mut self.bytes, &ping);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether text is UTF-8, or the piece at which that was known not to be so.
    type Verdict = Result<bool, usize>;

    fn judge(pieces: &[&[u8]]) -> Verdict {
        let mut utf8 = Utf8::default();
        match pieces.iter().position(|piece| !utf8.goes_on(piece)) {
            Some(at) => Err(at),
            None => Ok(utf8.used == 0),
        }
    }

    #[test]
    fn text_that_cannot_become_utf8_is_known_at_its_first_byte() {
        let table: [(&[&[u8]], Verdict); 12] = [
            (&[], Ok(true)),
            (&[b"plain", b"", b"text"], Ok(true)),
            (&[b"\xe2", b"", b"\x82", b"\xac"], Ok(true)),
            (&[b"\xf0\x9f", b"\x98\x80\xf0", b"\x9f\x98", b"\x80"], Ok(true)),
            (&[b"\xe2\x82", b"\xac\xe2"], Ok(false)),
            (&[b"a", b"\x80"], Err(1)),
            (&[b"\xe2", b"a"], Err(1)),
            // A surrogate, a number beyond the last, a longer form than needed: the second byte tells.
            (&[b"\xed", b"\xa0"], Err(1)),
            (&[b"\xf4", b"\x90"], Err(1)),
            (&[b"\xe0", b"\x80"], Err(1)),
            (&[b"\xc0"], Err(0)),
            (&[b"\xf5"], Err(0)),
        ];
        for (pieces, verdict) in table {
            assert_eq!(judge(pieces), verdict, "{pieces:x?}");
        }
    }

    proptest! {
        #[test]
        fn text_is_judged_alike_however_it_is_cut(
            text in prop_oneof![any::<String>().prop_map(String::into_bytes), any::<Vec<u8>>()],
            flipped in proptest::option::of(any::<(prop::sample::Index, u8)>()),
            lengths in proptest::collection::vec(0..5_usize, 0..40),
        ) {
            let mut text = text;
            if let Some((at, byte)) = flipped && !text.is_empty() {
                let at = at.index(text.len());
                text[at] = byte;
            }
            let (mut pieces, mut rest) = (Vec::new(), &text[..]);
            for length in lengths {
                let (piece, later) = rest.split_at(length.min(rest.len()));
                pieces.push(piece);
                rest = later;
            }
            pieces.push(rest);
            prop_assert_eq!(judge(&pieces) == Ok(true), std::str::from_utf8(&text).is_ok());
        }
    }
}
