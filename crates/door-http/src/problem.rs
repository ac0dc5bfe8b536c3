//! Failures, and what is HTTP of them: status and header fields. What they say is told by the table that all doors
//! share ([`Refusal`]).

use dovetail_api::batch::BatchError;
use dovetail_api::names::NameError;
use dovetail_api::problem::{PROBLEM_JSON, Problem, ProblemType};
use dovetail_auth::Denied;
use dovetail_calls::Refusal;
use dovetail_engine::{ChangesError, WriteError};
use dovetail_model::Revision;
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
    allow: Option<&'static str>,
    accept_patch: bool,
    websocket_version: Option<&'static str>,
    /// What the connection has to become.
    upgrade: Option<&'static str>,
    /// The rest of the request is not worth reading.
    close: bool,
}

impl Failure {
    pub(crate) fn new(kind: ProblemType, detail: impl Into<Box<str>>) -> Self {
        Refusal::new(kind, detail).into()
    }

    pub(crate) fn bad_request(detail: impl Into<Box<str>>) -> Self {
        Refusal::bad_request(detail).into()
    }

    pub(crate) fn invalid_revision(detail: impl Into<Box<str>>) -> Self {
        Refusal::invalid_revision(detail).into()
    }

    pub(crate) fn not_found(path: &str, head: Revision) -> Self {
        Refusal::not_found(path, head).into()
    }

    pub(crate) fn precondition_failed(path: &str, current: Option<Revision>) -> Self {
        Refusal::precondition_failed(path, current).into()
    }

    pub(crate) fn position_gone(detail: impl Into<Box<str>>, head: Revision) -> Self {
        Refusal::position_gone(detail, head).into()
    }

    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let mut failure =
            Self::new(ProblemType::MethodNotAllowed, format!("the methods that apply here are {allow}"));
        failure.0.allow = Some(allow);
        failure
    }

    pub(crate) fn unsupported_patch(got: &str) -> Self {
        let mut failure = Self::from(Refusal::unsupported_patch(got));
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
        self.0.problem.retry_after_ms = Some(seconds.max(1) * 1_000);
        self
    }

    /// Only a WebSocket is served here.
    pub(crate) fn upgrade_required() -> Self {
        let detail = "this is the address of a WebSocket; the subprotocol is dovetail.v1";
        let mut failure = Self::new(ProblemType::UpgradeRequired, detail);
        failure.0.upgrade = Some("websocket");
        failure
    }

    /// Closes the connection after the answer.
    pub(crate) fn closing(mut self) -> Self {
        self.0.close = true;
        self
    }

    pub(crate) fn into_response(self) -> Response<Payload> {
        let Parts { problem, allow, accept_patch, websocket_version, upgrade, close } = *self.0;
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
        if let Some(delay_ms) = problem.retry_after_ms {
            // The field has whole seconds (RFC 9110 §10.2.3).
            let seconds = delay_ms.div_ceil(1_000).max(1);
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
        if let Some(upgrade) = upgrade {
            // RFC 9110 §15.5.22.
            fields.insert(header::UPGRADE, HeaderValue::from_static(upgrade));
            fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
        if close {
            fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// What is not about HTTP is told by the table that all doors share.
macro_rules! from {
    ($($error:ty),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Refusal::from(error).into()
            }
        })+
    };
}

from!(NameError, Denied, WriteError, ChangesError, BatchError);

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let problem = refusal.into_problem();
        Self(Box::new(Parts {
            problem,
            allow: None,
            accept_patch: false,
            websocket_version: None,
            upgrade: None,
            close: false,
        }))
    }
}
