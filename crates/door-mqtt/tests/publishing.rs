//! PUBLISH: resources, events, answers.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{V3, V5, id, is, properties, publish, retained, short, with_door, with_plain_door};
use dovetail_door_mqtt::Options;
use dovetail_mqtt_proto::{Ack, Delivery, Packet, Property, Publish, Qos, ReasonCode};

const Q0: Delivery = Delivery::AtMostOnce;

#[test]
fn retained_messages_are_resources() {
    with_plain_door(|world| async move {
        for version in [V3, V5] {
            let mut client = world.client(version, "writer").await;
            client.put("a/b", "one").await;
            assert_eq!(world.state("#"), [("a/b".to_owned(), "one".to_owned())]);
            client.put("a/b", "two").await;
            assert_eq!(world.state("#"), [("a/b".to_owned(), "two".to_owned())]);
            client.put("a/b", "").await;
            assert_eq!(world.state("#"), []);
            client.put("a/b", "").await;
        }
    });
}

#[test]
fn events_leave_no_trace() {
    with_plain_door(|world| async move {
        let mut client = world.client(V5, "writer").await;
        let head = world.engine.head();
        assert_eq!(client.publish(publish("a/b", "x", Q0)).await.reason, ReasonCode::Success);
        assert_eq!((world.state("#"), world.engine.head()), (vec![], head));
    });
}

#[test]
fn nothing_is_acknowledged_before_it_is_durable() {
    with_plain_door(|world| async move {
        let mut client = world.client(V5, "writer").await;
        world.journal.hold();
        client
            .send_all(&[
                Packet::Publish(retained("a", "1", Delivery::AtLeastOnce(id(1)))),
                Packet::Publish(retained("a", "2", Delivery::ExactlyOnce(id(2)))),
                // Events wait for the writes before them.
                Packet::Publish(publish("a", "3", Delivery::AtLeastOnce(id(3)))),
            ])
            .await;
        client.send(&Packet::PingReq).await;
        world.held().await;
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.state("#"), []);
        world.journal.release();
        assert_eq!(client.next().await, Packet::PubAck(Ack::new(id(1), ReasonCode::Success)));
        assert_eq!(client.next().await, Packet::PubRec(Ack::new(id(2), ReasonCode::Success)));
        assert_eq!(client.next().await, Packet::PubAck(Ack::new(id(3), ReasonCode::Success)));
        assert_eq!(client.next().await, Packet::PingResp);
    });
}

#[test]
fn many_writes_are_on_their_way_at_once_and_answered_in_order() {
    with_plain_door(|world| async move {
        let mut client = world.client(V5, "writer").await;
        world.journal.hold();
        let messages: Vec<_> = (1..=64)
            .map(|n| Packet::Publish(retained(&format!("n/{n}"), "x", Delivery::AtLeastOnce(id(n)))))
            .collect();
        client.send_all(&messages).await;
        world.held().await;
        world.journal.release();
        for n in 1..=64 {
            assert_eq!(client.next().await, Packet::PubAck(Ack::new(id(n), ReasonCode::Success)));
        }
        assert_eq!(world.state("n/#").len(), 64);
        assert_eq!(world.engine.head().number, 64);
    });
}

#[test]
fn a_message_with_qos_2_is_written_once() {
    with_plain_door(|world| async move {
        for version in [V3, V5] {
            let mut client = world.client(version, "writer").await;
            let before = world.engine.head().number;
            let message = retained("a", "x", Delivery::ExactlyOnce(id(9)));
            for dup in [false, true, true] {
                client.send(&Packet::Publish(Publish { dup, ..message.clone() })).await;
                assert_eq!(client.next().await, Packet::PubRec(Ack::new(id(9), ReasonCode::Success)));
            }
            client.send(&Packet::PubRel(Ack::new(id(9), ReasonCode::Success))).await;
            assert_eq!(client.next().await, Packet::PubComp(Ack::new(id(9), ReasonCode::Success)));
            assert_eq!(world.engine.head().number, before + 1);
        }
    });
}

#[test]
fn refusals_have_codes_and_words() {
    let options = Options { payload_bytes: 1000, ..Options::default() };
    with_door(options, |world| async move {
        world.put("json", "{\"a\":1}").await;
        world.put("text", "words").await;
        let with =
            |publish: Publish, list: &[Property<'_>]| Publish { properties: properties(list), ..publish };
        let many = vec![Property::User("name", "value"); 33];
        let stale = "0000000z.1";
        let rows = [
            (retained("$SYS/x", "x", Q0), ReasonCode::TopicNameInvalid, "belongs to the server"),
            (publish("$SYS/x", "x", Q0), ReasonCode::TopicNameInvalid, "belongs to the server"),
            (retained("-/health", "x", Q0), ReasonCode::TopicNameInvalid, "belongs to the server"),
            (retained(&"a/".repeat(200), "x", Q0), ReasonCode::TopicNameInvalid, "levels"),
            (retained("a", &"x".repeat(1001), Q0), ReasonCode::QuotaExceeded, "at most 1000 bytes"),
            (publish("a", &"x".repeat(1001), Q0), ReasonCode::QuotaExceeded, "at most 1000 bytes"),
            (with(retained("a", "x", Q0), &many), ReasonCode::QuotaExceeded, "32 user properties"),
            (
                with(retained("json", "x", Q0), &[Property::User("if-none-match", "*")]),
                ReasonCode::ImplementationSpecificError,
                "does not hold",
            ),
            (
                with(retained("json", "x", Q0), &[Property::User("if-match", stale)]),
                ReasonCode::ImplementationSpecificError,
                "it is at ",
            ),
            (
                with(retained("new", "x", Q0), &[Property::User("if-match", "*")]),
                ReasonCode::ImplementationSpecificError,
                "does not hold",
            ),
            (
                with(retained("a", "x", Q0), &[Property::User("if-match", "1042")]),
                ReasonCode::ImplementationSpecificError,
                "expected revisions or *",
            ),
            (
                with(retained("a", "x", Q0), &[Property::User("idempotency-key", "")]),
                ReasonCode::ImplementationSpecificError,
                "expected an idempotency-key",
            ),
            (
                with(retained("json", "{", Q0), &[Property::ContentType("application/merge-patch+json")]),
                ReasonCode::PayloadFormatInvalid,
                "patch",
            ),
            (
                with(retained("text", "{}", Q0), &[Property::ContentType("application/merge-patch+json")]),
                ReasonCode::ImplementationSpecificError,
                "does not fit",
            ),
            (
                with(retained("no", "[]", Q0), &[Property::ContentType("application/json-patch+json")]),
                ReasonCode::ImplementationSpecificError,
                "does not exist",
            ),
            (
                Publish {
                    payload: Bytes::from_static(b"\xff"),
                    ..with(retained("a", "", Q0), &[Property::PayloadFormat(true)])
                },
                ReasonCode::PayloadFormatInvalid,
                "not UTF-8",
            ),
        ];
        let mut client = world.client(V5, "writer").await;
        let head = world.engine.head();
        for (message, reason, words) in rows {
            let ack = client.publish(message.clone()).await;
            let said = ack.properties.reason_string().unwrap_or_default();
            assert!(ack.reason == reason && said.contains(words), "{}: {ack:?}", message.topic);
        }
        assert_eq!(world.engine.head(), head, "nothing was written");
    });
}

#[test]
fn before_v5_a_refusal_closes_the_connection() {
    with_plain_door(|world| async move {
        for delivery in [Q0, Delivery::AtLeastOnce(id(1)), Delivery::ExactlyOnce(id(1))] {
            let mut client = world.client(V3, "writer").await;
            client.send(&Packet::Publish(retained("$SYS/x", "x", delivery))).await;
            assert_eq!(client.next_or_end().await, None);
        }
        assert_eq!(world.door.counters().read().writes_refused, 3);
    });
}

#[test]
fn preconditions_and_idempotency_keys_hold() {
    with_plain_door(|world| async move {
        let mut client = world.client(V5, "writer").await;
        let with = |payload: &str, list: &[Property<'_>]| Publish {
            properties: properties(list),
            ..retained("r", payload, Q0)
        };
        let created = with("one", &[Property::User("if-none-match", "*")]);
        assert_eq!(client.publish(created).await.reason, ReasonCode::Success);
        let token = world.engine.head().to_string();
        let matched = with("two", &[Property::User("if-match", &format!("\"{token}\""))]);
        assert_eq!(client.publish(matched.clone()).await.reason, ReasonCode::Success);
        assert_eq!(client.publish(matched).await.reason, ReasonCode::ImplementationSpecificError);
        let keyed =
            with("three", &[Property::User("idempotency-key", "k1"), Property::User("other", "stays")]);
        assert_eq!(client.publish(keyed.clone()).await.reason, ReasonCode::Success);
        let head = world.engine.head();
        assert_eq!(client.publish(keyed).await.reason, ReasonCode::Success);
        assert_eq!(world.engine.head(), head, "the repetition did nothing");
        let reused = with("four", &[Property::User("idempotency-key", "k1")]);
        assert_eq!(client.publish(reused).await.reason, ReasonCode::ImplementationSpecificError);
        let view = world.view("r");
        let resource = view.select(None).next().unwrap();
        let kept = &resource.representation.metadata.as_ref().unwrap().user_properties;
        assert_eq!(**kept, [("other".into(), "stays".into())], "what is for the server is not kept");
    });
}

#[test]
fn patches_change_what_is_there() {
    with_plain_door(|world| async move {
        let mut client = world.client(V5, "writer").await;
        client.put("j", "{\"a\":1,\"b\":2}").await;
        let patch = |payload: &str, kind: &str| Publish {
            properties: properties(&[Property::ContentType(kind)]),
            ..retained("j", payload, Q0)
        };
        let merge = patch("{\"b\":null,\"c\":3}", "Application/Merge-Patch+JSON; charset=utf-8");
        assert_eq!(client.publish(merge).await.reason, ReasonCode::Success);
        assert_eq!(world.state("j")[0].1, "{\"a\":1,\"c\":3}");
        let steps = "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":9}]";
        assert_eq!(
            client.publish(patch(steps, "application/json-patch+json")).await.reason,
            ReasonCode::Success
        );
        assert_eq!(world.state("j")[0].1, "{\"a\":9,\"c\":3}");
    });
}

#[test]
fn all_properties_are_carried_through() {
    with_plain_door(|world| async move {
        let list = [
            Property::MessageExpiry(60),
            Property::ContentType("text/plain"),
            Property::PayloadFormat(true),
            Property::ResponseTopic("answers/here"),
            Property::CorrelationData(b"\x00\x01"),
            Property::User("one", "1"),
            Property::User("one", "2"),
        ];
        let mut writer = world.client(V5, "writer").await;
        let mut live = world.client(V5, "live").await;
        live.subscribe("p/#", Qos::AtMostOnce).await;
        for (topic, retain) in [("p/state", true), ("p/event", false)] {
            let message = Publish { retain, properties: properties(&list), ..publish(topic, "payload", Q0) };
            assert_eq!(writer.publish(message).await.reason, ReasonCode::Success);
            let got = live.message().await;
            assert_eq!(short(&got), is(topic, "payload", false));
            assert_eq!(got.properties.iter().collect::<Vec<_>>(), list);
        }
        let mut later = world.client(V5, "later").await;
        later.subscribe("p/#", Qos::AtMostOnce).await;
        let got = later.message().await;
        assert_eq!(short(&got), is("p/state", "payload", true));
        assert_eq!(got.properties.iter().collect::<Vec<_>>(), list);
        let mut old = world.client(V3, "old").await;
        old.subscribe("p/#", Qos::AtMostOnce).await;
        assert_eq!(short(&old.message().await), is("p/state", "payload", true));
    });
}

#[test]
fn a_retained_message_expires() {
    with_plain_door(|world| async move {
        let mut watcher = world.client(V5, "watcher").await;
        watcher.subscribe("p/#", Qos::AtMostOnce).await;
        let mut writer = world.client(V5, "writer").await;
        let message = Publish {
            properties: properties(&[Property::MessageExpiry(60)]),
            ..retained("p/x", "brief", Q0)
        };
        writer.publish(message).await;
        assert_eq!(short(&watcher.message().await), is("p/x", "brief", false));
        world.hand.fetch_add(61_000, std::sync::atomic::Ordering::SeqCst);
        // The next write lets the owner look at the clock.
        writer.put("p/y", "1").await;
        let mut seen = [short(&watcher.message().await), short(&watcher.message().await)];
        seen.sort();
        assert_eq!(seen, [is("p/x", "", false), is("p/y", "1", false)]);
    });
}

#[test]
fn order_holds_between_a_publishers_states_and_events() {
    with_plain_door(|world| async move {
        let mut watcher = world.client(V3, "watcher").await;
        watcher.subscribe("o", Qos::AtMostOnce).await;
        let mut writer = world.client(V3, "writer").await;
        let messages: Vec<_> = (0..60)
            .map(|n| {
                let payload = n.to_string();
                let message =
                    if n % 3 == 0 { publish("o", &payload, Q0) } else { retained("o", &payload, Q0) };
                Packet::Publish(message)
            })
            .collect();
        writer.send_all(&messages).await;
        for n in 0..60 {
            assert_eq!(short(&watcher.message().await), is("o", &n.to_string(), false));
        }
    });
}

#[test]
fn a_failed_journal_refuses_and_what_is_unknown_is_not_answered() {
    with_plain_door(|world| async move {
        let mut client = world.client(V5, "writer").await;
        let reader = Arc::new(world.client(V5, "reader").await);
        world.journal.fail_append(0, dovetail_journal::memory::Fault::PoisonLost);
        client.send(&Packet::Publish(retained("a", "x", Delivery::AtLeastOnce(id(1))))).await;
        assert_eq!(client.end().await, ReasonCode::UnspecifiedError);
        let mut client = world.client(V5, "writer").await;
        let ack = client.publish(retained("a", "x", Q0)).await;
        assert_eq!(ack.reason, ReasonCode::UnspecifiedError);
        assert!(ack.properties.reason_string().unwrap().contains("only reads"));
        drop(reader);
    });
}
