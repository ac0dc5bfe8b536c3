//! Statements of the standard that take several clients to observe. `docs/mqtt-conformance.md` lists all of them.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{
    Client, V3, V5, World, connect, id, is, properties, publish, retained, session, short, text,
    with_plain_door,
};
use dovetail_mqtt_proto::{
    Ack, Connect, Delivery, Packet, Properties, Property, Publish, Qos, ReasonCode, SubscribeOptions,
    Unsubscribe, Will,
};

/// Publishes at this level and waits until the server has taken it.
async fn publish_at(client: &mut Client, qos: Qos, message: Publish) {
    let number = client.id();
    let delivery = match qos {
        Qos::AtMostOnce => Delivery::AtMostOnce,
        Qos::AtLeastOnce => Delivery::AtLeastOnce(number),
        Qos::ExactlyOnce => Delivery::ExactlyOnce(number),
    };
    client.send(&Packet::Publish(Publish { delivery, ..message })).await;
    match qos {
        Qos::AtMostOnce => client.ping().await,
        Qos::AtLeastOnce => {
            assert_eq!(client.next().await, Packet::PubAck(Ack::new(number, ReasonCode::Success)));
        }
        Qos::ExactlyOnce => {
            assert_eq!(client.next().await, Packet::PubRec(Ack::new(number, ReasonCode::Success)));
            client.send(&Packet::PubRel(Ack::new(number, ReasonCode::Success))).await;
            assert_eq!(client.next().await, Packet::PubComp(Ack::new(number, ReasonCode::Success)));
        }
    }
}

/// What comes to a new client for `filter`, up to an event that ends the listing.
async fn retained_for(world: &World, filter: &str, marker: &str) -> Vec<(String, String)> {
    let mut client = world.client(V3, "looks").await;
    client.subscribe(filter, Qos::AtMostOnce).await;
    client.send(&Packet::Publish(publish(marker, "end", Delivery::AtMostOnce))).await;
    let mut listed = Vec::new();
    loop {
        let (topic, payload, retain) = short(&client.message().await);
        if !retain {
            assert_eq!((topic.as_str(), payload.as_str()), (marker, "end"));
            return listed;
        }
        listed.push((topic, payload));
    }
}

/// `[MQTT-3.3.1-3]`
#[test]
fn dup_is_between_two() {
    with_plain_door(|world| async move {
        let mut subscriber = world.client(V5, "subscriber").await;
        subscriber.subscribe("d/#", Qos::ExactlyOnce).await;
        let mut publisher = world.client(V3, "publisher").await;
        let again = |number, message: Publish| {
            Packet::Publish(Publish { dup: true, delivery: Delivery::AtLeastOnce(id(number)), ..message })
        };
        publisher.send(&again(1, publish("d/event", "x", Delivery::AtMostOnce))).await;
        assert!(!subscriber.message().await.dup);
        publisher.send(&again(2, retained("d/state", "x", Delivery::AtMostOnce))).await;
        assert!(!subscriber.message().await.dup);
    });
}

/// `[MQTT-3.3.1-5]`, 3.1.1 `[MQTT-3.3.1-7]`
#[test]
fn the_last_retained_message_is_the_one_that_is_kept() {
    with_plain_door(|world| async move {
        let mut publisher = world.client(V5, "publisher").await;
        for (qos, payload) in [
            (Qos::AtLeastOnce, "one"),
            (Qos::AtMostOnce, "none"),
            (Qos::ExactlyOnce, "two"),
            (Qos::AtMostOnce, "last"),
        ] {
            publish_at(&mut publisher, qos, retained("k/x", payload, Delivery::AtMostOnce)).await;
        }
        // Something that is acknowledged, so that what was before it is done.
        publisher.put("k/y", "done").await;
        let both = [("k/x".to_owned(), "last".to_owned()), ("k/y".to_owned(), "done".to_owned())];
        assert_eq!(retained_for(&world, "k/#", "k/end").await, both);
    });
}

/// `[MQTT-3.3.1-6]`, `[MQTT-3.3.1-7]`
#[test]
fn an_empty_retained_message_removes_and_is_told() {
    with_plain_door(|world| async move {
        let mut publisher = world.client(V5, "publisher").await;
        let mut subscriber = world.client(V5, "subscriber").await;
        subscriber.subscribe("e/#", Qos::AtLeastOnce).await;
        for payload in ["value", "", "", "again", ""] {
            publisher.publish(retained("e/x", payload, Delivery::AtMostOnce)).await;
        }
        let mut told = Vec::new();
        while told.len() < 4 || told.last() != Some(&String::new()) {
            told.push(short(&subscriber.acknowledged().await).1);
        }
        assert_eq!(told.iter().filter(|payload| !payload.is_empty()).collect::<Vec<_>>(), ["value", "again"]);
        assert_eq!(told[1], "", "{told:?}");
        assert_eq!(retained_for(&world, "e/#", "e/end").await, []);
    });
}

/// 3.1.1 `[MQTT-3.1.2-7]`
#[test]
fn retained_messages_outlive_the_session_of_their_client() {
    with_plain_door(|world| async move {
        for version in [V3, V5] {
            let mut publisher = world.client(version, "publisher").await;
            publisher.put("s/x", "kept").await;
            publisher.disconnect(ReasonCode::Success).await;
            // Its next session begins from nothing.
            world.client(version, "publisher").await.ping().await;
            let kept = [("s/x".to_owned(), "kept".to_owned())];
            assert_eq!(retained_for(&world, "s/#", "s/end").await, kept);
        }
    });
}

/// `[MQTT-3.1.3-10]`
#[test]
fn a_will_is_published_with_all_its_properties_in_their_order() {
    with_plain_door(|world| async move {
        let mut subscriber = world.client(V5, "subscriber").await;
        subscriber.subscribe("w/#", Qos::AtMostOnce).await;
        let wanted = [
            Property::PayloadFormat(true),
            Property::ContentType("text/plain"),
            Property::ResponseTopic("w/answer"),
            Property::CorrelationData(&[0, 255]),
            Property::User("b", "1"),
            Property::User("a", "2"),
            Property::User("b", "1"),
        ];
        let will = Will {
            qos: Qos::AtMostOnce,
            retain: false,
            properties: properties(&wanted),
            topic: text("w/x"),
            payload: Bytes::from_static(b"gone"),
        };
        let (mut client, _) = world.connected(Connect { will: Some(will), ..connect(V5, "client") }).await;
        client.vanish();
        let message = subscriber.message().await;
        let properties = &message.properties;
        assert_eq!(properties.payload_format(), Some(true));
        assert_eq!(properties.content_type(), Some("text/plain"));
        assert_eq!(properties.response_topic(), Some("w/answer"));
        assert_eq!(properties.correlation_data(), Some(&[0, 255][..]));
        assert_eq!(properties.user().collect::<Vec<_>>(), [("b", "1"), ("a", "2"), ("b", "1")]);
    });
}

/// `[MQTT-3.3.2-3]`, `[MQTT-4.7.3-4]`
#[test]
fn names_match_as_they_are_written() {
    with_plain_door(|world| async move {
        let mut publisher = world.client(V5, "publisher").await;
        // The last two look alike: one letter, and a letter with an accent of its own.
        let names = ["n/a", "n/A", "n//a", "n/a/", "/n/a", "n/ a", "n/\u{e9}", "n/e\u{301}"];
        for name in names {
            publisher.put(name, name).await;
        }
        for name in names {
            let only = [(name.to_owned(), name.to_owned())];
            assert_eq!(retained_for(&world, name, name).await, only);
        }
        let rows: [(&str, &[&str]); 4] = [
            ("n/+", &["n/ a", "n/A", "n/a", "n/e\u{301}", "n/\u{e9}"]),
            ("n/+/", &["n/a/"]),
            ("+/n/#", &["/n/a"]),
            ("n/a/#", &["n/a", "n/a/"]),
        ];
        for (filter, expected) in rows {
            let marker = if filter == "n/a/#" { "n/a/end" } else { expected[0] };
            let mut listed: Vec<String> =
                retained_for(&world, filter, marker).await.into_iter().map(|(name, _)| name).collect();
            listed.sort();
            assert_eq!(listed, expected, "{filter}");
        }
    });
}

/// `[MQTT-3.3.4-2]`, `[MQTT-3.3.4-3]`, `[MQTT-3.3.4-5]`
#[test]
fn overlapping_subscriptions_each_bring_the_message() {
    with_plain_door(|world| async move {
        let mut subscriber = world.client(V5, "subscriber").await;
        let rows = [("o/#", Qos::AtLeastOnce, 7), ("o/+", Qos::ExactlyOnce, 8), ("o/x", Qos::AtMostOnce, 9)];
        for (filter, qos, number) in rows {
            let identifier = properties(&[Property::SubscriptionIdentifier(number)]);
            subscriber.subscribe_with(filter, SubscribeOptions::new(qos), identifier).await;
        }
        let mut publisher = world.client(V5, "publisher").await;
        publish_at(&mut publisher, Qos::ExactlyOnce, publish("o/x", "once", Delivery::AtMostOnce)).await;
        let mut came = Vec::new();
        for _ in 0..3 {
            let message = subscriber.message().await;
            assert_eq!(short(&message), is("o/x", "once", false));
            let identifiers: Vec<u32> = message.properties.subscription_identifiers().collect();
            came.push((identifiers, message.delivery.qos()));
        }
        came.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(
            came,
            [(vec![7], Qos::AtLeastOnce), (vec![8], Qos::ExactlyOnce), (vec![9], Qos::AtMostOnce)]
        );
    });
}

/// `[MQTT-3.10.4-1]`, `[MQTT-3.10.4-2]`
#[test]
fn unsubscribing_takes_exactly_the_filters_that_are_named() {
    with_plain_door(|world| async move {
        let mut subscriber = world.client(V5, "subscriber").await;
        for filter in ["u/+", "u/a", "U/a"] {
            subscriber.subscribe(filter, Qos::AtMostOnce).await;
        }
        let filters = ["u/A", "u/#", "u/+/", "u/+"].map(text).to_vec();
        let request = Unsubscribe { id: id(99), properties: Properties::NONE, filters };
        subscriber.send(&Packet::Unsubscribe(request)).await;
        let Packet::UnsubAck(ack) = subscriber.next().await else { panic!("no UNSUBACK") };
        let none = ReasonCode::NoSubscriptionExisted;
        assert_eq!(ack.reasons, [none, none, none, ReasonCode::Success]);
        let mut publisher = world.client(V5, "publisher").await;
        for topic in ["u/b", "u/a", "U/a"] {
            publisher.publish(publish(topic, "x", Delivery::AtMostOnce)).await;
        }
        assert_eq!(short(&subscriber.message().await), is("u/a", "x", false));
        assert_eq!(short(&subscriber.message().await), is("U/a", "x", false));
    });
}

/// `[MQTT-4.6.0-5]`, `[MQTT-4.6.0-6]`
#[test]
fn messages_keep_their_order() {
    with_plain_door(|world| async move {
        let mut publisher = world.client(V5, "publisher").await;
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut subscriber = world.client(V5, "subscriber").await;
            subscriber.subscribe("m/x", qos).await;
            let numbers: Vec<String> = (0..40).map(|number| number.to_string()).collect();
            for number in &numbers {
                publish_at(&mut publisher, qos, publish("m/x", number, Delivery::AtMostOnce)).await;
            }
            for number in &numbers {
                let message = subscriber.message().await;
                assert_eq!(short(&message), is("m/x", number, false));
                if let Delivery::AtLeastOnce(id) = message.delivery {
                    subscriber.send(&Packet::PubAck(Ack::new(id, ReasonCode::Success))).await;
                }
            }
        }
    });
}

/// Publishes with `QoS` 2 and lets the subscriber, which has a session, vanish before it has answered.
async fn sent_and_left(
    world: &World,
    subscriber: &mut Client,
    topic: &str,
    properties: Properties,
) -> Publish {
    let mut publisher = world.client(V5, "publisher").await;
    let message = Publish { properties, ..publish(topic, "x", Delivery::AtMostOnce) };
    publish_at(&mut publisher, Qos::ExactlyOnce, message).await;
    publisher.disconnect(ReasonCode::Success).await;
    let sent = subscriber.message().await;
    assert_eq!(sent.delivery.qos(), Qos::ExactlyOnce);
    subscriber.vanish();
    sent
}

/// The client comes back and gets the message to its end.
async fn sent_again(world: &World, name: &str, sent: &Publish) {
    let (mut client, ack) = world.connected(session(V5, name, 300)).await;
    assert!(ack.session_present);
    let again = client.message().await;
    assert!(again.dup);
    assert_eq!((&again.topic, &again.payload, again.delivery), (&sent.topic, &sent.payload, sent.delivery));
    let id = sent.delivery.id().unwrap();
    client.send(&Packet::PubRec(Ack::new(id, ReasonCode::Success))).await;
    assert_eq!(client.next().await, Packet::PubRel(Ack::new(id, ReasonCode::Success)));
    client.send(&Packet::PubComp(Ack::new(id, ReasonCode::Success))).await;
    client.ping().await;
}

/// `[MQTT-4.3.3-7]`
#[test]
fn a_message_that_was_sent_does_not_expire() {
    with_plain_door(|world| async move {
        let mut subscriber = world.connected(session(V5, "subscriber", 300)).await.0;
        subscriber.subscribe("x/#", Qos::ExactlyOnce).await;
        let expiry = properties(&[Property::MessageExpiry(10)]);
        let sent = sent_and_left(&world, &mut subscriber, "x/event", expiry).await;
        world.pass(Duration::from_secs(20)).await;
        sent_again(&world, "subscriber", &sent).await;
    });
}

/// `[MQTT-4.8.2-4]`
#[test]
fn a_shared_message_on_its_way_with_qos_2_stays_with_its_member() {
    with_plain_door(|world| async move {
        let mut member = world.connected(session(V5, "member", 300)).await.0;
        member.subscribe("$share/g/y/#", Qos::ExactlyOnce).await;
        let sent = sent_and_left(&world, &mut member, "y/event", Properties::NONE).await;
        let mut other = world.client(V5, "other").await;
        other.subscribe("$share/g/y/#", Qos::ExactlyOnce).await;
        other.ping().await;
        sent_again(&world, "member", &sent).await;
        other.ping().await;
    });
}
