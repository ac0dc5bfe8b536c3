//! Requests by name: what a JSON call asks, done by the engine, and the JSON that comes of it.
//!
//! Doors that carry JSON say the same calls in different envelopes. What a call means, what comes of it and what is said
//! when it fails stands here, once for all of them (`docs/adr/0009-calls.md`).
//!
//! * [`Desk`]: one for each shard; [`Queue`]: the calls of one connection, in order of arrival.
//! * [`write`]: what is written, from a batch or a call, as the engine takes it.
//! * [`pages`]: states that are kept so that the pages of a collection are read at one revision.
//! * [`frame`]: the one table from what a feed says to JSON (and to `MessagePack`, with a transcoder of the door).
//! * [`Refusal`]: the one table from errors to problem documents.

mod desk;
pub mod frame;
pub mod pages;
mod queue;
mod refusal;
mod task;
pub mod write;

pub use desk::{Desk, Settings};
pub use queue::Queue;
pub use refusal::Refusal;
pub use task::Reply;
