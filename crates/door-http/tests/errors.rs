//! The table from errors to status codes: every problem type is produced by a request.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use common::{Client, Reply, script, with_everything};
use dovetail_api::problem::ProblemType;
use dovetail_door_http::Settings;
use dovetail_engine::Options;
use dovetail_journal::memory::{Fault, MemoryOptions};

type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str, ProblemType);

const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");
const JSON_PATCH: (&str, &str) = ("content-type", "application/json-patch+json");

/// Requests that are refused whatever is stored, beside `/t`, which is text, and `/j`, which is `{}`.
const TABLE: &[Row] = &[
    ("GET", "/a?wait=x&since=k3f9x2ab.1", &[], "", ProblemType::BadRequest),
    ("PUT", "/a", &[("if-match", "1")], "x", ProblemType::BadRequest),
    ("PUT", "/a", &[("if-none-match", "W/*")], "x", ProblemType::BadRequest),
    ("PUT", "/a", &[("content-range", "bytes 0-1/2")], "x", ProblemType::BadRequest),
    ("PUT", "/a", &[("idempotency-key", "\"\"")], "x", ProblemType::BadRequest),
    ("POST", "/-/publish/a", &[("idempotency-key", "k")], "x", ProblemType::BadRequest),
    ("PATCH", "/j", &[JSON_PATCH], "{}", ProblemType::BadRequest),
    ("GET", "/a%2Fb", &[], "", ProblemType::InvalidName),
    ("GET", "/a/../b", &[], "", ProblemType::InvalidName),
    ("GET", "/a%00", &[], "", ProblemType::InvalidName),
    ("GET", "/a%ff", &[], "", ProblemType::InvalidName),
    ("GET", "/a/%23/b", &[], "", ProblemType::InvalidName),
    ("PUT", "/a/+", &[], "x", ProblemType::InvalidName),
    ("DELETE", "/a/%23", &[], "", ProblemType::InvalidName),
    ("POST", "/a/%23", &[], "x", ProblemType::InvalidName),
    ("POST", "/+/", &[], "x", ProblemType::InvalidName),
    ("POST", "/-/publish/a/", &[], "x", ProblemType::InvalidName),
    ("GET", "/?since=1", &[], "", ProblemType::InvalidRevision),
    ("PUT", "/$SYS/x", &[], "x", ProblemType::ReservedName),
    ("DELETE", "/$SYS/x", &[], "", ProblemType::ReservedName),
    ("POST", "/$SYS/", &[], "x", ProblemType::ReservedName),
    ("POST", "/-/publish/$SYS/x", &[], "x", ProblemType::ReservedName),
    ("POST", "/-/publish/-/x", &[], "x", ProblemType::ReservedName),
    ("PUT", "/-/health", &[], "x", ProblemType::ReservedName),
    ("GET", "/$dovetail/x", &[], "", ProblemType::Forbidden),
    ("GET", "/$dovetail/", &[], "", ProblemType::Forbidden),
    ("GET", "/none", &[], "", ProblemType::NotFound),
    ("DELETE", "/none", &[], "", ProblemType::NotFound),
    ("PATCH", "/none", &[JSON_PATCH], "[]", ProblemType::NotFound),
    ("GET", "/-/none", &[], "", ProblemType::NotFound),
    ("TRACE", "/a", &[], "", ProblemType::MethodNotAllowed),
    ("PUT", "/a/", &[], "x", ProblemType::MethodNotAllowed),
    ("BREW", "/a/+", &[], "", ProblemType::MethodNotAllowed),
    ("GET", "/-/batch", &[], "", ProblemType::MethodNotAllowed),
    ("GET", "/-/publish/a", &[], "", ProblemType::MethodNotAllowed),
    ("POST", "/-/health", &[], "", ProblemType::MethodNotAllowed),
    ("PATCH", "/t", &[MERGE], "{}", ProblemType::Conflict),
    ("PATCH", "/j", &[JSON_PATCH], r#"[{"op":"remove","path":"/x"}]"#, ProblemType::Conflict),
    ("GET", "/?since=k3f9x2ab.1", &[], "", ProblemType::PositionGone),
    ("PUT", "/t", &[("if-none-match", "*")], "x", ProblemType::PreconditionFailed),
    ("PUT", "/a", &[("content-encoding", "gzip")], "x", ProblemType::UnsupportedMediaType),
    ("PATCH", "/j", &[], "{}", ProblemType::UnsupportedMediaType),
    ("PUT", "/a", &[("expect", "the-best")], "x", ProblemType::ExpectationFailed),
    ("PATCH", "/j", &[MERGE], "", ProblemType::Unprocessable),
    ("PUT", "/a", &[], "", ProblemType::EmptyRepresentation),
    ("GET", "/-/ws", &[], "", ProblemType::UpgradeRequired),
];

/// Types that take more than one request, each with a test below or in another file.
const ELSEWHERE: &[ProblemType] = &[
    ProblemType::Timeout,
    ProblemType::TooLarge,
    ProblemType::UriTooLong,
    ProblemType::IdempotencyKeyReused,
    ProblemType::OutcomeUnknown,
    ProblemType::Overloaded,
    ProblemType::ReadOnly,
    ProblemType::RevisionNotReached,
    ProblemType::ShuttingDown,
    ProblemType::InsufficientStorage,
];

/// Types that no request comes to while there are no credentials to check, no rate limits, and no
/// failure of the history to read; and the one that is told by the HTTP library, without a body.
const NOT_YET: &[ProblemType] = &[
    ProblemType::Unauthenticated,
    ProblemType::TooManyRequests,
    ProblemType::HeadersTooLarge,
    ProblemType::Internal,
];

#[test]
fn every_refusal_has_its_status_and_type() {
    script(|world| async move {
        world.put("/t", "text").await;
        world.call("PUT", "/j", &[("content-type", "application/json")], "{}").await;
        let head = world.engine.head();
        for mut client in [world.http1().await, world.http2().await] {
            for (method, path, fields, body, kind) in TABLE {
                if matches!(client, Client::Http1(_)) {
                    client = world.http1().await;
                }
                let reply = client.call(method, path, fields, body).await;
                let problem = reply.problem(*kind);
                assert!(!problem.detail.is_empty(), "{method} {path}");
                assert_eq!(reply.field("cache-control"), "no-store");
                assert_eq!(reply.has("allow"), *kind == ProblemType::MethodNotAllowed, "{method} {path}");
            }
        }
        assert_eq!(world.engine.head(), head, "what is refused changes nothing");
        let known: HashSet<_> =
            TABLE.iter().map(|row| row.4).chain(ELSEWHERE.iter().chain(NOT_YET).copied()).collect();
        assert_eq!(known.len(), ProblemType::ALL.len());
    });
}

#[test]
fn whoever_is_not_permitted_learns_nothing() {
    script(|world| async move {
        world.put("/a", "secret").await;
        for (method, path, body) in [
            ("GET", "/a", ""),
            ("GET", "/none", ""),
            ("GET", "/", ""),
            ("GET", "/a?since=k3f9x2ab.1", ""),
            ("PUT", "/a", "x"),
            ("DELETE", "/a", ""),
            ("POST", "/-/publish/a", "x"),
        ] {
            let stranger: IpAddr = "192.0.2.1".parse().unwrap();
            let mut client = Client::http1(world.connect_from(stranger)).await;
            let reply = client.call(method, path, &[], body).await;
            reply.problem(ProblemType::Forbidden);
            assert!(!reply.has("dovetail-revision") && !reply.has("etag"));
            let stream = client.call("GET", "/a", &[("accept", "text/event-stream")], "").await;
            stream.problem(ProblemType::Forbidden);
        }
        assert_eq!(world.get("/a").await.text(), "secret");
    });
}

#[test]
fn limits_hold_at_the_limit_and_one_past_it() {
    let settings = Settings { body_bytes: 100, ..Settings::default() };
    let options = Options { payload_bytes: 90, ..Options::default() };
    with_everything(settings, options, MemoryOptions::default(), false, |world| async move {
        assert_eq!(world.call("PUT", "/a", &[], &"x".repeat(90)).await.status, 201);
        world.call("PUT", "/a", &[], &"x".repeat(91)).await.problem(ProblemType::TooLarge);
        let reply = world.call("PUT", "/a", &[], &"x".repeat(101)).await;
        reply.problem(ProblemType::TooLarge);
        assert_eq!(reply.field("connection"), "close");
        let mut patch = world.http1().await;
        patch.call("PUT", "/j", &[("content-type", "application/json")], "{}").await;
        let grown = format!("{{\"a\":\"{}\"}}", "x".repeat(85));
        patch.call("PATCH", "/j", &[MERGE], &grown).await.problem(ProblemType::TooLarge);

        let query = |length: usize| format!("/a?{}", "q".repeat(length - 3));
        assert_eq!(world.get(&query(8_192)).await.status, 200);
        world.get(&query(8_193)).await.problem(ProblemType::UriTooLong);

        let long = "k".repeat(256);
        assert_eq!(world.call("PUT", "/k", &[("idempotency-key", &long)], "x").await.status, 201);
        let longer = "k".repeat(257);
        world.call("PUT", "/k", &[("idempotency-key", &longer)], "x").await.problem(ProblemType::BadRequest);
        let content_type = format!("text/{}", "x".repeat(251));
        assert_eq!(world.call("PUT", "/c", &[("content-type", &content_type)], "x").await.status, 201);
        let longer = format!("{content_type}x");
        world.call("PUT", "/c", &[("content-type", &longer)], "x").await.problem(ProblemType::BadRequest);
    });
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    script(|world| async move {
        world.put("/a", "1").await;
        world.journal.fail_append(0, Fault::Full);
        world.call("PUT", "/a", &[], "2").await.problem(ProblemType::InsufficientStorage);
        assert_eq!(world.get("/a").await.text(), "1");
        assert_eq!(world.call("PUT", "/a", &[], "3").await.status, 204);
    });
}

#[test]
fn a_failed_journal_is_said_and_reads_go_on() {
    script(|world| async move {
        world.put("/a", "1").await;
        world.journal.fail_append(0, Fault::PoisonLost);
        world.call("PUT", "/a", &[], "2").await.problem(ProblemType::OutcomeUnknown);
        world.call("PUT", "/a", &[], "3").await.problem(ProblemType::ReadOnly);
        assert_eq!(world.get("/a").await.text(), "1");
        world.get("/-/ready").await.problem(ProblemType::ReadOnly);
        assert_eq!(world.get("/-/health").await.status, 200);
        assert!(world.get("/-/metrics").await.text().contains("\ndovetail_writable 0\n"));
    });
}

#[test]
fn too_many_waiting_writes_are_refused_with_a_time_to_come_back() {
    let options = Options { admitted_bytes: 2_000, ..Options::default() };
    with_everything(Settings::default(), options, MemoryOptions::default(), false, |world| async move {
        world.journal.hold();
        let answers: Rc<RefCell<Vec<Reply>>> = Rc::default();
        let writers: Vec<_> = (0..8)
            .map(|n| {
                let (world, answers) = (Rc::clone(&world), Rc::clone(&answers));
                tokio::task::spawn_local(async move {
                    let reply = world.call("PUT", &format!("/{n}"), &[], &"x".repeat(500)).await;
                    answers.borrow_mut().push(reply);
                })
            })
            .collect();
        while answers.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        {
            let answers = answers.borrow();
            answers[0].problem(ProblemType::Overloaded);
            assert_eq!(answers[0].field("retry-after"), "1");
        }
        world.journal.release();
        for writer in writers {
            writer.await.unwrap();
        }
        assert!(answers.borrow().iter().any(|reply| reply.status == 201));
    });
}

#[test]
fn bodies_on_their_way_are_counted() {
    let settings = Settings { receiving_bytes: 1_000, ..Settings::default() };
    with_everything(settings, Options::default(), MemoryOptions::default(), false, |world| async move {
        let reply = world.call("PUT", "/a", &[], &"x".repeat(1_001)).await;
        reply.problem(ProblemType::Overloaded);
        assert_eq!(world.call("PUT", "/a", &[], &"x".repeat(1_000)).await.status, 201);
    });
}

#[test]
fn a_revision_that_does_not_come_is_said_after_a_while() {
    script(|world| async move {
        world.put("/a", "1").await;
        let ahead = world.engine.head().epoch.at(2).to_string();
        tokio::time::pause();
        let began = tokio::time::Instant::now();
        let reply = world.call("GET", "/a", &[("dovetail-min-revision", &ahead)], "").await;
        reply.problem(ProblemType::RevisionNotReached);
        assert_eq!(reply.field("retry-after"), "1");
        assert!(began.elapsed() >= Duration::from_secs(5));
    });
}

#[test]
fn a_stopping_server_says_so() {
    script(|world| async move {
        world.put("/a", "1").await;
        let mut client = world.http1().await;
        assert_eq!(client.call("GET", "/-/ready", &[], "").await.status, 200);
        let world = Rc::into_inner(world).unwrap();
        let common::World { running, engine, door, drain, .. } = world;
        tokio::task::spawn_blocking(move || running.stop()).await.unwrap();
        assert_eq!(engine.status(), dovetail_engine::Status::Stopping);
        let reply = client.call("PUT", "/a", &[], "2").await;
        reply.problem(ProblemType::ShuttingDown);
        assert_eq!(reply.field("retry-after"), "1");
        client.call("GET", "/-/ready", &[], "").await.problem(ProblemType::ShuttingDown);
        drop((door, drain));
    });
}
