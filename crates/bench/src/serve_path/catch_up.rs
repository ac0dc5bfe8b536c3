//! Clients that come back all at once.

use anyhow::Result;

use super::{Context, MEBIBYTE};
use crate::load::catch_up::{self, Layout, MISSED, Plan, Way};
use crate::report::{Progress, Rows, Target};

const CLIENTS: usize = 10_000;
/// Until all of them are current.
const SECONDS: f64 = 5.0;
/// The most memory that the server may take.
const MEBIBYTES: f64 = 1024.0;

/// Those that know how far they were told.
const SINCE: [(Way, &str); 2] = [(Way::Tracked, "MQTT 5, since"), (Way::WebSocket, "WebSocket, since")];
/// Those of which the server knows it.
const SESSIONS: [(Way, &str); 1] = [(Way::Session, "MQTT 5, sessions with QoS 1")];
const LAYOUTS: [(Layout, &str); 2] =
    [(Layout::Groups, "a group of 1,000 each"), (Layout::Everything, "everything each")];

pub(super) fn since(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    run(context, rows, progress, &SINCE)
}

pub(super) fn sessions(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    run(context, rows, progress, &SESSIONS)
}

fn run(context: &Context, rows: &mut Rows, progress: &Progress, ways: &[(Way, &str)]) -> Result<()> {
    for (layout, followed) in LAYOUTS {
        for &(way, name) in ways {
            let server = context.places.dovetail()?;
            progress.step(&format!("10,000 come back: {name}, {followed}"));
            let storm = catch_up::run(server.addr(), server.pid(), Plan { way, layout, clients: CLIENTS })?;
            let clients = CLIENTS as f64;
            let row =
                rows.row(&format!("10,000 come back: {name}, {followed}"), "s", Target::AtMost(SECONDS));
            row.value(storm.seconds);
            let busy = storm.own_cpu_ns * clients / 1e9 / storm.seconds * 100.0;
            row.remark = format!("the load generator's thread is busy for {busy:.0}%");
            rows.row(&format!("  {name}, {followed}: peak memory"), "MiB", Target::AtMost(MEBIBYTES))
                .value(storm.peak_bytes as f64 / MEBIBYTE);
            let mut shown = |what: &str, unit, value| {
                rows.row(&format!("  {name}, {followed}: {what}"), unit, Target::None).value(value);
            };
            shown("messages", "/s", clients * MISSED as f64 / storm.seconds);
            shown("server CPU per client", "µs", storm.cpu_ns / 1e3);
            shown("CPU of the load generator per client", "µs", storm.own_cpu_ns / 1e3);
            shown("bytes per change", "B", storm.bytes_per_change);
        }
    }
    Ok(())
}
