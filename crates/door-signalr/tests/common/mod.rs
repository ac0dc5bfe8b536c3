//! A door over a real engine and the memory journal, with two shards on one thread.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses its part")]
#![allow(clippy::needless_pass_by_value, reason = "messages are written where they are sent")]

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dovetail_auth::{Policy, Principal};
use dovetail_calls::pages::Pages;
use dovetail_calls::{Desk, Settings};
use dovetail_door_signalr::{Body, Counts, Door, Events, LocalDoor, Options, Request};
use dovetail_engine::{Clock, Engine, Recovery, Running};
use dovetail_journal::Journal;
use dovetail_journal::memory::{MemoryJournal, MemoryOptions};
use dovetail_net::Drain;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Method, Response};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio_websockets::{ClientBuilder, CloseCode, Message, WebSocketStream};

pub const SEPARATOR: char = '\u{1e}';
pub const HANDSHAKE: &str = "{\"protocol\":\"json\",\"version\":1}\u{1e}";
/// How long a test waits for what must come. Longer than any deadline of the door, for tests whose clock leaps.
const PATIENCE: Duration = Duration::from_mins(10);

/// A server in a test.
pub struct World {
    pub engine: Engine,
    pub drain: Drain,
    pub door: Door,
    /// One for each shard.
    pub shards: [LocalDoor; 2],
    _running: Running,
}

/// An answer to a request.
pub struct Reply {
    pub status: u16,
    pub fields: HeaderMap,
    pub body: Bytes,
}

/// The other end of a WebSocket.
pub struct Client {
    pub socket: WebSocketStream<DuplexStream>,
    waiting: VecDeque<String>,
    /// What came before the answer to a call: a subscription may be told of a write before its writer is answered.
    passed: VecDeque<Value>,
}

/// The other end of an event stream.
pub struct Stream {
    events: Box<Events>,
    text: String,
    waiting: VecDeque<String>,
}

pub fn script<F: Future<Output = ()>>(script: impl FnOnce(Rc<World>) -> F) {
    with(Options::default(), false, script);
}

/// Runs `script` on a runtime like a shard's. With `is_paused` the clock stands and leaps to the next deadline whenever
/// nothing else can happen.
pub fn with<F: Future<Output = ()>>(options: Options, is_paused: bool, script: impl FnOnce(Rc<World>) -> F) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(is_paused).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let journal = Journal::from(MemoryJournal::new(MemoryOptions::default()).unwrap());
        let (clock, _hand) = Clock::manual(1_800_000_000_000);
        let recovered = Recovery::new().finish().unwrap();
        let engine_options = dovetail_engine::Options::default();
        let (engine, running) =
            Engine::start(journal, recovered, Policy::loopback(), clock, engine_options).unwrap();
        let drain = Drain::new();
        let door = Door::new(options);
        let pages = Arc::new(Pages::default());
        let shards = std::array::from_fn(|_| {
            let desk = Desk::new(engine.shard(), Arc::clone(&pages), Settings::default());
            door.local(desk, drain.draining())
        });
        script(Rc::new(World { engine, drain, door, shards, _running: running })).await;
    });
}

impl World {
    pub fn counts(&self) -> Counts {
        self.door.counts()
    }

    /// A request that reaches one of the shards.
    pub async fn ask(&self, shard: usize, method: &str, target: &str, body: impl Into<Bytes>) -> Reply {
        let response = self.respond(shard, method, target, "*/*", body.into()).await;
        let (head, Body::Whole(body)) = response.into_parts() else { panic!("an event stream for {target}") };
        Reply { status: head.status.as_u16(), fields: head.headers, body }
    }

    async fn respond(
        &self,
        shard: usize,
        method: &str,
        target: &str,
        accept: &str,
        body: Bytes,
    ) -> Response<Body> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let (below, query) = match target.split_once('?') {
            Some((below, query)) => (below, Some(query)),
            None => (target, None),
        };
        let mut headers = HeaderMap::new();
        headers.insert("accept", accept.parse().unwrap());
        let principal = principal();
        let request = Request { method: &method, below, query, headers: &headers, principal: &principal };
        let answer = self.shards[shard].answer(request, body);
        tokio::time::timeout(PATIENCE, answer).await.expect("no answer came")
    }

    /// The token of a connection that was just negotiated.
    pub async fn negotiate(&self, more: &str) -> String {
        let reply = self.ask(0, "POST", &format!("negotiate?negotiateVersion=1{more}"), "").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["connectionToken"].as_str().unwrap().to_owned()
    }

    /// A WebSocket to one of the shards.
    pub fn socket(&self, shard: usize, query: Option<&str>) -> Client {
        self.socket_of(shard, query, 256 << 10)
    }

    /// A WebSocket whose network holds so many bytes.
    pub fn socket_of(&self, shard: usize, query: Option<&str>, bytes: usize) -> Client {
        let (client, server) = tokio::io::duplex(bytes);
        tokio::task::spawn_local(self.shards[shard].serve(server, Bytes::new(), query, principal()));
        Client {
            socket: ClientBuilder::new().take_over(client),
            waiting: VecDeque::new(),
            passed: VecDeque::new(),
        }
    }

    /// A connection that skipped negotiation and shook hands.
    pub async fn connect(&self) -> Client {
        let mut client = self.socket(0, None);
        client.shake_hands().await;
        client
    }

    /// An event stream of a connection.
    pub async fn events(&self, shard: usize, token: &str) -> Result<Stream, u16> {
        let target = format!("?id={token}");
        let response = self.respond(shard, "GET", &target, "text/event-stream", Bytes::new()).await;
        let status = response.status().as_u16();
        match response.into_body() {
            Body::Events(events) => Ok(Stream { events, text: String::new(), waiting: VecDeque::new() }),
            Body::Whole(_) => Err(status),
        }
    }

    /// Bytes of the task of a WebSocket.
    pub fn size_of_a_connection(&self) -> usize {
        let (_client, server) = tokio::io::duplex(64);
        size_of_val(&self.shards[0].serve(server, Bytes::new(), None, principal()))
    }

    /// Lets other tasks go on until `is_so`.
    pub async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let wait = async {
            while !is_so(self) {
                // A clock that stands leaps to the next deadline, this one or another.
                let _ = tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
    }
}

/// Lets so many seconds pass on a clock that stands.
pub async fn pass(seconds: u32) {
    for _ in 0..seconds {
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
}

pub fn principal() -> Principal {
    Principal::anonymous(IpAddr::from([127, 0, 0, 1]))
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The messages in it.
    pub fn messages(&self) -> Vec<Value> {
        messages(std::str::from_utf8(&self.body).unwrap())
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.fields, String::from_utf8_lossy(&self.body))
    }
}

/// The messages that a text holds whole.
pub fn messages(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with(SEPARATOR), "a part of a message: {text}");
    text.split_terminator(SEPARATOR).map(|message| serde_json::from_str(message).unwrap()).collect()
}

/// A message as it is sent.
pub fn said(message: &Value) -> String {
    format!("{message}{SEPARATOR}")
}

pub fn invocation(id: &str, target: &str, arguments: Value) -> Value {
    json!({"type": 1, "invocationId": id, "target": target, "arguments": arguments})
}

pub fn stream(id: &str, target: &str, arguments: Value) -> Value {
    json!({"type": 4, "invocationId": id, "target": target, "arguments": arguments})
}

impl Client {
    pub async fn shake_hands(&mut self) {
        self.say_text(HANDSHAKE).await;
        assert_eq!(self.next().await, json!({}));
    }

    pub async fn say(&mut self, message: Value) {
        self.say_text(&said(&message)).await;
    }

    pub async fn say_text(&mut self, text: &str) {
        self.socket.send(Message::text(text.to_owned())).await.unwrap();
    }

    /// What comes next on the socket; `None` when it is lost.
    pub async fn message(&mut self) -> Option<Message> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("silence")?;
            let message = message.ok()?;
            if !message.is_ping() && !message.is_pong() {
                return Some(message);
            }
        }
    }

    /// The next message of the hub, pings too; `None` at the end.
    pub async fn any(&mut self) -> Option<Value> {
        while self.waiting.is_empty() {
            let message = self.message().await?;
            let text = message.as_text()?;
            self.waiting.extend(text.split_terminator(SEPARATOR).map(str::to_owned));
            assert!(text.ends_with(SEPARATOR), "{text}");
        }
        serde_json::from_str(&self.waiting.pop_front()?).ok()
    }

    /// The next message of the hub that is no ping.
    pub async fn next(&mut self) -> Value {
        match self.passed.pop_front() {
            Some(message) => message,
            None => self.arrival().await,
        }
    }

    async fn arrival(&mut self) -> Value {
        loop {
            let message = self.any().await.expect("the connection ended");
            if message["type"] != 6 {
                return message;
            }
        }
    }

    /// The close frame that ends the socket.
    pub async fn closed(&mut self) -> (CloseCode, String) {
        while let Some(message) = self.message().await {
            if let Some((code, reason)) = message.as_close() {
                return (code, reason.to_owned());
            }
        }
        panic!("the socket ended without a close frame");
    }

    /// Calls a method and gives its completion.
    pub async fn call(&mut self, target: &str, arguments: Value) -> Value {
        self.say(invocation("c", target, arguments)).await;
        loop {
            let message = self.arrival().await;
            if message["type"] == 3 && message["invocationId"] == "c" {
                return message;
            }
            self.passed.push_back(message);
        }
    }

    /// Calls a method and gives its result.
    pub async fn result(&mut self, target: &str, arguments: Value) -> Value {
        let completion = self.call(target, arguments).await;
        assert!(completion.get("error").is_none(), "{completion}");
        completion["result"].clone()
    }

    /// Calls a method and gives the problem that it ends with.
    pub async fn problem(&mut self, target: &str, arguments: Value) -> Value {
        let completion = self.call(target, arguments).await;
        serde_json::from_str(completion["error"].as_str().expect("no error came")).unwrap()
    }
}

impl Stream {
    /// The next message of the hub; `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        while self.waiting.is_empty() {
            let chunk = poll_fn(|cx| self.events.poll_chunk(cx));
            let chunk = tokio::time::timeout(PATIENCE, chunk).await.expect("silence")?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            let text = std::mem::take(&mut self.text);
            let mut left = text.as_str();
            while let Some((event, rest)) = left.split_once("\r\n\r\n") {
                let lines = event.split("\r\n").filter_map(|line| line.strip_prefix("data: "));
                let data = lines.collect::<Vec<_>>().join("\n");
                let whole = data.split_terminator(SEPARATOR).map(str::to_owned);
                self.waiting.extend(whole);
                left = rest;
            }
            left.clone_into(&mut self.text);
        }
        self.waiting.pop_front().map(|text| serde_json::from_str(&text).unwrap())
    }
}
