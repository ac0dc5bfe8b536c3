//! What the parts of a file journal share: the disk, what is durable on it, and whether it is trusted.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use dovetail_model::Epoch;

use crate::disk::Disk;
use crate::error::Poison;
use crate::segment::LiveSegment;

/// What the writer, the readers, the helper and the snapshot writer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Box<dyn Disk>,
    pub(crate) epoch: Epoch,
    poison: OnceLock<Poison>,
    catalog: Mutex<Catalog>,
    /// Held while a snapshot is written.
    pub(crate) snapshot_turn: Mutex<()>,
    pub(crate) is_closing: AtomicBool,
}

/// What is durable, and where.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) tail: u64,
    /// The segments, oldest first; the last one is the active one.
    pub(crate) segments: VecDeque<Arc<LiveSegment>>,
    /// The newest durable snapshot covers the commits up to here.
    pub(crate) covered: u64,
    pub(crate) snapshot_bytes: u64,
    pub(crate) bytes_since_snapshot: u64,
}

impl Shared {
    pub(crate) fn new(disk: Box<dyn Disk>, epoch: Epoch, catalog: Catalog) -> Self {
        Self {
            disk,
            epoch,
            poison: OnceLock::new(),
            catalog: Mutex::new(catalog),
            snapshot_turn: Mutex::new(()),
            is_closing: AtomicBool::new(false),
        }
    }

    /// Fails if the journal is poisoned.
    pub(crate) fn check(&self) -> Result<(), Poison> {
        self.poison().map_or(Ok(()), Err)
    }

    pub(crate) fn poison(&self) -> Option<Poison> {
        self.poison.get().cloned()
    }

    /// Poisons the journal; the first cause stays.
    pub(crate) fn set_poison(&self, poison: Poison) {
        // A second failure says less about the disk than the first one.
        let _ = self.poison.set(poison);
    }

    pub(crate) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        // Nothing that could panic runs while the catalog is locked.
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn snapshot_turn(&self) -> MutexGuard<'_, ()> {
        // The turn guards no data; a snapshot that panicked left only a file aside.
        self.snapshot_turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn file_path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }
}
