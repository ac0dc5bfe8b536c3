//! Errors as `application/problem+json` (RFC 9457).
//!
//! The `type` of a problem is `urn:dovetail:problem:NAME`. It is compared as a text and not
//! fetched: an `https` URI would have to be kept alive at a host for ever, and a relative one would
//! differ from server to server (RFC 9457 §3.1.1), so that no client could compare it.

use std::borrow::Cow;

use dovetail_model::Revision;
use serde::Deserialize;

use crate::decode::{DecodeError, revision};
use crate::encode;

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

const TYPE_PREFIX: &str = "urn:dovetail:problem:";

macro_rules! problem_types {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $status:literal, $title:literal;)+) => {
        /// What went wrong, as a client can act on it. Each has a name, a usual HTTP status and a
        /// title.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum ProblemType {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ProblemType {
            /// Every type, in the order of their status.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The last part of the `type` URI.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// The `title`: the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

problem_types! {
    /// The request is wrong in a way that no other type says.
    BadRequest = "bad-request", 400, "The request is not well-formed";
    /// The path names no resource that could exist, or is a filter where a name is needed.
    InvalidName = "invalid-name", 400, "The path is not a valid name";
    /// A revision token that is none.
    InvalidRevision = "invalid-revision", 400, "The revision token is not valid";
    /// Nobody is known to ask, and nobody may.
    Unauthenticated = "unauthenticated", 401, "Authentication is required";
    /// Whoever asks may not.
    Forbidden = "forbidden", 403, "Not allowed";
    /// The name belongs to the server.
    ReservedName = "reserved-name", 403, "The name is reserved for the server";
    /// There is no representation under the name.
    NotFound = "not-found", 404, "There is no such resource";
    /// The method does not apply here.
    MethodNotAllowed = "method-not-allowed", 405, "The method is not allowed here";
    /// The request did not arrive in time.
    Timeout = "timeout", 408, "The request took too long to arrive";
    /// An idempotency key is in use by a write that is not decided yet, or a JSON patch does not fit.
    Conflict = "conflict", 409, "The request conflicts with the state of the resource";
    /// The position cannot be resumed: too old, or of another epoch. Read a new baseline.
    PositionGone = "position-gone", 410, "The position can no longer be resumed";
    /// A precondition does not hold; `current` says the revision of the resource, if it exists.
    PreconditionFailed = "precondition-failed", 412, "A precondition does not hold";
    /// The body is larger than the limit.
    TooLarge = "too-large", 413, "The body is too large";
    /// The URI is longer than the limit.
    UriTooLong = "uri-too-long", 414, "The URI is too long";
    /// The content type is not one that the method takes.
    UnsupportedMediaType = "unsupported-media-type", 415, "The content type is not supported here";
    /// An expectation other than `100-continue`.
    ExpectationFailed = "expectation-failed", 417, "The expectation cannot be met";
    /// The request is well-formed and cannot be carried out.
    Unprocessable = "unprocessable", 422, "The request cannot be carried out";
    /// A representation is never empty; delete the resource instead.
    EmptyRepresentation = "empty-representation", 422, "A representation cannot be empty";
    /// An idempotency key was used before, for another request.
    IdempotencyKeyReused = "idempotency-key-reused", 422, "The idempotency key was used for another request";
    /// The connection has to become a WebSocket.
    UpgradeRequired = "upgrade-required", 426, "The connection has to be upgraded";
    /// Whoever asks asks too often.
    TooManyRequests = "too-many-requests", 429, "Too many requests";
    /// The header fields are larger than the limit.
    HeadersTooLarge = "headers-too-large", 431, "The header fields are too large";
    /// The journal failed during the write, which may or may not be there after a restart.
    OutcomeUnknown = "outcome-unknown", 500, "Whether the write happened is not known";
    /// The server failed.
    Internal = "internal", 500, "The server failed";
    /// The server is overloaded; ask again later.
    Overloaded = "overloaded", 503, "The server is overloaded";
    /// The server takes no writes since its journal failed; reads go on.
    ReadOnly = "read-only", 503, "The server takes no writes";
    /// The revision that the read asked for has not been reached in time.
    RevisionNotReached = "revision-not-reached", 503, "The revision has not been reached";
    /// The server is about to stop.
    ShuttingDown = "shutting-down", 503, "The server is shutting down";
    /// There is no space left; deletes and reads go on.
    InsufficientStorage = "insufficient-storage", 507, "There is no space left";
}

impl ProblemType {
    /// The type with this `type` URI.
    pub fn from_uri(uri: &str) -> Option<Self> {
        let name = uri.strip_prefix(TYPE_PREFIX)?;
        Self::ALL.iter().copied().find(|known| known.name() == name)
    }

    /// The `type` URI.
    pub fn uri(self) -> String {
        format!("{TYPE_PREFIX}{}", self.name())
    }
}

/// One problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// What went wrong.
    pub kind: ProblemType,
    /// What a person should know about this occurrence. Never a secret.
    pub detail: Box<str>,
    /// The revision of the resource's last change, where a precondition failed and it exists.
    pub current: Option<Revision>,
    /// The head of the journal, where a position was wrong.
    pub rev: Option<Revision>,
    /// Which write of a batch it is about, counted from 0.
    pub index: Option<usize>,
    /// When to try again, in milliseconds from now.
    pub retry_after_ms: Option<u64>,
}

impl Problem {
    /// A problem with nothing but its type and a detail.
    pub fn new(kind: ProblemType, detail: impl Into<Box<str>>) -> Self {
        Self { kind, detail: detail.into(), current: None, rev: None, index: None, retry_after_ms: None }
    }

    /// Appends the document.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(TYPE_PREFIX.as_bytes());
        out.extend_from_slice(self.kind.name().as_bytes());
        out.extend_from_slice(b"\",\"title\":");
        encode::string(out, self.kind.title());
        out.extend_from_slice(format!(",\"status\":{}", self.kind.status()).as_bytes());
        out.extend_from_slice(b",\"detail\":");
        encode::string(out, &self.detail);
        for (member, token) in [(",\"current\":", self.current), (",\"rev\":", self.rev)] {
            if let Some(token) = token {
                out.extend_from_slice(member.as_bytes());
                encode::token(out, token);
            }
        }
        if let Some(index) = self.index {
            out.extend_from_slice(format!(",\"index\":{index}").as_bytes());
        }
        if let Some(delay_ms) = self.retry_after_ms {
            out.extend_from_slice(format!(",\"retryAfterMs\":{delay_ms}").as_bytes());
        }
        out.push(b'}');
    }

    /// Reads the document. The type is the one of the `type` URI; a `type` that this version does
    /// not know is an error that names it.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(text: &[u8]) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct WireProblem<'a> {
            #[serde(rename = "type", borrow)]
            uri: Cow<'a, str>,
            #[serde(borrow, default)]
            detail: Cow<'a, str>,
            #[serde(borrow)]
            current: Option<Cow<'a, str>>,
            #[serde(borrow)]
            rev: Option<Cow<'a, str>>,
            index: Option<usize>,
            #[serde(rename = "retryAfterMs")]
            retry_after_ms: Option<u64>,
        }
        let wire: WireProblem<'_> = serde_json::from_slice(text)?;
        let token = |text: Option<Cow<'_, str>>, member| match text {
            None => Ok(None),
            Some(text) => revision(Some(&text), member).map(Some),
        };
        Ok(Self {
            kind: ProblemType::from_uri(&wire.uri)
                .ok_or_else(|| DecodeError::UnknownType(wire.uri.as_ref().into()))?,
            detail: wire.detail.into(),
            current: token(wire.current, "current")?,
            rev: token(wire.rev, "rev")?,
            index: wire.index,
            retry_after_ms: wire.retry_after_ms,
        })
    }
}
