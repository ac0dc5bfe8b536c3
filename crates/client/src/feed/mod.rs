//! Following a filter without a gap.
//!
//! * `machine`: what is known and what the next frame may be; pure.
//! * `backoff`: when to try again.
//! * `watch`: the loop over both and a transport.
//! * `transport`: what a transport does; `sse`, `mqtt` and `poll` are the three.

mod backoff;
mod machine;
mod mqtt;
mod poll;
mod sse;
mod tracked;
mod transport;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use dovetail_api::decode::Entry;
use dovetail_model::{Resource, Revision};

use crate::error::Error;
use crate::server::Server;

pub use watch::Watch;

/// How a watch is carried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Via {
    /// Server-sent events over HTTP/1.1.
    Sse,
    /// A tracked subscription of MQTT 5 to this address.
    Mqtt(Server),
    /// Repeated requests that wait on the server for news. Events are not told.
    Poll,
}

/// Where a watch starts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Start {
    /// With the current state.
    #[default]
    Baseline,
    /// With what changed after this position.
    After(Revision),
}

/// How a watch is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchOptions {
    /// Where it starts.
    pub start: Start,
    /// Whether each journal entry is wanted; otherwise, behind, only the newest state of each resource.
    pub every: bool,
    /// The delay before the first attempt to connect again. It doubles with each attempt that fails.
    pub retry_first: Duration,
    /// The longest delay between attempts.
    pub retry_most: Duration,
    /// After this silence a connection counts as lost. The server says something every 15 s.
    pub silence: Duration,
    /// How long one request of a long poll waits for news.
    pub wait: Duration,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            start: Start::Baseline,
            every: false,
            retry_first: Duration::from_millis(100),
            retry_most: Duration::from_secs(10),
            silence: Duration::from_secs(40),
            wait: Duration::from_secs(30),
        }
    }
}

/// What a watch tells.
///
/// A baseline begins, its resources come, it ends; then changes, each of which continues exactly where the
/// item before it ended. A reset is followed by another baseline, which replaces everything told before.
#[derive(Debug)]
pub enum Item {
    /// The state at this revision follows; it replaces what was told before, once it is complete.
    BaselineBegin(Revision),
    /// One resource of it.
    Resource(Arc<Resource>),
    /// That was all of it. From here the watch is live.
    BaselineEnd(Revision),
    /// All that happened in `(after, rev]`.
    Change {
        /// Where the item before it ended.
        after: Revision,
        /// The position to start from when this change has been taken in.
        rev: Revision,
        /// What happened, in order.
        changes: Vec<Entry>,
    },
    /// Nothing happened in `(after, rev]`.
    Progress {
        /// Where the item before it ended.
        after: Revision,
        /// The position to start from now.
        rev: Revision,
    },
    /// The position cannot be continued from; a baseline follows.
    Reset {
        /// Why, as a word of the contract.
        reason: Box<str>,
        /// The head of the server's journal at that moment.
        rev: Revision,
    },
    /// The connection is gone. The watch goes on by itself; nothing has to be done.
    Interrupted(Interruption),
}

/// Why a watch is not connected, and what it does about it.
#[derive(Debug)]
pub struct Interruption {
    /// What happened.
    pub error: Error,
    /// When it tries again.
    pub retry_in: Duration,
    /// How many attempts have failed since the watch last made headway.
    pub attempt: u32,
}
