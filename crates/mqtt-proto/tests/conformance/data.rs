//! Chapters 1 and 2: how data are written, and what all packets have in common.

use crate::script::Row;

pub(crate) const ROWS: &[Row] = &[
    (
        "[MQTT-1.5.4-1], 3.1.1 [MQTT-1.5.3-1]: a string that is not UTF-8 ends the connection",
        "connected
         > 30: 0002 c328 {} 'x'
         v5 < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-1.5.4-1], 3.1.1 [MQTT-1.5.3-1]: so does an encoded surrogate",
        "connected
         > 30: 0003 eda080 {} 'x'
         v5 < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-1.5.4-2], 3.1.1 [MQTT-1.5.3-2]: so does U+0000",
        "connected
         > 30: 0003 610062 {} 'x'
         v5 < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-1.5.4-3], 3.1.1 [MQTT-1.5.3-3]: a byte order mark is a character like any other",
        "connected
         > 30: 0004 efbbbf61 {} 'x'
         ! publish \u{feff}a \"x\" qos0",
    ),
    (
        "[MQTT-1.5.5-1]: a length in more bytes than it needs is malformed",
        "connected
         > c0 8000
         < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-1.5.5-1]: so is the length of the properties",
        "connected
         > 30: \"a\" 8000 'x'
         < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-1.5.7-1]: the name of a user property is UTF-8",
        "connected
         > 30: \"a\" { 26 0001 ff \"v\" } 'x'
         < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-1.5.7-1]: and its value is without U+0000",
        "connected
         > 30: \"a\" { 26 \"n\" 0001 00 } 'x'
         < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-2.1.3-1], 3.1.1 [MQTT-2.2.2-1], 3.1.1 [MQTT-2.2.2-2]: reserved flags end the connection",
        "connected
         > c1:
         v5 < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-2.2.1-2], 3.1.1 [MQTT-2.3.1-5]: QoS 0 has no packet id, either way",
        "connected
         > 30: \"a\" {} 'xy'
         ! publish a \"xy\" qos0
         send 0 1
         = written
         < 30: \"a/b\" {} 'x'",
    ),
    (
        "[MQTT-2.2.1-3], 3.1.1 [MQTT-2.3.1-1]: a message with QoS 1 has no packet id 0",
        "connected
         > 32: \"a\" 0000 {} 'x'
         v5 < e0: 82 ..
         closed violation 82",
    ),
    (
        "[MQTT-2.2.1-3], 3.1.1 [MQTT-2.3.1-1]: nor has SUBSCRIBE",
        "connected
         > 82: 0000 {} \"a\" 00
         v5 < e0: 82 ..
         closed violation 82",
    ),
    (
        "[MQTT-2.2.1-3], 3.1.1 [MQTT-2.3.1-1]: nor has UNSUBSCRIBE",
        "connected
         > a2: 0000 {} \"a\"
         v5 < e0: 82 ..
         closed violation 82",
    ),
    (
        "[MQTT-2.2.1-3], 3.1.1 [MQTT-2.3.1-2]: a packet id in use names no other message",
        "connected
         > 32: \"a\" 0001 {} 'x' + 32: \"b\" 0001 {} 'y'
         ! publish a \"x\" qos1
         v5 < e0: 82 ..
         closed violation 82",
    ),
    (
        "[MQTT-2.2.1-4], 3.1.1 [MQTT-2.3.1-4]: the server's packet ids are not 0 and not in use",
        "connected
         send 1 70
         = written 1
         < 32: \"a/b\" 0001 {} 'x'
         send 2 71
         = written 2
         < 34: \"a/b\" 0002 {} 'x'
         > 40: 0001
         ! delivered 1 70 00
         send 1 72
         = written 3
         < 32: \"a/b\" 0003 {} 'x'",
    ),
    (
        "[MQTT-2.2.1-5], 3.1.1 [MQTT-2.3.1-6]: acknowledgements name the message",
        "connected
         > 32: \"a\" 1234 {} 'x' + 34: \"a\" 2345 {} 'y'
         ! publish a \"x\" qos1
         ! publish a \"y\" qos2
         answer 1 00
         < 40: 1234
         answer 2 00
         < 50: 2345
         > 62: 2345
         < 70: 2345
         send 2 1
         = written 1
         < 34: \"a/b\" 0001 {} 'x'
         > 50: 0001
         < 62: 0001
         > 70: 0001
         ! delivered 1 1 00",
    ),
    (
        "[MQTT-2.2.1-6], 3.1.1 [MQTT-2.3.1-7]: SUBACK and UNSUBACK name the request",
        "connected
         > 82: 1234 {} \"a\" 01
         ! subscribe 4660 a:1
         suback 4660 01
         < 90: 1234 {} 01
         > a2: 2345 {} \"a\"
         ! unsubscribe 9029 a
         unsuback 9029 00
         v5 < b0: 2345 {} 00
         v3 < b0: 2345",
    ),
    (
        "[MQTT-2.2.2-1]: no properties are a length of zero, which cannot be left out",
        "connected
         send 0 1
         = written
         < 30: \"a/b\" 00 'x'
         > 30: \"a\"
         < e0: 81 ..
         closed violation 81",
    ),
];
