//! What is shown of each way, the same in the terminal and on the page.

use super::number::{self, NOTHING};
use crate::compare::figures::{Comparison, Family, Recovery, WayFigures};

/// One figure of each way.
pub(super) struct Column {
    /// Its name over three lines of a narrow column, the last one a unit or a condition. What it shares with the column before
    /// is left out.
    pub(super) head: [&'static str; 3],
    /// Its name on one line.
    pub(super) name: &'static str,
    /// What it is, as a sentence.
    pub(super) about: &'static str,
    /// The figure of a way.
    pub(super) cell: fn(&WayFigures) -> Cell,
}

/// One figure, written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tone: Tone,
}

/// What a figure means for a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing by itself.
    Plain,
    /// It is right.
    Good,
    /// It stays wrong.
    Bad,
}

/// All of them, from left to right.
pub(super) const COLUMNS: [Column; 10] = [
    Column {
        head: ["latency", "p50", "ms"],
        name: "Latency p50, ms",
        about: "From a write to its arrival at a watcher that was not interrupted: half of all updates were faster.",
        cell: |way| plain(number::digits(way.latency.p50_ms)),
    },
    Column {
        head: ["", "p99", "ms"],
        name: "Latency p99, ms",
        about: "The same: 99 of 100 updates were faster.",
        cell: |way| plain(number::digits(way.latency.p99_ms)),
    },
    Column {
        head: ["stale", "mean", "ms"],
        name: "Staleness, mean, ms",
        about: "From a write until a copy has it or something newer, on average over all copies of all watchers, those that \
                were interrupted and came back with fallback included.",
        cell: |way| plain(number::digits(way.staleness_ms)),
    },
    Column {
        head: ["bytes", "/update", "B"],
        name: "Bytes per update",
        about: "Everything above TCP on a watcher's sockets, both directions, by the number of updates.",
        cell: |way| plain(number::digits(way.bytes_per_update)),
    },
    Column {
        head: ["requests", "each", "/s"],
        name: "Requests/s of a watcher",
        about: "HTTP requests of each watcher each second, or what a protocol has like them; acknowledgements are none.",
        cell: |way| plain(number::digits(way.requests_per_second)),
    },
    Column {
        head: ["CPU", "/update", "µs"],
        name: "CPU per update, µs",
        about: "Server CPU by updates and watchers, without what writing takes.",
        cell: |way| plain(optional(way.cpu_us_per_update)),
    },
    Column {
        head: ["memory", "each", "kB"],
        name: "Memory of a watcher, kB",
        about: "How much the server's memory grew, by the number of watchers.",
        cell: |way| plain(optional(way.memory_per_watcher.map(|bytes| bytes / 1e3))),
    },
    Column {
        head: ["lost,", "fallback", "off"],
        name: "Lost without fallback",
        about: "Of the updates while a watcher was cut off, those of which it never learned, nor of anything newer of the same \
                resource, when it came back without a fallback: its copy stays wrong.",
        cell: |way| lost(way.without_fallback.as_ref()),
    },
    Column {
        head: ["", "", "on"],
        name: "Lost with fallback",
        about: "The same of watchers that came back with it.",
        cell: |way| lost(way.with_fallback.as_ref()),
    },
    Column {
        head: ["current", "again", "ms"],
        name: "Current again after, ms",
        about: "From the return of a watcher with fallback until its copies were as new as the server's; median.",
        cell: |way| again(way.with_fallback.as_ref()),
    },
];

fn plain(text: String) -> Cell {
    Cell { text, tone: Tone::Plain }
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| String::from(NOTHING), number::digits)
}

fn lost(recovery: Option<&Recovery>) -> Cell {
    let Some(recovery) = recovery else {
        return plain(String::from(NOTHING));
    };
    let tone = match (recovery.lost, recovery.updates_in_outage) {
        (0, 0) => Tone::Plain,
        (0, _) => Tone::Good,
        _ => Tone::Bad,
    };
    Cell { text: number::share(recovery.lost, recovery.updates_in_outage), tone }
}

fn again(recovery: Option<&Recovery>) -> Cell {
    match recovery {
        Some(recovery) if recovery.never_current > 0 => {
            Cell { text: String::from("not all"), tone: Tone::Bad }
        }
        recovery => plain(optional(recovery.and_then(|recovery| recovery.current_again_p50_ms))),
    }
}

/// Ways by family, in the order in which families first come.
pub(super) fn families(comparison: &Comparison) -> Vec<(Family, Vec<&WayFigures>)> {
    let mut families: Vec<(Family, Vec<&WayFigures>)> = Vec::new();
    for way in &comparison.ways {
        match families.iter_mut().find(|(family, _)| *family == way.family) {
            Some((_, ways)) => ways.push(way),
            None => families.push((way.family, vec![way])),
        }
    }
    families
}

/// What people call a family.
pub(super) const fn title(family: Family) -> &'static str {
    match family {
        Family::Polling => "Polling",
        Family::LongPoll => "Long poll",
        Family::Mqtt => "MQTT",
        Family::WebSocket => "WebSocket",
        Family::Sse => "Event stream",
        Family::SignalR => "SignalR",
        Family::Combined => "Combined",
    }
}

/// A way inside a sentence.
pub(super) fn spoken(way: &WayFigures) -> String {
    if way.family == Family::Combined {
        String::from("combined")
    } else {
        brief(&way.label).replace(", every", " every")
    }
}

/// A name without what it says in parentheses.
pub(super) fn brief(label: &str) -> String {
    let mut rest = label;
    let mut out = String::new();
    while let Some((before, (_, after))) =
        rest.split_once(" (").and_then(|(before, aside)| Some((before, aside.split_once(')')?)))
    {
        out.push_str(before);
        rest = after;
    }
    out + rest
}

/// A name in so many characters. What stands in parentheses goes first; an interval at its end tells it from others, and stays.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let text = brief(text);
    if text.chars().count() <= width {
        return text;
    }
    let (start, end) = text.split_at(text.rfind(", every").unwrap_or(text.len()));
    let room = width.saturating_sub(end.chars().count() + 1);
    if room == 0 {
        return text.chars().take(width.saturating_sub(1)).chain(['…']).collect();
    }
    start.chars().take(room).chain(['…']).chain(end.chars()).collect()
}

/// What was done, in a few lines.
pub(super) fn workload(comparison: &Comparison) -> Vec<String> {
    let (work, machine) = (&comparison.workload, &comparison.machine);
    let processor = machine.processor.as_ref().map_or_else(String::new, |name| format!(", {name}"));
    let server = work.server.as_ref().map_or_else(
        || String::from("a server of its own on the same machine"),
        |address| format!("the server at {address}"),
    );
    vec![
        format!(
            "{} watchers, each of {} resources of {}; {} updates/s over all of them; {} of each way.",
            number::count(work.watchers as u64),
            number::count(work.resources),
            number::bytes(work.payload_bytes as f64),
            number::given(work.updates_per_second),
            number::interval(work.seconds * 1e3),
        ),
        format!(
            "{} of the watchers were cut off for {}; half of these came back without a fallback, half with it.",
            number::count(work.interrupted as u64),
            number::interval(work.outage_ms as f64),
        ),
        format!(
            "Dovetail {}, {server}; {} cores{processor}, {}, load average {} at the start.",
            comparison.version,
            machine.cores,
            machine.system,
            number::given(machine.load),
        ),
    ]
}
