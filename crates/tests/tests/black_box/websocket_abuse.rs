//! Clients of `dovetail.v1` that misbehave: each is told what it did or closed with the code for it, the server's memory
//! stays bounded, and a good client notices nothing.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dovetail_tests::http::Http;
use dovetail_tests::server::{Server, Setup};
use dovetail_tests::websocket::{
    BINARY, CLOSE, CONTINUE, CONTINUE_LAST, PING, Received, Refused, TEXT, TEXT_BEGIN, WebSocket, frame,
};
use serde_json::{Value, json};

const PATH: &str = "/-/ws";
const PROTOCOL: Option<&str> = Some("dovetail.v1");

/// Connections of each kind that misbehave at once.
const CROWD: usize = 20;
/// What such a crowd may cost, in KiB: 2 MiB for each of them, far less than they ask for.
const MEMORY_KIB: u64 = CROWD as u64 * 2048;
/// What a client that does not read asks for, each time: as much as a payload may have.
const LARGE_BYTES: usize = 1 << 20;
/// Calls of a good client while the others are there and do nothing more.
const CALLS_AFTER: usize = 100;
/// A good client's call takes milliseconds, and a second where a server without optimisation has megabytes to spell for
/// others on a busy machine; this is beyond any noise.
const UNDISTURBED: Duration = Duration::from_secs(10);

/// A client that has heard the server's hello.
fn connect(address: SocketAddr) -> (WebSocket, Value) {
    let mut socket = WebSocket::connect(address, PATH, PROTOCOL, &[]).unwrap();
    let hello = socket.json().unwrap();
    assert_eq!(hello["type"], "hello", "{hello}");
    (socket, hello)
}

fn ask(socket: &mut WebSocket, request: &Value) -> Value {
    socket.send_text(&request.to_string()).unwrap();
    socket.json().unwrap()
}

/// Does what any client does, and is not kept waiting.
fn is_well(socket: &mut WebSocket, number: u64) {
    let started = Instant::now();
    let path = format!("good/{}", socket.socket().local_addr().unwrap().port());
    let written = ask(socket, &json!({"type": "put", "id": number, "path": path, "value": number}));
    assert_eq!((&written["type"], &written["id"]), (&json!("result"), &json!(number)), "{written}");
    let read = ask(socket, &json!({"type": "get", "id": "again", "path": path}));
    assert_eq!(read["resource"]["value"], number, "{read}");
    let took = started.elapsed();
    assert!(took < UNDISTURBED, "two calls took {took:?}");
}

/// Goes on as a good client while `disturb` runs and, for a while, what it leaves stands, and then says by how many KiB the
/// server grew at most.
fn beside<T: Send>(server: &Server, disturb: impl FnOnce(SocketAddr) -> T + Send) -> u64 {
    let address = server.address();
    let (mut good, _) = connect(address);
    is_well(&mut good, 0);
    let (before, is_over) = (server.memory_kib(), AtomicBool::new(false));
    let (mut number, mut most) = (0, before);
    let mut goes_on = || {
        number += 1;
        is_well(&mut good, number);
        most = most.max(server.memory_kib());
    };
    std::thread::scope(|scope| {
        let disturbing = scope.spawn(|| {
            // Also when it panics.
            let _over = Over(&is_over);
            disturb(address)
        });
        while !is_over.load(Ordering::Relaxed) {
            goes_on();
        }
        let left = disturbing.join().unwrap();
        for _ in 0..CALLS_AFTER {
            goes_on();
        }
        drop(left);
        goes_on();
    });
    most - before
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn frames_that_break_the_rules_are_closed_with_the_code_for_it() {
    let server = Setup::new().start();
    let message_bytes = connect(server.address()).1["limits"]["messageBytes"].as_u64().unwrap() as usize;
    let (half, rest) = (vec![b' '; message_bytes / 2 + 1], vec![b' '; message_bytes / 2]);
    let masked = frame(TEXT, b"{}");
    let unmasked = [&[TEXT, 2][..], b"{}"].concat();
    let reserved = [&[masked[0] | 0x40], &masked[1..]].concat();
    let table: [(&str, Vec<u8>, u16); 14] = [
        ("no mask", unmasked, 1002),
        ("compression that nobody agreed to", reserved, 1002),
        ("an unknown opcode", frame(0x83, b"{}"), 1002),
        ("a continuation of nothing", frame(CONTINUE_LAST, b"{}"), 1002),
        ("a text within a text", [frame(TEXT_BEGIN, b"{"), frame(TEXT, b"}")].concat(), 1002),
        ("a ping of 126 bytes", frame(PING, &[0; 126]), 1002),
        ("a ping in parts", frame(PING & 0x7f, b""), 1002),
        ("a close code that nobody may send", frame(CLOSE, &1006_u16.to_be_bytes()), 1002),
        ("text that is not UTF-8", frame(TEXT, b"{\"type\":\"\xff\"}"), 1007),
        ("text that stops within a character", frame(TEXT, "{\"é".as_bytes().split_last().unwrap().1), 1007),
        ("a close reason that is not UTF-8", frame(CLOSE, b"\x03\xe8\xff"), 1007),
        ("bytes in place of text", frame(BINARY, b"{}"), 1003),
        ("a frame over the limit", frame(TEXT, &vec![b' '; message_bytes + 1]), 1009),
        ("parts over the limit", [frame(TEXT_BEGIN, &half), frame(CONTINUE_LAST, &rest)].concat(), 1009),
    ];
    for (what, bytes, code) in table {
        let (mut socket, _) = connect(server.address());
        // The end of it may find the connection closed.
        let _ = socket.send_raw(&bytes);
        assert_eq!(socket.close_code().unwrap(), Some(code), "{what}");
    }
    is_well(&mut connect(server.address()).0, 1);
}

#[test]
fn what_is_no_request_is_answered_and_the_connection_goes_on() {
    let server = Setup::new().start();
    let (mut socket, _) = connect(server.address());
    let long = "9".repeat(65);
    let deep =
        format!("{{\"type\":\"get\",\"id\":1,\"path\":{}1{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let too_long_id = format!("{{\"type\":\"get\",\"id\":{long},\"path\":\"a\"}}");
    let bad: [(&str, Value); 20] = [
        ("", Value::Null),
        ("hello", Value::Null),
        ("[]", Value::Null),
        ("null", Value::Null),
        ("{", Value::Null),
        ("{} {}", Value::Null),
        ("{\"type\":\"get\",\"path\":\"a\"}", Value::Null),
        ("{\"type\":\"get\",\"id\":{},\"path\":\"a\"}", Value::Null),
        ("{\"type\":\"get\",\"id\":true,\"path\":\"a\"}", Value::Null),
        (&too_long_id, Value::Null),
        ("{\"id\":2}", json!(2)),
        ("{\"type\":\"fetch\",\"id\":3,\"path\":\"a\"}", json!(3)),
        ("{\"type\":\"hello\",\"id\":4}", json!(4)),
        ("{\"type\":\"get\",\"id\":5}", json!(5)),
        ("{\"type\":\"get\",\"id\":6,\"path\":7}", json!(6)),
        ("{\"type\":\"get\",\"id\":7,\"path\":\"a/#\"}", json!(7)),
        ("{\"type\":\"put\",\"id\":8,\"path\":\"$dovetail/x\",\"text\":\"x\"}", json!(8)),
        ("{\"type\":\"put\",\"id\":9,\"path\":\"a\",\"base64\":\"?\"}", json!(9)),
        ("{\"type\":\"watch\",\"id\":10,\"filter\":\"a/#/b\"}", json!(10)),
        ("{\"type\":\"unwatch\",\"id\":11,\"watch\":\"none\"}", json!(11)),
    ];
    for (number, (text, id)) in (0..).zip(bad) {
        socket.send_text(text).unwrap();
        let answer = socket.json().unwrap();
        assert_eq!((&answer["type"], &answer["id"]), (&json!("error"), &id), "{text}: {answer}");
        assert!(answer["problem"]["type"].is_string(), "{text}: {answer}");
        is_well(&mut socket, number);
    }
    socket.send_text(&deep).unwrap();
    assert_eq!(socket.json().unwrap()["type"], "error");
    is_well(&mut socket, 99);
}

#[test]
fn a_request_in_parts_with_pings_between_is_one_request() {
    let server = Setup::new().start();
    let (mut socket, _) = connect(server.address());
    let request = json!({"type": "put", "id": "größe", "path": "a", "text": "ü".repeat(500)}).to_string();
    let (first, last) = request.as_bytes().split_at(request.len() - 1);
    let mut begun = TEXT_BEGIN;
    // One byte a frame cuts characters too.
    for byte in first {
        socket.send(begun, &[*byte]).unwrap();
        begun = CONTINUE;
    }
    socket.send(PING, b"still here").unwrap();
    assert_eq!(socket.receive().unwrap(), Received::Pong(b"still here".to_vec()));
    socket.send(CONTINUE_LAST, last).unwrap();
    let answer = socket.json().unwrap();
    assert_eq!((&answer["type"], &answer["id"]), (&json!("result"), &json!("größe")), "{answer}");
    assert_eq!(Http::connect(server.address()).unwrap().get("/a").unwrap().text(), "ü".repeat(500));
}

#[test]
fn one_connection_has_so_many_watches_and_no_more() {
    let server = Setup::new().start();
    let (mut socket, hello) = connect(server.address());
    let most = hello["limits"]["watches"].as_u64().unwrap();
    let watch = |id: u64| json!({"type": "watch", "id": id, "filter": format!("room/{id}"), "since": "now"});
    for id in 0..most {
        socket.send_text(&watch(id).to_string()).unwrap();
    }
    let refused = loop {
        // Whatever a new watch says comes before.
        socket.send_text(&watch(most).to_string()).unwrap();
        let said = socket.json().unwrap();
        if said["type"] == "error" {
            break said;
        }
    };
    assert_eq!(refused["id"], most, "{refused}");
    // One that ends makes room.
    socket.send_text(&json!({"type": "unwatch", "id": "end", "watch": 0}).to_string()).unwrap();
    while socket.json().unwrap()["id"] != "end" {}
    socket.send_text(&json!({"type": "watch", "id": "new", "filter": "room/new"}).to_string()).unwrap();
    loop {
        let said = socket.json().unwrap();
        if said["watch"] == "new" {
            break;
        }
        assert!(said["type"] != "error" || said["id"] == most, "{said}");
    }
}

#[test]
fn pages_of_elsewhere_may_not_connect() {
    let server = Setup::new().start();
    let address = server.address();
    let from = |origin: &str| WebSocket::connect(address, PATH, PROTOCOL, &[("origin", origin)]);
    for elsewhere in ["http://evil.example", "https://dovetail.test.evil.example", "null", "file://"] {
        match from(elsewhere) {
            Err(Refused::Answered(answer)) => assert_eq!(answer.status, 403, "{elsewhere}"),
            other => panic!("{elsewhere}: {other:?}"),
        }
    }
    for here in ["http://dovetail.test", &format!("http://{address}"), "http://localhost:3000"] {
        assert!(from(here).is_ok(), "{here}");
    }
    let unknown = WebSocket::connect(address, PATH, Some("dovetail.v9"), &[]);
    assert!(matches!(unknown, Err(Refused::Answered(answer)) if answer.status == 400));
}

#[test]
fn messages_that_are_promised_and_do_not_come_cost_nothing() {
    let server = Setup::new().start();
    let grown = beside(&server, |address| {
        let promised = frame(TEXT, &vec![b' '; LARGE_BYTES]);
        let mut crowd: Vec<WebSocket> = (0..10 * CROWD).map(|_| connect(address).0).collect();
        for socket in &mut crowd {
            socket.send_raw(&promised[..100]).unwrap();
        }
        crowd
    });
    assert!(grown < MEMORY_KIB / 2, "grown by {grown} KiB");
}

#[test]
fn who_asks_and_does_not_read_is_not_answered_without_end() {
    let server = Setup::new().start();
    let large = "x".repeat(LARGE_BYTES);
    assert_eq!(Http::connect(server.address()).unwrap().put("/large", &large).unwrap().status, 201);
    let grown = beside(&server, |address| {
        let mut crowd: Vec<WebSocket> = (0..CROWD).map(|_| connect(address).0).collect();
        for socket in &mut crowd {
            push(socket, &frame(TEXT, br#"{"type":"get","id":1,"path":"large"}"#), 1_000);
        }
        crowd
    });
    assert!(grown < 3 * MEMORY_KIB, "grown by {grown} KiB");
}

#[test]
fn pings_without_end_cost_nothing() {
    let server = Setup::new().start();
    let grown = beside(&server, |address| {
        let mut crowd: Vec<WebSocket> = (0..CROWD).map(|_| connect(address).0).collect();
        for socket in &mut crowd {
            push(socket, &frame(PING, &[b'p'; 125]), 20_000);
        }
        crowd
    });
    assert!(grown < MEMORY_KIB / 2, "grown by {grown} KiB");
}

/// Sends the same over and over without reading, until it is not taken any more.
fn push(socket: &mut WebSocket, bytes: &[u8], times: usize) {
    socket.socket().set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    for _ in 0..times {
        match socket.send_raw(bytes) {
            Ok(()) => {}
            Err(error) if is_timeout(&error) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[test]
fn watchers_that_never_read_hold_positions_and_no_payloads() {
    let mut server = Setup::new().start();
    server.expect_in_log("");
    let large = "x".repeat(LARGE_BYTES / 8);
    let grown = beside(&server, |address| {
        let mut crowd: Vec<WebSocket> = (0..CROWD).map(|_| connect(address).0).collect();
        for socket in &mut crowd {
            let watch = json!({"type": "watch", "id": 1, "filter": "flood/#", "mode": "every"});
            socket.send_text(&watch.to_string()).unwrap();
        }
        let mut http = Http::connect(address).unwrap();
        // 50 MiB for each of them.
        for number in 0..400 {
            assert!(http.put(&format!("/flood/{}", number % 10), &large).unwrap().status < 300);
        }
        crowd
    });
    assert!(grown < 4 * MEMORY_KIB, "grown by {grown} KiB");
}
