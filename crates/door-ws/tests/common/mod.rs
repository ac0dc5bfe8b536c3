//! A door over a real engine and the memory journal.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses its part")]

use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dovetail_auth::{Policy, Principal};
use dovetail_calls::pages::Pages;
use dovetail_calls::{Desk, Settings};
use dovetail_door_ws::{Door, LocalDoor, Options};
use dovetail_engine::{Clock, Engine, Recovery, Running};
use dovetail_journal::Journal;
use dovetail_journal::memory::{MemoryJournal, MemoryOptions};
use dovetail_net::Drain;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::DuplexStream;
use tokio_websockets::{ClientBuilder, CloseCode, Message, WebSocketStream};

/// How long a test waits for what must come. Longer than any deadline of the door, for tests whose clock leaps.
const PATIENCE: Duration = Duration::from_mins(10);

/// A server in a test.
pub struct World {
    pub engine: Engine,
    pub drain: Drain,
    pub door: Door,
    local: LocalDoor,
    _running: Running,
}

/// The other end of a connection.
pub struct Client {
    pub socket: WebSocketStream<DuplexStream>,
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
        let settings = Settings { payload_bytes: options.payload_bytes };
        let desk = Desk::new(engine.shard(), Arc::new(Pages::default()), settings);
        let door = Door::new(options);
        let local = door.local(desk, drain.draining());
        script(Rc::new(World { engine, drain, door, local, _running: running })).await;
    });
}

impl World {
    /// A connection to the door.
    pub fn connect(&self) -> Client {
        let (client, server) = tokio::io::duplex(64 << 10);
        let principal = Principal::anonymous(IpAddr::from([127, 0, 0, 1]));
        tokio::task::spawn_local(self.local.serve(server, Bytes::new(), principal));
        Client { socket: ClientBuilder::new().take_over(client) }
    }

    /// A connection whose `hello` has been read.
    pub async fn greeted(&self) -> Client {
        let mut client = self.connect();
        assert_eq!(client.frame().await["type"], "hello");
        client
    }

    pub fn head(&self) -> Value {
        self.engine.head().to_string().into()
    }

    /// Bytes of the task of a connection.
    pub fn size_of_a_connection(&self) -> usize {
        let (_client, server) = tokio::io::duplex(64);
        let principal = Principal::anonymous(IpAddr::from([127, 0, 0, 1]));
        size_of_val(&self.local.serve(server, Bytes::new(), principal))
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

impl Client {
    pub async fn say(&mut self, request: &Value) {
        self.say_text(&request.to_string()).await;
    }

    pub async fn say_text(&mut self, text: &str) {
        self.socket.send(Message::text(text.to_owned())).await.unwrap();
    }

    /// Like [`Client::say`], but it may be sent later with others.
    pub async fn feed(&mut self, request: &Value) {
        self.socket.feed(Message::text(request.to_string())).await.unwrap();
    }

    pub async fn flush(&mut self) {
        self.socket.flush().await.unwrap();
    }

    pub async fn text(&mut self) -> String {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.unwrap();
            let message = message.unwrap().unwrap();
            if message.is_ping() || message.is_pong() {
                continue;
            }
            return message.as_text().unwrap_or_else(|| panic!("{message:?}")).to_owned();
        }
    }

    pub async fn frame(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// One request and its result.
    pub async fn done(&mut self, request: Value) -> Value {
        self.say(&request).await;
        let answer = self.frame().await;
        assert_eq!((&answer["type"], &answer["id"]), (&"result".into(), &request["id"]), "{answer}");
        answer
    }

    /// The frame of a watch and the answer to a request, whichever comes first.
    pub async fn told_and_answered(&mut self) -> (Value, Value) {
        let (one, other) = (self.frame().await, self.frame().await);
        if one.get("watch").is_some() { (one, other) } else { (other, one) }
    }

    /// How the server closed.
    pub async fn closed(&mut self) -> (CloseCode, String) {
        let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.unwrap().unwrap().unwrap();
        let (code, reason) = message.as_close().unwrap_or_else(|| panic!("{message:?}"));
        (code, reason.to_owned())
    }
}
