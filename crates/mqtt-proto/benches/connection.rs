//! What one message costs a connection: in and answered, out and acknowledged, with topic aliases and without.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dovetail_mqtt_proto::{
    Accept, Ack, Connect, Connection, Delivery, Event, Frame, Limits, Outgoing, Packet, PacketId, Properties,
    PropertiesBuf, Property, Publish, Qos, ReasonCode, Sent, Text, Version,
};
use std::hint::black_box;
use std::time::Instant;

const V5: Version = Version::V5;

fn connected(aliases: u16, now: Instant) -> Connection {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::TopicAliasMaximum(aliases)).expect("a number");
    let connect = Connect {
        version: V5,
        clean_start: true,
        keep_alive: 60,
        properties: properties.into(),
        client_id: Text::new("bench").expect("short"),
        will: None,
        user_name: None,
        password: None,
    };
    let mut connection = Connection::new(Limits::default(), now);
    let bytes = encoded(&Packet::Connect(Box::new(connect)));
    assert!(connection.next_event(&mut bytes.as_slice(), now).is_some());
    connection.accept(Accept::default(), now);
    connection.output().clear();
    connection
}

fn encoded(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.write(&mut bytes, V5).expect("a short packet");
    bytes
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not zero")
}

fn drain(connection: &mut Connection) {
    let written = connection.output().len();
    connection.output().consume(written);
}

/// The server's number for the next message.
fn next_id(number: &mut u16) -> PacketId {
    *number = if *number == u16::MAX { 1 } else { *number + 1 };
    id(*number)
}

fn inbound(c: &mut Criterion) {
    let now = Instant::now();
    let mut group = c.benchmark_group("inbound");
    group.throughput(Throughput::Elements(1));
    for (name, delivery) in
        [("QoS 1", Delivery::AtLeastOnce(PacketId::FIRST)), ("QoS 2", Delivery::ExactlyOnce(PacketId::FIRST))]
    {
        let mut connection = connected(0, now);
        let publish = Publish {
            dup: false,
            retain: false,
            delivery,
            topic: Text::new("plant/7/line/3/temperature").expect("a short topic"),
            properties: Properties::NONE,
            payload: Bytes::from_static(&[b'x'; 64]),
        };
        let bytes = encoded(&Packet::Publish(publish));
        let release = encoded(&Packet::PubRel(Ack::new(PacketId::FIRST, ReasonCode::Success)));
        group.bench_function(name, |b| {
            b.iter(|| {
                let event = connection.next_event(&mut black_box(bytes.as_slice()), now);
                let Some(Event::Publish(_, Some(receipt))) = event else { panic!("no message") };
                connection.answer_publish(receipt, ReasonCode::Success, "");
                if name == "QoS 2" {
                    assert!(connection.next_event(&mut black_box(release.as_slice()), now).is_none());
                }
                drain(&mut connection);
            });
        });
    }
    group.finish();
}

fn outbound(c: &mut Criterion) {
    let now = Instant::now();
    let bytes =
        Frame::encode(V5, "plant/7/line/3/temperature", &Properties::NONE, &[b'x'; 64]).expect("short");
    let mut group = c.benchmark_group("outbound");
    group.throughput(Throughput::Elements(1));
    for (name, aliases) in [("QoS 0", 0), ("QoS 0, alias", 16)] {
        let mut connection = connected(aliases, now);
        group.bench_function(name, |b| {
            b.iter(|| {
                let frame = Frame::new(V5, black_box(&bytes)).expect("a frame");
                let outgoing = Outgoing { qos: Qos::AtMostOnce, retain: false, extra: &[], tag: 0 };
                assert_eq!(connection.send(&frame, &outgoing), Sent::Written(None));
                drain(&mut connection);
            });
        });
    }
    // A window of 256: the oldest is acknowledged for each new one, or the newest but one, as by a client whose first
    // message is stuck.
    for (name, behind) in [("QoS 1, oldest acknowledged", 255), ("QoS 1, newest acknowledged", 0)] {
        let mut connection = connected(0, now);
        let frame = Frame::new(V5, &bytes).expect("a frame");
        let outgoing = Outgoing { qos: Qos::AtLeastOnce, retain: false, extra: &[], tag: 0 };
        for _ in 0..255 {
            assert!(matches!(connection.send(&frame, &outgoing), Sent::Written(Some(_))));
        }
        let mut oldest = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                let Sent::Written(Some(newest)) = connection.send(black_box(&frame), &outgoing) else {
                    panic!("not written")
                };
                let acknowledged = if behind == 0 { newest } else { next_id(&mut oldest) };
                let [high, low] = acknowledged.get().to_be_bytes();
                let ack = [0x40, 2, high, low];
                assert!(connection.next_event(&mut black_box(&ack[..]), now).is_some());
                drain(&mut connection);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, inbound, outbound);
criterion_main!(benches);
