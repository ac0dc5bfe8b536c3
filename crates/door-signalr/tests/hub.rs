//! What the methods of the hub do, on a WebSocket.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use common::{Client, HANDSHAKE, invocation, said, script, stream, with};
use dovetail_door_signalr::Options;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_websockets::{CloseCode, Message};

/// Items of a stream up to the frame of this type, without their envelope.
async fn frames(client: &mut Client, id: &str, last: &str) -> Vec<Value> {
    let mut frames = Vec::new();
    while frames.last().is_none_or(|frame: &Value| frame["type"] != last) {
        let message = client.next().await;
        assert_eq!((&message["type"], &message["invocationId"]), (&json!(2), &json!(id)), "{message}");
        frames.push(message["item"].clone());
    }
    frames
}

#[test]
fn what_is_put_is_got_listed_patched_and_deleted() {
    script(|world| async move {
        let mut client = world.connect().await;
        let put = client.result("Put", json!(["plant/7/temp", {"value": 21.5}])).await;
        assert_eq!(put["effect"], "created");
        let got = client.result("Get", json!(["plant/7/temp"])).await;
        assert_eq!((&got["rev"], &got["resource"]["value"]), (&put["rev"], &json!({"value": 21.5})));
        let patched = client.result("patch", json!(["plant/7/temp", {"unit": "C"}])).await;
        assert_eq!(patched["effect"], "replaced");
        client
            .result("PUT", json!(["plant/8/temp", null, {"text": "warm", "contentType": "text/plain"}]))
            .await;
        let list = client.result("List", json!(["plant/#"])).await;
        assert_eq!(list["items"].as_array().unwrap().len(), 2, "{list}");
        let writes =
            json!([[{"op": "put", "path": "a", "value": 1}, {"op": "delete", "path": "plant/8/temp"}]]);
        let batch = client.result("Batch", writes).await;
        assert_eq!(batch["results"][1]["effect"], "deleted");
        let stale = client.problem("Delete", json!(["plant/7/temp", {"ifMatch": put["rev"]}])).await;
        assert_eq!(stale["type"], "urn:dovetail:problem:precondition-failed");
        assert_eq!(stale["current"], patched["rev"]);
        client.result("Delete", json!(["plant/7/temp", {"ifMatch": patched["rev"]}])).await;
        let gone = client.problem("Get", json!(["plant/7/temp"])).await;
        assert_eq!(gone["type"], "urn:dovetail:problem:not-found");
    });
}

#[test]
fn what_cannot_be_done_is_said() {
    script(|world| async move {
        let mut client = world.connect().await;
        for (target, arguments, kind) in [
            ("Frobnicate", json!([]), "bad-request"),
            ("Get", json!([]), "bad-request"),
            ("Get", json!(["a", {}, 3]), "bad-request"),
            ("Get", json!(["a/+"]), "invalid-name"),
            ("Put", json!(["$SYS/x", 1]), "reserved-name"),
            ("Put", json!(["a", 1, {"text": "x"}]), "bad-request"),
            ("Put", json!(["a", 1, {"colour": "x"}]), "bad-request"),
            ("Watch", json!(["a"]), "bad-request"),
            ("Unsubscribe", json!(["7"]), "not-found"),
            ("PutStream", json!(["a"]), "bad-request"),
            ("Subscribe", json!(["a/#/b"]), "invalid-name"),
        ] {
            let problem = client.problem(target, arguments.clone()).await;
            assert_eq!(
                problem["type"],
                format!("urn:dovetail:problem:{kind}"),
                "{target} {arguments}: {problem}"
            );
        }
        client.say(stream("s", "Get", json!(["a"]))).await;
        let message = client.next().await;
        assert!(message["error"].as_str().unwrap().contains("not a stream"), "{message}");
        // Who gives no id is not answered, and what follows is.
        client.say(json!({"type": 1, "target": "Nothing", "arguments": []})).await;
        client.say(json!({"type": 1, "target": "Put", "arguments": ["a", 1]})).await;
        assert_eq!(client.result("Get", json!(["a"])).await["resource"]["value"], 1);
    });
}

#[test]
fn a_watch_tells_the_state_and_what_comes_until_it_is_cancelled() {
    script(|world| async move {
        let mut client = world.connect().await;
        client.result("Put", json!(["a/1", 1])).await;
        client.say(stream("w", "Watch", json!(["a/#"]))).await;
        let state = frames(&mut client, "w", "baseline-end").await;
        assert_eq!(state[1]["path"], "a/1");
        let mut other = world.socket(1, None);
        other.shake_hands().await;
        let put = other.result("Put", json!(["a/2", 2])).await;
        let change = frames(&mut client, "w", "change").await;
        assert_eq!(change[0]["after"], state.last().unwrap()["rev"]);
        assert_eq!((&change[0]["rev"], &change[0]["changes"][0]["value"]), (&put["rev"], &json!(2)));
        other.result("Publish", json!(["a/3", "event"])).await;
        assert_eq!(frames(&mut client, "w", "change").await[0]["changes"][0]["op"], "event");
        client.say(json!({"type": 5, "invocationId": "w"})).await;
        assert_eq!(client.next().await, json!({"type": 3, "invocationId": "w"}));
        other.result("Put", json!(["a/2", 3])).await;
        // An id can be used again, and cancelling what is not there is nothing.
        client.say(json!({"type": 5, "invocationId": "w"})).await;
        client
            .say(stream(
                "w",
                "Watch",
                json!(["a/#", {"since": put["rev"], "mode": "every", "events": false}]),
            ))
            .await;
        let change = frames(&mut client, "w", "change").await;
        assert_eq!(change.last().unwrap()["changes"][0]["value"], 3);
        drop(client);
        world.until(|world| world.engine.counters().values().feeds == 0).await;
    });
}

#[test]
fn subscriptions_call_the_client() {
    script(|world| async move {
        let mut client = world.connect().await;
        let first = client.result("Subscribe", json!(["a/#", {"since": "now"}])).await;
        let second = client.result("Subscribe", json!(["b/#", {"since": "now"}])).await;
        assert_ne!(first, second);
        let mut seen = Vec::new();
        client.say(invocation("p", "Put", json!(["b/x", 5]))).await;
        while seen.len() < 2 {
            let message = client.next().await;
            if message["type"] == 1 && message["arguments"][1]["type"] == "change" {
                assert_eq!((&message["target"], &message["arguments"][0]), (&json!("Changed"), &second));
                assert!(message.get("invocationId").is_none());
                seen.push(message);
            } else if message["type"] == 3 {
                seen.push(message);
            }
        }
        assert_eq!(
            client.call("Unsubscribe", json!([second])).await,
            json!({"type": 3, "invocationId": "c"})
        );
        client.result("Put", json!(["b/x", 6])).await;
        client.result("Put", json!(["a/x", 7])).await;
        client.say(invocation("c", "Get", json!(["a/x"]))).await;
        let mut told = Vec::new();
        while told.len() < 2 {
            let message = client.next().await;
            if message["type"] == 3 || message["arguments"][1]["type"] == "change" {
                told.push(message);
            }
        }
        assert!(
            told.iter().all(|message| message["type"] == 3 || message["arguments"][0] == first),
            "{told:?}"
        );
    });
}

#[test]
fn a_stream_is_put_in_order_and_counted() {
    script(|world| async move {
        let mut client = world.connect().await;
        let mut watching = world.connect().await;
        watching.say(stream("w", "Watch", json!(["s", {"since": "now", "mode": "every"}]))).await;
        frames(&mut watching, "w", "progress").await;
        client
            .say(json!({"type": 1, "invocationId": "u", "target": "PutStream", "streamIds": ["1"],
            "arguments": ["s", {"ttl": 3600}]}))
            .await;
        let items: String =
            (0..300).map(|n| said(&json!({"type": 2, "invocationId": "1", "item": n}))).collect();
        client.say_text(&(items + &said(&json!({"type": 3, "invocationId": "1"})))).await;
        let done = client.next().await;
        assert_eq!((&done["invocationId"], &done["result"]["count"]), (&json!("u"), &json!(300)), "{done}");
        let mut expected = 0;
        while expected < 300 {
            for frame in frames(&mut watching, "w", "change").await {
                for change in frame["changes"].as_array().unwrap() {
                    assert_eq!(change["value"], expected);
                    assert!(change["expires"].is_string());
                    expected += 1;
                }
            }
        }
        // One that cannot be put ends the stream with the reason, and what still comes of it says nothing.
        client
            .say(json!({"type": 1, "invocationId": "v", "target": "putstream", "streamIds": ["2"],
            "arguments": ["t", {"ifNoneMatch": "*"}]}))
            .await;
        for item in ["x", "y", "z"] {
            client.say(json!({"type": 2, "invocationId": "2", "item": item})).await;
        }
        let failed = client.next().await;
        assert!(failed["error"].as_str().unwrap().contains("precondition-failed"), "{failed}");
        client.say(json!({"type": 3, "invocationId": "2", "error": "late"})).await;
        assert_eq!(client.result("Get", json!(["t"])).await["resource"]["value"], "x");
        // And one that breaks off at the client is said to have.
        client
            .say(json!({"type": 1, "invocationId": "x", "target": "PutStream", "streamIds": ["3"],
            "arguments": ["t"]}))
            .await;
        client.say(json!({"type": 3, "invocationId": "3", "error": "broken"})).await;
        assert!(client.next().await["error"].as_str().unwrap().contains("broken"));
    });
}

#[test]
fn messagepack_carries_the_same() {
    script(|world| async move {
        let mut client = world.socket(0, None);
        client.say_text("{\"protocol\":\"messagepack\",\"version\":1}\u{1e}").await;
        let message = client.message().await.unwrap();
        assert!(message.is_binary());
        assert_eq!(&message.as_payload()[..], b"{}\x1e");
        // [1, {}, "1", "Put", ["m", {"a": h'0102'}]]
        let mut put =
            vec![0x95, 0x01, 0x80, 0xa1, b'1', 0xa3, b'P', b'u', b't', 0x92, 0xa1, b'm', 0x81, 0xa1, b'a'];
        put.extend_from_slice(&[0xc4, 2, 1, 2]);
        put.insert(0, put.len() as u8);
        // [4, {}, "2", "Watch", ["m"]]
        let mut watch =
            vec![0x95, 0x04, 0x80, 0xa1, b'2', 0xa5, b'W', b'a', b't', b'c', b'h', 0x91, 0xa1, b'm'];
        watch.insert(0, watch.len() as u8);
        put.append(&mut watch);
        client.socket.send(Message::binary(put)).await.unwrap();
        let mut all = Vec::new();
        let ends = |all: &[u8]| {
            [&b"baseline-end"[..], b"created"]
                .iter()
                .all(|part| all.windows(part.len()).any(|window| window == *part))
        };
        // The baseline may be told before the put is done; its change is then.
        while !ends(&all) || !all.windows(5).any(|window| window == b"\xa1a\xa4AQ") {
            let message = client.message().await.unwrap();
            assert!(message.is_binary());
            all.extend_from_slice(message.as_payload());
        }
        let has = |part: &[u8]| all.windows(part.len()).any(|window| window == part);
        // [3, {}, "1", 3, {"rev": …, "effect": "created"}] and [2, {}, "2", …].
        assert!(has(&[0x95, 0x03, 0x80, 0xa1, b'1', 0x03]) && has(b"created"), "{all:?}");
        assert!(has(&[0x94, 0x02, 0x80, 0xa1, b'2']), "{all:?}");
        // The value came as text, the bytes in base64.
        assert!(has(b"\xa1a\xa4AQI="), "{all:?}");
    });
}

#[test]
fn who_breaks_the_protocol_is_told_and_heard_no_more() {
    script(|world| async move {
        let large = format!("{{\"type\":6,\"x\":\"{}\"}}\u{1e}", "x".repeat(40_000));
        for (said, expected) in [
            ("nonsense\u{1e}", "not a JSON object"),
            ("{\"type\":1,\"invocationId\":\"1\"}\u{1e}", "without"),
            (&large, "more than 32768 bytes"),
            (
                "{\"type\":4,\"invocationId\":\"w\",\"target\":\"Watch\",\"arguments\":[\"a\"]}\u{1e}\
                 {\"type\":4,\"invocationId\":\"w\",\"target\":\"Watch\",\"arguments\":[\"a\"]}\u{1e}",
                "in use",
            ),
        ] {
            let mut client = world.connect().await;
            client.say_text(said).await;
            let close = loop {
                let message = client.next().await;
                if message["type"] == 7 {
                    break message;
                }
            };
            assert!(close["error"].as_str().unwrap().contains(expected), "{close}");
            assert!(close.get("allowReconnect").is_none());
            assert_eq!(client.closed().await.0, CloseCode::POLICY_VIOLATION);
        }
        assert_eq!(world.counts().violations, 4);
        for (handshake, expected) in [
            ("{\"protocol\":\"xml\",\"version\":1}\u{1e}", "'xml'"),
            ("{\"protocol\":\"json\",\"version\":9}\u{1e}", "version 9"),
            ("{\"type\":6}\u{1e}", "not a JSON object with"),
        ] {
            let mut client = world.socket(0, None);
            client.say_text(handshake).await;
            let answer = client.next().await;
            assert!(answer["error"].as_str().unwrap().contains(expected), "{answer}");
            client.closed().await;
        }
        // A client that says that it goes is let go.
        let mut client = world.connect().await;
        client.say(json!({"type": 7})).await;
        assert_eq!(client.next().await, json!({"type": 7}));
        assert_eq!(client.closed().await.0, CloseCode::NORMAL_CLOSURE);
    });
}

#[test]
fn a_handshake_and_what_follows_may_come_at_once_and_in_bytes() {
    script(|world| async move {
        let mut client = world.socket(0, None);
        client.say_text(&format!("{HANDSHAKE}{}", said(&invocation("1", "Put", json!(["a", 1]))))).await;
        assert_eq!(client.next().await, json!({}));
        assert_eq!(client.next().await["result"]["effect"], "created");
        let mut client = world.socket(0, None);
        for byte in HANDSHAKE.chars().chain(said(&invocation("1", "Get", json!(["a"]))).chars()) {
            client.say_text(&byte.to_string()).await;
        }
        assert_eq!(client.next().await, json!({}));
        assert_eq!(client.next().await["result"]["resource"]["value"], 1);
    });
}

#[test]
fn what_a_client_can_make_grow_has_limits() {
    with(Options { watches: 3, ..Options::default() }, false, |world| async move {
        let mut client = world.connect().await;
        for _ in 0..3 {
            client.result("Subscribe", json!(["a", {"since": "now"}])).await;
        }
        let problem = client.problem("Subscribe", json!(["a"])).await;
        assert_eq!(problem["type"], "urn:dovetail:problem:too-many-requests");
        for n in 0..16 {
            client
                .say(json!({"type": 1, "invocationId": format!("u{n}"), "target": "PutStream",
                "streamIds": [n.to_string()], "arguments": ["a"]}))
                .await;
        }
        client
            .say(json!({"type": 1, "invocationId": "u", "target": "PutStream",
            "streamIds": ["more"], "arguments": ["a"]}))
            .await;
        let refused = loop {
            let message = client.next().await;
            if message["type"] == 3 {
                break message;
            }
        };
        assert!(refused["error"].as_str().unwrap().contains("too-many-requests"), "{refused}");
        // Far more calls than may be pending are answered, in order, however slowly the answers are taken.
        let mut client = world.socket_of(0, None, 512);
        client.shake_hands().await;
        let asked = tokio::task::spawn_local(async move {
            let (mut sink, mut stream) = client.socket.split();
            let sending = async {
                for n in 0..500 {
                    let text = said(&invocation(&n.to_string(), "Put", json!(["a", n])));
                    sink.send(Message::text(text)).await.unwrap();
                }
            };
            let receiving = async {
                let mut next = 0;
                while next < 500 {
                    let message = stream.next().await.unwrap().unwrap();
                    for message in common::messages(message.as_text().unwrap()) {
                        if message["type"] == 3 {
                            assert_eq!(message["invocationId"], next.to_string());
                            next += 1;
                        }
                    }
                }
            };
            tokio::join!(sending, receiving);
        });
        asked.await.unwrap();
    });
}
