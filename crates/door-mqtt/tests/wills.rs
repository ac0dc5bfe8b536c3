//! Wills: exactly once or never, with and without a session, whatever ends first.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Client, V3, V5, World, connect, is, properties, session, short, text, with_plain_door};
use dovetail_journal::memory::Fault;
use dovetail_mqtt_proto::{Connect, Packet, Property, Qos, ReasonCode, Version, Will};

/// A client that sees every will, also those that were published while it was away.
async fn watch(world: &World) -> Client {
    let (mut watch, ack) = world.connected(session(V5, "watch", 10_000)).await;
    if !ack.session_present {
        watch.subscribe("will/#", Qos::AtLeastOnce).await;
    }
    watch
}

fn will(delay: u32, retain: bool) -> Will {
    let properties = properties(&[Property::WillDelay(delay)]);
    Will {
        qos: Qos::AtLeastOnce,
        retain,
        properties,
        topic: text("will/c"),
        payload: Bytes::from_static(b"gone"),
    }
}

fn with_will(connect: Connect, delay: u32) -> Connect {
    let mut will = will(delay, false);
    if !connect.version.is_v5() {
        will.properties = dovetail_mqtt_proto::Properties::NONE;
    }
    Connect { will: Some(will), keep_alive: 0, ..connect }
}

/// Waits until only so many clients are connected.
async fn left(world: &World, count: usize) {
    while world.door.connected() > count {
        tokio::task::yield_now().await;
    }
}

/// The next will.
async fn told(watch: &mut Client) {
    let message = watch.acknowledged().await;
    assert_eq!(short(&message), is("will/c", "gone", false));
}

/// Nothing has been published; what is published next is seen.
async fn silent(world: &World, watch: &mut Client) {
    world.put("will/mark", "x").await;
    assert_eq!(watch.acknowledged().await.topic.as_str(), "will/mark");
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    Vanishes,
    SaysBye,
    SaysByeWithWill,
    BreaksRules,
    IsTakenOver,
    IsSilent,
}

async fn end(world: &World, client: &mut Client, end: End) {
    match end {
        End::Vanishes => client.vanish(),
        End::SaysBye => client.disconnect(ReasonCode::Success).await,
        End::SaysByeWithWill => client.disconnect(ReasonCode::DisconnectWithWill).await,
        End::BreaksRules => client.send_bytes(&[0xff, 0]).await,
        End::IsTakenOver => {
            let mut other = world.client(client.version, "c").await;
            other.disconnect(ReasonCode::Success).await;
        }
        End::IsSilent => world.pass(Duration::from_secs(91)).await,
    }
    left(world, 1).await;
}

#[test]
fn how_a_connection_ends_decides() {
    let table = [
        (V3, End::Vanishes, true),
        (V5, End::Vanishes, true),
        // [MQTT-3.1.2-8], [MQTT-3.14.4-3]
        (V3, End::SaysBye, false),
        (V5, End::SaysBye, false),
        (V5, End::SaysByeWithWill, true),
        (V3, End::BreaksRules, true),
        (V5, End::BreaksRules, true),
        (V3, End::IsTakenOver, true),
        (V5, End::IsTakenOver, true),
        (V3, End::IsSilent, true),
        (V5, End::IsSilent, true),
    ];
    for (version, how, expected) in table {
        for has_session in [false, true] {
            with_plain_door(|world| async move {
                let what = format!("{version:?} {how:?} {has_session}");
                let mut watch = watch(&world).await;
                let mut kept = Connect { keep_alive: 60, ..with_will(connect(version, "c"), 0) };
                if has_session {
                    kept = Connect { keep_alive: 60, ..with_will(session(version, "c", 100), 0) };
                }
                let mut client = world.connected(kept).await.0;
                end(&world, &mut client, how).await;
                if expected {
                    told(&mut watch).await;
                }
                silent(&world, &mut watch).await;
                assert!(!world.records().iter().any(|name| name.ends_with("/will")), "{what}");
                assert_eq!(world.door.counters().read().wills, u64::from(expected), "{what}");
            });
        }
    }
}

/// What happens after a client with a session and a will has vanished, in order.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Then {
    /// So many seconds pass.
    Pass(u64),
    /// The client is there again.
    Returns,
    /// The client is there again, with a clean start.
    Starts,
    /// The server is killed and starts again.
    Kill,
    /// The will is published now.
    Fires,
    /// It is not.
    Silence,
}

#[test]
fn a_delay_ends_with_the_session_or_the_return() {
    use Then::{Fires, Kill, Pass, Returns, Silence, Starts};
    // Session expiry, will delay, and what happens.
    let table: &[(u32, u32, &[Then])] = &[
        (100, 0, &[Fires, Silence]),
        (100, 60, &[Silence, Pass(59), Silence, Pass(2), Fires, Silence, Pass(200), Silence]),
        // Back in time [MQTT-3.1.3-9].
        (100, 60, &[Pass(59), Returns, Silence, Pass(200), Silence]),
        // Back too late.
        (100, 60, &[Pass(61), Fires, Returns, Silence]),
        // The session ends first.
        (50, 60, &[Pass(49), Silence, Pass(2), Fires, Silence, Pass(100), Silence]),
        (100, 60, &[Starts, Fires, Silence, Pass(200), Silence]),
        // A killed server, before and after.
        (100, 60, &[Kill, Silence, Pass(59), Silence, Pass(2), Fires, Kill, Silence, Pass(200), Silence]),
        (100, 60, &[Pass(30), Kill, Pass(31), Fires, Silence]),
        (100, 60, &[Kill, Returns, Silence, Pass(200), Silence]),
        (50, 60, &[Kill, Pass(51), Fires, Kill, Silence]),
        (100, 0, &[Fires, Kill, Silence]),
    ];
    for (expiry, delay, script) in table {
        with_plain_door(|world| async move {
            let mut world = world;
            let mut observer = watch(&world).await;
            let mut client = world.connected(with_will(session(V5, "c", *expiry), *delay)).await.0;
            client.vanish();
            left(&world, 1).await;
            for (at, then) in script.iter().enumerate() {
                let what = format!("{expiry} {delay} {script:?}, step {at}");
                match then {
                    Pass(seconds) => world.pass(Duration::from_secs(*seconds)).await,
                    Returns => {
                        let (mut client, ack) = world.connected(session(V5, "c", *expiry)).await;
                        assert!(ack.session_present, "{what}");
                        client.disconnect(ReasonCode::Success).await;
                    }
                    Starts => {
                        let (mut client, ack) = world.connected(connect(V5, "c")).await;
                        assert!(!ack.session_present, "{what}");
                        client.disconnect(ReasonCode::Success).await;
                    }
                    Kill => {
                        observer.ping().await;
                        observer.vanish();
                        left(&world, 0).await;
                        world = world.killed();
                        observer = watch(&world).await;
                    }
                    Fires => told(&mut observer).await,
                    Silence => silent(&world, &mut observer).await,
                }
            }
        });
    }
}

#[test]
fn connack_waits_for_the_will() {
    with_plain_door(|world| async move {
        let observer = watch(&world).await;
        world.journal.hold();
        let mut client = world.open(V5);
        client.send(&Packet::Connect(Box::new(with_will(connect(V5, "c"), 0)))).await;
        world.held().await;
        // The server is killed before it answers: there was no connection, and there is no will.
        let killed = world.killed();
        let mut again = watch(&killed).await;
        silent(&killed, &mut again).await;
        world.journal.release();
        assert!(matches!(client.next().await, Packet::ConnAck(_)));
        drop(observer);
    });
}

#[test]
fn the_will_of_a_clean_session_outlives_the_server() {
    for version in [V3, V5] {
        with_plain_door(|world| async move {
            watch(&world).await.vanish();
            let client = world.connected(with_will(connect(version, "c"), 0)).await.0;
            let world = world.killed();
            let mut observer = watch(&world).await;
            told(&mut observer).await;
            silent(&world, &mut observer).await;
            observer.vanish();
            left(&world, 0).await;
            let world = world.killed();
            let mut observer = watch(&world).await;
            silent(&world, &mut observer).await;
            drop(client);
        });
    }
}

#[test]
fn a_will_is_published_once_whenever_the_server_is_killed() {
    // So many commits after the client has vanished.
    for retain in [false, true] {
        with_plain_door(|world| async move {
            watch(&world).await.vanish();
            left(&world, 0).await;
            let connect = Connect { will: Some(will(0, retain)), ..session(V5, "c", 100) };
            let mut client = world.connected(connect).await.0;
            world.journal.hold();
            client.vanish();
            world.held().await;
            let before = world.killed();
            world.journal.release();
            left(&world, 0).await;
            let after = world.killed();
            for world in [before, after] {
                let mut observer = watch(&world).await;
                told(&mut observer).await;
                silent(&world, &mut observer).await;
                assert_eq!(world.state("will/c").len(), usize::from(retain));
            }
        });
    }
}

#[test]
fn a_will_that_was_taken_back_stays_so() {
    with_plain_door(|world| async move {
        watch(&world).await.vanish();
        let mut client = world.connected(with_will(connect(V5, "c"), 0)).await.0;
        client.disconnect(ReasonCode::Success).await;
        let killed = world.killed();
        let mut observer = watch(&killed).await;
        silent(&killed, &mut observer).await;
    });
}

#[test]
fn what_cannot_be_committed_is_tried_again() {
    with_plain_door(|world| async move {
        let mut observer = watch(&world).await;
        let mut client = world.connected(with_will(session(V5, "c", 100), 0)).await.0;
        world.journal.fail_append(0, Fault::Full);
        client.vanish();
        left(&world, 1).await;
        silent(&world, &mut observer).await;
        world.pass(Duration::from_secs(6)).await;
        told(&mut observer).await;
        silent(&world, &mut observer).await;
        // The end of the session is noted, too.
        world.pass(Duration::from_secs(100)).await;
        while world.door.sessions() > 1 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_will_that_nobody_may_publish_is_given_up() {
    with_plain_door(|world| async move {
        let mut observer = watch(&world).await;
        let control = [Property::User("if-match", "*")];
        let mut will = will(0, true);
        will.properties = properties(&control);
        let connect = Connect { will: Some(will), ..session(V5, "c", 100) };
        let mut client = world.connected(connect).await.0;
        client.vanish();
        left(&world, 1).await;
        silent(&world, &mut observer).await;
        assert_eq!(world.records().iter().filter(|name| name.contains("/c")).count(), 2, "root and flow");
    });
}

#[test]
fn the_will_comes_after_what_its_client_wrote() {
    let versions: [Version; 2] = [V3, V5];
    for version in versions {
        with_plain_door(|world| async move {
            let mut observer = watch(&world).await;
            let mut client = world.connected(with_will(session(version, "c", 100), 0)).await.0;
            world.journal.hold();
            let delivery = dovetail_mqtt_proto::Delivery::AtLeastOnce(common::id(1));
            client.send(&Packet::Publish(common::publish("will/c", "first", delivery))).await;
            world.held().await;
            client.vanish();
            world.journal.release();
            assert_eq!(observer.acknowledged().await.payload, "first");
            told(&mut observer).await;
        });
    }
}
