//! Chapter 4: how the packets go together.

use crate::script::Row;

pub(crate) const ROWS: &[Row] = &[
    (
        "[MQTT-4.1.0-1], 3.1.1 [MQTT-4.1.0-1], 3.1.1 [MQTT-4.1.0-2]: a session lasts as long as its connection",
        "connected
         send 2 7
         = written 1
         < 34: \"a/b\" 0001 {} 'x'
         > 34: \"a\" 0001 {} 'y'
         ! publish a \"y\" qos2
         answer 1 00
         < 50: 0001
         wait 10000000
         > 50: 0001
         < 62: 0001
         > 34: \"a\" 0001 {} 'y'
         < 50: 0001",
    ),
    (
        "[MQTT-4.3.1-1], 3.1.1 [MQTT-4.3.1-1]: QoS 0 goes once, without DUP",
        "connected
         send 0 1
         = written
         < 30: \"a/b\" {} 'x'",
    ),
    (
        "[MQTT-4.3.2-1], [MQTT-4.3.2-2], [MQTT-4.3.2-3], 3.1.1 [MQTT-4.3.2-1]: QoS 1 waits for PUBACK",
        "connected
         send 1 7
         = written 1
         < 32: \"a/b\" 0001 {} 'x'
         send 1 8
         = written 2
         < 32: \"a/b\" 0002 {} 'x'
         > 40: 0002
         ! delivered 2 8 00
         lost
         closed lost
         again
         > 10: \"MQTT\" L 00 0000 {} \"c\"
         ! connect c
         accept present
         < 20: 01 00 ..
         resend 2
         = false
         resend 1
         = true
         < 3a: \"a/b\" 0001 {} 'x'
         > 40: 0001
         ! delivered 1 7 00
         resend 1
         = false",
    ),
    (
        "[MQTT-4.3.2-4], [MQTT-4.3.2-5], 3.1.1 [MQTT-4.3.2-2]: after PUBACK the packet id is a new message's, DUP or not",
        "connected
         > 32: \"a\" 0001 {} 'x'
         ! publish a \"x\" qos1
         answer 1 00
         < 40: 0001
         > 3a: \"a\" 0001 {} 'x'
         ! publish a \"x\" qos1 dup
         answer 2 00
         < 40: 0001",
    ),
    (
        "[MQTT-4.3.3-1], [MQTT-4.3.3-2], [MQTT-4.3.3-3], [MQTT-4.3.3-4], [MQTT-4.3.3-5], 3.1.1 [MQTT-4.3.3-1]: QoS 2 goes in four steps",
        "connected
         send 2 7
         = written 1
         < 34: \"a/b\" 0001 {} 'x'
         send 2 8
         = written 2
         < 34: \"a/b\" 0002 {} 'x'
         > 50: 0001
         < 62: 0001
         lost
         closed lost
         again
         > 10: \"MQTT\" L 00 0000 {} \"c\"
         ! connect c
         accept present
         < 20: 01 00 ..
         < 62: 0001
         resend 2
         = true
         < 3c: \"a/b\" 0002 {} 'x'
         > 70: 0001
         ! delivered 1 7 00",
    ),
    (
        "[MQTT-4.3.3-6], 3.1.1 [MQTT-4.3.3-1]: after PUBREL the message is not sent again",
        "connected
         send 2 7
         = written 1
         < 34: \"a/b\" 0001 {} 'x'
         > 50: 0001
         < 62: 0001
         resend 1
         = false
         > 50: 0001
         < 62: 0001",
    ),
    (
        "[MQTT-4.3.3-8], [MQTT-4.3.3-10], [MQTT-4.3.3-11], 3.1.1 [MQTT-4.3.3-2]: a message that comes again is told once",
        "connected
         > 34: \"a\" 0001 {} 'x'
         ! publish a \"x\" qos2
         > 3c: \"a\" 0001 {} 'x'
         answer 1 00
         < 50: 0001
         > 3c: \"a\" 0001 {} 'x'
         < 50: 0001
         lost
         closed lost
         again
         > 10: \"MQTT\" L 00 0000 {} \"c\"
         ! connect c
         accept present
         < 20: 01 00 ..
         > 3c: \"a\" 0001 {} 'x'
         < 50: 0001
         > 62: 0001
         < 70: 0001",
    ),
    (
        "[MQTT-4.3.3-9]: after a refusal the packet id is a new message's",
        "connected
         > 34: \"a\" 0001 {} 'x'
         ! publish a \"x\" qos2
         answer 1 87
         < 50: 0001 87
         > 34: \"a\" 0001 {} 'y'
         ! publish a \"y\" qos2
         answer 2 00
         < 50: 0001",
    ),
    (
        "[MQTT-4.3.3-12], 3.1.1 [MQTT-4.3.3-2]: and after PUBCOMP",
        "connected
         > 34: \"a\" 0001 {} 'x'
         ! publish a \"x\" qos2
         answer 1 00
         < 50: 0001
         > 62: 0001
         < 70: 0001
         > 3c: \"a\" 0001 {} 'x'
         ! publish a \"x\" qos2 dup
         answer 2 00
         < 50: 0001",
    ),
    (
        "[MQTT-4.3.3-13]: also if the message has expired meanwhile",
        "connected
         > 34: \"a\" 0001 { 02 00000001 } 'x'
         ! publish a \"x\" qos2 MessageExpiry(1)
         answer 1 00
         < 50: 0001
         wait 10
         > 34: \"a\" 0001 { 02 00000001 } 'x'
         < 50: 0001
         > 62: 0001
         < 70: 0001",
    ),
    (
        "[MQTT-4.4.0-2]: a message that the client refuses is done",
        "connected
         send 1 7
         = written 1
         < 32: \"a/b\" 0001 {} 'x'
         send 2 8
         = written 2
         < 34: \"a/b\" 0002 {} 'x'
         > 40: 0001 80
         ! delivered 1 7 80
         > 50: 0002 80
         ! delivered 2 8 80
         resend 1
         = false
         resend 2
         = false",
    ),
    (
        "3.1.1 [MQTT-4.6.0-1], 3.1.1 [MQTT-4.6.0-6]: answers and PUBREL keep the order of what they answer",
        "connected
         > 32: \"a\" 0001 {} '1' + 34: \"a\" 0002 {} '2' + 32: \"a\" 0003 {} '3'
         ! publish a \"1\" qos1
         ! publish a \"2\" qos2
         ! publish a \"3\" qos1
         answer 3 00
         answer 2 00
         answer 1 00
         < 40: 0001
         < 50: 0002
         < 40: 0003
         send 2 1
         = written 1
         < 34: \"a/b\" 0001 {} 'x'
         send 2 2
         = written 2
         < 34: \"a/b\" 0002 {} 'x'
         > 50: 0002 + 50: 0001
         < 62: 0002
         < 62: 0001",
    ),
    (
        "[MQTT-4.7.1-1], 3.1.1 [MQTT-4.7.1-2]: # is alone in its level",
        "connected
         > 82: 0001 {} \"a#\" 00
         v5 < e0: 8f ..
         closed violation 8f",
    ),
    (
        "[MQTT-4.7.1-1], 3.1.1 [MQTT-4.7.1-2]: which is the last",
        "connected
         > 82: 0001 {} \"a/#/b\" 00
         v5 < e0: 8f ..
         closed violation 8f",
    ),
    (
        "[MQTT-4.7.1-2], 3.1.1 [MQTT-4.7.1-3]: + is alone in its level",
        "connected
         > 82: 0001 {} \"a/b+\" 00
         v5 < e0: 8f ..
         closed violation 8f",
    ),
    (
        "[MQTT-4.7.1-1], [MQTT-4.7.1-2], 3.1.1 [MQTT-4.7.1-2], 3.1.1 [MQTT-4.7.1-3]: so far all is allowed",
        "connected
         > 82: 0001 {} \"#\" 00 \"+\" 00 \"/#\" 00 \"+/+/#\" 00 \"a/+/b\" 00
         ! subscribe 1 #:0 +:0 /#:0 +/+/#:0 a/+/b:0
         suback 1 00 00 00 00 00
         < 90: 0001 {} 00 00 00 00 00",
    ),
    (
        "[MQTT-4.7.3-1], 3.1.1 [MQTT-4.7.3-1]: an empty filter is none",
        "connected
         > 82: 0001 {} \"\" 00
         v5 < e0: 8f ..
         closed violation 8f",
    ),
    (
        "3.1.1 [MQTT-4.7.3-1]: an empty topic is none",
        "connected
         > 30: \"\" 'x'
         closed violation 90",
    ),
    (
        "[MQTT-4.7.3-1]: nor is one without an alias",
        "connected
         > 30: \"\" {} 'x'
         < e0: 82 ..
         closed violation 82",
    ),
    (
        "[MQTT-4.7.3-2], 3.1.1 [MQTT-4.7.3-2]: no U+0000 in a filter",
        "connected
         > 82: 0001 {} 0003 610062 00
         v5 < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-4.7.3-4], 3.1.1 [MQTT-4.7.3-4]: names are handed on as they came",
        "connected
         > 30: \"/a//B \u{e9}e\u{301}\" {} 'x' + 82: 0001 {} \"A//\" 00
         ! publish /a//B \u{e9}e\u{301} \"x\" qos0
         ! subscribe 1 A//:0
         suback 1 00
         < 90: 0001 {} 00",
    ),
    (
        "[MQTT-4.8.2-1]: a shared subscription has a name",
        "connected
         > 82: 0001 {} \"$share//a\" 00
         < e0: 8f ..
         closed violation 8f",
    ),
    (
        "[MQTT-4.8.2-2]: without wildcards in it",
        "connected
         > 82: 0001 {} \"$share/+/a\" 00
         < e0: 8f ..
         closed violation 8f",
    ),
    (
        "[MQTT-4.8.2-2]: and a filter",
        "connected
         > 82: 0001 {} \"$share/g\" 00
         < e0: 8f ..
         closed violation 8f",
    ),
    (
        "3.1.1 [MQTT-4.8.0-1]: a packet that does not belong there ends the connection",
        "connected
         > d0:
         closed violation 82",
    ),
    (
        "3.1.1 [MQTT-4.8.0-2]: a message that cannot be taken now ends it too",
        "connected
         > 32: \"a\" 0001 {} 'x'
         ! publish a \"x\" qos1
         answer 1 97
         closed refused 97",
    ),
    (
        "[MQTT-4.12.0-7]: AUTH without a method in CONNECT does not belong there",
        "connected
         > f0: 18 { 15 \"m\" }
         < e0: 82 ..
         closed violation 82",
    ),
    (
        "[MQTT-4.13.1-1], [MQTT-4.13.2-1]: an error ends the connection",
        "connected
         > 30: \"a\" { 01 00 01 01 } 'x' + c0:
         < e0: 82 ..
         closed violation 82",
    ),
];
