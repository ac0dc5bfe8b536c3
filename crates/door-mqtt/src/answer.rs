//! The one table from what the engine and the rules say to the codes of MQTT.

use dovetail_auth::Denied;
use dovetail_engine::WriteError;
use dovetail_mqtt_proto::ReasonCode;

/// Why something is refused, as the client is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: ReasonCode,
    pub(crate) text: String,
}

/// What a failed write means for the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The message is refused: it has no effect and never will.
    Refused(Refusal),
    /// Whether the message has an effect is unknown: it is not answered, the connection ends.
    Unknown(String),
}

impl Refusal {
    pub(crate) fn new(reason: ReasonCode, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }
}

/// A write that was not done. PUBACK and PUBREC have few codes; the words say more.
pub(crate) fn of_write_error(error: &WriteError) -> Outcome {
    let reason = match error {
        WriteError::PreconditionFailed { .. }
        | WriteError::KeyReused
        | WriteError::PatchConflict { .. }
        | WriteError::NotFound(_)
        | WriteError::Malformed { .. } => ReasonCode::ImplementationSpecificError,
        WriteError::MalformedPatch { .. } | WriteError::Empty(_) => ReasonCode::PayloadFormatInvalid,
        WriteError::TooLarge { .. } | WriteError::Overloaded { .. } | WriteError::DiskFull => {
            ReasonCode::QuotaExceeded
        }
        WriteError::ReadOnly(_) | WriteError::Stopping => ReasonCode::UnspecifiedError,
        WriteError::Unknown(_) => return Outcome::Unknown(error.to_string()),
    };
    let mut text = error.to_string();
    if let WriteError::PreconditionFailed { current: Some(current), .. } = error {
        text = format!("{text}: it is at {current}");
    }
    Outcome::Refused(Refusal { reason, text })
}

/// A request that is not permitted.
pub(crate) fn of_denied(denied: &Denied) -> Refusal {
    let reason = match denied {
        Denied::Reserved(_) => ReasonCode::TopicNameInvalid,
        Denied::NotPermitted { .. } => ReasonCode::NotAuthorized,
    };
    Refusal::new(reason, denied.to_string())
}
