//! One error per operation. What is reported names the file and the offset.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::format::{HeaderError, VERSION};

/// The failure after which a journal trusts itself no more.
///
/// After a failed write or sync nobody knows what the disk holds, and asking it again can answer
/// *yes* without cause. So the journal takes nothing more; only opening it anew, which reads what
/// is really there, ends the state.
#[derive(Clone, Debug)]
pub struct Poison(Arc<PoisonCause>);

#[derive(Debug)]
struct PoisonCause {
    action: &'static str,
    file: String,
    source: Option<io::Error>,
}

/// Why nothing was appended, or why nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A write or sync failed, now or earlier. If now, the batch is there whole or not at all after
    /// the next opening; nobody knows which. Every later append fails as well.
    #[error("the journal takes nothing more after a failure")]
    Poisoned(#[source] Poison),
    /// There was no space for the batch. Nothing of it will ever appear; the journal stays usable
    /// and takes commits again as soon as there is space.
    #[error("no space for the journal")]
    Full,
    /// Somebody else appended, or the caller lost count.
    #[error("the journal ends at {actual}, not at {expected}")]
    WrongTail {
        /// What the caller took for the tail.
        expected: u64,
        /// The tail.
        actual: u64,
    },
    /// The numbers of the batch do not continue the journal one by one.
    #[error("commit {found} stands where {wanted} belongs")]
    NotContiguous {
        /// The number that belongs there.
        wanted: u64,
        /// The number that was found.
        found: u64,
    },
    /// The batch is larger than one record may be; see [`crate::Journal::batch_bytes_max`].
    #[error("a batch of {bytes} bytes, at most {bytes_max} fit")]
    TooLarge {
        /// The encoded size of the batch.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

/// Why history could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The commits asked for are gone; the journal begins at `first`.
    #[error("history begins at {first}")]
    Trimmed {
        /// The oldest commit that can still be read.
        first: u64,
    },
    /// The position lies after the tail: it comes from another history.
    #[error("the journal ends at {tail}")]
    Ahead {
        /// The newest durable commit.
        tail: u64,
    },
    /// What is stored is not what was written.
    #[error("{file} is damaged at byte {offset}: {reason}")]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// The offset in it.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The file could not be read.
    #[error("{file} cannot be read at byte {offset}")]
    Io {
        /// The file.
        file: PathBuf,
        /// The offset in it.
        offset: u64,
        /// What the system says.
        source: io::Error,
    },
}

/// Why a journal did not open. Nothing was changed, except that what a crash left behind may have
/// been cleared away.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another part of this one, has the directory open.
    #[error("{dir} is in use by process {holder}")]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process id that the holder left, or `unknown`.
        holder: String,
    },
    /// Something that no crash can leave: damage, or a file that somebody removed.
    #[error("{file} is damaged at byte {offset}: {reason}")]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// The offset in it.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The files were written in a format that this version does not read.
    #[error("{file} has format version {found}, this program reads version {known}")]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The version of this program.
        known: u32,
    },
    /// An option is out of its range.
    #[error("the option {option} is {value}, it must be {rule}")]
    Option {
        /// The name of the option.
        option: &'static str,
        /// Its value.
        value: u64,
        /// Its range.
        rule: &'static str,
    },
    /// The system refused an operation.
    #[error("cannot {action} {file}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Why a snapshot was not written. The journal is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A write or sync failed, now or earlier.
    #[error("the journal takes nothing more after a failure")]
    Poisoned(#[source] Poison),
    /// There was no space; what was written of the snapshot is removed.
    #[error("no space for a snapshot")]
    Full,
    /// The snapshot claims commits that are not durable.
    #[error("a snapshot at {at} is ahead of the journal, which ends at {tail}")]
    Ahead {
        /// The position of the snapshot.
        at: u64,
        /// The tail.
        tail: u64,
    },
    /// The journal was closed; what was written of the snapshot is removed.
    #[error("the journal is closed")]
    Closed,
    /// There is a snapshot of this position or a later one.
    #[error("a snapshot at {at} adds nothing to the one at {newest}")]
    NotNewer {
        /// The position of the snapshot.
        at: u64,
        /// The newest snapshot.
        newest: u64,
    },
}

/// Why nothing was trimmed.
#[derive(Debug, thiserror::Error)]
pub enum TrimError {
    /// A write or sync failed earlier.
    #[error("the journal takes nothing more after a failure")]
    Poisoned(#[source] Poison),
}

/// Why a journal did not close well. What was acknowledged is durable all the same.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// A write or sync failed, now or earlier.
    #[error("the journal takes nothing more after a failure")]
    Poisoned(#[source] Poison),
}

impl OpenError {
    /// What a refused header at `offset` of `file` means.
    pub(crate) fn header(file: PathBuf, offset: u64, error: HeaderError) -> Self {
        match error {
            HeaderError::Version(found) => Self::Version { file, found, known: VERSION },
            HeaderError::Bad(reason) => Self::Corrupt { file, offset, reason },
        }
    }
}

impl Poison {
    /// The poison of a failed `action` on `file`.
    pub(crate) fn failed(action: &'static str, file: impl Into<String>, source: io::Error) -> Self {
        Self(Arc::new(PoisonCause { action, file: file.into(), source: Some(source) }))
    }

    /// The poison of a panic in the attempt to `action` the journal.
    pub(crate) fn panicked(action: &'static str) -> Self {
        Self(Arc::new(PoisonCause { action, file: "journal".into(), source: None }))
    }
}

impl fmt::Display for Poison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source {
            Some(_) => write!(f, "cannot {} {}", self.0.action, self.0.file),
            None => write!(f, "a panic in the attempt to {} the journal", self.0.action),
        }
    }
}

impl std::error::Error for Poison {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}
