//! Messages to the client, within its receive maximum and its packet size.

use super::aliases::Plan;
use super::{Connected, Connection, Event, State};
use crate::error::Violation;
use crate::frame::{Frame, Naming, Shape};
use crate::output::Output;
use crate::packet::{Ack, Delivery, Packet, PacketId, Qos};
use crate::reason::ReasonCode;
use crate::session::{InFlight, Stage};

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
        let Some(plan) = connected.plan(frame, outgoing.qos, outgoing.extra) else {
            return Sent::TooLarge;
        };
        let delivery = match outgoing.qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            _ if connected.window(self.limits.send_maximum) == 0 => return Sent::WindowFull,
            Qos::AtLeastOnce => Delivery::AtLeastOnce(connected.session.begin(Stage::PubAck, outgoing.tag)),
            Qos::ExactlyOnce => Delivery::ExactlyOnce(connected.session.begin(Stage::PubRec, outgoing.tag)),
        };
        let Outgoing { retain, extra, .. } = *outgoing;
        connected.put(
            &mut self.output,
            frame,
            plan,
            Shape { delivery, dup: false, retain, extra, naming: plan.naming() },
        );
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
        let Some(plan) = connected.plan(frame, delivery.qos(), extra) else {
            return false;
        };
        connected.put(
            &mut self.output,
            frame,
            plan,
            Shape { delivery, dup: true, retain, extra, naming: plan.naming() },
        );
        true
    }

    /// Gives up a message of a continued session that cannot be written again: with `QoS` 1 it is no longer in flight,
    /// with `QoS` 2 PUBREL is written, so that its id becomes free on both sides. Says what it was; `None` if it is not in
    /// flight, or waits for PUBCOMP already.
    pub fn give_up(&mut self, id: PacketId) -> Option<InFlight> {
        let State::Connected(connected) = &mut self.state else {
            return None;
        };
        let message = connected.session.find(id)?;
        let to = match message.stage {
            Stage::PubAck => None,
            Stage::PubRec => Some(Stage::PubComp),
            Stage::PubComp => return None,
        };
        let moved = connected.session.advance(id, message.stage, to);
        debug_assert!(moved.is_ok(), "the stage was just read");
        if to.is_some() {
            connected.peer.write(&mut self.output, &Packet::PubRel(Ack::new(id, ReasonCode::Success)));
        }
        Some(message)
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

    /// How the topic of a message is to be said; `None` if the client does not take packets of its size, however that is
    /// done.
    #[inline]
    fn plan(&self, frame: &Frame<'_>, qos: Qos, extra: &[u8]) -> Option<Plan> {
        let fits = |naming: Naming| {
            let size = frame.size_named(qos, extra.len(), naming);
            size.is_ok_and(|size| size <= self.peer.maximum_packet_size)
        };
        let plan = self.aliases.as_ref().map_or(Plan::Plain, |aliases| aliases.plan(frame.topic()));
        if fits(plan.naming()) {
            Some(plan)
        } else {
            // Without a new alias it is shorter.
            (matches!(plan, Plan::Give(..)) && fits(Naming::Topic)).then_some(Plan::Plain)
        }
    }

    /// Writes a message that fits, and only then remembers what became of its topic.
    #[inline]
    fn put(&mut self, output: &mut Output, frame: &Frame<'_>, plan: Plan, shape: Shape<'_>) {
        let written = frame.compose(output, &shape);
        debug_assert!(written.is_ok(), "a frame whose size is known can be written");
        if let (Some(aliases), Ok(())) = (&mut self.aliases, written) {
            aliases.written(plan, frame.topic());
        }
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
        let found = self.session.find(ack.id);
        let mut received = None;
        let reason = match found.map(|message| message.stage) {
            Some(Stage::PubRec) => {
                let moved = self.session.advance(ack.id, Stage::PubRec, Some(Stage::PubComp));
                debug_assert!(moved.is_ok(), "the stage was just read");
                received =
                    found.filter(|_| self.tells_steps).map(|message| Event::Received { tag: message.tag });
                ReasonCode::Success
            }
            // PUBREC again: PUBREL again.
            Some(Stage::PubComp) => ReasonCode::Success,
            Some(Stage::PubAck) => return Err(Violation::WrongAck(ack.id.get())),
            None => ReasonCode::PacketIdentifierNotFound,
        };
        self.peer.write(output, &Packet::PubRel(Ack::new(ack.id, reason)));
        Ok(received)
    }

    /// Takes a message out of flight. An acknowledgement of nothing is ignored: it may be late.
    fn finish(&mut self, ack: &Ack, stage: Stage) -> Result<Option<Event>, Violation> {
        let done =
            self.session.advance(ack.id, stage, None).map_err(|_| Violation::WrongAck(ack.id.get()))?;
        Ok(done.map(|message| Event::Delivered { id: message.id, tag: message.tag, reason: ack.reason }))
    }
}
