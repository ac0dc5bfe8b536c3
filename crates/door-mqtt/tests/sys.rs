//! `$SYS`: what the server says about itself.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use common::{Client, V3, V5, World, is, publish, session, short, with_door};
use dovetail_door_mqtt::Options;
use dovetail_mqtt_proto::{Delivery, Properties, Publish, Qos, ReasonCode, RetainHandling, SubscribeOptions};

fn script<F: Future<Output = ()>>(script: impl FnOnce(World) -> F) {
    with_door(Options { sys_interval: Duration::from_millis(5), ..Options::default() }, script);
}

fn value(message: &Publish) -> (String, String) {
    let (topic, value, _) = short(message);
    (topic, value)
}

/// Reads until a topic has a value.
async fn until(client: &mut Client, topic: &str, wanted: &str) -> Publish {
    loop {
        let message = client.message().await;
        if value(&message) == (topic.to_owned(), wanted.to_owned()) {
            return message;
        }
    }
}

/// The first readings have been taken.
async fn first_readings(world: &World) {
    let mut probe = world.client(V5, "probe").await;
    probe.subscribe("$SYS/broker/version", Qos::AtMostOnce).await;
    probe.message().await;
    probe.disconnect(ReasonCode::Success).await;
}

#[test]
fn a_subscription_is_told_the_readings_and_then_what_changes() {
    script(|world| async move {
        first_readings(&world).await;
        for version in [V3, V5] {
            let mut client = world.client(version, "watcher").await;
            client.subscribe("$SYS/broker/clients/connected", Qos::ExactlyOnce).await;
            let first = client.message().await;
            assert_eq!((first.retain, first.delivery), (true, Delivery::AtMostOnce), "whatever is granted");
            if value(&first).1 != "1" {
                // It was read before this client was there.
                until(&mut client, "$SYS/broker/clients/connected", "1").await;
            }
            let other = world.client(version, "other").await;
            let live = until(&mut client, "$SYS/broker/clients/connected", "2").await;
            assert!(!live.retain);
            drop(other);
            until(&mut client, "$SYS/broker/clients/connected", "1").await;
        }
    });
}

#[test]
fn the_names_are_those_that_tools_know() {
    script(|world| async move {
        first_readings(&world).await;
        world.put("a", "xyz").await;
        let mut client = world.client(V5, "watcher").await;
        client.subscribe("$SYS/#", Qos::AtMostOnce).await;
        let mut told = BTreeMap::new();
        let names = [
            "version",
            "uptime",
            "clients/connected",
            "clients/maximum",
            "clients/disconnected",
            "clients/total",
            "clients/expired",
            "messages/received",
            "messages/sent",
            "messages/stored",
            "retained messages/count",
            "bytes/received",
            "bytes/sent",
            "publish/messages/received",
            "publish/messages/sent",
            "publish/messages/dropped",
            "subscriptions/count",
            "shared_subscriptions/count",
            "load/messages/received/1min",
            "load/messages/sent/5min",
            "load/bytes/received/15min",
            "load/bytes/sent/1min",
            "load/connections/1min",
            "load/publish/sent/1min",
            "load/publish/received/5min",
        ]
        .map(|name| format!("$SYS/broker/{name}"));
        let own = ["revision", "journal/state", "events/dropped", "feeds/behind"];
        let own = own.map(|name| format!("$SYS/dovetail/{name}"));
        let all: Vec<_> = names.iter().chain(&own).collect();
        while !all.iter().all(|name| told.contains_key(*name)) {
            let (topic, value) = value(&client.message().await);
            told.insert(topic, value);
        }
        if told["$SYS/broker/retained messages/count"] != "1" {
            until(&mut client, "$SYS/broker/retained messages/count", "1").await;
        }
        assert_eq!(told["$SYS/dovetail/journal/state"], "ready");
        assert!(told["$SYS/broker/uptime"].ends_with(" seconds"));
    });
}

#[test]
fn wildcards_in_the_first_level_do_not_match_and_nothing_is_stored() {
    script(|world| async move {
        first_readings(&world).await;
        let mut client = world.client(V3, "watcher").await;
        client.subscribe("#", Qos::AtMostOnce).await;
        client.subscribe("+/broker/version", Qos::AtMostOnce).await;
        first_readings(&world).await;
        world.put("a", "1").await;
        assert_eq!(short(&client.message().await), is("a", "1", false));
        assert!(world.state("$SYS/#").is_empty());
        assert_eq!(world.engine.head().number, 1, "readings are not in the journal");
        let mut writer = world.client(V5, "writer").await;
        let refused = writer.publish(publish("$SYS/broker/version", "mine", Delivery::AtMostOnce)).await;
        assert_eq!(refused.reason, ReasonCode::TopicNameInvalid);
    });
}

#[test]
fn subscribing_again_and_giving_up() {
    script(|world| async move {
        first_readings(&world).await;
        let mut client = world.client(V5, "watcher").await;
        let filter = "$SYS/broker/version";
        let with =
            |retain_handling| SubscribeOptions { retain_handling, ..SubscribeOptions::new(Qos::AtMostOnce) };
        for (retain_handling, is_told) in [
            (RetainHandling::DoNotSend, false),
            (RetainHandling::Send, true),
            (RetainHandling::SendIfNew, false),
        ] {
            client.subscribe_with(filter, with(retain_handling), Properties::NONE).await;
            if is_told {
                assert_eq!(client.message().await.topic.as_str(), filter);
            }
            // The version never changes, so nothing else comes.
            client.ping().await;
            client.ping().await;
        }
        let traffic = world.door.traffic();
        assert_eq!((traffic.subscriptions, traffic.shared_subscriptions), (1, 0));
        client.subscribe("$share/g/x", Qos::AtMostOnce).await;
        client.subscribe("x", Qos::AtMostOnce).await;
        let traffic = world.door.traffic();
        assert_eq!((traffic.subscriptions, traffic.shared_subscriptions), (3, 1));
        client.disconnect(ReasonCode::Success).await;
        let traffic = world.door.traffic();
        assert_eq!((traffic.subscriptions, traffic.shared_subscriptions), (0, 0));
    });
}

#[test]
fn traffic_is_counted_packet_by_packet_and_byte_by_byte() {
    with_door(Options { sys_interval: Duration::ZERO, ..Options::default() }, |world| async move {
        let mut client = world.client(V3, "both").await;
        client.subscribe("$SYS/#", Qos::AtMostOnce).await;
        client.subscribe("t", Qos::AtMostOnce).await;
        let before = world.door.traffic();
        client.publish(publish("t", "12345", Delivery::AtMostOnce)).await;
        assert_eq!(client.message().await.payload.len(), 5);
        client.ping().await;
        client.ping().await;
        let after = world.door.traffic();
        let sent = after.packets_sent - before.packets_sent;
        let received = after.packets_received - before.packets_received;
        assert_eq!((received, sent), (3, 4), "PUBLISH, two PINGREQ; PUBACK, PUBLISH, two PINGRESP");
        assert_eq!(after.publishes_received - before.publishes_received, 1);
        assert_eq!(after.publishes_sent - before.publishes_sent, 1);
        // PUBLISH with QoS 1 has 2 + 3 + 2 + 5 bytes, with QoS 0 two less; PINGREQ and PINGRESP 2, PUBACK 4.
        assert_eq!(after.bytes_received - before.bytes_received, 12 + 2 * 2);
        assert_eq!(after.bytes_sent - before.bytes_sent, 4 + 10 + 2 * 2);
    });
}

#[test]
fn a_session_goes_on_with_its_readings() {
    script(|world| async move {
        first_readings(&world).await;
        let filter = "$SYS/broker/clients/connected";
        let mut client = world.connected(session(V5, "watcher", 300)).await.0;
        client.subscribe(filter, Qos::AtLeastOnce).await;
        assert!(client.message().await.retain);
        client.vanish();
        while world.door.connected() > 0 {
            tokio::task::yield_now().await;
        }
        let world = world.killed();
        first_readings(&world).await;
        let (mut client, ack) = world.connected(session(V5, "watcher", 300)).await;
        assert!(ack.session_present);
        let live = until(&mut client, filter, "1").await;
        assert!(!live.retain, "it is not told as if it were new");
    });
}

#[test]
fn readings_that_are_off_are_not_there() {
    with_door(Options { sys_interval: Duration::ZERO, ..Options::default() }, |world| async move {
        let mut client = world.connected(session(V5, "watcher", 300)).await.0;
        client.subscribe("$SYS/#", Qos::AtLeastOnce).await;
        world.put("a", "1").await;
        client.ping().await;
        client.vanish();
        while world.door.connected() > 0 {
            tokio::task::yield_now().await;
        }
        let (mut client, ack) = world.connected(session(V5, "watcher", 300)).await;
        assert!(ack.session_present);
        client.ping().await;
    });
}
