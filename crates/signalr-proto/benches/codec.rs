//! A feed frame as the item of a stream: made for each form once, written for each subscriber, read by the receiver.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dovetail_signalr_proto::{Decoder, Protocol, encode, to_messagepack};
use std::hint::black_box;

const FRAME: &[u8] = br#"{"type":"changes","after":"k3f9x2.1041","rev":"k3f9x2.1042","changes":[{"path":"plant/7/line/3/temperature","op":"put","value":{"celsius":21.5,"at":"2026-01-01T00:00:00Z"},"contentType":"application/json"}]}"#;

fn codec(c: &mut Criterion) {
    let mut packed = Vec::new();
    to_messagepack(FRAME, &mut packed).expect("valid");
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Elements(1));
    group.bench_function("frame to MessagePack", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            to_messagepack(black_box(FRAME), &mut out).expect("valid");
        });
    });
    for (protocol, item) in [(Protocol::Json, FRAME), (Protocol::MessagePack, &packed)] {
        let name = protocol.name();
        let mut framed = Vec::new();
        encode::stream_item(protocol, &mut framed, "12", item);
        group.bench_function(format!("write a stream item, {name}"), |b| {
            let mut out = Vec::new();
            b.iter(|| {
                out.clear();
                encode::stream_item(protocol, &mut out, "12", black_box(item));
            });
        });
        group.bench_function(format!("read a stream item, {name}"), |b| {
            let mut decoder = Decoder::new(protocol, 1 << 20);
            b.iter(|| {
                decoder.push(black_box(&framed));
                decoder.next().expect("valid").expect("whole")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
