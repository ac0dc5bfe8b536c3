//! SUBSCRIBE: baseline then live, tracked subscriptions, `QoS`, slow clients.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use bytes::Bytes;
use common::{
    Client, V3, V5, World, connect, id, is, properties, publish, retained, short, text, user, with_door,
    with_plain_door,
};
use dovetail_door_mqtt::Options;
use dovetail_engine::Verb;
use dovetail_model::Representation;
use dovetail_mqtt_proto::{
    Ack, Connect, Delivery, Packet, Properties, Property, Publish, Qos, ReasonCode, RetainHandling,
    Subscribe, SubscribeOptions, Subscription, Unsubscribe,
};
use std::time::Duration;

const Q0: Delivery = Delivery::AtMostOnce;

fn put(payload: &str) -> Verb {
    Verb::Put { representation: Representation::copied(payload.as_bytes(), None), time_to_live: None }
}

#[test]
fn the_baseline_comes_first_and_then_what_happens() {
    with_plain_door(|world| async move {
        world.put("a/1", "one").await;
        world.put("a/2", "two").await;
        world.put("a/3", "three").await;
        world.delete("a/2").await;
        world.put("b", "other").await;
        for version in [V3, V5] {
            let mut client = world.client(version, "watcher").await;
            client.subscribe("a/+", Qos::AtMostOnce).await;
            assert_eq!(short(&client.message().await), is("a/1", "one", true));
            assert_eq!(short(&client.message().await), is("a/3", "three", true));
            world.put("a/1", "1").await;
            world.put("b", "no").await;
            world.delete("a/3").await;
            world.put("a/3", "three").await;
            assert_eq!(short(&client.message().await), is("a/1", "1", false));
            assert_eq!(short(&client.message().await), is("a/3", "", false), "a delete is an empty payload");
            assert_eq!(short(&client.message().await), is("a/3", "three", false));
            world.put("a/1", "one").await;
            assert_eq!(short(&client.message().await), is("a/1", "one", false));
        }
    });
}

#[test]
fn several_filters_are_answered_one_by_one() {
    with_door(Options { subscriptions: 3, ..Options::default() }, |world| async move {
        let filters = ["ok", "$share/g/x", "$dovetail/#", "also", "third", "fourth", "ok"];
        let subscriptions = filters.map(|filter| Subscription {
            filter: text(filter),
            options: SubscribeOptions::new(Qos::AtLeastOnce),
        });
        for version in [V3, V5] {
            let mut client = world.client(version, "watcher").await;
            let subscribe =
                Subscribe { id: id(1), properties: Properties::NONE, subscriptions: subscriptions.to_vec() };
            client.send(&Packet::Subscribe(subscribe)).await;
            let Packet::SubAck(ack) = client.next().await else { panic!("no SUBACK") };
            let expected = [
                ReasonCode::GrantedQos1,
                ReasonCode::GrantedQos1,
                ReasonCode::NotAuthorized,
                ReasonCode::GrantedQos1,
                ReasonCode::QuotaExceeded,
                ReasonCode::QuotaExceeded,
                ReasonCode::GrantedQos1,
            ];
            let refused = ReasonCode::UnspecifiedError;
            let expected =
                expected.map(|reason| if version.is_v5() || !reason.is_error() { reason } else { refused });
            assert_eq!(ack.reasons, expected);
        }
    });
}

#[test]
fn unsubscribing_ends_delivery() {
    with_plain_door(|world| async move {
        let mut client = world.client(V5, "watcher").await;
        client.subscribe("a", Qos::AtMostOnce).await;
        client.subscribe("b", Qos::AtMostOnce).await;
        let filters = vec![text("a"), text("never")];
        client
            .send(&Packet::Unsubscribe(Unsubscribe { id: id(9), properties: Properties::NONE, filters }))
            .await;
        let Packet::UnsubAck(ack) = client.next().await else { panic!("no UNSUBACK") };
        assert_eq!(ack.reasons, [ReasonCode::Success, ReasonCode::NoSubscriptionExisted]);
        world.put("a", "silent").await;
        world.put("b", "heard").await;
        assert_eq!(short(&client.message().await), is("b", "heard", false));
    });
}

#[test]
fn retain_handling_and_retain_as_published() {
    with_plain_door(|world| async move {
        world.put("r", "state").await;
        let options = |retain_handling, retain_as_published| SubscribeOptions {
            retain_handling,
            retain_as_published,
            ..SubscribeOptions::new(Qos::AtMostOnce)
        };
        let mut client = world.client(V5, "watcher").await;
        let none = Properties::NONE;
        client.subscribe_with("r", options(RetainHandling::SendIfNew, true), none.clone()).await;
        assert_eq!(short(&client.message().await), is("r", "state", true));
        client.subscribe_with("r", options(RetainHandling::SendIfNew, true), none.clone()).await;
        client.subscribe_with("r", options(RetainHandling::Send, true), none.clone()).await;
        assert_eq!(short(&client.message().await), is("r", "state", true), "once, for the second of the two");
        client.subscribe_with("r", options(RetainHandling::DoNotSend, true), none).await;
        let mut writer = world.client(V5, "writer").await;
        writer.put("r", "2").await;
        writer.publish(publish("r", "event", Q0)).await;
        writer.put("r", "").await;
        assert_eq!(short(&client.message().await), is("r", "2", true));
        assert_eq!(short(&client.message().await), is("r", "event", false));
        assert_eq!(short(&client.message().await), is("r", "", true));
    });
}

#[test]
fn subscribing_again_tells_the_state_again_and_loses_nothing() {
    with_plain_door(|world| async move {
        for n in 0..5 {
            world.put(&format!("s/{n}"), "state").await;
        }
        let mut client = world.client(V3, "watcher").await;
        client.subscribe("s/#", Qos::AtLeastOnce).await;
        for n in 0..5 {
            assert_eq!(short(&client.acknowledged().await), is(&format!("s/{n}"), "state", true));
        }
        client.subscribe("s/#", Qos::AtLeastOnce).await;
        for n in 0..5 {
            assert_eq!(short(&client.acknowledged().await), is(&format!("s/{n}"), "state", true));
        }
        let mut writer = world.client(V3, "writer").await;
        writer.publish(publish("s/event", "1", Q0)).await;
        assert_eq!(short(&client.acknowledged().await), is("s/event", "1", false), "once");
        writer.publish(publish("s/event", "2", Q0)).await;
        assert_eq!(short(&client.acknowledged().await), is("s/event", "2", false));
    });
}

#[test]
fn no_local_leaves_out_ones_own_messages() {
    with_plain_door(|world| async move {
        let mut client = world.client(V5, "both").await;
        let options = SubscribeOptions { no_local: true, ..SubscribeOptions::new(Qos::AtMostOnce) };
        client.subscribe_with("n/#", options, Properties::NONE).await;
        client.put("n/state", "own").await;
        assert_eq!(client.publish(publish("n/event", "own", Q0)).await.reason, ReasonCode::Success);
        let mut other = world.client(V5, "other").await;
        other.put("n/state", "other").await;
        assert_eq!(short(&client.message().await), is("n/state", "other", false));
    });
}

#[test]
fn subscription_identifiers_come_with_each_message() {
    with_plain_door(|world| async move {
        let mut client = world.client(V5, "watcher").await;
        for (filter, identifier) in [("i/#", 7), ("i/x", 300)] {
            let identifier = properties(&[Property::SubscriptionIdentifier(identifier)]);
            client.subscribe_with(filter, SubscribeOptions::new(Qos::AtMostOnce), identifier).await;
        }
        world.put("i/x", "1").await;
        let mut identifiers = Vec::new();
        for _ in 0..2 {
            identifiers.extend(client.message().await.properties.subscription_identifiers());
        }
        identifiers.sort_unstable();
        assert_eq!(identifiers, [7, 300]);
    });
}

#[test]
fn events_reach_who_is_there_and_nobody_later() {
    with_plain_door(|world| async move {
        let mut writer = world.client(V3, "writer").await;
        let mut here = world.client(V3, "here").await;
        here.subscribe("e", Qos::ExactlyOnce).await;
        writer.send(&Packet::Publish(publish("e", "x", Delivery::ExactlyOnce(id(900))))).await;
        assert_eq!(writer.next().await, Packet::PubRec(Ack::new(id(900), ReasonCode::Success)));
        let message = here.message().await;
        let Delivery::ExactlyOnce(given) = message.delivery else { panic!("{message:?}") };
        here.send(&Packet::PubRec(Ack::new(given, ReasonCode::Success))).await;
        assert_eq!(here.next().await, Packet::PubRel(Ack::new(given, ReasonCode::Success)));
        here.send(&Packet::PubComp(Ack::new(given, ReasonCode::Success))).await;
        let mut late = world.client(V3, "late").await;
        late.subscribe("e", Qos::AtMostOnce).await;
        writer.publish(publish("e", "y", Q0)).await;
        assert_eq!(short(&late.message().await), is("e", "y", false));
    });
}

// Flow control.

#[test]
fn a_window_of_one_carries_a_large_baseline_and_a_large_commit() {
    with_plain_door(|world| async move {
        let names: Vec<_> = (0..50).map(|n| format!("w/{n:02}")).collect();
        let batch =
            |payload: &str| names.iter().map(|name| (name.as_str(), put(payload))).collect::<Vec<_>>();
        world.write(&batch("old")).await;
        let one = properties(&[Property::ReceiveMaximum(1)]);
        let (mut client, _) = world.connected(Connect { properties: one, ..connect(V5, "narrow") }).await;
        client.subscribe("w/#", Qos::AtLeastOnce).await;
        for name in &names {
            let message = client.message().await;
            assert_eq!(short(&message), is(name, "old", true));
            client.ping().await;
            let ack = Ack::new(message.delivery.id().unwrap(), ReasonCode::Success);
            client.send(&Packet::PubAck(ack)).await;
        }
        world.write(&batch("new")).await;
        for name in &names {
            assert_eq!(short(&client.acknowledged().await), is(name, "new", false));
        }
    });
}

#[test]
fn messages_that_are_too_large_are_left_out_and_others_come() {
    with_plain_door(|world| async move {
        let small = properties(&[Property::MaximumPacketSize(100)]);
        let (mut client, _) = world.connected(Connect { properties: small, ..connect(V5, "small") }).await;
        client.subscribe("m/#", Qos::AtLeastOnce).await;
        world.put("m/large", &"x".repeat(200)).await;
        world.put("m/small", "x").await;
        assert_eq!(short(&client.acknowledged().await), is("m/small", "x", false));
        assert_eq!(world.door.counters().read().too_large, 1);
    });
}

#[test]
fn who_does_not_read_holds_nobody_up_and_ends_with_the_newest_state() {
    with_plain_door(|world| async move {
        let mut slow = world.client(V3, "slow").await;
        slow.subscribe("s/#", Qos::AtMostOnce).await;
        let mut fast = world.client(V3, "fast").await;
        fast.subscribe("s/last", Qos::AtMostOnce).await;
        // Far more than pipe, output and pending list hold together.
        let payload = "x".repeat(10_000);
        for round in 0..40 {
            for name in 0..10 {
                world.put(&format!("s/{name}"), &format!("{round}:{payload}")).await;
            }
        }
        world.put("s/last", "done").await;
        assert_eq!(short(&fast.message().await), is("s/last", "done", false));
        let mut state = std::collections::BTreeMap::new();
        let mut count = 0;
        loop {
            let message = slow.message().await;
            if message.topic == "s/last" {
                break;
            }
            count += 1;
            state.insert(message.topic.to_string(), message.payload);
        }
        assert!(count < 400, "a latest feed leaves out what is overwritten");
        assert!(state.len() == 10 && state.values().all(|payload| payload.starts_with(b"39:")));
    });
}

#[test]
fn large_messages_go_to_many() {
    with_plain_door(|world| async move {
        let payload = Bytes::from((0..300_000_u32).map(|n| n as u8).collect::<Vec<_>>());
        let mut clients = Vec::new();
        for (n, version) in [V3, V5, V5].into_iter().enumerate() {
            let mut client = world.client(version, &format!("c{n}")).await;
            client.subscribe("big", Qos::AtLeastOnce).await;
            clients.push(client);
        }
        let mut writer = world.client(V5, "writer").await;
        let message = Publish { payload: payload.clone(), ..retained("big", "", Q0) };
        assert_eq!(writer.publish(message).await.reason, ReasonCode::Success);
        for client in &mut clients {
            assert!(client.acknowledged().await.payload == payload);
        }
    });
}

// Tracked subscriptions.

/// What a tracked client knows: every message moves it by the rule of `after`.
struct Position(String);

impl Position {
    /// Checks a live message and moves on.
    fn follow(&mut self, message: &Publish) {
        assert_eq!(user(message, "after"), Some(self.0.as_str()), "a gap before {message:?}");
        if user(message, "more").is_none() {
            user(message, "rev").unwrap().clone_into(&mut self.0);
        }
    }
}

fn control(message: &Publish) -> (String, String) {
    assert_eq!(message.properties.content_type(), Some("application/json"));
    (message.topic.to_string(), String::from_utf8(message.payload.to_vec()).unwrap())
}

fn head_of(world: &World) -> String {
    world.engine.head().to_string()
}

#[test]
fn a_tracked_subscription_says_where_everything_stands() {
    with_plain_door(|world| async move {
        let one = world.put("t/1", "one").await.to_string();
        world.put("else", "where").await;
        let mut client = world.client(V5, "tracker").await;
        assert_eq!(client.track("t/#", Qos::AtLeastOnce, "").await.reasons, [ReasonCode::GrantedQos1]);
        let message = client.acknowledged().await;
        assert_eq!(short(&message), is("t/1", "one", true));
        assert_eq!(
            [user(&message, "rev"), user(&message, "op"), user(&message, "after")],
            [Some(one.as_str()), Some("put"), None]
        );
        let head = head_of(&world);
        let sync = client.acknowledged().await;
        assert_eq!(
            control(&sync),
            ("$feed/sync".to_owned(), format!("{{\"filter\":\"t/#\",\"rev\":\"{head}\"}}"))
        );
        let mut position = Position(head);
        world.put("else", "again").await;
        world.put("t/2", "two").await;
        let message = client.acknowledged().await;
        assert_eq!((short(&message), user(&message, "op")), (is("t/2", "two", false), Some("put")));
        position.follow(&message);
        world.delete("t/1").await;
        let message = client.acknowledged().await;
        assert_eq!((short(&message), user(&message, "op")), (is("t/1", "", false), Some("delete")));
        position.follow(&message);
        let mut writer = world.client(V5, "writer").await;
        writer.publish(publish("t/e", "event", Q0)).await;
        let message = client.acknowledged().await;
        assert_eq!((short(&message), user(&message, "op")), (is("t/e", "event", false), Some("event")));
        position.follow(&message);
        world.write(&[("t/a", put("1")), ("x", put("2")), ("t/b", put("3")), ("t/2", Verb::DELETE)]).await;
        for (expected, more) in [("t/a", Some("2")), ("t/b", Some("1")), ("t/2", None)] {
            let message = client.acknowledged().await;
            assert_eq!((message.topic.as_str(), user(&message, "more")), (expected, more));
            position.follow(&message);
        }
        assert_eq!(position.0, head_of(&world));
    });
}

#[test]
fn a_tracked_subscription_continues_where_it_was() {
    with_plain_door(|world| async move {
        let since = world.put("t/1", "old").await.to_string();
        world.put("t/1", "new").await;
        world.delete("t/1").await;
        world.put("t/2", "two").await;
        // QoS 1 gets every entry, QoS 0 the newest states.
        for (qos, expected) in [(Qos::AtLeastOnce, &["new", "", "two"][..]), (Qos::AtMostOnce, &["", "two"])]
        {
            let mut client = world.client(V5, "tracker").await;
            client.track("t/#", qos, &since).await;
            let mut position = Position(since.clone());
            for payload in expected {
                let message = client.message().await;
                assert_eq!(message.payload, payload.as_bytes());
                position.follow(&message);
            }
            let progress = client.message().await;
            let (topic, payload) = control(&progress);
            let head = head_of(&world);
            assert_eq!(topic, "$feed/progress");
            assert_eq!(payload, format!("{{\"filter\":\"t/#\",\"after\":\"{head}\",\"rev\":\"{head}\"}}"));
        }
    });
}

#[test]
fn a_tracked_subscription_from_now_says_where_now_is() {
    with_plain_door(|world| async move {
        world.put("t/1", "old").await;
        let mut client = world.client(V5, "tracker").await;
        client.track("t/#", Qos::AtMostOnce, "now").await;
        let head = head_of(&world);
        assert_eq!(
            control(&client.message().await).1,
            format!("{{\"filter\":\"t/#\",\"after\":\"{head}\",\"rev\":\"{head}\"}}")
        );
        world.put("t/1", "new").await;
        Position(head).follow(&client.message().await);
    });
}

#[test]
fn a_position_that_cannot_be_continued_is_reset() {
    with_plain_door(|world| async move {
        world.put("t/1", "one").await;
        let head = world.engine.head();
        let future = head.epoch.at(head.number + 1).to_string();
        for (since, reason) in [("zzzzzzzz.1", "epoch"), (future.as_str(), "future")] {
            let mut client = world.client(V5, "tracker").await;
            client.track("t/#", Qos::AtMostOnce, since).await;
            let expected = format!("{{\"filter\":\"t/#\",\"reason\":\"{reason}\",\"rev\":\"{head}\"}}");
            assert_eq!(control(&client.message().await), ("$feed/reset".to_owned(), expected));
            assert_eq!(short(&client.message().await), is("t/1", "one", true));
            assert_eq!(control(&client.message().await).0, "$feed/sync");
        }
        let mut client = world.client(V5, "tracker").await;
        let ack = client.track("t/#", Qos::AtMostOnce, "yesterday").await;
        assert_eq!(ack.reasons, [ReasonCode::ImplementationSpecificError]);
        assert!(ack.properties.reason_string().unwrap().contains("since is a revision"));
    });
}

#[test]
fn a_silent_tracked_subscription_says_how_far_it_is() {
    let options = Options { progress: Duration::from_millis(30), ..Options::default() };
    with_door(options, |world| async move {
        world.put("x", "1").await;
        let mut client = world.client(V5, "tracker").await;
        client.track("t/#", Qos::AtLeastOnce, "").await;
        let mut position = head_of(&world);
        assert_eq!(control(&client.acknowledged().await).0, "$feed/sync");
        for _ in 0..3 {
            world.put("x", "2").await;
            let head = head_of(&world);
            loop {
                let (topic, payload) = control(&client.acknowledged().await);
                assert_eq!(topic, "$feed/progress");
                assert!(payload.contains(&format!("\"after\":\"{position}\"")), "{payload} after {position}");
                if payload.contains(&format!("\"rev\":\"{head}\"")) {
                    break;
                }
            }
            position = head;
        }
    });
}

#[test]
fn plain_subscribers_never_see_control_messages_or_positions() {
    let options = Options { progress: Duration::from_millis(10), ..Options::default() };
    with_door(options, |world| async move {
        world.put("p/1", "one").await;
        let mut tracker: Client = world.client(V5, "tracker").await;
        tracker.track("p/#", Qos::AtMostOnce, "now").await;
        let mut client = world.client(V5, "plain").await;
        client.subscribe("$feed/#", Qos::AtMostOnce).await;
        client.subscribe("p/#", Qos::AtMostOnce).await;
        assert_eq!(client.message().await.properties, Properties::NONE);
        // Progress is due for the other one meanwhile.
        for _ in 0..3 {
            assert_eq!(control(&tracker.message().await).0, "$feed/progress");
        }
        world.put("p/2", "two").await;
        let message = client.message().await;
        assert_eq!((short(&message), message.properties), (is("p/2", "two", false), Properties::NONE));
    });
}

#[test]
fn changes_as_json_for_clients_without_properties() {
    with_plain_door(|world| async move {
        world.put("c/1", "one").await;
        let mut client = world.client(V3, "json").await;
        client.subscribe("$changes/c/#", Qos::AtMostOnce).await;
        let next = async |client: &mut Client| {
            let message = client.message().await;
            (message.topic.to_string(), String::from_utf8(message.payload.to_vec()).unwrap())
        };
        let (topic, frame) = next(&mut client).await;
        assert!(
            topic == "$feed/baseline" && frame.contains("\"type\":\"baseline-begin\""),
            "{topic} {frame}"
        );
        let (topic, frame) = next(&mut client).await;
        assert!(topic == "$changes/c/1" && frame.contains("\"type\":\"item\""), "{topic} {frame}");
        let head = head_of(&world);
        let (topic, frame) = next(&mut client).await;
        assert_eq!(
            (topic.as_str(), frame),
            ("$feed/sync", format!("{{\"type\":\"baseline-end\",\"rev\":\"{head}\"}}"))
        );
        world.write(&[("c/1", Verb::DELETE), ("c/2", put("two"))]).await;
        let (topic, frame) = next(&mut client).await;
        assert!(
            topic == "$changes/c/1" && frame.contains(&format!("\"after\":\"{head}\"")),
            "{topic} {frame}"
        );
        assert!(frame.contains("\"c/2\""), "a commit is one frame: {frame}");
        assert_eq!(
            client
                .subscribe_with(
                    "$changes/$dovetail/#",
                    SubscribeOptions::new(Qos::AtMostOnce),
                    Properties::NONE
                )
                .await
                .reasons,
            [ReasonCode::UnspecifiedError]
        );
    });
}

/// Few subscriptions are looked through, many have an index: both find each by its name and by its feed.
#[test]
fn each_of_many_subscriptions_is_found() {
    with_plain_door(|world| async move {
        let mut client = world.client(V5, "many").await;
        let names: Vec<String> = (0..40).map(|number| format!("many/{}", number * 7 % 40)).collect();
        for name in &names {
            client.subscribe(name, Qos::AtMostOnce).await;
        }
        for name in names.iter().step_by(3) {
            let id = client.id();
            let filters = vec![text(name), text("many/none")];
            let unsubscribe = Unsubscribe { id, properties: Properties::NONE, filters };
            client.send(&Packet::Unsubscribe(unsubscribe)).await;
            let Packet::UnsubAck(answer) = client.next().await else { panic!("an UNSUBACK") };
            assert_eq!(answer.reasons, [ReasonCode::Success, ReasonCode::NoSubscriptionExisted], "{name}");
        }
        let left: Vec<&String> =
            names.iter().enumerate().filter(|(at, _)| at % 3 != 0).map(|(_, n)| n).collect();
        for name in &names {
            world.put(name, "1").await;
        }
        let told: Vec<_> = client.take(left.len()).await.iter().map(short).collect();
        assert_eq!(told, left.iter().map(|name| is(name, "1", false)).collect::<Vec<_>>());
        // Made again, a subscription goes on with its feed and tells its state once more.
        for name in &left {
            client.subscribe(name, Qos::AtMostOnce).await;
            assert_eq!(short(&client.message().await), is(name, "1", true));
        }
        world.put(left[0], "2").await;
        assert_eq!(short(&client.message().await), is(left[0], "2", false));
        client.ping().await;
    });
}
