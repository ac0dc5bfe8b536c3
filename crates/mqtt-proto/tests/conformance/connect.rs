//! §3.1 CONNECT and §3.2 CONNACK.

use crate::script::Row;

pub(crate) const ROWS: &[Row] = &[
    (
        "[MQTT-3.1.0-1], 3.1.1 [MQTT-3.1.0-1]: nothing but CONNECT comes first",
        "> c0:
         closed violation 82",
    ),
    (
        "[MQTT-3.1.0-2], 3.1.1 [MQTT-3.1.0-2]: a second CONNECT ends the connection",
        "connected
         > 10: \"MQTT\" L 02 0000 {} \"c\"
         v5 < e0: 82 ..
         closed violation 82",
    ),
    (
        "[MQTT-3.1.2-1], 3.1.1 [MQTT-3.1.2-1]: another protocol name is not served",
        "> 10: \"MQTX\" L 02 0000 {} \"c\"
         closed violation 84",
    ),
    (
        "[MQTT-3.1.2-2], 3.1.1 [MQTT-3.1.2-2]: a level that is not spoken is told so",
        "v3 > 10: \"MQTT\" 02 02 0000 \"c\"
         v3 < 20: 00 01
         v5 > 10: \"MQTT\" 06 02 0000 {} \"c\"
         v5 < 20: 00 84 {}
         closed violation 84",
    ),
    (
        "[MQTT-3.1.2-3], 3.1.1 [MQTT-3.1.2-3]: the reserved flag is zero",
        "> 10: \"MQTT\" L 03 0000 {} \"c\"
         closed violation 81",
    ),
    (
        "[MQTT-3.1.2-7], [MQTT-3.1.2-8], 3.1.1 [MQTT-3.1.2-8]: the will is kept until the connection breaks",
        "> 10: \"MQTT\" L 06 0000 {} \"c\" {} \"w\" \"bye\"
         ! connect c clean will w \"bye\" qos0
         accept
         < 20: 00 00 ..
         > c0:
         < d0:
         lost
         closed lost, will w \"bye\" qos0",
    ),
    (
        "[MQTT-3.1.2-8], 3.1.1 [MQTT-3.1.2-8]: or until the server ends it for an error",
        "> 10: \"MQTT\" L 06 0000 {} \"c\" {} \"w\" \"bye\"
         ! connect c clean will w \"bye\" qos0
         accept
         < 20: 00 00 ..
         > 00:
         v5 < e0: 81 ..
         closed violation 81, will w \"bye\" qos0",
    ),
    (
        "[MQTT-3.1.2-10], 3.1.1 [MQTT-3.1.2-10]: a normal DISCONNECT takes the will away",
        "> 10: \"MQTT\" L 06 0000 {} \"c\" {} \"w\" \"bye\"
         ! connect c clean will w \"bye\" qos0
         accept
         < 20: 00 00 ..
         > e0:
         closed by the client 00",
    ),
    (
        "[MQTT-3.1.2-9], 3.1.1 [MQTT-3.1.2-9]: a will has a topic and a payload",
        "> 10: \"MQTT\" L 06 0000 {} \"c\" {} \"w\"
         closed violation 81",
    ),
    (
        "3.1.1 [MQTT-3.1.2-11], 3.1.1 [MQTT-3.1.2-12]: without the will flag there is no will",
        "connected
         lost
         closed lost",
    ),
    (
        "[MQTT-3.1.2-11], 3.1.1 [MQTT-3.1.2-11], 3.1.1 [MQTT-3.1.2-13]: nor a QoS for it",
        "> 10: \"MQTT\" L 0a 0000 {} \"c\"
         closed violation 81",
    ),
    (
        "[MQTT-3.1.2-12], 3.1.1 [MQTT-3.1.2-14]: the QoS of the will is not 3",
        "> 10: \"MQTT\" L 1e 0000 {} \"c\" {} \"w\" \"bye\"
         closed violation 81",
    ),
    (
        "[MQTT-3.1.2-12], 3.1.1 [MQTT-3.1.2-14]: it may be 2",
        "> 10: \"MQTT\" L 16 0000 {} \"c\" {} \"w\" \"bye\"
         ! connect c clean will w \"bye\" qos2",
    ),
    (
        "[MQTT-3.1.2-13], 3.1.1 [MQTT-3.1.2-15]: without a will nothing of it is retained",
        "> 10: \"MQTT\" L 22 0000 {} \"c\"
         closed violation 81",
    ),
    (
        "[MQTT-3.1.2-15], 3.1.1 [MQTT-3.1.2-17]: a will that is to be retained is left as one",
        "> 10: \"MQTT\" L 2e 0000 {} \"c\" {} \"w\" \"bye\"
         ! connect c clean will w \"bye\" qos1 retained
         accept
         < 20: 00 00 ..
         lost
         closed lost, will w \"bye\" qos1 retained",
    ),
    (
        "[MQTT-3.1.2-16], 3.1.1 [MQTT-3.1.2-18]: a user name without its flag does not belong there",
        "> 10: \"MQTT\" L 02 0000 {} \"c\" \"u\"
         closed violation 81",
    ),
    (
        "[MQTT-3.1.2-17], 3.1.1 [MQTT-3.1.2-19]: the flag without a user name is malformed",
        "> 10: \"MQTT\" L 82 0000 {} \"c\"
         closed violation 81",
    ),
    (
        "[MQTT-3.1.2-18], 3.1.1 [MQTT-3.1.2-20]: a password without its flag does not belong there",
        "> 10: \"MQTT\" L 82 0000 {} \"c\" \"u\" \"p\"
         closed violation 81",
    ),
    (
        "[MQTT-3.1.2-19], 3.1.1 [MQTT-3.1.2-21]: the flag without a password is malformed",
        "> 10: \"MQTT\" L c2 0000 {} \"c\" \"u\"
         closed violation 81",
    ),
    (
        "3.1.1 [MQTT-3.1.2-22]: no password without a user name",
        "> 10: \"MQTT\" L 42 0000 \"c\" \"p\"
         closed violation 81",
    ),
    (
        "[MQTT-3.1.2-22], [MQTT-3.2.2-22], 3.1.1 [MQTT-3.1.2-24]: silence of 1.5 keep-alives is the end",
        "> 10: \"MQTT\" L 06 000a {} \"c\" {} \"w\" \"bye\"
         ! connect c clean will w \"bye\" qos0
         accept
         < 20: 00 00 ..
         wait 14.9
         > c0:
         < d0:
         wait 14.9
         > 30: \"a\" {} 'x'
         ! publish a \"x\" qos0
         wait 15
         v5 < e0: 8d ..
         closed keep-alive, will w \"bye\" qos0",
    ),
    (
        "[MQTT-3.2.2-22], 3.1.1 [MQTT-3.1.2-24]: a keep-alive of 0 is none",
        "connected
         wait 1000000
         > c0:
         < d0:",
    ),
    (
        "[MQTT-3.2.2-21]: the server's own keep-alive holds instead",
        "> 10: \"MQTT\" L 02 03e8 {} \"c\"
         ! connect c clean
         accept keep-alive 10
         < 20: 00 00 ..
         wait 14.9
         > c0:
         < d0:
         wait 15
         < e0: 8d ..
         closed keep-alive",
    ),
    (
        "[MQTT-3.1.2-24], [MQTT-3.1.2-25]: what is larger than the client takes is not sent and counts as done",
        "> 10: \"MQTT\" L 02 0000 { 27 00000020 21 0001 } \"c\"
         ! connect c clean
         accept
         < 20: 00 00 ..
         send 1 1 xxxxxxxxxxxxxxxxxxxxxxxx
         = too large
         send 1 2 xxxxxxxxxxxxxxxxxxxxx
         = written 1
         < 32: \"a/b\" 0001 {} 78*21",
    ),
    (
        "[MQTT-3.1.2-24]: CONNACK is no exception",
        "> 10: \"MQTT\" L 02 0000 { 27 00000005 } \"c\"
         ! connect c clean
         accept
         < 20: 00 95 {}
         closed refused 95",
    ),
    (
        "[MQTT-3.1.2-26], [MQTT-3.3.2-11]: the server gives aliases as far as the client takes them",
        "> 10: \"MQTT\" L 02 0000 { 22 0001 } \"c\"
         ! connect c clean
         accept
         < 20: 00 00 ..
         send 0 1 x plant/1
         = written
         < 30: \"plant/1\" { 23 0001 } 'x'
         send 0 1 x plant/2
         = written
         < 30: \"plant/2\" {} 'x'
         send 0 1 x plant/1
         = written
         < 30: \"\" { 23 0001 } 'x'",
    ),
    (
        "[MQTT-3.1.2-27]: a client that takes none gets none",
        "connected
         send 0 1 x plant/1
         = written
         < 30: \"plant/1\" {} 'x'
         send 0 1 x plant/1
         = written
         < 30: \"plant/1\" {} 'x'",
    ),
    (
        "[MQTT-3.1.2-28], [MQTT-3.2.2-9], [MQTT-4.12.0-6]: CONNACK says limits, and nothing that was not asked for",
        "> 10: \"MQTT\" L 02 0000 { 19 00 } \"c\"
         ! connect c clean
         accept
         < 20: 00 00 { 21 0040 27 00104000 22 0010 }",
    ),
    (
        "[MQTT-3.1.2-29]: who wants no reasons gets no words",
        "> 10: \"MQTT\" L 02 0000 { 17 00 } \"c\"
         ! connect c clean
         accept
         < 20: 00 00 ..
         > 32: \"a\" 0001 {} 'x' + 34: \"a\" 0002 {} 'x' + 82: 0003 {} \"a\" 00
         ! publish a \"x\" qos1
         ! publish a \"x\" qos2
         ! subscribe 3 a:0
         answer 1 87 not yours at all
         < 40: 0001 87
         answer 2 87 not yours
         < 50: 0002 87
         suback 3 87 | not yours
         < 90: 0003 {} 87",
    ),
    (
        "[MQTT-3.1.3-1], 3.1.1 [MQTT-3.1.3-1]: the fields are read in their order",
        "> 10: \"MQTT\" L ee 0000 {} \"c\" {} \"w\" \"bye\" \"u\" \"p\"
         ! connect c clean will w \"bye\" qos1 retained user u password p",
    ),
    (
        "[MQTT-3.1.3-3], 3.1.1 [MQTT-3.1.3-3]: there is a client id",
        "> 10: \"MQTT\" L 02 0000 {}
         closed violation 81",
    ),
    (
        "[MQTT-3.1.3-4], 3.1.1 [MQTT-3.1.3-4]: the client id is UTF-8",
        "> 10: \"MQTT\" L 02 0000 {} 0001 ff
         closed violation 81",
    ),
    (
        "[MQTT-3.1.3-5], 3.1.1 [MQTT-3.1.3-5]: digits and letters, 23 of them",
        "> 10: \"MQTT\" L 02 0000 {} \"0123456789abcdefghijklm\"
         ! connect 0123456789abcdefghijklm clean",
    ),
    (
        "[MQTT-3.1.3-5], 3.1.1 [MQTT-3.1.3-5]: and the others",
        "> 10: \"MQTT\" L 02 0000 {} \"nopqrstuvwxyzABCDEFGHIJ\"
         ! connect nopqrstuvwxyzABCDEFGHIJ clean",
    ),
    (
        "[MQTT-3.1.3-5], 3.1.1 [MQTT-3.1.3-5]: and the last ones",
        "> 10: \"MQTT\" L 02 0000 {} \"KLMNOPQRSTUVWXYZ\"
         ! connect KLMNOPQRSTUVWXYZ clean",
    ),
    (
        "[MQTT-3.1.3-6], [MQTT-3.1.3-7], [MQTT-3.2.2-16], 3.1.1 [MQTT-3.1.3-6]: who has no id is given one",
        "> 10: \"MQTT\" L 02 0000 {} \"\"
         ! connect  clean
         accept assigned new
         v5 < 20: 00 00 { 21 0040 27 00104000 12 \"new\" 22 0010 }
         v3 < 20: 00 00
         > c0:
         < d0:",
    ),
    (
        "3.1.1 [MQTT-3.1.3-8], 3.1.1 [MQTT-3.1.3-9]: no id and a session to keep do not go together",
        "> 10: \"MQTT\" L 00 0000 {} \"\"
         < 20: 00 02
         closed violation 85",
    ),
    (
        "[MQTT-3.1.3-8], 3.1.1 [MQTT-3.1.3-9]: a client id that is refused is told so",
        "> 10: \"MQTT\" L 02 0000 {} \"c\"
         ! connect c clean
         refuse 85
         v5 < 20: 00 85 {}
         v3 < 20: 00 02
         closed refused 85",
    ),
    (
        "[MQTT-3.1.3-11], 3.1.1 [MQTT-3.1.3-10]: the topic of the will is UTF-8",
        "> 10: \"MQTT\" L 06 0000 {} \"c\" {} 0001 ff \"bye\"
         closed violation 81",
    ),
    (
        "[MQTT-3.1.3-12], 3.1.1 [MQTT-3.1.3-11]: the user name is UTF-8",
        "> 10: \"MQTT\" L 82 0000 {} \"c\" 0001 ff
         closed violation 81",
    ),
    (
        "[MQTT-3.1.4-1], 3.1.1 [MQTT-3.1.4-1], 3.1.1 [MQTT-3.2.2-6]: a bad CONNECT gets no answer",
        "> 10: \"MQTT\" L 02 0000 {} \"c\" 00
         closed violation 81",
    ),
    (
        "[MQTT-3.1.4-2], [MQTT-3.2.2-6], [MQTT-3.2.2-7], 3.1.1 [MQTT-3.2.2-4], 3.1.1 [MQTT-3.2.2-5]: refused, and closed",
        "> 10: \"MQTT\" L 02 0000 {} \"c\"
         ! connect c clean
         refuse 87
         v5 < 20: 00 87 {}
         v3 < 20: 00 05
         closed refused 87",
    ),
    (
        "[MQTT-3.1.4-5], 3.1.1 [MQTT-3.1.4-4]: accepted, and told so",
        "> 10: \"MQTT\" L 00 0000 {} \"c\"
         ! connect c
         accept
         < 20: 00 00 ..",
    ),
    (
        "[MQTT-3.1.4-6], 3.1.1 [MQTT-3.1.4-5]: what came after a CONNECT that is refused is not looked at",
        "> 10: \"MQTT\" L 02 0000 {} \"c\" + 30: \"a\" {} 'x' + c0:
         ! connect c clean
         refuse 87
         < 20: 00 ..
         closed refused 87",
    ),
    (
        "[MQTT-3.2.0-1], 3.1.1 [MQTT-3.2.0-1]: CONNACK comes before everything else",
        "> 10: \"MQTT\" L 02 0000 {} \"c\" + c0:
         ! connect c clean
         send 0 1
         = not connected
         accept
         < 20: 00 00 ..
         < d0:
         send 0 1
         = written
         < 30: \"a/b\" {} 'x'",
    ),
    (
        "[MQTT-3.2.0-2]: CONNACK comes once",
        "connected
         accept
         > c0:
         < d0:",
    ),
    (
        "[MQTT-3.2.2-1], [MQTT-3.2.2-3], 3.1.1 [MQTT-3.2.2-2]: of its flags only one is ever set",
        "> 10: \"MQTT\" L 00 0000 {} \"c\"
         ! connect c
         accept present
         < 20: 01 00 ..",
    ),
    (
        "[MQTT-3.2.2-8]: a reason that CONNACK does not have is not sent in it",
        "> 10: \"MQTT\" L 02 0000 {} \"c\"
         ! connect c clean
         refuse 8e
         < 20: 00 80 {}
         closed refused 8e",
    ),
    (
        "[MQTT-3.2.2-15]: a packet above the server's maximum ends the connection",
        "limits packet-size 100
         connected
         > 30: \"a\" {} 78*94
         ! publish a \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" qos0
         > 30: \"a\" {} 78*95
         < e0: 95 ..
         closed violation 95",
    ),
    (
        "[MQTT-3.2.2-17], [MQTT-3.3.2-9], [MQTT-3.3.2-12]: aliases go as far as CONNACK said",
        "connected
         > 30: \"a\" { 23 0001 } 'x' + 30: \"b\" { 23 0010 } 'x' + 30: \"\" { 23 0010 } 'y'
         ! publish a \"x\" qos0 TopicAlias(1)
         ! publish b \"x\" qos0 TopicAlias(16)
         ! publish b \"y\" qos0 TopicAlias(16)
         > 30: \"c\" { 23 0011 } 'x'
         < e0: 94 ..
         closed violation 94",
    ),
    (
        "[MQTT-3.2.2-18]: where it said none, there are none",
        "limits topic-alias-maximum 0
         connected
         > 30: \"a\" { 23 0001 } 'x'
         < e0: 94 ..
         closed violation 94",
    ),
    (
        "[MQTT-3.2.2-19]: words that make CONNACK too large are left out",
        "> 10: \"MQTT\" L 02 0000 { 27 00000008 } \"c\"
         ! connect c clean
         refuse 87 not yours
         < 20: 00 87 {}
         closed refused 87",
    ),
];
