//! The HTTP door: REST, event streams and the server's own pages.
//!
//! A [`Door`] belongs to one shard and serves its connections: it turns requests into what the
//! engine takes, and what the engine says into responses. It knows HTTP and nothing of other
//! doors.
//!
//! Files by role:
//!
//! * a connection: `serve` (limits, draining), `deadlines`, `activity` (what they look at), `takeover`
//!   (event streams write to the socket themselves), `upgrade` (to WebSocket)
//! * a request: `route` (which of the following), `call` (what they see of it), `query`, `fields`,
//!   `negotiate`, `conditions`, `body`
//! * reading: `get`, `collection`, `since`, `sse` with `read` (what they share)
//! * writing: `put`, `patch`, `delete`, `post` with `write` (what they share), `batch`, `publish`
//! * the answer: `payload`, `sending`, `headers`, `problem` (what is HTTP of a failure)
//! * the server's own pages: `own`, and `mount` with `mounted` for one that another door answers
//! * web pages of other hosts: `origins` (which), `cors` (what they are told)

mod activity;
mod batch;
mod body;
mod call;
mod collection;
mod conditions;
mod cors;
mod deadlines;
mod delete;
mod door;
mod fields;
mod get;
mod headers;
mod mount;
mod mounted;
mod negotiate;
mod origins;
mod own;
mod patch;
mod payload;
mod post;
mod problem;
mod publish;
mod put;
mod query;
mod read;
mod route;
mod sending;
mod serve;
mod since;
mod sse;
mod takeover;
mod upgrade;
mod write;

pub use door::{Door, Requests, Settings, Shared};
pub use mount::{Answering, Mount, Reply};
pub use origins::{OriginError, Origins};
pub use payload::Chunks;
pub use serve::Upgraded;
