//! What the demonstration shows at the end.

use std::fmt::Write as _;
use std::time::Duration;

use dovetail_client::{Collection, Replica};
use dovetail_model::{Representation, Topic};

use super::cutter::Cutter;
use super::feeder::Fed;
use super::follower::Followed;
use super::poller::Polled;
use super::staleness::Summary;

/// The result.
pub(super) struct Report {
    run_for: Duration,
    resources: usize,
    published: u64,
    head: String,
    combined: Column,
    polling: Column,
}

/// What one way cost.
struct Column {
    cuts: u64,
    catch_ups: u64,
    baselines: u64,
    connections: u64,
    requests: u64,
    bytes: u64,
    staleness: Summary,
    interval: Option<Duration>,
    is_equal: bool,
}

impl Report {
    pub(super) fn new(
        run_for: Duration,
        fed: Fed,
        truth: &Collection,
        combined: &Followed,
        polling: &Polled,
        links: [&Cutter; 2],
    ) -> Self {
        let [followed, polled] = links;
        let combined = Column {
            cuts: followed.cuts(),
            catch_ups: combined.catch_ups,
            baselines: combined.baselines,
            connections: followed.connections(),
            // Over MQTT each connection asks once; nothing is asked again while it lives.
            requests: followed.connections(),
            bytes: followed.bytes(),
            staleness: combined.staleness,
            interval: None,
            is_equal: is_equal(truth, &combined.replica),
        };
        let polling = Column {
            cuts: polled.cuts(),
            catch_ups: 0,
            baselines: polling.requests,
            connections: polled.connections(),
            requests: polling.requests,
            bytes: polled.bytes(),
            staleness: polling.staleness,
            interval: Some(polling.interval),
            is_equal: same(truth, polling.copy.iter().map(|(topic, held)| (topic, &held.representation))),
        };
        let head = truth.rev.to_string();
        Self { run_for, resources: fed.resources, published: fed.updates, head, combined, polling }
    }

    pub(super) fn are_equal(&self) -> bool {
        self.combined.is_equal && self.polling.is_equal
    }

    pub(super) fn to_table(&self, colours: bool) -> String {
        let mut out = format!(
            "{} resources of this machine, {} updates in {} s over MQTT, each durable before it was acknowledged\n\n",
            self.resources,
            self.published,
            self.run_for.as_secs()
        );
        let _ = writeln!(out, "  {:<24}{:>16}{:>16}", "", "combined", "polling");
        let mut row = |name: &str, value: &dyn Fn(&Column) -> String| {
            let _ = writeln!(out, "  {name:<24}{:>16}{:>16}", value(&self.combined), value(&self.polling));
        };
        row("updates seen", &|column| column.staleness.updates.to_string());
        row("cuts of the link", &|column| column.cuts.to_string());
        row("caught up after a cut", &|column| column.catch_ups.to_string());
        row("whole states sent", &|column| column.baselines.to_string());
        row("connections", &|column| column.connections.to_string());
        row("requests", &|column| column.requests.to_string());
        row("bytes on the wire", &|column| bytes(column.bytes));
        row("bytes per update", &|column| bytes(column.bytes_per_update()));
        row("staleness, mean", &|column| millis(column.staleness.mean));
        row("staleness, p50", &|column| millis(column.staleness.p50));
        row("staleness, p99", &|column| millis(column.staleness.p99));
        row("polls every", &|column| column.interval.map_or_else(|| "-".to_owned(), millis));
        row("copy equals the server", &|column| if column.is_equal { "yes" } else { "NO" }.to_owned());
        let (colour, verdict, end) = match (self.are_equal(), colours) {
            (true, true) => ("\x1b[32m", "equal", "\x1b[0m"),
            (true, false) => ("", "equal", ""),
            (false, true) => ("\x1b[31m", "NOT EQUAL", "\x1b[0m"),
            (false, false) => ("", "NOT EQUAL", ""),
        };
        let ratio = self.polling.bytes as f64 / self.combined.bytes.max(1) as f64;
        let _ = write!(
            out,
            "\n  {colour}Both copies against the server at {}: {verdict}.{end} Polling moved {ratio:.1} times the bytes.\n",
            self.head
        );
        out
    }

    pub(super) fn to_json(&self) -> String {
        format!(
            "{{\"seconds\":{},\"resources\":{},\"published\":{},\"head\":\"{}\",\"equal\":{},\"combined\":{},\"polling\":{}}}\n",
            self.run_for.as_secs_f64(),
            self.resources,
            self.published,
            self.head,
            self.are_equal(),
            self.combined.to_json(),
            self.polling.to_json()
        )
    }
}

impl Column {
    fn bytes_per_update(&self) -> u64 {
        self.bytes / self.staleness.updates.max(1) as u64
    }

    fn to_json(&self) -> String {
        let interval = self
            .interval
            .map_or_else(|| "null".to_owned(), |every| format!("{:.3}", every.as_secs_f64() * 1e3));
        format!(
            "{{\"updates\":{},\"cuts\":{},\"catchUps\":{},\"wholeStates\":{},\"connections\":{},\"requests\":{},\"bytes\":{},\"bytesPerUpdate\":{},\"stalenessMeanMs\":{:.3},\"stalenessP50Ms\":{:.3},\"stalenessP99Ms\":{:.3},\"intervalMs\":{interval},\"equal\":{}}}",
            self.staleness.updates,
            self.cuts,
            self.catch_ups,
            self.baselines,
            self.connections,
            self.requests,
            self.bytes,
            self.bytes_per_update(),
            self.staleness.mean.as_secs_f64() * 1e3,
            self.staleness.p50.as_secs_f64() * 1e3,
            self.staleness.p99.as_secs_f64() * 1e3,
            self.is_equal
        )
    }
}

fn is_equal(truth: &Collection, replica: &Replica) -> bool {
    same(truth, replica.iter().map(|held| (&held.topic, &held.representation)))
}

/// Whether a copy in tree order holds exactly the server's names and bytes.
fn same<'a>(truth: &'a Collection, copy: impl Iterator<Item = (&'a Topic, &'a Representation)>) -> bool {
    truth.items.iter().map(|resource| (&resource.topic, &resource.representation)).eq(copy)
}

fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}
