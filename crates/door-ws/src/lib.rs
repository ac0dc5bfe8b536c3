//! The WebSocket door: calls and feeds as frames of JSON, one object each (`dovetail.v1`).
//!
//! A connection is one local task. `client` is its loop, `watches` what it follows, `parting` why and how it ends,
//! `counters` what metrics show. What calls mean stands in `dovetail-calls`, what frames look like in `dovetail-api`.
//!
//! * [`Door`]: one for the server, from any thread.
//! * [`LocalDoor`]: one for each shard; serves connections there.
//!
//! What a user sees is in `docs/websocket.md`.

mod client;
mod counters;
mod parting;
mod watches;

pub use counters::CounterValues;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dovetail_auth::Principal;
use dovetail_calls::Desk;
use dovetail_model::limits;
use dovetail_net::{Draining, Life, Messages, PerShard, Stopping};
use tokio::io::{AsyncRead, AsyncWrite};

use client::Client;
use counters::Counters;

/// Bytes read from a socket at once. All connections of a shard share one such buffer.
const READ_BYTES: usize = 64 << 10;

/// What may be set of the door. The default is [`limits`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of one payload; the longest message follows from it.
    pub payload_bytes: usize,
    /// Watches of one connection.
    pub watches: usize,
    /// Calls of one connection that are taken in before the first is answered.
    pub pending: usize,
    /// The longest silence of a watch.
    pub progress: Duration,
    /// After how long a silence a client is pinged, and after how long another it is given up.
    pub silence: Duration,
    /// The shortest and the longest time after which clients are asked to come back.
    pub reconnect: [Duration; 2],
}

impl Default for Options {
    fn default() -> Self {
        Self {
            payload_bytes: limits::PAYLOAD_BYTES,
            watches: limits::SUBSCRIPTIONS,
            pending: limits::CALLS_PENDING,
            progress: limits::PROGRESS,
            silence: limits::WEBSOCKET_SILENCE,
            reconnect: limits::RECONNECT,
        }
    }
}

impl Options {
    fn message_bytes(&self) -> usize {
        self.payload_bytes + limits::WEBSOCKET_FRAME_OVERHEAD
    }

    fn reconnect_ms(&self) -> (u64, u64) {
        let [least, most] = self.reconnect.map(|delay| delay.as_millis() as u64);
        (least, most.max(least))
    }
}

/// The WebSocket door of a server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Door(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Options,
    counters: PerShard<Counters>,
}

/// The door on one shard's thread. Cheap to clone; not `Send`.
#[derive(Clone)]
pub struct LocalDoor(Rc<Local>);

struct Local {
    shared: Arc<Shared>,
    desk: Desk,
    stopping: Rc<Stopping>,
    counters: Arc<Counters>,
    /// Where all connections of the shard read to, one after the other.
    read_buffer: RefCell<Box<[u8]>>,
    /// Where all connections of the shard gather what they write, one after the other.
    write_buffer: Cell<Vec<u8>>,
}

impl Door {
    /// A door without connections.
    pub fn new(options: Options) -> Self {
        Self(Arc::new(Shared { options, counters: PerShard::default() }))
    }

    /// The door on the thread of `desk`. Its connections end when draining begins.
    pub fn local(&self, desk: Desk, draining: Draining) -> LocalDoor {
        LocalDoor(Rc::new(Local {
            shared: Arc::clone(&self.0),
            desk,
            stopping: Stopping::after(draining),
            counters: self.0.counters.of_shard(),
            read_buffer: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            write_buffer: Cell::default(),
        }))
    }

    /// What the door has done.
    pub fn counters(&self) -> CounterValues {
        counters::sum(&self.0.counters)
    }
}

impl LocalDoor {
    /// Serves one connection of `principal` until it ends. `before` is what was read of `stream` behind the handshake. Runs
    /// as one local task of the shard.
    pub fn serve<S>(
        &self,
        stream: S,
        before: Bytes,
        principal: Principal,
    ) -> impl Future<Output = ()> + Unpin + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let messages = Messages::new(stream, before, self.0.shared.options.message_bytes());
        Life::new(Client::new(Rc::clone(&self.0), messages, principal))
    }
}

/// The time of the runtime, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
