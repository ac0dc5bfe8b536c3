//! §3.8 SUBSCRIBE to §3.11 UNSUBACK.

use crate::script::Row;

pub(crate) const ROWS: &[Row] = &[
    (
        "[MQTT-3.8.1-1], 3.1.1 [MQTT-3.8.1-1]: SUBSCRIBE has its flag",
        "connected
         > 80: 0001 {} \"a\" 00
         v5 < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-3.8.3-1], 3.1.1 [MQTT-3.8.3-1]: a filter is UTF-8",
        "connected
         > 82: 0001 {} 0001 ff 00
         v5 < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-3.8.3-2], 3.1.1 [MQTT-3.8.3-3]: there is a filter",
        "connected
         > 82: 0001 {}
         v5 < e0: 82 ..
         closed violation 82",
    ),
    (
        "[MQTT-3.8.3-2], 3.1.1 [MQTT-3.8.3-3]: with its options",
        "connected
         > 82: 0001 {} \"a\"
         v5 < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-3.8.3-4]: no local does not go with a shared subscription",
        "connected
         > 82: 0001 {} \"$share/g/a\" 04
         < e0: 82 ..
         closed violation 82",
    ),
    (
        "[MQTT-3.8.3-5], 3.1.1 [MQTT-3.8.3-4]: reserved options are zero",
        "connected
         v5 > 82: 0001 {} \"a\" 40
         v3 > 82: 0001 {} \"a\" 04
         v5 < e0: 81 ..
         closed violation 81",
    ),
    (
        "3.1.1 [MQTT-3.8.3-4]: there is no QoS 3",
        "connected
         > 82: 0001 {} \"a\" 03
         closed violation 82",
    ),
    (
        "[MQTT-3.8.4-1], [MQTT-3.8.4-2], 3.1.1 [MQTT-3.8.4-1], 3.1.1 [MQTT-3.8.4-2]: SUBSCRIBE is answered",
        "connected
         > 82: 0102 {} \"a\" 02
         ! subscribe 258 a:2
         suback 258 02
         < 90: 0102 {} 02",
    ),
    (
        "[MQTT-3.8.4-5], [MQTT-3.8.4-6], [MQTT-3.8.4-7], [MQTT-3.9.3-1], 3.1.1 [MQTT-3.8.4-4], 3.1.1 [MQTT-3.8.4-5], 3.1.1 [MQTT-3.9.3-1]: one answer, filter by filter",
        "connected
         > 82: 0001 {} \"a\" 00 \"+/b\" 01 \"c/#\" 02 \"d\" 02
         ! subscribe 1 a:0 +/b:1 c/#:2 d:2
         suback 1 00 01 02 87
         v5 < 90: 0001 {} 00 01 02 87
         v3 < 90: 0001 00 01 02 80",
    ),
    (
        "[MQTT-3.9.2-1]: words that make SUBACK too large are left out",
        "> 10: \"MQTT\" L 02 0000 { 27 00000014 } \"c\"
         ! connect c clean
         accept
         < 20: 00 00 ..
         > 82: 0001 {} \"a\" 00
         ! subscribe 1 a:0
         suback 1 87 | not yours at all
         < 90: 0001 {} 87",
    ),
    (
        "[MQTT-3.9.3-2], 3.1.1 [MQTT-3.9.3-2]: a refusal has a code that the version knows",
        "connected
         > 82: 0001 {} \"a\" 00
         ! subscribe 1 a:0
         suback 1 8f
         v5 < 90: 0001 {} 8f
         v3 < 90: 0001 80",
    ),
    (
        "[MQTT-3.10.1-1], 3.1.1 [MQTT-3.10.1-1]: UNSUBSCRIBE has its flag",
        "connected
         > a0: 0001 {} \"a\"
         v5 < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-3.10.3-1], 3.1.1 [MQTT-3.10.3-1]: its filters are UTF-8",
        "connected
         > a2: 0001 {} \"a\" 0001 ff
         v5 < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-3.10.3-2], 3.1.1 [MQTT-3.10.3-2]: there is one at least",
        "connected
         > a2: 0001 {}
         v5 < e0: 82 ..
         closed violation 82",
    ),
    (
        "[MQTT-3.10.4-3], 3.1.1 [MQTT-3.10.4-3]: what was on its way when the subscription ended is finished",
        "connected
         send 2 7
         = written 1
         < 34: \"a/b\" 0001 {} 'x'
         > a2: 0001 {} \"a/b\"
         ! unsubscribe 1 a/b
         unsuback 1 00
         v5 < b0: 0001 {} 00
         v3 < b0: 0001
         > 50: 0001
         < 62: 0001
         > 70: 0001
         ! delivered 1 7 00",
    ),
    (
        "[MQTT-3.10.4-4], [MQTT-3.10.4-5], 3.1.1 [MQTT-3.10.4-4], 3.1.1 [MQTT-3.10.4-5]: UNSUBSCRIBE is answered, also of nothing",
        "connected
         > a2: 0102 {} \"a\"
         ! unsubscribe 258 a
         unsuback 258 11
         v5 < b0: 0102 {} 11
         v3 < b0: 0102",
    ),
    (
        "[MQTT-3.10.4-6], [MQTT-3.11.3-1], [MQTT-3.11.3-2], 3.1.1 [MQTT-3.10.4-6]: one answer, filter by filter",
        "connected
         > a2: 0001 {} \"a\" \"b/#\" \"c\"
         ! unsubscribe 1 a b/# c
         unsuback 1 00 11 00
         v5 < b0: 0001 {} 00 11 00
         v3 < b0: 0001",
    ),
];
