//! Stage 3 of a write: durable from here.

use dovetail_journal::{AppendError, Journal};
use dovetail_model::Commit;

use crate::outcome::WriteError;

/// What a failed append means for the writes of its group, and for later ones.
#[derive(Debug)]
pub(crate) struct CommitFailure {
    /// What the writes of the group are told.
    pub(crate) answer: WriteError,
    /// What every later write is told, if the engine cannot write any more.
    pub(crate) from_now_on: Option<WriteError>,
}

/// Makes a group of commits durable, all or nothing.
///
/// # Errors
/// When the group is not durable. Only a full disk leaves the engine able to write.
pub(crate) fn commit(journal: &mut Journal, group: &[Commit]) -> Result<(), CommitFailure> {
    let Some(first) = group.first() else { return Ok(()) };
    journal.append(group, first.number - 1).map_err(|error| match error {
        AppendError::Full => CommitFailure { answer: WriteError::DiskFull, from_now_on: None },
        AppendError::TooLarge { .. } => CommitFailure {
            answer: WriteError::Malformed {
                reason: error.to_string(),
                limit: dovetail_model::limits::BATCH_CHANGES,
            },
            from_now_on: None,
        },
        AppendError::Poisoned(_) | AppendError::WrongTail { .. } | AppendError::NotContiguous { .. } => {
            let reason = crate::describe(&error);
            tracing::error!(reason, "the journal failed; the server only reads until it is restarted");
            CommitFailure {
                answer: WriteError::Unknown(reason.clone()),
                from_now_on: Some(WriteError::ReadOnly(reason)),
            }
        }
    })
}
