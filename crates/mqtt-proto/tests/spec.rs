//! Statements of the specification as tables: bytes, and what they are.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod common;

use common::{framed, hex, server_decoder};
use dovetail_mqtt_proto::ReasonCode::{
    self, MalformedPacket as Malformed, PacketTooLarge as TooLarge, ProtocolError as Protocol,
    TopicAliasInvalid as Alias, TopicFilterInvalid as Filter, TopicNameInvalid as Topic,
    UnsupportedProtocolVersion as Unsupported,
};
use dovetail_mqtt_proto::{DecodeError, Decoder, Kind, Packet, Role, Version};

/// CONNECT as first packet.
const CONNECT: u8 = 0x10;
const PUBLISH: u8 = 0x30;
const PUBLISH_1: u8 = 0x32;
const PUBACK: u8 = 0x40;
const PUBREL: u8 = 0x62;
const SUBSCRIBE: u8 = 0x82;
const UNSUBSCRIBE: u8 = 0xA2;
const DISCONNECT: u8 = 0xE0;
const AUTH: u8 = 0xF0;

fn read(version: Version, bytes: &[u8]) -> Result<Option<Packet>, DecodeError> {
    let mut decoder =
        if bytes[0] == CONNECT { Decoder::new(Role::Server, 64 * 1024) } else { server_decoder(version) };
    let mut input = bytes;
    decoder.next(&mut input)
}

fn check_rejected(version: Version, rows: &[(&str, Vec<u8>, ReasonCode)]) {
    for (what, bytes, reason) in rows {
        match read(version, bytes) {
            Err(error) => assert_eq!(error.reason(), *reason, "{what}: {error}"),
            other => panic!("{what}: {bytes:02x?} is read as {other:?}"),
        }
    }
}

fn check_accepted(version: Version, rows: &[(&str, Vec<u8>)]) {
    for (what, bytes) in rows {
        let read = read(version, bytes);
        assert!(matches!(read, Ok(Some(_))), "{what}: {bytes:02x?} is read as {read:?}");
    }
}

#[test]
fn malformed_v5_messages_are_rejected_with_the_code_of_the_specification() {
    let p = |first, body: &str| framed(first, &hex(body));
    let rows = [
        // The fixed header.
        ("length of five bytes [MQTT-1.5.5-1]", hex("30 8080808001"), Malformed),
        ("length in more bytes than needed [MQTT-1.5.5-1]", hex("c0 8000"), Malformed),
        ("packet type 0 (2.1.2)", hex("00 00"), Malformed),
        ("reserved flags of PINGREQ [MQTT-2.1.3-1]", hex("c1 00"), Malformed),
        ("SUBSCRIBE without its flag [MQTT-3.8.1-1]", hex("80 06 0001 00 0001 61"), Malformed),
        ("PUBREL without its flag [MQTT-3.6.1-1]", hex("60 02 0001"), Malformed),
        ("UNSUBSCRIBE without its flag [MQTT-3.10.1-1]", hex("a0 06 0001 00 0001 61"), Malformed),
        ("packet above the limit (3.1.2.11.4)", hex("30 ffffff7f"), TooLarge),
        ("PINGREQ with a body", p(0xc0, "00"), Malformed),
        ("a packet that only servers send: SUBACK", p(0x90, "0001 00 00"), Protocol),
        ("a packet that only servers send: CONNACK", p(0x20, "00 00 00"), Protocol),
        // PUBLISH.
        ("QoS 3 [MQTT-3.3.1-4]", p(0x36, "0001 61 0001 00"), Malformed),
        ("DUP with QoS 0 [MQTT-3.3.1-2]", p(0x38, "0001 61 00"), Malformed),
        ("+ in a topic [MQTT-3.3.2-2]", p(PUBLISH, "0003 612f2b 00"), Topic),
        ("# in a topic [MQTT-3.3.2-2]", p(PUBLISH, "0003 612f23 00"), Topic),
        ("U+0000 in a topic [MQTT-1.5.4-2]", p(PUBLISH, "0003 610062 00"), Malformed),
        ("a topic that is not UTF-8 [MQTT-1.5.4-1]", p(PUBLISH, "0002 c328 00"), Malformed),
        ("a surrogate in a topic [MQTT-1.5.4-1]", p(PUBLISH, "0003 eda080 00"), Malformed),
        ("neither topic nor alias (3.3.2.1)", p(PUBLISH, "0000 00"), Protocol),
        ("packet id 0 [MQTT-2.2.1-3]", p(PUBLISH_1, "0001 61 0000 00"), Protocol),
        ("QoS 1 without packet id", p(PUBLISH_1, "0001 61 00"), Malformed),
        ("topic longer than the packet", p(PUBLISH, "0010 61"), Malformed),
        ("no property length", p(PUBLISH, "0001 61"), Malformed),
        ("properties longer than the packet", p(PUBLISH, "0001 61 05 01"), Malformed),
        ("property length in too many bytes [MQTT-1.5.5-1]", p(PUBLISH, "0001 61 8000"), Malformed),
        ("topic alias 0 [MQTT-3.3.2-8]", p(PUBLISH, "0001 61 03 230000"), Alias),
        ("payload format twice (3.3.2.3.2)", p(PUBLISH, "0001 61 04 0100 0101"), Protocol),
        ("payload format 2 (3.3.2.3.2)", p(PUBLISH, "0001 61 02 0102"), Protocol),
        ("content type twice (3.3.2.3.9)", p(PUBLISH, "0001 61 08 03000161 03000161"), Protocol),
        ("response topic with + [MQTT-3.3.2-14]", p(PUBLISH, "0001 61 04 0800012b"), Protocol),
        ("response topic with # [MQTT-3.3.2-14]", p(PUBLISH, "0001 61 06 080003612f23"), Protocol),
        ("subscription identifier 0 (3.3.2.3.8)", p(PUBLISH, "0001 61 02 0b00"), Protocol),
        ("unknown property (2.2.2.2)", p(PUBLISH, "0001 61 02 7f00"), Malformed),
        ("unknown property in two bytes (2.2.2.2)", p(PUBLISH, "0001 61 03 818001"), Malformed),
        ("property of another packet (2.2.2.2)", p(PUBLISH, "0001 61 03 210001"), Malformed),
        ("half a property", p(PUBLISH, "0001 61 02 0200"), Malformed),
        ("half a user property", p(PUBLISH, "0001 61 04 26000161"), Malformed),
        ("PUBLISH of no bytes", p(PUBLISH, ""), Malformed),
        ("QoS 3 with DUP [MQTT-3.3.1-4]", p(0x3e, "0001 61 0001 00"), Malformed),
        ("packet id 0 with QoS 2 [MQTT-2.2.1-3]", p(0x34, "0001 61 0000 00"), Protocol),
        ("an overlong form of U+0000 [MQTT-1.5.4-1]", p(PUBLISH, "0002 c080 00"), Malformed),
        ("a character above U+10FFFF [MQTT-1.5.4-1]", p(PUBLISH, "0004 f4908080 00"), Malformed),
        ("message expiry twice (3.3.2.3.3)", p(PUBLISH, "0001 61 0a 0200000001 0200000001"), Protocol),
        ("topic alias twice (3.3.2.3.4)", p(PUBLISH, "0001 61 06 230001 230001"), Protocol),
        ("correlation data twice (3.3.2.3.6)", p(PUBLISH, "0001 61 08 09000161 09000161"), Protocol),
        ("empty response topic [MQTT-4.7.3-1]", p(PUBLISH, "0001 61 03 080000"), Protocol),
        ("U+0000 in a response topic [MQTT-3.3.2-13]", p(PUBLISH, "0001 61 05 0800026100"), Malformed),
        ("a content type that is not UTF-8 [MQTT-3.3.2-19]", p(PUBLISH, "0001 61 05 030002c328"), Malformed),
        ("U+0000 in the name of a user property", p(PUBLISH, "0001 61 07 26000100000162"), Malformed),
        ("a surrogate in a user property", p(PUBLISH, "0001 61 09 260001610003eda080"), Malformed),
        ("subscription identifier of five bytes", p(PUBLISH, "0001 61 06 0b8080808001"), Malformed),
        ("subscription identifier in too many bytes", p(PUBLISH, "0001 61 03 0b8100"), Malformed),
        // Acknowledgements.
        ("flags of PUBACK [MQTT-2.1.3-1]", hex("41 02 0001"), Malformed),
        ("PUBREL with packet id 0 [MQTT-2.2.1-3]", p(PUBREL, "0000"), Protocol),
        ("PUBREC with a reason of PUBREL (3.5.2.1)", p(0x50, "0001 92"), Malformed),
        ("PUBCOMP with a reason of PUBREC (3.7.2.1)", p(0x70, "0001 97"), Malformed),
        ("PUBACK with a content type (2.2.2.2)", p(PUBACK, "0001 00 04 03000161"), Malformed),
        ("PUBREC whose properties are cut off", p(0x50, "0001 00 05 1f"), Malformed),
        ("PUBACK with packet id 0 [MQTT-2.2.1-3]", p(PUBACK, "0000"), Protocol),
        ("PUBACK of one byte", p(PUBACK, "00"), Malformed),
        ("unknown reason code (2.4)", p(PUBACK, "0001 7f"), Malformed),
        ("reason code of another packet (table 2-6)", p(PUBREL, "0001 10"), Malformed),
        ("PUBACK with bytes after its properties", p(PUBACK, "0001 00 00 00"), Malformed),
        ("two reason strings (3.4.2.2.2)", p(PUBACK, "0001 00 08 1f000161 1f000162"), Protocol),
    ];
    check_rejected(Version::V5, &rows);
}

#[test]
fn malformed_v5_connects_are_rejected_with_the_code_of_the_specification() {
    let p = |first, body: &str| framed(first, &hex(body));
    // No properties, client "a", nothing else; flags and what follows vary.
    let connect = |flags: &str, rest: &str| p(CONNECT, &format!("0004 4d515454 05 {flags} 003c {rest}"));
    let rows = [
        (
            "unknown protocol name [MQTT-3.1.2-1]",
            p(CONNECT, "0004 4d515455 05 02 003c 00 0001 61"),
            Unsupported,
        ),
        ("protocol level 6 [MQTT-3.1.2-2]", p(CONNECT, "0004 4d515454 06 02 003c 00 0001 61"), Unsupported),
        ("reserved connect flag [MQTT-3.1.2-3]", connect("03", "00 0001 61"), Malformed),
        ("will QoS without will [MQTT-3.1.2-11]", connect("0a", "00 0001 61"), Malformed),
        ("will retain without will [MQTT-3.1.2-13]", connect("22", "00 0001 61"), Malformed),
        ("will QoS 3 [MQTT-3.1.2-12]", connect("1e", "00 0001 61 00 0001 77 0000"), Malformed),
        ("wildcard in the will topic", connect("06", "00 0001 61 00 0001 23 0000"), Topic),
        ("will without will topic", connect("06", "00 0001 61 00"), Malformed),
        ("receive maximum 0 (3.1.2.11.3)", connect("02", "03 210000 0001 61"), Protocol),
        ("maximum packet size 0 (3.1.2.11.4)", connect("02", "05 2700000000 0001 61"), Protocol),
        ("request problem information 2 (3.1.2.11.7)", connect("02", "02 1702 0001 61"), Protocol),
        ("session expiry twice (3.1.2.11.2)", connect("02", "0a 1100000001 1100000001 0001 61"), Protocol),
        ("authentication data without method (3.1.2.11.10)", connect("02", "04 16000161 0001 61"), Protocol),
        ("a will's property in CONNECT (2.2.2.2)", connect("02", "05 1800000001 0001 61"), Malformed),
        ("bytes after the last field", connect("02", "00 0001 61 00"), Malformed),
        ("user name flag without user name", connect("82", "00 0001 61"), Malformed),
        ("CONNECT of no bytes", p(CONNECT, ""), Malformed),
        ("level 5 under the old name", p(CONNECT, "0006 4d5149736470 05 02 003c 00 0001 61"), Unsupported),
        ("receive maximum twice (3.1.2.11.3)", connect("02", "06 210001 210001 0001 61"), Protocol),
        ("topic alias maximum twice (3.1.2.11.5)", connect("02", "06 220001 220001 0001 61"), Protocol),
        ("request response information 2 (3.1.2.11.6)", connect("02", "02 1902 0001 61"), Protocol),
        ("request problem information twice (3.1.2.11.7)", connect("02", "04 1701 1701 0001 61"), Protocol),
        ("authentication method twice (3.1.2.11.9)", connect("02", "08 15000161 15000161 0001 61"), Protocol),
        ("a subscription identifier in CONNECT", connect("02", "02 0b01 0001 61"), Malformed),
        ("a property of CONNACK in CONNECT", connect("02", "03 13003c 0001 61"), Malformed),
        ("U+0000 in the client id [MQTT-3.1.3-4]", connect("02", "00 0002 6100"), Malformed),
        ("a client id that is not UTF-8 [MQTT-3.1.3-4]", connect("02", "00 0002 c328"), Malformed),
        ("a user name that is not UTF-8 [MQTT-3.1.3-12]", connect("82", "00 0001 61 0002 c328"), Malformed),
        ("password flag without password", connect("42", "00 0001 61"), Malformed),
        ("empty will topic [MQTT-4.7.3-1]", connect("06", "00 0001 61 00 0000 0000"), Topic),
        ("will payload that is cut off", connect("06", "00 0001 61 00 0001 77 0005 61"), Malformed),
        (
            "payload format 2 of a will (3.1.3.2.3)",
            connect("06", "00 0001 61 02 0102 0001 77 0000"),
            Protocol,
        ),
        (
            "will delay twice (3.1.3.2.2)",
            connect("06", "00 0001 61 0a 1800000001 1800000001 0001 77 0000"),
            Protocol,
        ),
        ("topic alias of a will (2.2.2.2)", connect("06", "00 0001 61 03 230001 0001 77 0000"), Malformed),
    ];
    check_rejected(Version::V5, &rows);
}

#[test]
fn malformed_v5_subscriptions_and_ends_are_rejected_with_the_code_of_the_specification() {
    let p = |first, body: &str| framed(first, &hex(body));
    let rows = [
        ("SUBSCRIBE of no bytes", p(SUBSCRIBE, ""), Malformed),
        ("subscription identifier 0 (3.8.2.1.2)", p(SUBSCRIBE, "0001 02 0b00 0001 61 00"), Protocol),
        ("a property of PUBLISH in SUBSCRIBE", p(SUBSCRIBE, "0001 02 0101 0001 61 00"), Malformed),
        ("U+0000 in a filter [MQTT-4.7.3-2]", p(SUBSCRIBE, "0001 00 0002 6100 00"), Malformed),
        ("the highest option bit [MQTT-3.8.3-5]", p(SUBSCRIBE, "0001 00 0001 61 80"), Malformed),
        ("an ill-formed second filter", p(SUBSCRIBE, "0001 00 0001 61 00 0002 6123 00"), Filter),
        (
            "$share with empty filter [MQTT-4.8.2-2]",
            p(SUBSCRIBE, "0001 00 0009 2473686172652f672f 00"),
            Filter,
        ),
        ("packet id 0 in UNSUBSCRIBE [MQTT-2.2.1-3]", p(UNSUBSCRIBE, "0000 00 0001 61"), Protocol),
        ("a subscription identifier in UNSUBSCRIBE", p(UNSUBSCRIBE, "0001 02 0b01 0001 61"), Malformed),
        ("empty filter in UNSUBSCRIBE [MQTT-4.7.3-1]", p(UNSUBSCRIBE, "0001 00 0000"), Filter),
        ("no filter [MQTT-3.8.3-2]", p(SUBSCRIBE, "0001 00"), Protocol),
        ("packet id 0 in SUBSCRIBE [MQTT-2.2.1-3]", p(SUBSCRIBE, "0000 00 0001 61 00"), Protocol),
        ("empty filter [MQTT-4.7.3-1]", p(SUBSCRIBE, "0001 00 0000 00"), Filter),
        ("# before the end [MQTT-4.7.1-1]", p(SUBSCRIBE, "0001 00 0003 232f61 00"), Filter),
        ("# with other characters [MQTT-4.7.1-1]", p(SUBSCRIBE, "0001 00 0002 6123 00"), Filter),
        ("+ with other characters [MQTT-4.7.1-2]", p(SUBSCRIBE, "0001 00 0002 612b 00"), Filter),
        ("$share without filter [MQTT-4.8.2-1]", p(SUBSCRIBE, "0001 00 0008 2473686172652f67 00"), Filter),
        (
            "$share with wildcard in its name [MQTT-4.8.2-2]",
            p(SUBSCRIBE, "0001 00 000a 2473686172652f2b2f61 00"),
            Filter,
        ),
        ("$share without name [MQTT-4.8.2-1]", p(SUBSCRIBE, "0001 00 0009 2473686172652f2f61 00"), Filter),
        ("no local on $share [MQTT-3.8.3-4]", p(SUBSCRIBE, "0001 00 000a 2473686172652f672f61 04"), Protocol),
        ("QoS 3 (3.8.3.1)", p(SUBSCRIBE, "0001 00 0001 61 03"), Protocol),
        ("retain handling 3 (3.8.3.1)", p(SUBSCRIBE, "0001 00 0001 61 30"), Protocol),
        ("reserved option bits [MQTT-3.8.3-5]", p(SUBSCRIBE, "0001 00 0001 61 40"), Malformed),
        ("two subscription identifiers (3.8.2.1.2)", p(SUBSCRIBE, "0001 04 0b01 0b02 0001 61 00"), Protocol),
        ("filter without options", p(SUBSCRIBE, "0001 00 0001 61"), Malformed),
        ("UNSUBSCRIBE without filter [MQTT-3.10.3-2]", p(UNSUBSCRIBE, "0001 00"), Protocol),
        ("ill-formed filter in UNSUBSCRIBE", p(UNSUBSCRIBE, "0001 00 0002 6123"), Filter),
        // DISCONNECT, AUTH.
        ("flags of DISCONNECT [MQTT-3.14.1-1]", hex("e1 00"), Malformed),
        ("DISCONNECT with a reason of SUBACK (3.14.2.1)", p(DISCONNECT, "01"), Malformed),
        ("DISCONNECT with bytes after its properties", p(DISCONNECT, "00 00 00"), Malformed),
        ("DISCONNECT whose properties are cut off", p(DISCONNECT, "00 05 11"), Malformed),
        ("session expiry twice (3.14.2.2.2)", p(DISCONNECT, "00 0a 1100000001 1100000001"), Protocol),
        ("flags of AUTH [MQTT-3.15.1-1]", hex("f1 00"), Malformed),
        ("AUTH with a reason alone (3.15.2.1)", p(AUTH, "18"), Malformed),
        ("AUTH with data alone (3.15.2.2.3)", p(AUTH, "18 04 16000161"), Protocol),
        ("AUTH with two methods (3.15.2.2.2)", p(AUTH, "18 08 15000161 15000161"), Protocol),
        ("DISCONNECT with an unknown reason", p(DISCONNECT, "7e"), Malformed),
        ("DISCONNECT with a property of CONNECT", p(DISCONNECT, "00 03 210001"), Malformed),
        ("AUTH without method (3.15.2.2.2)", p(AUTH, "18 00"), Protocol),
        ("AUTH with a reason of another packet", p(AUTH, "80 04 15000161"), Malformed),
    ];
    check_rejected(Version::V5, &rows);
}

#[test]
fn odd_but_valid_v5_packets_are_accepted() {
    let p = |first, body: &str| framed(first, &hex(body));
    let rows = [
        ("DISCONNECT of two bytes (3.14.2.1)", hex("e0 00")),
        ("DISCONNECT with a reason alone (3.14.2.2.1)", p(DISCONNECT, "04")),
        ("PUBACK of two bytes (3.4.2.1)", p(PUBACK, "0001")),
        ("PUBACK with a reason alone (3.4.2.2.1)", p(PUBACK, "0001 10")),
        ("PUBACK with empty properties", p(PUBACK, "0001 00 00")),
        ("PUBREL with a reason alone", p(PUBREL, "0001 92")),
        ("PUBLISH with an alias alone (3.3.2.3.4)", p(PUBLISH, "0000 03 230001")),
        ("PUBLISH without payload (3.3.3)", p(PUBLISH, "0001 61 00")),
        ("message expiry 0 (3.3.2.3.3)", p(PUBLISH, "0001 61 05 0200000000 78")),
        ("several equal user properties (3.3.2.3.7)", p(PUBLISH, "0001 61 0e 26000161000162 26000161000162")),
        ("empty user property", p(PUBLISH, "0001 61 05 2600000000")),
        ("empty correlation data", p(PUBLISH, "0001 61 03 090000")),
        ("empty content type", p(PUBLISH, "0001 61 03 030000")),
        ("topic with empty levels (4.7.3)", p(PUBLISH, "0004 2f2f612f 00")),
        ("topic with a byte order mark [MQTT-1.5.4-3]", p(PUBLISH, "0004 efbbbf61 00")),
        ("topic with control characters (1.5.4)", p(PUBLISH, "0002 0161 00")),
        ("packet id 65535", p(PUBLISH_1, "0001 61 ffff 00")),
        ("CONNECT without client id (3.1.3.1)", p(CONNECT, "0004 4d515454 05 02 0000 00 0000")),
        ("password without user name (3.1.2.9)", p(CONNECT, "0004 4d515454 05 42 003c 00 0000 0001 70")),
        ("empty user name", p(CONNECT, "0004 4d515454 05 82 003c 00 0000 0000")),
        ("session expiry for ever", p(CONNECT, "0004 4d515454 05 00 003c 05 11ffffffff 0000")),
        ("receive maximum 65535", p(CONNECT, "0004 4d515454 05 02 003c 03 21ffff 0000")),
        ("will without payload", p(CONNECT, "0004 4d515454 05 06 003c 00 0000 00 0001 77 0000")),
        ("filter / (4.7.1.1)", p(SUBSCRIBE, "0001 00 0001 2f 00")),
        ("filter +/+/# (4.7.1)", p(SUBSCRIBE, "0001 00 0005 2b2f2b2f23 01")),
        ("filter $share without /", p(SUBSCRIBE, "0001 00 0006 247368617265 00")),
        ("shared subscription", p(SUBSCRIBE, "0001 00 000a 2473686172652f672f61 01")),
        ("largest subscription identifier", p(SUBSCRIBE, "0001 05 0bffffff7f 0001 61 2e")),
        ("AUTH of two bytes (3.15.2.1)", hex("f0 00")),
        ("AUTH with a method (3.15.2.2.2)", p(AUTH, "19 04 15000161")),
        ("DISCONNECT with a session expiry (3.14.2.2.2)", p(DISCONNECT, "00 05 1100000000")),
        ("topic and alias together (3.3.2.3.4)", p(PUBLISH, "0001 61 03 23ffff 78")),
        ("DUP with QoS 1", p(0x3a, "0001 61 0001 00")),
        ("a character of four bytes in a topic", p(PUBLISH, "0004 f09f9880 00")),
        ("U+FFFF in a topic (1.5.4)", p(PUBLISH, "0003 efbfbf 00")),
        ("PUBREC of two bytes (3.5.2.1)", p(0x50, "0001")),
        ("PUBCOMP with a reason alone (3.7.2.1)", p(0x70, "0001 92")),
        ("PUBACK with words (3.4.2.2.2)", p(PUBACK, "0001 87 05 1f00026e6f")),
        ("a filter twice in one SUBSCRIBE", p(SUBSCRIBE, "ffff 00 0001 61 00 0001 61 01")),
        ("UNSUBSCRIBE from a share", p(UNSUBSCRIBE, "0001 00 000a 2473686172652f672f61")),
    ];
    assert!(rows.len() >= 16);
    check_accepted(Version::V5, &rows);
}

#[test]
fn malformed_v3_packets_are_rejected() {
    let p = |first, body: &str| framed(first, &hex(body));
    let rows = [
        (
            "password without user name 3.1.1 [MQTT-3.1.2-22]",
            p(CONNECT, "0004 4d515454 04 42 003c 0001 61 0001 70"),
            Malformed,
        ),
        ("empty topic [MQTT-4.7.3-1]", p(PUBLISH, "0000 78"), Topic),
        ("options of MQTT 5 in SUBSCRIBE 3.1.1 [MQTT-3.8.3-4]", p(SUBSCRIBE, "0001 0001 61 08"), Malformed),
        ("QoS 3 in SUBSCRIBE 3.1.1 [MQTT-3.8.3-4]", p(SUBSCRIBE, "0001 0001 61 03"), Protocol),
        ("no filter 3.1.1 [MQTT-3.8.3-3]", p(SUBSCRIBE, "0001"), Protocol),
        ("ill-formed filter", p(SUBSCRIBE, "0001 0002 6123 00"), Filter),
        ("PUBACK with a reason", p(PUBACK, "0001 00"), Malformed),
        ("DISCONNECT with a reason", p(DISCONNECT, "00"), Malformed),
        ("AUTH", p(AUTH, ""), Protocol),
        ("length of five bytes (2.2.3)", hex("30 8080808001"), Malformed),
        ("reserved connect flag [MQTT-3.1.2-3]", p(CONNECT, "0004 4d515454 04 03 003c 0001 61"), Malformed),
        ("will QoS without will [MQTT-3.1.2-13]", p(CONNECT, "0004 4d515454 04 0a 003c 0001 61"), Malformed),
        (
            "will QoS 3 [MQTT-3.1.2-14]",
            p(CONNECT, "0004 4d515454 04 1e 003c 0001 61 0001 77 0000"),
            Malformed,
        ),
        ("level 3 under the new name", p(CONNECT, "0004 4d515454 03 02 003c 0001 61"), Unsupported),
        ("DUP with QoS 0 [MQTT-3.3.1-2]", p(0x38, "0001 61"), Malformed),
        ("QoS 3 [MQTT-3.3.1-4]", p(0x36, "0001 61 0001"), Malformed),
        ("packet id 0, 3.1.1 [MQTT-2.3.1-1]", p(PUBLISH_1, "0001 61 0000"), Protocol),
        ("wildcard in a topic [MQTT-3.3.2-2]", p(PUBLISH, "0001 2b"), Topic),
        ("U+0000 in a topic, 3.1.1 [MQTT-1.5.3-2]", p(PUBLISH, "0001 00"), Malformed),
        ("PUBREL without its flag [MQTT-3.6.1-1]", hex("60 02 0001"), Malformed),
        ("SUBSCRIBE without its flag [MQTT-3.8.1-1]", hex("80 06 0001 0001 61 00"), Malformed),
        ("packet id 0 in SUBSCRIBE, 3.1.1 [MQTT-2.3.1-1]", p(SUBSCRIBE, "0000 0001 61 00"), Protocol),
        ("UNSUBSCRIBE without filter [MQTT-3.10.3-2]", p(UNSUBSCRIBE, "0001"), Protocol),
        ("PINGREQ with a body", p(0xc0, "00"), Malformed),
    ];
    check_rejected(Version::V311, &rows);
}

#[test]
fn odd_but_valid_v3_packets_are_accepted() {
    let p = |first, body: &str| framed(first, &hex(body));
    let rows = [
        ("MQTT 3.1", p(CONNECT, "0006 4d5149736470 03 02 003c 0001 61")),
        ("length in four bytes", hex("c0 80808000")),
        ("empty client id with clean session", p(CONNECT, "0004 4d515454 04 02 0000 0000")),
        ("PUBLISH without payload", p(PUBLISH, "0001 61")),
        ("several filters", p(SUBSCRIBE, "0001 0001 61 00 0001 62 02")),
        (
            "a client id of 24 bytes",
            p(CONNECT, &format!("0004 4d515454 04 02 003c 0018 {}", "61".repeat(24))),
        ),
        ("retained will with QoS 2", p(CONNECT, "0004 4d515454 04 36 003c 0001 61 0001 77 0000")),
        ("empty user name", p(CONNECT, "0004 4d515454 04 82 003c 0001 61 0000")),
        ("DUP with QoS 2", p(0x3c, "0001 61 0001")),
    ];
    check_accepted(Version::V311, &rows);
}

#[test]
fn nothing_but_connect_comes_first() {
    for (first, body) in [(PUBLISH, "0001 61"), (0xc0, ""), (SUBSCRIBE, "0001 0001 61 00"), (DISCONNECT, "")]
    {
        let bytes = framed(first, &hex(body));
        let read = Decoder::new(Role::Server, 1024).next(&mut bytes.as_slice());
        assert!(matches!(read, Err(DecodeError::Unexpected(_))), "{read:?}");
    }
    // Another protocol is noticed at its first byte.
    assert_eq!(Decoder::new(Role::Server, 1024).next(&mut &b"G"[..]), Err(DecodeError::Flags(Kind::PubAck)));
}

#[test]
fn the_size_limit_holds_exactly_and_before_the_body_arrives() {
    let body = [&[0, 1, b'a'][..], &[b'x'; 95]].concat();
    let packet = framed(PUBLISH, &body);
    assert_eq!(packet.len(), 100);
    let mut decoder = server_decoder(Version::V311);
    decoder.set_limit(100);
    assert!(matches!(decoder.next(&mut packet.as_slice()), Ok(Some(_))));
    decoder.set_limit(99);
    assert_eq!(decoder.next(&mut &packet[..2]), Err(DecodeError::TooLarge { size: 100, limit: 99 }));
}

#[test]
fn secrets_are_not_shown() {
    let bytes = framed(
        CONNECT,
        &hex("0004 4d515454 05 c2 003c 0b 15000161 16000468756e74 0000 0001 75 0006 68756e746572"),
    );
    let packet = read(Version::V5, &bytes).unwrap().unwrap();
    let shown = format!("{packet:?}");
    assert!(!shown.contains("hunt") && !shown.contains("104"), "{shown}");
}

/// Packets without room for parts are read where they lie: none of them may turn out to have one.
#[test]
fn every_packet_of_up_to_three_bytes_after_its_header_is_read_or_rejected() {
    let telling = [0x00, 0x01, 0x02, 0x03, 0x0B, 0x11, 0x15, 0x16, 0x1F, 0x26, 0x61, 0x7F, 0x80, 0xC3, 0xFF];
    let bodies = || {
        let one = telling.iter().map(|&a| vec![a]);
        let two = telling.iter().flat_map(move |&a| telling.map(|b| vec![a, b]));
        let three =
            telling.iter().flat_map(move |&a| telling.map(|b| telling.map(|c| vec![a, b, c]))).flatten();
        [vec![]].into_iter().chain(one).chain(two).chain(three)
    };
    let mut read = 0;
    for version in [Version::V311, Version::V5] {
        for first in (0..=u8::MAX).filter(|&first| Kind::from_first_byte(first).is_ok()) {
            for body in bodies() {
                let packet = framed(first, &body);
                for mut decoder in [server_decoder(version), Decoder::new(Role::Client(version), 1024)] {
                    // Whole, and in two pieces: it is then read from what was kept.
                    let whole = decoder.next(&mut packet.as_slice());
                    read += usize::from(matches!(whole, Ok(Some(_))));
                    if whole.is_ok() {
                        let mut pieces = [&packet[..1], &packet[1..]].into_iter();
                        let again = pieces.find_map(|mut piece| decoder.next(&mut piece).transpose());
                        assert_eq!(again.map(Result::ok), Some(whole.ok().flatten()), "{packet:02x?}");
                    }
                }
            }
        }
    }
    assert!(read > 1000, "{read}");
}
