//! What is measured, and what is promised of it. A figure stands beside its floor or peer of the same repeat.

mod catch_up;
mod crowd;
mod doors;
mod fanout;
mod lanes;
mod requests;
mod retained;
mod scale;
mod write_push;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use crate::load::run::Figures;
use crate::report::{Progress, Row, Rows, Target};
use crate::servers::Places;
use crate::wire::Service;

/// Bytes.
const MEBIBYTE: f64 = 1_048_576.0;

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// A durable PUT, alone: its latency beside a lone fdatasync and a round trip.
    PutAlone,
    /// Durable PUTs on 256 connections and one MQTT subscriber: CPU beside nginx's per GET.
    PutMany,
    /// From a durable write to its push, one writer and 256.
    WritePush,
    /// Retained `QoS` 1 publishes, 64 clients with 16 in flight.
    Publish,
    /// GET of 200 bytes on 64 connections: CPU beside nginx's.
    Get,
    /// Fan-out 1 to 1,000, saturated: CPU per delivery beside gathered writes.
    FanoutSaturated,
    /// Fan-out 100 messages a second to 100 subscribers: CPU per delivery beside one write each.
    FanoutPaced,
    /// The same as fanout-saturated with `QoS` 1 on both sides.
    FanoutQos1,
    /// 50 publishers, each with a subscriber of its own, one message under way: CPU beside one write each.
    PairsQos0,
    /// The same with `QoS` 1.
    PairsQos1,
    /// The same with `QoS` 2.
    PairsQos2,
    /// 50 publishers and one subscriber, one message of each under way: CPU beside one write each.
    FanIn,
    /// Matching with 1,000, 10,000 and 100,000 filters with wildcards: CPU per publish and memory per filter.
    Match,
    /// Everything that is retained, of 100,000 topics.
    Retained,
    /// Idle connections: memory of each, and how fast they are made.
    Idle,
    /// 10,000 sessions whose clients are away while 100,000 messages pass.
    Offline,
    /// 10,000 clients that are 100 changes behind come back at once, over MQTT and WebSocket.
    CatchUp,
    /// The same with durable sessions.
    CatchUpSessions,
    /// A change to 1,000 watchers of each door: CPU per delivery beside MQTT's.
    FanoutDoors,
    /// From a write to its push, over each door.
    PushDoors,
    /// Idle watchers of each door: memory of each.
    IdleDoors,
    /// A million resources: start-up, memory, `since`.
    Scale,
}

/// How to measure.
pub(crate) struct Context {
    /// Where things are.
    pub(crate) places: Places,
    /// Time of one measurement.
    pub(crate) measure: Duration,
    /// Messages under way in saturated fan-out.
    pub(crate) window: u64,
    /// Resources of the large tree.
    pub(crate) resources: u64,
}

impl Context {
    /// Time before measuring.
    pub(crate) fn warm_up(&self) -> Duration {
        self.measure / 4
    }
}

impl Scenario {
    /// All of them, in the order of the documentation.
    pub(crate) const ALL: &[Self] = &[
        Self::PutAlone,
        Self::PutMany,
        Self::WritePush,
        Self::Publish,
        Self::Get,
        Self::FanoutSaturated,
        Self::FanoutPaced,
        Self::FanoutQos1,
        Self::PairsQos0,
        Self::PairsQos1,
        Self::PairsQos2,
        Self::FanIn,
        Self::Match,
        Self::Retained,
        Self::Idle,
        Self::Offline,
        Self::CatchUp,
        Self::CatchUpSessions,
        Self::FanoutDoors,
        Self::PushDoors,
        Self::IdleDoors,
        Self::Scale,
    ];

    /// Runs it once and adds a sample to each of its rows.
    pub(crate) fn run(self, context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
        match self {
            Self::PutAlone => requests::put_alone(context, rows, progress),
            Self::PutMany => requests::put_many(context, rows, progress),
            Self::WritePush => write_push::run(context, rows, progress),
            Self::Publish => requests::publish(context, rows, progress),
            Self::Get => requests::get(context, rows, progress),
            Self::FanoutSaturated => fanout::saturated(context, rows, progress),
            Self::FanoutPaced => fanout::paced(context, rows, progress),
            Self::FanoutQos1 => fanout::acknowledged(context, rows, progress),
            Self::PairsQos0 => lanes::pairs(context, Service::Zero, rows, progress),
            Self::PairsQos1 => lanes::pairs(context, Service::One, rows, progress),
            Self::PairsQos2 => lanes::pairs(context, Service::Two, rows, progress),
            Self::FanIn => lanes::fan_in(context, rows, progress),
            Self::Match => lanes::matching(context, rows, progress),
            Self::Retained => retained::run(context, rows, progress),
            Self::Idle => crowd::idle(context, rows, progress),
            Self::Offline => crowd::offline(context, rows, progress),
            Self::CatchUp => catch_up::since(context, rows, progress),
            Self::CatchUpSessions => catch_up::sessions(context, rows, progress),
            Self::FanoutDoors => doors::fan_out(context, rows, progress),
            Self::PushDoors => doors::push(context, rows, progress),
            Self::IdleDoors => doors::idle(context, rows, progress),
            Self::Scale => scale::run(context, rows, progress),
        }
    }

    /// What it is called.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Its name and what it measures.
    pub(crate) fn line(self) -> String {
        let value = self.to_possible_value();
        let (name, help) = value.as_ref().map_or(("", None), |value| (value.get_name(), value.get_help()));
        format!("{name:18} {}", help.map(ToString::to_string).unwrap_or_default())
    }

    /// How often it is worth repeating, of so many asked for: the large tree takes long and hardly varies.
    pub(crate) fn repeats(self, wanted: usize) -> usize {
        if self == Self::Scale { 1 } else { wanted }
    }
}

/// Puts counted system calls into a row's remark.
fn remark_syscalls(row: &mut Row, syscalls: &BTreeMap<String, f64>) {
    if !syscalls.is_empty() {
        let calls: Vec<String> = syscalls
            .iter()
            .filter(|(_, count)| **count >= 0.0005)
            .map(|(name, count)| format!("{name} {count:.3}"))
            .collect();
        row.remark = format!("calls: {}", calls.join(", "));
    }
}

/// Adds the CPU of peers that are installed, in microseconds, each with Dovetail's beside it.
fn beside<const N: usize>(rows: &mut Rows, peers: [(&str, Option<f64>); N], dovetail: &Figures) {
    for (name, cpu) in peers {
        if let Some(cpu) = cpu {
            rows.row(name, "µs", Target::None).value(cpu).floor("Dovetail", dovetail.cpu_ns / 1e3);
        }
    }
}

fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}

/// Adds a server's latency to the rows.
fn latency(rows: &mut Rows, who: &str, figures: &Figures) {
    rows.row(&format!("{who} latency, p50"), "µs", Target::None).value(micros(figures.p50_ns));
    rows.row(&format!("{who} latency, p99"), "µs", Target::None).value(micros(figures.p99_ns));
}
