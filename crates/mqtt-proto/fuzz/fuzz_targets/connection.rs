//! A whole connection: any bytes in any pieces, an owner who answers everything. Nothing panics, nothing is said after the end,
//! and what the server says is well-formed.
#![no_main]

use dovetail_mqtt_proto::{
    Accept, Connection, Decoder, Event, Frame, Limits, Outgoing, Properties, Qos, ReasonCode, Role, Version,
};
use libfuzzer_sys::fuzz_target;
use std::time::Instant;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, mut bytes)) = data.split_first() else {
        return;
    };
    let now = Instant::now();
    let mut server = Connection::new(Limits { receive_maximum: 4, ..Limits::default() }, now);
    let mut written = Vec::new();
    let mut version = None;
    let mut receipts = Vec::new();
    while !bytes.is_empty() && !server.is_closed() {
        let (mut input, rest) = bytes.split_at(usize::from(choice % 16 + 1).min(bytes.len()));
        bytes = rest;
        while let Some(event) = server.next_event(&mut input, now) {
            match event {
                Event::Connect(connect) => {
                    version = Some(connect.version);
                    server.accept(Accept { tell_steps: choice & 0x20 == 0, ..Accept::default() }, now);
                }
                Event::Publish(publish, receipt) => {
                    let version = version.expect("CONNECT came first");
                    let bytes =
                        Frame::encode(version, publish.topic.as_str(), &Properties::NONE, &publish.payload)
                            .expect("what was read can be written");
                    let frame = Frame::new(version, &bytes).expect("a frame");
                    let qos = Qos::from_bits(choice % 3).expect("below 3");
                    let outgoing = Outgoing { qos, retain: publish.retain, extra: &[], tag: 1 };
                    let _ = server.send(&frame, &outgoing);
                    receipts.extend(receipt);
                }
                Event::Subscribe(subscribe) => {
                    let reasons = vec![ReasonCode::Success; subscribe.subscriptions.len()];
                    server.answer_subscribe(subscribe.id, reasons, "a reason");
                }
                Event::Unsubscribe(unsubscribe) => {
                    let reasons = vec![ReasonCode::Success; unsubscribe.filters.len()];
                    server.answer_unsubscribe(unsubscribe.id, reasons);
                }
                Event::Delivered { .. } | Event::Received { .. } | Event::Released(_) => {}
            }
            if choice & 0x40 == 0 || receipts.len() > 2 {
                // The last first, so that answers must be put in order.
                while let Some(receipt) = receipts.pop() {
                    let reason =
                        if choice & 0x80 == 0 { ReasonCode::Success } else { ReasonCode::QuotaExceeded };
                    server.answer_publish(receipt, reason, "full");
                }
            }
        }
        if !server.wants_input() {
            server.keep(input);
            while let Some(receipt) = receipts.pop() {
                server.answer_publish(receipt, ReasonCode::Success, "");
            }
        }
        while !server.output().is_empty() {
            let front = server.output().front().to_vec();
            server.output().consume(front.len());
            written.extend_from_slice(&front);
        }
    }
    server.lost();
    assert!(server.output().is_empty());
    // A version that is not spoken is answered in a form of its own.
    if let Some(version) = version {
        let mut client = Decoder::new(Role::Client(version), u32::MAX);
        let mut input = written.as_slice();
        while client.next(&mut input).expect("the server writes packets").is_some() {}
        assert!(client.is_empty() && (version == Version::V5 || !written.is_empty()));
    }
});
