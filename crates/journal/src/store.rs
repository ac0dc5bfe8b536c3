//! The contract of a journal, and what every kind of journal does alike.

use dovetail_model::{Change, Commit, Epoch};

use crate::error::{AppendError, CloseError, OpenError, TrimError};
use crate::{JournalReader, SnapshotWriter};

/// What every journal does. One owner appends; readers and the snapshot writer are handles that
/// live on other threads.
///
/// The contract, which `tests/contract.rs` holds every implementation to:
///
/// * A commit is durable when [`append`](Self::append) returns `Ok`, and from then on visible to
///   every reader, with equal bytes, until trimmed. Nothing is visible before.
/// * A batch is there whole or not at all.
/// * Numbers are contiguous and only grow. Number 0 is the empty journal.
/// * After an error of kind *poisoned* every later append fails until the journal is opened anew.
pub trait JournalStore {
    /// The history that the numbers count in.
    fn epoch(&self) -> Epoch;

    /// The newest durable commit; 0 in an empty journal.
    fn tail(&self) -> u64;

    /// The oldest commit that can be read; `tail + 1` when there is none.
    fn first(&self) -> u64;

    /// Appends `batch` as a unit and returns when it is durable. `expected_tail` is what the caller
    /// takes for the tail; the numbers of the batch continue from it one by one. An empty batch
    /// does nothing.
    fn append(&mut self, batch: &[Commit], expected_tail: u64) -> Result<(), AppendError>;

    /// A handle that reads durable commits from any thread.
    fn reader(&self) -> JournalReader;

    /// Drops history: whole segments all of whose commits are below `before` *and* in a durable
    /// snapshot. Gives up less than asked rather than more. Returns the new
    /// [`first`](Self::first); the space follows a little later.
    fn trim(&mut self, before: u64) -> Result<u64, TrimError>;

    /// A handle that writes snapshots from a background thread.
    fn snapshots(&self) -> SnapshotWriter;

    /// Bytes that a start-up would have to replay on top of the newest snapshot.
    fn bytes_since_snapshot(&self) -> u64;

    /// Whether replay has become so long that a new snapshot pays.
    fn should_snapshot(&self) -> bool;

    /// The most encoded bytes of one batch ([`crate::encoded_bytes`] of its commits together).
    fn batch_bytes_max(&self) -> usize;

    /// How the space stands, so that writes can be refused while there is still room for deletes.
    fn space(&self) -> Space;

    /// Stops the helpers and gives the directory free. Dropping a journal does the same without
    /// the report, as a crash would.
    fn close(self) -> Result<(), CloseError>;
}

/// How much room a journal has for commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// The next segment is there or in the making.
    Ample,
    /// The disk had no space for the next segment; the journal tries again by itself.
    Low {
        /// Bytes that still fit.
        bytes_left: u64,
    },
}

/// Receives what an opening journal finds: at most one snapshot, then the commits after it, in
/// order. If the opening fails, what was received so far must be thrown away.
pub trait RecoverySink {
    /// A snapshot of the state after commit `at` follows, in about `entries_hint` calls of
    /// [`entry`](Self::entry). `floor` is what the writer of the snapshot gave.
    fn snapshot(&mut self, at: u64, floor: u64, entries_hint: u64);

    /// One entry of the snapshot, in the order in which it was written.
    fn entry(&mut self, change: Change);

    /// The next commit after the snapshot, or after the empty journal.
    fn commit(&mut self, commit: Commit);
}

/// Checks that `batch` continues a journal that ends at `tail`.
pub(crate) fn check_numbers(batch: &[Commit], expected_tail: u64, tail: u64) -> Result<(), AppendError> {
    if expected_tail != tail {
        return Err(AppendError::WrongTail { expected: expected_tail, actual: tail });
    }
    for (wanted, commit) in (tail + 1..).zip(batch) {
        if commit.number != wanted {
            return Err(AppendError::NotContiguous { wanted, found: commit.number });
        }
    }
    Ok(())
}

/// An epoch that no earlier history had.
pub(crate) fn random_epoch() -> Result<Epoch, OpenError> {
    let bits = getrandom::u64().map_err(|source| OpenError::Io {
        action: "draw a random number for",
        file: "the epoch".into(),
        source: source.into(),
    })?;
    Ok(Epoch::from_random(bits))
}
