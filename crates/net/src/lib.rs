//! Where connections come from and where they live.
//!
//! One acceptor per listening address takes connections and hands each, round robin, to a *shard*:
//! an operating-system thread with a runtime of its own. A connection is one local task of its
//! shard for as long as it lives; nothing about it ever crosses a thread again. The task looks at
//! the first byte to tell MQTT and HTTP apart, without taking it from the socket, and gives the
//! connection to the service that the shard was started with.
//!
//! Modules by role: `exposure` (which addresses may be bound), `accept` (the acceptor and what it does
//! when descriptors run out), `shards`, `sniff` (which protocol), `websocket` (bytes or messages in frames), `drain` (how to stop),
//! `stopping` (how the connections of a shard learn of it), `life` (the task of a connection),
//! `timer` (deadlines of a connection), `counters` (of the listeners), `count` (how shards count).

mod accept;
mod count;
mod counters;
mod drain;
mod exposure;
mod life;
mod shards;
mod sniff;
mod stopping;
mod timer;
mod websocket;

pub use accept::{Listener, accept};
pub use count::{Count, PerShard};
pub use counters::{Counters, Counts};
pub use drain::{Drain, Draining, Hold};
pub use exposure::{ExposureError, Protection, check_exposure};
pub use life::{Connected, Life};
pub use shards::{Connection, Dispatcher, LocalService, Options, Shards};
pub use sniff::{Protocol, Sniffed, sniff};
pub use stopping::{StopNotice, Stopping};
pub use timer::Timer;
pub use websocket::{CloseCode, End, Input, Kind, Message, Messages, WebSocket, accept_key};
