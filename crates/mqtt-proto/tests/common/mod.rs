//! What several tests share: packets of every kind, made by proptest.
#![allow(dead_code, reason = "each test uses a part of this")]

use bytes::Bytes;
use dovetail_mqtt_proto::{
    Ack, Auth, ConnAck, Connect, Decoder, Delivery, Disconnect, Kind, Packet, PacketId, Place, Properties,
    PropertiesBuf, Property, Publish, Qos, ReasonCode, RetainHandling, Role, Secret, SubAck, Subscribe,
    SubscribeOptions, Subscription, Text, UnsubAck, Unsubscribe, Version, Will,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// A packet with this first byte; its length is computed.
pub(crate) fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length % 128) as u8;
        length /= 128;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

pub(crate) fn encoded(packet: &Packet, version: Version) -> Vec<u8> {
    let mut out = Vec::new();
    packet.write(&mut out, version).unwrap();
    out
}

/// A server's decoder that has read a CONNECT of this version.
pub(crate) fn server_decoder(version: Version) -> Decoder {
    let mut decoder = Decoder::new(Role::Server, 1 << 20);
    let connect = encoded(&Packet::Connect(Box::new(plain_connect(version))), version);
    assert!(decoder.next(&mut connect.as_slice()).unwrap().is_some());
    decoder
}

pub(crate) fn plain_connect(version: Version) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        properties: Properties::NONE,
        client_id: Text::new("client").unwrap(),
        will: None,
        user_name: None,
        password: None,
    }
}

pub(crate) fn from_client(kind: Kind) -> bool {
    !matches!(kind, Kind::ConnAck | Kind::SubAck | Kind::UnsubAck | Kind::PingResp)
}

pub(crate) fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V31), Just(Version::V311), Just(Version::V5)]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z/]{0,20}", "\\PC{0,12}", Just("\u{feff}x".to_owned()), "[a-z]{120,140}"]
}

fn topic() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z$]{1,8}(/[a-z]{0,5}){0,4}", "[^+#\u{0}]{1,8}"]
}

fn filter() -> impl Strategy<Value = String> {
    prop_oneof![
        topic(),
        "([a-z]{0,3}|\\+)(/([a-z]{0,3}|\\+)){1,4}(/#)?",
        Just("#".to_owned()),
        Just("+".to_owned()),
        "\\$share/[a-z]{1,5}/[a-z]{1,5}(/#)?",
    ]
}

fn to_text(text: impl AsRef<str>) -> Text {
    Text::new(text.as_ref()).unwrap()
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

pub(crate) fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

fn qos() -> impl Strategy<Value = Qos> {
    prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)]
}

/// A property that owns its value.
#[derive(Debug, Clone)]
enum Owned {
    Flag(fn(bool) -> Property<'static>, bool),
    Two(fn(u16) -> Property<'static>, u16),
    Four(fn(u32) -> Property<'static>, u32),
    Text(for<'a> fn(&'a str) -> Property<'a>, String),
    Binary(for<'a> fn(&'a [u8]) -> Property<'a>, Vec<u8>),
    User(String, String),
}

impl Owned {
    fn push(&self, buf: &mut PropertiesBuf) {
        match self {
            Self::Flag(make, value) => buf.push(make(*value)),
            Self::Two(make, value) => buf.push(make(*value)),
            Self::Four(make, value) => buf.push(make(*value)),
            Self::Text(make, value) => buf.push(make(value)),
            Self::Binary(make, value) => buf.push(make(value)),
            Self::User(name, value) => buf.push(Property::User(name, value)),
        }
        .unwrap();
    }
}

fn flag(make: fn(bool) -> Property<'static>) -> BoxedStrategy<Owned> {
    any::<bool>().prop_map(move |value| Owned::Flag(make, value)).boxed()
}

fn two(make: fn(u16) -> Property<'static>) -> BoxedStrategy<Owned> {
    (1..=u16::MAX).prop_map(move |value| Owned::Two(make, value)).boxed()
}

fn four(make: fn(u32) -> Property<'static>) -> BoxedStrategy<Owned> {
    (1..=268_435_455_u32).prop_map(move |value| Owned::Four(make, value)).boxed()
}

/// A variant's constructor has one lifetime; a closure has any.
macro_rules! string {
    ($name:ident) => {
        topic().prop_map(|value| Owned::Text(|value| Property::$name(value), value)).boxed()
    };
}

macro_rules! binary {
    ($name:ident) => {
        vec(any::<u8>(), 0..10).prop_map(|value| Owned::Binary(|value| Property::$name(value), value)).boxed()
    };
}

fn user() -> BoxedStrategy<Owned> {
    (text(), text()).prop_map(|(name, value)| Owned::User(name, value)).boxed()
}

/// Some of the properties that may stand at `place`, in any order, each once and user properties more often.
pub(crate) fn properties(place: Place) -> impl Strategy<Value = Properties> {
    use Property as P;
    let message = || {
        vec![
            flag(P::PayloadFormat),
            four(P::MessageExpiry),
            string!(ContentType),
            string!(ResponseTopic),
            binary!(CorrelationData),
        ]
    };
    let mut all = match place {
        Place::Connect => vec![
            four(P::SessionExpiry),
            flag(P::RequestProblemInformation),
            flag(P::RequestResponseInformation),
            two(P::ReceiveMaximum),
            two(P::TopicAliasMaximum),
            four(P::MaximumPacketSize),
            string!(AuthenticationMethod),
        ],
        Place::Will => {
            let mut will = message();
            will.push(four(P::WillDelay));
            will
        }
        Place::ConnAck => vec![
            four(P::SessionExpiry),
            string!(AssignedClientId),
            two(P::ServerKeepAlive),
            string!(AuthenticationMethod),
            string!(ResponseInformation),
            string!(ServerReference),
            string!(ReasonString),
            two(P::ReceiveMaximum),
            two(P::TopicAliasMaximum),
            flag(P::MaximumQos),
            flag(P::RetainAvailable),
            four(P::MaximumPacketSize),
            flag(P::WildcardAvailable),
            flag(P::SubscriptionIdentifierAvailable),
            flag(P::SharedAvailable),
        ],
        Place::Publish => {
            let mut publish = message();
            publish.extend([two(P::TopicAlias), four(P::SubscriptionIdentifier)]);
            publish
        }
        Place::Subscribe => vec![four(P::SubscriptionIdentifier)],
        Place::Unsubscribe => vec![],
        Place::Disconnect => vec![four(P::SessionExpiry), string!(ServerReference), string!(ReasonString)],
        Place::Auth => vec![binary!(AuthenticationData), string!(ReasonString)],
        _ => vec![string!(ReasonString)],
    };
    all.push(user());
    all.push(user());
    let count = all.len();
    (all, proptest::sample::subsequence((0..count).collect::<Vec<_>>(), 0..=count.min(5)))
        .prop_flat_map(|(all, chosen)| {
            Just(chosen.into_iter().map(|index| all[index].clone()).collect::<Vec<_>>()).prop_shuffle()
        })
        .prop_map(move |chosen| {
            let mut buf = PropertiesBuf::new();
            if place == Place::Auth {
                buf.push(Property::AuthenticationMethod("SCRAM")).unwrap();
            }
            for property in &chosen {
                property.push(&mut buf);
            }
            buf.into()
        })
}

fn reason(kind: Kind) -> impl Strategy<Value = ReasonCode> {
    let fitting: Vec<_> = ReasonCode::ALL.iter().copied().filter(|reason| reason.fits(kind)).collect();
    proptest::sample::select(fitting)
}

fn versioned(version: Version, place: Place) -> BoxedStrategy<Properties> {
    if version.is_v5() { properties(place).boxed() } else { Just(Properties::NONE).boxed() }
}

fn reason_in(version: Version, kind: Kind) -> BoxedStrategy<ReasonCode> {
    if version.is_v5() { reason(kind).boxed() } else { Just(ReasonCode::Success).boxed() }
}

fn connect(version: Version) -> impl Strategy<Value = Packet> {
    let will = (qos(), any::<bool>(), versioned(version, Place::Will), topic(), bytes()).prop_map(
        |(qos, retain, properties, topic, payload)| Will {
            qos,
            retain,
            properties,
            topic: to_text(topic),
            payload,
        },
    );
    let head = (any::<bool>(), any::<u16>(), versioned(version, Place::Connect), text());
    (head, option::of(will), option::of(text()), option::of(bytes())).prop_map(
        move |((clean_start, keep_alive, properties, client_id), will, user_name, password)| {
            let password = password.filter(|_| version.is_v5() || user_name.is_some()).map(Secret);
            Packet::Connect(Box::new(Connect {
                version,
                clean_start,
                keep_alive,
                properties,
                client_id: to_text(client_id),
                will,
                user_name: user_name.map(to_text),
                password,
            }))
        },
    )
}

fn connack(version: Version) -> impl Strategy<Value = Packet> {
    let reason = if version.is_v5() {
        reason(Kind::ConnAck).boxed()
    } else {
        (0_u8..6).prop_map(|code| ReasonCode::from_v3_connect_code(code).unwrap()).boxed()
    };
    (any::<bool>(), reason, versioned(version, Place::ConnAck)).prop_map(|(present, reason, properties)| {
        let session_present = present && reason == ReasonCode::Success;
        Packet::ConnAck(ConnAck { session_present, reason, properties })
    })
}

pub(crate) fn publish(version: Version) -> impl Strategy<Value = Publish> {
    let delivery = (qos(), packet_id()).prop_map(|(qos, id)| match qos {
        Qos::AtMostOnce => Delivery::AtMostOnce,
        Qos::AtLeastOnce => Delivery::AtLeastOnce(id),
        Qos::ExactlyOnce => Delivery::ExactlyOnce(id),
    });
    (
        any::<bool>(),
        any::<bool>(),
        delivery,
        topic(),
        versioned(version, Place::Publish),
        bytes(),
        any::<bool>(),
    )
        .prop_map(|(dup, retain, delivery, topic, properties, payload, alias_only)| Publish {
            dup: dup && delivery != Delivery::AtMostOnce,
            retain,
            delivery,
            topic: if alias_only && properties.topic_alias().is_some() {
                Text::EMPTY
            } else {
                to_text(topic)
            },
            properties,
            payload,
        })
}

fn ack(version: Version, kind: Kind, place: Place, make: fn(Ack) -> Packet) -> BoxedStrategy<Packet> {
    (packet_id(), reason_in(version, kind), versioned(version, place))
        .prop_map(move |(id, reason, properties)| make(Ack { id, reason, properties }))
        .boxed()
}

fn subscribe(version: Version) -> impl Strategy<Value = Packet> {
    let handling = prop_oneof![
        Just(RetainHandling::Send),
        Just(RetainHandling::SendIfNew),
        Just(RetainHandling::DoNotSend)
    ];
    let subscription = (filter(), qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        move |(filter, qos, no_local, retain_as_published, retain_handling)| {
            let options = if version.is_v5() {
                let no_local = no_local && !filter.starts_with("$share/");
                SubscribeOptions { qos, no_local, retain_as_published, retain_handling }
            } else {
                SubscribeOptions::new(qos)
            };
            Subscription { filter: to_text(filter), options }
        },
    );
    (packet_id(), versioned(version, Place::Subscribe), vec(subscription, 1..5)).prop_map(
        |(id, properties, subscriptions)| Packet::Subscribe(Subscribe { id, properties, subscriptions }),
    )
}

fn suback(version: Version) -> impl Strategy<Value = Packet> {
    let reason = reason(Kind::SubAck).prop_map(move |reason| {
        if !version.is_v5() && reason.is_error() { ReasonCode::UnspecifiedError } else { reason }
    });
    (packet_id(), versioned(version, Place::SubAck), vec(reason, 1..5))
        .prop_map(|(id, properties, reasons)| Packet::SubAck(SubAck { id, properties, reasons }))
}

fn unsubscribe(version: Version) -> impl Strategy<Value = Packet> {
    (packet_id(), versioned(version, Place::Unsubscribe), vec(filter().prop_map(to_text), 1..4))
        .prop_map(|(id, properties, filters)| Packet::Unsubscribe(Unsubscribe { id, properties, filters }))
}

fn unsuback(version: Version) -> impl Strategy<Value = Packet> {
    let count = if version.is_v5() { 1..4 } else { 0..1 };
    (packet_id(), versioned(version, Place::UnsubAck), vec(reason(Kind::UnsubAck), count))
        .prop_map(|(id, properties, reasons)| Packet::UnsubAck(UnsubAck { id, properties, reasons }))
}

/// Any packet of this version, of every kind with equal chance.
pub(crate) fn packet(version: Version) -> BoxedStrategy<Packet> {
    let disconnect = (reason_in(version, Kind::Disconnect), versioned(version, Place::Disconnect))
        .prop_map(|(reason, properties)| Packet::Disconnect(Disconnect { reason, properties }));
    let mut kinds = vec![
        connect(version).boxed(),
        connack(version).boxed(),
        publish(version).prop_map(Packet::Publish).boxed(),
        ack(version, Kind::PubAck, Place::PubAck, Packet::PubAck),
        ack(version, Kind::PubRec, Place::PubRec, Packet::PubRec),
        ack(version, Kind::PubRel, Place::PubRel, Packet::PubRel),
        ack(version, Kind::PubComp, Place::PubComp, Packet::PubComp),
        subscribe(version).boxed(),
        suback(version).boxed(),
        unsubscribe(version).boxed(),
        unsuback(version).boxed(),
        Just(Packet::PingReq).boxed(),
        Just(Packet::PingResp).boxed(),
        disconnect.boxed(),
    ];
    if version.is_v5() {
        let auth = (reason(Kind::Auth), properties(Place::Auth))
            .prop_map(|(reason, properties)| Packet::Auth(Auth { reason, properties }));
        kinds.push(auth.boxed());
    }
    proptest::strategy::Union::new(kinds).boxed()
}
