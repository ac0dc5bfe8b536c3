//! CONNECT to DISCONNECT, takeover, wills.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use bytes::Bytes;
use common::{
    V3, V5, connect, id, is, properties, publish, retained, short, text, with_door, with_plain_door,
};
use dovetail_door_mqtt::Options;
use dovetail_mqtt_proto::{
    Connect, Decoder, Delivery, Packet, Properties, Property, Qos, ReasonCode, Role, Text, Version, Will,
};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn with_will(version: Version, client_id: &str, topic: &str, retain: bool) -> Connect {
    let will = Will {
        qos: Qos::AtLeastOnce,
        retain,
        properties: Properties::NONE,
        topic: text(topic),
        payload: Bytes::from_static(b"gone"),
    };
    Connect { will: Some(will), ..connect(version, client_id) }
}

#[test]
fn connack_says_the_limits() {
    with_plain_door(|world| async move {
        let wanted = properties(&[Property::SessionExpiry(100)]);
        let (_client, ack) =
            world.connected(Connect { properties: wanted, clean_start: false, ..connect(V5, "") }).await;
        assert!(!ack.session_present);
        assert_eq!(ack.properties.receive_maximum(), Some(64));
        assert_eq!(ack.properties.topic_alias_maximum(), Some(16));
        assert_eq!(ack.properties.maximum_packet_size(), Some((1 << 20) + (16 << 10)));
        assert_eq!(ack.properties.session_expiry(), None, "what is asked for is granted");
        assert_eq!(ack.properties.shared_available(), None, "they are");
        assert!(ack.properties.assigned_client_id().is_some_and(|id| id.starts_with("auto-")));
        let (_client, ack) = world.connected(connect(V3, "three")).await;
        assert_eq!(ack.properties, Properties::NONE);
        assert_eq!(world.door.connected(), 2);
    });
}

#[test]
fn refused_connections_are_told_why() {
    with_plain_door(|world| async move {
        let method = properties(&[Property::AuthenticationMethod("SCRAM")]);
        let rows = [
            (Connect { properties: method, ..connect(V5, "a") }, ReasonCode::BadAuthenticationMethod),
            (connect(V5, &"x".repeat(1025)), ReasonCode::ClientIdentifierNotValid),
            (with_will(V5, "a", "$SYS/x", false), ReasonCode::TopicNameInvalid),
            (with_will(V5, "a", "-/x", true), ReasonCode::TopicNameInvalid),
            (Connect { clean_start: false, ..connect(V3, "") }, ReasonCode::ClientIdentifierNotValid),
        ];
        for (connect, reason) in rows {
            let mut client = world.open(connect.version);
            client.send(&Packet::Connect(Box::new(connect))).await;
            let answer = client.next().await;
            assert!(matches!(&answer, Packet::ConnAck(ack) if ack.reason == reason), "{answer:?}");
            assert_eq!(client.next_or_end().await, None);
        }
        assert_eq!(world.door.connected(), 0);
    });
}

#[test]
fn silence_before_connect_ends_the_connection() {
    let options = Options { connect_timeout: Duration::from_millis(20), ..Options::default() };
    with_door(options, |world| async move {
        let mut client = world.open(V5);
        client.send_bytes(&[0x10]).await;
        assert_eq!(client.next_or_end().await, None);
    });
}

#[test]
fn silence_of_one_and_a_half_keep_alives_ends_the_connection() {
    with_plain_door(|world| async move {
        let (mut client, _) = world.connected(Connect { keep_alive: 1, ..connect(V5, "quiet") }).await;
        let begun = std::time::Instant::now();
        assert_eq!(client.end().await, ReasonCode::KeepAliveTimeout);
        let passed = begun.elapsed();
        assert!(passed >= Duration::from_millis(1400) && passed < Duration::from_millis(2500), "{passed:?}");
    });
}

#[test]
fn a_client_id_belongs_to_the_newest_connection() {
    with_plain_door(|world| async move {
        let mut watcher = world.client(V5, "watcher").await;
        watcher.subscribe("will/#", Qos::AtMostOnce).await;
        let (mut first, _) = world.connected(with_will(V5, "same", "will/first", false)).await;
        let (mut second, _) = world.connected(with_will(V3, "same", "will/second", false)).await;
        assert_eq!(first.end().await, ReasonCode::SessionTakenOver);
        assert_eq!(short(&watcher.message().await), is("will/first", "gone", false));
        second.ping().await;
        let mut third = world.client(V5, "same").await;
        assert_eq!(second.next_or_end().await, None, "3.1.1 is told nothing");
        assert_eq!(short(&watcher.message().await), is("will/second", "gone", false));
        third.ping().await;
        assert_eq!(world.door.connected(), 2);
        assert_eq!(world.door.counters().read().taken_over, 2);
    });
}

#[test]
fn a_takeover_chain_leaves_the_last_one() {
    with_plain_door(|world| async move {
        let mut all = Vec::new();
        for _ in 0..20 {
            let mut client = world.open(V5);
            client.send(&Packet::Connect(Box::new(connect(V5, "crowd")))).await;
            all.push(client);
        }
        let mut last = all.pop().unwrap();
        let Packet::ConnAck(_) = last.next().await else { panic!("no CONNACK") };
        for mut earlier in all {
            let packets = [earlier.next_or_end().await, earlier.next_or_end().await];
            assert!(matches!(packets[0], Some(Packet::ConnAck(_))), "{packets:?}");
            assert!(
                matches!(&packets[1], Some(Packet::Disconnect(bye)) if bye.reason == ReasonCode::SessionTakenOver),
                "{packets:?}"
            );
        }
        last.ping().await;
        assert_eq!(world.door.connected(), 1);
    });
}

#[test]
fn wills_are_published_when_they_should_be() {
    with_plain_door(|world| async move {
        let mut watcher = world.client(V5, "watcher").await;
        watcher.subscribe("w/#", Qos::AtMostOnce).await;
        for (version, retain) in [(V3, false), (V5, true)] {
            let (mut client, _) = world.connected(with_will(version, "vanishes", "w/vanishes", retain)).await;
            client.vanish();
            assert_eq!(short(&watcher.message().await), is("w/vanishes", "gone", false));
        }
        assert_eq!(world.state("w/#"), [("w/vanishes".to_owned(), "gone".to_owned())]);
        let (mut client, _) = world.connected(with_will(V5, "polite", "w/polite", false)).await;
        client.disconnect(ReasonCode::Success).await;
        let (mut client, _) = world.connected(with_will(V5, "asks", "w/asks", false)).await;
        client.disconnect(ReasonCode::DisconnectWithWill).await;
        let (mut client, _) = world.connected(with_will(V5, "breaks", "w/breaks", false)).await;
        client.send_bytes(&[0, 0]).await;
        assert_eq!(client.end().await, ReasonCode::MalformedPacket);
        // Nothing came of the polite one.
        assert_eq!(short(&watcher.message().await), is("w/asks", "gone", false));
        assert_eq!(short(&watcher.message().await), is("w/breaks", "gone", false));
        assert_eq!(world.door.counters().read().wills, 4);
    });
}

#[test]
fn a_will_comes_after_what_its_client_published() {
    with_plain_door(|world| async move {
        let mut watcher = world.client(V5, "watcher").await;
        watcher.subscribe("w/#", Qos::AtMostOnce).await;
        let (mut client, _) = world.connected(with_will(V5, "busy", "w/status", false)).await;
        world.journal.hold();
        let messages: Vec<_> = (1..=3)
            .map(|number| {
                Packet::Publish(retained("w/value", &number.to_string(), Delivery::AtLeastOnce(id(number))))
            })
            .collect();
        client.send_all(&messages).await;
        world.held().await;
        client.vanish();
        // The connection ends while its writes are on their way to the disk.
        tokio::task::yield_now().await;
        world.journal.release();
        for number in 1..=3 {
            assert_eq!(short(&watcher.message().await), is("w/value", &number.to_string(), false));
        }
        assert_eq!(short(&watcher.message().await), is("w/status", "gone", false));
    });
}

#[test]
fn shutting_down_says_goodbye_and_refuses_newcomers() {
    with_plain_door(|world| async move {
        let mut client = world.client(V5, "here").await;
        world.door.shut_down();
        assert_eq!(client.end().await, ReasonCode::ServerShuttingDown);
        let mut late = world.open(V5);
        late.send(&Packet::Connect(Box::new(connect(V5, "late")))).await;
        let answer = late.next().await;
        assert!(
            matches!(&answer, Packet::ConnAck(ack) if ack.reason == ReasonCode::ServerUnavailable),
            "{answer:?}"
        );
    });
}

#[test]
fn a_client_without_id_keeps_what_it_was_given() {
    with_plain_door(|world| async move {
        let mut connect = connect(V3, "x");
        connect.client_id = Text::EMPTY;
        let (mut one, _) = world.connected(connect.clone()).await;
        let (mut two, _) = world.connected(connect).await;
        one.ping().await;
        two.ping().await;
        assert_eq!(world.door.connected(), 2);
    });
}

#[test]
fn a_broken_protocol_ends_the_connection_with_its_code() {
    with_plain_door(|world| async move {
        let alias = properties(&[Property::TopicAlias(17)]);
        let aliased = Packet::Publish(dovetail_mqtt_proto::Publish {
            properties: alias,
            ..publish("a", "x", Delivery::AtMostOnce)
        });
        let rows = [
            (Packet::Connect(Box::new(connect(V5, "again"))), ReasonCode::ProtocolError),
            (aliased, ReasonCode::TopicAliasInvalid),
        ];
        for (packet, reason) in rows {
            let mut client = world.client(V5, "breaks").await;
            client.send(&packet).await;
            assert_eq!(client.end().await, reason);
        }
        assert_eq!(world.door.counters().read().violations, 2);
    });
}

/// A client that sends many messages at once, and the acknowledgements of their acknowledgements as it reads these, was told
/// of a reset before it came to read why the connection ended.
#[test]
fn a_client_that_still_sends_reads_to_the_end_why_it_is_closed() {
    with_plain_door(|world| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let local = world.local.clone();
        let served = tokio::task::spawn_local(async move { local.serve(stream, common::who()).await });
        let mut bytes = Vec::new();
        Packet::Connect(Box::new(connect(V5, "eager"))).write(&mut bytes, V5).unwrap();
        // One more than the receive maximum.
        for number in 1..=65 {
            let message = publish("eager", "x", Delivery::ExactlyOnce(id(number)));
            Packet::Publish(message).write(&mut bytes, V5).unwrap();
        }
        client.write_all(&bytes).await.unwrap();
        let mut decoder = Decoder::new(Role::Client(V5), u32::MAX);
        let (mut reason, mut buffer) = (None, [0; 64]);
        loop {
            let count = client.read(&mut buffer).await.unwrap();
            if count == 0 {
                break;
            }
            let mut input = &buffer[..count];
            while let Some(packet) = decoder.next(&mut input).unwrap() {
                match packet {
                    Packet::PubRec(ack) => {
                        let mut bytes = Vec::new();
                        Packet::PubRel(ack).write(&mut bytes, V5).unwrap();
                        client.write_all(&bytes).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                    Packet::Disconnect(bye) => reason = Some(bye.reason),
                    _ => {}
                }
            }
        }
        assert_eq!(reason, Some(ReasonCode::ReceiveMaximumExceeded));
        drop(client);
        // The server waits for the client to close, and no longer.
        served.await.unwrap();
    });
}

#[test]
fn a_client_that_does_not_close_is_not_waited_for_long() {
    with_plain_door(|world| async move {
        let (mut client, stream) = tokio::io::duplex(1024);
        let local = world.local.clone();
        let served = tokio::task::spawn_local(async move { local.serve(stream, common::who()).await });
        client.write_all(b"no CONNECT").await.unwrap();
        let begun = std::time::Instant::now();
        assert_eq!(client.read(&mut [0; 64]).await.unwrap(), 0);
        assert!(begun.elapsed() < Duration::from_millis(900), "it is told at once");
        served.await.unwrap();
        let passed = begun.elapsed();
        assert!(passed >= Duration::from_millis(900) && passed < Duration::from_secs(3), "{passed:?}");
    });
}
