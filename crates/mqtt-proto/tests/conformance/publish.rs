//! §3.3 PUBLISH to §3.7 PUBCOMP.

use crate::script::Row;

pub(crate) const ROWS: &[Row] = &[
    (
        "[MQTT-3.3.1-1], [MQTT-4.4.0-1], 3.1.1 [MQTT-3.3.1-1], 3.1.1 [MQTT-4.4.0-1]: what is sent again says so",
        "connected
         send 1 7
         = written 1
         < 32: \"a/b\" 0001 {} 'x'
         send 2 8
         = written 2
         < 34: \"a/b\" 0002 {} 'x'
         send 2 9
         = written 3
         < 34: \"a/b\" 0003 {} 'x'
         > 50: 0003
         < 62: 0003
         lost
         closed lost
         again
         > 10: \"MQTT\" L 00 0000 {} \"c\"
         ! connect c
         accept present
         < 20: 01 00 ..
         < 62: 0003
         resend 1
         = true
         < 3a: \"a/b\" 0001 {} 'x'
         resend 2
         = true
         < 3c: \"a/b\" 0002 {} 'x'",
    ),
    (
        "[MQTT-3.3.1-2], 3.1.1 [MQTT-3.3.1-2]: QoS 0 is never sent again",
        "connected
         > 38: \"a\" {} 'x'
         v5 < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-3.3.1-4], 3.1.1 [MQTT-3.3.1-4]: there is no QoS 3",
        "connected
         > 36: \"a\" 0001 {} 'x'
         v5 < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-3.3.2-1], 3.1.1 [MQTT-3.3.2-1]: the topic comes first, and whole",
        "connected
         > 30: 0005 6162
         v5 < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-3.3.2-2], [MQTT-4.7.0-1], 3.1.1 [MQTT-3.3.2-2], 3.1.1 [MQTT-4.7.1-1]: no + in a topic",
        "connected
         > 30: \"a/+\" {} 'x'
         v5 < e0: 90 ..
         closed violation 90",
    ),
    (
        "[MQTT-3.3.2-2], [MQTT-4.7.0-1], 3.1.1 [MQTT-3.3.2-2], 3.1.1 [MQTT-4.7.1-1]: nor #",
        "connected
         > 30: \"a/#\" {} 'x'
         v5 < e0: 90 ..
         closed violation 90",
    ),
    (
        "[MQTT-3.3.2-7]: aliases end with their connection",
        "connected
         > 30: \"a\" { 23 0001 } 'x'
         ! publish a \"x\" qos0 TopicAlias(1)
         lost
         closed lost
         again
         > 10: \"MQTT\" L 00 0000 {} \"c\"
         ! connect c
         accept present
         < 20: 01 00 ..
         > 30: \"\" { 23 0001 } 'x'
         < e0: 94 ..
         closed violation 94",
    ),
    (
        "[MQTT-3.3.2-8]: there is no alias 0",
        "connected
         > 30: \"a\" { 23 0000 } 'x'
         < e0: 94 ..
         closed violation 94",
    ),
    (
        "[MQTT-3.3.2-13]: a response topic is UTF-8",
        "connected
         > 30: \"a\" { 08 0001 ff } 'x'
         < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-3.3.2-14]: without wildcards",
        "connected
         > 30: \"a\" { 08 \"b/+\" } 'x'
         < e0: 82 ..
         closed violation 82",
    ),
    (
        "[MQTT-3.3.2-17], [MQTT-3.3.2-18]: user properties are handed on in their order, equal ones too",
        "connected
         > 30: \"a\" { 26 \"k\" \"2\" 26 \"j\" \"1\" 26 \"k\" \"2\" } 'x'
         ! publish a \"x\" qos0 User(\"k\", \"2\") User(\"j\", \"1\") User(\"k\", \"2\")",
    ),
    (
        "[MQTT-3.3.2-19]: a content type is UTF-8",
        "connected
         > 30: \"a\" { 03 0001 ff } 'x'
         < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-3.3.4-1], 3.1.1 [MQTT-3.3.4-1]: QoS 0 is not answered, 1 with PUBACK, 2 with PUBREC",
        "connected
         > 30: \"a\" {} 'x' + 32: \"a\" 0001 {} 'y' + 34: \"a\" 0002 {} 'z'
         ! publish a \"x\" qos0
         ! publish a \"y\" qos1
         ! publish a \"z\" qos2
         answer 2 00
         < 40: 0001
         answer 3 00
         < 50: 0002",
    ),
    (
        "[MQTT-3.3.4-6]: a client sends no subscription identifier",
        "connected
         > 30: \"a\" { 0b 01 } 'x'
         < e0: 82 ..
         closed violation 82",
    ),
    (
        "[MQTT-3.3.4-7]: nor more messages than the receive maximum",
        "limits receive-maximum 2
         connected
         > 32: \"a\" 0001 {} 'x' + 34: \"a\" 0002 {} 'y'
         ! publish a \"x\" qos1
         ! publish a \"y\" qos2
         answer 1 00
         < 40: 0001
         > 32: \"a\" 0003 {} 'z'
         ! publish a \"z\" qos1
         > 32: \"a\" 0004 {} 'z'
         < e0: 93 ..
         closed violation 93",
    ),
    (
        "[MQTT-3.3.4-9], [MQTT-4.9.0-1], [MQTT-4.9.0-2]: nor does the server exceed that of the client",
        "> 10: \"MQTT\" L 02 0000 { 21 0002 } \"c\"
         ! connect c clean
         accept
         < 20: 00 00 ..
         send 1 1
         = written 1
         < 32: \"a/b\" 0001 {} 'x'
         send 2 2
         = written 2
         < 34: \"a/b\" 0002 {} 'x'
         send 1 3
         = window full
         send 0 4
         = written
         < 30: \"a/b\" {} 'x'
         > 50: 0002
         < 62: 0002
         send 1 3
         = window full
         > 70: 0002
         ! delivered 2 2 00
         send 1 3
         = written 3
         < 32: \"a/b\" 0003 {} 'x'
         send 1 4
         = window full
         > 40: 0001 87
         ! delivered 1 1 87
         send 1 4
         = written 4
         < 32: \"a/b\" 0004 {} 'x'",
    ),
    (
        "[MQTT-3.3.4-10], [MQTT-4.9.0-3]: a full window holds up messages and nothing else",
        "> 10: \"MQTT\" L 02 0000 { 21 0001 } \"c\"
         ! connect c clean
         accept
         < 20: 00 00 ..
         send 1 1
         = written 1
         < 32: \"a/b\" 0001 {} 'x'
         send 1 2
         = window full
         > c0: + 32: \"a\" 0001 {} 'x' + 82: 0002 {} \"a\" 00
         < d0:
         ! publish a \"x\" qos1
         ! subscribe 2 a:0
         answer 1 00
         < 40: 0001
         suback 2 00
         < 90: 0002 {} 00",
    ),
    (
        "3.1.1 [MQTT-3.3.5-2]: what is not allowed is not acknowledged: the connection ends",
        "connected
         > 32: \"a\" 0001 {} 'x'
         ! publish a \"x\" qos1
         answer 1 87
         closed refused 87",
    ),
    (
        "[MQTT-3.4.2-1]: PUBACK has no reason of other packets",
        "connected
         send 1 1
         = written 1
         < 32: \"a/b\" 0001 {} 'x'
         > 40: 0001 92
         < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-3.4.2-2]: words that make PUBACK too large are left out",
        "> 10: \"MQTT\" L 02 0000 { 27 00000014 } \"c\"
         ! connect c clean
         accept
         < 20: 00 00 ..
         > 32: \"a\" 0001 {} 'x'
         ! publish a \"x\" qos1
         answer 1 87 not yours at all
         < 40: 0001 87",
    ),
    (
        "[MQTT-3.5.2-1]: PUBREC has no reason of other packets",
        "connected
         send 2 1
         = written 1
         < 34: \"a/b\" 0001 {} 'x'
         > 50: 0001 92
         < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-3.5.2-2]: words that make PUBREC too large are left out",
        "> 10: \"MQTT\" L 02 0000 { 27 00000014 } \"c\"
         ! connect c clean
         accept
         < 20: 00 00 ..
         > 34: \"a\" 0001 {} 'x'
         ! publish a \"x\" qos2
         answer 1 87 not yours at all
         < 50: 0001 87",
    ),
    (
        "[MQTT-3.6.1-1], 3.1.1 [MQTT-3.6.1-1]: PUBREL has its flag",
        "connected
         > 60: 0001
         v5 < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-3.6.2-1]: PUBREL has no reason of other packets; the server's says when it knows no such message",
        "connected
         > 50: 0007
         < 62: 0007 92
         > 62: 0001 10
         < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-3.7.2-1]: nor has PUBCOMP",
        "connected
         > 62: 0007
         < 70: 0007 92
         > 70: 0001 10
         < e0: 81 ..
         closed violation 81",
    ),
];
