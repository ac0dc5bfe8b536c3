//! One connection's nonsense is nobody else's trouble.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use common::{V3, V5, connect, id, is, publish, retained, short, text, with_plain_door};
use dovetail_mqtt_proto::{
    Delivery, Packet, Properties, Qos, Subscribe, SubscribeOptions, Subscription, Version,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

/// A valid session as bytes.
fn session(version: Version) -> Vec<u8> {
    let subscriptions =
        vec![Subscription { filter: text("x/#"), options: SubscribeOptions::new(Qos::ExactlyOnce) }];
    let packets = [
        Packet::Connect(Box::new(connect(version, "fuzzer"))),
        Packet::Subscribe(Subscribe { id: id(1), properties: Properties::NONE, subscriptions }),
        Packet::Publish(retained("x/state", "1", Delivery::AtLeastOnce(id(2)))),
        Packet::Publish(publish("x/event", "2", Delivery::ExactlyOnce(id(3)))),
        Packet::PingReq,
    ];
    let mut bytes = Vec::new();
    for packet in &packets {
        packet.write(&mut bytes, version).unwrap();
    }
    bytes
}

#[test]
fn mutated_sessions_disturb_nobody() {
    let cases = (
        prop_oneof![Just(V3), Just(V5)],
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        any::<prop::sample::Index>(),
    );
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let cases: Vec<_> = (0..300).map(|_| cases.new_tree(&mut runner).unwrap().current()).collect();
    with_plain_door(|world| async move {
        let mut bystander = world.client(V5, "bystander").await;
        bystander.subscribe("calm", Qos::AtMostOnce).await;
        for (round, (version, changes, cut)) in cases.into_iter().enumerate() {
            let mut bytes = session(version);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let (first, second) = bytes.split_at(cut.index(bytes.len()));
            let mut client = world.open(version);
            client.send_bytes(first).await;
            tokio::task::yield_now().await;
            // The server may have closed the connection after the first part.
            client.try_send_bytes(second).await;
            client.vanish();
            world.put("calm", &round.to_string()).await;
            assert_eq!(short(&bystander.message().await), is("calm", &round.to_string(), false));
        }
    });
}
