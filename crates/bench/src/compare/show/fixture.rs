//! A comparison for tests, drawn from simple laws in place of a run.

use crate::compare::figures::{
    Comparison, Family, Latency, Machine, PollCost, RateFigures, Recovery, WayFigures, Workload,
};

const RATE: f64 = 50.0;
const RESOURCES: f64 = 100.0;

/// Every way there is, as on a machine with two cores.
pub(super) fn comparison() -> Comparison {
    let mut ways = Vec::new();
    for (name, label) in [
        ("poll-plain", "polling"),
        ("poll-etag", "polling with ETag"),
        ("poll-since", "polling for changes (?since=)"),
    ] {
        for every in [100, 1_000, 10_000] {
            ways.push(polling(name, label, every));
        }
    }
    let plain = "subscribe again";
    ways.push(pushed("long-poll", "long-polling (?since=, wait)", Family::LongPoll, 1.9, 540.0, Some(plain)));
    ways.push(pushed("mqtt3-qos0", "MQTT 3.1.1, QoS 0", Family::Mqtt, 0.8, 131.0, Some(plain)));
    ways.push(pushed("mqtt3-qos1", "MQTT 3.1.1, QoS 1", Family::Mqtt, 0.9, 137.0, Some(plain)));
    ways.push(pushed("mqtt5-qos0", "MQTT 5, QoS 0", Family::Mqtt, 0.8, 132.0, Some(plain)));
    ways.push(pushed("mqtt5-qos0-alias", "MQTT 5, QoS 0, aliases", Family::Mqtt, 0.82, 117.0, Some(plain)));
    ways.push(pushed("mqtt5-qos1", "MQTT 5, QoS 1", Family::Mqtt, 0.92, 138.0, Some(plain)));
    ways.push(pushed("mqtt5-qos1-alias", "MQTT 5, QoS 1, aliases", Family::Mqtt, 0.94, 123.0, Some(plain)));
    ways.push(pushed("websocket", "WebSocket dovetail.v1", Family::WebSocket, 0.95, 246.0, Some(plain)));
    ways.push(pushed("sse", "event stream (SSE)", Family::Sse, 1.0, 255.0, Some(plain)));
    ways.push(pushed("signalr-json", "SignalR, JSON", Family::SignalR, 1.05, 270.0, Some(plain)));
    ways.push(pushed(
        "signalr-messagepack",
        "SignalR, MessagePack",
        Family::SignalR,
        1.0,
        241.0,
        Some(plain),
    ));
    ways.push(pushed(
        "combined",
        "REST + MQTT 5 (baseline, live, fallback)",
        Family::Combined,
        0.83,
        133.0,
        None,
    ));
    Comparison {
        version: String::from("0.1.0"),
        machine: Machine {
            cores: 2,
            processor: Some(String::from("AMD EPYC")),
            system: String::from("Linux 6.18"),
            load: 0.7,
        },
        workload: Workload {
            resources: RESOURCES as u64,
            updates_per_second: RATE,
            payload_bytes: 100,
            watchers: 50,
            interrupted: 20,
            outage_ms: 1_000,
            seconds: 10.0,
            server: None,
        },
        writing_cpu_us: Some(21.0),
        rates: rates(),
        ways,
    }
}

/// A comparison of this way alone.
pub(super) fn only(name: &str) -> Comparison {
    let mut comparison = comparison();
    comparison.ways.retain(|way| way.name == name);
    comparison.rates.retain(|rate| rate.name == name);
    comparison
}

/// One without any CPU or memory, as of a server elsewhere.
pub(super) fn without_cpu() -> Comparison {
    let mut comparison = comparison();
    comparison.writing_cpu_us = None;
    comparison.workload.server = Some(String::from("203.0.113.7:8080"));
    for way in &mut comparison.ways {
        way.cpu_us_per_update = None;
        way.memory_per_watcher = None;
        if let Some(poll) = &mut way.poll {
            poll.cpu_us = None;
        }
    }
    for rate in &mut comparison.rates {
        rate.cpu_us_per_second = None;
    }
    comparison
}

fn found(rate: f64, every: f64) -> f64 {
    1.0 - (-rate * every).exp()
}

fn different(rate: f64, every: f64) -> f64 {
    RESOURCES * (1.0 - (-rate * every / RESOURCES).exp())
}

/// Bytes of a poll with news, without, and on average; and its CPU.
fn poll_cost(name: &str, rate: f64, every: f64) -> (f64, Option<f64>, f64, f64) {
    let share = found(rate, every);
    match name {
        "poll-plain" => (14_500.0, None, 14_500.0, 41.0),
        "poll-etag" => (14_560.0, Some(262.0), 262.0 + 14_298.0 * share, 14.0 + 28.0 * share),
        _ => {
            let mean = 330.0 + 142.0 * different(rate, every);
            (
                330.0 + 142.0 * different(rate, every) / share,
                Some(330.0),
                mean,
                15.0 + 0.4 * different(rate, every),
            )
        }
    }
}

fn polling(name: &str, label: &str, every_ms: u64) -> WayFigures {
    let every = every_ms as f64 / 1e3;
    let (changed, unchanged, bytes, cpu) = poll_cost(name, RATE, every);
    let interval = if every_ms < 1_000 { format!("{every_ms}ms") } else { format!("{}s", every_ms / 1_000) };
    let shown = if every_ms < 1_000 { format!("{every_ms} ms") } else { format!("{} s", every_ms / 1_000) };
    let cdf = (0..=20).map(|step| (0.4 + every_ms as f64 * f64::from(step) / 20.0, f64::from(step) / 20.0));
    WayFigures {
        name: format!("{name}-{interval}"),
        label: format!("{label}, every {shown}"),
        family: Family::Polling,
        poll_every_ms: Some(every_ms),
        updates: 500,
        latency: Latency {
            p50_ms: every_ms as f64 * 0.5,
            p99_ms: every_ms as f64 * 0.99,
            cdf: cdf.collect(),
        },
        staleness_ms: every_ms as f64 * 0.5 + 1.1,
        bytes_per_update: bytes / every / RATE,
        sent_bytes_per_update: 90.0 / every / RATE,
        requests_per_second: 1.0 / every,
        cpu_us_per_update: Some(cpu / every / RATE),
        memory_per_watcher: Some(2_300.0),
        generator_share: 0.2,
        poll: Some(PollCost { changed_bytes: Some(changed), unchanged_bytes: unchanged, cpu_us: Some(cpu) }),
        without_fallback: None,
        with_fallback: Some(recovery("poll again", 0, 180, every_ms as f64 * 0.5)),
    }
}

fn pushed(name: &str, label: &str, family: Family, p50: f64, bytes: f64, plain: Option<&str>) -> WayFigures {
    let cdf = [(0.5, 0.01), (0.8, 0.25), (1.0, 0.5), (1.3, 0.75), (1.9, 0.9), (3.0, 0.99), (5.5, 1.0)];
    let lost = if name.contains("qos1") { 0 } else { 41 };
    WayFigures {
        name: String::from(name),
        label: String::from(label),
        family,
        poll_every_ms: None,
        updates: 500,
        latency: Latency {
            p50_ms: p50,
            p99_ms: p50 * 3.0,
            cdf: cdf.iter().map(|(ms, share)| (ms * p50, *share)).collect(),
        },
        staleness_ms: p50 * 1.3,
        bytes_per_update: bytes,
        sent_bytes_per_update: if name.contains("qos1") { 4.0 } else { 0.3 },
        requests_per_second: if family == Family::LongPoll { 48.0 } else { 0.1 },
        cpu_us_per_update: Some(if family == Family::LongPoll { 17.0 } else { bytes / 60.0 }),
        memory_per_watcher: Some(2_000.0 + bytes * 9.0),
        generator_share: 0.3,
        poll: None,
        without_fallback: plain.map(|how| recovery(how, lost, 0, 1.2)),
        with_fallback: Some(recovery("GET ?since=", 0, 120, 1.4)),
    }
}

fn recovery(how: &str, lost: u64, skipped: u64, median: f64) -> Recovery {
    Recovery {
        how: String::from(how),
        watchers: 10,
        updates_in_outage: 600,
        skipped,
        lost,
        current_again_p50_ms: Some(median),
        current_again_max_ms: Some(median * 2.5),
        never_current: usize::from(lost > 0) * 4,
        bytes: 5_400.0,
    }
}

fn rates() -> Vec<RateFigures> {
    let mut figures = Vec::new();
    for rate in [0.1, 1.0, 10.0, 100.0, 1_000.0] {
        for (name, each) in [("mqtt5-qos1", 138.0), ("sse", 255.0), ("combined", 133.0)] {
            figures.push(RateFigures {
                name: String::from(name),
                updates_per_second: rate,
                bytes_per_second: 0.3 + each * rate,
                cpu_us_per_second: Some(0.2 + 2.2 * rate),
                staleness_ms: 1.1,
            });
        }
        for kind in ["poll-plain", "poll-etag", "poll-since"] {
            let (_, _, bytes, cpu) = poll_cost(kind, rate, 1.0);
            figures.push(RateFigures {
                name: format!("{kind}-1s"),
                updates_per_second: rate,
                bytes_per_second: bytes,
                cpu_us_per_second: Some(cpu),
                staleness_ms: 501.0,
            });
        }
    }
    figures
}
