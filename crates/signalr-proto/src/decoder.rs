//! Cuts a stream of bytes into messages.

use crate::error::ProtocolError;
use crate::message::{Message, Protocol};
use crate::{RECORD_SEPARATOR, json, messagepack, pack};
use std::ops::Range;

/// Cuts a stream of bytes into messages and reads them.
///
/// Bytes come in pieces of any size, with any number of messages or a part of one. What was pushed and is not read yet is kept
/// inside, and nothing when all of it was: an idle connection holds no buffer.
#[derive(Debug)]
pub struct Decoder {
    protocol: Protocol,
    limit: usize,
    /// What was received; messages were read up to `taken`.
    buffer: Vec<u8>,
    taken: usize,
    /// Bytes after `taken` in which no record ends.
    searched: usize,
}

impl Decoder {
    /// A decoder that refuses messages of more than `limit` bytes, without their frames.
    pub fn new(protocol: Protocol, limit: usize) -> Self {
        Self { protocol, limit, buffer: Vec::new(), taken: 0, searched: 0 }
    }

    /// The form that it reads.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether a part of a message is inside.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes more bytes. Read what is whole before pushing more: whoever pushes decides how much is inside.
    pub fn push(&mut self, input: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(input);
    }

    /// The next message; `None` when more bytes are needed. Messages of unknown types are passed over, so that later versions of
    /// the protocol can add some.
    ///
    /// # Errors
    /// The bytes are no message; nothing sensible can follow.
    #[expect(clippy::should_implement_trait, reason = "an iterator that goes on after `None` surprises")]
    pub fn next(&mut self) -> Result<Option<Message>, ProtocolError> {
        while let Some(Range { start, end }) = self.frame()? {
            let bytes = &self.buffer[start..end];
            let message = match self.protocol {
                Protocol::Json => json::decode(bytes),
                Protocol::MessagePack => messagepack::decode(bytes),
            };
            self.taken = if self.protocol == Protocol::Json { end + 1 } else { end };
            self.searched = 0;
            if self.taken == self.buffer.len() {
                self.buffer = Vec::new();
                self.taken = 0;
            }
            if let Some(message) = message? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Where the next message is, if all of it is there.
    fn frame(&mut self) -> Result<Option<Range<usize>>, ProtocolError> {
        let pending = &self.buffer[self.taken..];
        match self.protocol {
            Protocol::Json => {
                let found = pending[self.searched..].iter().position(|&byte| byte == RECORD_SEPARATOR);
                let size = self.searched + found.unwrap_or(pending.len() - self.searched);
                self.searched = size;
                if size > self.limit {
                    return Err(ProtocolError::TooLarge { limit: self.limit });
                }
                Ok(found.map(|_| self.taken..self.taken + size))
            }
            Protocol::MessagePack => {
                let length = pack::read_length(pending).map_err(|_| ProtocolError::Length)?;
                let Some((size, head)) = length else {
                    return Ok(None);
                };
                if size > self.limit {
                    return Err(ProtocolError::TooLarge { limit: self.limit });
                }
                let start = self.taken + head;
                Ok((pending.len() >= head + size).then_some(start..start + size))
            }
        }
    }
}
