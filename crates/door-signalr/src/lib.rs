//! The SignalR door: a hub of ASP.NET Core SignalR whose methods are calls and watches.
//!
//! A connection is a `hub` and what carries its bytes. The hub takes bytes and gives bytes; it knows neither sockets nor
//! requests. What carries them lives where the hub does, on one shard (`docs/adr/0010-signalr.md`):
//!
//! * `client`: a WebSocket, and with stateful reconnect one after the other
//! * `events`: an event stream one way, POST requests the other
//! * `polls`: a poll after the other one way, POST requests the other
//!
//! `door` answers the requests for all of them, `negotiate` the first, `registry` knows which connections there are, over
//! all shards. In `hub`: `dispatch` is what a client asks, `watches` its feeds, `uploads` its streams, `voice` what is
//! said to it.
//!
//! * [`Door`]: one for the server, from any thread.
//! * [`LocalDoor`]: one for each shard; serves connections there.
//!
//! What a user sees is in `docs/signalr.md`.

mod client;
mod counters;
mod door;
mod events;
mod hub;
mod negotiate;
mod polls;
mod pulse;
mod registry;
mod stream;

pub use counters::Counts;
pub use door::{Body, Request};
pub use events::Events;
pub use stream::{Portable, Stream};

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dovetail_calls::Desk;
use dovetail_model::limits;
use dovetail_net::{Draining, PerShard, Stopping};

use counters::Tally;
use registry::Registry;

/// Bytes read from a socket at once. All connections of a shard share one such buffer.
const READ_BYTES: usize = 64 << 10;
/// Bytes of the scratch memory of a shard that are kept.
const SCRATCH_BYTES: usize = 256 << 10;

/// What may be set of the door. The default is [`limits`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of one message of a client.
    pub message_bytes: usize,
    /// Bytes that may have been sent and not acknowledged on a connection with stateful reconnect.
    pub resend_bytes: usize,
    /// How long a client may take for its handshake.
    pub handshake: Duration,
    /// The longest silence of the server.
    pub ping: Duration,
    /// The longest silence of a client, besides one that polls.
    pub silence: Duration,
    /// How long a connection waits for its first request, its next poll, or its next WebSocket.
    pub absence: Duration,
    /// How long a poll waits for something to tell.
    pub poll: Duration,
    /// The longest silence of a watch.
    pub progress: Duration,
    /// Watches of one connection.
    pub watches: usize,
    /// Connections that were negotiated and have not begun.
    pub negotiated: usize,
    /// Connections that poll, over all shards.
    pub polling: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            message_bytes: limits::SIGNALR_MESSAGE_BYTES,
            resend_bytes: limits::SIGNALR_RESEND_BYTES,
            handshake: limits::SIGNALR_HANDSHAKE,
            ping: limits::SIGNALR_PING,
            silence: limits::SIGNALR_SILENCE,
            absence: limits::SIGNALR_ABSENCE,
            poll: limits::SIGNALR_POLL,
            progress: limits::PROGRESS,
            watches: limits::SUBSCRIPTIONS,
            negotiated: limits::SIGNALR_NEGOTIATED,
            polling: limits::SIGNALR_POLLING,
        }
    }
}

/// The SignalR door of a server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Door(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Options,
    registry: Arc<Registry>,
    counters: PerShard<Tally>,
}

/// The door on one shard's thread. Cheap to clone; not `Send`.
#[derive(Clone)]
pub struct LocalDoor(Rc<Local>);

struct Local {
    shared: Arc<Shared>,
    desk: Desk,
    stopping: Rc<Stopping>,
    tally: Arc<Tally>,
    /// Where all connections of the shard read to, one after the other.
    read_buffer: RefCell<Box<[u8]>>,
    /// Where all connections of the shard gather what they write, one after the other.
    write_buffer: Cell<Vec<u8>>,
    /// Where a frame is put together before it is said.
    scratch: Cell<Vec<u8>>,
}

impl Door {
    /// A door without connections.
    pub fn new(options: Options) -> Self {
        let registry = Arc::new(Registry::new(options.clone()));
        Self(Arc::new(Shared { options, registry, counters: PerShard::default() }))
    }

    /// The door on the thread of `desk`, in a `LocalSet`. Its connections end when draining begins.
    pub fn local(&self, desk: Desk, draining: Draining) -> LocalDoor {
        LocalDoor(Rc::new(Local {
            shared: Arc::clone(&self.0),
            desk,
            stopping: Stopping::after(draining),
            tally: self.0.counters.of_shard(),
            read_buffer: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            write_buffer: Cell::default(),
            scratch: Cell::default(),
        }))
    }

    /// What the door has done, over all shards.
    pub fn counts(&self) -> Counts {
        counters::sum(&self.0.counters)
    }
}

impl Local {
    fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Gives the shard's memory back, unless something rare made it large.
    fn keep_scratch(&self, mut scratch: Vec<u8>) {
        if scratch.capacity() <= SCRATCH_BYTES {
            scratch.clear();
            self.scratch.set(scratch);
        }
    }
}

/// The time of the runtime, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
