//! The side that both kinds of WebSocket share: what is read, and how the end goes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{End, Inbound};

/// Bytes read at once when nothing of them is wanted.
const GLANCE: usize = 512;

/// A stream and the frames that come from it.
#[derive(Debug)]
pub(super) struct Source<S> {
    pub(super) stream: S,
    /// What was read of the stream and not looked at.
    before: Bytes,
    pub(super) inbound: Inbound,
}

/// How far the end is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Parting {
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

impl<S> Source<S> {
    /// `before` was read of `stream` already.
    pub(super) fn new(stream: S, before: Bytes, inbound: Inbound) -> Self {
        Self { stream, before, inbound }
    }

    /// Takes back what was read, to be read again next.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.before = if self.before.is_empty() {
            Bytes::copy_from_slice(bytes)
        } else {
            [bytes, &self.before].concat().into()
        };
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
}

impl<S: AsyncRead + AsyncWrite + Unpin> Source<S> {
    /// What follows our close frame.
    pub(super) fn after_ours(&self) -> Parting {
        if self.inbound.end().is_some() { Parting::Leaving } else { Parting::Listening }
    }

    /// Reads bytes as they come; 0 is the end, if `free` has room.
    pub(super) fn poll_raw(&mut self, cx: &mut Context<'_>, free: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.before.is_empty() {
            return Poll::Ready(Ok(self.take_before(free)));
        }
        let mut raw = ReadBuf::new(free);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut raw))?;
        Poll::Ready(Ok(raw.filled().len()))
    }

    /// Goes on with the end after our close frame was written: waits for theirs, ends the writing side, and takes what
    /// still comes from who broke the protocol.
    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>, parting: &mut Parting) -> Poll<io::Result<()>> {
        loop {
            *parting = match *parting {
                // Until then the end is the writer's.
                Parting::Not | Parting::Saying => self.after_ours(),
                Parting::Listening => {
                    ready!(self.poll_discard(cx, |inbound, read| {
                        inbound.decode(read);
                        inbound.end().is_some()
                    }));
                    Parting::Leaving
                }
                Parting::Leaving => {
                    ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
                    let is_violated = matches!(self.inbound.end(), Some(End::Violated(_)));
                    if is_violated { Parting::Skimming } else { Parting::Done }
                }
                Parting::Skimming => {
                    ready!(self.poll_discard(cx, |_, _| false));
                    Parting::Done
                }
                Parting::Done => return Poll::Ready(Ok(())),
            };
        }
    }

    /// Takes what the peer sends until `is_enough` or its side has ended.
    fn poll_discard(
        &mut self,
        cx: &mut Context<'_>,
        is_enough: impl Fn(&mut Inbound, &mut [u8]) -> bool,
    ) -> Poll<()> {
        let mut scratch = [0; GLANCE];
        loop {
            match ready!(self.poll_raw(cx, &mut scratch)) {
                Ok(count) if count > 0 => {
                    if is_enough(&mut self.inbound, &mut scratch[..count]) {
                        return Poll::Ready(());
                    }
                }
                // An error is an end like another.
                Ok(_) | Err(_) => {
                    self.inbound.lost();
                    return Poll::Ready(());
                }
            }
        }
    }
}
