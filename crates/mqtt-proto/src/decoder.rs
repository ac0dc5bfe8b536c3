//! Cuts a stream of bytes into packets.

use crate::error::DecodeError;
use crate::packet::{Kind, Packet};
use crate::version::Version;
use crate::wire::{read_varint, varint_size};
use bytes::Bytes;

/// The least that the buffer of an unfinished packet grows to.
const GROWTH: usize = 256;
/// Up to this many bytes after the fixed header, no packet but PUBLISH has room for a string, a property or a payload: an id
/// and a reason fill them.
const BARE: u32 = 3;

/// On which side of the connection a decoder reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads what clients send, beginning with CONNECT, which sets the version.
    Server,
    /// Reads what servers send to a client of this version.
    Client(Version),
}

/// Cuts a stream of bytes into packets and reads them.
///
/// Each packet is copied out of the input once, into memory of exactly its size, which its parts share; one that has no parts,
/// like most acknowledgements, is not copied. An unfinished packet is kept inside, in memory that never exceeds twice what was received.
#[derive(Debug)]
pub struct Decoder {
    server: bool,
    version: Option<Version>,
    limit: u32,
    /// What was received and is not a packet yet, after `taken` bytes that are.
    partial: Vec<u8>,
    taken: usize,
}

impl Decoder {
    /// A decoder that refuses packets of more than `limit` bytes.
    pub fn new(role: Role, limit: u32) -> Self {
        let (server, version) = match role {
            Role::Server => (true, None),
            Role::Client(version) => (false, Some(version)),
        };
        Self { server, version, limit, partial: Vec::new(), taken: 0 }
    }

    /// Changes the largest packet in bytes, from the next packet on.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// The version that CONNECT said, or that the client speaks.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Whether nothing of an unfinished packet, and nothing that was [kept](Self::keep), is inside.
    pub fn is_empty(&self) -> bool {
        self.partial.is_empty()
    }

    /// Takes the next packet off the front of `input`; `None` when more bytes are needed, and then `input` is empty.
    ///
    /// # Errors
    /// The bytes are no packet that may come here; nothing sensible can follow.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Packet>, DecodeError> {
        if self.partial.is_empty() {
            if let Some(header) = self.header(input)?
                && let Some((packet, rest)) = input.split_at_checked(header.size)
            {
                *input = rest;
                return self.read_borrowed(packet, header).map(Some);
            }
            self.keep(input);
            *input = &[];
            return Ok(None);
        }
        self.resume(input)
    }

    /// Keeps `input` to be read before what comes later: for an owner who must stop in the middle and cannot hold on to
    /// its buffer.
    pub fn keep(&mut self, input: &[u8]) {
        self.grow(self.pending().len() + input.len());
        self.partial.extend_from_slice(input);
    }

    fn pending(&self) -> &[u8] {
        &self.partial[self.taken..]
    }

    /// Goes on with the unfinished packet.
    fn resume(&mut self, input: &mut &[u8]) -> Result<Option<Packet>, DecodeError> {
        loop {
            let header = self.header(self.pending())?;
            let have = self.pending().len();
            let wanted = header.map_or(have + 1, |header| header.size);
            if let (Some(header), true) = (header, have >= wanted) {
                return self.read_pending(header).map(Some);
            }
            let count = input.len().min(wanted - have);
            if count == 0 {
                return Ok(None);
            }
            let (taken, rest) = input.split_at(count);
            // Twice what is there, but not more than the packet takes, so that a whole packet fits its memory.
            self.grow((have + count).max(wanted.min(have * 2)));
            self.partial.extend_from_slice(taken);
            *input = rest;
        }
    }

    /// Makes room for `size` bytes from the next packet on. What is taken is only moved out of the way here, not with
    /// each packet.
    fn grow(&mut self, size: usize) {
        if self.taken + size > self.partial.capacity() {
            self.partial.drain(..self.taken);
            self.taken = 0;
            if size > self.partial.capacity() {
                let additional = size.max(GROWTH) - self.partial.len();
                self.partial.reserve_exact(additional);
            }
        }
    }

    /// Reads the next packet, which is whole.
    fn read_pending(&mut self, header: Header) -> Result<Packet, DecodeError> {
        let size = header.size;
        let partial = std::mem::take(&mut self.partial);
        let start = std::mem::take(&mut self.taken);
        if start == 0 && partial.len() == size && partial.capacity() <= size + size / 4 {
            let owner = Bytes::from(partial);
            return self.read(&owner, &owner, header);
        }
        let end = start + size;
        let read = self.read_borrowed(&partial[start..end], header);
        if end < partial.len() {
            (self.partial, self.taken) = (partial, end);
        }
        read
    }

    /// Reads a packet of which the memory is another's. What could share it is copied first.
    #[inline]
    fn read_borrowed(&mut self, packet: &[u8], header: Header) -> Result<Packet, DecodeError> {
        let owner = if header.has_parts { Bytes::copy_from_slice(packet) } else { Bytes::new() };
        self.read(if header.has_parts { &owner } else { packet }, &owner, header)
    }

    /// The fixed header at the front of `bytes`, checked as far as it is there; `None` while it is not whole.
    fn header(&self, bytes: &[u8]) -> Result<Option<Header>, DecodeError> {
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let kind = Kind::from_first_byte(first)?;
        if !self.may_come(kind) {
            return Err(DecodeError::Unexpected(kind));
        }
        let Some((remaining, size)) = read_varint(rest)? else {
            return Ok(None);
        };
        let header = Header {
            head: 1 + size,
            size: 1 + size + remaining as usize,
            minimal: size == varint_size(remaining),
            has_parts: kind == Kind::Publish || remaining > BARE,
        };
        if header.size as u64 > u64::from(self.limit) {
            return Err(DecodeError::TooLarge { size: header.size as u64, limit: self.limit });
        }
        Ok(Some(header))
    }

    fn may_come(&self, kind: Kind) -> bool {
        let Some(version) = self.version else {
            return kind == Kind::Connect;
        };
        match kind {
            Kind::Connect | Kind::Subscribe | Kind::Unsubscribe | Kind::PingReq => self.server,
            Kind::ConnAck | Kind::SubAck | Kind::UnsubAck | Kind::PingResp => !self.server,
            Kind::Publish | Kind::PubAck | Kind::PubRec | Kind::PubRel | Kind::PubComp => true,
            Kind::Disconnect => self.server || version.is_v5(),
            Kind::Auth => version.is_v5(),
        }
    }

    /// Reads `packet`, whose parts share `owner`.
    fn read(&mut self, packet: &[u8], owner: &Bytes, header: Header) -> Result<Packet, DecodeError> {
        let packet = Packet::read(packet, owner, header.head, self.version.unwrap_or(Version::V5))?;
        if let (Packet::Connect(connect), None) = (&packet, self.version) {
            self.version = Some(connect.version);
        }
        // 3.1.1 does not ask for the shortest form of the length, and small clients write it in four bytes.
        if !header.minimal && self.version == Some(Version::V5) {
            return Err(DecodeError::VariableInteger);
        }
        Ok(packet)
    }
}

#[derive(Clone, Copy)]
struct Header {
    /// Bytes of the fixed header.
    head: usize,
    /// Bytes of the packet.
    size: usize,
    /// Whether the length takes no more bytes than it needs.
    minimal: bool,
    /// Whether parts of the packet may be kept, which share its memory.
    has_parts: bool,
}
