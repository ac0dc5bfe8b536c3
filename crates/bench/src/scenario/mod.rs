//! What is measured, and what is promised of it. A figure stands beside its floor or peer of the same repeat.

mod fanout;
mod requests;
mod scale;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use crate::report::{Progress, Row, Rows};
use crate::servers::Places;

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// A durable PUT, alone: its latency beside a lone fdatasync and a round trip.
    PutAlone,
    /// Durable PUTs on 256 connections and one MQTT subscriber: CPU beside nginx's per GET.
    PutMany,
    /// Retained `QoS` 1 publishes, 64 clients with 16 in flight.
    Publish,
    /// GET of 200 bytes on 64 connections: CPU beside nginx's.
    Get,
    /// Fan-out 1 to 1,000, saturated: CPU per delivery beside gathered writes.
    FanoutSaturated,
    /// Fan-out 100 messages a second to 100 subscribers: CPU per delivery beside one write each.
    FanoutPaced,
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
        Self::Publish,
        Self::Get,
        Self::FanoutSaturated,
        Self::FanoutPaced,
        Self::Scale,
    ];

    /// Runs it once and adds a sample to each of its rows.
    pub(crate) fn run(self, context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
        match self {
            Self::PutAlone => requests::put_alone(context, rows, progress),
            Self::PutMany => requests::put_many(context, rows, progress),
            Self::Publish => requests::publish(context, rows, progress),
            Self::Get => requests::get(context, rows, progress),
            Self::FanoutSaturated => fanout::saturated(context, rows, progress),
            Self::FanoutPaced => fanout::paced(context, rows, progress),
            Self::Scale => scale::run(context, rows, progress),
        }
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
