//! `QoS`: a message is delivered as surely as its publisher said and its subscriber was granted, whichever is less.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use common::{Client, V3, V5, connect, is, publish, retained, short, text, with_plain_door};
use dovetail_mqtt_proto::{
    Ack, Connect, Delivery, Packet, PacketId, Properties, Publish, Qos, ReasonCode, RetainHandling,
    SubscribeOptions, Will,
};

const ALL: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

/// Publishes with `qos`, to the end of its handshake.
async fn publish_with(client: &mut Client, qos: Qos, message: Publish) {
    let id = client.id();
    let delivery = match qos {
        Qos::AtMostOnce => Delivery::AtMostOnce,
        Qos::AtLeastOnce => Delivery::AtLeastOnce(id),
        Qos::ExactlyOnce => Delivery::ExactlyOnce(id),
    };
    client.send(&Packet::Publish(Publish { delivery, ..message })).await;
    let ack = Ack::new(id, ReasonCode::Success);
    match qos {
        // Writes of one client are done in order, so what came before this one is done, too.
        Qos::AtMostOnce => client.put("after/it", "x").await,
        Qos::AtLeastOnce => assert_eq!(client.next().await, Packet::PubAck(ack)),
        Qos::ExactlyOnce => {
            assert_eq!(client.next().await, Packet::PubRec(ack.clone()));
            client.send(&Packet::PubRel(ack.clone())).await;
            assert_eq!(client.next().await, Packet::PubComp(ack));
        }
    }
}

/// The next message, to the end of its handshake.
async fn taken(client: &mut Client) -> Publish {
    let message = client.message().await;
    let ack = |id: PacketId| Ack::new(id, ReasonCode::Success);
    match message.delivery {
        Delivery::AtMostOnce => {}
        Delivery::AtLeastOnce(id) => client.send(&Packet::PubAck(ack(id))).await,
        Delivery::ExactlyOnce(id) => {
            client.send(&Packet::PubRec(ack(id))).await;
            assert_eq!(client.next().await, Packet::PubRel(ack(id)));
            client.send(&Packet::PubComp(ack(id))).await;
        }
    }
    message
}

#[test]
fn the_lower_of_the_two_is_delivered_live_and_from_the_state() {
    with_plain_door(|world| async move {
        for version in [V3, V5] {
            let mut writer = world.client(version, "writer").await;
            for published in ALL {
                let name = format!("q/{version:?}/{}", published.bits());
                publish_with(&mut writer, published, retained(&name, "state", Delivery::AtMostOnce)).await;
                for granted in ALL {
                    let what = format!("published with {published:?}, granted {granted:?}");
                    let least = published.min(granted);
                    let mut reader = world.client(version, "reader").await;
                    reader.subscribe(&name, granted).await;
                    let message = taken(&mut reader).await;
                    assert_eq!(short(&message), is(&name, "state", true));
                    assert_eq!(message.delivery.qos(), least, "the state, {what}");
                    for retain in [true, false] {
                        let message = retained(&name, "state", Delivery::AtMostOnce);
                        publish_with(&mut writer, published, Publish { retain, ..message }).await;
                        let message = taken(&mut reader).await;
                        assert_eq!(short(&message), is(&name, "state", false));
                        assert_eq!(message.delivery.qos(), least, "RETAIN {retain}, {what}");
                    }
                }
            }
        }
    });
}

#[test]
fn what_rest_writes_lowers_nothing_and_a_patch_keeps_what_was_said() {
    with_plain_door(|world| async move {
        world.put("rest", "{}").await;
        let mut writer = world.client(V5, "writer").await;
        publish_with(&mut writer, Qos::AtMostOnce, retained("mqtt", "{}", Delivery::AtMostOnce)).await;
        let patch = dovetail_engine::Verb::MergePatch(bytes::Bytes::from_static(b"{\"a\":1}"));
        world.write(&[("mqtt", patch.clone()), ("rest", patch)]).await;
        let mut reader = world.client(V5, "reader").await;
        reader.subscribe("+", Qos::ExactlyOnce).await;
        let (mqtt, rest) = (taken(&mut reader).await, taken(&mut reader).await);
        assert_eq!((mqtt.topic.as_str(), mqtt.delivery), ("mqtt", Delivery::AtMostOnce));
        assert_eq!((rest.topic.as_str(), rest.delivery.qos()), ("rest", Qos::ExactlyOnce));
        assert_eq!(&rest.payload[..], b"{\"a\":1}");
    });
}

#[test]
fn a_will_is_delivered_as_it_says() {
    with_plain_door(|world| async move {
        for retain in [true, false] {
            let will = Will {
                qos: Qos::AtLeastOnce,
                retain,
                properties: Properties::NONE,
                topic: text("will"),
                payload: bytes::Bytes::from_static(b"gone"),
            };
            let mut reader = world.client(V3, "reader").await;
            let options = SubscribeOptions {
                retain_handling: RetainHandling::DoNotSend,
                ..SubscribeOptions::new(Qos::ExactlyOnce)
            };
            let mut v5 = world.client(V5, "v5").await;
            v5.subscribe_with("will", options, Properties::NONE).await;
            reader.subscribe("will", Qos::AtMostOnce).await;
            let connect = Connect { will: Some(will), ..connect(V3, "mortal") };
            world.connected(connect).await.0.vanish();
            assert_eq!(taken(&mut v5).await.delivery.qos(), Qos::AtLeastOnce);
            assert_eq!(taken(&mut reader).await.delivery.qos(), Qos::AtMostOnce);
        }
    });
}

#[test]
fn a_client_is_the_same_publisher_after_it_came_back() {
    with_plain_door(|world| async move {
        let head = world.put("n/other", "1").await.to_string();
        let mut client = world.client(V5, "both").await;
        client.put("n/own", "1").await;
        client.disconnect(ReasonCode::Success).await;
        world.put("n/other", "2").await;
        let mut client = world.client(V5, "both").await;
        let since = common::properties(&[dovetail_mqtt_proto::Property::User("since", &head)]);
        let options = SubscribeOptions { no_local: true, ..SubscribeOptions::new(Qos::AtLeastOnce) };
        client.subscribe_with("n/#", options, since).await;
        let message = client.acknowledged().await;
        assert_eq!(
            short(&message),
            is("n/other", "2", false),
            "its own is read from the journal and left out"
        );
        let mut somebody = world.client(V5, "somebody").await;
        somebody.publish(publish("n/event", "x", Delivery::AtMostOnce)).await;
        assert!(client.message().await.topic.as_str().starts_with("$feed/"));
    });
}

#[test]
fn a_delete_is_delivered_as_surely_as_it_was_published() {
    with_plain_door(|world| async move {
        let mut writer = world.client(V3, "writer").await;
        for published in ALL {
            for granted in ALL {
                world.put("d", "state").await;
                let mut reader = world.client(V5, "reader").await;
                reader.subscribe("d", granted).await;
                assert_eq!(taken(&mut reader).await.delivery.qos(), granted);
                publish_with(&mut writer, published, retained("d", "", Delivery::AtMostOnce)).await;
                let message = taken(&mut reader).await;
                assert_eq!(short(&message), is("d", "", false));
                assert_eq!(message.delivery.qos(), published.min(granted), "{published:?} {granted:?}");
            }
        }
        world.put("d", "state").await;
        let mut reader = world.client(V5, "reader").await;
        reader.subscribe("d", Qos::ExactlyOnce).await;
        taken(&mut reader).await;
        world.delete("d").await;
        assert_eq!(taken(&mut reader).await.delivery.qos(), Qos::ExactlyOnce, "REST lowers nothing");
    });
}
