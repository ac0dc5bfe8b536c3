//! §3.12 PINGREQ to §3.15 AUTH.

use crate::script::Row;

pub(crate) const ROWS: &[Row] = &[
    (
        "[MQTT-3.12.4-1], 3.1.1 [MQTT-3.12.4-1]: PINGREQ is answered",
        "connected
         > c0: + c0:
         < d0:
         < d0:",
    ),
    (
        "[MQTT-3.14.0-1]: no DISCONNECT before CONNACK",
        "> 10: \"MQTT\" L 02 0000 {} \"c\"
         ! connect c clean
         disconnect 8b
         closed by the server 8b",
    ),
    (
        "[MQTT-3.14.1-1], 3.1.1 [MQTT-3.14.1-1]: the flags of DISCONNECT are zero, or it is none",
        "> 10: \"MQTT\" L 06 0000 {} \"c\" {} \"w\" \"bye\"
         ! connect c clean will w \"bye\" qos0
         accept
         < 20: 00 00 ..
         > e1:
         v5 < e0: 81 ..
         closed violation 81, will w \"bye\" qos0",
    ),
    (
        "[MQTT-3.14.2-1]: DISCONNECT has no reason of other packets",
        "connected
         > e0: 10
         < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-3.14.2-2], [MQTT-4.13.2-1]: the server's says the reason and nothing of sessions",
        "connected
         disconnect 8e
         < e0: 8e
         closed by the server 8e",
    ),
    (
        "[MQTT-3.14.2-3]: words that make it too large are left out",
        "> 10: \"MQTT\" L 02 0000 { 27 00000014 } \"c\"
         ! connect c clean
         accept
         < 20: 00 00 ..
         disconnect 8b the server stops now
         < e0: 8b
         closed by the server 8b",
    ),
    (
        "[MQTT-3.14.4-1], [MQTT-3.14.4-2]: nothing is said after DISCONNECT, and the connection is closed",
        "connected
         disconnect 8e
         < e0: 8e
         send 0 1
         = not connected
         > c0:
         closed by the server 8e",
    ),
    (
        "[MQTT-3.14.4-3], 3.1.1 [MQTT-3.14.4-3]: a normal DISCONNECT takes the will away",
        "> 10: \"MQTT\" L 06 0000 {} \"c\" {} \"w\" \"bye\"
         ! connect c clean will w \"bye\" qos0
         accept
         < 20: 00 00 ..
         > e0:
         closed by the client 00",
    ),
    (
        "[MQTT-3.14.4-3]: one that asks for the will does not",
        "> 10: \"MQTT\" L 06 0000 {} \"c\" {} \"w\" \"bye\"
         ! connect c clean will w \"bye\" qos0
         accept
         < 20: 00 00 ..
         > e0: 04
         closed by the client 04, will w \"bye\" qos0",
    ),
    (
        "[MQTT-3.15.1-1]: the flags of AUTH are zero",
        "connected
         > f1: 18 { 15 \"m\" }
         < e0: 81 ..
         closed violation 81",
    ),
    (
        "[MQTT-3.15.2-1]: AUTH has no reason of other packets",
        "connected
         > f0: 10 { 15 \"m\" }
         < e0: 81 ..
         closed violation 81",
    ),
];
