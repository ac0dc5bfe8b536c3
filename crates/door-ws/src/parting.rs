//! Why and how a connection ends.

use dovetail_api::socket;
use dovetail_net::{CloseCode, End, Kind, Messages};

/// Why the server ends a connection. The table of `docs/websocket.md`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    /// The server stops.
    Shutdown,
    /// Nothing was heard of the client, although it was asked.
    Silent,
    /// A binary message.
    Binary,
    /// The frames, or a limit of theirs.
    Violated(CloseCode),
}

/// The code of an application for *silent*: the numbers of HTTP's statuses above 4000, as far as they fit.
const SILENT: CloseCode = match CloseCode::application(4408) {
    Some(code) => code,
    None => CloseCode::POLICY_VIOLATION,
};

impl Reason {
    /// What the peer did wrong, if that is how its side ended.
    pub(crate) fn of(end: End) -> Option<Self> {
        match end {
            End::Violated(code) => Some(Self::Violated(code)),
            End::Closed(_) | End::Lost => None,
        }
    }

    fn code(self) -> CloseCode {
        match self {
            Self::Shutdown => CloseCode::GOING_AWAY,
            Self::Silent => SILENT,
            Self::Binary => CloseCode::UNSUPPORTED_DATA,
            Self::Violated(code) => code,
        }
    }

    /// The word of the contract.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Silent => "silent",
            Self::Binary => "binary",
            Self::Violated(CloseCode::INVALID_DATA) => "not-utf8",
            Self::Violated(CloseCode::TOO_BIG) => "too-large",
            Self::Violated(_) => "protocol",
        }
    }

    /// Whether the client did nothing that it would do again.
    fn may_retry(self) -> bool {
        match self {
            Self::Shutdown | Self::Silent => true,
            Self::Binary | Self::Violated(_) => false,
        }
    }

    /// Queues the last words: a `bye` and a close frame. Each connection is asked to come back at a time of its own, or
    /// thousands would come at once.
    pub(crate) fn say<S>(self, messages: &mut Messages<S>, reconnect_ms: (u64, u64)) {
        let delay = self.may_retry().then(|| fastrand::u64(reconnect_ms.0..=reconnect_ms.1));
        messages.queue_with(Kind::Text, |out| socket::bye(out, self.word(), delay));
        messages.queue_close(self.code(), self.word());
    }
}
