//! Limits, lives and pace: what flows, how long, how fast, and how large.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use std::num::NonZeroU16;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use common::{
    Client, V3, V5, World, connect, id, is, properties, publish, retained, short, text, user, with_door,
    with_plain_door,
};
use dovetail_door_mqtt::{Options, PublishRate};
use dovetail_engine::Verb;
use dovetail_model::Representation;
use dovetail_mqtt_proto::{
    Ack, Connect, Delivery, Packet, Property, Publish, Qos, ReasonCode, SubscribeOptions, Version, Will,
};

const Q0: Delivery = Delivery::AtMostOnce;
const Q1: Delivery = Delivery::AtLeastOnce(dovetail_mqtt_proto::PacketId::FIRST);

/// Lets the engine's clock go on.
fn later(world: &World, time: Duration) {
    world.hand.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
}

fn expiring(publish: Publish, seconds: u32) -> Publish {
    Publish { properties: properties(&[Property::MessageExpiry(seconds)]), ..publish }
}

/// A client that takes one message at a time, with these properties besides.
async fn slow(world: &World, version: Version, client_id: &str) -> Client {
    let one = properties(&[Property::ReceiveMaximum(1)]);
    world.connected(Connect { properties: one, ..connect(version, client_id) }).await.0
}

/// Topic and `more` of a message.
type Told = (&'static str, Option<&'static str>);

fn expiry(publish: &Publish) -> Option<u32> {
    publish.properties.message_expiry()
}

// Lives.

#[test]
fn what_is_left_of_a_life_is_counted_down_for_each_subscriber() {
    // [MQTT-3.3.2-6]
    with_plain_door(|world| async move {
        let mut quick = world.client(V5, "quick").await;
        quick.subscribe("p/#", Qos::AtLeastOnce).await;
        let mut stuck = slow(&world, V5, "stuck").await;
        stuck.subscribe("p/#", Qos::AtLeastOnce).await;
        let mut writer = world.client(V5, "writer").await;
        writer.publish(publish("p/first", "x", Q1)).await;
        writer.publish(expiring(publish("p/event", "x", Q1), 60)).await;
        writer.publish(expiring(retained("p/state", "x", Q1), 90)).await;
        assert_eq!(expiry(&quick.acknowledged().await), None);
        let both = [expiry(&quick.acknowledged().await), expiry(&quick.acknowledged().await)];
        assert_eq!(both, [Some(60), Some(90)]);
        // The other one has not acknowledged the first message; the encoded form of the others is there already.
        later(&world, Duration::from_millis(25_500));
        let mut seen = Vec::new();
        for _ in 0..3 {
            let message = stuck.acknowledged().await;
            seen.push((message.topic.to_string(), expiry(&message)));
        }
        let at = |topic: &str, left| (topic.to_owned(), left);
        assert_eq!(seen, [at("p/first", None), at("p/event", Some(35)), at("p/state", Some(65))]);
        // A retained message says what is left of it.
        let mut newcomer = world.client(V5, "newcomer").await;
        newcomer.subscribe("p/state", Qos::AtMostOnce).await;
        assert_eq!(expiry(&newcomer.message().await), Some(65));
    });
}

#[test]
fn what_has_expired_is_not_sent() {
    // [MQTT-3.3.2-5]; before MQTT 5 too, where nobody sees the expiry.
    with_plain_door(|world| async move {
        for version in [V3, V5] {
            let mut writer = world.client(V5, "writer").await;
            let mut stuck = slow(&world, version, "stuck").await;
            // Before MQTT 5 the window is larger.
            let window = if version == V5 { 1 } else { 256 };
            stuck.subscribe("p/#", Qos::AtLeastOnce).await;
            for number in 0..window {
                writer.publish(publish("p/filler", &number.to_string(), Q1)).await;
            }
            writer.publish(expiring(publish("p/brief", "x", Q1), 60)).await;
            writer.publish(expiring(publish("p/long", "x", Q1), 61)).await;
            let expired = world.door.counters().read().expired;
            later(&world, Duration::from_mins(1));
            let mut last = stuck.acknowledged().await;
            for _ in 0..window {
                last = stuck.acknowledged().await;
            }
            assert_eq!(short(&last), is("p/long", "x", false));
            assert_eq!(expiry(&last), (version == V5).then_some(1));
            assert_eq!(world.door.counters().read().expired, expired + 1);
            stuck.ping().await;
        }
    });
}

#[test]
fn a_life_of_nothing_reaches_who_is_there_and_nobody_else() {
    with_plain_door(|world| async move {
        let mut here = world.client(V5, "here").await;
        here.subscribe("p/#", Qos::AtLeastOnce).await;
        let mut stuck = slow(&world, V5, "stuck").await;
        stuck.subscribe("p/#", Qos::AtLeastOnce).await;
        let mut writer = world.client(V5, "writer").await;
        writer.publish(publish("p/filler", "x", Q1)).await;
        writer.publish(expiring(publish("p/now", "x", Q1), 0)).await;
        assert_eq!(short(&here.acknowledged().await), is("p/filler", "x", false));
        let now = here.acknowledged().await;
        assert_eq!((short(&now), expiry(&now)), (is("p/now", "x", false), Some(0)));
        later(&world, Duration::from_secs(1));
        assert_eq!(short(&stuck.acknowledged().await), is("p/filler", "x", false));
        writer.publish(publish("p/end", "x", Q1)).await;
        assert_eq!(short(&stuck.acknowledged().await), is("p/end", "x", false));
    });
}

#[test]
fn a_session_that_was_away_is_told_what_is_left() {
    with_plain_door(|world| async move {
        let list = [Property::SessionExpiry(1_000), Property::ReceiveMaximum(1)];
        let away = || Connect { clean_start: false, properties: properties(&list), ..connect(V5, "away") };
        let (mut reader, _) = world.connected(away()).await;
        reader.subscribe("p/#", Qos::AtLeastOnce).await;
        let mut writer = world.client(V5, "writer").await;
        for (topic, seconds) in [("p/in-flight", 60), ("p/brief", 20), ("p/long", 90)] {
            writer.publish(expiring(publish(topic, "x", Q1), seconds)).await;
        }
        assert_eq!(expiry(&reader.message().await), Some(60));
        reader.vanish();
        later(&world, Duration::from_secs(30));
        let (mut reader, ack) = world.connected(away()).await;
        assert!(ack.session_present);
        let again = reader.acknowledged().await;
        assert_eq!((again.topic.as_str(), again.dup, expiry(&again)), ("p/in-flight", true, Some(30)));
        let next = reader.acknowledged().await;
        assert_eq!((next.topic.as_str(), next.dup, expiry(&next)), ("p/long", false, Some(60)));
    });
}

#[test]
fn an_expired_part_of_a_revision_leaves_no_gap_for_a_tracked_client() {
    with_plain_door(|world| async move {
        let put = |seconds: Option<u64>| Verb::Put {
            representation: Representation::copied(b"x", None),
            time_to_live: seconds.map(Duration::from_secs),
        };
        // What of three changes expires before it is told, and what is told of the commit: topics and `more`.
        let rows: [(_, &[Told]); 4] = [
            ([None, None, None], &[("t/0", Some("2")), ("t/1", Some("1")), ("t/2", None)]),
            ([Some(9), None, Some(9)], &[("t/1", None)]),
            ([None, Some(9), Some(9)], &[("t/0", None)]),
            ([Some(9), Some(9), Some(9)], &[("$feed/progress", None)]),
        ];
        for (lives, told) in rows {
            let head = world.engine.head().to_string();
            let mut stuck = slow(&world, V5, "stuck").await;
            stuck.track("t/#", Qos::AtLeastOnce, &head).await;
            assert_eq!(stuck.acknowledged().await.topic, "$feed/progress");
            world.put("t/filler", "x").await;
            let [a, b, c] = lives.map(put);
            let rev = world.write(&[("t/0", a), ("t/1", b), ("t/2", c)]).await.to_string();
            later(&world, Duration::from_secs(10));
            let filler = stuck.acknowledged().await;
            let mut position = user(&filler, "rev").unwrap().to_owned();
            for (topic, more) in told {
                let message = stuck.acknowledged().await;
                assert_eq!(message.topic, *topic, "{lives:?}");
                if *topic == "$feed/progress" {
                    let payload = String::from_utf8_lossy(&message.payload).into_owned();
                    assert!(
                        payload.contains(&format!("\"after\":\"{position}\",\"rev\":\"{rev}\"")),
                        "{payload}"
                    );
                    position.clone_from(&rev);
                } else {
                    assert_eq!(user(&message, "more"), *more, "{lives:?}");
                    assert_eq!(user(&message, "after"), Some(position.as_str()), "{lives:?}");
                    if more.is_none() {
                        user(&message, "rev").unwrap().clone_into(&mut position);
                    }
                }
            }
            assert_eq!(position, rev, "{lives:?}");
            world.put("t/end", "x").await;
            let mut next = stuck.acknowledged().await;
            while next.topic != "t/end" {
                // The ends of lives.
                assert_eq!(user(&next, "op"), Some("delete"));
                if user(&next, "more").is_none() {
                    user(&next, "rev").unwrap().clone_into(&mut position);
                }
                next = stuck.acknowledged().await;
            }
            assert_eq!(user(&next, "after"), Some(position.as_str()), "{lives:?}");
            stuck.disconnect(ReasonCode::Success).await;
        }
    });
}

#[test]
fn a_revision_of_which_the_rest_expires_halfway_is_closed() {
    with_plain_door(|world| async move {
        let head = world.engine.head().to_string();
        let mut stuck = slow(&world, V5, "stuck").await;
        stuck.track("t/#", Qos::AtLeastOnce, &head).await;
        stuck.acknowledged().await;
        let put = |seconds: Option<u64>| Verb::Put {
            representation: Representation::copied(b"x", None),
            time_to_live: seconds.map(Duration::from_secs),
        };
        let rev = world.write(&[("t/0", put(None)), ("t/1", put(Some(9)))]).await.to_string();
        let first = stuck.message().await;
        assert_eq!((first.topic.as_str(), user(&first, "more")), ("t/0", Some("1")));
        later(&world, Duration::from_secs(10));
        stuck.send(&Packet::PubAck(Ack::new(first.delivery.id().unwrap(), ReasonCode::Success))).await;
        let closing = stuck.acknowledged().await;
        assert_eq!(closing.topic, "$feed/progress");
        assert!(String::from_utf8_lossy(&closing.payload).contains(&format!("\"rev\":\"{rev}\"")));
    });
}

// Pace.

fn paced(per_second: u32, burst: u32) -> Options {
    Options { publish_rate: PublishRate::new(per_second, burst), ..Options::default() }
}

#[test]
fn a_client_that_publishes_too_fast_is_read_slower_and_loses_nothing() {
    with_door(paced(10, 5), |world| async move {
        tokio::time::pause();
        for (version, delivery) in [(V3, Q0), (V5, Q0), (V5, Q1)] {
            let mut reader = world.client(V5, "reader").await;
            reader.subscribe("n", Qos::AtMostOnce).await;
            let mut writer = world.client(version, "writer").await;
            let throttled = world.door.counters().read().throttled;
            let begun = tokio::time::Instant::now();
            let messages: Vec<_> = (1..=30)
                .map(|n| {
                    let delivery = if delivery == Q0 { Q0 } else { Delivery::AtLeastOnce(id(n)) };
                    Packet::Publish(publish("n", &n.to_string(), delivery))
                })
                .collect();
            writer.send_all(&messages).await;
            for n in 1..=30_u64 {
                assert_eq!(short(&reader.message().await), is("n", &n.to_string(), false));
                let passed = begun.elapsed();
                let due = Duration::from_millis(100 * n.saturating_sub(5));
                assert!(passed >= due && passed < due + Duration::from_millis(20), "{n}: {passed:?}");
            }
            assert_eq!(world.door.counters().read().throttled - throttled, 26);
            if delivery != Q0 {
                for n in 1..=30 {
                    assert_eq!(writer.next().await, Packet::PubAck(Ack::new(id(n), ReasonCode::Success)));
                }
            }
            writer.disconnect(ReasonCode::Success).await;
        }
    });
}

#[test]
fn a_client_that_is_read_slower_is_not_taken_for_silent_and_still_gets_its_messages() {
    with_door(paced(1, 1), |world| async move {
        tokio::time::pause();
        let connect = Connect { keep_alive: 1, ..connect(V5, "both") };
        let (mut both, _) = world.connected(connect).await;
        both.subscribe("in", Qos::AtMostOnce).await;
        let mut somebody = world.client(V5, "somebody").await;
        let mut messages: Vec<_> = (0..10).map(|_| Packet::Publish(publish("out", "x", Q0))).collect();
        messages.push(Packet::PingReq);
        both.send_all(&messages).await;
        let begun = tokio::time::Instant::now();
        // Events, as no other thread has a hand in them: time stands still only while this one is busy.
        somebody.send(&Packet::Publish(publish("in", "x", Q0))).await;
        assert_eq!(short(&both.message().await), is("in", "x", false));
        assert!(begun.elapsed() < Duration::from_millis(100), "delivery does not wait");
        assert_eq!(both.next().await, Packet::PingResp);
        assert!(begun.elapsed() >= Duration::from_secs(9), "{:?}", begun.elapsed());
        // Silence counts again from then on.
        assert_eq!(both.end().await, ReasonCode::KeepAliveTimeout);
        assert!(begun.elapsed() < Duration::from_secs(13), "{:?}", begun.elapsed());
    });
}

#[test]
fn writes_that_waited_for_their_turn_are_answered_when_they_are_done() {
    // In real time, as other threads have a hand in them. Were nobody woken, each answer would come with the next
    // message, or never.
    with_door(paced(2, 1), |world| async move {
        for version in [V3, V5] {
            let mut writer = world.client(version, "writer").await;
            let begun = std::time::Instant::now();
            let messages = [1, 2].map(|n| Packet::Publish(retained("a", "x", Delivery::AtLeastOnce(id(n)))));
            writer.send_all(&messages).await;
            for n in 1..=2 {
                assert_eq!(writer.next().await, Packet::PubAck(Ack::new(id(n), ReasonCode::Success)));
            }
            let passed = begun.elapsed();
            assert!(
                passed >= Duration::from_millis(490) && passed < Duration::from_millis(950),
                "{passed:?}"
            );
        }
    });
    // Before MQTT 5 nothing is read while 64 messages are not answered. All of these are answered at once, and then nothing
    // but what was kept meanwhile is left to do.
    with_plain_door(|world| async move {
        let mut writer = world.client(V3, "writer").await;
        world.journal.hold();
        let messages: Vec<_> =
            (1..=100).map(|n| Packet::Publish(retained("a", "x", Delivery::AtLeastOnce(id(n))))).collect();
        writer.send_all(&messages).await;
        world.held().await;
        world.journal.release();
        for n in 1..=100 {
            assert_eq!(writer.next().await, Packet::PubAck(Ack::new(id(n), ReasonCode::Success)));
        }
    });
}

// CONNACK.

#[test]
fn the_servers_keep_alive_holds_for_who_can_be_told() {
    // [MQTT-3.2.2-21], [MQTT-3.2.2-22]
    let options = Options { keep_alive: NonZeroU16::new(6), ..Options::default() };
    with_door(options, |world| async move {
        tokio::time::pause();
        let rows = [(V5, 0, Some(6), 9), (V5, 7, Some(6), 9), (V5, 4, None, 6)];
        for (version, wanted, told, ends_after) in rows.into_iter().chain([(V3, 10, None, 15)]) {
            let begun = tokio::time::Instant::now();
            let connect = Connect { keep_alive: wanted, ..connect(version, "client") };
            let (mut client, ack) = world.connected(connect).await;
            assert_eq!(ack.properties.server_keep_alive(), told);
            while client.next_or_end().await.is_some() {}
            let passed = begun.elapsed().as_secs();
            assert_eq!(passed, ends_after, "{version:?} {wanted}");
        }
    });
}

#[test]
fn a_client_that_asks_is_told_where_answers_go_and_can_use_it() {
    // §3.2.2.3.15, §4.10
    with_plain_door(|world| async move {
        let asks = properties(&[Property::RequestResponseInformation(true)]);
        let connect = |client_id: &str| Connect { properties: asks.clone(), ..connect(V5, client_id) };
        let (mut asker, ack) = world.connected(connect("asker")).await;
        let topic = ack.properties.response_information().unwrap().to_owned();
        assert_eq!(topic, "reply/asker");
        asker.subscribe(&topic, Qos::AtLeastOnce).await;
        let mut server = world.client(V5, "server").await;
        server.subscribe("ask", Qos::AtLeastOnce).await;
        let list = [Property::ResponseTopic(&topic), Property::CorrelationData(b"7")];
        asker.publish(Publish { properties: properties(&list), ..publish("ask", "?", Q0) }).await;
        let question = server.message().await;
        let list = [Property::CorrelationData(question.properties.correlation_data().unwrap())];
        let to = question.properties.response_topic().unwrap();
        server.publish(Publish { properties: properties(&list), ..publish(to, "!", Q0) }).await;
        let answer = asker.message().await;
        assert_eq!(short(&answer), is(&topic, "!", false));
        assert_eq!(answer.properties.correlation_data(), Some(&b"7"[..]));
        // An id that can be no part of a topic has none, and one that the server made has.
        let (_, ack) = world.connected(connect("a/#")).await;
        assert_eq!(ack.properties.response_information(), None);
        let (_, ack) = world.connected(connect("")).await;
        let assigned = ack.properties.assigned_client_id().unwrap();
        assert_eq!(ack.properties.response_information(), Some(format!("reply/{assigned}").as_str()));
    });
}

// Sizes and windows.

#[test]
fn aliases_reach_clients_that_take_them_and_name_the_same_topics() {
    with_plain_door(|world| async move {
        for maximum in [0, 1, 3, 100] {
            let aliases = properties(&[Property::TopicAliasMaximum(maximum)]);
            let connect = Connect { properties: aliases, ..connect(V5, "reader") };
            let (mut reader, _) = world.connected(connect).await;
            reader.subscribe("long/enough/#", Qos::AtMostOnce).await;
            let mut topics = std::collections::HashMap::new();
            let mut short_ones = 0;
            for round in 0..5 {
                for number in 0..4 {
                    let topic = format!("long/enough/{number}");
                    world.put(&topic, &round.to_string()).await;
                    let message = reader.message().await;
                    let resolved = match message.properties.topic_alias() {
                        None => message.topic.to_string(),
                        Some(alias) if message.topic.is_empty() => {
                            short_ones += 1;
                            String::clone(&topics[&alias])
                        }
                        Some(alias) => {
                            assert!(alias <= maximum);
                            topics.insert(alias, message.topic.to_string());
                            message.topic.to_string()
                        }
                    };
                    assert_eq!(resolved, topic);
                }
            }
            assert_eq!((short_ones > 0, short_ones == 16), (maximum > 0, maximum > 3));
            reader.disconnect(ReasonCode::Success).await;
            for number in 0..4 {
                world.delete(&format!("long/enough/{number}")).await;
            }
        }
    });
}

#[test]
fn more_unanswered_messages_than_allowed_end_the_connection_of_their_sender_alone() {
    // [MQTT-3.3.4-7], [MQTT-3.3.4-9]
    let options = Options { receive_maximum: 3, ..Options::default() };
    with_door(options, |world| async move {
        let mut other = world.client(V5, "other").await;
        let (mut eager, ack) = world.connected(connect(V5, "eager")).await;
        assert_eq!(ack.properties.receive_maximum(), Some(3));
        world.journal.hold();
        let messages: Vec<_> =
            (1..=4).map(|n| Packet::Publish(retained("a", "x", Delivery::AtLeastOnce(id(n))))).collect();
        eager.send_all(&messages).await;
        assert_eq!(eager.next().await.kind(), dovetail_mqtt_proto::Kind::Disconnect);
        world.journal.release();
        other.ping().await;
    });
}

#[test]
fn a_packet_above_the_maximum_ends_the_connection_with_its_code() {
    let options = Options { payload_bytes: 1000, ..Options::default() };
    with_door(options, |world| async move {
        let (mut client, ack) = world.connected(connect(V5, "client")).await;
        let maximum = ack.properties.maximum_packet_size().unwrap();
        let body = vec![b'x'; maximum as usize];
        let message = Publish { payload: Bytes::from(body), ..publish("a", "", Q0) };
        client.send(&Packet::Publish(message)).await;
        assert_eq!(client.end().await, ReasonCode::PacketTooLarge);
    });
}

#[test]
fn words_are_left_out_for_who_does_not_want_them_or_cannot_take_them() {
    // [MQTT-3.1.2-29], [MQTT-3.4.2-2]
    with_plain_door(|world| async move {
        let rows = [
            (Property::RequestProblemInformation(true), true),
            (Property::RequestProblemInformation(false), false),
            (Property::MaximumPacketSize(40), false),
        ];
        for (property, with_words) in rows {
            let connect = Connect { properties: properties(&[property]), ..connect(V5, "client") };
            let (mut client, _) = world.connected(connect).await;
            let ack = client.publish(retained("$SYS/x", "x", Q0)).await;
            assert_eq!(ack.reason, ReasonCode::TopicNameInvalid);
            assert_eq!(ack.properties.reason_string().is_some(), with_words, "{property:?}");
            let none = SubscribeOptions::new(Qos::AtMostOnce);
            let ack = client.subscribe_with(&"x/".repeat(200), none, properties(&[])).await;
            assert_eq!(ack.reasons, [ReasonCode::TopicFilterInvalid]);
            assert_eq!(ack.properties.reason_string().is_some(), with_words, "{property:?}");
            client.disconnect(ReasonCode::Success).await;
        }
    });
}

#[test]
fn what_is_declared_text_is_checked_in_messages_and_wills() {
    // §3.3.2.3.2, §3.1.3.2.3
    with_plain_door(|world| async move {
        let is_text = properties(&[Property::PayloadFormat(true)]);
        let bad = Bytes::from_static(&[0xC3, 0x28]);
        let mut client = world.client(V5, "client").await;
        for retain in [true, false] {
            let message =
                Publish { retain, properties: is_text.clone(), payload: bad.clone(), ..publish("a", "", Q0) };
            assert_eq!(client.publish(message.clone()).await.reason, ReasonCode::PayloadFormatInvalid);
            let good = Publish { payload: Bytes::from_static("é".as_bytes()), ..message };
            assert_eq!(client.publish(good).await.reason, ReasonCode::Success);
        }
        let will = Will {
            qos: Qos::AtMostOnce,
            retain: false,
            properties: is_text,
            topic: text("will"),
            payload: bad,
        };
        let mut mortal = world.open(V5);
        mortal.send(&Packet::Connect(Box::new(Connect { will: Some(will), ..connect(V5, "mortal") }))).await;
        let Packet::ConnAck(ack) = mortal.next().await else { panic!("no CONNACK") };
        assert_eq!(ack.reason, ReasonCode::PayloadFormatInvalid);
    });
}

#[test]
fn extended_authentication_is_refused_in_each_of_its_forms() {
    // [MQTT-4.12.0-1], [MQTT-4.12.0-6]
    with_plain_door(|world| async move {
        let method = properties(&[Property::AuthenticationMethod("SCRAM-SHA-256")]);
        let mut client = world.open(V5);
        let connect = Connect { properties: method, ..connect(V5, "client") };
        client.send(&Packet::Connect(Box::new(connect))).await;
        let Packet::ConnAck(ack) = client.next().await else { panic!("no CONNACK") };
        assert_eq!(ack.reason, ReasonCode::BadAuthenticationMethod);
        assert!(ack.properties.reason_string().is_some());
        // AUTH with a method that CONNECT did not have, without one, and without anything.
        for auth in [&[0xF0, 6, 0x19, 4, 0x15, 0, 1, b'x'][..], &[0xF0, 2, 0x18, 0], &[0xF0, 0]] {
            let mut client = world.client(V5, "client").await;
            client.send_bytes(auth).await;
            assert_eq!(client.end().await, ReasonCode::ProtocolError, "{auth:02x?}");
        }
    });
}
