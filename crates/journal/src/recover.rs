//! Opening: what is there, what a crash left, and what no crash can leave.
//!
//! One record at most was being written when the lights went out, and everything before it was
//! durable. So only one place can be torn: right behind the last whole record. A tear shows,
//! because the space was blank before and the disk writes whole sectors; it is wiped. Anything else
//! that is not as it was written is damage, and the opening refuses it by file and offset.

use std::path::Path;
use std::sync::Arc;

use dovetail_model::Epoch;

use crate::RecoverySink;
use crate::append::{Active, CLOSED, FileJournal, FileOptions, Parts};
use crate::disk::{ASIDE, Disk, OsDisk, write_aside};
use crate::error::OpenError;
use crate::format::{
    ClosedMark, HEADER_BYTES, HeaderError, Interner, RECORD_BYTES_MAX, RECORD_HEADER_BYTES, Reason,
    RecordHeader, RecordStart, SECTOR_BYTES, SEGMENT_HEADER_BYTES, decode_commit, is_blank, meta, read_meta,
    skip_commit,
};
use crate::lock::DirLock;
use crate::segment::{Index, LiveSegment, Segment, Survey, Window, segment_name, segment_sequence};
use crate::shared::Catalog;
use crate::snapshot::{load, snapshot_name, snapshot_position};
use crate::store::random_epoch;

const META: &str = "meta";
/// What is read from a segment at once.
const AHEAD_BYTES: u64 = 1 << 20;
/// The least segment in which a small record and its neighbours have room.
const SEGMENT_BYTES_MIN: u64 = 16 << 10;
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

impl FileJournal {
    /// Opens the journal in `dir`, or begins one there, and tells `sink` what is in it.
    ///
    /// The directory is this journal's alone until it is closed. What a crash can leave behind is
    /// repaired; a crash during that is as good as one before.
    pub fn open(dir: &Path, options: FileOptions, sink: &mut dyn RecoverySink) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { action: "open", file: dir.to_path_buf(), source };
        let disk = OsDisk::new(dir).map_err(failed)?;
        let lock = DirLock::take(dir)?;
        Self::open_locked(Box::new(disk), Some(lock), options, sink)
    }

    /// As [`open`](Self::open), on any disk. Nothing keeps a second journal off it.
    pub fn open_on(
        disk: Box<dyn Disk>,
        options: FileOptions,
        sink: &mut dyn RecoverySink,
    ) -> Result<Self, OpenError> {
        Self::open_locked(disk, None, options, sink)
    }

    fn open_locked(
        disk: Box<dyn Disk>,
        lock: Option<DirLock>,
        options: FileOptions,
        sink: &mut dyn RecoverySink,
    ) -> Result<Self, OpenError> {
        options.check()?;
        let mut found = Directory::read(&*disk)?;
        if found.epoch.is_none() {
            found.begin(&*disk, &options)?;
            found = Directory::read(&*disk)?;
        }
        let (epoch, catalog, active, spare) = Recovery::new(&*disk, &found, sink)?.run()?;
        let file = disk.path("");
        let parts = Parts { disk, epoch, catalog, active, spare, lock };
        Self::of_parts(parts, options).map_err(|source| OpenError::Io {
            action: "start a helper for",
            file,
            source,
        })
    }
}

impl FileOptions {
    fn check(&self) -> Result<(), OpenError> {
        let refused = |option, value, rule| Err(OpenError::Option { option, value, rule });
        let fits = |bytes: u64, most| {
            (SEGMENT_BYTES_MIN..=most).contains(&bytes) && bytes.is_multiple_of(SEGMENT_HEADER_BYTES)
        };
        if !fits(self.segment_bytes, SEGMENT_BYTES_MAX) {
            return refused("segment_bytes", self.segment_bytes, "a multiple of 4096 from 16 KiB to 1 GiB");
        }
        if !fits(self.first_segment_bytes, self.segment_bytes) {
            let rule = "a multiple of 4096 from 16 KiB to segment_bytes";
            return refused("first_segment_bytes", self.first_segment_bytes, rule);
        }
        Ok(())
    }
}

/// The files of a journal.
#[derive(Debug)]
struct Directory {
    /// Missing before the journal has begun.
    epoch: Option<Epoch>,
    /// Where the journal ended, if it was closed.
    closed: Option<ClosedMark>,
    /// Positions, ascending.
    snapshots: Vec<u64>,
    /// Sequences, ascending.
    segments: Vec<u64>,
}

impl Directory {
    /// Lists what is there, without what was being written aside.
    fn read(disk: &dyn Disk) -> Result<Self, OpenError> {
        let mut found = Self { epoch: None, closed: None, snapshots: Vec::new(), segments: Vec::new() };
        for name in disk.list().map_err(failed(disk, "list", ""))? {
            if name == META {
                found.epoch = Some(header_of(disk, META, read_meta(&read_small(disk, META)?))?);
            }
            if name == CLOSED {
                let mark = ClosedMark::from_bytes(&read_small(disk, CLOSED)?);
                found.closed = Some(header_of(disk, CLOSED, mark)?);
            }
            found.snapshots.extend(snapshot_position(&name));
            found.segments.extend(segment_sequence(&name));
            if is_aside(&name) {
                disk.remove(&name).map_err(failed(disk, "remove", &name))?;
            }
        }
        found.snapshots.sort_unstable();
        found.segments.sort_unstable();
        Ok(found)
    }

    /// Begins a journal. The meta file comes last, so that with it everything else is there, and
    /// without it nothing was ever promised.
    fn begin(&self, disk: &dyn Disk, options: &FileOptions) -> Result<(), OpenError> {
        let missing = |reason| Err(OpenError::Corrupt { file: disk.path(META), offset: 0, reason });
        if !self.snapshots.is_empty() || self.segments.iter().any(|&sequence| sequence != 1) {
            return missing("the file is missing, yet the journal has begun");
        }
        let name = segment_name(1);
        if !self.segments.is_empty() {
            let segment = open_segment(disk, 1)?;
            let survey = segment.survey(&mut Window::new(AHEAD_BYTES), SEGMENT_HEADER_BYTES);
            if survey.map_err(failed(disk, "read", &name))?.blank_from > SEGMENT_HEADER_BYTES {
                return missing("the file is missing, yet the journal has records");
            }
            disk.remove(&name).map_err(failed(disk, "remove", &name))?;
            disk.sync_dir().map_err(failed(disk, "sync", ""))?;
        }
        let epoch = random_epoch()?;
        Segment::create(disk, epoch, 1, options.first_segment_bytes).map_err(failed(disk, "make", &name))?;
        write_aside(disk, META, &meta(epoch)).map_err(failed(disk, "make", META))
    }
}

/// Reads the file `name`, which is nothing but a header.
fn read_small(disk: &dyn Disk, name: &str) -> Result<[u8; HEADER_BYTES], OpenError> {
    let mut bytes = [0; HEADER_BYTES];
    let file = disk.open(name).map_err(failed(disk, "open", name))?;
    let size = file.bytes().map_err(failed(disk, "read", name))?;
    if size != HEADER_BYTES as u64 {
        let reason = "the file has not its size";
        return Err(OpenError::Corrupt { file: disk.path(name), offset: size, reason });
    }
    file.read_at(&mut bytes, 0).map_err(failed(disk, "read", name))?;
    Ok(bytes)
}

fn header_of<T>(disk: &dyn Disk, name: &str, header: Result<T, HeaderError>) -> Result<T, OpenError> {
    header.map_err(|error| OpenError::header(disk.path(name), 0, error))
}

fn open_segment(disk: &dyn Disk, sequence: u64) -> Result<Segment, OpenError> {
    let name = segment_name(sequence);
    Segment::open(disk, &name)
        .map_err(failed(disk, "open", &name))?
        .map_err(|error| OpenError::header(disk.path(&name), 0, error))
}

fn is_aside(name: &str) -> bool {
    let Some(name) = name.strip_suffix(ASIDE) else { return false };
    name == META || name == CLOSED || snapshot_position(name).is_some() || segment_sequence(name).is_some()
}

fn failed<'a>(
    disk: &'a dyn Disk,
    action: &'static str,
    name: &'a str,
) -> impl FnOnce(std::io::Error) -> OpenError + 'a {
    move |source| OpenError::Io { action, file: disk.path(name), source }
}

/// An opening under way.
struct Recovery<'a> {
    disk: &'a dyn Disk,
    sink: &'a mut dyn RecoverySink,
    epoch: Epoch,
    found: &'a Directory,
    catalog: Catalog,
    interner: Interner,
}

/// A segment whose records were gone through.
struct Scanned {
    index: Index,
    /// Where the records end.
    end: u64,
    /// What stands there.
    stop: RecordStart,
}

impl<'a> Recovery<'a> {
    fn new(
        disk: &'a dyn Disk,
        found: &'a Directory,
        sink: &'a mut dyn RecoverySink,
    ) -> Result<Self, OpenError> {
        let damaged = |reason| OpenError::Corrupt { file: disk.path(META), offset: 0, reason };
        Ok(Self {
            disk,
            sink,
            epoch: found.epoch.ok_or_else(|| damaged("the file is missing"))?,
            found,
            catalog: Catalog::default(),
            interner: Interner::default(),
        })
    }

    fn run(mut self) -> Result<(Epoch, Catalog, Active, Option<Segment>), OpenError> {
        self.load_snapshot()?;
        let segments = self.open_segments()?;
        let mut firsts = Vec::with_capacity(segments.len());
        for segment in &segments {
            firsts.push(self.first_of(segment, false)?);
        }
        // A segment is in use from its first whole record on.
        if let Some(last) = firsts.iter().rposition(Option::is_some) {
            firsts[last] = self.first_of(&segments[last], true)?;
        }
        let last = firsts.iter().rposition(Option::is_some).unwrap_or(0);
        let firsts = self.check_firsts(&segments, &firsts[..=last])?;
        let (active, unused) = self.replay(segments, &firsts)?;
        if self.catalog.tail < self.catalog.covered {
            return Err(self.damaged(
                &active.live.segment,
                active.offset,
                "the journal ends before its snapshot",
            ));
        }
        self.check_closed(&active)?;
        let spare = self.keep_one(unused)?;
        self.remove_older_snapshots()?;
        Ok((self.epoch, self.catalog, active, spare))
    }

    fn load_snapshot(&mut self) -> Result<(), OpenError> {
        if let Some(&at) = self.found.snapshots.last() {
            let loaded = load(self.disk, &snapshot_name(at), self.epoch, self.sink)?;
            self.catalog.covered = loaded.at;
            self.catalog.snapshot_bytes = loaded.bytes;
        }
        Ok(())
    }

    fn open_segments(&self) -> Result<Vec<Segment>, OpenError> {
        let missing = |sequence| OpenError::Corrupt {
            file: self.disk.path(&segment_name(sequence)),
            offset: 0,
            reason: "the segment is missing",
        };
        let &first = self.found.segments.first().ok_or_else(|| missing(1))?;
        let mut segments = Vec::with_capacity(self.found.segments.len());
        for (wanted, &sequence) in (first..).zip(&self.found.segments) {
            if sequence != wanted {
                return Err(missing(wanted));
            }
            let segment = open_segment(self.disk, sequence)?;
            if segment.header.epoch != self.epoch {
                return Err(self.damaged(&segment, 0, "the segment belongs to another journal"));
            }
            segments.push(segment);
        }
        Ok(segments)
    }

    /// The number of the first commit of `segment`, if a record stands at its beginning: its header
    /// at least, or all of it if it must be `whole`.
    fn first_of(&self, segment: &Segment, whole: bool) -> Result<Option<u64>, OpenError> {
        let read = |source| failed(self.disk, "read", &segment.name)(source);
        let mut window = Window::new(SECTOR_BYTES);
        let start = segment.record_start(&mut window, SEGMENT_HEADER_BYTES).map_err(read)?;
        let RecordStart::Record(header) = start else { return Ok(None) };
        if whole {
            let record = segment.read(&mut window, SEGMENT_HEADER_BYTES, header.extent()).map_err(read)?;
            if header.payload(record).is_err() {
                return Ok(None);
            }
        }
        Ok(Some(header.first))
    }

    /// The numbers that the used segments begin with: in order, and none missing before them. A
    /// segment that was too small for the first batch that came stays blank.
    fn check_firsts(&self, segments: &[Segment], found: &[Option<u64>]) -> Result<Vec<u64>, OpenError> {
        let mut firsts = vec![1; found.len()];
        let mut after = None;
        for (at, segment) in segments.iter().enumerate().take(found.len()).rev() {
            let damaged = |reason| Err(self.damaged(segment, SEGMENT_HEADER_BYTES, reason));
            firsts[at] = match (found[at], after) {
                (Some(first), Some(after)) if first > after => {
                    return damaged("the segments are out of order");
                }
                (Some(first), _) => first,
                (None, Some(after)) => {
                    if self.survey(segment, SEGMENT_HEADER_BYTES)?.blank_from > SEGMENT_HEADER_BYTES {
                        return damaged("the first record is missing, yet there are later ones");
                    }
                    after
                }
                // A journal whose very first record is torn or not yet written.
                (None, None) if segment.header.sequence == 1 => 1,
                (None, None) => return damaged("the segment has no records"),
            };
            after = Some(firsts[at]);
        }
        if firsts[0] > self.catalog.covered + 1 {
            let reason = "the commits between the snapshot and the segment are missing";
            return Err(self.damaged(&segments[0], SEGMENT_HEADER_BYTES, reason));
        }
        Ok(firsts)
    }

    /// Goes through the segments from the snapshot on. Older ones are looked at when they are read.
    /// Returns where to go on, and the segments that were prepared and not used.
    fn replay(
        &mut self,
        segments: Vec<Segment>,
        firsts: &[u64],
    ) -> Result<(Active, Vec<Segment>), OpenError> {
        let covered = self.catalog.covered;
        let from = firsts.iter().rposition(|&first| first <= covered + 1).unwrap_or(0);
        let last = firsts.len() - 1;
        self.catalog.tail = firsts[from] - 1;
        let mut unused = Vec::new();
        let mut active = None;
        let mut is_torn = false;
        for (at, segment) in segments.into_iter().enumerate() {
            if at > last {
                // A tear is possible behind the last whole record only, here if the segment before
                // was just full.
                let may_be_torn = at == last + 1 && !is_torn;
                self.check_unused(&segment, may_be_torn)?;
                unused.push(segment);
                continue;
            }
            let index = if at < from {
                Index::unknown()
            } else {
                let scanned = self.scan(&segment, firsts[at])?;
                if at == last {
                    is_torn = self.clear_tail(&segment, scanned.end, scanned.stop)?;
                } else {
                    self.check_rest(&segment, &scanned)?;
                }
                active = (at == last).then_some(scanned.end);
                scanned.index
            };
            self.catalog.segments.push_back(Arc::new(LiveSegment::new(segment, firsts[at], index)));
        }
        let live = self.catalog.segments.back().cloned();
        match (live, active) {
            (Some(live), Some(offset)) => Ok((Active { live, offset }, unused)),
            _ => unreachable!("the last used segment is always gone through"),
        }
    }

    /// Goes through the records of `segment` and tells the sink what the snapshot does not cover.
    fn scan(&mut self, segment: &Segment, first: u64) -> Result<Scanned, OpenError> {
        let read = |source| failed(self.disk, "read", &segment.name)(source);
        let mut window = Window::new(AHEAD_BYTES);
        let mut index = Index::unknown();
        let mut end = SEGMENT_HEADER_BYTES;
        let mut next = first;
        if first != self.catalog.tail + 1 {
            return Err(self.damaged(segment, end, "commits are missing before the segment"));
        }
        let stop = loop {
            let start = segment.record_start(&mut window, end).map_err(read)?;
            let RecordStart::Record(header) = start else { break start };
            let record = segment.read(&mut window, end, header.extent()).map_err(read)?;
            let Ok(payload) = header.payload(record) else { break start };
            if header.first != next {
                return Err(self.damaged(segment, end, "commits are missing before the record"));
            }
            if let Err(reason) = self.tell(&header, payload) {
                return Err(self.damaged(segment, end, reason));
            }
            next = header.next();
            index.push(&header, end);
            end += header.extent();
            if header.next() > self.catalog.covered + 1 {
                self.catalog.bytes_since_snapshot += header.extent();
            }
        };
        self.catalog.tail = next - 1;
        Ok(Scanned { index, end, stop })
    }

    fn tell(&mut self, header: &RecordHeader, payload: &[u8]) -> Result<(), Reason> {
        let mut rest = payload;
        if header.next() <= self.catalog.covered + 1 {
            return Ok(());
        }
        for number in header.first..header.next() {
            if number <= self.catalog.covered {
                skip_commit(&mut rest)?;
            } else {
                self.sink.commit(decode_commit(&mut rest, number, &mut self.interner)?);
            }
        }
        if rest.is_empty() { Ok(()) } else { Err("a record is longer than its commits") }
    }

    /// The records of a segment end and a later segment goes on: nothing else may be there.
    fn check_rest(&self, segment: &Segment, scanned: &Scanned) -> Result<(), OpenError> {
        let survey = self.survey(segment, scanned.end)?;
        if survey.blank_from == scanned.end {
            return Ok(());
        }
        let reason = match scanned.stop {
            RecordStart::Bad(reason) => reason,
            RecordStart::Record(_) => "the record is damaged, yet there are later ones",
            RecordStart::Blank => "a record is missing",
        };
        Err(self.damaged(segment, scanned.end, reason))
    }

    fn check_unused(&self, segment: &Segment, may_be_torn: bool) -> Result<(), OpenError> {
        let start = SEGMENT_HEADER_BYTES;
        let stop = segment.record_start(&mut Window::new(SECTOR_BYTES), start);
        let stop = stop.map_err(failed(self.disk, "read", &segment.name))?;
        if may_be_torn {
            self.clear_tail(segment, start, stop).map(drop)
        } else if self.survey(segment, start)?.blank_from > start {
            Err(self.damaged(segment, start, "the segment is in use, yet records before it are missing"))
        } else {
            Ok(())
        }
    }

    /// Behind the last whole record, at `offset`: tells a torn record, which is wiped, from damage,
    /// which is refused. Says whether there was one.
    fn clear_tail(&self, segment: &Segment, offset: u64, stop: RecordStart) -> Result<bool, OpenError> {
        let read = |source| failed(self.disk, "read", &segment.name)(source);
        let damaged = |reason| Err(self.damaged(segment, offset, reason));
        if offset + SECTOR_BYTES > segment.bytes() {
            return Ok(false);
        }
        let mut window = Window::new(AHEAD_BYTES);
        let head = segment.read(&mut window, offset, SECTOR_BYTES).map_err(read)?;
        let is_head_blank = is_blank(head);
        let is_body_blank = is_blank(&head[RECORD_HEADER_BYTES..]);
        // Where the torn record ends at the latest, and why it is damaged if it is not torn.
        let (end_max, reason) = match stop {
            RecordStart::Record(header) => {
                let record = segment.read(&mut window, offset, header.extent()).map_err(read)?;
                let reason = header.payload(record).err().unwrap_or("the record cannot be read");
                if !header.is_torn(record) {
                    return damaged(reason);
                }
                (offset + header.extent(), reason)
            }
            RecordStart::Blank if is_head_blank => {
                (offset.saturating_add(RECORD_BYTES_MAX).min(segment.bytes()), "a record is missing")
            }
            RecordStart::Bad(reason) if is_body_blank => (offset + SECTOR_BYTES, reason),
            RecordStart::Blank => return damaged("the header of the record is missing"),
            RecordStart::Bad(reason) => return damaged(reason),
        };
        let survey = self.survey(segment, offset)?;
        let later = match stop {
            RecordStart::Record(_) => self.survey(segment, end_max)?.record,
            _ => survey.record,
        };
        if later.is_some() || survey.blank_from > end_max {
            return damaged(reason);
        }
        if survey.blank_from == offset {
            return Ok(false);
        }
        segment.wipe(offset, survey.blank_from).map_err(failed(self.disk, "repair", &segment.name))?;
        Ok(true)
    }

    /// A journal that was closed ends where it says. The mark goes before anything is appended.
    fn check_closed(&self, active: &Active) -> Result<(), OpenError> {
        let Some(mark) = self.found.closed else { return Ok(()) };
        let segment = &active.live.segment;
        let found = ClosedMark {
            epoch: self.epoch,
            tail: self.catalog.tail,
            sequence: segment.header.sequence,
            offset: active.offset,
        };
        if found != mark {
            return Err(self.damaged(segment, active.offset, "the journal does not end where it was closed"));
        }
        self.disk.remove(CLOSED).map_err(failed(self.disk, "remove", CLOSED))?;
        self.disk.sync_dir().map_err(failed(self.disk, "sync", ""))
    }

    /// Of the segments that were prepared, one is the next; others are removed, youngest first, so
    /// that no crash makes a gap.
    fn keep_one(&self, mut unused: Vec<Segment>) -> Result<Option<Segment>, OpenError> {
        while unused.len() > 1 {
            if let Some(segment) = unused.pop() {
                let name = &segment.name;
                self.disk.remove(name).map_err(failed(self.disk, "remove", name))?;
                self.disk.sync_dir().map_err(failed(self.disk, "sync", ""))?;
            }
        }
        Ok(unused.pop())
    }

    fn remove_older_snapshots(&self) -> Result<(), OpenError> {
        let older = self.found.snapshots.split_last().map_or(&[][..], |(_, older)| older);
        for &at in older {
            let name = snapshot_name(at);
            self.disk.remove(&name).map_err(failed(self.disk, "remove", &name))?;
        }
        Ok(())
    }

    fn survey(&self, segment: &Segment, from: u64) -> Result<Survey, OpenError> {
        let survey = segment.survey(&mut Window::new(AHEAD_BYTES), from);
        survey.map_err(failed(self.disk, "read", &segment.name))
    }

    fn damaged(&self, segment: &Segment, offset: u64, reason: Reason) -> OpenError {
        OpenError::Corrupt { file: self.disk.path(&segment.name), offset, reason }
    }
}
