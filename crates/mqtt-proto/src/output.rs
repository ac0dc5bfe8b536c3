//! What one socket is owed.

use bytes::Bytes;
use std::collections::VecDeque;
use std::io::IoSlice;

/// From this size in bytes on, a part of a packet is shared instead of copied: copying fewer bytes costs less than counting a
/// reference and a further slice in the write.
pub const SHARE_FROM: usize = 4096;

/// How much memory in bytes an output keeps when it is empty. More is kept only where it is [lent](Output::lend).
const KEEP: usize = 512;

/// Bytes to write, in order: small pieces gathered in one buffer, large ones shared.
#[derive(Debug, Default)]
pub struct Output {
    copied: Vec<u8>,
    /// How much of `copied` is written.
    written: usize,
    /// The memory of `copied` is somebody else's.
    is_lent: bool,
    /// Large pieces, while there are any; in a box, because mostly there are none.
    #[expect(
        clippy::box_collection,
        reason = "every connection holds an output, hardly any one a large piece"
    )]
    shared: Option<Box<VecDeque<SharedPiece>>>,
    /// Bytes of all shared pieces that are not written yet.
    shared_bytes: usize,
    /// Packets that were put in since they were last counted.
    packets: u32,
}

#[derive(Debug)]
struct SharedPiece {
    /// The piece stands before this byte of `copied`.
    at: usize,
    bytes: Bytes,
}

impl Output {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lends memory to gather small pieces in, until it is [given back](Self::give_back): many outputs that are filled and
    /// emptied one after the other use the same memory. One that has memory of its own goes on with that.
    pub fn lend(&mut self, buffer: &mut Vec<u8>) {
        if self.copied.capacity() == 0 {
            debug_assert!(buffer.is_empty(), "what is lent holds nothing");
            std::mem::swap(&mut self.copied, buffer);
            self.is_lent = true;
        }
    }

    /// Gives back what was lent. Bytes that are still to be written move to memory of their own.
    pub fn give_back(&mut self, buffer: &mut Vec<u8>) {
        if !std::mem::take(&mut self.is_lent) {
            return;
        }
        std::mem::swap(&mut self.copied, buffer);
        if !buffer.is_empty() {
            self.copied.extend_from_slice(buffer);
            buffer.clear();
        }
    }

    /// A packet was put in.
    #[inline]
    pub(crate) fn count_packet(&mut self) {
        self.packets = self.packets.wrapping_add(1);
    }

    /// How many packets were put in since this was last asked.
    pub(crate) fn take_packets(&mut self) -> u32 {
        std::mem::take(&mut self.packets)
    }

    /// The buffer of small pieces, to append to.
    pub(crate) fn copied(&mut self) -> &mut Vec<u8> {
        &mut self.copied
    }

    /// Appends `bytes[from..]`, copied or shared.
    #[inline]
    pub(crate) fn push_part(&mut self, bytes: &Bytes, from: usize) {
        let length = bytes.len() - from;
        if length < SHARE_FROM {
            self.copied.extend_from_slice(&bytes[from..]);
        } else {
            self.shared_bytes += length;
            self.shared
                .get_or_insert_default()
                .push_back(SharedPiece { at: self.copied.len(), bytes: bytes.slice(from..) });
        }
    }

    /// How many bytes are to be written.
    #[inline]
    pub fn len(&self) -> usize {
        self.copied.len() - self.written + self.shared_bytes
    }

    /// Whether everything is written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `slices` from the front for one gathered write, and says how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut put = |bytes: &'a [u8]| {
            if !bytes.is_empty()
                && let Some(slice) = slices.get_mut(filled)
            {
                *slice = IoSlice::new(bytes);
                filled += 1;
            }
        };
        let mut from = self.written;
        for piece in self.shared.iter().flat_map(|pieces| pieces.iter()) {
            put(&self.copied[from..piece.at]);
            put(&piece.bytes);
            from = piece.at;
        }
        put(&self.copied[from..]);
        filled
    }

    /// The first bytes that lie together: all of them, unless large pieces are shared.
    pub fn front(&self) -> &[u8] {
        match self.shared.as_ref().and_then(|pieces| pieces.front()) {
            Some(piece) if piece.at == self.written => &piece.bytes,
            Some(piece) => &self.copied[self.written..piece.at],
            None => &self.copied[self.written..],
        }
    }

    /// Forgets the first `count` bytes, which are written. `count` is at most [`Self::len`].
    pub fn consume(&mut self, mut count: usize) {
        while let Some(pieces) = &mut self.shared {
            let Some(piece) = pieces.front_mut() else { break };
            let before = piece.at - self.written;
            if count < before {
                break;
            }
            count -= before;
            self.written = piece.at;
            let shared = count.min(piece.bytes.len());
            self.shared_bytes -= shared;
            count -= shared;
            if shared < piece.bytes.len() {
                bytes::Buf::advance(&mut piece.bytes, shared);
                return;
            }
            pieces.pop_front();
        }
        self.written += count;
        debug_assert!(self.written <= self.copied.len(), "more consumed than there was");
        if self.is_empty() {
            self.reset();
        } else if self.written > self.copied.len() / 2 {
            // Or the output of a client that never takes the last byte would grow for as long as it is answered.
            self.forget_written();
        }
    }

    fn forget_written(&mut self) {
        let written = std::mem::take(&mut self.written);
        self.copied.drain(..written);
        for piece in self.shared.iter_mut().flat_map(|pieces| pieces.iter_mut()) {
            piece.at -= written;
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.shared_bytes = 0;
        self.reset();
    }

    fn reset(&mut self) {
        self.written = 0;
        self.shared = None;
        if self.copied.capacity() > KEEP && !self.is_lent {
            self.copied = Vec::new();
        } else {
            self.copied.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lent_memory_comes_back_and_nothing_is_lost() {
        let mut lent = Vec::with_capacity(8 << 10);
        let at = lent.as_ptr();
        let mut output = Output::new();
        output.lend(&mut lent);
        output.copied().extend_from_slice(b"all of it goes");
        output.consume(14);
        output.give_back(&mut lent);
        assert_eq!((lent.as_ptr(), output.copied.capacity()), (at, 0));

        output.lend(&mut lent);
        output.copied().extend_from_slice(b"some of it stays");
        output.consume(5);
        output.give_back(&mut lent);
        assert_eq!((lent.as_ptr(), lent.len()), (at, 0));
        assert_eq!(output.front(), b"of it stays");
        assert!(output.copied.capacity() < 64);

        // It has memory now, so the next loan is not needed, and giving back takes nothing away.
        output.lend(&mut lent);
        output.give_back(&mut lent);
        assert_eq!(lent.as_ptr(), at);
        assert_eq!(output.front(), b"of it stays");
        output.consume(11);
        assert!(output.is_empty());
    }

    #[test]
    fn a_client_that_is_always_behind_takes_no_more_memory() {
        let mut output = Output::new();
        let (mut put, mut taken) = (Vec::new(), Vec::new());
        for number in 0..10_000_u32 {
            let piece = number.to_string();
            output.copied().extend_from_slice(piece.as_bytes());
            put.extend_from_slice(piece.as_bytes());
            if number % 1_000 == 0 {
                let large = Bytes::from(vec![b'.'; SHARE_FROM]);
                output.push_part(&large, 0);
                put.extend_from_slice(&large);
            }
            while output.len() > 10 {
                let count = output.front().len().min(output.len() - 10);
                taken.extend_from_slice(&output.front()[..count]);
                output.consume(count);
            }
            assert!(output.copied.capacity() < 256, "after {number}");
        }
        taken.extend_from_slice(output.front());
        assert!(taken == put);
    }
}
