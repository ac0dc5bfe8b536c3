//! The one path: a write becomes a commit, a commit becomes visible, and every feed tells of it.
//!
//! **A write** goes through the files in this order:
//! [`request`](Write) → `admit` → `sequence` → `commit` → `apply` → `fanout` → `shard/dispatch`.
//! The first runs on the shard of the connection, the next five on the owner's thread, the last
//! on every shard that has subscribers. Committed, applied, visible and delivered happen in that
//! order by construction: one thread does them one after the other.
//!
//! **A subscription** is a [`Subscribe`]: a filter and a position. `shard/subscriber` opens it, `feed` is
//! its state machine, `ring` holds what live feeds point to, and [`Subscriber::poll_next`] takes
//! [`Item`]s when the client can take them.
//!
//! **What doors keep for themselves** goes with a write as a [`Record`], and whether anybody who may be away waits
//! for an event is asked with [`Shard::is_awaited`].
//!
//! **A reading** is a [`View`] of a frozen tree, or a [`ChangePage`] of what came after a position.
//!
//! Doors use three handles: [`Engine`] (any thread), [`Shard`] (one per thread of connections) and
//! [`Subscriber`] (one per connection). What they hand in is [`Authorized`](dovetail_auth::Authorized).

mod admit;
mod apply;
mod awaited;
mod changes;
mod clock;
mod commit;
mod counters;
mod engine;
mod entry;
mod fanout;
mod feed;
mod history;
mod idempotency;
mod item;
mod mailbox;
mod outcome;
mod owner;
mod patch;
mod record;
mod recover;
mod request;
mod ring;
mod sequence;
mod shard;
mod short;
mod upkeep;
mod view;

pub use changes::{ChangePage, ChangesError};
pub use clock::Clock;
pub use counters::{CounterValues, Counters};
pub use dovetail_model::PublisherId;
pub use engine::{Engine, History, Options, Running, Status};
pub use entry::{Form, Forms};
pub use idempotency::Fingerprint;
pub use item::{Delivery, EndReason, Item, Message, ResetReason};
pub use outcome::{Committed, Effect, WriteError};
pub use record::{Record, RecordArea, RecordName};
pub use recover::{Recovered, Recovery};
pub use request::{
    Changes, Events, IdempotencyKey, Mode, Operation, Precondition, Publish, Read, Start, Subscribe, Verb,
    Write,
};
pub use shard::{FeedId, Shard, Subscriber, Ticket};
pub use view::View;

use engine::Core;

/// An error with all its sources on one line, for logs and answers.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
