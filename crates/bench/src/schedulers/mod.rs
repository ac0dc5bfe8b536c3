//! The experiment behind ADR 0002: shards or a work-stealing scheduler, and how a request hops to the commit thread.

pub(crate) mod gather;
pub(crate) mod hop;
pub(crate) mod shards;
pub(crate) mod stealing;

use std::time::Duration;

use anyhow::Result;

use crate::child::Running;
use crate::load::exchange::{self, Request};
use crate::load::fanout::{self, Pace, Plan};
use crate::load::speech::Speech;
use crate::report::{Progress, median, print_lines, spread};
use crate::wire::Service;

/// Fan-out servers that are compared: what to call them, and their hidden arguments.
const RELAYS: &[(&str, &[&str])] = &[
    ("floor, gathered", &["relay", "gathered"]),
    ("floor, one write each", &["relay", "each"]),
    ("1 shard, task writes", &["shards", "1", "task"]),
    ("1 shard, dispatcher writes", &["shards", "1", "dispatcher"]),
    ("2 shards, task writes", &["shards", "2", "task"]),
    ("2 shards, dispatcher writes", &["shards", "2", "dispatcher"]),
    ("stealing ×2, a send a message", &["stealing", "2", "message"]),
    ("stealing ×2, a send a turn", &["stealing", "2", "turn"]),
];

const HOPS: &[(&str, &str)] = &[
    ("no hop", "none"),
    ("futex, a wake-up each", "futex-each"),
    ("futex, a wake-up a group", "futex-batch"),
    ("eventfd, a wake-up a group", "eventfd-batch"),
];

const BLOCK: usize = 200;

/// Messages under way at most. Half of it is refilled at once, so a turn has about 25.
const WINDOW: u64 = 50;

/// Runs all of it and prints tables of medians.
pub(crate) fn run(repeats: usize, measure: Duration) -> Result<()> {
    let saturated = Plan {
        speech: Speech::Mqtt,
        subscribers: 1000,
        payload: 100,
        service: Service::Zero,
        pace: Pace::Saturated { window: WINDOW },
        warm_up: measure / 4,
        measure,
    };
    let paced = Plan { subscribers: 100, pace: Pace::Paced { per_second: 100 }, ..saturated };
    let runs = repeats * (RELAYS.len() * 2 + HOPS.len() * 2 + 3);
    let progress = Progress::new(runs);

    let mut lines = vec![String::from(
        "| fan-out | saturated 1 → 1,000: µs a delivery | deliveries/s | paced 100/s × 100: µs a delivery | p50 µs | p99 µs |",
    )];
    lines.push(String::from("|---|---|---|---|---|---|"));
    let mut table = vec![(Vec::new(), Vec::new()); RELAYS.len()];
    for _ in 0..repeats {
        for (&(name, arguments), (fast, slow)) in RELAYS.iter().zip(&mut table) {
            for (plan, outcomes, what) in [(saturated, fast, "saturated"), (paced, slow, "paced")] {
                progress.step(&format!("{name}, {what}"));
                let server = Running::own(arguments)?;
                let outcome = fanout::run(server.addr, server.pid(), plan)?;
                outcomes.push(outcome);
                progress.done();
            }
        }
    }
    for (&(name, _), (fast, slow)) in RELAYS.iter().zip(&table) {
        lines.push(format!(
            "| {name} | {} | {:.0} | {} | {:.0} | {:.0} |",
            figure(fast.iter().map(|o| o.cpu_ns / 1e3)),
            median(fast.iter().map(|o| o.per_second)),
            figure(slow.iter().map(|o| o.cpu_ns / 1e3)),
            median(slow.iter().map(|o| o.p50_ns as f64 / 1e3)),
            median(slow.iter().map(|o| o.p99_ns as f64 / 1e3)),
        ));
    }
    lines.push(String::new());
    hops(repeats, measure, &progress, &mut lines)?;
    lines.push(String::new());
    gathers(repeats, measure, &progress, &mut lines)?;
    progress.finish();
    print_lines(&lines)
}

fn hops(repeats: usize, measure: Duration, progress: &Progress, lines: &mut Vec<String>) -> Result<()> {
    lines.push(String::from("| hop to the commit thread | alone: p50 µs | alone: CPU µs a request | 256 connections: CPU µs a request | requests/s |"));
    lines.push(String::from("|---|---|---|---|---|"));
    let mut table = vec![(Vec::new(), Vec::new()); HOPS.len()];
    for _ in 0..repeats {
        for (&(name, hop), (alone, many)) in HOPS.iter().zip(&mut table) {
            for (connections, outcomes) in [(1, alone), (256, many)] {
                progress.step(&format!("{name}, {connections} connections"));
                let server = Running::own(&["hop", hop])?;
                let plan = exchange::Plan {
                    request: Request::Block { size: BLOCK },
                    connections,
                    watcher: exchange::Watcher::None,
                    warm_up: measure / 4,
                    measure,
                };
                outcomes.push(exchange::run(server.addr, server.pid(), plan)?.figures);
                progress.done();
            }
        }
    }
    for (&(name, _), (alone, many)) in HOPS.iter().zip(&table) {
        lines.push(format!(
            "| {name} | {} | {:.1} | {} | {:.0} |",
            figure(alone.iter().map(|o| o.p50_ns as f64 / 1e3)),
            median(alone.iter().map(|o| o.cpu_ns / 1e3)),
            figure(many.iter().map(|o| o.cpu_ns / 1e3)),
            median(many.iter().map(|o| o.per_second)),
        ));
    }
    Ok(())
}

fn gathers(repeats: usize, measure: Duration, progress: &Progress, lines: &mut Vec<String>) -> Result<()> {
    lines.push(String::from("| frames a turn | copied, one write: ns a frame | writev: ns a frame |"));
    lines.push(String::from("|---|---|---|"));
    let sizes = [10, 50, 200];
    let mut table = vec![Vec::new(); sizes.len()];
    for _ in 0..repeats {
        for (&frames, outcomes) in sizes.iter().zip(&mut table) {
            progress.step(&format!("{frames} frames a turn"));
            outcomes.push(gather::measure(frames, measure / 2)?);
            progress.done();
        }
    }
    for (frames, outcomes) in sizes.iter().zip(&table) {
        lines.push(format!(
            "| {frames} | {} | {} |",
            figure(outcomes.iter().map(|o| o.0)),
            figure(outcomes.iter().map(|o| o.1)),
        ));
    }
    Ok(())
}

/// A median, with half the distance between the extremes.
fn figure(values: impl Iterator<Item = f64> + Clone) -> String {
    format!("{:.2} ± {:.2}", median(values.clone()), spread(values))
}

/// Hop servers echo blocks of this size.
pub(crate) fn serve_hop(hop: hop::Hop) -> Result<()> {
    hop::serve(hop, BLOCK)
}
