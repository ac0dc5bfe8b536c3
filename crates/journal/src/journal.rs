//! The enum that the engine holds: a journal of one of the kinds that there are.

use dovetail_model::{Commit, Epoch};

use crate::error::{AppendError, CloseError, TrimError};
use crate::memory::MemoryJournal;
use crate::store::{JournalStore, Space};
use crate::{FileJournal, JournalReader, SnapshotWriter};

/// A journal of one of the kinds that there are.
#[derive(Debug)]
pub enum Journal {
    /// In files.
    File(FileJournal),
    /// In memory: lost with the process.
    Memory(MemoryJournal),
}

macro_rules! each {
    ($journal:expr, $store:ident => $call:expr) => {
        match $journal {
            Journal::File($store) => $call,
            Journal::Memory($store) => $call,
        }
    };
}

impl Journal {
    /// See [`JournalStore::epoch`].
    pub fn epoch(&self) -> Epoch {
        each!(self, store => store.epoch())
    }

    /// See [`JournalStore::tail`].
    pub fn tail(&self) -> u64 {
        each!(self, store => store.tail())
    }

    /// See [`JournalStore::first`].
    pub fn first(&self) -> u64 {
        each!(self, store => store.first())
    }

    /// See [`JournalStore::append`].
    pub fn append(&mut self, batch: &[Commit], expected_tail: u64) -> Result<(), AppendError> {
        each!(self, store => store.append(batch, expected_tail))
    }

    /// See [`JournalStore::reader`].
    pub fn reader(&self) -> JournalReader {
        each!(self, store => store.reader())
    }

    /// See [`JournalStore::trim`].
    pub fn trim(&mut self, before: u64) -> Result<u64, TrimError> {
        each!(self, store => store.trim(before))
    }

    /// See [`JournalStore::snapshots`].
    pub fn snapshots(&self) -> SnapshotWriter {
        each!(self, store => store.snapshots())
    }

    /// See [`JournalStore::bytes_since_snapshot`].
    pub fn bytes_since_snapshot(&self) -> u64 {
        each!(self, store => store.bytes_since_snapshot())
    }

    /// See [`JournalStore::should_snapshot`].
    pub fn should_snapshot(&self) -> bool {
        each!(self, store => store.should_snapshot())
    }

    /// See [`JournalStore::batch_bytes_max`].
    pub fn batch_bytes_max(&self) -> usize {
        each!(self, store => store.batch_bytes_max())
    }

    /// See [`JournalStore::space`].
    pub fn space(&self) -> Space {
        each!(self, store => store.space())
    }

    /// See [`JournalStore::close`].
    pub fn close(self) -> Result<(), CloseError> {
        each!(self, store => store.close())
    }
}

impl From<FileJournal> for Journal {
    fn from(journal: FileJournal) -> Self {
        Self::File(journal)
    }
}

impl From<MemoryJournal> for Journal {
    fn from(journal: MemoryJournal) -> Self {
        Self::Memory(journal)
    }
}
