//! Segments: the files that records live in.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dovetail_model::Epoch;

use crate::disk::{ASIDE, Disk, StorageFile};
use crate::format::{
    HEADER_BYTES, HeaderError, RECORD_HEADER_BYTES, RecordHeader, RecordStart, SECTOR_BYTES,
    SEGMENT_HEADER_BYTES, SegmentHeader, is_blank, record_start,
};

/// Zeros are written in pieces of this size, each synced, so that the preparation of a segment
/// never fills the queue of the disk in front of a commit.
const FILL_BYTES: usize = 1 << 20;
/// Records that begin at least this far apart are in the index of a segment.
const INDEX_STRIDE_BYTES: u64 = 64 << 10;

/// One segment file.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    file: Box<dyn StorageFile>,
}

/// A segment that is or was the active one, as readers see it.
#[derive(Debug)]
pub(crate) struct LiveSegment {
    pub(crate) segment: Segment,
    /// The number of its first commit, which may yet have to come.
    pub(crate) first: u64,
    index: Mutex<Index>,
}

/// Where records of a segment begin.
#[derive(Debug)]
pub(crate) struct Index {
    points: Vec<Point>,
    /// The end of the last record, if it is known. Nothing beyond it is durable or a record.
    end: Option<u64>,
}

/// The place of one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Point {
    pub(crate) first: u64,
    pub(crate) offset: u64,
}

/// A stretch of a file in memory, so that going through it takes few reads.
#[derive(Debug)]
pub(crate) struct Window {
    buffer: Vec<u8>,
    start: u64,
    ahead_bytes: u64,
}

/// The name of segment `sequence`.
pub(crate) fn segment_name(sequence: u64) -> String {
    format!("segment-{sequence:020}")
}

/// The sequence of the segment named `name`, if it names one.
pub(crate) fn segment_sequence(name: &str) -> Option<u64> {
    numbered(name, "segment-")
}

/// The number in a name of the form `prefix` and 20 digits.
pub(crate) fn numbered(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    if digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}

impl Segment {
    /// Makes segment `sequence` durably: zeros on the disk, the header in front, and only then the
    /// name. After an error nothing of it is left, as far as the disk allows.
    pub(crate) fn create(disk: &dyn Disk, epoch: Epoch, sequence: u64, bytes: u64) -> io::Result<Self> {
        let name = segment_name(sequence);
        let aside = format!("{name}{ASIDE}");
        let header = SegmentHeader { epoch, sequence, bytes, salt: getrandom::u64()? };
        let made = fill(disk, &aside, &header).and_then(|file| {
            disk.rename(&aside, &name)?;
            disk.sync_dir()?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok(Self { name, header, file }),
            Err(error) => {
                // The first error is the one to report; an opening clears away what is left.
                let _ = disk.remove(&aside);
                Err(error)
            }
        }
    }

    /// Opens the segment named `name`.
    pub(crate) fn open(disk: &dyn Disk, name: &str) -> io::Result<Result<Self, HeaderError>> {
        let file = disk.open(name)?;
        let size = file.bytes()?;
        if size < SEGMENT_HEADER_BYTES {
            return Ok(Err(HeaderError::Bad("the file is shorter than its header")));
        }
        let mut bytes = [0; HEADER_BYTES];
        file.read_at(&mut bytes, 0)?;
        let header = match SegmentHeader::from_bytes(&bytes) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        // A segment gets its name after its size is durable: no crash can shorten it.
        if size != header.bytes {
            return Ok(Err(HeaderError::Bad("the file has not the size that its header names")));
        }
        if segment_sequence(name) != Some(header.sequence) {
            return Ok(Err(HeaderError::Bad("the header belongs to another segment")));
        }
        Ok(Ok(Self { name: name.into(), header, file }))
    }

    /// The size of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.header.bytes
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        debug_assert!(offset >= SEGMENT_HEADER_BYTES && offset + bytes.len() as u64 <= self.bytes());
        self.file.write_at(bytes, offset)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// What stands at `offset`.
    pub(crate) fn record_start(&self, window: &mut Window, offset: u64) -> io::Result<RecordStart> {
        if offset + SECTOR_BYTES > self.bytes() {
            return Ok(RecordStart::Blank);
        }
        let bytes = window.get(&*self.file, offset, RECORD_HEADER_BYTES as u64, self.bytes())?;
        let start = record_start(bytes, self.header.salt, offset);
        Ok(match start {
            RecordStart::Record(header) if offset + header.extent() > self.bytes() => {
                RecordStart::Bad("the record reaches beyond its segment")
            }
            start => start,
        })
    }

    /// Goes through everything from `from`, the beginning of a sector, to the end.
    pub(crate) fn survey(&self, window: &mut Window, from: u64) -> io::Result<Survey> {
        let mut survey = Survey { blank_from: from, record: None };
        let mut start = from;
        while start < self.bytes() {
            let count = (self.bytes() - start).min(FILL_BYTES as u64);
            let stretch = self.read(window, start, count)?;
            if !is_blank(stretch) {
                for (sector, offset) in
                    stretch.chunks(SECTOR_BYTES as usize).zip((start..).step_by(SECTOR_BYTES as usize))
                {
                    survey.note(sector, self.header.salt, offset);
                }
            }
            start += count;
        }
        Ok(survey)
    }

    /// Makes the stretch from `from` to `to` blank again, durably, in an order that leaves a torn
    /// record a torn record until it is gone.
    pub(crate) fn wipe(&self, from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0; FILL_BYTES.min((to - from) as usize)];
        let body = from + RECORD_HEADER_BYTES as u64;
        let mut offset = body;
        while offset < to {
            let count = (to - offset).min(zeros.len() as u64);
            self.write_at(&zeros[..count as usize], offset)?;
            offset += count;
        }
        self.sync()?;
        self.write_at(&zeros[..RECORD_HEADER_BYTES], from)?;
        self.sync()
    }

    /// The bytes from `offset` to `offset + count`, which lie inside the segment.
    pub(crate) fn read<'w>(&self, window: &'w mut Window, offset: u64, count: u64) -> io::Result<&'w [u8]> {
        window.get(&*self.file, offset, count, self.bytes())
    }
}

/// What lies in a stretch of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Survey {
    /// The end of the last sector that is not blank, or the beginning of the stretch.
    pub(crate) blank_from: u64,
    /// Where the first header of a record is that belongs there.
    pub(crate) record: Option<u64>,
}

fn fill(disk: &dyn Disk, aside: &str, header: &SegmentHeader) -> io::Result<Box<dyn StorageFile>> {
    let file = disk.create(aside)?;
    file.reserve(header.bytes)?;
    let zeros = vec![0; FILL_BYTES.min(header.bytes as usize)];
    let mut offset = 0;
    while offset < header.bytes {
        let count = (header.bytes - offset).min(zeros.len() as u64);
        file.write_at(&zeros[..count as usize], offset)?;
        offset += count;
        if offset < header.bytes {
            file.sync()?;
        }
    }
    file.write_at(&header.to_bytes(), 0)?;
    file.sync()?;
    Ok(file)
}

impl Survey {
    fn note(&mut self, sector: &[u8], salt: u64, offset: u64) {
        if is_blank(sector) {
            return;
        }
        self.blank_from = offset + SECTOR_BYTES;
        let start = record_start(&sector[..RECORD_HEADER_BYTES], salt, offset);
        if self.record.is_none() && matches!(start, RecordStart::Record(_)) {
            self.record = Some(offset);
        }
    }
}

impl LiveSegment {
    /// A segment whose records begin and end where `index` says.
    pub(crate) fn new(segment: Segment, first: u64, index: Index) -> Self {
        Self { segment, first, index: Mutex::new(index) }
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        // Every change of an index is one assignment or push, so it is whole after a panic too.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to begin to look for commit `number`, and where the records end. The index of a
    /// segment that was closed before the journal was opened is made here, at the first reading.
    pub(crate) fn locate(&self, number: u64, window: &mut Window) -> io::Result<(Point, u64)> {
        if let Some(found) = self.index().locate(number) {
            return Ok(found);
        }
        let mut index = Index::unknown();
        let mut offset = SEGMENT_HEADER_BYTES;
        // Where something else than a record stands, the reading that follows will find it too if
        // it matters, and say so.
        while let RecordStart::Record(header) = self.segment.record_start(window, offset)? {
            index.push(&header, offset);
            offset += header.extent();
        }
        index.end = Some(offset);
        let found = index.locate(number);
        *self.index() = index;
        Ok(found.unwrap_or((Point { first: self.first, offset: SEGMENT_HEADER_BYTES }, offset)))
    }
}

impl Index {
    /// The index of a segment that nobody has gone through yet.
    pub(crate) fn unknown() -> Self {
        Self { points: Vec::new(), end: None }
    }

    /// Takes note of the record at `offset`, which follows the ones before.
    pub(crate) fn push(&mut self, header: &RecordHeader, offset: u64) {
        self.end = Some(offset + header.extent());
        let far = self.points.last().is_none_or(|last| offset >= last.offset + INDEX_STRIDE_BYTES);
        if far {
            self.points.push(Point { first: header.first, offset });
        }
    }

    /// The last known record at or before commit `number`, and the end of all records.
    pub(crate) fn locate(&self, number: u64) -> Option<(Point, u64)> {
        let end = self.end?;
        let after = self.points.partition_point(|point| point.first <= number);
        Some((*self.points.get(after.checked_sub(1)?)?, end))
    }
}

impl Window {
    /// A window that reads at least `ahead_bytes` at once.
    pub(crate) fn new(ahead_bytes: u64) -> Self {
        Self { buffer: Vec::new(), start: 0, ahead_bytes }
    }

    fn get(&mut self, file: &dyn StorageFile, offset: u64, count: u64, file_bytes: u64) -> io::Result<&[u8]> {
        let held = self.start..self.start + self.buffer.len() as u64;
        if offset < held.start || offset + count > held.end {
            let wanted = count.max(self.ahead_bytes).min(file_bytes.saturating_sub(offset)).max(count);
            self.buffer.clear();
            self.buffer.resize(wanted as usize, 0);
            self.start = offset;
            if let Err(error) = file.read_at(&mut self.buffer, offset) {
                self.buffer.clear();
                return Err(error);
            }
        }
        let from = (offset - self.start) as usize;
        Ok(&self.buffer[from..from + count as usize])
    }
}
