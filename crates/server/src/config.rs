//! What was typed, and what it means.
//!
//! A setting comes from the file, then from the environment, then from the command line; the later
//! wins. All of them pass one table of rules, and everything that is wrong is reported at once,
//! each with where it was said. A server with a bad configuration does not start.

mod rules;
mod sources;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use dovetail_door_http::Origins;
use dovetail_door_mqtt::Options as MqttOptions;
use dovetail_door_signalr::Options as SignalROptions;
use dovetail_engine::{History, Options as EngineOptions};
use dovetail_journal::FileOptions;

pub(crate) use rules::parse_duration;
pub use sources::Arguments;

/// A configuration that is right.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the data is.
    pub data: PathBuf,
    /// Where clients connect to; every address speaks every protocol.
    pub listen: Vec<SocketAddr>,
    /// Threads that serve connections.
    pub shards: NonZeroUsize,
    /// Connections open at once.
    pub connections: usize,
    /// The engine's part.
    pub engine: EngineOptions,
    /// The journal's part.
    pub journal: FileOptions,
    /// Web pages that may use the server, besides the server's own and those of this machine.
    pub origins: Origins,
    /// The MQTT door's part; the size of a payload is the engine's.
    pub mqtt: MqttOptions,
    /// The SignalR door's part.
    pub signalr: SignalROptions,
    /// What is logged.
    pub log: Log,
}

/// What is logged, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// A filter like `info` or `warn,dovetail_engine=debug`.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub is_json: bool,
}

/// Everything that is wrong with a configuration.
#[derive(Debug)]
pub struct Problems(pub Vec<Problem>);

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where it was said: a file and line, a variable, a flag.
    pub origin: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Config {
    /// Puts a configuration together.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(
        arguments: &Arguments,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let said = sources::gather(arguments, environment, &mut problems);
        let config = rules::judge(said, &mut problems);
        if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
    }
}

impl Default for Config {
    fn default() -> Self {
        // One is left to the owner of the journal.
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let shards = NonZeroUsize::new(cores - 1).unwrap_or(NonZeroUsize::MIN);
        Self {
            data: PathBuf::from("./dovetail-data"),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080)), SocketAddr::from(([127, 0, 0, 1], 1883))],
            shards,
            connections: 100_000,
            engine: EngineOptions { history: History::default(), ..EngineOptions::default() },
            journal: FileOptions::default(),
            origins: Origins::default(),
            mqtt: MqttOptions::default(),
            signalr: SignalROptions::default(),
            log: Log { filter: "info".to_owned(), is_json: false },
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        writeln!(f, "the configuration has {count} problem{}:", if count == 1 { "" } else { "s" })?;
        for Problem { origin, message } in &self.0 {
            writeln!(f, "  {origin}: {message}")?;
        }
        write!(f, "Nothing was started.")
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests;
