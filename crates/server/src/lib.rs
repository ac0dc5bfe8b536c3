//! The server: configuration, the rooms put together, the demonstration.
//!
//! * [`config`]: what may be set, and how it is checked
//! * [`Server`]: start, addresses, stop
//! * [`log`]: where the log goes
//! * [`demo`]: the pattern at work on the real state of this machine

pub mod config;
mod data;
pub mod demo;
pub mod log;
mod metrics;
mod serve;
mod service;

use std::io::Write as _;

pub use data::DataError;
pub use dovetail_engine::describe;
pub use serve::{Server, StartError};

/// Says what went wrong, on standard error.
pub fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "dovetail: {message}");
}

/// Prints a result. Nobody reading it is no failure.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
