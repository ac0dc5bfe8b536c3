//! What of a session outlives its connection (§4.1).

use crate::packet::PacketId;
use std::collections::{BTreeSet, VecDeque};

/// The part of a session that the protocol needs to continue messages in flight: packet ids, not payloads. Each message in
/// flight to the client carries a tag by which the owner finds it again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The serial number of the next message to the client. Its packet id follows from it.
    next_serial: u64,
    /// Messages to the client that it has not acknowledged to the end, with their serial numbers, in the order of sending.
    outgoing: VecDeque<(u64, InFlight)>,
    /// Messages with `QoS` 2 from the client that are taken, but not released `[MQTT-4.3.3-10]`.
    received: BTreeSet<PacketId>,
}

/// A message on its way to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// By what the client acknowledges it.
    pub id: PacketId,
    /// What is awaited.
    pub stage: Stage,
    /// By what the owner knows it.
    pub tag: u64,
}

/// What a message in flight waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// PUBACK, `QoS` 1.
    PubAck,
    /// PUBREC, `QoS` 2.
    PubRec,
    /// PUBCOMP, `QoS` 2.
    PubComp,
}

impl Session {
    /// A new session.
    pub fn new() -> Self {
        Self::default()
    }

    /// A session as it was stored: what is in flight in the order of sending, and the `QoS` 2 ids that are not released.
    pub fn restore(
        outgoing: impl IntoIterator<Item = InFlight>,
        received: impl IntoIterator<Item = PacketId>,
    ) -> Self {
        let mut session = Self { received: received.into_iter().collect(), ..Self::default() };
        for message in outgoing {
            while id_of(session.next_serial) != message.id {
                session.next_serial += 1;
            }
            session.outgoing.push_back((session.next_serial, message));
            session.next_serial += 1;
        }
        session
    }

    /// What is in flight to the client, in the order of sending.
    pub fn outgoing(&self) -> impl ExactSizeIterator<Item = InFlight> {
        self.outgoing.iter().map(|&(_, message)| message)
    }

    /// The `QoS` 2 ids of the client that are taken, but not released.
    pub fn received(&self) -> impl ExactSizeIterator<Item = PacketId> {
        self.received.iter().copied()
    }

    /// How many messages are in flight to the client.
    pub(crate) fn in_flight(&self) -> usize {
        self.outgoing.len()
    }

    /// Puts a message in flight under a free id.
    pub(crate) fn begin(&mut self, stage: Stage, tag: u64) -> PacketId {
        let oldest = self.outgoing.front().map_or(u64::MAX, |&(serial, _)| serial);
        // Ids come again after 65,535 serial numbers; only then can one be in use.
        while self.next_serial >= oldest.saturating_add(IDS) && self.find(id_of(self.next_serial)).is_some() {
            self.next_serial += 1;
        }
        let id = id_of(self.next_serial);
        self.outgoing.push_back((self.next_serial, InFlight { id, stage, tag }));
        self.next_serial += 1;
        id
    }

    /// Moves a message from one stage to the next, or out of flight when there is none. `None` if the id is not in flight,
    /// an error if it waits for something else.
    pub(crate) fn advance(
        &mut self,
        id: PacketId,
        from: Stage,
        to: Option<Stage>,
    ) -> Result<Option<InFlight>, WrongStage> {
        let Some(index) = self.outgoing.iter().position(|(_, message)| message.id == id) else {
            return Ok(None);
        };
        let message = &mut self.outgoing[index].1;
        if message.stage != from {
            return Err(WrongStage);
        }
        let before = *message;
        match to {
            Some(stage) => message.stage = stage,
            None => {
                self.outgoing.remove(index);
            }
        }
        Ok(Some(before))
    }

    pub(crate) fn find(&self, id: PacketId) -> Option<InFlight> {
        self.outgoing().find(|message| message.id == id)
    }

    pub(crate) fn is_received(&self, id: PacketId) -> bool {
        self.received.contains(&id)
    }

    pub(crate) fn receive(&mut self, id: PacketId) {
        self.received.insert(id);
    }

    /// Whether the id was there.
    pub(crate) fn release(&mut self, id: PacketId) -> bool {
        self.received.remove(&id)
    }
}

/// How many packet ids there are.
const IDS: u64 = 65_535;

fn id_of(serial: u64) -> PacketId {
    PacketId::new((serial % IDS) as u16 + 1).unwrap_or(PacketId::FIRST)
}

/// An acknowledgement of a message that waits for another one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WrongStage;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
mod tests {
    use super::*;

    fn id(number: u16) -> PacketId {
        PacketId::new(number).unwrap()
    }

    #[test]
    fn ids_go_round_and_skip_those_in_flight() {
        let in_flight =
            [65_534, 65_535, 1, 2, 4].map(|n| InFlight { id: id(n), stage: Stage::PubAck, tag: 0 });
        let mut session = Session::restore(in_flight, []);
        for expected in 5..=65_533 {
            assert_eq!(session.begin(Stage::PubAck, 0), id(expected));
            session.advance(id(expected), Stage::PubAck, None).unwrap();
        }
        // Now everything in flight is older than a whole turn.
        assert_eq!(session.begin(Stage::PubAck, 7), id(3));
        assert_eq!(session.begin(Stage::PubAck, 7), id(5));
    }

    #[test]
    fn every_id_is_given_before_one_comes_again() {
        let mut session = Session::new();
        for expected in 1..=u16::MAX {
            let given = session.begin(Stage::PubAck, 0);
            assert_eq!(given, id(expected));
            session.advance(given, Stage::PubAck, None).unwrap();
        }
        assert_eq!(session.begin(Stage::PubAck, 0), id(1));
    }

    #[test]
    fn a_wrong_acknowledgement_changes_nothing() {
        let mut session = Session::new();
        let given = session.begin(Stage::PubRec, 5);
        assert_eq!(session.advance(given, Stage::PubAck, None), Err(WrongStage));
        assert_eq!(session.advance(given, Stage::PubRec, Some(Stage::PubComp)).unwrap().unwrap().tag, 5);
        assert_eq!(session.advance(id(9), Stage::PubAck, None), Ok(None));
        assert_eq!(session.outgoing().next().unwrap().stage, Stage::PubComp);
    }
}
