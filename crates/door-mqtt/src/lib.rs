//! The MQTT door: bytes of clients to calls of the engine, items of feeds to bytes.
//!
//! A connection is one local task that goes through the files in this order: `client` (its loop), `connect` and
//! `open`, then for each message `publish` and `answer`, for each subscription `subscribe`, `deliver` and `tracked`, and
//! `end`; `share` is for subscriptions that several connections have together, `sys` for what the server says about itself,
//! which `traffic` counts. What these work on is `serving`, with its `writes` and its `feeds`. `registry` knows who is
//! connected, over all shards; `encode` turns contents into messages; `socket` reads and writes.
//!
//! A session that outlives its connection is records (`record`, `store`). `kept` and `durable` are what a connection does
//! for it, `again` what was in flight, `lifecycle` and `keeper` its end and its `will`.
//!
//! * [`Door`]: one for the server, from any thread.
//! * [`LocalDoor`]: one for each shard; serves connections there.
//!
//! What a user sees is in `docs/mqtt.md`.

mod again;
mod answer;
mod awaited;
mod client;
mod connect;
mod counters;
mod deliver;
mod durable;
mod encode;
mod end;
mod expiry;
mod feeds;
mod keeper;
mod kept;
mod lifecycle;
mod open;
mod pace;
mod publish;
mod qos;
mod record;
mod registry;
mod sending;
mod serving;
mod share;
mod socket;
mod store;
mod subscribe;
mod sys;
mod terms;
mod tracked;
mod traffic;
mod will;
mod writes;

pub use counters::{CounterValues, Counters};
pub use pace::PublishRate;
pub use traffic::TrafficValues;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dovetail_auth::Principal;
use dovetail_engine::{Engine, Shard};
use dovetail_model::limits;
use dovetail_net::{Life, PerShard};
use tokio::io::{AsyncRead, AsyncWrite};

use client::Client;
use keeper::Keeper;
use registry::Registry;

/// Bytes of a packet beyond its payload: topic, properties, lengths.
const PACKET_OVERHEAD: usize = 16 << 10;
/// Bytes read from a socket at once. All connections of a shard share one such buffer.
const READ_BYTES: usize = 64 << 10;

/// What may be set of the door. The default is [`limits`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of one payload; the largest packet follows from it.
    pub payload_bytes: usize,
    /// How long CONNECT may take.
    pub connect_timeout: Duration,
    /// Messages with `QoS` 1 and 2 that a client may have unacknowledged at the server.
    pub receive_maximum: u16,
    /// Messages with `QoS` 1 and 2 that the server has unacknowledged at a client, unless the client allows fewer.
    pub send_maximum: u16,
    /// Subscriptions of one connection.
    pub subscriptions: usize,
    /// The longest silence of a tracked subscription.
    pub progress: Duration,
    /// The longest time that a session outlives its connection.
    pub session_expiry: Duration,
    /// Sessions that outlive their connections.
    pub sessions: usize,
    /// The longest keep-alive in seconds, told to clients of MQTT 5 that want a longer one or none; `None` leaves it to
    /// them.
    pub keep_alive: Option<NonZeroU16>,
    /// How fast one connection may publish; `None` for as fast as it can.
    pub publish_rate: Option<PublishRate>,
    /// The levels below which clients that ask are told to expect answers, each below its client id; `None` to tell
    /// nothing.
    pub response_topics: Option<Arc<str>>,
    /// How often the server says below `$SYS` how it is; never if it is zero.
    pub sys_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            payload_bytes: limits::PAYLOAD_BYTES,
            connect_timeout: limits::MQTT_CONNECT,
            receive_maximum: limits::RECEIVE_MAXIMUM,
            send_maximum: 256,
            subscriptions: limits::SUBSCRIPTIONS,
            progress: limits::PROGRESS,
            session_expiry: limits::SESSION_EXPIRY,
            sessions: limits::SESSIONS,
            keep_alive: limits::MQTT_KEEP_ALIVE,
            publish_rate: PublishRate::new(limits::PUBLISH_RATE, limits::PUBLISH_RATE),
            response_topics: Some(limits::RESPONSE_TOPICS.into()),
            sys_interval: Duration::from_secs(10),
        }
    }
}

impl Options {
    fn session_expiry_seconds(&self) -> u32 {
        u32::try_from(self.session_expiry.as_secs()).unwrap_or(u32::MAX)
    }

    fn protocol_limits(&self) -> dovetail_mqtt_proto::Limits {
        dovetail_mqtt_proto::Limits {
            connect_timeout: self.connect_timeout,
            connect_size: limits::MQTT_CONNECT_BYTES as u32,
            packet_size: (self.payload_bytes + PACKET_OVERHEAD) as u32,
            receive_maximum: self.receive_maximum,
            send_maximum: self.send_maximum,
            topic_alias_maximum: limits::TOPIC_ALIASES,
            send_topic_aliases: limits::TOPIC_ALIASES,
        }
    }
}

/// The MQTT door of a server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Door(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Options,
    registry: Registry,
    keeper: Keeper,
    counters: Counters,
    groups: share::Groups,
    traffic: PerShard<traffic::Traffic>,
    board: sys::Board,
}

/// The door on one shard's thread. Cheap to clone; not `Send`.
#[derive(Clone)]
pub struct LocalDoor(Rc<Local>);

struct Local {
    shared: Arc<Shared>,
    shard: Shard,
    /// What all connections are allowed.
    limits: Arc<dovetail_mqtt_proto::Limits>,
    /// What goes through the door on this shard.
    traffic: Arc<traffic::Traffic>,
    /// Where all connections of the shard read to, one after the other.
    read_buffer: RefCell<Box<[u8]>>,
    /// Where all connections of the shard gather what they write, one after the other.
    write_buffer: Cell<Vec<u8>>,
    /// Where further properties of a message are put together.
    scratch: Cell<dovetail_mqtt_proto::PropertiesBuf>,
}

impl Door {
    /// A door without connections.
    pub fn new(options: Options) -> Self {
        Self(Arc::new(Shared {
            options,
            registry: Registry::default(),
            keeper: Keeper::default(),
            counters: Counters::default(),
            groups: share::Groups::default(),
            traffic: PerShard::default(),
            board: sys::Board::default(),
        }))
    }

    /// The door on the thread of `shard`.
    pub fn local(&self, shard: Shard) -> LocalDoor {
        let read_buffer = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
        let local = Rc::new(Local {
            limits: Arc::new(self.0.options.protocol_limits()),
            shared: Arc::clone(&self.0),
            shard,
            traffic: self.0.traffic.of_shard(),
            read_buffer,
            write_buffer: Cell::default(),
            scratch: Cell::default(),
        });
        sys::keep(&local);
        LocalDoor(local)
    }

    /// Takes in the sessions that an earlier server left in the journal of `engine`. Once, before anything is published.
    pub fn recover(&self, engine: &Engine) {
        keeper::recover(&self.0, engine);
    }

    /// Sessions that outlive their connections, with a connection or without.
    pub fn sessions(&self) -> usize {
        self.0.keeper.sessions()
    }

    /// Ends all connections with *server shutting down*, and refuses new ones.
    pub fn shut_down(&self) {
        self.0.registry.shut_down();
    }

    /// Clients that are connected.
    pub fn connected(&self) -> usize {
        self.0.registry.len()
    }

    /// Groups of shared subscriptions.
    pub fn groups(&self) -> usize {
        self.0.groups.len()
    }

    /// What has gone through the door.
    pub fn traffic(&self) -> TrafficValues {
        traffic::sum(&self.0.traffic)
    }

    /// What the door has done.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }
}

impl LocalDoor {
    /// Looks after sessions without a connection, until it is dropped. On one shard of the server, as a local task.
    pub async fn keep(&self) {
        keeper::keep(Rc::clone(&self.0)).await;
    }

    /// Serves one connection of `principal` until it ends, its will included. Runs as one local task of the shard.
    pub fn serve<S>(&self, stream: S, principal: Principal) -> impl Future<Output = ()> + Unpin + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        Life::new(Client::new(Rc::clone(&self.0), stream, principal))
    }
}

/// The time of the runtime, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
