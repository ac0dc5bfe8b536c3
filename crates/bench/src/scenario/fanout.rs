//! One publisher, many subscribers.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::{Context, remark_syscalls};
use crate::child::Running;
use crate::load::fanout::{self, Outcome, Pace, Plan};
use crate::report::{Progress, Rows, Target};

const PAYLOAD_BYTES: usize = 100;

pub(super) fn saturated(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    let plan = Plan {
        subscribers: 1000,
        payload: PAYLOAD_BYTES,
        pace: Pace::Saturated { window: context.window },
        warm_up: context.warm_up(),
        measure: context.measure,
    };
    let case = Case {
        name: "fan-out 1 → 1,000, saturated: CPU",
        target: 3.0,
        floor: "gathered writes",
        writes: "gathered",
    };
    case.run(context, plan, rows, progress)
}

pub(super) fn paced(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    let plan = Plan {
        subscribers: 100,
        payload: PAYLOAD_BYTES,
        pace: Pace::Paced { per_second: 100 },
        warm_up: context.warm_up(),
        measure: context.measure,
    };
    let case = Case {
        name: "fan-out 100/s × 100, paced: CPU",
        target: 1.4,
        floor: "one write each",
        writes: "each",
    };
    case.run(context, plan, rows, progress)
}

/// The two differ in plan, floor and target alone.
struct Case {
    name: &'static str,
    target: f64,
    floor: &'static str,
    writes: &'static str,
}

impl Case {
    fn run(&self, context: &Context, plan: Plan, rows: &mut Rows, progress: &Progress) -> Result<()> {
        let saturated = matches!(plan.pace, Pace::Saturated { .. });
        let target = Target::RatioAtMost(self.target);
        progress.step(&format!("floor, {}", self.floor));
        let relay = Running::own(&["relay", self.writes])?;
        let outcome = measure(relay.addr, relay.pid(), plan)?;
        rows.row(self.name, "µs", target).floor(self.floor, outcome.cpu_ns / 1e3);
        drop(relay);
        if let Some(mosquitto) = context.places.mosquitto()? {
            progress.step(&format!("mosquitto, {}", self.name));
            let outcome = measure(mosquitto.addr(), mosquitto.pid(), plan)?;
            rows.row("  mosquitto", "µs", Target::None).value(outcome.cpu_ns / 1e3);
            speed(rows, "  mosquitto", saturated, &outcome);
        }
        if let Some(server) = context.places.dovetail()? {
            progress.step(&format!("dovetail, {}", self.name));
            let outcome = measure(server.addr(), server.pid(), plan)?;
            let row = rows.row(self.name, "µs", target).value(outcome.cpu_ns / 1e3);
            remark_syscalls(row, &outcome.syscalls);
            speed(rows, "  its", saturated, &outcome);
        }
        Ok(())
    }
}

/// Saturated, throughput says how fast it is; paced, latency does.
fn speed(rows: &mut Rows, who: &str, saturated: bool, outcome: &Outcome) {
    if saturated {
        rows.row(&format!("{who} deliveries"), "/s", Target::None).value(outcome.per_second);
    } else {
        rows.row(&format!("{who} latency, p50"), "µs", Target::None).value(outcome.p50_ns as f64 / 1e3);
        rows.row(&format!("{who} latency, p99"), "µs", Target::None).value(outcome.p99_ns as f64 / 1e3);
    }
}

fn measure(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Outcome> {
    let outcome = fanout::run(addr, pid, plan)?;
    ensure!(outcome.lost == 0, "{} deliveries were lost", outcome.lost);
    Ok(outcome)
}
