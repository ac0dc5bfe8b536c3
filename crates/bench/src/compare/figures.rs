//! What a comparison found: plain values, which the table, the JSON and the HTML report show.
//!
//! An *update* is a write of one resource. A *copy* is what a watcher holds of a resource. A way follows by *push* or by
//! *polling*; which bytes it moves is counted on the watchers' sockets, in both directions, with everything that the protocols
//! add above TCP.

use serde::{Deserialize, Serialize};

/// One run of `dovetail bench compare`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// Version of the program.
    pub(crate) version: String,
    /// What it ran on.
    pub(crate) machine: Machine,
    /// What was done.
    pub(crate) workload: Workload,
    /// Server CPU of an update that nobody follows, in microseconds, if the server's CPU can be seen.
    pub(crate) writing_cpu_us: Option<f64>,
    /// What was found, in the order in which it is shown.
    pub(crate) ways: Vec<WayFigures>,
    /// Some ways again at other rates of updates.
    pub(crate) rates: Vec<RateFigures>,
}

/// The machine, as far as it helps a reader.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// The processor's own name for itself, if it says one.
    pub(crate) processor: Option<String>,
    /// Operating system and release of its kernel.
    pub(crate) system: String,
    /// Load average of the last minute when the run began: what else was going on.
    pub(crate) load: f64,
}

/// The same for every way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Workload {
    /// Resources, all of which every watcher follows.
    pub(crate) resources: u64,
    /// Updates each second, over all resources.
    pub(crate) updates_per_second: f64,
    /// Bytes of each payload.
    pub(crate) payload_bytes: usize,
    /// Watchers at the same time.
    pub(crate) watchers: usize,
    /// How many of them are cut off once: half of these come back without a fallback, half with it.
    pub(crate) interrupted: usize,
    /// How long a cut lasts, in milliseconds.
    pub(crate) outage_ms: u64,
    /// Seconds measured of each way.
    pub(crate) seconds: f64,
    /// The server's address when it was not started for the run.
    pub(crate) server: Option<String>,
}

/// How a watcher learns of updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Family {
    /// GET again and again.
    Polling,
    /// GET that waits.
    LongPoll,
    /// MQTT 3.1.1 or 5.
    Mqtt,
    /// `dovetail.v1`.
    WebSocket,
    /// An event stream.
    Sse,
    /// A stream of SignalR.
    SignalR,
    /// REST for the baseline, MQTT for updates, REST as fallback.
    Combined,
}

/// What one way cost, and what its watchers had of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WayFigures {
    /// Its name on the command line, such as `poll-etag-1s`.
    pub(crate) name: String,
    /// What people call it, such as `polling with ETag, every 1 s`.
    pub(crate) label: String,
    /// What it belongs to.
    pub(crate) family: Family,
    /// Milliseconds between two polls.
    pub(crate) poll_every_ms: Option<u64>,
    /// Updates written while it was measured.
    pub(crate) updates: u64,
    /// From the time at which a write was due until it, or something newer of the same resource, has arrived, with watchers
    /// that were not interrupted. A write that goes out late counts from when it was due.
    pub(crate) latency: Latency,
    /// Mean milliseconds from a write until a copy has it or something newer, over all copies of all watchers, interrupted
    /// ones with fallback included.
    pub(crate) staleness_ms: f64,
    /// Bytes on the sockets of watchers that were not interrupted, by their number and by the number of updates.
    pub(crate) bytes_per_update: f64,
    /// Of these, those that watchers sent.
    pub(crate) sent_bytes_per_update: f64,
    /// Requests each second of each watcher that was not interrupted: HTTP requests, or what a protocol has like them
    /// (acknowledgements are none).
    pub(crate) requests_per_second: f64,
    /// Server CPU by updates and watchers in microseconds, less that of writing. None where that cannot be seen or told apart. A
    /// server that watchers keep awake writes at less cost than one that sleeps between two writes, so a way that asks all the
    /// time seems cheaper than it is: by less than [`Comparison::writing_cpu_us`] by the number of watchers.
    pub(crate) cpu_us_per_update: Option<f64>,
    /// Growth of the server's resident memory by the number of watchers, in bytes. None where it cannot be seen.
    pub(crate) memory_per_watcher: Option<f64>,
    /// CPU of the thread that wrote and watched, as a share of the time measured. Above 0.8 it was as busy as what it measured:
    /// latencies are then partly its own.
    pub(crate) generator_share: f64,
    /// What a poll costs, of the ways that poll at an interval.
    pub(crate) poll: Option<PollCost>,
    /// Interrupted watchers that came back without a fallback. None where there is no such thing.
    pub(crate) without_fallback: Option<Recovery>,
    /// Interrupted watchers that came back with it.
    pub(crate) with_fallback: Option<Recovery>,
}

/// A distribution of latencies, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Median.
    pub(crate) p50_ms: f64,
    /// 99th percentile.
    pub(crate) p99_ms: f64,
    /// Points of the cumulative distribution, rising: milliseconds, and the share of updates that had arrived by then.
    pub(crate) cdf: Vec<(f64, f64)>,
}

/// What a poll costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PollCost {
    /// Bytes of a request and an answer that brought something, if there was one.
    pub(crate) changed_bytes: Option<f64>,
    /// Bytes of a request and an answer that said that nothing had changed, if there was one.
    pub(crate) unchanged_bytes: Option<f64>,
    /// Server CPU of a poll in microseconds, less that of writing, where it can be told apart.
    pub(crate) cpu_us: Option<f64>,
}

/// How interrupted watchers fared. Numbers are sums over all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recovery {
    /// What they did when they came back, in words such as `subscribes again`.
    pub(crate) how: String,
    /// How many there were.
    pub(crate) watchers: usize,
    /// Updates that a watcher did not have when it was cut, nor anything newer of the same resource, and that were written
    /// before it watched again.
    pub(crate) updates_in_outage: u64,
    /// Of these, updates that a watcher was never told, but something newer of the same resource: no copy is wrong by it.
    pub(crate) skipped: u64,
    /// Of these, updates that a watcher was never told, nor anything newer of the same resource: its copy stays wrong.
    pub(crate) lost: u64,
    /// Milliseconds from the return until all copies were as new as the server's at the return; median over the watchers
    /// that came so far.
    pub(crate) current_again_p50_ms: Option<f64>,
    /// The longest of these.
    pub(crate) current_again_max_ms: Option<f64>,
    /// Watchers that were not current again at the end.
    pub(crate) never_current: usize,
    /// Mean bytes, in both directions, from the return until current again (or until the end).
    pub(crate) bytes: f64,
}

/// A way at another rate of updates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RateFigures {
    /// Name of the way.
    pub(crate) name: String,
    /// Updates each second, over all resources.
    pub(crate) updates_per_second: f64,
    /// Bytes each second of each watcher, both directions.
    pub(crate) bytes_per_second: f64,
    /// Server CPU each second of each watcher in microseconds, less that of writing, where it can be told apart.
    pub(crate) cpu_us_per_second: Option<f64>,
    /// As in [`WayFigures`].
    pub(crate) staleness_ms: f64,
}
