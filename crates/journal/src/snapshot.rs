//! Snapshots: the state after one commit, so that start-up need not replay all of history.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use dovetail_model::{Change, Epoch};

use crate::RecoverySink;
use crate::disk::{ASIDE, Disk, StorageFile, is_full};
use crate::error::{OpenError, Poison, SnapshotError};
use crate::format::{
    BLOCK_HEADER_BYTES, BlockHeader, HEADER_BYTES, Interner, SnapshotHeader, SnapshotTrailer, decode_change,
    encode_change,
};
use crate::lock::DirLock;
use crate::memory::MemorySnapshots;
use crate::segment::numbered;
use crate::shared::Shared;

/// Entries are gathered into blocks of about this size; each has its checksum.
const BLOCK_BYTES: usize = 256 << 10;
/// Synced in pieces of this size, so that a snapshot never fills the queue of the disk in front of
/// a commit.
const SYNC_BYTES: u64 = 4 << 20;

/// Writes snapshots from a background thread while appends go on.
#[derive(Debug)]
pub struct SnapshotWriter(Kind);

#[derive(Debug)]
enum Kind {
    Memory(MemorySnapshots),
    File(FileSnapshots),
}

/// Writes the snapshots of a file journal.
#[derive(Debug)]
pub(crate) struct FileSnapshots {
    shared: Arc<Shared>,
    /// The lock of the directory, if it has one. It ends with the journal, unless a snapshot is
    /// just being written.
    lock: Option<Weak<DirLock>>,
}

/// A snapshot that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loaded {
    pub(crate) at: u64,
    pub(crate) bytes: u64,
}

/// Why a snapshot was given up.
enum Failure {
    Io(io::Error),
    Closing,
}

struct BlockWriter<'a> {
    file: &'a dyn StorageFile,
    at: u64,
    offset: u64,
    synced: u64,
    block: Vec<u8>,
    entries: u32,
}

impl SnapshotWriter {
    /// Writes the state after commit `at`, and returns when it is durable. It replaces the snapshot
    /// before it.
    ///
    /// `entries` are the live resources (as puts, in tree order) and the tombstones (as deletes).
    /// `floor` is the oldest revision from which the tombstones among them still tell every delete;
    /// the opening hands it back unchanged. The commits up to `at` must be durable.
    pub fn write(
        &self,
        at: u64,
        floor: u64,
        entries: &mut dyn Iterator<Item = Change>,
    ) -> Result<(), SnapshotError> {
        match &self.0 {
            Kind::Memory(snapshots) => snapshots.write(at, floor, entries),
            Kind::File(snapshots) => snapshots.write(at, floor, entries),
        }
    }
}

/// The name of the snapshot at `at`.
pub(crate) fn snapshot_name(at: u64) -> String {
    format!("snapshot-{at:020}")
}

/// The position of the snapshot named `name`, if it names one.
pub(crate) fn snapshot_position(name: &str) -> Option<u64> {
    numbered(name, "snapshot-")
}

impl FileSnapshots {
    pub(crate) fn new(shared: Arc<Shared>, lock: Option<Weak<DirLock>>) -> Self {
        Self { shared, lock }
    }

    fn write(
        &self,
        at: u64,
        floor: u64,
        entries: &mut dyn Iterator<Item = Change>,
    ) -> Result<(), SnapshotError> {
        // In this order, so that the directory is free when the turn is.
        let _turn = self.shared.snapshot_turn();
        let lock = self.lock.as_ref().map(Weak::upgrade);
        if matches!(lock, Some(None)) || self.shared.is_closing.load(Ordering::Acquire) {
            return Err(SnapshotError::Closed);
        }
        self.check(at)?;
        let name = snapshot_name(at);
        match self.write_aside(&name, SnapshotHeader { epoch: self.shared.epoch, at, floor }, entries) {
            Ok(bytes) => self.publish(at, bytes),
            Err(failure) => {
                // The first failure is the one to report; an opening clears away what is left.
                let _ = self.shared.disk.remove(&format!("{name}{ASIDE}"));
                return Err(self.failed(name, failure));
            }
        }
        self.remove_older(at);
        Ok(())
    }

    fn check(&self, at: u64) -> Result<(), SnapshotError> {
        self.shared.check().map_err(SnapshotError::Poisoned)?;
        let catalog = self.shared.catalog();
        if at > catalog.tail {
            return Err(SnapshotError::Ahead { at, tail: catalog.tail });
        }
        if at <= catalog.covered {
            return Err(SnapshotError::NotNewer { at, newest: catalog.covered });
        }
        Ok(())
    }

    fn write_aside(
        &self,
        name: &str,
        header: SnapshotHeader,
        entries: &mut dyn Iterator<Item = Change>,
    ) -> Result<u64, Failure> {
        let disk = &*self.shared.disk;
        let aside = format!("{name}{ASIDE}");
        let file = disk.create(&aside)?;
        file.write_at(&header.to_bytes(), 0)?;
        let mut writer = BlockWriter::new(&*file, header.at);
        let mut count = 0;
        for change in entries {
            count += 1;
            writer.push(&change)?;
            if writer.entries == 0 && self.shared.is_closing.load(Ordering::Acquire) {
                return Err(Failure::Closing);
            }
        }
        writer.flush()?;
        let bytes = writer.offset + HEADER_BYTES as u64;
        let trailer = SnapshotTrailer { at: header.at, entries: count, bytes };
        file.write_at(&trailer.to_bytes(), writer.offset)?;
        file.sync()?;
        disk.rename(&aside, name)?;
        disk.sync_dir()?;
        Ok(bytes)
    }

    fn publish(&self, at: u64, bytes: u64) {
        let mut catalog = self.shared.catalog();
        catalog.covered = at;
        catalog.snapshot_bytes = bytes;
        catalog.bytes_since_snapshot = catalog.bytes_from(at + 1);
    }

    fn failed(&self, name: String, failure: Failure) -> SnapshotError {
        match failure {
            Failure::Closing => SnapshotError::Closed,
            Failure::Io(error) if is_full(&error) => SnapshotError::Full,
            Failure::Io(error) => {
                let poison = Poison::failed("write", name, error);
                self.shared.set_poison(poison.clone());
                SnapshotError::Poisoned(poison)
            }
        }
    }

    /// Removes the snapshots that the one at `at` replaces. What cannot be removed now is removed
    /// by the next snapshot or opening.
    fn remove_older(&self, at: u64) {
        let names = self.shared.disk.list().unwrap_or_default();
        for name in names.iter().filter(|name| snapshot_position(name).is_some_and(|older| older < at)) {
            let _ = self.shared.disk.remove(name);
        }
    }
}

impl<'a> BlockWriter<'a> {
    fn new(file: &'a dyn StorageFile, at: u64) -> Self {
        let block = vec![0; BLOCK_HEADER_BYTES];
        Self { file, at, offset: HEADER_BYTES as u64, synced: 0, block, entries: 0 }
    }

    fn push(&mut self, change: &Change) -> io::Result<()> {
        encode_change(change, 0, 0, &mut self.block);
        self.entries += 1;
        if self.block.len() >= BLOCK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.entries == 0 {
            return Ok(());
        }
        BlockHeader::finish(&mut self.block, self.entries, self.at, self.offset);
        self.file.write_at(&self.block, self.offset)?;
        self.offset += self.block.len() as u64;
        self.block.truncate(BLOCK_HEADER_BYTES);
        self.entries = 0;
        if self.offset - self.synced >= SYNC_BYTES {
            self.file.sync()?;
            self.synced = self.offset;
        }
        Ok(())
    }
}

/// Reads the snapshot named `name` into `sink`, checking all of it.
pub(crate) fn load(
    disk: &dyn Disk,
    name: &str,
    epoch: Epoch,
    sink: &mut dyn RecoverySink,
) -> Result<Loaded, OpenError> {
    let damaged = |offset, reason| OpenError::Corrupt { file: disk.path(name), offset, reason };
    let failed = |source| OpenError::Io { action: "read", file: disk.path(name), source };
    let file = disk.open(name).map_err(failed)?;
    let size = file.bytes().map_err(failed)?;
    if size < 2 * HEADER_BYTES as u64 {
        return Err(damaged(size, "the snapshot is cut short"));
    }
    let mut bytes = [0; HEADER_BYTES];
    file.read_at(&mut bytes, 0).map_err(failed)?;
    let header =
        SnapshotHeader::from_bytes(&bytes).map_err(|error| OpenError::header(disk.path(name), 0, error))?;
    let end = size - HEADER_BYTES as u64;
    file.read_at(&mut bytes, end).map_err(failed)?;
    let trailer = SnapshotTrailer::from_bytes(&bytes)
        .map_err(|error| OpenError::header(disk.path(name), end, error))?;
    if header.epoch != epoch || snapshot_position(name) != Some(header.at) {
        return Err(damaged(0, "the snapshot belongs to another journal or position"));
    }
    if (trailer.at, trailer.bytes) != (header.at, size) {
        return Err(damaged(end, "the end belongs to another snapshot"));
    }
    sink.snapshot(header.at, header.floor, trailer.entries);
    let mut blocks = BlockReader { file: &*file, at: header.at, offset: HEADER_BYTES as u64, end };
    let (mut payload, mut interner, mut entries) = (Vec::new(), Interner::default(), 0);
    while blocks.offset < blocks.end {
        let start = blocks.offset;
        let block = match blocks.next(&mut payload).map_err(failed)? {
            Ok(block) => block,
            Err(reason) => return Err(damaged(start, reason)),
        };
        let mut rest = &payload[..];
        for _ in 0..block.entries {
            let change = decode_change(&mut rest, 0, 0, &mut interner);
            sink.entry(change.map_err(|reason| damaged(start, reason))?);
        }
        if !rest.is_empty() {
            return Err(damaged(start, "a block is longer than its entries"));
        }
        entries += u64::from(block.entries);
    }
    if entries != trailer.entries {
        return Err(damaged(end, "entries are missing"));
    }
    Ok(Loaded { at: header.at, bytes: size })
}

struct BlockReader<'a> {
    file: &'a dyn StorageFile,
    at: u64,
    offset: u64,
    end: u64,
}

impl BlockReader<'_> {
    /// Reads the next block into `payload`. The outer error is the system's, the inner one damage.
    fn next(&mut self, payload: &mut Vec<u8>) -> io::Result<Result<BlockHeader, &'static str>> {
        let room = self.end - self.offset;
        if room < BLOCK_HEADER_BYTES as u64 {
            return Ok(Err("a block is cut short"));
        }
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        self.file.read_at(&mut bytes, self.offset)?;
        let block = match BlockHeader::from_bytes(&bytes, self.at, self.offset) {
            Ok(block) => block,
            Err(reason) => return Ok(Err(reason)),
        };
        let payload_bytes = u64::from(block.payload_bytes);
        if payload_bytes > room - BLOCK_HEADER_BYTES as u64 {
            return Ok(Err("a block reaches beyond the end"));
        }
        payload.resize(block.payload_bytes as usize, 0);
        self.file.read_at(payload, self.offset + BLOCK_HEADER_BYTES as u64)?;
        self.offset += BLOCK_HEADER_BYTES as u64 + payload_bytes;
        Ok(block.check(payload).map(|()| block))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<MemorySnapshots> for SnapshotWriter {
    fn from(snapshots: MemorySnapshots) -> Self {
        Self(Kind::Memory(snapshots))
    }
}

impl From<FileSnapshots> for SnapshotWriter {
    fn from(snapshots: FileSnapshots) -> Self {
        Self(Kind::File(snapshots))
    }
}
