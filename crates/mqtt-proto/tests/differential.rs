//! The same bytes for our decoder and for `rmqtt-codec`: where one accepts and the other does not, the reason is on a list.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use bytes::BytesMut;
use common::{encoded, framed, from_client, packet, server_decoder};
use dovetail_mqtt_proto::{DecodeError, Kind, Packet, Version};
use proptest::prelude::*;
use tokio_util::codec::Decoder as _;

/// One change to the body of a packet.
#[derive(Debug, Clone)]
enum Mutation {
    Nothing,
    Replace(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    FirstByte(u8),
}

impl Mutation {
    fn apply(&self, packet: &[u8]) -> Vec<u8> {
        let head = 1 + packet[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let mut first = packet[0];
        let mut body = packet[head..].to_vec();
        match self {
            Self::FirstByte(flags) => first ^= flags & 0x0f,
            Self::Insert(at, byte) => body.insert(at.index(body.len() + 1), *byte),
            Self::Replace(at, byte) if !body.is_empty() => {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            Self::Flip(at, bit) if !body.is_empty() => {
                let at = at.index(body.len());
                body[at] ^= 1 << (bit % 8);
            }
            Self::Remove(at) if !body.is_empty() => drop(body.remove(at.index(body.len()))),
            Self::Cut(at) if !body.is_empty() => body.truncate(at.index(body.len())),
            _ => {}
        }
        framed(first, &body)
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        Just(Mutation::Nothing),
        (at(), prop_oneof![0_u8..0x30, any::<u8>()]).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (at(), any::<u8>()).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        at().prop_map(Mutation::Remove),
        (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        at().prop_map(Mutation::Cut),
        any::<u8>().prop_map(Mutation::FirstByte),
    ]
}

/// Whether the other decoder takes the bytes as one whole packet.
fn other_accepts(version: Version, bytes: &[u8]) -> bool {
    let mut buffer = BytesMut::from(bytes);
    let accepted = if version.is_v5() {
        matches!(rmqtt_codec::v5::Codec::default().decode(&mut buffer), Ok(Some(_)))
    } else {
        matches!(rmqtt_codec::v3::Codec::default().decode(&mut buffer), Ok(Some(_)))
    };
    accepted && buffer.is_empty()
}

/// What we refuse and the other takes. Each is a statement of the specification that it does not check.
fn deliberately_stricter(kind: Kind, error: DecodeError) -> bool {
    use DecodeError as E;
    match error {
        // Rules on topics and filters, U+0000 among them: [MQTT-1.5.4-2], [MQTT-3.3.2-14], 4.7, 4.8.2.
        E::Topic | E::ResponseTopic | E::NoTopic | E::Filter | E::SharedNoLocal | E::Nul
        // Flags that contradict each other [MQTT-3.1.2-11], [MQTT-3.3.1-2], reserved bits [MQTT-3.8.3-5].
        | E::ConnectFlags | E::Dup | E::SubscribeOptions
        // Authentication data without a method (3.1.2.11.10), numbers in more bytes than they need [MQTT-1.5.5-1],
        // bytes after the last field.
        | E::AuthenticationMethod | E::VariableInteger | E::Trailing
        // A level that does not go with the name: MQTT and 3 [MQTT-3.1.2-2].
        | E::ProtocolLevel(_) => true,
        // AUTH with a reason, but without the length of its properties (3.15.2.2.1).
        E::Truncated => kind == Kind::Auth,
        _ => false,
    }
}

/// What we take and the other refuses.
fn deliberately_looser(packet: &Packet) -> bool {
    match packet {
        // Message expiry 0 is valid (3.3.2.3.3).
        Packet::Publish(publish) => publish.properties.message_expiry() == Some(0),
        // MQTT 5 allows it (3.1.3.1); 3.1.1 refuses it with a return code, so the connection decides, not the decoder.
        Packet::Connect(connect) => connect.client_id.is_empty() && !connect.clean_start,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    #[test]
    fn both_decoders_agree_but_for_the_lists(
        (version, packet) in prop_oneof![Just(Version::V311), Just(Version::V5)]
            .prop_flat_map(|v| (Just(v), packet(v).prop_filter("from a client", |p| from_client(p.kind())))),
        mutation in mutation(),
    ) {
        let bytes = mutation.apply(&encoded(&packet, version));
        let mut input = bytes.as_slice();
        let ours = if packet.kind() == Kind::Connect {
            // The other side chooses its decoder by the version first.
            let mut decoder = dovetail_mqtt_proto::Decoder::new(dovetail_mqtt_proto::Role::Server, 1 << 20);
            let read = decoder.next(&mut input);
            prop_assume!(decoder.version().is_none_or(|read| read == version));
            read
        } else {
            server_decoder(version).next(&mut input)
        };
        match (ours, other_accepts(version, &bytes)) {
            (Ok(Some(_)), true) | (Err(_), false) => {}
            (Err(error), true) => {
                prop_assert!(deliberately_stricter(packet.kind(), error), "only we refuse {:02x?}: {}", bytes, error);
            }
            (Ok(Some(packet)), false) => {
                prop_assert!(deliberately_looser(&packet), "only we take {:02x?}: {:?}", bytes, packet);
            }
            (Ok(None), _) => prop_assert!(false, "a whole packet is not recognised as one: {:02x?}", bytes),
        }
    }
}
