//! A page that somebody else answers.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use common::{Client, PEER, raw, with_door};
use dovetail_api::problem::ProblemType;
use dovetail_auth::Principal;
use dovetail_door_http::{Answering, Chunks, Door, Mount, Reply, Settings, Upgraded};
use http::request::Parts;
use http::{Response, StatusCode};
use tokio::io::{AsyncWriteExt as _, DuplexStream};

/// Says what it was asked.
struct Echo;

struct Twice(u8);

impl Chunks for Twice {
    fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        self.0 += 1;
        Poll::Ready((self.0 < 3).then(|| format!("chunk {} ", self.0).into_bytes()))
    }
}

impl Mount for Echo {
    fn page(&self) -> &'static str {
        "echo"
    }

    fn refuse(&self, head: &Parts) -> Option<Response<Bytes>> {
        let refusal = Response::builder().status(StatusCode::CONFLICT).body("not here".into()).unwrap();
        (head.uri.query() != Some("yes")).then_some(refusal)
    }

    fn answer<'a>(&'a self, head: &'a Parts, below: &'a str, _: &'a Principal, body: Bytes) -> Answering<'a> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            Response::new(match head.uri.query() {
                Some("stream") => Reply::Stream(Box::new(Twice(0))),
                Some("empty") => Reply::Whole(Bytes::new()),
                _ => {
                    assert!(head.uri.path().ends_with(below));
                    let said = format!("{} {} {}", head.method, head.uri, String::from_utf8_lossy(&body));
                    Reply::Whole(said.into())
                }
            })
        })
    }
}

fn script<F: Future<Output = ()>>(script: impl FnOnce(Door) -> F) {
    let settings = Settings { body_bytes: 100, subprotocols: &["mqtt"], ..Settings::default() };
    with_door(settings, |world| async move {
        let (shared, draining) = (Arc::clone(&world.shared), world.drain.draining());
        script(Door::mounting(world.shard.clone(), shared, draining, Some(Rc::new(Echo)))).await;
    });
}

async fn client(door: &Door) -> Client {
    let (client, server) = tokio::io::duplex(64 << 10);
    let door = door.clone();
    tokio::task::spawn_local(async move { door.serve(server, PEER).await });
    Client::http1(client).await
}

async fn upgrade(door: &Door, path: &str, more: &str) -> (String, Option<Upgraded<DuplexStream>>) {
    let (mut client, server) = tokio::io::duplex(64 << 10);
    let serving = tokio::task::spawn_local({
        let door = door.clone();
        async move { door.serve(server, PEER).await }
    });
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let upgraded = serving.await.unwrap().map(|upgraded| {
        let Upgraded { io, before, subprotocol, mounted } = upgraded;
        drop(io);
        Upgraded { io: tokio::io::duplex(1).0, before, subprotocol, mounted }
    });
    (raw(&mut client, b"").await, upgraded)
}

#[test]
fn requests_at_the_page_and_below_it_are_its_own() {
    script(|door| async move {
        let mut client = client(&door).await;
        for (method, path, body) in [
            ("GET", "/-/echo", ""),
            ("POST", "/-/echo?id=1", "hello"),
            ("DELETE", "/-/echo/below/more", ""),
            ("PUT", "/-/echo/", "x"),
        ] {
            let reply = client.call(method, path, &[], body).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, &*format!("{method} {path} {body}")));
        }
        assert_eq!(client.call("GET", "/-/echo?empty", &[], "").await.field("content-length"), "0");
        assert!(client.call("OPTIONS", "/-/echo", &[], "").await.field("allow").contains("DELETE"));
        client.call("GET", "/-/echoes", &[], "").await.problem(ProblemType::NotFound);
        let large = "x".repeat(101);
        client.call("POST", "/-/echo", &[], &large).await.problem(ProblemType::TooLarge);
    });
}

#[test]
fn its_streams_have_the_socket_for_themselves() {
    script(|door| async move {
        let reply = client(&door).await.call("GET", "/-/echo?stream", &[], "").await;
        assert_eq!(reply.text(), "chunk 1 chunk 2 ");
        assert_eq!(reply.field("connection"), "close");
    });
}

#[test]
fn it_says_who_may_become_a_websocket() {
    script(|door| async move {
        let (answer, upgraded) = upgrade(&door, "/-/echo?yes", "").await;
        assert!(answer.starts_with("HTTP/1.1 101 ") && !answer.contains("protocol:"), "{answer}");
        let upgraded = upgraded.unwrap();
        assert_eq!(upgraded.mounted.as_deref(), Some("yes"));
        assert_eq!(upgraded.subprotocol, "");
        let (answer, upgraded) = upgrade(&door, "/-/echo?no", "").await;
        assert!(answer.starts_with("HTTP/1.1 409 ") && answer.ends_with("not here"), "{answer}");
        assert!(upgraded.is_none());
        // A subprotocol that somebody serves goes before the page, and only the page itself can be one.
        let (_, upgraded) = upgrade(&door, "/-/echo?no", "Sec-WebSocket-Protocol: mqtt\r\n").await;
        let upgraded = upgraded.unwrap();
        assert_eq!((upgraded.subprotocol, upgraded.mounted), ("mqtt", None));
        assert!(upgrade(&door, "/-/echo/negotiate?yes", "").await.0.starts_with("HTTP/1.1 400 "));
        let (answer, _) = upgrade(&door, "/-/echo?yes", "Origin: https://evil.example\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    });
}
