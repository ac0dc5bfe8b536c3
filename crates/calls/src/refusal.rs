//! Why something is not done: the one table from errors to problem documents.

use std::time::Duration;

use dovetail_api::batch::BatchError;
use dovetail_api::calls::CallError;
use dovetail_api::decode::DecodeError;
use dovetail_api::names::NameError;
use dovetail_api::problem::{Problem, ProblemType};
use dovetail_auth::Denied;
use dovetail_engine::{ChangesError, ResetReason, WriteError, describe};
use dovetail_model::{Revision, Topic};

/// When to try again what failed for a reason that passes soon.
const SOON: Duration = Duration::from_secs(1);

/// Why something is not done, as clients are told. Boxed, because it travels in every result and is rare.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal(Box<Problem>);

impl Refusal {
    /// A refusal with a type and what a person should know.
    pub fn new(kind: ProblemType, detail: impl Into<Box<str>>) -> Self {
        Self(Box::new(Problem::new(kind, detail)))
    }

    /// The request is wrong in a way that no other type says.
    pub fn bad_request(detail: impl Into<Box<str>>) -> Self {
        Self::new(ProblemType::BadRequest, detail)
    }

    /// A token is none.
    pub fn invalid_revision(detail: impl Into<Box<str>>) -> Self {
        Self::new(ProblemType::InvalidRevision, detail)
    }

    /// Nothing is stored under `path` at `head`.
    pub fn not_found(path: &str, head: Revision) -> Self {
        Self::new(ProblemType::NotFound, format!("nothing is stored under `{path}`")).at(head)
    }

    /// The precondition on `path` does not hold; it was last changed by `current`, if it exists.
    pub fn precondition_failed(path: &str, current: Option<Revision>) -> Self {
        let detail = match current {
            Some(current) => format!("`{path}` was last changed by {current}"),
            None => format!("`{path}` does not exist"),
        };
        let mut refusal = Self::new(ProblemType::PreconditionFailed, detail);
        refusal.0.current = current;
        refusal
    }

    /// A position cannot be continued from.
    pub fn position_gone(detail: impl Into<Box<str>>, head: Revision) -> Self {
        Self::new(ProblemType::PositionGone, detail).at(head)
    }

    /// `got` is no patch format.
    pub fn unsupported_patch(got: &str) -> Self {
        let detail = if got.is_empty() {
            "a patch needs a content type".to_owned()
        } else {
            format!("`{got}` is not a patch format of this server")
        };
        Self::new(ProblemType::UnsupportedMediaType, detail)
    }

    /// A payload has more than `limit` bytes.
    pub fn too_large(limit: usize) -> Self {
        Self::new(ProblemType::TooLarge, format!("a payload has at most {limit} bytes"))
    }

    /// Says the head of the journal.
    #[must_use]
    pub fn at(mut self, head: Revision) -> Self {
        self.0.rev = Some(head);
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after_ms = Some(delay.as_millis() as u64);
        self
    }

    /// Says which write of a batch it is about.
    #[must_use]
    pub(crate) fn about(mut self, index: usize) -> Self {
        self.0.index = Some(index);
        self
    }

    /// What clients are told.
    pub fn problem(&self) -> &Problem {
        &self.0
    }

    /// What clients are told.
    pub fn into_problem(self) -> Problem {
        *self.0
    }

    /// Why the writes of a batch on `topics`, in this order, did not happen: it says which of them failed.
    pub fn of_batch<'a>(error: WriteError, mut topics: impl Iterator<Item = &'a Topic>) -> Self {
        let index = match &error {
            WriteError::PreconditionFailed { topic: about, .. }
            | WriteError::MalformedPatch { topic: about, .. }
            | WriteError::PatchConflict { topic: about, .. }
            | WriteError::TooLarge { topic: about, .. }
            | WriteError::NotFound(about)
            | WriteError::Empty(about) => topics.position(|topic| topic == about),
            _ => None,
        };
        let mut refusal = Self::from(error);
        refusal.0.index = index;
        refusal
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        Self::new(ProblemType::InvalidName, error.to_string())
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let kind = match &denied {
            Denied::Reserved(_) => ProblemType::ReservedName,
            Denied::NotPermitted { .. } => ProblemType::Forbidden,
        };
        Self::new(kind, denied.to_string())
    }
}

impl From<WriteError> for Refusal {
    fn from(error: WriteError) -> Self {
        let detail = error.to_string();
        match error {
            WriteError::PreconditionFailed { topic, current } => {
                Self::precondition_failed(topic.as_str(), current)
            }
            WriteError::KeyReused => Self::new(ProblemType::IdempotencyKeyReused, detail),
            WriteError::MalformedPatch { .. } => Self::bad_request(detail),
            WriteError::PatchConflict { .. } => Self::new(ProblemType::Conflict, detail),
            WriteError::NotFound(_) => Self::new(ProblemType::NotFound, detail),
            WriteError::Empty(_) => Self::new(ProblemType::EmptyRepresentation, detail),
            WriteError::TooLarge { .. } => Self::new(ProblemType::TooLarge, detail),
            WriteError::Malformed { .. } => Self::new(ProblemType::Unprocessable, detail),
            WriteError::Overloaded { retry_after } => {
                Self::new(ProblemType::Overloaded, detail).retry_after(retry_after)
            }
            WriteError::DiskFull => Self::new(ProblemType::InsufficientStorage, detail),
            WriteError::ReadOnly(_) => Self::new(ProblemType::ReadOnly, detail),
            WriteError::Stopping => Self::new(ProblemType::ShuttingDown, detail).retry_after(SOON),
            WriteError::Unknown(_) => Self::new(ProblemType::OutcomeUnknown, detail),
        }
    }
}

impl From<ChangesError> for Refusal {
    fn from(error: ChangesError) -> Self {
        match error {
            ChangesError::Gone { reason, head } => {
                let why = match reason {
                    ResetReason::OtherEpoch => "the position belongs to another history",
                    ResetReason::TooOld => "the position is older than what is remembered",
                    ResetReason::InTheFuture => "the position has not happened in this history",
                };
                Self::position_gone(format!("{why}; read the state again and continue from there"), head)
            }
            ChangesError::Failed => Self::new(ProblemType::Internal, error.to_string()),
        }
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Document(source) => Self::bad_request(format!("the body is not a batch: {source}")),
            BatchError::Write { index, source } => {
                Self::bad_request(format!("write {index} of the batch: {}", describe(&source))).about(index)
            }
        }
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        let kind = match &error {
            DecodeError::Path(_) | DecodeError::Filter(_) => ProblemType::InvalidName,
            DecodeError::Invalid("since" | "after" | "ifMatch" | "ifNoneMatch") => {
                ProblemType::InvalidRevision
            }
            _ => ProblemType::BadRequest,
        };
        Self::new(kind, describe(&error))
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Members(error) => error.into(),
            CallError::Writes(error) => error.into(),
            CallError::Unexpected { .. } | CallError::Arguments { .. } | CallError::Twice(_) => {
                Self::bad_request(error.to_string())
            }
        }
    }
}
