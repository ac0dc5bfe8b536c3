//! The doors of the web beside MQTT's: what a delivery costs, how soon it comes, and what an idle connection takes.

use anyhow::Result;

use super::Context;
use crate::load::crowd;
use crate::load::door::Door;
use crate::load::fanout::Pace;
use crate::load::watch::{self, Plan};
use crate::report::{Progress, Rows, Target};

use super::crowd::Seen;

const PAYLOAD_BYTES: usize = 100;
const MICROSECOND: f64 = 1e3;

/// Idle connections at which memory is read.
const IDLE: [usize; 2] = [1_000, 9_000];
/// What an idle connection of a web door may take.
const IDLE_BYTES: f64 = 8192.0;

/// Watchers and changes a second where latency is what matters.
const FEW: usize = 10;
const PER_SECOND: u32 = 200;

pub(super) fn fan_out(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    let pace = Pace::Saturated { window: context.window };
    let plan = Plan { watchers: 1000, pace, ..plan(context) };
    let mut mqtt = None;
    for door in [Door::Mqtt].into_iter().chain(Door::WEB) {
        let server = context.places.dovetail()?;
        progress.step(&format!("a change to 1,000 over {}", door.name()));
        let figures = watch::run(server.addr(), server.pid(), Plan { door, ..plan })?;
        let cpu = figures.cpu_ns / MICROSECOND;
        let target = match door {
            Door::Mqtt => Target::None,
            Door::Sse => Target::RatioAtMost(1.5),
            Door::WebSocket | Door::SignalRJson | Door::SignalRMessagePack => Target::RatioAtMost(1.3),
        };
        let row = rows.row(&format!("a change 1 → 1,000 over {}: CPU", door.name()), "µs", target).value(cpu);
        super::remark_syscalls(row, &figures.syscalls);
        match mqtt {
            Some(mqtt) => drop(row.floor("MQTT", mqtt)),
            None => mqtt = Some(cpu),
        }
        let name = format!("  deliveries over {}", door.name());
        rows.row(&name, "/s", Target::None).value(figures.per_second);
    }
    Ok(())
}

pub(super) fn push(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    let plan = Plan { watchers: FEW, pace: Pace::Paced { per_second: PER_SECOND }, ..plan(context) };
    let mut mqtt = None;
    for door in [Door::Mqtt].into_iter().chain(Door::WEB) {
        let server = context.places.dovetail()?;
        progress.step(&format!("from a write to its push over {}", door.name()));
        let figures = watch::run(server.addr(), server.pid(), Plan { door, ..plan })?;
        let latencies = [figures.p50_ns, figures.p99_ns].map(|ns| ns as f64 / MICROSECOND);
        for (which, share) in ["p50", "p99"].into_iter().enumerate() {
            let name = format!("write to push over {}, {share}", door.name());
            let row = rows.row(&name, "µs", Target::None).value(latencies[which]);
            if let Some(mqtt) = &mqtt {
                let mqtt: &[f64; 2] = mqtt;
                row.floor("MQTT", mqtt[which]);
            }
        }
        mqtt.get_or_insert(latencies);
    }
    Ok(())
}

pub(super) fn idle(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    for door in [Door::Mqtt].into_iter().chain(Door::WEB) {
        let server = context.places.dovetail()?;
        progress.step(&format!("idle watchers over {}", door.name()));
        let seen = crowd::run(async || Seen::of(&server, door, IDLE).await)?;
        let target = match door {
            Door::Mqtt | Door::Sse => Target::None,
            Door::WebSocket | Door::SignalRJson | Door::SignalRMessagePack => Target::AtMost(IDLE_BYTES),
        };
        let name = format!("memory per idle watcher over {}", door.name());
        rows.row(&name, "B", target).value(seen.bytes);
        let name = format!("  CPU of each to come in over {}", door.name());
        rows.row(&name, "µs", Target::None).value(seen.cpu_ns / MICROSECOND);
    }
    Ok(())
}

fn plan(context: &Context) -> Plan {
    Plan {
        door: Door::Mqtt,
        watchers: 0,
        payload: PAYLOAD_BYTES,
        pace: Pace::Paced { per_second: 1 },
        warm_up: context.warm_up(),
        measure: context.measure,
    }
}
