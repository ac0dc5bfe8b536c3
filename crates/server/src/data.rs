//! Opening the data directory: the journal, and the state that it holds.

use std::path::Path;

use dovetail_engine::{Recovered, Recovery};
use dovetail_journal::{FileJournal, FileOptions, Journal, OpenError};

/// Why the data cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The journal did not open.
    #[error("the data in {dir} cannot be opened")]
    Open {
        /// The directory.
        dir: String,
        /// Why.
        source: OpenError,
    },
    /// The snapshot is whole but does not make sense.
    #[error("the snapshot in {dir} does not hold a state: {reason}")]
    State {
        /// The directory.
        dir: String,
        /// What does not fit.
        reason: String,
    },
}

/// Opens the journal in `dir`, which is made if it is not there, and recovers the state.
pub(crate) fn open(dir: &Path, options: FileOptions) -> Result<(Journal, Recovered), DataError> {
    let name = || dir.display().to_string();
    let mut recovery = Recovery::new();
    let journal = FileJournal::open(dir, options, &mut recovery)
        .map_err(|source| DataError::Open { dir: name(), source })?;
    let recovered =
        recovery.finish().map_err(|error| DataError::State { dir: name(), reason: error.to_string() })?;
    Ok((journal.into(), recovered))
}
