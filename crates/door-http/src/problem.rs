//! Failures, and the one table from errors to status codes.

use dovetail_api::batch::BatchError;
use dovetail_api::names::NameError;
use dovetail_api::problem::{PROBLEM_JSON, Problem, ProblemType};
use dovetail_auth::Denied;
use dovetail_engine::{ChangesError, ResetReason, WriteError};
use dovetail_model::{Revision, Topic};
use http::{HeaderValue, Response, StatusCode, header};

use crate::headers;
use crate::payload::Payload;

/// What a stage gives, or why the request fails.
pub(crate) type Answer<T> = Result<T, Failure>;

/// Why a request fails. Boxed, because it travels in every result and is rare.
#[derive(Debug)]
pub(crate) struct Failure(Box<Parts>);

#[derive(Debug)]
struct Parts {
    problem: Problem,
    retry_after_s: Option<u64>,
    allow: Option<&'static str>,
    accept_patch: bool,
    websocket_version: Option<&'static str>,
    /// The rest of the request is not worth reading.
    close: bool,
}

impl Failure {
    pub(crate) fn new(kind: ProblemType, detail: impl Into<Box<str>>) -> Self {
        Self(Box::new(Parts {
            problem: Problem::new(kind, detail),
            retry_after_s: None,
            allow: None,
            accept_patch: false,
            websocket_version: None,
            close: false,
        }))
    }

    pub(crate) fn bad_request(detail: impl Into<Box<str>>) -> Self {
        Self::new(ProblemType::BadRequest, detail)
    }

    pub(crate) fn invalid_revision(detail: impl Into<Box<str>>) -> Self {
        Self::new(ProblemType::InvalidRevision, detail)
    }

    pub(crate) fn not_found(path: &str, head: Revision) -> Self {
        Self::new(ProblemType::NotFound, format!("nothing is stored under `{path}`")).at(head)
    }

    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let mut failure =
            Self::new(ProblemType::MethodNotAllowed, format!("the methods that apply here are {allow}"));
        failure.0.allow = Some(allow);
        failure
    }

    pub(crate) fn precondition_failed(path: &str, current: Option<Revision>) -> Self {
        let detail = match current {
            Some(current) => format!("`{path}` was last changed by {current}"),
            None => format!("`{path}` does not exist"),
        };
        let mut failure = Self::new(ProblemType::PreconditionFailed, detail);
        failure.0.problem.current = current;
        failure
    }

    pub(crate) fn position_gone(detail: impl Into<Box<str>>, head: Revision) -> Self {
        Self::new(ProblemType::PositionGone, detail).at(head)
    }

    pub(crate) fn unsupported_patch(got: &str) -> Self {
        let detail = if got.is_empty() {
            "a patch needs a content type".to_owned()
        } else {
            format!("`{got}` is not a patch format of this server")
        };
        let mut failure = Self::new(ProblemType::UnsupportedMediaType, detail);
        failure.0.accept_patch = true;
        failure
    }

    /// A handshake for another version of WebSocket than `known` (RFC 6455 §4.4).
    pub(crate) fn websocket_version(known: &'static str) -> Self {
        let mut failure = Self::bad_request(format!("the version of WebSocket here is {known}"));
        failure.0.websocket_version = Some(known);
        failure
    }

    /// Says the head of the journal.
    pub(crate) fn at(mut self, head: Revision) -> Self {
        self.0.problem.rev = Some(head);
        self
    }

    /// Says when to try again.
    pub(crate) fn retry_after_s(mut self, seconds: u64) -> Self {
        self.0.retry_after_s = Some(seconds.max(1));
        self
    }

    /// Closes the connection after the answer.
    pub(crate) fn closing(mut self) -> Self {
        self.0.close = true;
        self
    }

    /// Says which write of a batch it is about.
    pub(crate) fn in_batch(mut self, topics: &[Topic], error: &WriteError) -> Self {
        let (WriteError::PreconditionFailed { topic: about, .. }
        | WriteError::MalformedPatch { topic: about, .. }
        | WriteError::PatchConflict { topic: about, .. }
        | WriteError::TooLarge { topic: about, .. }
        | WriteError::NotFound(about)
        | WriteError::Empty(about)) = error
        else {
            return self;
        };
        self.0.problem.index = topics.iter().position(|topic| topic == about);
        self
    }

    pub(crate) fn into_response(self) -> Response<Payload> {
        let Parts { problem, retry_after_s, allow, accept_patch, websocket_version, close } = *self.0;
        let mut text = Vec::with_capacity(256);
        problem.encode(&mut text);
        let mut response = Response::new(Payload::Whole(text.into()));
        *response.status_mut() =
            StatusCode::from_u16(problem.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(head) = problem.rev {
            fields.insert(headers::REVISION, headers::revision(head));
        }
        if let Some(seconds) = retry_after_s {
            fields.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = allow {
            fields.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if accept_patch {
            fields.insert(
                headers::ACCEPT_PATCH,
                HeaderValue::from_static("application/merge-patch+json, application/json-patch+json"),
            );
        }
        if let Some(version) = websocket_version {
            fields.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(version));
        }
        if close {
            fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::new(ProblemType::InvalidName, error.to_string())
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        let kind = match &denied {
            Denied::Reserved(_) => ProblemType::ReservedName,
            Denied::NotPermitted { .. } => ProblemType::Forbidden,
        };
        Self::new(kind, denied.to_string())
    }
}

impl From<WriteError> for Failure {
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
            WriteError::Overloaded { retry_after } => Self::new(ProblemType::Overloaded, detail)
                .retry_after_s(retry_after.as_millis().div_ceil(1_000) as u64),
            WriteError::DiskFull => Self::new(ProblemType::InsufficientStorage, detail),
            WriteError::ReadOnly(_) => Self::new(ProblemType::ReadOnly, detail),
            WriteError::Stopping => Self::new(ProblemType::ShuttingDown, detail).retry_after_s(1),
            WriteError::Unknown(_) => Self::new(ProblemType::OutcomeUnknown, detail),
        }
    }
}

impl From<ChangesError> for Failure {
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

impl From<BatchError> for Failure {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Document(source) => Self::bad_request(format!("the body is not a batch: {source}")),
            BatchError::Write { index, source } => {
                let mut failure = Self::bad_request(format!("write {index} of the batch: {source}"));
                failure.0.problem.index = Some(index);
                failure
            }
        }
    }
}
