//! Connections over a real engine and the memory journal, spoken to by another's WebSocket through pipes in memory.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::collections::BTreeMap;

use common::{Client, script, with};
use dovetail_door_ws::Options;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_websockets::{CloseCode, Message};

#[test]
fn the_first_frame_says_what_to_expect() {
    script(|world| async move {
        let mut client = world.connect();
        let hello = client.frame().await;
        assert_eq!((&hello["type"], &hello["protocol"]), (&json!("hello"), &json!("dovetail.v1")));
        assert_eq!(hello["rev"], world.head());
        assert_eq!(hello["limits"]["watches"], 1_000);
        assert_eq!(hello["progressMs"], 15_000);
    });
}

#[test]
fn calls_are_answered_with_their_ids_in_order() {
    script(|world| async move {
        let mut client = world.greeted().await;
        client.say(&json!({"type": "put", "id": 1, "path": "a/1", "value": {"n": 1}})).await;
        client.say(&json!({"type": "get", "id": "two", "path": "a/1"})).await;
        client.say(&json!({"type": "patch", "id": 3, "path": "a/1", "value": {"m": 2}})).await;
        client
            .say(&json!({"type": "batch", "id": 4, "writes": [{"op": "put", "path": "a/2", "text": "x"}]}))
            .await;
        client.say(&json!({"type": "list", "id": 5, "filter": "a/#"})).await;
        client.say(&json!({"type": "delete", "id": 6, "path": "a/2"})).await;
        client.say(&json!({"type": "publish", "id": 7, "path": "a/2", "text": "ding"})).await;
        let mut answers = Vec::new();
        for _ in 0..7 {
            answers.push(client.frame().await);
        }
        let ids: Vec<&Value> = answers.iter().map(|answer| &answer["id"]).collect();
        assert_eq!(ids, [&json!(1), &json!("two"), &json!(3), &json!(4), &json!(5), &json!(6), &json!(7)]);
        assert!(answers.iter().all(|answer| answer["type"] == "result"), "{answers:?}");
        assert_eq!(answers[0]["effect"], "created");
        assert_eq!(answers[1]["resource"]["value"]["n"], 1);
        assert_eq!(answers[3]["results"][0]["effect"], "created");
        // It came after the batch, and the delete may have overtaken it.
        assert_eq!(answers[4]["items"][0]["path"], "a/1");
        assert_eq!(answers[5]["effect"], "deleted");
        assert_eq!(answers[6]["rev"], answers[5]["rev"]);
    });
}

#[test]
fn what_is_wrong_is_an_error_and_the_connection_goes_on() {
    script(|world| async move {
        let mut client = world.greeted().await;
        for (text, id, kind) in [
            ("{", json!(null), "bad-request"),
            (r#"{"id":1}"#, json!(1), "bad-request"),
            (r#"{"type":"fetch","id":2}"#, json!(2), "bad-request"),
            (r#"{"type":"get","id":"x","path":"a/#"}"#, json!("x"), "invalid-name"),
            (r#"{"type":"get","id":3,"path":"a"}"#, json!(3), "not-found"),
            (r#"{"type":"put","id":4,"path":"a","value":1,"ifMatch":"*"}"#, json!(4), "precondition-failed"),
            (r#"{"type":"put","id":5,"path":"a","value":1,"if-match":"*"}"#, json!(5), "bad-request"),
            (r#"{"type":"put","id":6,"path":"$SYS/a","value":1}"#, json!(6), "reserved-name"),
            (r#"{"type":"watch","id":7,"filter":"a","since":"1"}"#, json!(7), "invalid-revision"),
            (r#"{"type":"watch","id":8,"filter":"$dovetail/#"}"#, json!(8), "forbidden"),
            (r#"{"type":"unwatch","id":9,"watch":8}"#, json!(9), "not-found"),
        ] {
            client.say_text(text).await;
            let answer = client.frame().await;
            assert_eq!((&answer["type"], &answer["id"]), (&json!("error"), &id), "{text}");
            assert_eq!(answer["problem"]["type"], format!("urn:dovetail:problem:{kind}"), "{text}");
        }
        assert_eq!(world.door.counters().refused, 11);
    });
}

#[test]
fn a_watch_tells_the_baseline_and_then_what_happens() {
    script(|world| async move {
        let mut client = world.greeted().await;
        client.done(json!({"type": "put", "id": 0, "path": "a/1", "value": 1})).await;
        client.say(&json!({"type": "watch", "id": "w", "filter": "a/#"})).await;
        let mut told = Vec::new();
        for _ in 0..3 {
            let frame = client.text().await;
            assert!(frame.starts_with(r#"{"watch":"w","type":""#), "{frame}");
            told.push(serde_json::from_str::<Value>(&frame).unwrap());
        }
        let kinds: Vec<&Value> = told.iter().map(|frame| &frame["type"]).collect();
        assert_eq!(kinds, ["baseline-begin", "item", "baseline-end"]);
        let mut at = told[2]["rev"].clone();
        for n in 0..3 {
            client.say(&json!({"type": "put", "id": n, "path": "a/1", "value": n})).await;
            let (frame, answer) = client.told_and_answered().await;
            assert_eq!((&frame["after"], &frame["rev"]), (&at, &answer["rev"]));
            assert_eq!(frame["changes"][0]["value"], n);
            at = frame["rev"].clone();
        }
        client.done(json!({"type": "unwatch", "id": 9, "watch": "w"})).await;
        client.done(json!({"type": "put", "id": 10, "path": "a/1", "value": 9})).await;
        assert_eq!(world.door.counters().watches, 0);
    });
}

#[test]
fn watches_have_names_and_there_are_only_so_many() {
    let options = Options { watches: 2, ..Options::default() };
    with(options, false, |world| async move {
        let mut client = world.greeted().await;
        for (id, expected) in [(1, None), (1, Some("conflict")), (2, None), (3, Some("too-many-requests"))] {
            client.say(&json!({"type": "watch", "id": id, "filter": "a", "since": "now"})).await;
            let frame = client.frame().await;
            match expected {
                None => assert_eq!((&frame["watch"], &frame["type"]), (&json!(id), &json!("progress"))),
                Some(kind) => {
                    assert_eq!(frame["problem"]["type"], format!("urn:dovetail:problem:{kind}"));
                }
            }
        }
        client.done(json!({"type": "unwatch", "id": 4, "watch": 1})).await;
        client.say(&json!({"type": "watch", "id": 3, "filter": "a", "since": "now"})).await;
        assert_eq!(client.frame().await["watch"], 3);
        assert_eq!(world.door.counters().watches, 2);
        client.say(&json!({"type": "put", "id": 5, "path": "a", "value": 1})).await;
        let mut told = BTreeMap::new();
        for _ in 0..3 {
            let frame = client.frame().await;
            *told.entry(frame["watch"].to_string()).or_insert(0) += 1;
        }
        assert_eq!(told, BTreeMap::from([("2".into(), 1), ("3".into(), 1), ("null".into(), 1)]));
        drop(client);
        world.until(|world| world.door.counters().open == 0).await;
        assert_eq!(world.door.counters().watches, 0);
    });
}

#[test]
fn who_comes_back_gets_what_was_missed_or_is_told_to_start_again() {
    script(|world| async move {
        let mut client = world.greeted().await;
        let first =
            client.done(json!({"type": "put", "id": 0, "path": "a", "value": 0})).await["rev"].clone();
        for n in 1..4 {
            client.done(json!({"type": "put", "id": n, "path": "a", "value": n})).await;
        }
        let mut again = world.greeted().await;
        again.say(&json!({"type": "watch", "id": 1, "filter": "#", "mode": "every", "since": first})).await;
        let mut at = first.clone();
        for n in 1..4 {
            let frame = again.frame().await;
            assert_eq!((&frame["after"], &frame["changes"][0]["value"]), (&at, &json!(n)));
            at = frame["rev"].clone();
        }
        let epoch = first.as_str().unwrap().split('.').next().unwrap();
        let mut again = world.greeted().await;
        for (since, reason) in [("zzzzzzzz.1".to_owned(), "epoch"), (format!("{epoch}.999"), "future")] {
            again.say(&json!({"type": "watch", "id": reason, "filter": "a", "since": since})).await;
            let mut kinds = Vec::new();
            for _ in 0..4 {
                let frame = again.frame().await;
                if frame["type"] == "reset" {
                    assert_eq!(frame["reason"], reason);
                }
                kinds.push(frame["type"].clone());
            }
            assert_eq!(kinds, ["reset", "baseline-begin", "item", "baseline-end"]);
        }
    });
}

#[test]
fn more_calls_than_may_wait_are_left_unread_and_all_are_answered() {
    let options = Options { pending: 4, ..Options::default() };
    with(options, false, |world| async move {
        let mut client = world.greeted().await;
        for n in 0..500 {
            client.feed(&json!({"type": "put", "id": n, "path": "a", "value": n})).await;
        }
        client.flush().await;
        for n in 0..500 {
            let answer = client.frame().await;
            assert_eq!((&answer["id"], &answer["type"]), (&json!(n), &json!("result")));
        }
    });
}

#[test]
fn a_client_that_reads_late_misses_nothing() {
    script(|world| async move {
        let mut slow = world.greeted().await;
        slow.say(&json!({"type": "watch", "id": 1, "filter": "#", "since": "now"})).await;
        let mut at = slow.frame().await["rev"].clone();
        let mut writer = world.greeted().await;
        let text = "x".repeat(32 << 10);
        for n in 0..64 {
            writer.done(json!({"type": "put", "id": n, "path": format!("a/{}", n % 8), "text": text})).await;
        }
        let head = world.head();
        while at != head {
            let frame = slow.frame().await;
            assert_eq!(frame["after"], at);
            at = frame["rev"].clone();
        }
    });
}

#[test]
fn a_silent_client_is_asked_and_a_dead_one_given_up() {
    with(Options::default(), true, |world| async move {
        let dead = world.connect();
        world.until(|world| world.door.counters().silent == 1).await;
        world.until(|world| world.door.counters().open == 0).await;
        drop(dead);
        let mut client = world.greeted().await;
        client.say(&json!({"type": "watch", "id": 1, "filter": "a", "since": "now"})).await;
        let first = client.frame().await;
        let began = Instant::now();
        // Whoever reads answers pings.
        for _ in 0..12 {
            let frame = client.frame().await;
            assert_eq!((&frame["type"], &frame["after"]), (&json!("progress"), &first["rev"]));
        }
        assert_eq!(began.elapsed().as_secs(), 180);
        assert_eq!(world.door.counters().silent, 1);
    });
}

#[test]
fn a_server_that_stops_answers_what_it_took_in_and_says_when_to_come_back() {
    script(|world| async move {
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(world.greeted().await);
        }
        for client in &mut clients {
            client.say(&json!({"type": "watch", "id": "w", "filter": "#", "since": "now"})).await;
            client.frame().await;
        }
        world.drain.begin();
        let mut delays = Vec::new();
        for client in &mut clients {
            let bye = client.frame().await;
            assert_eq!(
                (&bye["type"], &bye["reason"], &bye["retry"]),
                (&json!("bye"), &json!("shutdown"), &json!(true))
            );
            let delay = bye["retryAfterMs"].as_u64().unwrap();
            assert!((250..=5_000).contains(&delay));
            delays.push(delay);
            assert_eq!(client.closed().await, (CloseCode::GOING_AWAY, "shutdown".to_owned()));
        }
        delays.dedup();
        assert!(delays.len() > 1, "everybody would come back at once: {delays:?}");
        world.until(|world| world.door.counters().open == 0).await;
    });
}

#[test]
fn what_breaks_the_protocol_ends_the_connection_with_its_code() {
    let options = Options { payload_bytes: 10, ..Options::default() };
    with(options, false, |world| async move {
        let too_large = "x".repeat((64 << 10) + 11);
        for (message, reason, code) in [
            (Message::binary(&b"{}"[..]), "binary", CloseCode::UNSUPPORTED_DATA),
            (Message::text(too_large), "too-large", CloseCode::MESSAGE_TOO_BIG),
        ] {
            let mut client = world.greeted().await;
            client.socket.send(message).await.unwrap();
            let bye = client.frame().await;
            assert_eq!(
                (&bye["type"], &bye["reason"], &bye["retry"]),
                (&json!("bye"), &json!(reason), &json!(false))
            );
            assert_eq!(client.closed().await, (code, reason.to_owned()));
        }
        assert_eq!(world.door.counters().violations, 2);
        let mut polite = world.greeted().await;
        polite.socket.send(Message::close(Some(CloseCode::NORMAL_CLOSURE), "")).await.unwrap();
        assert_eq!(polite.closed().await.0, CloseCode::NORMAL_CLOSURE);
        assert!(polite.socket.next().await.is_none());
    });
}

#[test]
fn an_idle_connection_is_small() {
    script(|world| async move {
        assert!(world.size_of_a_connection() <= 1_024, "{}", world.size_of_a_connection());
        let _: &Client = &world.connect();
    });
}
