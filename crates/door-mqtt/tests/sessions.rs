//! Sessions that outlive their connection, and the server.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use std::time::Duration;

use common::{
    V3, V5, World, again, connect, gone, is, properties, publish, retained, session, short, text, user,
    with_door, with_plain_door, with_short_history,
};
use dovetail_door_mqtt::Options;
use dovetail_mqtt_proto::{
    Connect, Delivery, Disconnect, Packet, Properties, Property, Publish, Qos, ReasonCode, SubscribeOptions,
    Version,
};

/// What becomes of the server while the client is away.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Server {
    Stays,
    IsKilled,
}

impl Server {
    fn of(self, world: World) -> World {
        match self {
            Self::Stays => world,
            Self::IsKilled => world.killed(),
        }
    }
}

fn shorts(messages: &[Publish]) -> Vec<(String, String, bool)> {
    messages.iter().map(short).collect()
}

fn event(topic: &str, payload: &str) -> Publish {
    publish(topic, payload, Delivery::AtMostOnce)
}

#[test]
fn what_happens_meanwhile_is_told_on_return() {
    for version in [V3, V5] {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            for server in [Server::Stays, Server::IsKilled] {
                with_plain_door(|world| meanwhile(world, version, qos, server));
            }
        }
    }
}

async fn meanwhile(world: World, version: Version, qos: Qos, server: Server) {
    let what = format!("{version:?} {qos:?} {server:?}");
    let mut other = world.client(V5, "other").await;
    other.put("a/old", "1").await;
    let (mut client, ack) = world.connected(session(version, "c", 300)).await;
    assert!(!ack.session_present, "{what}");
    client.subscribe("a/#", qos).await;
    let first = client.message().await;
    assert_eq!(short(&first), is("a/old", "1", true), "{what}");
    match first.delivery {
        Delivery::AtLeastOnce(_) => client.puback(&first).await,
        Delivery::AtMostOnce => {}
        Delivery::ExactlyOnce(_) => panic!("it was published with QoS 1"),
    }
    client.ping().await;
    client.vanish();
    other.put("a/new", "1").await;
    other.put("a/new", "2").await;
    other.publish(event("a/event", "x")).await;
    other.send(&Packet::Publish(event("a/event", "lost"))).await;
    other.publish(retained("a/old", "", Delivery::AtMostOnce)).await;
    other.publish(event("b/event", "of others")).await;
    other.vanish();
    gone(&world).await;
    let world = server.of(world);
    let mut client = again(&world, session(version, "c", 300)).await;
    let expected = match qos {
        Qos::AtMostOnce => vec![is("a/new", "2", false), is("a/old", "", false)],
        _ => vec![
            is("a/new", "1", false),
            is("a/new", "2", false),
            is("a/event", "x", false),
            is("a/old", "", false),
        ],
    };
    let told = shorts(&client.take(expected.len()).await);
    assert_eq!(told, expected, "{what}");
    let mut other = world.client(V5, "other").await;
    other.put("a/live", "1").await;
    assert_eq!(shorts(&client.messages().await), [is("a/live", "1", false)], "{what}");
}

#[test]
fn what_was_not_acknowledged_is_sent_again_as_it_was() {
    for version in [V3, V5] {
        for server in [Server::Stays, Server::IsKilled] {
            with_plain_door(|world| in_flight(world, version, server));
        }
    }
}

async fn in_flight(world: World, version: Version, server: Server) {
    let mut other = world.client(V5, "other").await;
    let mut client = world.connected(session(version, "c", 300)).await.0;
    client.subscribe("a/#", Qos::AtLeastOnce).await;
    for number in ["1", "2", "3", "4"] {
        other.put("a/b", number).await;
        other.publish(event("a/e", number)).await;
    }
    let before = client.messages().await;
    assert_eq!(before.len(), 8);
    client.puback(&before[1]).await;
    client.puback(&before[4]).await;
    client.ping().await;
    client.vanish();
    other.put("a/b", "5").await;
    other.vanish();
    gone(&world).await;
    let world = server.of(world);
    let mut client = again(&world, session(version, "c", 300)).await;
    let after = client.take(7).await;
    let left: Vec<_> =
        [0, 2, 3, 5, 6, 7].iter().map(|&at| Publish { dup: true, ..before[at].clone() }).collect();
    assert_eq!(after[..6], left, "{version:?} {server:?}");
    assert_eq!(shorts(&after[6..]), [is("a/b", "5", false)]);
    assert!(!after[6].dup);
    for message in &after {
        client.puback(message).await;
    }
    client.ping().await;
    client.vanish();
    gone(&world).await;
    let mut client = again(&world, session(version, "c", 300)).await;
    world.put("a/b", "6").await;
    assert_eq!(shorts(&client.take(1).await), [is("a/b", "6", false)]);
}

/// What waited for room in the window when the connection was lost counted as told.
#[test]
fn what_waits_as_the_connection_breaks_is_told_on_return() {
    with_plain_door(|world| async move {
        let mut client = world.connected(session(V5, "c", 300)).await.0;
        client.subscribe("a", Qos::AtLeastOnce).await;
        for number in 0..300 {
            world.put("a", &number.to_string()).await;
        }
        assert_eq!(client.take(256).await.len(), 256);
        client.vanish();
        gone(&world).await;
        let mut client = again(&world, session(V5, "c", 300)).await;
        for number in 0..300 {
            let message = client.acknowledged().await;
            assert_eq!(message.payload, number.to_string());
            assert_eq!(message.dup, number < 256);
        }
    });
}

#[test]
fn a_crash_repeats_what_was_not_noted_and_loses_nothing() {
    with_plain_door(|world| async move {
        let mut other = world.client(V5, "other").await;
        let mut client = world.connected(session(V5, "c", 300)).await.0;
        client.subscribe("a", Qos::AtLeastOnce).await;
        other.put("a", "1").await;
        client.acknowledged().await;
        client.ping().await;
        // Nothing but the subscription was noted yet.
        let now = world.killed();
        let mut repeated = again(&now, session(V5, "c", 300)).await;
        let told = shorts(&repeated.take(2).await);
        assert!(told.contains(&is("a", "1", false)) && told.contains(&is("a", "1", true)), "{told:?}");
        // After a second it is.
        world.pass(Duration::from_secs(2)).await;
        client.ping().await;
        let head = world.shard.head();
        world.put("b", "x").await;
        assert!(world.shard.head().number > head.number);
        let later = world.killed();
        let mut client = again(&later, session(V5, "c", 300)).await;
        later.put("a", "2").await;
        assert_eq!(shorts(&client.take(1).await), [is("a", "2", false)]);
    });
}

#[test]
fn a_subscription_is_answered_when_it_is_stored() {
    with_plain_door(|world| async move {
        let mut client = world.connected(session(V5, "c", 300)).await.0;
        world.journal.hold();
        let subscriptions = vec![dovetail_mqtt_proto::Subscription {
            filter: text("a"),
            options: SubscribeOptions::new(Qos::AtLeastOnce),
        }];
        let id = client.id();
        let subscribe = dovetail_mqtt_proto::Subscribe { id, properties: Properties::NONE, subscriptions };
        client.send(&Packet::Subscribe(subscribe)).await;
        world.held().await;
        // The server was killed before it was: nobody was told of a subscription.
        let killed = world.killed();
        let mut other = again(&killed, session(V5, "c", 300)).await;
        killed.put("a", "1").await;
        assert_eq!(other.messages().await, []);
        world.journal.release();
        assert!(matches!(client.next().await, Packet::SubAck(_)));
        let killed = world.killed();
        let mut other = again(&killed, session(V5, "c", 300)).await;
        killed.put("a", "1").await;
        assert_eq!(other.message().await.payload, "1");
    });
}

#[test]
fn a_subscription_that_cannot_be_stored_ends_the_connection_unanswered() {
    with_plain_door(|world| async move {
        let mut client = world.connected(session(V5, "c", 300)).await.0;
        world.journal.fail_append(0, dovetail_journal::memory::Fault::Full);
        let id = client.id();
        let subscriptions = vec![dovetail_mqtt_proto::Subscription {
            filter: text("a"),
            options: SubscribeOptions::new(Qos::AtLeastOnce),
        }];
        let subscribe = dovetail_mqtt_proto::Subscribe { id, properties: Properties::NONE, subscriptions };
        client.send(&Packet::Subscribe(subscribe)).await;
        assert_eq!(client.end().await, ReasonCode::QuotaExceeded);
        gone(&world).await;
        let mut client = again(&world, session(V5, "c", 300)).await;
        let head = world.shard.head();
        let mut other = world.client(V5, "other").await;
        other.publish(event("a", "x")).await;
        assert_eq!(world.shard.head(), head, "nobody waits for it");
        assert_eq!(client.messages().await, []);
    });
}

/// A baseline is exact at one revision. One of which a part has changed since cannot be told again as it was.
#[test]
fn a_stream_of_which_a_part_is_gone_begins_again() {
    for server in [Server::Stays, Server::IsKilled] {
        for meanwhile in [None, Some("b"), Some("a/1")] {
            with_plain_door(|world| async move {
                world.put("a/1", "1").await;
                world.put("a/2", "2").await;
                let mut client = world.connected(session(V3, "c", 300)).await.0;
                client.subscribe("$changes/a/#", Qos::AtLeastOnce).await;
                let told = frames(&client.take(4).await);
                let types: Vec<_> = told.iter().map(|(kind, _)| kind.as_str()).collect();
                assert_eq!(types, ["baseline-begin", "item", "item", "baseline-end"]);
                client.vanish();
                if let Some(topic) = meanwhile {
                    world.put(topic, "new").await;
                }
                gone(&world).await;
                let world = server.of(world);
                let mut client = again(&world, session(V3, "c", 300)).await;
                let again = frames(&client.take(4).await);
                if meanwhile == Some("a/1") {
                    let types: Vec<_> = again.iter().map(|(kind, _)| kind.as_str()).collect();
                    assert_eq!(types, ["baseline-begin", "item", "item", "baseline-end"]);
                    assert!(again[1].1.contains("\"new\""), "{server:?}: {}", again[1].1);
                    assert_ne!(again[0], told[0], "{server:?}: it is another baseline");
                } else {
                    assert_eq!(again, told, "{server:?}, after {meanwhile:?}");
                }
                let more = frames(&client.messages().await);
                assert!(more.iter().all(|(kind, _)| kind == "progress"), "{server:?}: {more:?}");
            });
        }
    }
}

/// The types of frames, and their text.
fn frames(messages: &[Publish]) -> Vec<(String, String)> {
    let of = |message: &Publish| {
        let text = String::from_utf8(message.payload.to_vec()).unwrap();
        let kind = text.split('"').nth(3).unwrap().to_owned();
        (kind, text)
    };
    messages.iter().map(of).collect()
}

#[test]
fn an_unsubscription_is_remembered() {
    for server in [Server::Stays, Server::IsKilled] {
        with_plain_door(|world| async move {
            let mut client = world.connected(session(V5, "c", 300)).await.0;
            client.subscribe("a", Qos::AtLeastOnce).await;
            client.subscribe("b", Qos::AtLeastOnce).await;
            let id = client.id();
            let filters = vec![text("a")];
            let unsubscribe = dovetail_mqtt_proto::Unsubscribe { id, properties: Properties::NONE, filters };
            client.send(&Packet::Unsubscribe(unsubscribe)).await;
            assert!(matches!(client.next().await, Packet::UnsubAck(_)));
            client.disconnect(ReasonCode::Success).await;
            gone(&world).await;
            let world = server.of(world);
            let mut other = world.client(V5, "other").await;
            let head = world.shard.head();
            other.publish(event("a", "x")).await;
            assert_eq!(world.shard.head(), head, "nobody waits for it");
            other.publish(event("b", "y")).await;
            let mut client = again(&world, session(V5, "c", 300)).await;
            assert_eq!(shorts(&client.take(1).await), [is("b", "y", false)], "{server:?}");
        });
    }
}

#[test]
fn a_clean_start_forgets_everything() {
    for version in [V3, V5] {
        with_plain_door(|world| async move {
            let mut client = world.connected(session(version, "c", 300)).await.0;
            client.subscribe("a", Qos::AtLeastOnce).await;
            client.vanish();
            gone(&world).await;
            assert!(!world.records().is_empty());
            assert_eq!(world.door.sessions(), 1);
            let (mut client, ack) = world.connected(connect(version, "c")).await;
            assert!(!ack.session_present);
            assert_eq!(world.records(), [""; 0]);
            assert_eq!(world.door.sessions(), 0);
            let head = world.shard.head();
            client.publish(event("a", "x")).await;
            assert_eq!(world.shard.head(), head, "nobody waits for it");
            client.vanish();
            gone(&world).await;
            let (_client, ack) = world.connected(session(version, "c", 300)).await;
            assert!(!ack.session_present);
        });
    }
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    for server in [Server::Stays, Server::IsKilled] {
        with_plain_door(|world| async move {
            let mut client = world.connected(session(V5, "c", 100)).await.0;
            client.subscribe("a", Qos::AtLeastOnce).await;
            client.vanish();
            gone(&world).await;
            let world = server.of(world);
            world.pass(Duration::from_secs(99)).await;
            let mut client = again(&world, session(V5, "c", 100)).await;
            // It counts from the end of the last connection.
            client.ping().await;
            client.vanish();
            gone(&world).await;
            let world = server.of(world);
            world.pass(Duration::from_secs(99)).await;
            assert_eq!(world.door.sessions(), 1);
            world.pass(Duration::from_millis(1_100)).await;
            while world.door.sessions() > 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(world.records(), [""; 0], "{server:?}");
            let mut other = world.client(V5, "other").await;
            let head = world.shard.head();
            other.publish(event("a", "x")).await;
            assert_eq!(world.shard.head(), head, "nobody waits for it");
            let (_client, ack) = world.connected(session(V5, "c", 100)).await;
            assert!(!ack.session_present);
        });
    }
}

#[test]
fn a_session_that_was_connected_to_a_killed_server_ends_from_its_start_on() {
    with_plain_door(|world| async move {
        let mut client = world.connected(session(V5, "c", 100)).await.0;
        client.subscribe("a", Qos::AtLeastOnce).await;
        world.pass(Duration::from_secs(1_000)).await;
        let killed = world.killed();
        killed.pass(Duration::from_secs(99)).await;
        let mut back = again(&killed, session(V5, "c", 100)).await;
        back.ping().await;
        let killed = world.killed();
        killed.pass(Duration::from_secs(101)).await;
        while killed.door.sessions() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(killed.records(), [""; 0]);
        client.ping().await;
    });
}

#[test]
fn disconnect_may_change_the_expiry() {
    with_plain_door(|world| async move {
        let bye = |expiry| {
            let properties = properties(&[Property::SessionExpiry(expiry)]);
            Packet::Disconnect(Disconnect { properties, ..Disconnect::new(ReasonCode::Success) })
        };
        let mut client = world.connected(session(V5, "c", 100)).await.0;
        client.send(&bye(1_000)).await;
        assert_eq!(client.next_or_end().await, None);
        world.pass(Duration::from_secs(500)).await;
        let mut client = again(&world, session(V5, "c", 100)).await;
        client.send(&bye(0)).await;
        assert_eq!(client.next_or_end().await, None);
        assert_eq!(world.records(), [""; 0]);
        assert_eq!(world.door.sessions(), 0);
    });
}

#[test]
fn the_expiry_that_is_granted_is_said() {
    let options = Options { session_expiry: Duration::from_secs(50), ..Options::default() };
    with_door(options, |world| async move {
        let table = [
            (None, None),
            (Some(0), None),
            (Some(50), None),
            (Some(51), Some(50)),
            (Some(u32::MAX), Some(50)),
        ];
        for (asked, said) in table {
            let properties =
                asked.map_or(Properties::NONE, |asked| properties(&[Property::SessionExpiry(asked)]));
            let (_client, ack) = world.connected(Connect { properties, ..connect(V5, "c") }).await;
            assert_eq!(ack.properties.session_expiry(), said, "{asked:?}");
        }
        // Before MQTT 5 it is what the server grants.
        world.connected(session(V3, "c", 0)).await.0.vanish();
        gone(&world).await;
        world.pass(Duration::from_secs(49)).await;
        again(&world, session(V3, "c", 0)).await.vanish();
        gone(&world).await;
        world.pass(Duration::from_secs(51)).await;
        assert!(!world.connected(session(V3, "c", 0)).await.1.session_present);
    });
}

#[test]
fn a_server_keeps_so_many_sessions() {
    let options = Options { sessions: 2, ..Options::default() };
    with_door(options, |world| async move {
        let _a = world.connected(session(V5, "a", 100)).await;
        let mut b = world.connected(session(V5, "b", 100)).await.0;
        let mut c = world.open(V5);
        c.send(&Packet::Connect(Box::new(session(V5, "c", 100)))).await;
        let Packet::ConnAck(ack) = c.next().await else { panic!("no CONNACK") };
        assert_eq!(ack.reason, ReasonCode::QuotaExceeded);
        // A clean one is no session, and the session that there is goes on.
        let _clean = world.connected(connect(V5, "d")).await;
        b.vanish();
        let _b = again(&world, session(V5, "b", 100)).await;
    });
}

#[test]
fn the_successor_finds_what_its_predecessor_left() {
    for version in [V3, V5] {
        with_plain_door(|world| async move {
            let mut other = world.client(V5, "other").await;
            let mut old = world.connected(session(version, "c", 100)).await.0;
            old.subscribe("a", Qos::AtLeastOnce).await;
            other.put("a", "1").await;
            let first = old.message().await;
            other.put("a", "2").await;
            let second = old.acknowledged().await;
            let mut new = again(&world, session(version, "c", 100)).await;
            match version {
                V5 => assert_eq!(old.end().await, ReasonCode::SessionTakenOver),
                _ => assert_eq!(old.next_or_end().await, None),
            }
            // The acknowledgement was on its way, and is counted or not.
            let told = new.messages().await;
            assert_eq!(told[0], Publish { dup: true, ..first });
            let rest = [Publish { dup: true, ..second }];
            assert!(told[1..].is_empty() || told[1..] == rest, "{told:?}");
        });
    }
}

#[test]
fn a_state_that_was_not_told_to_its_end_is_told_again() {
    for server in [Server::Stays, Server::IsKilled] {
        with_plain_door(|world| async move {
            for number in 0..300 {
                world.put(&format!("a/{number:03}"), "x").await;
            }
            let mut client = world.connected(session(V5, "c", 100)).await.0;
            client.subscribe("a/#", Qos::AtLeastOnce).await;
            let told = client.messages().await;
            assert_eq!(told.len(), 256, "as many as may be in flight");
            client.puback(&told[0]).await;
            client.vanish();
            gone(&world).await;
            let world = server.of(world);
            world.put("a/300", "new").await;
            let mut client = again(&world, session(V5, "c", 100)).await;
            let mut told = Vec::new();
            for _ in 0..302 {
                let message = client.acknowledged().await;
                assert!(!message.dup, "{message:?}");
                told.push(short(&message));
            }
            let new = told.iter().position(|message| *message == is("a/300", "new", false));
            told.remove(new.expect("a change is told besides the state"));
            let names = told.iter().map(|(name, _, retain)| (name.clone(), *retain));
            assert!(names.eq((0..=300).map(|number| (format!("a/{number:03}"), true))), "{server:?}");
            assert_eq!(client.messages().await, []);
        });
    }
}

#[test]
fn more_is_in_flight_than_the_client_now_takes() {
    with_plain_door(|world| async move {
        let mut client = world.connected(session(V5, "c", 100)).await.0;
        client.subscribe("a", Qos::AtLeastOnce).await;
        for number in 0..5 {
            world.put("a", &number.to_string()).await;
        }
        assert_eq!(client.messages().await.len(), 5);
        client.vanish();
        gone(&world).await;
        let few = [Property::SessionExpiry(100), Property::ReceiveMaximum(2)];
        let connect = Connect { properties: properties(&few), ..session(V5, "c", 100) };
        let mut client = again(&world, connect).await;
        world.put("a", "5").await;
        let two = client.take(2).await;
        for message in &two {
            client.puback(message).await;
        }
        for number in ["2", "3", "4", "5"] {
            let message = client.acknowledged().await;
            assert_eq!((&*message.payload, message.dup), (number.as_bytes(), number != "5"));
        }
    });
}

#[test]
fn what_a_client_does_not_take_any_more_is_given_up() {
    with_plain_door(|world| async move {
        let mut client = world.connected(session(V5, "c", 100)).await.0;
        client.subscribe("a", Qos::AtLeastOnce).await;
        world.put("a", &"x".repeat(500)).await;
        world.put("a", "short").await;
        assert_eq!(client.messages().await.len(), 2);
        client.vanish();
        gone(&world).await;
        let small = [Property::SessionExpiry(100), Property::MaximumPacketSize(100)];
        let connect = Connect { properties: properties(&small), ..session(V5, "c", 100) };
        let mut client = again(&world, connect).await;
        assert_eq!(shorts(&client.messages().await), [is("a", "short", false)]);
    });
}

#[test]
fn a_client_that_was_away_too_long_is_told_so() {
    with_short_history(4_000, |world| async move {
        let mut client = world.connected(session(V5, "c", 100)).await.0;
        client.subscribe("a", Qos::AtLeastOnce).await;
        client.vanish();
        let mut newest = world.connected(session(V5, "newest", 100)).await.0;
        newest.subscribe("a", Qos::AtMostOnce).await;
        newest.vanish();
        let mut tracked = world.connected(session(V5, "tracked", 100)).await.0;
        tracked.track("a", Qos::AtLeastOnce, "now").await;
        tracked.ping_after_control().await;
        tracked.vanish();
        gone(&world).await;
        for number in 0..100 {
            world.put("a", &format!("{number:0200}")).await;
        }
        let (mut client, ack) = world.connected(session(V5, "c", 100)).await;
        assert!(!ack.session_present);
        assert!(ack.properties.reason_string().is_some_and(|text| text.contains("history")), "{ack:?}");
        assert_eq!(client.messages().await, []);
        // Who gets the newest states misses nothing, and who knows its position is told in its stream.
        let mut newest = again(&world, session(V5, "newest", 100)).await;
        assert_eq!(shorts(&newest.messages().await), [is("a", &format!("{:0200}", 99), false)]);
        let mut tracked = again(&world, session(V5, "tracked", 100)).await;
        let told = tracked.messages().await;
        let topics: Vec<_> = told.iter().map(|message| message.topic.as_str()).collect();
        assert_eq!(topics, ["$feed/reset", "a", "$feed/sync"]);
    });
}

#[test]
fn a_tracked_subscription_goes_on_where_it_was() {
    for server in [Server::Stays, Server::IsKilled] {
        with_plain_door(|world| async move {
            let mut client = world.connected(session(V5, "c", 100)).await.0;
            world.put("a", "1").await;
            client.track("a", Qos::AtLeastOnce, "").await;
            let told = client.messages().await;
            assert_eq!(told[1].topic.as_str(), "$feed/sync");
            client.puback(&told[0]).await;
            world.put("a", "2").await;
            let second = client.message().await;
            client.vanish();
            gone(&world).await;
            let third = world.put("a", "3").await;
            let world = server.of(world);
            let mut client = again(&world, session(V5, "c", 100)).await;
            let after = client.take(4).await;
            assert_eq!(after[0], Publish { dup: true, ..told[1].clone() });
            assert_eq!(after[1], Publish { dup: true, ..second.clone() });
            assert_eq!(user(&after[2], "after"), user(&second, "rev"));
            assert_eq!(user(&after[2], "rev"), Some(&*third.to_string()));
            assert_eq!(after[3].topic.as_str(), "$feed/progress");
        });
    }
}

#[test]
fn frames_go_on_too() {
    with_plain_door(|world| async move {
        let mut client = world.connected(session(V3, "c", 100)).await.0;
        client.subscribe("$changes/a", Qos::AtLeastOnce).await;
        let begun = client.messages().await;
        world.put("a", "2").await;
        let told = client.message().await;
        client.vanish();
        gone(&world).await;
        let world = world.killed();
        let mut client = again(&world, session(V3, "c", 100)).await;
        let mut expected: Vec<_> = begun.into_iter().chain([told]).collect();
        for message in &mut expected {
            message.dup = true;
        }
        let after = client.messages().await;
        assert_eq!(after[..expected.len()], expected);
    });
}

#[test]
fn a_subscription_made_again_keeps_its_place() {
    with_plain_door(|world| async move {
        let mut client = world.connected(session(V5, "c", 100)).await.0;
        client.subscribe("a", Qos::AtLeastOnce).await;
        world.put("a", "1").await;
        client.acknowledged().await;
        let identifier = properties(&[Property::SubscriptionIdentifier(7)]);
        client.subscribe_with("a", SubscribeOptions::new(Qos::AtLeastOnce), identifier).await;
        let told = client.acknowledged().await;
        assert_eq!(short(&told), is("a", "1", true));
        client.vanish();
        gone(&world).await;
        world.put("a", "2").await;
        let mut client = again(&world, session(V5, "c", 100)).await;
        let message = client.acknowledged().await;
        assert_eq!(short(&message), is("a", "2", false));
        assert_eq!(message.properties.subscription_identifiers().collect::<Vec<_>>(), [7]);
        // As another kind it begins anew, and the old one is gone.
        client.subscribe("a", Qos::AtMostOnce).await;
        assert_eq!(short(&client.message().await), is("a", "2", true));
        assert_eq!(world.records().iter().filter(|name| name.contains("/sub/")).count(), 1);
        let mut other = world.client(V5, "other").await;
        let head = world.shard.head();
        other.publish(event("a", "x")).await;
        assert_eq!(world.shard.head(), head, "nobody waits for it");
    });
}

#[test]
fn no_local_holds_over_a_reconnection() {
    with_plain_door(|world| async move {
        let mut client = world.connected(session(V5, "c", 100)).await.0;
        let options = SubscribeOptions { no_local: true, ..SubscribeOptions::new(Qos::AtLeastOnce) };
        client.subscribe_with("a", options, Properties::NONE).await;
        let mut other = world.client(V5, "other").await;
        client.publish(event("a", "mine")).await;
        other.publish(event("a", "theirs")).await;
        assert_eq!(shorts(&client.messages().await), [is("a", "theirs", false)]);
        client.vanish();
        gone_but(&world, 1).await;
        other.publish(event("a", "theirs again")).await;
        let world = world.killed();
        let mut client = again(&world, session(V5, "c", 100)).await;
        let told = client.take(2).await;
        assert_eq!(shorts(&told), [is("a", "theirs", false), is("a", "theirs again", false)]);
    });
}

/// Waits until so many clients are connected.
async fn gone_but(world: &World, count: usize) {
    while world.door.connected() > count {
        tokio::task::yield_now().await;
    }
}

#[test]
fn stopping_stores_sessions_and_says_so() {
    with_plain_door(|world| async move {
        let mut client = world.connected(session(V5, "c", 100)).await.0;
        client.subscribe("a", Qos::AtLeastOnce).await;
        world.put("a", "1").await;
        client.acknowledged().await;
        client.ping().await;
        world.door.shut_down();
        assert_eq!(client.end().await, ReasonCode::ServerShuttingDown);
        gone(&world).await;
        let world = world.killed();
        let mut client = again(&world, session(V5, "c", 100)).await;
        assert_eq!(client.messages().await, []);
    });
}

#[test]
fn many_sessions_away_hold_nothing_of_what_passes() {
    with_plain_door(|world| async move {
        for number in 0..50 {
            let mut client = world.connected(session(V5, &format!("c{number}"), 100)).await.0;
            client.subscribe("a/#", Qos::AtLeastOnce).await;
            client.vanish();
        }
        gone(&world).await;
        let records = world.records().len();
        let mut other = world.client(V5, "other").await;
        for number in 0..200 {
            other.publish(event("a/b", &number.to_string())).await;
        }
        assert_eq!(world.records().len(), records);
        let world = world.killed();
        assert_eq!(world.door.sessions(), 50);
        for number in [0, 17, 49] {
            let mut client = again(&world, session(V5, &format!("c{number}"), 100)).await;
            for expected in 0..200 {
                assert_eq!(client.acknowledged().await.payload, expected.to_string());
            }
        }
    });
}

#[test]
fn a_part_of_a_group_belongs_to_the_session() {
    for server in [Server::Stays, Server::IsKilled] {
        with_plain_door(|world| async move {
            let mut client = world.connected(session(V5, "c", 100)).await.0;
            client.subscribe("$share/g/a", Qos::ExactlyOnce).await;
            let mut other = world.client(V5, "other").await;
            world.put("a", "1").await;
            let first = client.message().await;
            assert!(matches!(first.delivery, Delivery::ExactlyOnce(_)), "{first:?}");
            client.ping().await;
            client.vanish();
            other.vanish();
            gone(&world).await;
            let world = server.of(world);
            let mut client = again(&world, session(V5, "c", 100)).await;
            // What it was being sent with QoS 2 nobody else gets [MQTT-4.8.2-4].
            assert_eq!(client.message().await, Publish { dup: true, ..first }, "{server:?}");
            world.put("a", "2").await;
            assert_eq!(client.message().await.payload, "2");
            let id = client.id();
            let filters = vec![text("$share/g/a")];
            let unsubscribe = dovetail_mqtt_proto::Unsubscribe { id, properties: Properties::NONE, filters };
            client.send(&Packet::Unsubscribe(unsubscribe)).await;
            assert!(matches!(client.next().await, Packet::UnsubAck(_)));
            assert!(!world.records().iter().any(|name| name.contains("/sub/")));
        });
    }
}
