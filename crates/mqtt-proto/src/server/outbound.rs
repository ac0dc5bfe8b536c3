//! Messages to the client, within its receive maximum and its packet size.

use super::{Connected, Connection, Event, State};
use crate::error::Violation;
use crate::frame::Frame;
use crate::output::Output;
use crate::packet::{Ack, Delivery, Packet, PacketId, Qos};
use crate::reason::ReasonCode;
use crate::session::Stage;

/// How a message goes to one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// The `QoS` granted to the subscription, or the message's if that is lower.
    pub qos: Qos,
    /// The RETAIN flag.
    pub retain: bool,
    /// Further properties as [`crate::PropertiesBuf`] writes them.
    pub extra: &'a [u8],
    /// By what [`Event::Delivered`] names the message; unused for `QoS` 0.
    pub tag: u64,
}

/// What became of a message for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// It is in the output, with this packet id unless it has `QoS` 0.
    Written(Option<PacketId>),
    /// As many messages as allowed are unacknowledged. Nothing was done; try again after [`Event::Delivered`].
    WindowFull,
    /// The client does not take packets of this size `[MQTT-3.1.2-24]`. For the protocol the message counts as delivered
    /// `[MQTT-3.1.2-25]`.
    TooLarge,
    /// The connection does not take messages: it is not accepted yet, or closed.
    NotConnected,
}

impl Connection {
    /// Writes a message to the output.
    #[inline]
    pub fn send(&mut self, frame: &Frame<'_>, outgoing: &Outgoing<'_>) -> Sent {
        let State::Connected(connected) = &mut self.state else {
            return Sent::NotConnected;
        };
        if !connected.takes(frame, outgoing) {
            return Sent::TooLarge;
        }
        let delivery = match outgoing.qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            _ if connected.window(self.limits.send_maximum) == 0 => return Sent::WindowFull,
            Qos::AtLeastOnce => Delivery::AtLeastOnce(connected.session.begin(Stage::PubAck, outgoing.tag)),
            Qos::ExactlyOnce => Delivery::ExactlyOnce(connected.session.begin(Stage::PubRec, outgoing.tag)),
        };
        // Its size was found possible above.
        let written = frame.write(&mut self.output, delivery, false, outgoing.retain, outgoing.extra);
        debug_assert!(written.is_ok(), "a frame whose size is known can be written");
        Sent::Written(delivery.id())
    }

    /// Writes again a message of a continued session that was not acknowledged, with its old packet id and DUP
    /// `[MQTT-4.4.0-1]`. Says whether it was written: not if it is not in flight, waits for PUBCOMP, or is too large.
    pub fn resend(&mut self, id: PacketId, frame: &Frame<'_>, retain: bool, extra: &[u8]) -> bool {
        let State::Connected(connected) = &mut self.state else {
            return false;
        };
        let delivery = match connected.session.find(id).map(|message| message.stage) {
            Some(Stage::PubAck) => Delivery::AtLeastOnce(id),
            Some(Stage::PubRec) => Delivery::ExactlyOnce(id),
            Some(Stage::PubComp) | None => return false,
        };
        let outgoing = Outgoing { qos: delivery.qos(), retain, extra, tag: 0 };
        connected.takes(frame, &outgoing)
            && frame.write(&mut self.output, delivery, true, retain, extra).is_ok()
    }

    /// How many messages with `QoS` 1 and 2 may be sent now.
    pub fn window(&self) -> usize {
        match &self.state {
            State::Connected(connected) => connected.window(self.limits.send_maximum),
            _ => 0,
        }
    }
}

impl Connected {
    fn window(&self, send_maximum: u16) -> usize {
        usize::from(self.peer.receive_maximum.min(send_maximum)).saturating_sub(self.session.in_flight())
    }

    fn takes(&self, frame: &Frame<'_>, outgoing: &Outgoing<'_>) -> bool {
        frame.size(outgoing.qos, outgoing.extra.len()).is_ok_and(|size| size <= self.peer.maximum_packet_size)
    }

    pub(super) fn on_puback(&mut self, ack: &Ack) -> Result<Option<Event>, Violation> {
        self.finish(ack, Stage::PubAck)
    }

    pub(super) fn on_pubcomp(&mut self, ack: &Ack) -> Result<Option<Event>, Violation> {
        self.finish(ack, Stage::PubComp)
    }

    pub(super) fn on_pubrec(&mut self, ack: &Ack, output: &mut Output) -> Result<Option<Event>, Violation> {
        if ack.reason.is_error() {
            // A refusal ends the exchange [MQTT-4.3.3-4].
            return self.finish(ack, Stage::PubRec);
        }
        let reason = match self.session.find(ack.id).map(|message| message.stage) {
            Some(Stage::PubRec) => {
                let moved = self.session.advance(ack.id, Stage::PubRec, Some(Stage::PubComp));
                debug_assert!(moved.is_ok(), "the stage was just read");
                ReasonCode::Success
            }
            // PUBREC again: PUBREL again.
            Some(Stage::PubComp) => ReasonCode::Success,
            Some(Stage::PubAck) => return Err(Violation::WrongAck(ack.id.get())),
            None => ReasonCode::PacketIdentifierNotFound,
        };
        self.peer.write(output, &Packet::PubRel(Ack::new(ack.id, reason)));
        Ok(None)
    }

    /// Takes a message out of flight. An acknowledgement of nothing is ignored: it may be late.
    fn finish(&mut self, ack: &Ack, stage: Stage) -> Result<Option<Event>, Violation> {
        let done =
            self.session.advance(ack.id, stage, None).map_err(|_| Violation::WrongAck(ack.id.get()))?;
        Ok(done.map(|message| Event::Delivered { id: message.id, tag: message.tag, reason: ack.reason }))
    }
}
