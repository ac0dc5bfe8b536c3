//! The file journal, and its one writing path: encode, write, sync, and only then tell.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dovetail_model::{Commit, Epoch};

use crate::disk::{Disk, is_full, write_aside};
use crate::error::{AppendError, CloseError, Poison, TrimError};
use crate::format::{
    ClosedMark, RECORD_BYTES_MAX, RecordStart, SECTOR_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader,
    begin_record, encode_commit, encoded_bytes, end_record, extent_bytes, record_start,
};
use crate::helper::{Helper, NoSegment};
use crate::lock::DirLock;
use crate::read::FileReader;
use crate::segment::{Index, LiveSegment, Segment};
use crate::shared::{Catalog, Shared};
use crate::snapshot::FileSnapshots;
use crate::store::check_numbers;
use crate::{JournalReader, JournalStore, SnapshotWriter, Space};

/// The name of the mark of a journal that was closed.
pub(crate) const CLOSED: &str = "closed";

/// How much larger than the one before a segment is, until it has its full size.
const GROWTH: u64 = 4;

/// Sizes of a [`FileJournal`].
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// Bytes of a segment, the unit in which history is dropped: a multiple of 4,096 from 16 KiB to
    /// 1 GiB.
    pub segment_bytes: u64,
    /// Bytes of the very first segment, at most `segment_bytes`; later ones grow to that.
    pub first_segment_bytes: u64,
    /// Bytes of history since the newest snapshot after which another one pays.
    pub snapshot_after_bytes: u64,
    /// Whether segments are prepared on a thread of their own. Without it the same work is done in
    /// the call that needs it, which keeps tests of crashes repeatable.
    pub prepares_ahead: bool,
}

/// The journal in a directory of files. `docs/design/journal-format.md` has the bytes and the
/// reasons.
#[derive(Debug)]
pub struct FileJournal {
    shared: Arc<Shared>,
    // Declared before the lock: the helper ends before the directory is given free.
    helper: Helper,
    active: Active,
    tail: u64,
    buffer: Vec<u8>,
    options: FileOptions,
    /// Kept alive by a snapshot that is being written, too.
    lock: Option<Arc<DirLock>>,
}

/// Where the next record goes.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) live: Arc<LiveSegment>,
    pub(crate) offset: u64,
}

/// Poisons the journal unless it is disarmed: an error *or a panic* between a write and the end of
/// its sync leaves nobody knowing what the disk holds.
struct Guard<'a> {
    shared: &'a Shared,
    is_armed: bool,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            first_segment_bytes: 4 << 20,
            snapshot_after_bytes: 64 << 20,
            prepares_ahead: true,
        }
    }
}

/// What recovery hands over.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) disk: Box<dyn Disk>,
    pub(crate) epoch: Epoch,
    pub(crate) catalog: Catalog,
    pub(crate) active: Active,
    pub(crate) spare: Option<Segment>,
    pub(crate) lock: Option<DirLock>,
}

impl FileJournal {
    pub(crate) fn of_parts(parts: Parts, options: FileOptions) -> std::io::Result<Self> {
        let tail = parts.catalog.tail;
        let shared = Arc::new(Shared::new(parts.disk, parts.epoch, parts.catalog));
        let helper = Helper::start(Arc::clone(&shared), parts.spare, options.prepares_ahead)?;
        let lock = parts.lock.map(Arc::new);
        let journal = Self { shared, helper, active: parts.active, tail, buffer: Vec::new(), options, lock };
        journal.order_next();
        Ok(journal)
    }

    /// Leaves a mark of where the journal ended. Without it a zeroed page could pass for records
    /// that were never written.
    fn mark_closed(&self) -> Result<(), Poison> {
        let mark = ClosedMark {
            epoch: self.shared.epoch,
            tail: self.tail,
            sequence: self.active.segment().header.sequence,
            offset: self.active.offset,
        };
        match write_aside(&*self.shared.disk, CLOSED, &mark.to_bytes()) {
            // The mark is worth having, not worth failing for.
            Err(error) if is_full(&error) => Ok(()),
            done => done.map_err(|error| Poison::failed("write", CLOSED, error)),
        }
    }

    /// Orders the next segment. The first ones grow, so that a start is quick and a journal that
    /// stays small takes little space.
    fn order_next(&self) {
        let SegmentHeader { sequence, bytes, .. } = self.active.segment().header;
        self.helper.order(sequence + 1, bytes.saturating_mul(GROWTH).min(self.options.segment_bytes));
    }

    fn encode(&mut self, batch: &[Commit]) -> Result<(), AppendError> {
        let bytes = batch.iter().map(encoded_bytes).sum::<usize>();
        let bytes_max = self.batch_bytes_max();
        if bytes > bytes_max {
            return Err(AppendError::TooLarge { bytes, bytes_max });
        }
        begin_record(&mut self.buffer);
        self.buffer.reserve(bytes + 2 * SECTOR_BYTES as usize);
        for commit in batch {
            encode_commit(commit, &mut self.buffer);
        }
        Ok(())
    }

    /// Moves on to the next segment. Nothing is written to it yet, so lack of space is no harm.
    fn roll(&mut self) -> Result<(), AppendError> {
        self.order_next();
        let segment = self.helper.take().map_err(|missing| match missing {
            NoSegment::Full => AppendError::Full,
            NoSegment::Poisoned(poison) => AppendError::Poisoned(poison),
        })?;
        let live = Arc::new(LiveSegment::new(segment, self.tail + 1, Index::unknown()));
        self.shared.catalog().segments.push_back(Arc::clone(&live));
        self.active = Active { live, offset: SEGMENT_HEADER_BYTES };
        Ok(())
    }

    /// Makes the record in the buffer durable, then visible.
    fn write_record(&mut self, count: u32) -> Result<(), Poison> {
        let (segment, offset) = (self.active.segment(), self.active.offset);
        let salt = segment.header.salt;
        end_record(&mut self.buffer, self.tail + 1, count, salt, offset);
        let mut guard = Guard { shared: &self.shared, is_armed: true };
        segment.write_at(&self.buffer, offset).map_err(|error| guard.failed("write", segment, error))?;
        segment.sync().map_err(|error| guard.failed("sync", segment, error))?;
        guard.is_armed = false;
        drop(guard);
        self.publish(offset, u64::from(count));
        Ok(())
    }

    fn publish(&mut self, offset: u64, count: u64) {
        let salt = self.active.segment().header.salt;
        let start = record_start(&self.buffer[..crate::format::RECORD_HEADER_BYTES], salt, offset);
        let RecordStart::Record(header) = start else { unreachable!("the record was just encoded") };
        self.active.live.index().push(&header, offset);
        self.active.offset += header.extent();
        self.tail += count;
        let mut catalog = self.shared.catalog();
        catalog.tail = self.tail;
        catalog.bytes_since_snapshot += header.extent();
    }
}

impl JournalStore for FileJournal {
    fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    fn tail(&self) -> u64 {
        self.tail
    }

    fn first(&self) -> u64 {
        self.shared.catalog().first()
    }

    fn append(&mut self, batch: &[Commit], expected_tail: u64) -> Result<(), AppendError> {
        self.shared.check().map_err(AppendError::Poisoned)?;
        check_numbers(batch, expected_tail, self.tail)?;
        if batch.is_empty() {
            return Ok(());
        }
        self.encode(batch)?;
        let extent = extent_bytes((self.buffer.len() - crate::format::RECORD_HEADER_BYTES) as u64);
        // More than once only while segments still grow; the limit of a batch is that of the largest.
        while extent > self.active.room() {
            self.roll()?;
        }
        self.write_record(batch.len() as u32).map_err(AppendError::Poisoned)?;
        if self.active.wants_next() {
            self.order_next();
        }
        // A helper may have met a failing disk in the meantime; after that nothing is acknowledged.
        self.shared.check().map_err(AppendError::Poisoned)
    }

    fn reader(&self) -> JournalReader {
        FileReader::new(Arc::clone(&self.shared)).into()
    }

    fn trim(&mut self, before: u64) -> Result<u64, TrimError> {
        self.shared.check().map_err(TrimError::Poisoned)?;
        let dropped = self.shared.catalog().trim(before);
        self.helper.remove(dropped.iter().map(|live| live.segment.name.clone()));
        Ok(self.first())
    }

    fn snapshots(&self) -> SnapshotWriter {
        FileSnapshots::new(Arc::clone(&self.shared), self.lock.as_ref().map(Arc::downgrade)).into()
    }

    fn bytes_since_snapshot(&self) -> u64 {
        self.shared.catalog().bytes_since_snapshot
    }

    fn should_snapshot(&self) -> bool {
        let catalog = self.shared.catalog();
        // A snapshot as large as what it saves from replay would double what is written.
        catalog.bytes_since_snapshot >= self.options.snapshot_after_bytes.max(catalog.snapshot_bytes)
    }

    fn batch_bytes_max(&self) -> usize {
        batch_bytes_max(self.options.segment_bytes)
    }

    fn space(&self) -> Space {
        if self.helper.is_full() { Space::Low { bytes_left: self.active.room() } } else { Space::Ample }
    }

    fn close(mut self) -> Result<(), CloseError> {
        self.stop();
        let marked = self.shared.check().and_then(|()| self.mark_closed());
        marked.map_err(CloseError::Poisoned)
    }
}

impl FileJournal {
    /// Ends what works for the journal on other threads.
    fn stop(&mut self) {
        self.shared.is_closing.store(true, Ordering::Release);
        // A snapshot that is being written sees the flag and ends; the directory is free after it.
        drop(self.shared.snapshot_turn());
        self.helper.stop();
    }
}

impl Drop for FileJournal {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The encoded bytes that one record in a segment of `segment_bytes` can hold.
pub(crate) fn batch_bytes_max(segment_bytes: u64) -> usize {
    let record_bytes = RECORD_BYTES_MAX.min(segment_bytes - SEGMENT_HEADER_BYTES);
    (record_bytes - SECTOR_BYTES) as usize
}

impl Active {
    fn segment(&self) -> &Segment {
        &self.live.segment
    }

    fn room(&self) -> u64 {
        self.segment().bytes() - self.offset
    }

    /// Whether the next segment should be on its way: what is left must last until it is there.
    fn wants_next(&self) -> bool {
        self.offset > self.segment().bytes() / 4
    }
}

impl Guard<'_> {
    fn failed(&mut self, action: &'static str, segment: &Segment, error: std::io::Error) -> Poison {
        self.is_armed = false;
        let poison = Poison::failed(action, segment.name.clone(), error);
        self.shared.set_poison(poison.clone());
        poison
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.is_armed {
            self.shared.set_poison(Poison::panicked("append to"));
        }
    }
}
