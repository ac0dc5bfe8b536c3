//! Reading durable history while appends and trims go on.

use std::io;
use std::sync::Arc;

use dovetail_model::Commit;

use crate::error::ReadError;
use crate::format::{Interner, Reason, RecordHeader, RecordStart, decode_commit, skip_commit};
use crate::memory::MemoryReader;
use crate::segment::{LiveSegment, Window};
use crate::shared::Shared;

/// The least and the most that is read from a file at once, except for larger records.
const AHEAD_BYTES: std::ops::RangeInclusive<usize> = 4 << 10..=256 << 10;

/// Reads durable commits. Cheap to clone; never blocks an append for longer than a look at an
/// index takes.
#[derive(Clone, Debug)]
pub struct JournalReader(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Memory(MemoryReader),
    File(FileReader),
}

/// Reads a file journal.
#[derive(Clone, Debug)]
pub(crate) struct FileReader {
    shared: Arc<Shared>,
}

/// The commits that one call gathers.
struct Page {
    next: u64,
    /// The tail when the call began. The index of a segment runs ahead of it for a moment.
    last: u64,
    commits: Vec<Commit>,
    bytes: usize,
    bytes_max: usize,
    is_full: bool,
    interner: Interner,
}

impl JournalReader {
    /// The commits after number `after`, in order and without a gap, as many as `max_bytes` of
    /// encoded size hold, but at least one if there is one. Empty exactly when `after` is the tail.
    pub fn read(&self, after: u64, max_bytes: usize) -> Result<Vec<Commit>, ReadError> {
        match &self.0 {
            Kind::Memory(reader) => reader.read(after, max_bytes),
            Kind::File(reader) => reader.read(after, max_bytes),
        }
    }

    /// The newest durable commit.
    pub fn tail(&self) -> u64 {
        match &self.0 {
            Kind::Memory(reader) => reader.tail(),
            Kind::File(reader) => reader.shared.catalog().tail,
        }
    }

    /// The oldest commit that can be read; `tail + 1` when there is none.
    pub fn first(&self) -> u64 {
        match &self.0 {
            Kind::Memory(reader) => reader.first(),
            Kind::File(reader) => reader.shared.catalog().first(),
        }
    }
}

impl FileReader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn read(&self, after: u64, bytes_max: usize) -> Result<Vec<Commit>, ReadError> {
        let (first, tail) = {
            let catalog = self.shared.catalog();
            (catalog.first(), catalog.tail)
        };
        if after > tail {
            return Err(ReadError::Ahead { tail });
        }
        if after + 1 < first {
            return Err(ReadError::Trimmed { first });
        }
        let mut page = Page::new(after + 1, tail, bytes_max);
        while !page.is_done() {
            match self.segment_of(page.next) {
                Some(live) => self.read_segment(&live, &mut page)?,
                // Trimmed in the meantime. What was read before is still right.
                None if page.commits.is_empty() => {
                    return Err(ReadError::Trimmed { first: self.shared.catalog().first() });
                }
                None => break,
            }
        }
        Ok(page.commits)
    }

    fn segment_of(&self, number: u64) -> Option<Arc<LiveSegment>> {
        let catalog = self.shared.catalog();
        let after = catalog.segments.partition_point(|live| live.first <= number);
        catalog.segments.get(after.checked_sub(1)?).cloned()
    }

    fn read_segment(&self, live: &LiveSegment, page: &mut Page) -> Result<(), ReadError> {
        let file = || self.shared.file_path(&live.segment.name);
        let damaged = |offset, reason| ReadError::Corrupt { file: file(), offset, reason };
        let failed = |offset| move |source: io::Error| (offset, source);
        let name_file = |(offset, source)| ReadError::Io { file: file(), offset, source };
        let before = page.next;
        let mut window = Window::new(page.ahead_bytes());
        let (point, end) = live.locate(page.next, &mut window).map_err(failed(0)).map_err(name_file)?;
        let mut offset = point.offset;
        while offset < end && !page.is_done() {
            let start = live.segment.record_start(&mut window, offset);
            let header = match start.map_err(failed(offset)).map_err(name_file)? {
                RecordStart::Record(header) => header,
                RecordStart::Blank => return Err(damaged(offset, "a record is missing")),
                RecordStart::Bad(reason) => return Err(damaged(offset, reason)),
            };
            if header.next() > page.next {
                let record = live.segment.read(&mut window, offset, header.extent());
                let record = record.map_err(failed(offset)).map_err(name_file)?;
                page.take(&header, record).map_err(|reason| damaged(offset, reason))?;
            }
            offset += header.extent();
        }
        // The segment of a commit holds it; going round again would never end.
        if page.next == before && !page.is_full { Err(damaged(end, "a record is missing")) } else { Ok(()) }
    }
}

impl Page {
    fn new(next: u64, last: u64, bytes_max: usize) -> Self {
        let interner = Interner::default();
        Self { next, last, commits: Vec::new(), bytes: 0, bytes_max, is_full: false, interner }
    }

    fn is_done(&self) -> bool {
        self.is_full || self.next > self.last
    }

    fn ahead_bytes(&self) -> u64 {
        self.bytes_max.clamp(*AHEAD_BYTES.start(), *AHEAD_BYTES.end()) as u64
    }

    /// Takes the commits of one record that are wanted and fit.
    fn take(&mut self, header: &RecordHeader, record: &[u8]) -> Result<(), Reason> {
        let mut rest = header.payload(record)?;
        if header.first > self.next {
            return Err("commits are missing before the record");
        }
        for number in header.first..header.next() {
            let mut behind = rest;
            let bytes = skip_commit(&mut behind)?;
            if number < self.next {
                rest = behind;
                continue;
            }
            if self.is_done() || !self.commits.is_empty() && self.bytes.saturating_add(bytes) > self.bytes_max
            {
                self.is_full = true;
                return Ok(());
            }
            self.commits.push(decode_commit(&mut rest, number, &mut self.interner)?);
            self.bytes += bytes;
            self.next += 1;
            self.is_full = self.bytes >= self.bytes_max;
        }
        Ok(())
    }
}

impl From<MemoryReader> for JournalReader {
    fn from(reader: MemoryReader) -> Self {
        Self(Kind::Memory(reader))
    }
}

impl From<FileReader> for JournalReader {
    fn from(reader: FileReader) -> Self {
        Self(Kind::File(reader))
    }
}
