//! Tools that look at the real `dovetail` program from outside, and the tests that use them (`tests/black_box`).
//!
//! Nothing here uses a crate of the product: a client and a server that share a codec also share its mistakes.
//!
//! * [`server`]: starts the program, waits until it is ready, watches its log, kills or stops it.
//! * [`http`], [`mqtt`], [`websocket`]: small blocking clients that can also misbehave.
//! * [`watch`]: turns what the clients receive into [`frame::Frame`]s.
//! * [`frame`], [`log`], [`validator`]: what a feed said, what happened, and whether the first tells the second.
//! * [`load`], [`record`]: writers, in a process of their own, that record what they mean to do before they do it, what was
//!   acknowledged, and what they cannot know.
//! * [`proxy`]: breaks connections between a client and the server.
//! * [`follow`]: a tracked subscription over many connections.
//! * [`process`]: a child process whose output is read as it comes.
//! * [`tools`]: other people's clients.
//! * [`pages`]: the commands in the documentation.

#![allow(clippy::unwrap_used, reason = "in a test tool a failed unwrap is the test failing")]

pub mod follow;
pub mod frame;
pub mod http;
pub mod load;
pub mod log;
pub mod mqtt;
pub mod pages;
pub mod process;
pub mod proxy;
pub mod random;
pub mod record;
pub mod server;
pub mod tools;
pub mod validator;
pub mod watch;
pub mod websocket;
