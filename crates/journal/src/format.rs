//! The bytes of the files, as `docs/design/journal-format.md` maps them.
//!
//! Everything here works on slices and knows no file. Numbers are little-endian. What is decoded
//! comes from a disk and is believed only as far as a checksum reaches: lengths are checked against
//! the bytes that are there before anything is allocated.

mod codec;
#[cfg(test)]
mod tests;

use dovetail_model::Epoch;

pub(crate) use codec::{Interner, decode_change, decode_commit, encode_change, encode_commit, skip_commit};
pub use codec::{change_bytes, encoded_bytes};

/// The version of the formats below. A program reads only its own.
pub(crate) const VERSION: u32 = 1;
/// What the disk writes whole or not at all; records begin on these borders.
pub(crate) const SECTOR_BYTES: u64 = 512;
/// The first block of a segment; records follow it.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 4096;
/// The header of a record.
pub(crate) const RECORD_HEADER_BYTES: usize = 40;
/// The end of a record: its checksum and [`END_MARK`].
const RECORD_TRAILER_BYTES: usize = 8;
/// The most bytes of one record, header and padding included.
pub(crate) const RECORD_BYTES_MAX: u64 = 32 << 20;
/// The header of a snapshot, and of the meta file.
pub(crate) const HEADER_BYTES: usize = 64;
/// The header of one block of a snapshot.
pub(crate) const BLOCK_HEADER_BYTES: usize = 32;

const SEGMENT_MAGIC: [u8; 8] = *b"DOVESEG\n";
const META_MAGIC: [u8; 8] = *b"DOVEMET\n";
const CLOSED_MAGIC: [u8; 8] = *b"DOVECLS\n";
const SNAPSHOT_MAGIC: [u8; 8] = *b"DOVESNP\n";
const SNAPSHOT_END_MAGIC: [u8; 8] = *b"DOVEEND\n";
const BLOCK_MAGIC: [u8; 4] = *b"DBLK";
const RECORD_MAGIC: [u8; 4] = *b"DREC";
/// Its last byte is the last of every record and has more than one bit set, so that neither space
/// that was never written nor one flipped bit can look like a record's end, or hide it.
const END_MARK: [u8; 4] = *b"END\xa5";

/// Why bytes are not what they should be.
pub(crate) type Reason = &'static str;

/// What the first block of a segment says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) epoch: Epoch,
    /// Segments are numbered from 1 without a gap.
    pub(crate) sequence: u64,
    /// The size of the file.
    pub(crate) bytes: u64,
    /// Random; every record of the segment carries it, so that no stale or smuggled bytes can pass
    /// for a record.
    pub(crate) salt: u64,
}

/// Where the journal ended when it was closed. It is there from then until it is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ClosedMark {
    pub(crate) epoch: Epoch,
    pub(crate) tail: u64,
    /// The active segment.
    pub(crate) sequence: u64,
    /// The end of its last record.
    pub(crate) offset: u64,
}

/// What a snapshot says first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SnapshotHeader {
    pub(crate) epoch: Epoch,
    pub(crate) at: u64,
    pub(crate) floor: u64,
}

/// What a snapshot says last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SnapshotTrailer {
    pub(crate) at: u64,
    pub(crate) entries: u64,
    /// The size of the file.
    pub(crate) bytes: u64,
}

/// What one block of a snapshot says first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockHeader {
    pub(crate) payload_bytes: u32,
    pub(crate) entries: u32,
    payload_crc: u32,
}

/// What a record says first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordHeader {
    /// The number of its first commit.
    pub(crate) first: u64,
    pub(crate) count: u32,
    payload_bytes: u32,
    /// How many of its sectors are nothing but zeros although they are written.
    zero_sectors: u32,
}

/// What stands where a record may begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RecordStart {
    /// The header of a record.
    Record(RecordHeader),
    /// Space that was never written.
    Blank,
    /// Neither.
    Bad(Reason),
}

impl RecordHeader {
    /// The bytes that the record takes in the segment, a multiple of [`SECTOR_BYTES`].
    pub(crate) fn extent(&self) -> u64 {
        extent_bytes(u64::from(self.payload_bytes))
    }

    /// The number of the commit after the record.
    pub(crate) fn next(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// Checks the whole record and gives its payload.
    pub(crate) fn payload<'a>(&self, record: &'a [u8]) -> Result<&'a [u8], Reason> {
        debug_assert_eq!(record.len() as u64, self.extent());
        let (body, trailer) = record.split_at(record.len() - RECORD_TRAILER_BYTES);
        if trailer[4..] != END_MARK {
            return Err("the record has no end");
        }
        if u32_at(trailer, 0) != crc32c::crc32c(body) {
            return Err("the checksum of the record is wrong");
        }
        Ok(&body[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + self.payload_bytes as usize])
    }

    /// Whether a record with a right header but a wrong body is one that was being written when the
    /// power went: some sector of it is still blank, or its end is. If not, it was whole once.
    pub(crate) fn is_torn(&self, record: &[u8]) -> bool {
        record.last() == Some(&0) || zero_sectors(record) > self.zero_sectors
    }
}

/// The bytes that a record with a payload of `payload_bytes` takes in a segment.
pub(crate) fn extent_bytes(payload_bytes: u64) -> u64 {
    (payload_bytes + (RECORD_HEADER_BYTES + RECORD_TRAILER_BYTES) as u64).next_multiple_of(SECTOR_BYTES)
}

/// Begins a record in `buffer`; the payload is to be pushed after it.
pub(crate) fn begin_record(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(RECORD_HEADER_BYTES, 0);
}

/// Ends the record whose payload stands in `buffer`, to be written at `offset` of the segment with
/// `salt`.
pub(crate) fn end_record(buffer: &mut Vec<u8>, first: u64, count: u32, salt: u64, offset: u64) {
    let payload_bytes = buffer.len() - RECORD_HEADER_BYTES;
    let extent = extent_bytes(payload_bytes as u64) as usize;
    buffer.resize(extent, 0);
    buffer[extent - 4..].copy_from_slice(&END_MARK);
    buffer[..4].copy_from_slice(&RECORD_MAGIC);
    let zeros = zero_sectors(buffer);
    put_u64(buffer, 8, first);
    put_u32(buffer, 16, count);
    put_u32(buffer, 20, payload_bytes as u32);
    put_u32(buffer, 24, zeros);
    put_u64(buffer, 28, salt ^ offset);
    let header_crc = crc32c::crc32c(&buffer[..36]);
    put_u32(buffer, 36, header_crc);
    let crc = crc32c::crc32c(&buffer[..extent - RECORD_TRAILER_BYTES]);
    put_u32(buffer, extent - RECORD_TRAILER_BYTES, crc);
}

/// Reads what stands at `offset` of the segment with `salt`; `bytes` has [`RECORD_HEADER_BYTES`].
pub(crate) fn record_start(bytes: &[u8], salt: u64, offset: u64) -> RecordStart {
    debug_assert_eq!(bytes.len(), RECORD_HEADER_BYTES);
    if bytes[..4] != RECORD_MAGIC {
        let blank = bytes.iter().all(|&b| b == 0);
        return if blank { RecordStart::Blank } else { RecordStart::Bad("no record begins here") };
    }
    if u32_at(bytes, 36) != crc32c::crc32c(&bytes[..36]) {
        return RecordStart::Bad("the checksum of the record's header is wrong");
    }
    if u64_at(bytes, 28) != salt ^ offset {
        return RecordStart::Bad("the record belongs to another place");
    }
    let header = RecordHeader {
        first: u64_at(bytes, 8),
        count: u32_at(bytes, 16),
        payload_bytes: u32_at(bytes, 20),
        zero_sectors: u32_at(bytes, 24),
    };
    if header.extent() > RECORD_BYTES_MAX || header.first.checked_add(u64::from(header.count)).is_none() {
        return RecordStart::Bad("the record's header is beyond the limits");
    }
    if header.count == 0 {
        return RecordStart::Bad("the record has no commits");
    }
    RecordStart::Record(header)
}

/// How many sectors of `bytes` are zeros only.
fn zero_sectors(bytes: &[u8]) -> u32 {
    let blank = |sector: &&[u8]| sector[0] == 0 && is_blank(sector);
    bytes.chunks(SECTOR_BYTES as usize).filter(blank).count() as u32
}

/// Whether `bytes` are zeros only.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

/// Why a header is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HeaderError {
    /// It is of another version of the format.
    Version(u32),
    /// It is no such header, or damaged.
    Bad(Reason),
}

/// The shape that the headers of all files share: magic, version, four numbers, checksum.
fn header(magic: [u8; 8], numbers: [u64; 4]) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&magic);
    put_u32(&mut bytes, 8, VERSION);
    for (number, at) in numbers.into_iter().zip((16..).step_by(8)) {
        put_u64(&mut bytes, at, number);
    }
    let crc = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
    put_u32(&mut bytes, HEADER_BYTES - 4, crc);
    bytes
}

fn read_header(bytes: &[u8; HEADER_BYTES], magic: [u8; 8]) -> Result<[u64; 4], HeaderError> {
    if bytes[..8] != magic {
        return Err(HeaderError::Bad("the file does not begin as it should"));
    }
    if u32_at(bytes, HEADER_BYTES - 4) != crc32c::crc32c(&bytes[..HEADER_BYTES - 4]) {
        return Err(HeaderError::Bad("the checksum of the header is wrong"));
    }
    match u32_at(bytes, 8) {
        VERSION => Ok([u64_at(bytes, 16), u64_at(bytes, 24), u64_at(bytes, 32), u64_at(bytes, 40)]),
        other => Err(HeaderError::Version(other)),
    }
}

fn epoch(bits: u64) -> Result<Epoch, HeaderError> {
    Epoch::from_bits(bits).ok_or(HeaderError::Bad("the epoch is out of range"))
}

/// The contents of the meta file.
pub(crate) fn meta(epoch: Epoch) -> [u8; HEADER_BYTES] {
    header(META_MAGIC, [epoch.to_bits(), 0, 0, 0])
}

/// The epoch that a meta file names.
pub(crate) fn read_meta(bytes: &[u8; HEADER_BYTES]) -> Result<Epoch, HeaderError> {
    epoch(read_header(bytes, META_MAGIC)?[0])
}

impl ClosedMark {
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        header(CLOSED_MAGIC, [self.epoch.to_bits(), self.tail, self.sequence, self.offset])
    }

    pub(crate) fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderError> {
        let [bits, tail, sequence, offset] = read_header(bytes, CLOSED_MAGIC)?;
        Ok(Self { epoch: epoch(bits)?, tail, sequence, offset })
    }
}

impl SegmentHeader {
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        header(SEGMENT_MAGIC, [self.epoch.to_bits(), self.sequence, self.bytes, self.salt])
    }

    pub(crate) fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderError> {
        let [bits, sequence, bytes, salt] = read_header(bytes, SEGMENT_MAGIC)?;
        Ok(Self { epoch: epoch(bits)?, sequence, bytes, salt })
    }
}

impl SnapshotHeader {
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        header(SNAPSHOT_MAGIC, [self.epoch.to_bits(), self.at, self.floor, 0])
    }

    pub(crate) fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderError> {
        let [bits, at, floor, _] = read_header(bytes, SNAPSHOT_MAGIC)?;
        Ok(Self { epoch: epoch(bits)?, at, floor })
    }
}

impl SnapshotTrailer {
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        header(SNAPSHOT_END_MAGIC, [self.at, self.entries, self.bytes, 0])
    }

    pub(crate) fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderError> {
        let [at, entries, bytes, _] = read_header(bytes, SNAPSHOT_END_MAGIC)?;
        Ok(Self { at, entries, bytes })
    }
}

impl BlockHeader {
    /// Writes the header of the block that `block` holds after [`BLOCK_HEADER_BYTES`] of room. It
    /// stands at `offset` of the snapshot at `at`.
    pub(crate) fn finish(block: &mut [u8], entries: u32, at: u64, offset: u64) {
        let payload_crc = crc32c::crc32c(&block[BLOCK_HEADER_BYTES..]);
        let payload_bytes = (block.len() - BLOCK_HEADER_BYTES) as u32;
        block[..4].copy_from_slice(&BLOCK_MAGIC);
        put_u32(block, 4, payload_bytes);
        put_u32(block, 8, entries);
        put_u32(block, 12, payload_crc);
        put_u64(block, 16, at.rotate_left(32) ^ offset);
        put_u32(block, 24, 0);
        let crc = crc32c::crc32c(&block[..28]);
        put_u32(block, 28, crc);
    }

    pub(crate) fn from_bytes(bytes: &[u8; BLOCK_HEADER_BYTES], at: u64, offset: u64) -> Result<Self, Reason> {
        if bytes[..4] != BLOCK_MAGIC || u32_at(bytes, 28) != crc32c::crc32c(&bytes[..28]) {
            return Err("the checksum of the block's header is wrong");
        }
        if u64_at(bytes, 16) != at.rotate_left(32) ^ offset {
            return Err("the block belongs to another place");
        }
        Ok(Self {
            payload_bytes: u32_at(bytes, 4),
            entries: u32_at(bytes, 8),
            payload_crc: u32_at(bytes, 12),
        })
    }

    pub(crate) fn check(&self, payload: &[u8]) -> Result<(), Reason> {
        if crc32c::crc32c(payload) == self.payload_crc {
            Ok(())
        } else {
            Err("the checksum of the block is wrong")
        }
    }
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}
