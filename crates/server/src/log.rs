//! Where the log goes.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// Sends the log to standard error: text, coloured only on a terminal, or one JSON object a line.
pub fn init(log: &Log) {
    let filter = EnvFilter::new(&log.filter);
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(true);
    // A second call, in a test, keeps the first log.
    let _ = if log.is_json {
        builder.json().try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
}
