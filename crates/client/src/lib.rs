//! The client of a Dovetail server: read, write, and follow what changes without a gap.
//!
//! * [`Client`] reads and writes over HTTP: [`Client::get`], [`Client::list`], [`Client::put`] and so on. Every
//!   write can have a precondition and an idempotency key ([`Options`]).
//! * [`Client::watch`] follows a filter over server-sent events, MQTT 5 or long-polling ([`Via`]). A [`Watch`] does
//!   the three steps by itself: it reads the state, follows the changes, and after any interruption (a cut
//!   connection, a restarted server, a position that is too old) catches up so that nothing is lost and
//!   nothing is told twice. What cannot be caught up with is told as a reset with a new baseline.
//! * [`Replica`] is a copy of the resources under a filter that applies what a watch tells.
//! * [`Traffic`] counts the bytes that went over the sockets.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use dovetail_client::{Client, Options, Replica, Via, WatchOptions};
//! use dovetail_model::{Filter, Representation, Topic};
//!
//! let client = Client::new("http://127.0.0.1:8080")?;
//! let contents = Representation::copied(b"21.5", Some("application/json".into()));
//! client.put(&Topic::new("plant/7/temp")?, contents, &Options::default()).await?;
//!
//! let mut watch = client.watch(Filter::new("plant/#")?, Via::Sse, WatchOptions::default());
//! let mut replica = Replica::new();
//! loop {
//!     let item = watch.next().await?;
//!     replica.apply(&item)?;
//!     println!("{} resources", replica.len());
//! }
//! # }
//! ```
//!
//! Nothing is spawned: a [`Watch`] works while [`Watch::next`] is awaited, and that may be cancelled at any
//! time without losing anything. Only `http` is spoken for now; TLS is for a proxy beside the client.

mod error;
mod feed;
mod http;
mod replica;
mod rest;
mod server;
mod traffic;

pub use dovetail_api::batch::{Answer as BatchAnswer, Operation, Outcome, Tags, Write};
pub use dovetail_api::decode::Entry;
pub use dovetail_api::document::{Changes, Collection};
pub use dovetail_api::problem::{Problem, ProblemType};
pub use error::Error;
pub use feed::{Interruption, Item, Start, Via, Watch, WatchOptions};
pub use replica::{Replica, ReplicaError, state_hash};
pub use rest::{Client, Found, Options, PatchKind, Written};
pub use server::{AddressError, Credentials, Server};
pub use traffic::Traffic;
