//! `QoS` 2 over crashes of the server: it is killed at every step, before and after what it commits there.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use std::collections::BTreeSet;

use common::{Client, V3, V5, World, id, publish, retained, session, with_plain_door};
use dovetail_mqtt_proto::{Ack, Delivery, Packet, PacketId, Publish, Qos, ReasonCode, Version};

/// When the server is killed in a step.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kill {
    /// When it has heard the client, and before anything of that is on its disk.
    Before,
    /// When everything of it is.
    After,
}

/// What a client remembers that takes every message once.
#[derive(Default)]
struct Receiver {
    /// Ids that are not released.
    held: BTreeSet<PacketId>,
    got: Vec<String>,
}

impl Receiver {
    fn answer(&mut self, packet: Packet) -> Packet {
        match packet {
            Packet::Publish(Publish { delivery: Delivery::ExactlyOnce(id), payload, .. }) => {
                if self.held.insert(id) {
                    self.got.push(String::from_utf8_lossy(&payload).into_owned());
                }
                Packet::PubRec(Ack::new(id, ReasonCode::Success))
            }
            Packet::PubRel(ack) => {
                self.held.remove(&ack.id);
                Packet::PubComp(Ack::new(ack.id, ReasonCode::Success))
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Lets the server do what it can without its disk.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Waits until everything that the server has heard is on its disk, and answered.
async fn committed(client: &mut Client) -> Vec<Packet> {
    client.send(&Packet::PingReq).await;
    let mut before = Vec::new();
    loop {
        match client.next().await {
            Packet::PingResp => return before,
            other => before.push(other),
        }
    }
}

#[test]
fn a_message_to_a_session_is_received_once() {
    for version in [V3, V5] {
        for kill in [Kill::Before, Kill::After] {
            // Three messages are six answers of the client, at least; further on nothing is left to be killed in.
            for at in 0..8 {
                with_plain_door(|world| outward(world, version, at, kill));
            }
        }
    }
}

async fn outward(world: World, version: Version, at: usize, kill: Kill) {
    let what = format!("{version:?}, killed {kill:?} the commit of answer {at}");
    let mut client = world.connected(session(version, "c", 300)).await.0;
    client.subscribe("a", Qos::ExactlyOnce).await;
    for number in ["1", "2", "3"] {
        world.put("a", number).await;
    }
    let mut receiver = Receiver::default();
    for _ in 0..at {
        let Some(packet) = next_of(&mut client, &receiver, 3).await else { break };
        let answer = receiver.answer(packet);
        client.send(&answer).await;
    }
    let killed = match kill {
        Kill::Before => {
            settle().await;
            world.journal.hold();
            while let Some(packet) = client.next_now().await {
                let answer = receiver.answer(packet);
                client.send(&answer).await;
                settle().await;
            }
            world.killed()
        }
        Kill::After => {
            for packet in committed(&mut client).await {
                let _ = receiver.answer(packet);
            }
            world.killed()
        }
    };
    world.journal.release();
    client.vanish();
    killed.put("a", "4").await;
    let (mut client, ack) = killed.connected(session(version, "c", 300)).await;
    assert!(ack.session_present, "{what}");
    while let Some(packet) = next_of(&mut client, &receiver, 4).await {
        let answer = receiver.answer(packet);
        client.send(&answer).await;
    }
    assert_eq!(receiver.got, ["1", "2", "3", "4"], "{what}");
    // Nothing is in flight any more, whatever the disk says about it by now.
    client.ping().await;
    client.vanish();
    while killed.door.connected() > 0 {
        tokio::task::yield_now().await;
    }
    let mut client = killed.connected(session(version, "c", 300)).await.0;
    assert_eq!(client.messages().await, [], "{what}");
}

/// The next packet, unless everything has come and is released.
async fn next_of(client: &mut Client, receiver: &Receiver, expected: usize) -> Option<Packet> {
    if receiver.held.is_empty() && receiver.got.len() == expected {
        return None;
    }
    Some(client.next().await)
}

/// What a client remembers that sends every message once.
struct Sender {
    messages: Vec<(Publish, Step)>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Step {
    Published,
    Released,
    Done,
}

impl Sender {
    /// What a client sends, on its first connection or the next.
    fn packets(&self, dup: bool) -> Vec<Packet> {
        let unfinished = self.messages.iter().filter_map(|(message, step)| match step {
            Step::Published => Some(Packet::Publish(Publish { dup, ..message.clone() })),
            Step::Released => {
                Some(Packet::PubRel(Ack::new(message.delivery.id().unwrap(), ReasonCode::Success)))
            }
            Step::Done => None,
        });
        unfinished.collect()
    }

    fn answer(&mut self, packet: &Packet) -> Option<Packet> {
        let (ack, from, to) = match packet {
            Packet::PubRec(ack) => (ack, Step::Published, Step::Released),
            Packet::PubComp(ack) => (ack, Step::Released, Step::Done),
            other => panic!("{other:?}"),
        };
        let message = self.messages.iter_mut().find(|(message, _)| message.delivery.id() == Some(ack.id));
        let (_, step) = message.unwrap();
        // PUBREC may come again.
        if *step == from {
            *step = to;
        }
        (to == Step::Released).then(|| Packet::PubRel(Ack::new(ack.id, ReasonCode::Success)))
    }

    fn is_done(&self) -> bool {
        self.messages.iter().all(|(_, step)| *step == Step::Done)
    }
}

#[test]
fn a_message_from_a_session_is_taken_once() {
    for version in [V3, V5] {
        for kill in [Kill::Before, Kill::After] {
            for at in 0..8 {
                with_plain_door(|world| inward(world, version, at, kill));
            }
        }
    }
}

async fn inward(world: World, version: Version, at: usize, kill: Kill) {
    let what = format!("{version:?}, killed {kill:?} the commit after answer {at}");
    let mut observer = world.connected(session(V5, "observer", 300)).await.0;
    observer.subscribe("a/#", Qos::AtLeastOnce).await;
    observer.ping().await;
    observer.vanish();
    let mut client = world.connected(session(version, "c", 300)).await.0;
    let message = |number: u16| {
        let delivery = Delivery::ExactlyOnce(id(number));
        let payload = number.to_string();
        if number == 2 {
            retained("a/state", &payload, delivery)
        } else {
            publish("a/event", &payload, delivery)
        }
    };
    let mut sender = Sender { messages: (1..=3).map(|number| (message(number), Step::Published)).collect() };
    if at == 0 && kill == Kill::Before {
        world.journal.hold();
    }
    client.send_all(&sender.packets(false)).await;
    for answer in 1..=at {
        if sender.is_done() {
            break;
        }
        let packet = client.next().await;
        if answer == at && kill == Kill::Before {
            world.journal.hold();
        }
        if let Some(packet) = sender.answer(&packet) {
            client.send(&packet).await;
        }
    }
    let killed = match kill {
        Kill::Before => {
            settle().await;
            while let Some(packet) = client.next_now().await {
                sender.answer(&packet);
            }
            world.killed()
        }
        Kill::After => {
            for packet in committed(&mut client).await {
                sender.answer(&packet);
            }
            world.killed()
        }
    };
    world.journal.release();
    client.vanish();
    let (mut client, ack) = killed.connected(session(version, "c", 300)).await;
    assert!(ack.session_present, "{what}");
    client.send_all(&sender.packets(true)).await;
    while !sender.is_done() {
        let packet = client.next().await;
        if let Some(packet) = sender.answer(&packet) {
            client.send(&packet).await;
        }
    }
    let mut observer = killed.connected(session(V5, "observer", 300)).await.0;
    for number in ["1", "2", "3"] {
        assert_eq!(observer.acknowledged().await.payload, number, "{what}");
    }
    killed.put("a/mark", "mark").await;
    assert_eq!(observer.acknowledged().await.payload, "mark", "{what}");
    // The ids are free, and nothing is left of them.
    assert!(!killed.records().iter().any(|name| name.contains("/in/")), "{what}");
    client.send(&Packet::Publish(publish("a/event", "4", Delivery::ExactlyOnce(id(1))))).await;
    assert!(matches!(client.next().await, Packet::PubRec(ack) if ack.reason == ReasonCode::Success));
    assert_eq!(observer.acknowledged().await.payload, "4", "{what}");
}

#[test]
fn pubcomp_waits_until_the_release_is_stored() {
    with_plain_door(|world| async move {
        let mut client = world.connected(session(V5, "c", 300)).await.0;
        client.send(&Packet::Publish(publish("a", "1", Delivery::ExactlyOnce(id(1))))).await;
        assert!(matches!(client.next().await, Packet::PubRec(_)));
        world.journal.hold();
        client.send(&Packet::PubRel(Ack::new(id(1), ReasonCode::Success))).await;
        world.held().await;
        assert_eq!(client.next_now().await, None);
        world.journal.release();
        assert!(matches!(client.next().await, Packet::PubComp(ack) if ack.reason == ReasonCode::Success));
    });
}

#[test]
fn a_message_that_is_not_there_any_more_frees_its_id() {
    with_plain_door(|world| async move {
        world.put("a", "old").await;
        let mut client = world.connected(session(V5, "c", 300)).await.0;
        client.subscribe("a", Qos::ExactlyOnce).await;
        let first = client.message().await;
        assert_eq!(first.delivery, Delivery::ExactlyOnce(id(1)));
        client.ping().await;
        client.vanish();
        while world.door.connected() > 0 {
            tokio::task::yield_now().await;
        }
        // The retained message that was in flight is another one by now.
        world.put("a", "new").await;
        let mut client = world.connected(session(V5, "c", 300)).await.0;
        assert!(matches!(client.next().await, Packet::PubRel(ack) if ack.id == id(1)));
        let new = client.message().await;
        assert_eq!((&*new.payload, new.dup), (&b"new"[..], false));
        assert_ne!(new.delivery.id(), Some(id(1)), "its id is not free yet");
        client.send(&Packet::PubComp(Ack::new(id(1), ReasonCode::PacketIdentifierNotFound))).await;
        client.ping().await;
    });
}

#[test]
fn a_commit_of_several_messages_is_told_once_whenever_it_breaks_off() {
    // More changes than may be in flight, in one commit.
    with_plain_door(|world| async move {
        let mut client = world.connected(session(V5, "c", 300)).await.0;
        client.subscribe("a/#", Qos::ExactlyOnce).await;
        let put = |payload: &str| dovetail_engine::Verb::Put {
            representation: dovetail_model::Representation::copied(payload.as_bytes(), None),
            time_to_live: None,
        };
        let names: Vec<_> = (0..300).map(|number| format!("a/{number:03}")).collect();
        let operations: Vec<_> = names.iter().map(|name| (name.as_str(), put(name))).collect();
        world.write(&operations).await;
        let mut receiver = Receiver::default();
        for _ in 0..256 {
            let packet = client.next().await;
            // The answer does not arrive.
            let _ = receiver.answer(packet);
        }
        let world = world.killed();
        let mut client = world.connected(session(V5, "c", 300)).await.0;
        while receiver.got.len() < 300 || !receiver.held.is_empty() {
            let packet = client.next().await;
            let answer = receiver.answer(packet);
            client.send(&answer).await;
        }
        assert!(receiver.got == names, "each once, in order");
        world.put("a/mark", "mark").await;
        assert_eq!(client.message().await.payload, "mark");
    });
}

#[test]
fn more_unreleased_messages_than_a_session_may_have_are_refused() {
    with_plain_door(|world| async move {
        let mut client = world.connected(session(V3, "c", 300)).await.0;
        for number in 1..=1024 {
            client.send(&Packet::Publish(publish("a", "x", Delivery::ExactlyOnce(id(number))))).await;
            assert!(matches!(client.next().await, Packet::PubRec(_)), "{number}");
        }
        client.send(&Packet::Publish(publish("a", "x", Delivery::ExactlyOnce(id(1025))))).await;
        assert_eq!(client.next_or_end().await, None, "before MQTT 5 there is no refusal");
    });
}
