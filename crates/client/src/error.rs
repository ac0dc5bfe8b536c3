//! What can go wrong between a client and its server.

use std::time::Duration;

use dovetail_api::decode::DecodeError;
use dovetail_api::problem::{Problem, ProblemType};
use dovetail_api::sse::StreamError;
use dovetail_mqtt_proto::{DecodeError as PacketError, EncodeError, ReasonCode};

/// Why a request or a feed failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection could be made.
    #[error("no connection to {address}")]
    Unreachable {
        /// Host and port.
        address: Box<str>,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The connection was cut before the answer was complete. A write may or may not have happened: repeat
    /// it with the same idempotency key.
    #[error("the connection to {address} was cut")]
    Lost {
        /// Host and port.
        address: Box<str>,
        /// Why, where something says.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The server did not answer in time, or was silent on a feed for longer than it promises.
    #[error("{address} was silent for {} s", .waited.as_secs())]
    Silent {
        /// Host and port.
        address: Box<str>,
        /// How long the client waited.
        waited: Duration,
    },
    /// The server refused, and said why.
    #[error("{}: {}", .0.kind.title(), .0.detail)]
    Problem(Box<Problem>),
    /// The server refused, in a way that is not its own: perhaps a proxy answered.
    #[error("an answer with status {status} that is not Dovetail's")]
    Status {
        /// The HTTP status.
        status: u16,
        /// How long to wait before asking again, where the answer said.
        retry_after: Option<Duration>,
    },
    /// The server refused an MQTT packet.
    #[error("MQTT reason {code}{}", .text.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        /// The reason code.
        code: ReasonCode,
        /// What the server says to people.
        text: Option<Box<str>>,
    },
    /// A field of an answer is missing or is not what the contract says.
    #[error("an answer with a bad `{0}`")]
    BadField(&'static str),
    /// A document of the server is not what the contract says.
    #[error("an answer that cannot be read")]
    BadDocument(#[from] DecodeError),
    /// An event stream is not what the contract says.
    #[error("an event stream that cannot be read")]
    BadStream(#[from] StreamError),
    /// The bytes of an MQTT connection are not what the standard says.
    #[error("an MQTT packet that cannot be read")]
    BadPacket(#[from] PacketError),
    /// The feed does not continue from what it told before: something is missing or told twice.
    #[error("the feed has a gap: {0}")]
    Broken(&'static str),
    /// The server ended the feed.
    #[error("the feed ended: {0}")]
    Ended(Box<str>),
    /// The name has no URL, so it cannot be reached over HTTP; MQTT can.
    #[error("`{0}` has no URL: it ends in `/`, has a level `.` or `..`, or starts with the level `-`")]
    NoPath(Box<str>),
    /// A value cannot be sent: it has characters or a size that the protocol does not allow.
    #[error("the {0} cannot be sent")]
    Unsendable(&'static str),
    /// A value cannot be sent over MQTT.
    #[error("a value that does not fit in an MQTT packet")]
    UnsendablePacket(#[from] EncodeError),
}

impl Error {
    /// The problem that the server reported, if it did.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether the same request may succeed later without anybody changing it: the server was not there, was
    /// overloaded, or the connection broke.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Lost { .. }
            | Self::Silent { .. }
            | Self::BadDocument(_)
            | Self::BadStream(_)
            | Self::BadPacket(_)
            | Self::Broken(_)
            | Self::Ended(_) => true,
            Self::Problem(problem) => is_passing_status(problem.kind.status()),
            Self::Status { status, .. } => is_passing_status(*status),
            Self::Refused { code, .. } => matches!(
                code,
                // The server closed in good order, and will be back.
                ReasonCode::Success
                    | ReasonCode::ServerUnavailable
                    | ReasonCode::ServerBusy
                    | ReasonCode::QuotaExceeded
                    | ReasonCode::ConnectionRateExceeded
                    | ReasonCode::UnspecifiedError
                    | ReasonCode::ImplementationSpecificError
                    | ReasonCode::ServerShuttingDown
                    | ReasonCode::SessionTakenOver
                    | ReasonCode::KeepAliveTimeout
                    | ReasonCode::AdministrativeAction
                    | ReasonCode::ReceiveMaximumExceeded
                    | ReasonCode::MessageRateTooHigh
                    | ReasonCode::MaximumConnectTime
            ),
            Self::BadField(_) | Self::NoPath(_) | Self::Unsendable(_) | Self::UnsendablePacket(_) => false,
        }
    }

    /// Whether the server says that a position can no longer be resumed.
    pub(crate) fn is_position_gone(&self) -> bool {
        self.problem().is_some_and(|problem| problem.kind == ProblemType::PositionGone)
    }

    /// How long the server asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn is_passing_status(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502..=504)
}
