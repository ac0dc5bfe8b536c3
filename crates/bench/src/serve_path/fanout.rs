//! One publisher, many subscribers.

use anyhow::Result;

use super::{Context, beside, latency, remark_syscalls};
use crate::child::Running;
use crate::load::fanout::{self, Pace, Plan};
use crate::load::run::Figures;
use crate::load::speech::Speech;
use crate::report::{Progress, Rows, Target};
use crate::wire::Service;

const PAYLOAD_BYTES: usize = 100;

pub(super) fn saturated(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    let case = Case {
        name: "fan-out 1 → 1,000, saturated: CPU",
        target: 3.0,
        floor: "gathered writes",
        writes: "gathered",
    };
    case.run(context, of_a_thousand(context, Service::Zero), rows, progress)
}

pub(super) fn acknowledged(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    let case = Case {
        name: "fan-out 1 → 1,000 with QoS 1, saturated: CPU",
        target: 8.0,
        floor: "gathered writes, QoS 0",
        writes: "gathered",
    };
    case.run(context, of_a_thousand(context, Service::One), rows, progress)
}

pub(super) fn paced(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    let plan = Plan {
        subscribers: 100,
        pace: Pace::Paced { per_second: 100 },
        ..of_a_thousand(context, Service::Zero)
    };
    let case = Case {
        name: "fan-out 100/s × 100, paced: CPU",
        target: 1.4,
        floor: "one write each",
        writes: "each",
    };
    case.run(context, plan, rows, progress)
}

fn of_a_thousand(context: &Context, service: Service) -> Plan {
    Plan {
        speech: Speech::Mqtt,
        subscribers: 1000,
        payload: PAYLOAD_BYTES,
        service,
        pace: Pace::Saturated { window: context.window },
        warm_up: context.warm_up(),
        measure: context.measure,
    }
}

/// They differ in plan, floor and target alone.
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
        // Floors acknowledge nothing.
        let figures = fanout::run(relay.addr, relay.pid(), Plan { service: Service::Zero, ..plan })?;
        rows.row(self.name, "µs", target).floor(self.floor, figures.cpu_ns / 1e3);
        drop(relay);
        let mut mosquitto_cpu = None;
        if let Some(mosquitto) = context.places.mosquitto()? {
            progress.step(&format!("mosquitto, {}", self.name));
            let figures = fanout::run(mosquitto.addr(), mosquitto.pid(), plan)?;
            mosquitto_cpu = Some(figures.cpu_ns / 1e3);
            speed(rows, "  mosquitto", saturated, &figures);
        }
        let mut nats_cpu = None;
        if plan.service == Service::Zero
            && let Some(nats) = context.places.nats()?
        {
            progress.step(&format!("NATS, {}", self.name));
            let figures = fanout::run(nats.addr(), nats.pid(), Plan { speech: Speech::Nats, ..plan })?;
            nats_cpu = Some(figures.cpu_ns / 1e3);
            speed(rows, "  NATS", saturated, &figures);
        }
        let server = context.places.dovetail()?;
        progress.step(&format!("dovetail, {}", self.name));
        let figures = fanout::run(server.addr(), server.pid(), plan)?;
        let row = rows.row(self.name, "µs", target).value(figures.cpu_ns / 1e3);
        remark_syscalls(row, &figures.syscalls);
        beside(rows, [("  mosquitto: CPU", mosquitto_cpu), ("  NATS: CPU", nats_cpu)], &figures);
        speed(rows, "  its", saturated, &figures);
        Ok(())
    }
}

/// Saturated, throughput says how fast it is; paced, latency does.
fn speed(rows: &mut Rows, who: &str, saturated: bool, figures: &Figures) {
    if saturated {
        rows.row(&format!("{who} deliveries"), "/s", Target::None).value(figures.per_second);
    } else {
        latency(rows, who, figures);
    }
}
