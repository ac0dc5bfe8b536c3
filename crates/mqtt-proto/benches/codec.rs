//! Decoding and encoding a PUBLISH, and writing a shared frame for one subscriber.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dovetail_mqtt_proto::{
    Decoder, Delivery, Frame, Output, Packet, PacketId, Properties, PropertiesBuf, Property, Publish, Role,
    Text, Version,
};
use std::hint::black_box;

fn publish(properties: Properties) -> Publish {
    Publish {
        dup: false,
        retain: false,
        delivery: Delivery::AtLeastOnce(PacketId::FIRST),
        topic: Text::new("plant/7/line/3/temperature").expect("a short topic"),
        properties,
        payload: Bytes::from_static(&[b'x'; 64]),
    }
}

fn two_properties() -> Properties {
    let mut buf = PropertiesBuf::new();
    buf.push(Property::ContentType("application/json")).expect("short");
    buf.push(Property::User("trace", "0123456789abcdef")).expect("short");
    buf.into()
}

fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Elements(1));
    for (name, properties) in [("plain", Properties::NONE), ("two properties", two_properties())] {
        let publish = publish(properties.clone());
        let packet = Packet::Publish(publish.clone());
        let mut bytes = Vec::new();
        packet.write(&mut bytes, Version::V5).expect("a short packet");
        let mut decoder = Decoder::new(Role::Client(Version::V5), 1 << 20);
        group.bench_function(format!("decode v5 QoS 1, {name}"), |b| {
            b.iter(|| decoder.next(&mut black_box(bytes.as_slice())).expect("valid"));
        });
        let mut out = Vec::with_capacity(256);
        group.bench_function(format!("encode v5 QoS 1, {name}"), |b| {
            b.iter(|| {
                out.clear();
                black_box(&packet).write(&mut out, Version::V5).expect("a short packet");
            });
        });
        let shared =
            Frame::encode(Version::V5, publish.topic.as_str(), &properties, &publish.payload).expect("short");
        let mut output = Output::new();
        for (qos, delivery) in [(0, Delivery::AtMostOnce), (1, Delivery::AtLeastOnce(PacketId::FIRST))] {
            group.bench_function(format!("frame v5 QoS {qos}, {name}"), |b| {
                b.iter(|| {
                    let frame = Frame::new(Version::V5, black_box(&shared)).expect("a frame");
                    frame.write(&mut output, black_box(delivery), false, false, &[]).expect("short");
                    let written = output.len();
                    output.consume(written);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
