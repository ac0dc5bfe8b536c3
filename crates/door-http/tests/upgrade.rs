//! Connections that become WebSockets, and those that may not.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use common::{PEER, World, raw, with_everything};
use dovetail_api::problem::ProblemType;
use dovetail_door_http::{Origins, Settings, Upgraded};
use dovetail_engine::Options;
use dovetail_journal::memory::MemoryOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn script<F: Future<Output = ()>>(script: impl FnOnce(Rc<World>) -> F) {
    let origins = Origins::new(["https://app.example"]).unwrap();
    let settings = Settings { subprotocols: &["mqtt", "mqttv3.1"], origins, ..Settings::default() };
    with_everything(settings, Options::default(), MemoryOptions::default(), false, script);
}

/// A handshake for `path`, its fields replaced by `fields`; an empty value leaves a field out.
fn handshake(path: &str, fields: &[(&str, &str)]) -> String {
    let usual = [
        ("Host", "plant.example"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Protocol", "mqtt"),
    ];
    let mut text = format!("GET {path} HTTP/1.1\r\n");
    let kept = usual.iter().filter(|(name, _)| !fields.iter().any(|(other, _)| name == other));
    for (name, value) in kept.chain(fields).filter(|(_, value)| !value.is_empty()) {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    text + "\r\n"
}

type Serving = JoinHandle<Option<Upgraded<DuplexStream>>>;

fn serve(world: &World, peer: IpAddr) -> (DuplexStream, Serving) {
    let (client, server) = tokio::io::duplex(64 << 10);
    let door = world.door.clone();
    (client, tokio::task::spawn_local(async move { door.serve(server, peer).await }))
}

async fn head(io: &mut DuplexStream) -> String {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        text.push(char::from(io.read_u8().await.unwrap()));
    }
    text
}

#[test]
fn a_handshake_gives_the_connection_back_with_what_came_behind_it() {
    script(|world| async move {
        for (path, offered, chosen) in [
            ("/", "mqtt", "mqtt"),
            ("/mqtt", "mqttv3.1", "mqttv3.1"),
            ("/-/ws?x=1", "soap, mqttv3.1, mqtt", "mqtt"),
            ("/a/%23", "chat,mqtt", "mqtt"),
            ("/%ff", "mqtt", "mqtt"),
        ] {
            let (mut io, serving) = serve(&world, PEER);
            let request = handshake(
                path,
                &[
                    ("Sec-WebSocket-Protocol", offered),
                    ("Upgrade", "WebSocket"),
                    ("Connection", "keep-alive, upgrade"),
                    ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
                ],
            );
            io.write_all(format!("{request}frames").as_bytes()).await.unwrap();
            let answer = head(&mut io).await;
            assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{path}: {answer}");
            assert!(answer.contains(&format!("\r\nsec-websocket-accept: {ACCEPT}\r\n")), "{answer}");
            assert!(answer.contains(&format!("\r\nsec-websocket-protocol: {chosen}\r\n")), "{answer}");
            assert!(answer.contains("\r\nupgrade: websocket\r\nconnection: upgrade\r\n"), "{answer}");
            assert!(!answer.contains("extensions") && !answer.contains("content-length"), "{answer}");
            let mut upgraded = serving.await.unwrap().unwrap();
            assert_eq!((upgraded.subprotocol, &upgraded.before[..]), (chosen, &b"frames"[..]));
            upgraded.io.write_all(b"hello").await.unwrap();
            drop(upgraded);
            assert_eq!(raw(&mut io, b"").await, "hello");
        }
        assert_eq!(world.shared.requests().by_class, [5, 0, 0, 0, 0]);
    });
}

#[test]
fn a_handshake_may_come_in_bytes_and_after_other_requests() {
    script(|world| async move {
        let (mut io, serving) = serve(&world, PEER);
        io.write_all(b"GET /-/health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        for byte in handshake("/", &[]).bytes().chain(*b"f") {
            io.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(head(&mut io).await.starts_with("HTTP/1.1 200 "));
        let mut body = [0; b"{\"status\":\"up\"}".len()];
        io.read_exact(&mut body).await.unwrap();
        assert!(head(&mut io).await.starts_with("HTTP/1.1 101 "));
        let mut upgraded = serving.await.unwrap().unwrap();
        io.shutdown().await.unwrap();
        let mut rest = upgraded.before.to_vec();
        upgraded.io.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"f");
    });
}

#[test]
fn what_is_no_handshake_of_ours_is_a_problem() {
    script(|world| async move {
        for (fields, says) in [
            (
                &[("Sec-WebSocket-Protocol", "")][..],
                "400 Bad Request|needs a subprotocol; here is mqtt, mqttv3.1",
            ),
            (&[("Sec-WebSocket-Protocol", "MQTT")], "400 Bad Request|needs a subprotocol"),
            (&[("Sec-WebSocket-Protocol", "soap, wamp")], "400 Bad Request|needs a subprotocol"),
            (&[("Sec-WebSocket-Version", "8")], "400 Bad Request|sec-websocket-version: 13"),
            (&[("Sec-WebSocket-Version", "")], "400 Bad Request|sec-websocket-version: 13"),
            (&[("Sec-WebSocket-Key", "c2hvcnQ=")], "400 Bad Request|Sec-WebSocket-Key"),
            (&[("Sec-WebSocket-Key", "")], "400 Bad Request|Sec-WebSocket-Key"),
            (&[("Host", "")], "400 Bad Request|exactly one Host"),
            (&[("Content-Length", "5")], "400 Bad Request|has no body"),
            (&[("Transfer-Encoding", "chunked")], "400 Bad Request|has no body"),
            (&[("Origin", "https://evil.example")], "403 Forbidden|pages of `https://evil.example`"),
            (&[("Origin", "null")], "403 Forbidden|pages of `null`"),
        ] {
            let (mut io, serving) = serve(&world, PEER);
            let last = [fields, &[("Connection", "upgrade, close")]].concat();
            let answer = raw(&mut io, handshake("/", &last).as_bytes()).await;
            let (status, detail) = says.split_once('|').unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{fields:?}: {answer}");
            assert!(answer.contains("\r\ncontent-type: application/problem+json\r\n"), "{answer}");
            assert!(answer.contains(detail), "{fields:?}: {answer}");
            assert!(serving.await.unwrap().is_none());
        }
    });
}

#[test]
fn pages_are_let_in_by_their_origin() {
    let far = IpAddr::from([192, 0, 2, 1]);
    script(move |world| async move {
        for (peer, origin, expected) in [
            (far, "", "101"),
            (far, "http://plant.example", "101"),
            (far, "https://app.example", "101"),
            (far, "http://localhost:3000", "403"),
            (PEER, "http://localhost:3000", "101"),
            (PEER, "http://evil.example", "403"),
        ] {
            let (mut io, _serving) = serve(&world, peer);
            io.write_all(handshake("/", &[("Origin", origin)]).as_bytes()).await.unwrap();
            let answer = head(&mut io).await;
            assert_eq!(&answer[9..12], expected, "{origin} from {peer}");
        }
    });
}

#[test]
fn who_asks_for_another_upgrade_is_answered_without_one() {
    script(|world| async move {
        world.put("/a", "1").await;
        for (fields, version) in
            [(&[("Upgrade", "h2c")][..], "1.1"), (&[("Connection", "close")], "1.1"), (&[], "1.0")]
        {
            let (mut io, _serving) = serve(&world, PEER);
            let request = handshake("/a", fields).replace("HTTP/1.1", &format!("HTTP/{version}"));
            io.write_all(request.as_bytes()).await.unwrap();
            assert!(head(&mut io).await.contains(" 200 OK\r\n"), "{request}");
        }
        let (mut io, _serving) = serve(&world, PEER);
        let request = handshake("/b", &[("Content-Length", "1")]).replace("GET", "PUT");
        io.write_all(format!("{request}2").as_bytes()).await.unwrap();
        assert!(head(&mut io).await.starts_with("HTTP/1.1 201 "), "only GET is a handshake");
    });
}

#[test]
fn who_does_not_take_the_answer_is_cut_off() {
    let settings = Settings { subprotocols: &["mqtt"], ..Settings::default() };
    with_everything(settings, Options::default(), MemoryOptions::default(), true, |world| async move {
        let (mut io, server) = tokio::io::duplex(16);
        let door = world.door.clone();
        let serving = tokio::task::spawn_local(async move { door.serve(server, PEER).await });
        let began = tokio::time::Instant::now();
        io.write_all(handshake("/", &[]).as_bytes()).await.unwrap();
        assert!(serving.await.unwrap().is_none());
        assert_eq!(began.elapsed(), Duration::from_mins(1));
    });
}

#[test]
fn the_page_for_it_needs_no_subprotocol_and_is_nothing_else() {
    let settings = Settings {
        subprotocols: &["mqtt", "dovetail.v1"],
        usual_subprotocol: Some("dovetail.v1"),
        ..Settings::default()
    };
    with_everything(settings, Options::default(), MemoryOptions::default(), false, |world| async move {
        for (path, offered, expected) in [
            ("/-/ws", "", Some("dovetail.v1")),
            ("/-/ws?x=1", "", Some("dovetail.v1")),
            ("/-/ws", "dovetail.v1", Some("dovetail.v1")),
            ("/-/ws", "mqtt", Some("mqtt")),
            ("/a", "dovetail.v1", Some("dovetail.v1")),
            ("/-/ws", "soap", None),
            ("/-/ws/", "", None),
            ("/a", "", None),
        ] {
            let (mut io, serving) = serve(&world, PEER);
            let request = handshake(path, &[("Sec-WebSocket-Protocol", offered)]);
            io.write_all(request.as_bytes()).await.unwrap();
            let answer = head(&mut io).await;
            let Some(spoken) = expected else {
                assert!(answer.starts_with("HTTP/1.1 400 "), "{path} {offered}: {answer}");
                continue;
            };
            assert!(answer.starts_with("HTTP/1.1 101 "), "{path} {offered}: {answer}");
            // What was not offered must not be said.
            assert_eq!(answer.contains("sec-websocket-protocol"), !offered.is_empty(), "{answer}");
            assert_eq!(serving.await.unwrap().unwrap().subprotocol, spoken);
        }
        let plain = world.call("GET", "/-/ws", &[], "").await;
        assert_eq!(plain.status.as_u16(), 426);
        assert_eq!(plain.field("upgrade"), "websocket");
        assert!(plain.problem(ProblemType::UpgradeRequired).detail.contains("dovetail.v1"));
        assert_eq!(world.http2().await.call("GET", "/-/ws", &[], "").await.status.as_u16(), 426);
    });
}
