//! Topic aliases to the client, against a client that resolves them.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use common::{encoded, plain_connect};
use dovetail_mqtt_proto::{
    Accept, Ack, Connect, Connection, Decoder, Frame, Limits, Outgoing, Packet, Properties, PropertiesBuf,
    Property, Publish, Qos, ReasonCode, Role, Sent, Session, Version,
};
use proptest::prelude::*;

const V5: Version = Version::V5;

/// A connection, and a client that knows the topics of the aliases.
struct World {
    now: Instant,
    server: Connection,
    decoder: Decoder,
    maximum: u16,
    packet_size: u32,
    topics: HashMap<u16, String>,
}

impl World {
    fn new(maximum: u16, packet_size: u32, session: Session) -> Self {
        let now = Instant::now();
        let mut server = Connection::new(Limits { send_maximum: 4, ..Limits::default() }, now);
        let mut properties = PropertiesBuf::new();
        properties.push(Property::TopicAliasMaximum(maximum)).unwrap();
        properties.push(Property::MaximumPacketSize(packet_size)).unwrap();
        let connect = Connect { properties: properties.into(), ..plain_connect(V5) };
        let bytes = encoded(&Packet::Connect(Box::new(connect)), V5);
        server.next_event(&mut bytes.as_slice(), now).unwrap();
        server.accept(Accept { session, ..Accept::default() }, now);
        let decoder = Decoder::new(Role::Client(V5), u32::MAX);
        let mut world = Self { now, server, decoder, maximum, packet_size, topics: HashMap::new() };
        assert!(matches!(world.take(), Some(Packet::ConnAck(_))));
        world
    }

    /// The one packet that was written, as small as the client wants it.
    fn take(&mut self) -> Option<Packet> {
        let mut bytes = Vec::new();
        while !self.server.output().is_empty() {
            let front = self.server.output().front().to_vec();
            self.server.output().consume(front.len());
            bytes.extend(front);
        }
        assert!(bytes.len() <= self.packet_size as usize, "{} bytes", bytes.len());
        let mut input = bytes.as_slice();
        let packet = self.decoder.next(&mut input).unwrap();
        assert!(input.is_empty() && self.decoder.is_empty(), "one packet");
        packet
    }

    /// The one message that was written, with the topic that it is for.
    fn message(&mut self) -> (String, Publish) {
        let Some(Packet::Publish(publish)) = self.take() else { panic!("no message") };
        let Some(alias) = publish.properties.topic_alias() else {
            return (publish.topic.to_string(), publish);
        };
        assert!((1..=self.maximum).contains(&alias), "alias {alias} of {}", self.maximum);
        if publish.topic.is_empty() {
            (self.topics[&alias].clone(), publish)
        } else {
            self.topics.insert(alias, publish.topic.to_string());
            (publish.topic.to_string(), publish)
        }
    }

    fn give(&mut self, packet: &Packet) {
        let bytes = encoded(packet, V5);
        let _ = self.server.next_event(&mut bytes.as_slice(), self.now);
        assert!(!self.server.is_closed());
    }
}

#[derive(Debug, Clone)]
enum Step {
    Send { topic: usize, qos: Qos, payload: usize, expiry: Option<u32>, extra: bool },
    Acknowledge,
    Reconnect { maximum: u16, packet_size: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    let qos = prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce)];
    // Half of the messages go to a few topics.
    let topic = prop_oneof![0..6_usize, 0..60_usize];
    let expiry = prop::option::of(any::<u32>());
    let send = (topic, qos, prop_oneof![9 => 0..40_usize, 1 => Just(5000)], expiry, any::<bool>())
        .prop_map(|(topic, qos, payload, expiry, extra)| Step::Send { topic, qos, payload, expiry, extra });
    prop_oneof![
        20 => send,
        10 => Just(Step::Acknowledge),
        1 => limits().prop_map(|(maximum, packet_size)| Step::Reconnect { maximum, packet_size }),
    ]
}

fn limits() -> impl Strategy<Value = (u16, u32)> {
    (prop_oneof![Just(0), 1..4_u16, Just(u16::MAX)], prop_oneof![40..90_u32, Just(u32::MAX)])
}

fn topic(number: usize) -> String {
    // Of all lengths, with equal beginnings.
    "level/".repeat(number % 7) + &number.to_string()
}

fn frame_of(topic: &str, payload: usize, expiry: Option<u32>) -> Bytes {
    let mut properties = PropertiesBuf::new();
    if expiry.is_some() {
        properties.push(Property::MessageExpiry(60)).unwrap();
    }
    Frame::encode(V5, topic, &Properties::from(properties), &vec![b'x'; payload]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn a_client_that_resolves_aliases_gets_exactly_the_topics(
        (maximum, packet_size) in limits(),
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut world = World::new(maximum, packet_size, Session::new());
        // What is in flight, by packet id.
        let mut in_flight = Vec::new();
        for step in steps {
            match step {
                Step::Send { topic: number, qos, payload, expiry, extra } => {
                    let name = topic(number);
                    let bytes = frame_of(&name, payload, expiry);
                    let mut frame = Frame::new(V5, &bytes).unwrap();
                    if let Some(left) = expiry {
                        frame = frame.with_message_expiry(left);
                    }
                    let extra: &[u8] = if extra { &[0x0B, 9] } else { &[] };
                    let plain = frame.size(qos, extra.len()).unwrap();
                    match world.server.send(&frame, &Outgoing { qos, retain: false, extra, tag: 0 }) {
                        Sent::Written(id) => {
                            let (resolved, publish) = world.message();
                            prop_assert_eq!(&resolved, &name);
                            prop_assert_eq!(publish.payload.len(), payload);
                            prop_assert_eq!(publish.properties.message_expiry(), expiry);
                            in_flight.extend(id.map(|id| (id, bytes)));
                        }
                        Sent::TooLarge => prop_assert!(plain > world.packet_size, "{} bytes fit", plain),
                        Sent::WindowFull => prop_assert_eq!(in_flight.len(), 4),
                        Sent::NotConnected => prop_assert!(false),
                    }
                }
                Step::Acknowledge if !in_flight.is_empty() => {
                    let (id, _) = in_flight.remove(0);
                    world.give(&Packet::PubAck(Ack::new(id, ReasonCode::Success)));
                }
                Step::Acknowledge => {}
                Step::Reconnect { maximum, packet_size } => {
                    world.server.lost();
                    let session = world.server.into_closed().unwrap().session.unwrap();
                    world = World::new(maximum, packet_size, session);
                    for (id, bytes) in &in_flight {
                        let frame = Frame::new(V5, bytes).unwrap();
                        if world.server.resend(*id, &frame, false, &[]) {
                            let (resolved, publish) = world.message();
                            prop_assert_eq!(resolved.as_bytes(), frame.topic());
                            prop_assert_eq!((publish.dup, publish.delivery.id()), (true, Some(*id)));
                        }
                    }
                }
            }
        }
    }
}
