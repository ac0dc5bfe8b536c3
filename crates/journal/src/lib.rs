//! The journal: the one ordered history of changes, made durable before anybody is told.
//!
//! * the contract: [`Journal`], [`JournalStore`], [`RecoverySink`], and the errors of each operation
//! * reading what is durable, from any thread: [`JournalReader`]
//! * snapshots of the tree, so that start-up is a snapshot and a tail: [`SnapshotWriter`]
//! * the journal in files: [`FileJournal`], on a [`Disk`] that tests can replace by a [`sim`]
//! * [`memory`]: the journal of tests and throw-away servers, with faults on demand
//!
//! Nothing here knows what a tree or a protocol is. A commit goes in, is durable when `append`
//! returns `Ok`, and comes out again with equal bytes until it is trimmed.

mod append;
mod disk;
mod error;
mod format;
mod helper;
mod journal;
mod lock;
pub mod memory;
mod read;
mod recover;
mod segment;
mod shared;

pub mod sim;
mod snapshot;
mod store;
mod trim;

pub use append::{FileJournal, FileOptions};
pub use disk::{Disk, StorageFile};
pub use error::{AppendError, CloseError, OpenError, Poison, ReadError, SnapshotError, TrimError};
pub use format::{change_bytes, encoded_bytes};
pub use journal::Journal;
pub use read::JournalReader;
pub use snapshot::SnapshotWriter;
pub use store::{JournalStore, RecoverySink, Space};
