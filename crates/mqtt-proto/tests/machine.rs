//! The server's connection on virtual time, played against the client half of the codec.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use bytes::Bytes;
use common::{encoded, plain_connect};
use dovetail_mqtt_proto::{
    Accept, Ack, Cause, Closed, ConnAck, Connect, Connection, DecodeError, Decoder, Delivery, Disconnect,
    Event, Frame, InFlight, Limits, Outgoing, Packet, PacketId, Properties, PropertiesBuf, Property, Publish,
    Qos, ReasonCode, Role, Secret, Sent, Session, Stage, Subscribe, SubscribeOptions, Subscription, Text,
    Unsubscribe, Version, Violation, Will,
};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const V3: Version = Version::V311;
const V5: Version = Version::V5;

/// A connection, the client's decoder, and a clock that moves only when told.
struct Pair {
    version: Version,
    now: Instant,
    server: Connection,
    client: Decoder,
}

impl Pair {
    fn new(version: Version, limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            version,
            now,
            server: Connection::new(limits, now),
            client: Decoder::new(Role::Client(version), 1 << 20),
        }
    }

    /// A connection that is accepted and has told so.
    fn connected(version: Version) -> Self {
        Self::connected_as(plain_connect(version), Accept::default())
    }

    fn connected_as(connect: Connect, accept: Accept) -> Self {
        let mut pair = Self::new(connect.version, Limits::default());
        assert!(matches!(pair.give(&Packet::Connect(Box::new(connect))), Some(Event::Connect(_))));
        pair.server.accept(accept, pair.now);
        let connack = pair.take();
        assert!(
            matches!(&connack[0], Packet::ConnAck(ack) if ack.reason == ReasonCode::Success),
            "{connack:?}"
        );
        pair
    }

    fn give(&mut self, packet: &Packet) -> Option<Event> {
        self.give_bytes(&encoded(packet, self.version))
    }

    fn give_bytes(&mut self, bytes: &[u8]) -> Option<Event> {
        let mut input = bytes;
        let event = self.server.next_event(&mut input, self.now);
        self.server.keep(input);
        event
    }

    /// What is kept inside, now that the connection may go on.
    fn next(&mut self) -> Option<Event> {
        self.server.next_event(&mut &[][..], self.now)
    }

    /// What the server has written.
    fn take(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        while !self.server.output().is_empty() {
            let bytes = self.server.output().front().to_vec();
            self.server.output().consume(bytes.len());
            let mut input = bytes.as_slice();
            while let Some(packet) = self.client.next(&mut input).unwrap() {
                packets.push(packet);
            }
        }
        assert!(self.client.is_empty(), "half a packet was written");
        packets
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self.server.handle_timeout(self.now);
        self
    }

    fn closed(self) -> Closed {
        self.server.into_closed().expect("the connection is closed")
    }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn publish(delivery: Delivery) -> Publish {
    Publish {
        dup: false,
        retain: false,
        delivery,
        topic: Text::new("a/b").unwrap(),
        properties: Properties::NONE,
        payload: Bytes::from_static(b"x"),
    }
}

fn with_properties(properties: &[Property<'_>]) -> Properties {
    let mut buf = PropertiesBuf::new();
    for property in properties {
        buf.push(*property).unwrap();
    }
    buf.into()
}

fn ack(number: u16, reason: ReasonCode) -> Ack {
    Ack::new(id(number), reason)
}

fn will() -> Will {
    Will {
        qos: Qos::AtLeastOnce,
        retain: true,
        properties: Properties::NONE,
        topic: Text::new("gone").unwrap(),
        payload: Bytes::from_static(b"bye"),
    }
}

fn connect_with_will(version: Version) -> Connect {
    Connect { will: Some(will()), ..plain_connect(version) }
}

fn frame(version: Version) -> Frame<'static> {
    static BYTES: [LazyLock<Bytes>; 2] =
        [LazyLock::new(|| encoded_frame(V3)), LazyLock::new(|| encoded_frame(V5))];
    Frame::new(version, &BYTES[usize::from(version.is_v5())]).unwrap()
}

fn encoded_frame(version: Version) -> Bytes {
    Frame::encode(version, "a/b", &Properties::NONE, b"x").unwrap()
}

fn outgoing(qos: Qos, tag: u64) -> Outgoing<'static> {
    Outgoing { qos, retain: false, extra: &[], tag }
}

// CONNECT and CONNACK.

#[test]
fn connack_tells_the_limits() {
    let mut pair = Pair::new(V5, Limits { receive_maximum: 10, packet_size: 5000, ..Limits::default() });
    pair.give(&Packet::Connect(Box::new(plain_connect(V5))));
    let accept = Accept {
        session_present: true,
        assigned_client_id: Some(Text::new("made-up").unwrap()),
        server_keep_alive: Some(30),
        session_expiry: Some(0),
        ..Accept::default()
    };
    pair.server.accept(accept, pair.now);
    let packets = pair.take();
    let [Packet::ConnAck(ack)] = packets.as_slice() else { panic!("{packets:?}") };
    assert!(ack.session_present);
    let properties = &ack.properties;
    assert_eq!(properties.receive_maximum(), Some(10));
    assert_eq!(properties.maximum_packet_size(), Some(5000));
    assert_eq!(properties.assigned_client_id(), Some("made-up"));
    assert_eq!(properties.server_keep_alive(), Some(30));
    assert_eq!(properties.session_expiry(), Some(0));
    assert_eq!(properties.topic_alias_maximum(), Some(16));
    assert_eq!(properties.shared_available(), Some(false));
    assert_eq!(properties.maximum_qos(), None, "QoS 2 is said by silence (3.2.2.3.4)");
    // The server's keep-alive holds.
    assert_eq!(pair.server.next_timeout(), Some(pair.now + Duration::from_secs(45)));
}

#[test]
fn what_follows_connect_at_once_waits_for_the_decision() {
    let mut pair = Pair::new(V5, Limits::default());
    let together =
        [encoded(&Packet::Connect(Box::new(plain_connect(V5))), V5), encoded(&Packet::PingReq, V5)].concat();
    assert!(matches!(pair.give_bytes(&together), Some(Event::Connect(_))));
    assert!(!pair.server.wants_input());
    assert_eq!(pair.next(), None);
    pair.server.accept(Accept::default(), pair.now);
    assert_eq!(pair.next(), None);
    assert!(matches!(pair.take().as_slice(), [Packet::ConnAck(_), Packet::PingResp]));
}

#[test]
fn a_refusal_is_said_in_the_words_of_the_version() {
    for (version, expected) in [(V3, ReasonCode::NotAuthorized), (V5, ReasonCode::Banned)] {
        let mut pair = Pair::new(version, Limits::default());
        pair.give(&Packet::Connect(Box::new(connect_with_will(version))));
        pair.server.refuse(ReasonCode::Banned, "go away");
        let packets = pair.take();
        let [Packet::ConnAck(ConnAck { session_present: false, reason, properties })] = packets.as_slice()
        else {
            panic!("{packets:?}")
        };
        assert_eq!(*reason, expected);
        assert_eq!(properties.reason_string(), version.is_v5().then_some("go away"));
        let closed = pair.closed();
        assert_eq!(closed.cause, Cause::Refused(ReasonCode::Banned));
        assert_eq!(closed.will, None, "a will belongs to an accepted connection (3.1.2.5)");
    }
}

#[test]
fn an_unknown_level_is_answered_in_a_form_that_both_sides_read() {
    // [MQTT-3.1.2-2]
    for (level, expected) in [(2_u8, &[0x20, 2, 0, 1][..]), (9, &[0x20, 3, 0, 0x84, 0])] {
        let mut pair = Pair::new(V5, Limits::default());
        let bytes = common::framed(0x10, &[&[0, 4][..], b"MQTT", &[level, 2, 0, 0, 0, 0]].concat());
        assert_eq!(pair.give_bytes(&bytes), None);
        assert_eq!(pair.server.output().front(), expected);
        assert!(pair.server.is_closed());
    }
}

#[test]
fn garbage_instead_of_connect_is_not_answered() {
    let mut pair = Pair::new(V5, Limits::default());
    assert_eq!(pair.give_bytes(b"GET / HTTP/1.1\r\n"), None);
    assert!(pair.server.output().is_empty());
    assert!(matches!(pair.closed().cause, Cause::Violation(Violation::Decode(_))));
}

#[test]
fn connect_must_come_in_time() {
    let mut pair = Pair::new(V5, Limits::default());
    assert_eq!(pair.server.next_timeout(), Some(pair.now + Duration::from_secs(5)));
    pair.after(Duration::from_millis(4999));
    assert!(!pair.server.is_closed());
    pair.after(Duration::from_millis(1));
    assert_eq!(pair.closed().cause, Cause::ConnectTimeout);
}

#[test]
fn connect_may_not_be_larger_than_its_limit() {
    let mut connect = plain_connect(V5);
    connect.password = Some(Secret(Bytes::from(vec![0; 65_500])));
    let mut pair = Pair::new(V5, Limits { connect_size: 65_000, ..Limits::default() });
    assert_eq!(pair.give(&Packet::Connect(Box::new(connect))), None);
    assert!(matches!(pair.closed().cause, Cause::Violation(Violation::Decode(DecodeError::TooLarge { .. }))));
}

#[test]
fn v3_without_client_id_needs_a_clean_session() {
    // 3.1.1 [MQTT-3.1.3-8]
    let mut connect = plain_connect(V3);
    connect.client_id = Text::EMPTY;
    connect.clean_start = false;
    let mut pair = Pair::new(V3, Limits::default());
    assert_eq!(pair.give(&Packet::Connect(Box::new(connect))), None);
    let packets = pair.take();
    assert!(
        matches!(packets.as_slice(), [Packet::ConnAck(ack)] if ack.reason == ReasonCode::ClientIdentifierNotValid),
        "{packets:?}"
    );
}

#[test]
fn a_second_connect_ends_the_connection() {
    // [MQTT-3.1.0-2]
    let mut pair = Pair::connected(V5);
    assert_eq!(pair.give(&Packet::Connect(Box::new(plain_connect(V5)))), None);
    assert!(
        matches!(pair.take().as_slice(), [Packet::Disconnect(bye)] if bye.reason == ReasonCode::ProtocolError)
    );
    assert_eq!(pair.closed().cause, Cause::Violation(Violation::SecondConnect));
}

// Time.

#[test]
fn silence_of_one_and_a_half_keep_alives_ends_the_connection() {
    // [MQTT-3.1.2-22]
    for version in [V3, V5] {
        let mut pair =
            Pair::connected_as(Connect { keep_alive: 10, ..connect_with_will(version) }, Accept::default());
        pair.after(Duration::from_millis(14_999));
        assert!(!pair.server.is_closed());
        pair.give(&Packet::PingReq);
        assert_eq!(pair.take(), [Packet::PingResp]);
        pair.after(Duration::from_millis(14_999));
        assert!(!pair.server.is_closed());
        pair.after(Duration::from_millis(1));
        let said = pair.take();
        if version.is_v5() {
            assert!(
                matches!(said.as_slice(), [Packet::Disconnect(bye)] if bye.reason == ReasonCode::KeepAliveTimeout)
            );
        } else {
            assert!(said.is_empty());
        }
        let closed = pair.closed();
        assert_eq!(closed.cause, Cause::KeepAlive);
        assert_eq!(closed.will, Some(Box::new(will())));
    }
}

#[test]
fn no_keep_alive_no_deadline() {
    let pair = Pair::connected_as(Connect { keep_alive: 0, ..plain_connect(V3) }, Accept::default());
    assert_eq!(pair.server.next_timeout(), None);
}

#[test]
fn a_slow_packet_keeps_the_connection_alive() {
    let mut pair = Pair::connected_as(Connect { keep_alive: 10, ..plain_connect(V3) }, Accept::default());
    let bytes = encoded(&Packet::Publish(publish(Delivery::AtMostOnce)), V3);
    for byte in &bytes[..bytes.len() - 1] {
        pair.after(Duration::from_secs(10));
        assert_eq!(pair.give_bytes(&[*byte]), None);
    }
    assert!(matches!(pair.give_bytes(&bytes[bytes.len() - 1..]), Some(Event::Publish(..))));
}

// The will.

/// How a connection ends.
type End = fn(&mut Pair);

#[test]
fn a_will_is_published_unless_the_client_says_goodbye() {
    // [MQTT-3.1.2-8], [MQTT-3.14.4-3]
    let normal = |pair: &mut Pair| drop(pair.give(&Packet::Disconnect(Disconnect::new(ReasonCode::Success))));
    let asked = |pair: &mut Pair| {
        drop(pair.give(&Packet::Disconnect(Disconnect::new(ReasonCode::DisconnectWithWill))));
    };
    let lost = |pair: &mut Pair| pair.server.lost();
    let taken_over = |pair: &mut Pair| pair.server.disconnect(ReasonCode::SessionTakenOver, "");
    let broken = |pair: &mut Pair| drop(pair.give_bytes(&[0]));
    let ends: [(&str, End, bool); 5] = [
        ("normal disconnection", normal, false),
        ("disconnection with will", asked, true),
        ("loss of the network connection", lost, true),
        ("takeover", taken_over, true),
        ("malformed packet", broken, true),
    ];
    for (what, end, published) in ends {
        let mut pair = Pair::connected_as(connect_with_will(V5), Accept::default());
        end(&mut pair);
        assert_eq!(pair.closed().will, published.then(will).map(Box::new), "{what}");
    }
}

#[test]
fn nothing_is_written_after_disconnect() {
    let mut pair = Pair::connected(V5);
    pair.server.disconnect(ReasonCode::SessionTakenOver, "");
    assert_eq!(pair.server.send(&frame(V5), &outgoing(Qos::AtMostOnce, 0)), Sent::NotConnected);
    pair.server.answer_subscribe(id(1), vec![ReasonCode::Success], "");
    assert_eq!(pair.give(&Packet::PingReq), None);
    assert_eq!(pair.take(), [Packet::Disconnect(Disconnect::new(ReasonCode::SessionTakenOver))]);
}

#[test]
fn disconnect_may_change_the_session_expiry_but_not_from_zero() {
    let bye = |expiry| {
        Packet::Disconnect(Disconnect {
            reason: ReasonCode::Success,
            properties: with_properties(&[Property::SessionExpiry(expiry)]),
        })
    };
    let connect = Connect { properties: with_properties(&[Property::SessionExpiry(5)]), ..plain_connect(V5) };
    let mut pair = Pair::connected_as(connect, Accept::default());
    pair.give(&bye(9));
    assert_eq!(pair.closed().session_expiry, Some(9));
    let mut pair = Pair::connected(V5);
    pair.give(&bye(9));
    assert_eq!(pair.closed().cause, Cause::Violation(Violation::SessionExpiry));
}

// Messages from the client.

#[test]
fn answers_leave_in_the_order_in_which_the_messages_came() {
    // [MQTT-4.6.0-2], [MQTT-4.6.0-3]
    let mut pair = Pair::connected(V5);
    let mut receipts = Vec::new();
    for delivery in [Delivery::AtLeastOnce(id(3)), Delivery::ExactlyOnce(id(1)), Delivery::AtLeastOnce(id(2))]
    {
        let Some(Event::Publish(_, Some(receipt))) = pair.give(&Packet::Publish(publish(delivery))) else {
            panic!()
        };
        receipts.push(receipt);
    }
    let [first, second, third] = receipts.try_into().unwrap();
    pair.server.answer_publish(third, ReasonCode::NotAuthorized, "not you");
    pair.server.answer_publish(second, ReasonCode::Success, "");
    assert_eq!(pair.take(), []);
    pair.server.answer_publish(first, ReasonCode::NoMatchingSubscribers, "");
    let refused = Ack {
        properties: with_properties(&[Property::ReasonString("not you")]),
        ..ack(2, ReasonCode::NotAuthorized)
    };
    assert_eq!(
        pair.take(),
        [
            Packet::PubAck(ack(3, ReasonCode::NoMatchingSubscribers)),
            Packet::PubRec(ack(1, ReasonCode::Success)),
            Packet::PubAck(refused)
        ]
    );
}

#[test]
fn before_v5_a_refused_message_ends_the_connection_without_acknowledgement() {
    let mut pair = Pair::connected(V3);
    let Some(Event::Publish(_, Some(receipt))) =
        pair.give(&Packet::Publish(publish(Delivery::AtLeastOnce(id(1)))))
    else {
        panic!()
    };
    pair.server.answer_publish(receipt, ReasonCode::QuotaExceeded, "full");
    assert_eq!(pair.take(), []);
    assert_eq!(pair.closed().cause, Cause::Refused(ReasonCode::QuotaExceeded));
}

#[test]
fn a_client_that_wants_no_problem_information_gets_none() {
    // [MQTT-3.1.2-29]
    let connect = Connect {
        properties: with_properties(&[Property::RequestProblemInformation(false)]),
        ..plain_connect(V5)
    };
    let mut pair = Pair::connected_as(connect, Accept::default());
    let Some(Event::Publish(_, Some(receipt))) =
        pair.give(&Packet::Publish(publish(Delivery::AtLeastOnce(id(1)))))
    else {
        panic!()
    };
    pair.server.answer_publish(receipt, ReasonCode::NotAuthorized, "not you");
    assert_eq!(pair.take(), [Packet::PubAck(ack(1, ReasonCode::NotAuthorized))]);
}

#[test]
fn a_reason_string_that_is_too_large_is_left_out() {
    // [MQTT-3.4.2-2]
    let connect =
        Connect { properties: with_properties(&[Property::MaximumPacketSize(40)]), ..plain_connect(V5) };
    let mut pair = Pair::connected_as(connect, Accept::default());
    let Some(Event::Publish(_, Some(receipt))) =
        pair.give(&Packet::Publish(publish(Delivery::AtLeastOnce(id(1)))))
    else {
        panic!()
    };
    pair.server.answer_publish(
        receipt,
        ReasonCode::NotAuthorized,
        "a text that does not fit into forty bytes",
    );
    assert_eq!(pair.take(), [Packet::PubAck(ack(1, ReasonCode::NotAuthorized))]);
}

#[test]
fn a_message_with_qos_2_is_taken_once() {
    // [MQTT-4.3.3-8] and following
    let mut pair = Pair::connected(V5);
    let message = Packet::Publish(publish(Delivery::ExactlyOnce(id(7))));
    let again = Packet::Publish(Publish { dup: true, ..publish(Delivery::ExactlyOnce(id(7))) });
    let Some(Event::Publish(_, Some(receipt))) = pair.give(&message) else { panic!() };
    assert_eq!(pair.give(&again), None, "while it is not answered");
    assert_eq!(pair.take(), []);
    pair.server.answer_publish(receipt, ReasonCode::Success, "");
    assert_eq!(pair.take(), [Packet::PubRec(ack(7, ReasonCode::Success))]);
    assert_eq!(pair.give(&again), None, "while it is not released");
    assert_eq!(pair.take(), [Packet::PubRec(ack(7, ReasonCode::Success))]);
    assert_eq!(pair.give(&Packet::PubRel(ack(7, ReasonCode::Success))), None);
    assert_eq!(pair.take(), [Packet::PubComp(ack(7, ReasonCode::Success))]);
    assert_eq!(pair.give(&Packet::PubRel(ack(7, ReasonCode::Success))), None);
    assert_eq!(pair.take(), [Packet::PubComp(ack(7, ReasonCode::PacketIdentifierNotFound))]);
    assert!(matches!(pair.give(&message), Some(Event::Publish(_, Some(_)))), "the id is free again");
}

#[test]
fn a_refused_message_with_qos_2_is_not_remembered() {
    // [MQTT-4.3.3-9]
    let mut pair = Pair::connected(V5);
    let message = Packet::Publish(publish(Delivery::ExactlyOnce(id(7))));
    let Some(Event::Publish(_, Some(receipt))) = pair.give(&message) else { panic!() };
    pair.server.answer_publish(receipt, ReasonCode::QuotaExceeded, "");
    assert_eq!(pair.take(), [Packet::PubRec(ack(7, ReasonCode::QuotaExceeded))]);
    assert!(matches!(pair.give(&message), Some(Event::Publish(_, Some(_)))));
}

#[test]
fn an_id_in_use_may_not_name_another_message() {
    let mut pair = Pair::connected(V5);
    pair.give(&Packet::Publish(publish(Delivery::AtLeastOnce(id(7)))));
    assert_eq!(pair.give(&Packet::Publish(publish(Delivery::AtLeastOnce(id(7))))), None);
    assert_eq!(pair.closed().cause, Cause::Violation(Violation::PacketIdInUse(7)));
}

#[test]
fn the_receive_maximum_holds_exactly() {
    // [MQTT-3.3.4-9]: QoS 1 until PUBACK, QoS 2 until PUBCOMP.
    let limits = Limits { receive_maximum: 2, ..Limits::default() };
    let mut pair = Pair::new(V5, limits);
    pair.give(&Packet::Connect(Box::new(plain_connect(V5))));
    pair.server.accept(Accept::default(), pair.now);
    let send = |pair: &mut Pair, delivery| match pair.give(&Packet::Publish(publish(delivery))) {
        Some(Event::Publish(_, Some(receipt))) => Some(receipt),
        _ => None,
    };
    let one = send(&mut pair, Delivery::ExactlyOnce(id(1))).unwrap();
    let two = send(&mut pair, Delivery::AtLeastOnce(id(2))).unwrap();
    pair.server.answer_publish(one, ReasonCode::Success, "");
    pair.server.answer_publish(two, ReasonCode::Success, "");
    send(&mut pair, Delivery::AtLeastOnce(id(3))).unwrap();
    assert!(
        send(&mut pair, Delivery::AtMostOnce).is_none() && !pair.server.is_closed(),
        "QoS 0 does not count"
    );
    assert!(send(&mut pair, Delivery::AtLeastOnce(id(4))).is_none());
    let said = pair.take();
    assert!(
        matches!(said.last(), Some(Packet::Disconnect(bye)) if bye.reason == ReasonCode::ReceiveMaximumExceeded),
        "{said:?}"
    );
}

#[test]
fn before_v5_the_server_stops_reading_instead() {
    let mut pair = Pair::new(V3, Limits { receive_maximum: 2, ..Limits::default() });
    pair.give(&Packet::Connect(Box::new(plain_connect(V3))));
    pair.server.accept(Accept::default(), pair.now);
    let mut receipts = Vec::new();
    for number in 1..=2 {
        let Some(Event::Publish(_, Some(receipt))) =
            pair.give(&Packet::Publish(publish(Delivery::AtLeastOnce(id(number)))))
        else {
            panic!()
        };
        receipts.push(receipt);
    }
    assert!(!pair.server.wants_input());
    assert_eq!(pair.give(&Packet::Publish(publish(Delivery::AtLeastOnce(id(3))))), None);
    pair.server.answer_publish(receipts.remove(0), ReasonCode::Success, "");
    assert!(matches!(pair.next(), Some(Event::Publish(_, Some(_)))));
}

#[test]
fn topic_aliases_are_learnt_replaced_and_checked() {
    // [MQTT-3.3.2-8] and following
    let aliased = |topic: &str, alias| {
        let mut message = publish(Delivery::AtMostOnce);
        message.topic = Text::new(topic).unwrap();
        message.properties = with_properties(&[Property::TopicAlias(alias)]);
        Packet::Publish(message)
    };
    let topic_of = |event: Option<Event>| match event {
        Some(Event::Publish(publish, None)) => publish.topic.as_str().to_owned(),
        other => panic!("{other:?}"),
    };
    let mut pair = Pair::connected(V5);
    assert_eq!(topic_of(pair.give(&aliased("one", 16))), "one");
    assert_eq!(topic_of(pair.give(&aliased("", 16))), "one");
    assert_eq!(topic_of(pair.give(&aliased("two", 16))), "two");
    assert_eq!(topic_of(pair.give(&aliased("", 16))), "two");
    assert_eq!(pair.give(&aliased("", 3)), None);
    assert!(
        matches!(pair.take().as_slice(), [Packet::Disconnect(bye)] if bye.reason == ReasonCode::TopicAliasInvalid)
    );
    let mut pair = Pair::connected(V5);
    assert_eq!(pair.give(&aliased("one", 17)), None);
    assert_eq!(pair.closed().cause, Cause::Violation(Violation::TopicAlias(17)));
}

#[test]
fn a_client_may_not_send_subscription_identifiers() {
    // [MQTT-3.3.4-6]
    let mut message = publish(Delivery::AtMostOnce);
    message.properties = with_properties(&[Property::SubscriptionIdentifier(1)]);
    let mut pair = Pair::connected(V5);
    assert_eq!(pair.give(&Packet::Publish(message)), None);
    assert_eq!(pair.closed().cause, Cause::Violation(Violation::SubscriptionIdentifier));
}

#[test]
fn subscribe_and_unsubscribe_are_answered_filter_by_filter() {
    for version in [V3, V5] {
        let mut pair = Pair::connected(version);
        let filters = ["a", "b"].map(|filter| Text::new(filter).unwrap());
        let subscribe = Subscribe {
            id: id(1),
            properties: Properties::NONE,
            subscriptions: filters
                .iter()
                .map(|filter| Subscription {
                    filter: filter.clone(),
                    options: SubscribeOptions::new(Qos::AtLeastOnce),
                })
                .collect(),
        };
        assert_eq!(pair.give(&Packet::Subscribe(subscribe.clone())), Some(Event::Subscribe(subscribe)));
        pair.server.answer_subscribe(id(1), vec![ReasonCode::GrantedQos1, ReasonCode::NotAuthorized], "");
        let said = pair.take();
        let [Packet::SubAck(suback)] = said.as_slice() else { panic!("{said:?}") };
        let refusal = if version.is_v5() { ReasonCode::NotAuthorized } else { ReasonCode::UnspecifiedError };
        assert_eq!(suback.reasons, [ReasonCode::GrantedQos1, refusal]);
        let unsubscribe = Unsubscribe { id: id(2), properties: Properties::NONE, filters: filters.to_vec() };
        assert_eq!(
            pair.give(&Packet::Unsubscribe(unsubscribe.clone())),
            Some(Event::Unsubscribe(unsubscribe))
        );
        pair.server.answer_unsubscribe(id(2), vec![ReasonCode::Success, ReasonCode::NoSubscriptionExisted]);
        assert!(matches!(pair.take().as_slice(), [Packet::UnsubAck(ack)] if ack.id == id(2)));
    }
}

// Messages to the client.

#[test]
fn qos_0_and_1_and_2_to_the_client() {
    for version in [V3, V5] {
        let mut pair = Pair::connected(version);
        let frame = frame(version);
        assert_eq!(pair.server.send(&frame, &outgoing(Qos::AtMostOnce, 0)), Sent::Written(None));
        assert_eq!(pair.server.send(&frame, &outgoing(Qos::AtLeastOnce, 11)), Sent::Written(Some(id(1))));
        assert_eq!(pair.server.send(&frame, &outgoing(Qos::ExactlyOnce, 12)), Sent::Written(Some(id(2))));
        assert_eq!(
            pair.take(),
            [Delivery::AtMostOnce, Delivery::AtLeastOnce(id(1)), Delivery::ExactlyOnce(id(2))]
                .map(|delivery| Packet::Publish(publish(delivery)))
        );
        let done = |number, tag| Some(Event::Delivered { id: id(number), tag, reason: ReasonCode::Success });
        assert_eq!(pair.give(&Packet::PubAck(ack(1, ReasonCode::Success))), done(1, 11));
        for _ in 0..2 {
            assert_eq!(pair.give(&Packet::PubRec(ack(2, ReasonCode::Success))), None);
            assert_eq!(pair.take(), [Packet::PubRel(ack(2, ReasonCode::Success))]);
        }
        assert_eq!(pair.give(&Packet::PubComp(ack(2, ReasonCode::Success))), done(2, 12));
        assert_eq!(
            pair.give(&Packet::PubAck(ack(1, ReasonCode::Success))),
            None,
            "late acknowledgements are ignored"
        );
        assert!(!pair.server.is_closed());
    }
}

#[test]
fn pubrec_of_nothing_is_answered_and_the_wrong_acknowledgement_ends_the_connection() {
    let mut pair = Pair::connected(V5);
    assert_eq!(pair.give(&Packet::PubRec(ack(9, ReasonCode::Success))), None);
    assert_eq!(pair.take(), [Packet::PubRel(ack(9, ReasonCode::PacketIdentifierNotFound))]);
    assert_eq!(pair.server.send(&frame(V5), &outgoing(Qos::ExactlyOnce, 0)), Sent::Written(Some(id(1))));
    assert_eq!(pair.give(&Packet::PubAck(ack(1, ReasonCode::Success))), None);
    assert_eq!(pair.closed().cause, Cause::Violation(Violation::WrongAck(1)));
}

#[test]
fn a_message_that_the_client_refuses_is_done() {
    let mut pair = Pair::connected(V5);
    assert_eq!(pair.server.send(&frame(V5), &outgoing(Qos::ExactlyOnce, 4)), Sent::Written(Some(id(1))));
    let refused = Some(Event::Delivered { id: id(1), tag: 4, reason: ReasonCode::QuotaExceeded });
    assert_eq!(pair.give(&Packet::PubRec(ack(1, ReasonCode::QuotaExceeded))), refused);
    assert_eq!(pair.server.session().unwrap().outgoing().len(), 0);
}

#[test]
fn the_clients_receive_maximum_is_kept_exactly() {
    // [MQTT-3.3.4-7]
    let connect =
        Connect { properties: with_properties(&[Property::ReceiveMaximum(2)]), ..plain_connect(V5) };
    let mut pair = Pair::connected_as(connect, Accept::default());
    let frame = frame(V5);
    assert_eq!(pair.server.window(), 2);
    assert_eq!(pair.server.send(&frame, &outgoing(Qos::AtLeastOnce, 1)), Sent::Written(Some(id(1))));
    assert_eq!(pair.server.send(&frame, &outgoing(Qos::ExactlyOnce, 2)), Sent::Written(Some(id(2))));
    assert_eq!(pair.server.send(&frame, &outgoing(Qos::AtLeastOnce, 3)), Sent::WindowFull);
    assert_eq!(pair.server.send(&frame, &outgoing(Qos::AtMostOnce, 3)), Sent::Written(None));
    // QoS 2 frees its place with PUBCOMP only.
    pair.give(&Packet::PubRec(ack(2, ReasonCode::Success)));
    assert_eq!(pair.server.window(), 0);
    pair.give(&Packet::PubComp(ack(2, ReasonCode::Success)));
    assert_eq!(pair.server.send(&frame, &outgoing(Qos::AtLeastOnce, 3)), Sent::Written(Some(id(3))));
}

/// A client that takes packets of up to `limit` bytes, accepted or not.
fn with_packet_size(limit: u32) -> Pair {
    let properties = with_properties(&[Property::MaximumPacketSize(limit)]);
    let mut pair = Pair::new(V5, Limits::default());
    pair.give(&Packet::Connect(Box::new(Connect { properties, ..plain_connect(V5) })));
    pair.server.accept(Accept::default(), pair.now);
    pair
}

#[test]
fn the_clients_packet_size_is_kept_exactly() {
    // [MQTT-3.1.2-24]
    let bytes = Frame::encode(V5, "a/b", &Properties::NONE, &[b'x'; 100]).unwrap();
    let frame = Frame::new(V5, &bytes).unwrap();
    let size = frame.size(Qos::AtLeastOnce, 0).unwrap();
    for (limit, expected) in [(size, Sent::Written(Some(id(1)))), (size - 1, Sent::TooLarge)] {
        let mut pair = with_packet_size(limit);
        assert_eq!(pair.server.send(&frame, &outgoing(Qos::AtLeastOnce, 0)), expected);
        let extra = Outgoing { extra: &[0x26, 0, 0, 0, 0], ..outgoing(Qos::AtLeastOnce, 0) };
        assert_eq!(pair.server.send(&frame, &extra), Sent::TooLarge);
        // Nothing is in flight for what was not sent.
        let in_flight = pair.server.session().unwrap().outgoing().len();
        assert_eq!(in_flight, usize::from(expected != Sent::TooLarge));
    }
}

#[test]
fn a_client_that_cannot_take_connack_is_refused() {
    // The shortest CONNACK that says all limits.
    let mut pair = with_packet_size(18);
    assert!(matches!(pair.take().as_slice(), [Packet::ConnAck(ack)] if ack.reason == ReasonCode::Success));
    for (limit, answer) in [(17, &[0x20, 3, 0, 0x95, 0][..]), (5, &[0x20, 3, 0, 0x95, 0]), (4, &[])] {
        let mut pair = with_packet_size(limit);
        assert_eq!(pair.server.output().front(), answer, "{limit}");
        assert_eq!(pair.closed().cause, Cause::Refused(ReasonCode::PacketTooLarge));
    }
}

#[test]
fn a_client_that_cannot_take_its_answer_is_told_so() {
    // [MQTT-3.1.2-24]: five bytes of a head, and one for each filter.
    for (count, fits) in [(13, true), (14, false)] {
        for is_subscribe in [true, false] {
            let mut pair = with_packet_size(18);
            pair.take();
            if is_subscribe {
                pair.server.answer_subscribe(id(1), vec![ReasonCode::NotAuthorized; count], "not yours");
            } else {
                pair.server.answer_unsubscribe(id(1), vec![ReasonCode::Success; count]);
            }
            let packets = pair.take();
            let [packet] = packets.as_slice() else { panic!("{packets:?}") };
            match packet {
                Packet::SubAck(ack) => assert!(fits && is_subscribe && ack.properties.is_empty()),
                Packet::UnsubAck(_) => assert!(fits && !is_subscribe),
                Packet::Disconnect(bye) => {
                    assert!(!fits);
                    assert_eq!(bye.reason, ReasonCode::PacketTooLarge);
                    assert_eq!(pair.closed().cause, Cause::Server(ReasonCode::PacketTooLarge));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn response_information_is_for_who_asks_and_can_take_it() {
    // [MQTT-3.1.2-28]
    let information = "reply/client";
    for (asks, limit, expected) in [(true, 1000, Some(information)), (true, 30, None), (false, 1000, None)] {
        let properties = [Property::RequestResponseInformation(asks), Property::MaximumPacketSize(limit)];
        let connect = Connect { properties: with_properties(&properties), ..plain_connect(V5) };
        let mut pair = Pair::new(V5, Limits::default());
        pair.give(&Packet::Connect(Box::new(connect)));
        let response_information = Some(Text::new(information).unwrap());
        pair.server.accept(Accept { response_information, ..Accept::default() }, pair.now);
        let packets = pair.take();
        let [Packet::ConnAck(ack)] = packets.as_slice() else { panic!("{packets:?}") };
        assert_eq!(ack.properties.response_information(), expected);
    }
}

#[test]
fn words_about_a_refusal_are_left_out_for_a_client_that_cannot_take_them() {
    let properties = with_properties(&[Property::MaximumPacketSize(40)]);
    let mut pair = Pair::new(V5, Limits::default());
    pair.give(&Packet::Connect(Box::new(Connect { properties, ..plain_connect(V5) })));
    pair.server.refuse(ReasonCode::NotAuthorized, "a text of more than forty bytes about the refusal");
    let packets = pair.take();
    let [Packet::ConnAck(ack)] = packets.as_slice() else { panic!("{packets:?}") };
    assert_eq!((ack.reason, ack.properties.is_empty()), (ReasonCode::NotAuthorized, true));
}

#[test]
fn a_message_expiry_is_counted_down_without_encoding_again() {
    // [MQTT-3.3.2-6]; small and large, alone and among what else a copy says.
    let message = with_properties(&[Property::MessageExpiry(60), Property::ContentType("text/plain")]);
    for size in [1, 10_000] {
        let bytes = Frame::encode(V5, "a/b", &message, &vec![b'x'; size]).unwrap();
        let frame = Frame::new(V5, &bytes).unwrap();
        assert_eq!(frame.message_expiry(), Some(60));
        let mut pair = Pair::connected(V5);
        for (left, qos, extra) in [
            (60, Qos::AtMostOnce, &[][..]),
            (59, Qos::AtMostOnce, &[]),
            (0, Qos::AtMostOnce, &[0x0B, 7]),
            (70, Qos::AtLeastOnce, &[0x0B, 7]),
        ] {
            let sent =
                pair.server.send(&frame.with_message_expiry(left), &Outgoing { extra, ..outgoing(qos, 0) });
            assert!(matches!(sent, Sent::Written(_)));
            let packets = pair.take();
            let [Packet::Publish(publish)] = packets.as_slice() else { panic!("{packets:?}") };
            assert_eq!(publish.properties.message_expiry(), Some(left));
            assert_eq!(publish.properties.content_type(), Some("text/plain"));
            assert_eq!(publish.properties.subscription_identifiers().count(), usize::from(!extra.is_empty()));
            assert_eq!((publish.topic.as_str(), publish.payload.len()), ("a/b", size));
        }
    }
    for without in [Properties::NONE, with_properties(&[Property::ContentType("text/plain")])] {
        let bytes = Frame::encode(V5, "a/b", &without, b"x").unwrap();
        let frame = Frame::new(V5, &bytes).unwrap();
        let mut pair = Pair::connected(V5);
        assert_eq!(frame.message_expiry(), None);
        assert_eq!(
            pair.server.send(&frame.with_message_expiry(3), &outgoing(Qos::AtMostOnce, 0)),
            Sent::Written(None)
        );
        assert!(matches!(pair.take().as_slice(), [Packet::Publish(p)] if p.properties == without));
    }
}

#[test]
fn extra_properties_come_before_those_of_the_message() {
    let message = with_properties(&[Property::ContentType("text/plain")]);
    let bytes = Frame::encode(V5, "a/b", &message, b"x").unwrap();
    let frame = Frame::new(V5, &bytes).unwrap();
    let mut extra = PropertiesBuf::new();
    extra.push(Property::SubscriptionIdentifier(5)).unwrap().push(Property::User("rev", "e.1")).unwrap();
    let mut pair = Pair::connected(V5);
    let sent = pair
        .server
        .send(&frame, &Outgoing { retain: true, extra: extra.as_bytes(), ..outgoing(Qos::AtMostOnce, 0) });
    assert_eq!(sent, Sent::Written(None));
    let packets = pair.take();
    let [Packet::Publish(publish)] = packets.as_slice() else { panic!("{packets:?}") };
    assert!(publish.retain);
    assert_eq!(
        publish.properties.iter().collect::<Vec<_>>(),
        [
            Property::SubscriptionIdentifier(5),
            Property::User("rev", "e.1"),
            Property::ContentType("text/plain")
        ]
    );
}

// Sessions.

#[test]
fn a_session_continues_on_the_next_connection() {
    // [MQTT-4.4.0-1]
    let mut pair = Pair::connected(V5);
    let frame = frame(V5);
    for (qos, tag) in [(Qos::AtLeastOnce, 1), (Qos::ExactlyOnce, 2), (Qos::ExactlyOnce, 3)] {
        assert!(matches!(pair.server.send(&frame, &outgoing(qos, tag)), Sent::Written(Some(_))));
    }
    pair.give(&Packet::PubRec(ack(3, ReasonCode::Success)));
    let Some(Event::Publish(_, Some(receipt))) =
        pair.give(&Packet::Publish(publish(Delivery::ExactlyOnce(id(40)))))
    else {
        panic!()
    };
    pair.server.answer_publish(receipt, ReasonCode::Success, "");
    pair.server.lost();
    let session = pair.closed().session.unwrap();
    let in_flight: Vec<_> = session.outgoing().collect();
    assert_eq!(
        in_flight,
        [(1, Stage::PubAck), (2, Stage::PubRec), (3, Stage::PubComp)]
            .map(|(number, stage)| { InFlight { id: id(number), stage, tag: u64::from(number) } })
    );
    let stored = Session::restore(in_flight, session.received());

    let mut pair = Pair::new(V5, Limits::default());
    pair.give(&Packet::Connect(Box::new(plain_connect(V5))));
    pair.server.accept(Accept { session: stored, session_present: true, ..Accept::default() }, pair.now);
    assert!(pair.server.resend(id(1), &frame, false, &[]));
    assert!(pair.server.resend(id(2), &frame, false, &[]));
    assert!(!pair.server.resend(id(3), &frame, false, &[]), "it waits for PUBCOMP");
    let packets = pair.take();
    assert!(matches!(&packets[0], Packet::ConnAck(ack) if ack.session_present));
    assert_eq!(
        packets[1..],
        [
            Packet::PubRel(ack(3, ReasonCode::Success)),
            Packet::Publish(Publish { dup: true, ..publish(Delivery::AtLeastOnce(id(1))) }),
            Packet::Publish(Publish { dup: true, ..publish(Delivery::ExactlyOnce(id(2))) }),
        ]
    );
    assert_eq!(pair.server.send(&frame, &outgoing(Qos::AtLeastOnce, 4)), Sent::Written(Some(id(4))));
    // The message that was taken on the old connection is not taken again.
    pair.take();
    assert_eq!(
        pair.give(&Packet::Publish(Publish { dup: true, ..publish(Delivery::ExactlyOnce(id(40))) })),
        None
    );
    assert_eq!(pair.take(), [Packet::PubRec(ack(40, ReasonCode::Success))]);
}

#[test]
fn steps_of_qos_2_are_told_to_an_owner_who_notes_them() {
    let accept = Accept { tell_steps: true, ..Accept::default() };
    let mut pair = Pair::connected_as(plain_connect(V5), accept);
    let frame = frame(V5);
    assert_eq!(pair.server.send(&frame, &outgoing(Qos::ExactlyOnce, 7)), Sent::Written(Some(id(1))));
    pair.take();
    let pubrec = Packet::PubRec(ack(1, ReasonCode::Success));
    assert_eq!(pair.give(&pubrec), Some(Event::Received { tag: 7 }));
    assert_eq!(pair.give(&pubrec), None, "it was told");
    let pubrel = Packet::PubRel(ack(1, ReasonCode::Success));
    assert_eq!(pair.take(), [pubrel.clone(), pubrel.clone()]);
    let Some(Event::Publish(_, Some(receipt))) =
        pair.give(&Packet::Publish(publish(Delivery::ExactlyOnce(id(1)))))
    else {
        panic!("no message");
    };
    pair.server.answer_publish(receipt, ReasonCode::Success, "");
    assert_eq!(pair.give(&pubrel), Some(Event::Released(id(1))));
    assert_eq!(pair.give(&pubrel), None, "it was released");
}

#[test]
fn a_message_that_cannot_be_written_again_is_given_up() {
    let in_flight = [(1, Stage::PubAck), (2, Stage::PubRec), (3, Stage::PubComp)];
    let in_flight = in_flight.map(|(number, stage)| InFlight { id: id(number), stage, tag: number.into() });
    let accept = Accept { session: Session::restore(in_flight, []), ..Accept::default() };
    let mut pair = Pair::connected_as(plain_connect(V5), accept);
    let given_up: Vec<_> = (1..=4).map(|n| pair.server.give_up(id(n)).map(|message| message.tag)).collect();
    assert_eq!(given_up, [Some(1), Some(2), None, None]);
    assert_eq!(pair.take(), [Packet::PubRel(ack(2, ReasonCode::Success))]);
    let left: Vec<_> = pair.server.session().unwrap().outgoing().collect();
    let waits = |number: u16| InFlight { id: id(number), stage: Stage::PubComp, tag: number.into() };
    assert_eq!(left, [waits(2), waits(3)]);
}
