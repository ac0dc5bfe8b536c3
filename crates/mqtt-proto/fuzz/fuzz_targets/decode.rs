//! What is decoded can be encoded and decodes to the same; nothing panics; the pieces in which bytes arrive do not matter.
#![no_main]

use dovetail_mqtt_proto::{DecodeError, Decoder, Packet, Role, Version};
use libfuzzer_sys::fuzz_target;

const LIMIT: u32 = 1 << 16;

fn decode(role: Role, mut bytes: &[u8], piece: usize) -> (Vec<Packet>, Option<DecodeError>) {
    let mut decoder = Decoder::new(role, LIMIT);
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let (mut input, rest) = bytes.split_at(piece.min(bytes.len()));
        bytes = rest;
        loop {
            match decoder.next(&mut input) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => return (packets, Some(error)),
            }
        }
    }
    (packets, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let role = match choice % 3 {
        0 => Role::Server,
        1 => Role::Client(Version::V311),
        _ => Role::Client(Version::V5),
    };
    let (packets, error) = decode(role, bytes, usize::MAX);
    assert_eq!((&packets, error), {
        let (again, error) = decode(role, bytes, 1 + usize::from(choice) / 3);
        assert_eq!(again, packets);
        (&packets, error)
    });
    let mut version = match role {
        Role::Server => Version::V5,
        Role::Client(version) => version,
    };
    let mut out = Vec::new();
    for packet in &packets {
        if let Packet::Connect(connect) = packet {
            version = connect.version;
        }
        packet.write(&mut out, version).expect("what was read can be written");
    }
    assert_eq!(decode(role, &out, usize::MAX), (packets, None));
});
