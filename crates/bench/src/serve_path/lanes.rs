//! Pairs of publisher and subscriber, many publishers and one subscriber, and many filters: one message under way for each
//! publisher.

use std::rc::Rc;

use anyhow::Result;

use super::{Context, beside, latency, remark_syscalls};
use crate::child::Running;
use crate::load::lanes::{self, Plan};
use crate::load::run::Figures;
use crate::load::speech::Speech;
use crate::report::{Progress, Rows, Target};
use crate::wire::Service;

const PAYLOAD_BYTES: usize = 100;

const PUBLISHERS: usize = 50;

/// Messages of one pair per second. Together that is a twentieth of what a core can do: each message comes nearly alone.
const PER_SECOND: u32 = 100;

/// Connections that share the filters of [`matching`]; each may have 1,000.
const SUBSCRIBERS: usize = 100;

/// How many filters there are in the runs of [`matching`].
const FILTERS: [usize; 3] = [1_000, 10_000, 100_000];

pub(super) fn pairs(context: &Context, service: Service, rows: &mut Rows, progress: &Progress) -> Result<()> {
    let (name, target) = match service {
        Service::Zero => ("50 pairs, QoS 0: CPU per message", 1.25),
        Service::One => ("50 pairs, QoS 1: CPU per message", 2.1),
        Service::Two => ("50 pairs, QoS 2: CPU per message", 3.5),
    };
    let topics = Rc::new(Plan::topics_of_pairs(PUBLISHERS));
    let per_second = Some(PER_SECOND);
    let plan = Plan { filters: Rc::clone(&topics), service, per_second, ..plan(context, topics) };
    compare(context, name, target, &plan, rows, progress)
}

pub(super) fn fan_in(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    let topic = vec![String::from("bench/in")];
    let filters = Rc::new(vec![topic.clone()]);
    let plan = Plan { filters, ..plan(context, Rc::new(vec![topic; PUBLISHERS])) };
    compare(context, "fan-in 50 → 1: CPU per message", 0.9, &plan, rows, progress)
}

/// Floor, peers and Dovetail with one plan.
fn compare(
    context: &Context,
    name: &str,
    target: f64,
    plan: &Plan,
    rows: &mut Rows,
    progress: &Progress,
) -> Result<()> {
    progress.step("floor, one write each");
    let target = Target::RatioAtMost(target);
    rows.row(name, "µs", target).floor("one write each", floor(plan)?.cpu_ns / 1e3);
    let mut mosquitto_cpu = None;
    if let Some(mosquitto) = context.places.mosquitto()? {
        progress.step(&format!("mosquitto, {name}"));
        let figures = lanes::run(mosquitto.addr(), mosquitto.pid(), plan)?;
        mosquitto_cpu = Some(figures.cpu_ns / 1e3);
        rows.row("  mosquitto messages", "/s", Target::None).value(figures.per_second);
        latency(rows, "  mosquitto", &figures);
    }
    let mut nats_cpu = None;
    if plan.service == Service::Zero
        && let Some(nats) = context.places.nats()?
    {
        progress.step(&format!("NATS, {name}"));
        let figures = lanes::run(nats.addr(), nats.pid(), &Plan { speech: Speech::Nats, ..plan.clone() })?;
        nats_cpu = Some(figures.cpu_ns / 1e3);
        rows.row("  NATS messages", "/s", Target::None).value(figures.per_second);
        latency(rows, "  NATS", &figures);
    }
    let server = context.places.dovetail()?;
    progress.step(&format!("dovetail, {name}"));
    let figures = lanes::run(server.addr(), server.pid(), plan)?;
    let row = rows.row(name, "µs", target).value(figures.cpu_ns / 1e3);
    remark_syscalls(row, &figures.syscalls);
    beside(rows, [("  mosquitto: CPU", mosquitto_cpu), ("  NATS: CPU", nats_cpu)], &figures);
    rows.row("  its messages", "/s", Target::None).value(figures.per_second);
    latency(rows, "  its", &figures);
    Ok(())
}

pub(super) fn matching(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    progress.step("floor, one write each");
    let topics = Rc::new(Plan::topics_of_pairs(PUBLISHERS));
    let floor = floor(&Plan { filters: Rc::clone(&topics), ..plan(context, topics) })?.cpu_ns / 1e3;
    let mut mosquittos = Vec::new();
    let mut dovetails = Vec::new();
    for count in FILTERS {
        let plan = plan_of_filters(context, count);
        if let Some(server) = context.places.mosquitto()? {
            progress.step(&format!("mosquitto, {count} filters"));
            let run = lanes::run_and(server.addr(), server.pid(), &plan, || server.resident_bytes())?;
            let name = format!("  mosquitto, {count} filters");
            rows.row(&name, "µs", Target::None).value(run.0.cpu_ns / 1e3);
            mosquittos.push(run);
        }
        let name = format!("matching, {count} filters: CPU per publish");
        let row = rows.row(&name, "µs", Target::RatioAtMost(1.1)).floor("one write each", floor);
        let server = context.places.dovetail()?;
        progress.step(&format!("dovetail, {count} filters"));
        let run = lanes::run_and(server.addr(), server.pid(), &plan, || server.resident_bytes())?;
        row.value(run.0.cpu_ns / 1e3);
        remark_syscalls(row, &run.0.syscalls);
        dovetails.push(run);
    }
    slopes(rows, "", &dovetails, Target::AtMost(1.15), Target::AtMost(600.0));
    slopes(rows, "  mosquitto, ", &mosquittos, Target::None, Target::None);
    Ok(())
}

/// What the largest run costs in relation to the smallest.
fn slopes(rows: &mut Rows, who: &str, runs: &[(Figures, u64)], growth: Target, memory: Target) {
    let [(few, few_bytes), .., (many, many_bytes)] = runs else { return };
    rows.row(&format!("{who}CPU with 100,000 filters by CPU with 1,000"), "", growth)
        .value(many.cpu_ns / few.cpu_ns);
    let filters = (FILTERS[2] - FILTERS[0]) as f64;
    rows.row(&format!("{who}memory per filter"), "B", memory)
        .value(many_bytes.saturating_sub(*few_bytes) as f64 / filters);
}

fn floor(plan: &Plan) -> Result<Figures> {
    let relay = Running::own(&["relay", "each"])?;
    // Floors acknowledge nothing.
    lanes::run(relay.addr, relay.pid(), &Plan { service: Service::Zero, ..plan.clone() })
}

fn plan(context: &Context, topics: Rc<Vec<Vec<String>>>) -> Plan {
    Plan {
        speech: Speech::Mqtt,
        topics,
        filters: Rc::default(),
        payload: PAYLOAD_BYTES,
        service: Service::Zero,
        per_second: None,
        warm_up: context.warm_up(),
        measure: context.measure,
    }
}

/// Each publisher writes to its share of the topics, in an order that no cache likes. Each of them matches one filter.
fn plan_of_filters(context: &Context, count: usize) -> Plan {
    let share = count / PUBLISHERS;
    let topics = (0..PUBLISHERS)
        .map(|publisher| {
            (0..share).map(|n| topic_and_filter(publisher + n * 7919 % share * PUBLISHERS).0).collect()
        })
        .collect();
    let mut filters = vec![Vec::new(); SUBSCRIBERS];
    for number in 0..count {
        filters[number % SUBSCRIBERS].push(topic_and_filter(number).1);
    }
    Plan { filters: Rc::new(filters), ..plan(context, Rc::new(topics)) }
}

/// A topic and the one filter that matches it. A third of the filters begin with a wildcard.
fn topic_and_filter(number: usize) -> (String, String) {
    match number % 3 {
        0 => (format!("bench/{number}/room/temp"), format!("bench/{number}/+/temp")),
        1 => (format!("bench/m/{number}/room/temp"), format!("+/m/{number}/#")),
        _ => (format!("bench/room/n{number}/temp/state"), format!("bench/+/n{number}/+/state")),
    }
}
