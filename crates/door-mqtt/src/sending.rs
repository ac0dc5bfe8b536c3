//! One message to the client: what every part that delivers needs, and what the end of a feed means.

use bytes::Bytes;
use dovetail_engine::EndReason;
use dovetail_mqtt_proto::{Connection, Frame, Outgoing, ReasonCode, Sent, Version};

use crate::expiry::Left;
use crate::traffic::Traffic;

/// How a round of deliveries ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// There is no item, or the client takes none.
    Everything,
    /// There may be more when the output is written.
    Enough,
}

/// An encoded message, and what is left of its life.
pub(crate) struct Encoded<'a> {
    pub(crate) version: Version,
    pub(crate) bytes: &'a Bytes,
    pub(crate) left: Left,
}

impl<'a> Encoded<'a> {
    /// The frame to be written now; `None` if the message is more than a packet can hold.
    #[inline]
    pub(crate) fn frame(&self) -> Option<Frame<'a>> {
        let frame = Frame::new(self.version, self.bytes)?;
        Some(match self.left {
            Left::Everything => frame,
            Left::Seconds(seconds) => frame.with_message_expiry(seconds),
            Left::Nothing => frame.with_message_expiry(0),
        })
    }
}

/// Sends a message, if the client takes it.
#[inline]
pub(crate) fn send(connection: &mut Connection, message: &Encoded<'_>, outgoing: &Outgoing<'_>) -> Sent {
    match message.frame() {
        Some(frame) => connection.send(&frame, outgoing),
        None => Sent::TooLarge,
    }
}

/// Counts a message that was written.
pub(crate) fn count_sent(traffic: &Traffic, sent: Sent) {
    if let Sent::Written(_) = sent {
        traffic.publishes_sent.add(1);
    }
}

/// What the end of a feed means for the connection: it cannot go on as if it were complete.
pub(crate) fn end(reason: EndReason) -> (ReasonCode, &'static str) {
    match reason {
        EndReason::TooSlow => (ReasonCode::QuotaExceeded, "the client does not keep up with events"),
        EndReason::Revoked => (ReasonCode::NotAuthorized, "the right to read was taken away"),
        EndReason::JournalFailed => (ReasonCode::UnspecifiedError, "history cannot be read"),
    }
}
