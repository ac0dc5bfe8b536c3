//! The journal: the one ordered history of changes, made durable before anybody is told.
//!
//! * the contract: [`Journal`], [`JournalStore`], [`RecoverySink`], and the errors of each operation
//! * reading what is durable, from any thread: [`JournalReader`]
//! * snapshots of the tree, so that start-up is a snapshot and a tail: [`SnapshotWriter`]
//! * [`memory`]: the journal of tests and throw-away servers, with faults on demand
//!
//! Nothing here knows what a tree or a protocol is. A commit goes in, is durable when `append`
//! returns `Ok`, and comes out again with equal bytes until it is trimmed.

mod error;
mod journal;
pub mod memory;
mod read;
mod snapshot;

pub use error::{AppendError, CloseError, OpenError, Poison, ReadError, SnapshotError, TrimError};
pub use journal::{Journal, JournalStore, RecoverySink, Space};
pub use read::JournalReader;
pub use snapshot::SnapshotWriter;
