//! Shared subscriptions: each message goes to one member of the group, and none is lost when members come and go.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use common::{
    Client, V3, V5, World, again, connect, gone, id, is, properties, publish, retained, session, short, text,
    with_door, with_plain_door,
};
use dovetail_door_mqtt::Options;
use dovetail_mqtt_proto::{
    Ack, Connect, Delivery, Packet, Properties, Property, Publish, Qos, ReasonCode, SubscribeOptions,
    Unsubscribe,
};

const Q0: Delivery = Delivery::AtMostOnce;
const Q1: Qos = Qos::AtLeastOnce;

fn payload(message: &Publish) -> String {
    String::from_utf8(message.payload.to_vec()).unwrap()
}

async fn ack(client: &mut Client, message: &Publish, reason: ReasonCode) {
    client.send(&Packet::PubAck(Ack::new(message.delivery.id().unwrap(), reason))).await;
}

/// A client that takes so many messages without acknowledging them.
async fn narrow(world: &World, name: &str, receive_maximum: u16) -> Client {
    let properties = properties(&[Property::ReceiveMaximum(receive_maximum)]);
    world.connected(Connect { properties, ..connect(V5, name) }).await.0
}

/// Whether nothing comes: everything that the server had to say is said before it answers a ping.
async fn is_silent(client: &mut Client) -> bool {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    client.send(&Packet::PingReq).await;
    client.next().await == Packet::PingResp
}

async fn unsubscribe(client: &mut Client, filter: &str) -> ReasonCode {
    let (id, filters) = (client.id(), vec![text(filter)]);
    client.send(&Packet::Unsubscribe(Unsubscribe { id, properties: Properties::NONE, filters })).await;
    let Packet::UnsubAck(ack) = client.next().await else { panic!("no UNSUBACK") };
    ack.reasons[0]
}

#[test]
fn members_of_all_versions_take_turns() {
    with_plain_door(|world| async move {
        let mut members = Vec::new();
        for (version, name) in [(V3, "a"), (V5, "b"), (V3, "c")] {
            let mut member = world.client(version, name).await;
            member.subscribe("$share/workers/jobs/+", Qos::AtMostOnce).await;
            members.push(member);
        }
        let mut alone = world.client(V5, "alone").await;
        alone.subscribe("$share/others/jobs/+", Qos::AtMostOnce).await;
        let mut plain = world.client(V5, "plain").await;
        plain.subscribe("jobs/#", Qos::AtMostOnce).await;
        let mut writer = world.client(V5, "writer").await;
        for n in 0..9 {
            let message = if n % 2 == 0 { retained } else { publish };
            writer.publish(message("jobs/x", &n.to_string(), Q0)).await;
        }
        for (turn, member) in members.iter_mut().enumerate() {
            for round in 0..3 {
                assert_eq!(
                    short(&member.message().await),
                    is("jobs/x", &(round * 3 + turn).to_string(), false)
                );
            }
            assert!(is_silent(member).await);
        }
        for other in [&mut alone, &mut plain] {
            for n in 0..9 {
                assert_eq!(
                    payload(&other.message().await),
                    n.to_string(),
                    "other groups and clients get everything"
                );
            }
        }
    });
}

#[test]
fn the_state_is_not_told_and_options_are_those_of_each_member() {
    with_plain_door(|world| async move {
        world.put("s", "old").await;
        let mut member = world.client(V5, "member").await;
        let options = SubscribeOptions { retain_as_published: true, ..SubscribeOptions::new(Q1) };
        let identifier = properties(&[Property::SubscriptionIdentifier(77)]);
        let ack = member.subscribe_with("$share/g/s", options, identifier).await;
        assert_eq!(ack.reasons, [ReasonCode::GrantedQos1]);
        assert!(is_silent(&mut member).await);
        let mut writer = world.client(V5, "writer").await;
        writer.put("s", "new").await;
        let message = member.acknowledged().await;
        assert_eq!(short(&message), is("s", "new", true));
        assert_eq!(message.properties.subscription_identifiers().collect::<Vec<_>>(), [77]);
        writer.publish(publish("s", "event", Q0)).await;
        assert_eq!(short(&member.acknowledged().await), is("s", "event", false));
        // Subscribed again: the same member, told in another way.
        member.subscribe("$share/g/s", Qos::AtMostOnce).await;
        writer.put("s", "newest").await;
        let message = member.message().await;
        assert_eq!((short(&message), message.delivery), (is("s", "newest", false), Q0));
        assert!(is_silent(&mut member).await);
    });
}

#[test]
fn what_a_member_leaves_unacknowledged_others_get_first_and_in_order() {
    with_plain_door(|world| async move {
        let mut leaving = narrow(&world, "leaving", 4).await;
        leaving.subscribe("$share/g/#", Q1).await;
        for n in 0..10 {
            world.put("t", &n.to_string()).await;
        }
        let first = leaving.message().await;
        ack(&mut leaving, &first, ReasonCode::Success).await;
        let mut staying = world.client(V5, "staying").await;
        staying.subscribe("$share/g/#", Q1).await;
        for n in ["1", "2", "3"] {
            assert_eq!(payload(&leaving.message().await), n);
        }
        leaving.vanish();
        let mut rest = Vec::new();
        for _ in 1..10 {
            rest.push(payload(&staying.acknowledged().await));
        }
        let held: Vec<_> = rest.iter().filter(|n| ["1", "2", "3"].contains(&n.as_str())).collect();
        assert_eq!(held, ["1", "2", "3"], "in order: {rest:?}");
        assert_eq!(rest.iter().collect::<BTreeSet<_>>().len(), 9, "each once");
        assert!(is_silent(&mut staying).await);
    });
}

#[test]
fn a_refused_message_is_not_sent_to_anybody_else() {
    with_plain_door(|world| async move {
        let mut one = world.client(V5, "one").await;
        one.subscribe("$share/g/t", Q1).await;
        let mut other = world.client(V5, "other").await;
        other.subscribe("$share/g/t", Q1).await;
        world.put("t", "poison").await;
        let message = one.message().await;
        ack(&mut one, &message, ReasonCode::ImplementationSpecificError).await;
        assert!(is_silent(&mut one).await);
        one.vanish();
        world.put("t", "good").await;
        assert_eq!(payload(&other.acknowledged().await), "good");
        assert!(is_silent(&mut other).await);
    });
}

#[test]
fn what_was_sent_with_qos_2_goes_with_its_member_and_what_was_not_sent_does_not() {
    with_plain_door(|world| async move {
        let mut leaving = narrow(&world, "leaving", 1).await;
        leaving.subscribe("$share/g/t", Qos::ExactlyOnce).await;
        world.put("t", "sent").await;
        let message = leaving.message().await;
        assert_eq!(message.delivery.qos(), Qos::ExactlyOnce);
        world.put("t", "not sent").await;
        let mut staying = world.client(V5, "staying").await;
        staying.subscribe("$share/g/t", Q1).await;
        leaving.vanish();
        assert_eq!(payload(&staying.acknowledged().await), "not sent");
        assert!(is_silent(&mut staying).await);
    });
}

#[test]
fn who_unsubscribes_ends_what_it_was_sent_and_gets_nothing_more() {
    with_plain_door(|world| async move {
        let mut leaving = narrow(&world, "leaving", 1).await;
        leaving.subscribe("$share/g/t", Q1).await;
        world.put("t", "sent").await;
        world.put("t", "waits").await;
        let message = leaving.message().await;
        let mut staying = world.client(V5, "staying").await;
        staying.subscribe("$share/g/t", Q1).await;
        assert_eq!(unsubscribe(&mut leaving, "$share/g/t").await, ReasonCode::Success);
        assert_eq!(unsubscribe(&mut leaving, "$share/g/t").await, ReasonCode::NoSubscriptionExisted);
        assert_eq!(payload(&staying.acknowledged().await), "waits");
        ack(&mut leaving, &message, ReasonCode::Success).await;
        world.put("t", "last").await;
        assert_eq!(payload(&staying.acknowledged().await), "last");
        assert!(is_silent(&mut staying).await);
        assert!(is_silent(&mut leaving).await);
    });
}

#[test]
fn a_group_without_room_does_not_read_and_misses_nothing() {
    with_plain_door(|world| async move {
        let mut member = narrow(&world, "member", 1).await;
        member.subscribe("$share/g/#", Q1).await;
        // More than may wait for a feed: it is read back from the journal.
        let filler = "x".repeat(10_000);
        for n in 0..200 {
            world.put("t", &format!("{n} {filler}")).await;
        }
        for n in 0..200 {
            let message = member.acknowledged().await;
            assert!(payload(&message).starts_with(&format!("{n} ")), "{n} is next");
        }
    });
}

#[test]
fn a_group_is_over_when_everybody_has_left() {
    with_plain_door(|world| async move {
        for round in 0..3 {
            let mut member = world.client(V3, "member").await;
            member.subscribe("$share/g/t", Q1).await;
            world.put("t", "heard").await;
            assert_eq!(payload(&member.acknowledged().await), "heard", "round {round}");
            member.disconnect(ReasonCode::Success).await;
            world.put("t", "nobody hears").await;
        }
    });
}

#[test]
fn what_cannot_be_shared_is_refused() {
    with_door(Options { subscriptions: 2, ..Options::default() }, |world| async move {
        let mut client = world.client(V5, "client").await;
        let options = SubscribeOptions::new(Q1);
        let since = properties(&[Property::User("since", "")]);
        let none = Properties::NONE;
        let table = [
            ("$share/g/$dovetail/#", none.clone(), ReasonCode::NotAuthorized),
            ("$share/g/t", since, ReasonCode::ImplementationSpecificError),
            ("$share/g/t", none.clone(), ReasonCode::GrantedQos1),
            ("t", none.clone(), ReasonCode::GrantedQos1),
            ("$share/g/t", none.clone(), ReasonCode::GrantedQos1),
            ("$share/h/t", none.clone(), ReasonCode::QuotaExceeded),
        ];
        for (filter, properties, expected) in table {
            let ack = client.subscribe_with(filter, options, properties).await;
            assert_eq!(ack.reasons, [expected], "{filter}");
        }
        let no_local = SubscribeOptions { no_local: true, ..options };
        let subscription =
            dovetail_mqtt_proto::Subscription { filter: text("$share/g/x"), options: no_local };
        let subscribe =
            dovetail_mqtt_proto::Subscribe { id: id(9), properties: none, subscriptions: vec![subscription] };
        client.send(&Packet::Subscribe(subscribe)).await;
        assert_eq!(client.end().await, ReasonCode::ProtocolError);
    });
}

#[test]
fn connack_does_not_say_that_shared_subscriptions_are_missing() {
    with_plain_door(|world| async move {
        let (_, ack) = world.connected(connect(V5, "client")).await;
        assert!(ack.properties.iter().all(|property| !matches!(property, Property::SharedAvailable(false))));
    });
}

#[test]
fn members_may_be_on_different_shards() {
    with_plain_door(|mut world| async move {
        let mut here = world.client(V5, "here").await;
        here.subscribe("$share/g/t", Q1).await;
        let first_shard = std::mem::replace(&mut world.local, world.door.local(world.engine.shard()));
        let mut there = world.client(V5, "there").await;
        there.subscribe("$share/g/t", Q1).await;
        for n in 0..4 {
            world.put("t", &n.to_string()).await;
        }
        for (client, expected) in [(&mut here, ["0", "2"]), (&mut there, ["1", "3"])] {
            for n in expected {
                assert_eq!(payload(&client.acknowledged().await), n);
            }
        }
        // The shard that reads loses its only member: the other one goes on with what is read there.
        here.vanish();
        world.put("t", "on").await;
        assert_eq!(payload(&there.acknowledged().await), "on");
        drop(first_shard);
    });
}

/// Members come and go while messages are published: every message is acknowledged by exactly one.
#[test]
fn churn_loses_nothing_and_repeats_nothing_that_was_acknowledged() {
    for seed in 0..20 {
        with_plain_door(|world| churn(world, seed));
    }
}

async fn churn(world: World, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut writer = world.client(V5, "writer").await;
    let mut members: Vec<Member> = Vec::new();
    let mut acknowledged = BTreeSet::new();
    let (mut joined, mut sent) = (0, 0);
    for _ in 0..150 {
        match random.u8(0..10) {
            0 | 1 if members.len() < 5 => {
                let mut client = narrow(&world, &format!("m{joined}"), random.u16(1..6)).await;
                client.subscribe("$share/g/t/#", Q1).await;
                members.push(Member { client, has: VecDeque::new() });
                joined += 1;
            }
            // The last one stays: a group without members is over.
            2 if members.len() > 1 => members.swap_remove(random.usize(0..members.len())).client.vanish(),
            3..=6 if !members.is_empty() => {
                let message = if random.bool() { retained } else { publish };
                writer.publish(message(&format!("t/{}", sent % 3), &sent.to_string(), Q0)).await;
                sent += 1;
            }
            _ if !members.is_empty() => {
                let (index, most) = (random.usize(0..members.len()), random.usize(1..5));
                members[index].take(&mut acknowledged, most).await;
            }
            _ => {}
        }
    }
    let patience = tokio::time::Instant::now() + Duration::from_secs(10);
    while acknowledged.len() < sent && tokio::time::Instant::now() < patience {
        for member in &mut members {
            member.take(&mut acknowledged, usize::MAX).await;
        }
    }
    assert_eq!(acknowledged.len(), sent, "seed {seed}: every message is acknowledged");
}

struct Member {
    client: Client,
    /// What it has and has not acknowledged.
    has: VecDeque<Publish>,
}

impl Member {
    /// Acknowledges up to `most` messages, and waits until the server knows.
    async fn take(&mut self, acknowledged: &mut BTreeSet<String>, most: usize) {
        self.read().await;
        for message in self.has.drain(..most.min(self.has.len())) {
            ack(&mut self.client, &message, ReasonCode::Success).await;
            assert!(acknowledged.insert(payload(&message)), "{} was acknowledged before", payload(&message));
        }
        self.read().await;
    }

    /// Reads what is there.
    async fn read(&mut self) {
        self.client.send(&Packet::PingReq).await;
        loop {
            match self.client.next().await {
                Packet::PingResp => break,
                Packet::Publish(message) => self.has.push_back(message),
                other => panic!("{other:?}"),
            }
        }
    }
}

// Groups that sessions have a part in.

/// The names of the positions that are stored.
fn positions(world: &World) -> Vec<String> {
    let area = dovetail_engine::RecordArea::new("mqtt-groups");
    world.engine.records(area).map(|record| record.topic.to_string()).collect()
}

#[test]
fn what_happens_while_all_sessions_of_a_group_are_away_waits_for_whoever_returns() {
    for (version, is_killed) in [(V3, false), (V3, true), (V5, false), (V5, true)] {
        with_plain_door(|world| async move {
            let what = format!("{version:?}, killed: {is_killed}");
            for name in ["a", "b"] {
                let mut member = world.connected(session(version, name, 300)).await.0;
                member.subscribe("$share/g/t/#", Q1).await;
                member.vanish();
            }
            gone(&world).await;
            let mut writer = world.client(V5, "writer").await;
            for n in 0..50 {
                let message = if n % 2 == 0 { retained } else { publish };
                writer.publish(message("t/x", &n.to_string(), Q0)).await;
            }
            writer.vanish();
            gone(&world).await;
            let world = if is_killed { world.killed() } else { world };
            assert_eq!(positions(&world), ["$dovetail/mqtt-groups/g/t~2f~23"], "{what}");
            let mut back = again(&world, session(version, "b", 300)).await;
            for n in 0..50 {
                assert_eq!(payload(&back.acknowledged().await), n.to_string(), "{what}");
            }
            let mut late = again(&world, session(version, "a", 300)).await;
            assert!(is_silent(&mut late).await, "{what}");
            world.put("t/x", "live").await;
            world.put("t/x", "live").await;
            for member in [&mut back, &mut late] {
                assert_eq!(payload(&member.acknowledged().await), "live", "{what}");
            }
        });
    }
}

#[test]
fn the_only_session_of_a_group_gets_again_what_it_did_not_acknowledge_and_once() {
    for is_killed in [false, true] {
        with_plain_door(|world| async move {
            let mut member = world.connected(session(V5, "a", 300)).await.0;
            member.subscribe("$share/g/t", Q1).await;
            for n in 0..3 {
                world.put("t", &n.to_string()).await;
            }
            assert_eq!(payload(&member.acknowledged().await), "0");
            assert_eq!(payload(&member.message().await), "1");
            assert_eq!(payload(&member.message().await), "2");
            member.ping().await;
            member.vanish();
            gone(&world).await;
            // The group has noted how far it is.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            world.put("t", "3").await;
            let world = if is_killed { world.killed() } else { world };
            let mut member = again(&world, session(V5, "a", 300)).await;
            for n in 1..4 {
                assert_eq!(payload(&member.acknowledged().await), n.to_string(), "killed: {is_killed}");
            }
            assert!(is_silent(&mut member).await, "killed: {is_killed}");
        });
    }
}

#[test]
fn what_a_group_has_done_is_noted_while_its_members_are_there() {
    with_plain_door(|world| async move {
        let mut member = world.connected(session(V5, "a", 300)).await.0;
        member.subscribe("$share/g/t", Q1).await;
        for n in 0..20 {
            world.put("t", &n.to_string()).await;
            member.acknowledged().await;
        }
        member.ping().await;
        let before = world.engine.head();
        world.pass(Duration::from_secs(2)).await;
        while world.engine.head() == before {
            tokio::task::yield_now().await;
        }
        let world = world.killed();
        let mut member = again(&world, session(V5, "a", 300)).await;
        world.put("t", "new").await;
        assert_eq!(payload(&member.acknowledged().await), "new", "nothing comes again");
    });
}

#[test]
fn a_group_is_forgotten_with_its_last_session() {
    with_plain_door(|world| async move {
        let away = async |name: &str| {
            let mut member = world.connected(session(V5, name, 300)).await.0;
            member.subscribe("$share/g/t", Q1).await;
            member.vanish();
            gone(&world).await;
        };
        away("a").await;
        away("b").await;
        // One unsubscribes, the other is not wanted any more.
        let mut member = again(&world, session(V5, "a", 300)).await;
        assert_eq!(unsubscribe(&mut member, "$share/g/t").await, ReasonCode::Success);
        assert_eq!(positions(&world).len(), 1);
        member.vanish();
        let mut member = world.client(V5, "b").await;
        let over = async {
            while world.door.groups() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), over).await.expect("the group ends");
        world.put("t", "nobody waits").await;
        assert!(positions(&world).is_empty());
        member.subscribe("$share/g/t", Q1).await;
        world.put("t", "new").await;
        assert_eq!(payload(&member.acknowledged().await), "new");
    });
}

#[test]
fn events_are_kept_for_a_group_as_long_as_a_session_is_granted_more_than_qos_0() {
    with_plain_door(|world| async move {
        let topic = dovetail_model::Topic::new("t").unwrap();
        let mut member = world.connected(session(V5, "a", 300)).await.0;
        member.subscribe("$share/g/t", Qos::AtMostOnce).await;
        assert!(!world.engine.is_awaited(&topic), "nothing is kept for QoS 0");
        member.subscribe("$share/g/t", Q1).await;
        assert!(world.engine.is_awaited(&topic));
        member.subscribe("$share/g/t", Qos::AtMostOnce).await;
        member.ping().await;
        assert!(!world.engine.is_awaited(&topic));
        let refused =
            member.subscribe_with("$share/g/$dovetail/#", SubscribeOptions::new(Q1), Properties::NONE).await;
        assert_eq!(refused.reasons, [ReasonCode::NotAuthorized]);
        member.vanish();
        gone(&world).await;
        // What was refused does not come back with the session.
        again(&world, session(V5, "a", 300)).await.ping().await;
    });
}

#[test]
fn a_group_that_cannot_hold_events_ends_its_members_that_must_not_miss_any() {
    with_plain_door(|world| async move {
        let mut strict = narrow(&world, "strict", 1).await;
        strict.subscribe("$share/g/t", Q1).await;
        let mut writer = world.client(V5, "writer").await;
        // More than may wait for a feed, while nobody acknowledges anything.
        let large = "x".repeat(200_000);
        for _ in 0..12 {
            writer.publish(publish("t", &large, Q0)).await;
        }
        let end = loop {
            match strict.next().await {
                // It is told what the group could hold, and then that this is not all.
                Packet::Publish(message) => ack(&mut strict, &message, ReasonCode::Success).await,
                Packet::Disconnect(bye) => break bye.reason,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(end, ReasonCode::QuotaExceeded);
    });
}
