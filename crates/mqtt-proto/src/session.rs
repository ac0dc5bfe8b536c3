//! What of a session outlives its connection (§4.1).

use crate::packet::PacketId;
use std::collections::VecDeque;

/// The part of a session that the protocol needs to continue messages in flight: packet ids, not payloads. Each message in
/// flight to the client carries a tag by which the owner finds it again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The serial number of the next message to the client. Its packet id follows from it.
    next_serial: u64,
    /// Messages to the client that it has not acknowledged to the end, with their serial numbers, in the order of sending.
    outgoing: VecDeque<(u64, InFlight)>,
    /// Messages with `QoS` 2 from the client that are taken, but not released `[MQTT-4.3.3-10]`; in order. Clients use ids in
    /// order too, so that what comes and goes does so at the ends.
    received: VecDeque<PacketId>,
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
        let mut session = Self::default();
        for id in received {
            session.receive(id);
        }
        for message in outgoing {
            session.next_serial += steps(session.next_serial, message.id);
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
        let Some(index) = self.position(id) else {
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
        self.position(id).map(|index| self.outgoing[index].1)
    }

    /// Where a message in flight is. Its id says its serial number but for whole turns, and serial numbers ascend; where
    /// none is missing, the number says the place.
    fn position(&self, id: PacketId) -> Option<usize> {
        let (&(first, _), &(last, _)) = (self.outgoing.front()?, self.outgoing.back()?);
        let ahead = steps(first, id);
        if self.outgoing.get(ahead as usize).is_some_and(|&(serial, _)| serial == first + ahead) {
            return Some(ahead as usize);
        }
        let in_last_turn = (last + steps(last, id)).checked_sub(if id_of(last) == id { 0 } else { IDS });
        let found = in_last_turn
            .and_then(|wanted| self.outgoing.binary_search_by_key(&wanted, |&(serial, _)| serial).ok());
        found.or_else(|| {
            // Messages that the client left behind for a whole turn are few.
            let mut older = self.outgoing.iter().take_while(|&&(serial, _)| serial + IDS <= last);
            older.position(|(_, message)| message.id == id)
        })
    }

    pub(crate) fn is_received(&self, id: PacketId) -> bool {
        self.received.binary_search(&id).is_ok()
    }

    pub(crate) fn receive(&mut self, id: PacketId) {
        if let Err(index) = self.received.binary_search(&id) {
            self.received.insert(index, id);
        }
    }

    /// Whether the id was there.
    pub(crate) fn release(&mut self, id: PacketId) -> bool {
        let found = self.received.binary_search(&id);
        found.is_ok_and(|index| self.received.remove(index).is_some())
    }
}

/// How many packet ids there are.
const IDS: u64 = 65_535;

fn id_of(serial: u64) -> PacketId {
    PacketId::new((serial % IDS) as u16 + 1).unwrap_or(PacketId::FIRST)
}

/// How far the next serial number with this id is from `serial`.
fn steps(serial: u64, id: PacketId) -> u64 {
    (u64::from(id.get()) - 1 + IDS - serial % IDS) % IDS
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
    fn messages_are_found_out_of_order_and_over_turns() {
        // One old message, and a whole turn of ids later others around the same number.
        let mut session = Session::restore([InFlight { id: id(500), stage: Stage::PubRec, tag: 0 }], []);
        for _ in 501..=65_535 + 480 {
            let given = session.begin(Stage::PubAck, 0);
            session.advance(given, Stage::PubAck, None).unwrap();
        }
        let ids: Vec<_> = (0..40).map(|tag| session.begin(Stage::PubAck, tag)).collect();
        assert_eq!((ids[0], ids[19], ids[20]), (id(481), id(501), id(502)), "500 is in use");
        let mut left: Vec<_> = session.outgoing().map(|message| message.id).collect();
        for step in [7, 3, 5, 2, 1, 0] {
            let mut index = 0;
            while index < left.len() {
                let wanted = left[index];
                assert_eq!(session.find(wanted).map(|message| message.id), Some(wanted));
                let stage = if wanted == id(500) { Stage::PubRec } else { Stage::PubAck };
                assert!(session.advance(wanted, stage, None).unwrap().is_some());
                assert_eq!(session.find(wanted), None);
                left.remove(index);
                index += step;
            }
        }
        assert!(left.is_empty() && session.in_flight() == 0);
    }

    #[test]
    fn received_ids_are_kept_in_order_once() {
        let mut session = Session::restore([], [9, 65_535, 2, 9].map(id));
        session.receive(id(5));
        assert!(session.received().eq([2, 5, 9, 65_535].map(id)));
        assert!(session.release(id(5)) && !session.release(id(5)) && !session.is_received(id(5)));
        assert!(session.is_received(id(9)));
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
