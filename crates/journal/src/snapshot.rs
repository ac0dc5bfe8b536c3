//! Snapshots: the state after one commit, so that start-up need not replay all of history.

use dovetail_model::Change;

use crate::error::SnapshotError;
use crate::memory::MemorySnapshots;

/// Writes snapshots from a background thread while appends go on.
#[derive(Debug)]
pub struct SnapshotWriter(Kind);

#[derive(Debug)]
enum Kind {
    Memory(MemorySnapshots),
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
        }
    }
}

impl From<MemorySnapshots> for SnapshotWriter {
    fn from(snapshots: MemorySnapshots) -> Self {
        Self(Kind::Memory(snapshots))
    }
}
