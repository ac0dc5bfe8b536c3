//! What is written is read back, in whatever pieces it arrives.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use bytes::Bytes;
use common::{encoded, from_client, packet, publish, server_decoder, version};
use dovetail_mqtt_proto::{
    Decoder, Delivery, Frame, Kind, Output, Packet, PacketId, Properties, PropertiesBuf, Property, Qos, Role,
    SHARE_FROM, Version,
};
use proptest::prelude::*;
use std::io::IoSlice;

/// A decoder that may read such a packet.
fn decoder_for(kind: Kind, version: Version) -> Decoder {
    if kind == Kind::Connect {
        Decoder::new(Role::Server, 1 << 20)
    } else if from_client(kind) && !(kind == Kind::Disconnect && version.is_v5()) {
        server_decoder(version)
    } else {
        Decoder::new(Role::Client(version), 1 << 20)
    }
}

fn written(output: &mut Output) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 64];
    let filled = output.slices(&mut slices);
    let all: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
    output.clear();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_packet_reads_as_it_was_written((version, packet) in version().prop_flat_map(|v| (Just(v), packet(v)))) {
        let bytes = encoded(&packet, version);
        let mut input = bytes.as_slice();
        let read = decoder_for(packet.kind(), version).next(&mut input).unwrap().unwrap();
        prop_assert_eq!(&read, &packet);
        prop_assert!(input.is_empty());
        prop_assert_eq!(encoded(&read, version), bytes);
    }

    #[test]
    fn a_frame_is_the_publish_that_encoding_alone_would_make(
        (version, publish) in version().prop_flat_map(|v| (Just(v), publish(v))),
        extra in proptest::option::of("[a-z]{1,10}"),
    ) {
        prop_assume!(!publish.topic.is_empty());
        let bytes =
            Frame::encode(version, publish.topic.as_str(), &publish.properties, &publish.payload).unwrap();
        let frame = Frame::new(version, &bytes).unwrap();
        prop_assert_eq!(frame.topic(), publish.topic.as_bytes());
        let mut extra_properties = PropertiesBuf::new();
        if let Some(extra) = &extra {
            extra_properties.push(Property::User("rev", extra)).unwrap();
        }
        let mut expected = publish.clone();
        if version.is_v5() && extra.is_some() {
            let mut all = extra_properties.clone();
            for property in publish.properties.iter() {
                all.push(property).unwrap();
            }
            expected.properties = all.into();
        }
        let mut output = Output::new();
        frame.write(&mut output, publish.delivery, publish.dup, publish.retain, extra_properties.as_bytes()).unwrap();
        let size = frame.size(publish.delivery.qos(), if version.is_v5() { extra_properties.as_bytes().len() } else { 0 });
        prop_assert_eq!(size.unwrap() as usize, output.len());
        prop_assert_eq!(written(&mut output), encoded(&Packet::Publish(expected), version));
    }

    #[test]
    fn pieces_of_any_size_make_the_same_packets(
        (version, packets) in version().prop_flat_map(|v| (Just(v), proptest::collection::vec(publish(v), 1..6))),
        cuts in proptest::collection::vec(1_usize..40, 1..40),
    ) {
        let packets: Vec<_> = packets.into_iter().map(Packet::Publish).collect();
        let bytes: Vec<u8> = packets.iter().flat_map(|packet| encoded(packet, version)).collect();
        let mut decoder = server_decoder(version);
        let mut read = Vec::new();
        let mut rest = bytes.as_slice();
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (mut piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            rest = after;
            while let Some(packet) = decoder.next(&mut piece).unwrap() {
                read.push(packet);
            }
            prop_assert!(piece.is_empty());
        }
        prop_assert_eq!(read, packets);
        prop_assert!(decoder.is_empty());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), version in version()) {
        let mut decoder = server_decoder(version);
        let mut input = bytes.as_slice();
        while let Ok(Some(_)) = decoder.next(&mut input) {}
    }
}

#[test]
fn every_packet_reads_when_cut_in_two_at_any_byte() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for version in [Version::V311, Version::V5] {
        for _ in 0..200 {
            let packet = packet(version).new_tree(&mut runner).unwrap().current();
            let bytes = encoded(&packet, version);
            for cut in 1..bytes.len() {
                let mut decoder = decoder_for(packet.kind(), version);
                let (mut first, mut second) = bytes.split_at(cut);
                assert_eq!(decoder.next(&mut first), Ok(None), "{packet:?} cut at {cut}");
                assert_eq!(decoder.next(&mut second), Ok(Some(packet.clone())), "{packet:?} cut at {cut}");
            }
        }
    }
}

#[test]
fn kept_bytes_come_before_new_ones() {
    let ping = encoded(&Packet::PingReq, Version::V311);
    let mut decoder = server_decoder(Version::V311);
    decoder.keep(&[ping.as_slice(), &ping, &ping[..1]].concat());
    let mut input = &[ping[1], ping[0], ping[1]][..];
    for _ in 0..4 {
        assert_eq!(decoder.next(&mut input), Ok(Some(Packet::PingReq)));
    }
    assert_eq!(decoder.next(&mut input), Ok(None));
    assert!(decoder.is_empty());
}

#[test]
fn large_payloads_are_shared_and_written_in_any_portions() {
    let payload = Bytes::from(vec![7; SHARE_FROM * 2]);
    let large = Frame::encode(Version::V5, "large", &Properties::NONE, &payload).unwrap();
    let large = Frame::new(Version::V5, &large).unwrap();
    let small = Frame::encode(Version::V5, "small", &Properties::NONE, b"x").unwrap();
    let small = Frame::new(Version::V5, &small).unwrap();
    let id = PacketId::new(300).unwrap();
    let fill = |output: &mut Output| {
        for frame in [&small, &large, &large, &small] {
            frame.write(output, Delivery::AtLeastOnce(id), false, true, &[]).unwrap();
        }
    };
    let mut output = Output::new();
    fill(&mut output);
    assert_eq!(
        output.len(),
        [&small, &large, &large, &small]
            .map(|f| f.size(Qos::AtLeastOnce, 0).unwrap() as usize)
            .iter()
            .sum::<usize>()
    );
    let whole = written(&mut output);
    assert!(output.is_empty());
    for portion in [1, 7, 4000, 4096, 9000, 100_000] {
        fill(&mut output);
        let mut portions = Vec::new();
        while !output.is_empty() {
            let front = output.front();
            let count = front.len().min(portion);
            portions.extend_from_slice(&front[..count]);
            output.consume(count);
        }
        assert!(portions == whole, "written in portions of {portion}");
    }
    fill(&mut output);
    output.consume(whole.len() - 3);
    assert_eq!(written(&mut output), &whole[whole.len() - 3..]);
}
