//! A door over a real engine and the memory journal, spoken to through pipes in memory.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses its part")]

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use dovetail_api::decode::{self, Frame};
use dovetail_api::document::{Changes, Collection};
use dovetail_api::problem::{Problem, ProblemType};
use dovetail_api::sse;
use dovetail_auth::{Policy, Principal};
use dovetail_door_http::{Door, Settings, Shared};
use dovetail_engine::{Clock, Engine, Options, Publish, Read, Recovery, Running, Shard};
use dovetail_journal::Journal;
use dovetail_journal::memory::{MemoryControl, MemoryJournal, MemoryOptions};
use dovetail_model::{Representation, Resource, Topic};
use dovetail_net::Drain;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

pub const NOON: u64 = 1_800_000_000_000;
pub const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_mins(2);

/// A server in a test.
pub struct World {
    pub engine: Engine,
    pub shard: Shard,
    pub journal: MemoryControl,
    pub hand: Arc<AtomicU64>,
    pub drain: Drain,
    pub shared: Arc<Shared>,
    pub door: Door,
    pub running: Running,
}

pub fn with_door<F: Future<Output = ()>>(settings: Settings, script: impl FnOnce(Rc<World>) -> F) {
    with_everything(settings, Options::default(), MemoryOptions::default(), false, script);
}

pub fn script<F: Future<Output = ()>>(script: impl FnOnce(Rc<World>) -> F) {
    with_door(Settings::default(), script);
}

/// Runs `script` on a runtime like a shard's. With `is_paused` the clock stands and leaps to the
/// next deadline whenever nothing else can happen; writes then have to be made before deadlines
/// matter, because the journal lives on another thread.
pub fn with_everything<F: Future<Output = ()>>(
    settings: Settings,
    options: Options,
    journal: MemoryOptions,
    is_paused: bool,
    script: impl FnOnce(Rc<World>) -> F,
) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(is_paused).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let journal = MemoryJournal::new(journal).unwrap();
        let control = journal.control();
        let (clock, hand) = Clock::manual(NOON);
        let recovered = Recovery::new().finish().unwrap();
        let (engine, running) =
            Engine::start(Journal::from(journal), recovered, Policy::loopback(), clock, options).unwrap();
        let shard = engine.shard();
        let drain = Drain::new();
        let shared = Shared::new(engine.clone(), settings, None);
        let door = Door::new(shard.clone(), Arc::clone(&shared), drain.draining());
        script(Rc::new(World { engine, shard, journal: control, hand, drain, shared, door, running })).await;
    });
}

impl World {
    /// A connection to the door.
    pub fn connect(&self) -> DuplexStream {
        self.connect_from(PEER)
    }

    pub fn connect_from(&self, peer: IpAddr) -> DuplexStream {
        let (client, server) = tokio::io::duplex(256 << 10);
        let door = self.door.clone();
        tokio::task::spawn_local(async move { door.serve(server, peer).await });
        client
    }

    pub async fn http1(&self) -> Client {
        Client::http1(self.connect()).await
    }

    pub async fn http2(&self) -> Client {
        let (sender, connection) = http2::handshake(Local, TokioIo::new(self.connect())).await.unwrap();
        tokio::task::spawn_local(connection);
        Client::Http2(sender)
    }

    /// One request on a connection of its own.
    pub async fn call(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Reply {
        self.http1().await.call(method, path, fields, body).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], "").await
    }

    /// Stores text and returns its revision.
    pub async fn put(&self, path: &str, value: &str) -> String {
        let reply = self.call("PUT", path, &[("content-type", "text/plain")], value).await;
        assert!(reply.status.is_success(), "{reply:?}");
        reply.field("dovetail-revision").to_owned()
    }

    pub async fn publish(&self, topic: &str, value: &str) {
        let publish = Publish {
            topic: Topic::new(topic).unwrap(),
            representation: Representation::copied(value.as_bytes(), None),
            time_to_live: None,
            publisher: None,
        };
        let principal = Principal::anonymous(PEER);
        self.shard.publish(self.shard.policy().authorize(&principal, publish).unwrap()).await;
    }

    /// What the engine holds under a topic.
    pub fn stored(&self, topic: &str) -> Option<Arc<Resource>> {
        let read = Read::Resource(Topic::new(topic).unwrap());
        let read = self.shard.policy().authorize(&Principal::anonymous(PEER), read).unwrap();
        self.shard.read(read).resource().cloned()
    }
}

#[derive(Clone, Copy)]
pub struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

pub enum Client {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub fields: HeaderMap,
    pub body: Bytes,
}

impl Client {
    pub async fn http1(io: DuplexStream) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
        tokio::task::spawn_local(connection);
        Self::Http1(sender)
    }

    pub async fn call(&mut self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Reply {
        let response = self.send(method, path, fields, body).await;
        let (head, body) = response.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.unwrap().unwrap().to_bytes();
        Reply { status: head.status, fields: head.headers, body }
    }

    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> http::Response<Incoming> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let uri = match self {
            Self::Http1(_) => path.to_owned(),
            Self::Http2(_) => format!("http://dovetail.test{path}"),
        };
        let mut request = Request::builder().method(method).uri(uri);
        if matches!(self, Self::Http1(_)) {
            request = request.header("host", "dovetail.test");
        }
        for (name, value) in fields {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().unwrap().insert(name, value.parse().unwrap());
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        let response = async {
            match self {
                Self::Http1(sender) => {
                    sender.ready().await.unwrap();
                    sender.send_request(request).await
                }
                Self::Http2(sender) => sender.send_request(request).await,
            }
        };
        tokio::time::timeout(PATIENCE, response).await.expect("no answer came").unwrap()
    }

    /// Opens an event stream.
    pub async fn stream(mut self, path: &str, fields: &[(&str, &str)]) -> Stream {
        let mut all = vec![("accept", "text/event-stream")];
        all.extend_from_slice(fields);
        let response = self.send("GET", path, &all, "").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let parser = sse::Parser::new(4 << 20);
        Stream { body: response.into_body(), parser, events: Vec::new(), _client: self }
    }
}

impl Reply {
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}")).to_str().unwrap()
    }

    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn collection(&self) -> Collection {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        assert_eq!(self.field("content-type"), "application/json");
        Collection::decode(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn names(&self) -> Vec<String> {
        self.collection().items.iter().map(|item| item.topic.to_string()).collect()
    }

    pub fn changes(&self) -> Changes {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        Changes::decode(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn frames(&self) -> Vec<Frame> {
        assert_eq!(self.field("content-type"), "application/x-ndjson");
        self.body
            .split(|&b| b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| decode::frame(line).unwrap())
            .collect()
    }

    /// The problem, which has to be `kind` and to say its own status.
    #[track_caller]
    pub fn problem(&self, kind: ProblemType) -> Problem {
        assert_eq!(self.status.as_u16(), kind.status(), "{self:?}");
        assert_eq!(self.field("content-type"), "application/problem+json");
        let problem = Problem::decode(&self.body).unwrap();
        assert_eq!(problem.kind, kind, "{self:?}");
        problem
    }
}

/// An event stream as a client reads it.
pub struct Stream {
    body: Incoming,
    parser: sse::Parser,
    events: Vec<sse::Event>,
    _client: Client,
}

impl Stream {
    /// The next event, or `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<(sse::Event, Frame)> {
        while self.events.is_empty() {
            let frame =
                tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("the stream fell silent");
            let Ok(data) = frame?.unwrap().into_data() else { continue };
            self.parser.push(&data, &mut self.events).unwrap();
        }
        let event = self.events.remove(0);
        let frame = decode::frame(event.data.as_bytes()).unwrap();
        Some((event, frame))
    }

    pub async fn name(&mut self) -> String {
        self.next().await.expect("the stream ended").0.name.into()
    }

    pub fn retry_ms(&self) -> Option<u64> {
        self.parser.retry_ms()
    }
}

/// Sends bytes and reads whatever comes until the server closes.
pub async fn raw(io: &mut DuplexStream, bytes: &[u8]) -> String {
    io.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    io.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}
