//! Calls over a real engine and the memory journal: what comes of each, in which order, and what is refused.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::sync::Arc;

use dovetail_api::calls::{Ask, Method};
use dovetail_api::problem::ProblemType;
use dovetail_auth::{Policy, Principal};
use dovetail_calls::pages::Pages;
use dovetail_calls::{Desk, Queue, Refusal, Settings, frame};
use dovetail_engine::{Clock, EndReason, Engine, Item, Options, Recovery, ResetReason, Running, Subscriber};
use dovetail_journal::Journal;
use dovetail_journal::memory::{Fault, MemoryControl, MemoryJournal, MemoryOptions};
use serde_json::{Value, json};

struct World {
    desk: Desk,
    queue: Queue<usize>,
    pushed: usize,
    journal: MemoryControl,
    running: Running,
}

fn who() -> Principal {
    Principal::anonymous(IpAddr::from([127, 0, 0, 1]))
}

fn script<F: Future<Output = ()>>(settings: Settings, script: impl FnOnce(World) -> F) {
    with(settings, Options::default(), script);
}

fn with<F: Future<Output = ()>>(settings: Settings, options: Options, script: impl FnOnce(World) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let journal = MemoryJournal::new(MemoryOptions::default()).unwrap();
        let control = journal.control();
        let (clock, _hand) = Clock::manual(1_800_000_000_000);
        let recovered = Recovery::new().finish().unwrap();
        let (engine, running) =
            Engine::start(Journal::from(journal), recovered, Policy::loopback(), clock, options).unwrap();
        let desk = desk(&engine, settings);
        let queue = Queue::new(desk.clone());
        script(World { desk, queue, pushed: 0, journal: control, running }).await;
    });
}

fn desk(engine: &Engine, settings: Settings) -> Desk {
    Desk::new(engine.shard(), Arc::new(Pages::default()), settings)
}

impl World {
    /// Takes in a call and says its tag.
    fn push(&mut self, method: &str, arguments: &[&str]) -> usize {
        let method = Method::from_name(method).unwrap();
        let tag = self.pushed;
        self.pushed += 1;
        match method.of_arguments(arguments.iter().copied()) {
            Ok(Ask::Call(call)) => self.queue.push(tag, &who(), call),
            Ok(Ask::Watch(_)) => panic!("a watch is no call"),
            Err(error) => self.queue.refuse(tag, error.into()),
        }
        tag
    }

    async fn answer(&mut self) -> (usize, Result<Value, Refusal>) {
        let (tag, answer) = poll_fn(|cx| self.queue.poll_next(cx)).await;
        let json = answer.map(|reply| {
            let mut text = Vec::new();
            reply.encode(&mut text);
            serde_json::from_slice(&text).unwrap()
        });
        (tag, json)
    }

    /// One call and its answer.
    async fn call(&mut self, method: &str, arguments: &[&str]) -> Result<Value, Refusal> {
        let tag = self.push(method, arguments);
        let (answered, answer) = self.answer().await;
        assert_eq!(answered, tag);
        answer
    }

    async fn done(&mut self, method: &str, arguments: &[&str]) -> Value {
        self.call(method, arguments).await.unwrap_or_else(|refusal| panic!("{method}: {refusal:?}"))
    }

    async fn refused(&mut self, method: &str, arguments: &[&str]) -> (ProblemType, Option<usize>) {
        let refusal = self.call(method, arguments).await.err().unwrap_or_else(|| panic!("{arguments:?}"));
        (refusal.problem().kind, refusal.problem().index)
    }

    fn watch(&self, arguments: &[&str]) -> Subscriber {
        let ask = Method::Watch.of_arguments(arguments.iter().copied()).unwrap();
        let Ask::Watch(watch) = ask else { panic!("a watch is one") };
        let mut subscriber = self.desk.shard().subscriber(who());
        subscriber.subscribe(self.desk.watch(&who(), watch).unwrap());
        subscriber
    }
}

#[test]
fn every_call_does_what_its_name_says() {
    script(Settings::default(), |mut world| async move {
        let put = world.done("put", &["\"a/1\"", r#"{"n":1}"#]).await;
        assert_eq!(put["effect"], "created");
        let got = world.done("get", &["\"a/1\""]).await;
        assert_eq!((&got["rev"], &got["resource"]["value"]), (&put["rev"], &json!({"n": 1})));
        assert_eq!(got["resource"]["contentType"], "application/json");
        let patched = world.done("patch", &["\"a/1\"", r#"{"m":2}"#]).await;
        assert_eq!(patched["effect"], "replaced");
        let json_patch = r#"{"contentType":"application/json-patch+json"}"#;
        world.done("patch", &["\"a/1\"", r#"[{"op":"remove","path":"/n"}]"#, json_patch]).await;
        assert_eq!(world.done("get", &["\"a/1\""]).await["resource"]["value"], json!({"m": 2}));
        let text = world.done("put", &["\"a/2\"", "null", r#"{"text":"warm","ttl":60}"#]).await;
        assert_eq!(text["effect"], "created");
        assert_eq!(world.done("put", &["\"a/3\"", "null"]).await["effect"], "created");
        let got = world.done("get", &["\"a/3\""]).await;
        assert_eq!(got["resource"].get("value"), Some(&Value::Null));
        let list = world.done("list", &["\"a/#\""]).await;
        assert_eq!(list["items"].as_array().unwrap().len(), 3);
        assert_eq!(list.get("next"), None);
        let batch = r#"[{"op":"delete","path":"a/2"},{"op":"put","path":"b","value":true}]"#;
        let batch = world.done("batch", &[batch]).await;
        assert_eq!(batch["results"][1], json!({"op": "put", "path": "b", "effect": "created"}));
        assert_eq!(world.done("delete", &["\"b\""]).await["effect"], "deleted");
        assert_eq!(world.done("delete", &["\"b\""]).await["effect"], "unchanged");
        let mut feed = world.watch(&["\"news\"", r#"{"since":"now"}"#]);
        let event = world.done("publish", &["\"news\"", "null", r#"{"text":""}"#]).await;
        assert_eq!(event["rev"], world.desk.shard().head().to_string());
        loop {
            if let (_, Item::Change(delivery)) = feed.next().await {
                assert!(delivery.changes().all(|change| change.topic().as_str() == "news"));
                break;
            }
        }
    });
}

#[test]
fn calls_are_answered_in_order_and_reads_come_after_the_writes_before_them() {
    script(Settings::default(), |mut world| async move {
        for n in 0..20 {
            let value = n.to_string();
            world.push("put", &["\"a\"", &value]);
            world.push("get", &["\"a\""]);
            world.push("get", &["\"nothing\""]);
            world.push("delete", &[]);
        }
        assert_eq!(world.queue.len(), 80);
        for n in 0..20 {
            let (tag, put) = world.answer().await;
            assert_eq!(tag, 4 * n);
            let put = put.unwrap()["rev"].clone();
            let (tag, got) = world.answer().await;
            assert_eq!(tag, 4 * n + 1);
            let got = got.unwrap();
            let number =
                |rev: &Value| rev.as_str().unwrap().split('.').nth(1).unwrap().parse::<u64>().unwrap();
            assert!(
                number(&got["rev"]) >= number(&put) && got["resource"]["value"].as_u64() >= Some(n as u64)
            );
            assert_eq!(world.answer().await.1.unwrap_err().problem().kind, ProblemType::NotFound);
            assert_eq!(world.answer().await.1.unwrap_err().problem().kind, ProblemType::BadRequest);
        }
        assert!(world.queue.is_empty());
    });
}

#[test]
fn what_cannot_be_done_is_refused_with_the_types_of_rest() {
    use ProblemType as P;
    script(Settings { payload_bytes: 8 }, |mut world| async move {
        world.done("put", &["\"a\"", "1"]).await;
        let stale = r#"{"ifMatch":"k3f9x2ab.7"}"#;
        let table: &[(&str, &[&str], P, Option<usize>)] = &[
            ("get", &["\"b\""], P::NotFound, None),
            ("get", &["\"a/#\""], P::InvalidName, None),
            ("get", &[], P::BadRequest, None),
            ("get", &["1"], P::BadRequest, None),
            ("get", &["\"a\"", "{}", "1"], P::BadRequest, None),
            ("get", &["\"a\"", r#"{"path":"b"}"#], P::BadRequest, None),
            ("get", &["\"a\"", r#"{"since":"now"}"#], P::BadRequest, None),
            ("get", &["\"a\"", r#"{"strange":1}"#], P::BadRequest, None),
            ("get", &["\"$dovetail/x\""], P::Forbidden, None),
            ("list", &["\"a/#/b\""], P::InvalidName, None),
            ("list", &["\"#\"", r#"{"limit":0}"#], P::BadRequest, None),
            ("list", &["\"#\"", r#"{"after":"x"}"#], P::InvalidRevision, None),
            ("list", &["\"#\"", r#"{"after":"k3f9x2ab.7/a"}"#], P::PositionGone, None),
            ("put", &["\"a\""], P::BadRequest, None),
            ("put", &["\"a\"", "\"123456789\""], P::TooLarge, None),
            ("put", &["\"a\"", "1", r#"{"text":"1"}"#], P::BadRequest, None),
            ("put", &["\"a\"", "null", r#"{"base64":"?"}"#], P::BadRequest, None),
            ("put", &["\"a\"", "null", r#"{"text":""}"#], P::EmptyRepresentation, None),
            ("put", &["\"a\"", "2", stale], P::PreconditionFailed, None),
            ("put", &["\"a\"", "2", r#"{"ifNoneMatch":"*"}"#], P::PreconditionFailed, None),
            ("put", &["\"a\"", "2", r#"{"ifMatch":"7"}"#], P::InvalidRevision, None),
            ("put", &["\"a\"", "2", r#"{"ifmatch":"*"}"#], P::BadRequest, None),
            ("put", &["\"a\"", "2", r#"{"idempotencyKey":""}"#], P::BadRequest, None),
            ("put", &["\"a\"", "2", r#"{"ttl":0}"#], P::BadRequest, None),
            ("put", &["\"$SYS/a\"", "2"], P::ReservedName, None),
            (
                "patch",
                &["\"b\"", "[]", r#"{"contentType":"application/json-patch+json"}"#],
                P::NotFound,
                None,
            ),
            ("patch", &["\"a\"", "1", r#"{"contentType":"text/plain"}"#], P::UnsupportedMediaType, None),
            ("patch", &["\"a\"", "1", r#"{"ttl":5}"#], P::BadRequest, None),
            ("delete", &["\"a\"", stale], P::PreconditionFailed, None),
            ("batch", &["[]"], P::Unprocessable, None),
            ("batch", &["{}"], P::BadRequest, None),
            ("batch", &[r#"[{"op":"delete","path":"a"},{"op":"put","path":"b"}]"#], P::BadRequest, Some(1)),
            ("batch", &[r#"[{"op":"put","path":"a","text":"123456789"}]"#], P::TooLarge, Some(0)),
            (
                "batch",
                &[
                    r#"[{"op":"put","path":"c","value":1},{"op":"put","path":"a","value":1,"ifNoneMatch":"*"}]"#,
                ],
                P::PreconditionFailed,
                Some(1),
            ),
            ("publish", &["\"-/a\"", "1"], P::ReservedName, None),
            ("publish", &["\"a\"", "1", r#"{"ifMatch":"*"}"#], P::BadRequest, None),
        ];
        for (method, arguments, kind, index) in table {
            assert_eq!(world.refused(method, arguments).await, (*kind, *index), "{method} {arguments:?}");
        }
        assert_eq!(world.done("get", &["\"a\""]).await["resource"]["value"], 1);
        assert_eq!(world.done("list", &["\"#\""]).await["items"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn a_key_makes_a_repetition_harmless_and_nothing_else() {
    script(Settings::default(), |mut world| async move {
        let keyed = r#"{"idempotencyKey":"k","ifNoneMatch":"*"}"#;
        let first = world.done("put", &["\"a\"", "1", keyed]).await;
        let same = r#"{ "ifNoneMatch" : "*", "idempotencyKey" : "k" }"#;
        assert_eq!(world.done("put", &["\"a\"", "1", same]).await, first);
        assert_eq!(
            world.refused("put", &["\"a\"", "2", keyed]).await,
            (ProblemType::IdempotencyKeyReused, None)
        );
        let writes = r#"[{"op":"put","path":"a","value":1,"ifNoneMatch":"*"}]"#;
        let batch = world.refused("batch", &[writes, r#"{"idempotencyKey":"k"}"#]).await;
        assert_eq!(batch, (ProblemType::IdempotencyKeyReused, None));
    });
}

#[test]
fn pages_of_a_list_are_of_one_revision() {
    script(Settings::default(), |mut world| async move {
        for n in 0..5 {
            world.done("put", &[&format!("\"p/{n}\""), "1"]).await;
        }
        let first = world.done("list", &["\"p/+\"", r#"{"limit":2}"#]).await;
        world.done("delete", &["\"p/3\""]).await;
        let (mut page, mut paths) = (first.clone(), Vec::new());
        loop {
            assert_eq!(page["rev"], first["rev"]);
            paths.extend(page["items"].as_array().unwrap().iter().map(|item| item["path"].clone()));
            let Some(next) = page.get("next") else { break };
            let rest = json!({"limit": 2, "after": next}).to_string();
            page = world.done("list", &["\"p/+\"", &rest]).await;
        }
        assert_eq!(paths, ["p/0", "p/1", "p/2", "p/3", "p/4"]);
    });
}

/// As little of `MessagePack` as the frames of the test need.
fn pack(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            out.push(0x80 | map.len() as u8);
            for (name, value) in map {
                pack(&Value::from(name.as_str()), out);
                pack(value, out);
            }
        }
        Value::Array(list) => {
            if list.len() < 16 {
                out.push(0x90 | list.len() as u8);
            } else {
                out.push(0xdc);
                out.extend_from_slice(&(list.len() as u16).to_be_bytes());
            }
            for value in list {
                pack(value, out);
            }
        }
        Value::String(text) => {
            out.push(0xd9);
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Number(number) => out.push(number.as_u64().unwrap() as u8),
        Value::Null | Value::Bool(_) => out.push(0xc0),
    }
}

/// `serde_json` sorts the members of an object, so both sides are brought to that order.
fn transcode(json: &[u8], out: &mut Vec<u8>) {
    pack(&serde_json::from_slice(json).unwrap(), out);
}

#[test]
fn frames_in_messagepack_say_what_the_json_says() {
    script(Settings::default(), |mut world| async move {
        let mut live = world.watch(&["\"#\""]);
        let writes: Vec<String> =
            (0..20).map(|n| format!(r#"{{"op":"put","path":"m/{n}","value":{n}}}"#)).collect();
        world.done("put", &["\"a\"", "1"]).await;
        world.done("batch", &[&format!("[{}]", writes.join(","))]).await;
        let epoch = world.desk.shard().head().epoch;
        let mut changes = 0;
        while changes < 2 {
            let (_, item) = live.next().await;
            let (mut json, mut packed) = (Vec::new(), Vec::new());
            frame::write(&mut json, &item, epoch);
            frame::write_messagepack(&mut packed, &item, epoch, transcode);
            let (kind, _) = frame::kind(&item);
            assert!(String::from_utf8_lossy(&json).contains(&format!("\"type\":\"{}\"", wire_name(kind))));
            let value: Value = serde_json::from_slice(&json).unwrap();
            let mut expected = Vec::new();
            match &item {
                Item::Change(_) => {
                    changes += 1;
                    // The head of a change is packed in the order of the frame, its array last.
                    let [after, rev] = ["after", "rev"].map(|member| value[member].as_str().unwrap());
                    let lengths = [after, rev].map(|token| [0xa0 | token.len() as u8]);
                    expected.extend_from_slice(b"\x84\xa4type\xa6change\xa5after");
                    expected.extend([&lengths[0][..], after.as_bytes(), b"\xa3rev"].concat());
                    expected.extend([&lengths[1][..], rev.as_bytes(), b"\xa7changes"].concat());
                    pack(&value["changes"], &mut expected);
                }
                _ => pack(&value, &mut expected),
            }
            assert_eq!(packed, expected, "{value}");
        }
    });
}

/// The end of a baseline is `sync` as an event of a stream, and `baseline-end` as a frame.
fn wire_name(kind: &str) -> &str {
    if kind == "sync" { "baseline-end" } else { kind }
}

#[test]
fn what_the_disk_does_is_said() {
    script(Settings::default(), |mut world| async move {
        world.done("put", &["\"a\"", "1"]).await;
        for (fault, kinds) in [
            (Fault::Full, &[ProblemType::InsufficientStorage][..]),
            (Fault::PoisonLost, &[ProblemType::OutcomeUnknown, ProblemType::ReadOnly]),
        ] {
            world.journal.fail_append(0, fault);
            for kind in kinds {
                assert_eq!(world.refused("put", &["\"a\"", "2"]).await, (*kind, None));
            }
            assert_eq!(world.done("get", &["\"a\""]).await["resource"]["value"], 1, "reads go on");
        }
    });
}

#[test]
fn who_comes_too_soon_is_told_when_to_come_again() {
    let options = Options { admitted_bytes: 2_000, ..Options::default() };
    with(Settings::default(), options, |mut world| async move {
        world.journal.hold();
        let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(500));
        for n in 0..8 {
            world.push("put", &[&format!("\"{n}\""), "null", &text]);
        }
        world.journal.release();
        let mut refused = 0;
        for _ in 0..8 {
            if let (_, Err(refusal)) = world.answer().await {
                let problem = refusal.problem();
                assert_eq!(problem.kind, ProblemType::Overloaded);
                assert!(problem.retry_after_ms.is_some_and(|delay| delay > 0), "{problem:?}");
                refused += 1;
            }
        }
        assert!((1..8).contains(&refused), "{refused} of 8");
        let World { running, mut queue, .. } = world;
        tokio::task::spawn_blocking(move || running.stop()).await.unwrap();
        let put = Method::Put.of_arguments(["\"a\"", "1"].into_iter()).unwrap();
        let Ask::Call(put) = put else { panic!("a put is a call") };
        queue.push(0, &who(), put);
        let (_, answer) = poll_fn(|cx| queue.poll_next(cx)).await;
        let refusal = answer.unwrap_err();
        assert_eq!(refusal.problem().kind, ProblemType::ShuttingDown);
        assert!(refusal.problem().retry_after_ms.is_some());
    });
}

#[test]
fn every_item_has_its_frame() {
    let rev: dovetail_model::Revision = "k3f9x2ab.9".parse().unwrap();
    let at = r#""rev":"k3f9x2ab.9""#;
    let reset = |reason| Item::Reset { reason, head: rev };
    for (item, name, expected) in [
        (Item::BaselineBegin(rev), "baseline-begin", format!(r#"{{"type":"baseline-begin",{at}}}"#)),
        (Item::BaselineEnd(rev), "sync", format!(r#"{{"type":"baseline-end",{at}}}"#)),
        (
            Item::Progress { after: rev, rev },
            "progress",
            format!(r#"{{"type":"progress","after":"k3f9x2ab.9",{at}}}"#),
        ),
        (reset(ResetReason::OtherEpoch), "reset", format!(r#"{{"type":"reset",{at},"reason":"epoch"}}"#)),
        (reset(ResetReason::TooOld), "reset", format!(r#"{{"type":"reset",{at},"reason":"expired"}}"#)),
        (reset(ResetReason::InTheFuture), "reset", format!(r#"{{"type":"reset",{at},"reason":"future"}}"#)),
        (Item::End(EndReason::TooSlow), "end", r#"{"type":"end","reason":"too-slow"}"#.to_owned()),
        (Item::End(EndReason::Revoked), "end", r#"{"type":"end","reason":"revoked"}"#.to_owned()),
        (Item::End(EndReason::JournalFailed), "end", r#"{"type":"end","reason":"failed"}"#.to_owned()),
    ] {
        let mut frame = Vec::new();
        frame::write(&mut frame, &item, rev.epoch);
        assert_eq!((frame::kind(&item).0, String::from_utf8(frame).unwrap()), (name, expected));
    }
}
