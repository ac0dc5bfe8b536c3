//! Connections: deadlines, limits, `Expect`, and draining, in raw bytes where it matters.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::time::Duration;

use common::{World, raw, script, with_everything};
use dovetail_api::problem::ProblemType;
use dovetail_door_http::Settings;
use dovetail_engine::Options;
use dovetail_journal::memory::MemoryOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;

fn paused<F: Future<Output = ()>>(script: impl FnOnce(std::rc::Rc<World>) -> F) {
    with_everything(Settings::default(), Options::default(), MemoryOptions::default(), true, script);
}

/// Lets so many seconds pass on a clock that stands.
async fn pass(seconds: u64) {
    let forever = std::future::pending::<()>();
    let _ = tokio::time::timeout(Duration::from_secs(seconds), forever).await;
}

/// Reads until the text ends with `end`.
async fn read_until(io: &mut DuplexStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut byte = [0];
        assert_eq!(io.read(&mut byte).await.unwrap(), 1, "closed after {text:?}");
        text.push(char::from(byte[0]));
    }
    text
}

/// Seconds until the server closes after `bytes` were sent, and what it said.
async fn closes_after(world: &World, bytes: &[u8]) -> (u64, String) {
    let mut io = world.connect();
    let began = Instant::now();
    let answer = raw(&mut io, bytes).await;
    (began.elapsed().as_secs(), answer)
}

#[test]
fn slow_headers_are_cut_off() {
    paused(|world| async move {
        for start in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\nX: ", "PRI * HTTP/2.0\r\n\r"] {
            assert_eq!(closes_after(&world, start.as_bytes()).await, (10, String::new()), "{start:?}");
        }
        // A byte now and then does not help.
        let mut io = world.connect();
        let began = Instant::now();
        for byte in "GET / HTTP/1.1\r\nHost: x".bytes() {
            if io.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::advance(Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(raw(&mut io, b"").await, "");
        assert!(began.elapsed() < Duration::from_secs(13));
    });
}

#[test]
fn a_slow_second_request_is_cut_off_like_a_slow_first() {
    paused(|world| async move {
        let mut io = world.connect();
        io.write_all(b"GET /-/health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        read_until(&mut io, "{\"status\":\"up\"}").await;
        tokio::time::advance(Duration::from_secs(40)).await;
        let began = Instant::now();
        assert_eq!(raw(&mut io, b"GET / HT").await, "");
        assert_eq!(began.elapsed().as_secs(), 10);
    });
}

#[test]
fn idle_connections_end_after_a_minute_on_both_versions() {
    paused(|world| async move {
        let mut io = world.connect();
        io.write_all(b"GET /-/health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        read_until(&mut io, "{\"status\":\"up\"}").await;
        let began = Instant::now();
        assert_eq!(raw(&mut io, b"").await, "");
        assert_eq!(began.elapsed().as_secs(), 60);

        // The preface and SETTINGS alone are no request.
        let mut io = world.connect();
        let began = Instant::now();
        io.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut all = Vec::new();
        io.read_to_end(&mut all).await.unwrap();
        assert!((60..=65).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    });
}

#[test]
fn a_stream_is_never_idle() {
    paused(|world| async move {
        let mut stream = world.http1().await.stream("/", &[]).await;
        let began = Instant::now();
        while began.elapsed() < Duration::from_mins(5) {
            stream.next().await.unwrap();
        }
    });
}

#[test]
fn slow_bodies_are_cut_off_with_408() {
    paused(|world| async move {
        let start = "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx";
        let (seconds, answer) = closes_after(&world, start.as_bytes()).await;
        assert_eq!(seconds, 30);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("connection: close") && answer.contains("urn:dovetail:problem:timeout"));
        assert!(world.stored("a").is_none());
    });
}

#[test]
fn a_body_that_breaks_off_is_not_stored() {
    script(|world| async move {
        let mut io = world.connect();
        io.write_all(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx").await.unwrap();
        io.shutdown().await.unwrap();
        raw_to_end(&mut io).await;
        assert!(world.stored("a").is_none());
    });
}

async fn raw_to_end(io: &mut DuplexStream) -> Vec<u8> {
    let mut all = Vec::new();
    io.read_to_end(&mut all).await.unwrap();
    all
}

#[test]
fn large_headers_are_431_and_bodies_are_refused_before_they_are_sent() {
    script(|world| async move {
        let head = |bytes: usize| {
            let start = "GET /-/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: ";
            format!("{start}{}\r\n\r\n", "x".repeat(bytes - start.len() - 4))
        };
        assert!(raw(&mut world.connect(), head(32_768).as_bytes()).await.starts_with("HTTP/1.1 200 "));
        assert!(raw(&mut world.connect(), head(32_769).as_bytes()).await.starts_with("HTTP/1.1 431 "));
        let fields: Vec<_> = (0..200).map(|n| format!("X{n}: x\r\n")).collect();
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}", fields.concat());
        assert!(
            raw(&mut world.connect(), format!("{many}\r\n").as_bytes()).await.starts_with("HTTP/1.1 431 ")
        );

        let large = "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\nExpect: 100-continue\r\n\r\n";
        let answer = raw(&mut world.connect(), large.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    });
}

#[test]
fn a_chunked_body_is_refused_when_it_grows_too_large() {
    let settings = Settings { body_bytes: 20, ..Settings::default() };
    with_everything(settings, Options::default(), MemoryOptions::default(), false, |world| async move {
        let start = "PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let fits = format!("{start}a\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n");
        let mut io = world.connect();
        io.write_all(fits.as_bytes()).await.unwrap();
        assert!(read_until(&mut io, "\r\n\r\n").await.starts_with("HTTP/1.1 201 "));
        let too_much = format!("{start}a\r\n0123456789\r\nb\r\n01234567890\r\n");
        let answer = raw(&mut world.connect(), too_much.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    });
}

#[test]
fn whoever_expects_to_be_asked_is_asked() {
    script(|world| async move {
        let mut io = world.connect();
        let head = "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n";
        io.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(read_until(&mut io, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        io.write_all(b"ok").await.unwrap();
        assert!(read_until(&mut io, "\r\n\r\n").await.starts_with("HTTP/1.1 201 "));
        // Who may not write is told so instead of being asked.
        let head = head.replace("/a", "/$SYS/a").replace("PUT", "PATCH");
        io.write_all(head.as_bytes()).await.unwrap();
        assert!(read_until(&mut io, "\r\n\r\n").await.starts_with("HTTP/1.1 415 "));
    });
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_refused() {
    script(|world| async move {
        for head in [
            "GET /a HTTP/1.1\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
            "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
            "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\nx",
            "PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\nx",
            "GET  /a HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        ] {
            let answer = raw(&mut world.connect(), head.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer}");
        }
        assert!(world.stored("a").is_none());
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    script(|world| async move {
        let mut io = world.connect();
        let put = |value: &str| format!("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{value}");
        let get = "GET /a HTTP/1.1\r\nHost: x\r\n";
        let all = format!("{}{get}\r\n{}{get}Connection: close\r\n\r\n", put("1"), put("2"));
        let answer = raw(&mut io, all.as_bytes()).await;
        let bodies: Vec<_> =
            answer.split("HTTP/1.1 ").map(|part| part.rsplit("\r\n\r\n").next().unwrap()).collect();
        assert_eq!(bodies, ["", "", "1", "", "2"], "{answer}");
    });
}

#[test]
fn draining_finishes_what_is_in_flight_and_closes_the_rest() {
    script(|world| async move {
        let mut idle = world.connect();
        idle.write_all(b"GET /-/health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        read_until(&mut idle, "{\"status\":\"up\"}").await;
        let mut busy = world.connect();
        busy.write_all(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\no").await.unwrap();
        let mut http2 = world.http2().await;
        assert_eq!(http2.call("GET", "/-/health", &[], "").await.status, 200);
        tokio::task::yield_now().await;
        world.drain.begin();
        assert_eq!(raw_to_end(&mut idle).await, b"");
        busy.write_all(b"k").await.unwrap();
        let answer = String::from_utf8(raw_to_end(&mut busy).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201 ") && answer.contains("connection: close"), "{answer}");
        assert_eq!(world.stored("a").unwrap().representation.payload, "ok");
    });
}

#[test]
fn a_new_connection_while_draining_ends() {
    paused(|world| async move {
        world.drain.begin();
        let (seconds, answer) = closes_after(&world, b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(seconds <= 10);
        assert!(answer.is_empty() || answer.contains(ProblemType::ShuttingDown.name()), "{answer}");
    });
}

#[test]
fn a_client_that_takes_nothing_is_cut_off_and_a_slow_one_is_not() {
    script(|world| async move {
        for n in 0..40 {
            world.put(&format!("/big/{n:02}"), &"x".repeat(100_000)).await;
        }
        tokio::time::pause();
        let get = b"GET /big/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let mut stalled = world.connect();
        stalled.write_all(get).await.unwrap();
        pass(61).await;
        let cut = raw_to_end(&mut stalled).await;
        assert!(cut.len() < 1_000_000, "{} bytes", cut.len());

        let mut slow = world.connect();
        slow.write_all(get).await.unwrap();
        let (mut all, mut piece) = (0, vec![0; 64 << 10]);
        loop {
            pass(30).await;
            match slow.read(&mut piece).await.unwrap() {
                0 => break,
                more => all += more,
            }
        }
        assert!(all > 4_000_000, "{all} bytes");
    });
}

#[test]
fn requests_on_a_parked_connection_are_answered_like_others() {
    paused(|world| async move {
        let mut io = world.connect();
        io.write_all(b"GET /-/health HTTP/1.1\r\nHost: x\r\n\r\nGET /-/he").await.unwrap();
        read_until(&mut io, "{\"status\":\"up\"}").await;
        // What was read of the second request while the first was answered is not lost.
        pass(5).await;
        io.write_all(b"alth HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        read_until(&mut io, "{\"status\":\"up\"}").await;
        for pause in [0, 2, 40] {
            pass(pause).await;
            io.write_all(b"GET /-/health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            read_until(&mut io, "{\"status\":\"up\"}").await;
        }
        pass(5).await;
        world.drain.begin();
        assert_eq!(raw_to_end(&mut io).await, b"", "a parked connection drains");
    });
}

#[test]
fn a_stream_has_the_connection_for_itself() {
    script(|world| async move {
        world.put("/a", "1").await;
        let mut io = world.connect();
        let both = "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n";
        io.write_all(both.as_bytes()).await.unwrap();
        let start = read_until(&mut io, "event: sync\n").await;
        assert!(start.starts_with("HTTP/1.1 200 OK\r\n"));
        let stream = &start[start.rfind("HTTP/1.1 200").unwrap()..];
        assert!(stream.contains("\r\nconnection: close\r\n") && stream.contains("\r\ndate: "), "{stream}");
        assert!(!stream.contains("transfer-encoding"));
        // A client that closes ends the stream at once, without anything being said.
        drop(io);
        while world.shared.requests().streams > 0 {
            tokio::task::yield_now().await;
        }
    });
}
