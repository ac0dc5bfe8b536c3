//! What follows from the figures, in sentences. Each is made only if the figures say it.

use std::fmt::Write as _;

use super::columns::{brief, families, spoken};
use super::crossover::{self, AtEqualStaleness, Crossover, PROMISED, RateCrossover};
use super::number::{self, factor};
use crate::compare::BUSY;
use crate::compare::figures::{Comparison, Family, Recovery, WayFigures};

/// Closer than this, two figures are called the same.
const SAME: f64 = 1.05;
/// Server CPU a second, in microseconds, that is worth no thought: one percent of a core.
const LITTLE_CPU_US: f64 = 10_000.0;

/// The sentences below the table.
pub(super) fn sentences(comparison: &Comparison) -> Vec<String> {
    if comparison.ways.iter().all(|way| way.updates == 0) {
        return vec![String::from("Nothing was updated, so nothing can be said.")];
    }
    let sentences = [
        beside_polling(comparison),
        equal_staleness(comparison),
        crossovers(comparison),
        rates(comparison),
        few_watchers(comparison),
        pushes(comparison),
        lost_without(comparison),
        lost_with(comparison),
        busy_generator(comparison),
    ];
    sentences.into_iter().flatten().collect()
}

/// When to take what, by family.
pub(super) fn advice(comparison: &Comparison) -> Vec<(Family, String)> {
    let of_family = |(family, ways): (Family, Vec<&WayFigures>)| {
        let role = match family {
            Family::Polling => {
                "Where a copy may be as old as the interval is long, and for whom updates are rare or watchers few. Every HTTP \
                 client can do it, and nothing stays open."
            }
            Family::LongPoll => {
                "Where only plain requests get through and an interval would be too long: it is told at once, and asks again after \
                 every answer."
            }
            Family::Mqtt => {
                "For devices and services, and wherever bytes or battery count: the smallest frames."
            }
            Family::WebSocket => "For browsers that read, write and follow over one connection.",
            Family::Sse => {
                "For browsers and scripts that only listen: nothing to install, and it reconnects by itself."
            }
            Family::SignalR => "For .NET, and for pages that have its client already.",
            Family::Combined => {
                "For copies that have to be complete and right: the whole state first, then pushes, and after any interruption \
                 what was missed."
            }
        };
        let facts = if family == Family::Polling { polling_facts(comparison) } else { facts(&ways) };
        (family, format!("{role} {facts}").trim_end().to_owned())
    };
    families(comparison).into_iter().map(of_family).collect()
}

/// `12 times fewer bytes`, from how many times as many the other one has.
fn fewer(ratio: f64, less: &str, what: &str) -> String {
    if ratio >= SAME {
        format!("{} times {less} {what}", factor(ratio))
    } else if ratio > 0.0 && ratio <= 1.0 / SAME {
        format!("{} times more {what}", factor(1.0 / ratio))
    } else if ratio >= 1.0 {
        format!("hardly {less} {what}")
    } else {
        format!("hardly more {what}")
    }
}

/// `moved 12 times fewer bytes and took 3 times less server CPU`.
fn costs(beside: &AtEqualStaleness<'_>, moved: &str, took: &str) -> String {
    let bytes = fewer(beside.measured.bytes, "fewer", "bytes");
    let cpu = beside.measured.cpu.map(|cpu| format!(" and {took}{}", fewer(cpu, "less", "server CPU")));
    format!("{moved}{bytes}{}", cpu.unwrap_or_default())
}

/// Push beside the shortest interval that was measured.
fn beside_polling(comparison: &Comparison) -> Option<String> {
    let all = crossover::at_equal_staleness(comparison);
    let (first, others) = all.split_first()?;
    let staler = first.staler();
    let staleness = if staler >= SAME {
        format!("which still was {} times staler", factor(staler))
    } else if staler <= 1.0 / SAME {
        format!("which was {} times fresher", factor(1.0 / staler))
    } else {
        String::from("which was as fresh")
    };
    let mut sentence = format!(
        "At {} updates/s, {} {} than {}, {staleness} while nobody was interrupted ({} on average against {}).",
        number::given(comparison.workload.updates_per_second),
        spoken(first.push),
        costs(first, "moved ", "took "),
        spoken(first.polling.way),
        number::time(first.polling_staleness_ms),
        number::time(first.push_staleness_ms),
    );
    for other in others {
        let kind = kind_label(comparison, other.polling.way);
        let _ = write!(sentence, " Than {kind}: {}.", costs(other, "", ""));
    }
    Some(sentence)
}

/// What polling would cost if it were as fresh, as far as that can be said without having measured it.
fn equal_staleness(comparison: &Comparison) -> Option<String> {
    let all = crossover::at_equal_staleness(comparison);
    let first = all.first().filter(|beside| beside.staler() >= SAME)?;
    if first.fresh_every >= first.polling.every {
        return None;
    }
    let leanest = all.iter().min_by(|a, b| a.extrapolated.bytes.total_cmp(&b.extrapolated.bytes))?;
    let cpu = all
        .iter()
        .filter_map(|beside| beside.extrapolated.cpu)
        .reduce(f64::min)
        .map(|cpu| format!(", and take about {} times the server CPU", factor(cpu)));
    Some(format!(
        "To be as fresh as {}, polls would have to come every {} or sooner. That was not measured; they would move at least {} \
         times the bytes ({}), even if every answer were as short as the shortest{}.",
        spoken(first.push),
        number::interval(first.fresh_every * 1e3),
        factor(leanest.extrapolated.bytes),
        kind_label(comparison, leanest.polling.way),
        cpu.unwrap_or_default(),
    ))
}

/// What is promised of the default workload, and how it is here.
pub(super) fn promise(comparison: &Comparison) -> Option<String> {
    let all = crossover::at_equal_staleness(comparison);
    let push = spoken(all.first()?.push);
    let kinds = |verdict: Option<bool>| {
        let kinds = all.iter().filter(|beside| beside.keeps_promise() == verdict);
        kinds.map(|beside| kind_label(comparison, beside.polling.way)).collect::<Vec<_>>().join(", ")
    };
    let said =
        [("kept beside", Some(true)), ("NOT kept beside", Some(false)), ("not to be told beside", None)];
    let found =
        said.into_iter().map(|(word, verdict)| (word, kinds(verdict))).filter(|(_, kinds)| !kinds.is_empty());
    let found: Vec<String> = found.map(|(word, kinds)| format!("{word} {kinds}")).collect();
    let cpu = PROMISED.cpu.map(|cpu| format!(" and {} times less server CPU", factor(cpu)));
    Some(format!(
        "At equal staleness, and on the default workload, {push} is to move at least {} times fewer bytes{} than polling. Here that is {}.",
        number::given(PROMISED.bytes),
        cpu.unwrap_or_default(),
        found.join(", "),
    ))
}

fn kind_label(comparison: &Comparison, way: &WayFigures) -> String {
    let name = crossover::stem(&way.name);
    brief(
        crossover::kinds(comparison)
            .iter()
            .find(|kind| kind.name == name)
            .map_or(&way.label, |kind| kind.label),
    )
}

/// `2.18 s (polling), none up to a day (polling with ETag)`.
fn intervals<'a>(found: impl Iterator<Item = (&'a str, Option<Crossover>)>) -> String {
    let each = found.map(|(label, crossover)| (brief(label), crossover)).filter_map(|(label, crossover)| {
        match crossover? {
            Crossover::From(every) => Some(format!("{} ({label})", number::time(every * 1e3))),
            Crossover::Always => Some(format!("any ({label})")),
            Crossover::Never => Some(format!("none up to a day ({label})")),
        }
    });
    each.collect::<Vec<_>>().join(", ")
}

/// From which intervals on polling is the cheaper one.
fn crossovers(comparison: &Comparison) -> Option<String> {
    let push = crossover::push(comparison)?;
    let found = crossover::crossovers(comparison);
    let bytes = intervals(found.iter().map(|found| (found.kind.label, found.bytes)));
    let cpu = intervals(found.iter().map(|found| (found.kind.label, found.cpu)));
    if bytes.is_empty() {
        return None;
    }
    let push = spoken(push);
    let mut sentence = format!("The intervals from which on polling moves fewer bytes than {push}: {bytes}.");
    if !cpu.is_empty() {
        let _ = write!(sentence, " Those from which on it takes less server CPU: {cpu}.");
    }
    sentence += " A copy is half the interval old on average.";
    Some(sentence)
}

/// At which rates polling at a measured interval is the cheaper one.
fn rates(comparison: &Comparison) -> Option<String> {
    let push = crossover::push(comparison)?;
    let measured = |way: &&WayFigures| {
        way.family == Family::Polling && comparison.rates.iter().any(|rate| rate.name == way.name)
    };
    if !comparison.rates.iter().any(|rate| rate.name == push.name) {
        return None;
    }
    let ways: Vec<&WayFigures> = comparison.ways.iter().filter(measured).collect();
    let crossings: Vec<(&WayFigures, RateCrossover)> = ways
        .iter()
        .flat_map(|way| {
            crossover::rate_crossovers(comparison, way).into_iter().map(move |found| (*way, found))
        })
        .collect();
    if crossings.is_empty() {
        return None;
    }
    let each = crossings.iter().map(|(way, crossing)| {
        let side = if crossing.polling_above { "above" } else { "below" };
        format!("{side} {} updates/s ({})", number::digits(crossing.rate), spoken(way))
    });
    let why = if crossings.iter().all(|(_, crossing)| crossing.polling_above) {
        ": a poll tells once what push tells at each update"
    } else {
        ""
    };
    Some(format!(
        "By rate, polling moved fewer bytes than {} {}{why}.",
        spoken(push),
        each.collect::<Vec<_>>().join(", "),
    ))
}

/// For how many watchers polling is no matter.
fn few_watchers(comparison: &Comparison) -> Option<String> {
    let near_a_second = |a: &&WayFigures, b: &&WayFigures| {
        let far = |way: &WayFigures| (way.poll_every_ms.unwrap_or(1) as f64 / 1e3).ln().abs();
        far(a).total_cmp(&far(b)).then(a.bytes_per_update.total_cmp(&b.bytes_per_update))
    };
    let polling = comparison.ways.iter().filter(|way| way.poll_every_ms.is_some()).min_by(near_a_second)?;
    let cpu = crossover::cpu_per_second(comparison, polling).filter(|cpu| *cpu > 0.0)?;
    let watchers = (LITTLE_CPU_US / cpu).floor();
    (watchers >= 1.0).then(|| {
        format!(
            "Few watchers may as well poll: {} takes {} of server CPU a second for each, so that {} of them take a hundredth of a core.",
            spoken(polling),
            number::cpu(cpu),
            number::given(watchers),
        )
    })
}

fn is_pushed(way: &WayFigures) -> bool {
    way.family != Family::Polling
}

/// How the ways that are told at once differ.
fn pushes(comparison: &Comparison) -> Option<String> {
    let pushed: Vec<&WayFigures> = comparison
        .ways
        .iter()
        .filter(|way| {
            is_pushed(way)
                && way.latency.p99_ms.is_finite()
                && way.latency.p99_ms > 0.0
                && way.bytes_per_update > 0.0
        })
        .collect();
    if pushed.len() < 2 {
        return None;
    }
    let by = |value: fn(&WayFigures) -> f64| {
        let least = pushed.iter().min_by(|a, b| value(a).total_cmp(&value(b)))?;
        let most = pushed.iter().max_by(|a, b| value(a).total_cmp(&value(b)))?;
        Some((*least, *most))
    };
    let (fastest, slowest) = by(|way| way.latency.p99_ms)?;
    let (leanest, heaviest) = by(|way| way.bytes_per_update)?;
    Some(format!(
        "Of the ways that are told at once, {} had 99 of 100 updates within {} and {} within {}; {} moved the fewest bytes, {} an \
         update, and {} the most, {}.",
        spoken(fastest),
        number::time(fastest.latency.p99_ms),
        spoken(slowest),
        number::time(slowest.latency.p99_ms),
        spoken(leanest),
        number::bytes(leanest.bytes_per_update),
        spoken(heaviest),
        number::bytes(heaviest.bytes_per_update),
    ))
}

/// Ways whose watchers were really cut off while something was written.
fn interrupted(
    comparison: &Comparison,
    recovery: fn(&WayFigures) -> Option<&Recovery>,
) -> Vec<(&WayFigures, &Recovery)> {
    let ways = comparison.ways.iter().filter_map(|way| Some((way, recovery(way)?)));
    ways.filter(|(_, recovery)| recovery.updates_in_outage > 0).collect()
}

fn names(ways: &[(&WayFigures, &Recovery)]) -> String {
    ways.iter().map(|(way, _)| spoken(way)).collect::<Vec<_>>().join("; ")
}

/// The names, or how many there are where they are too many to read.
fn which(some: &[(&WayFigures, &Recovery)], all: usize) -> String {
    if some.len() <= 3 { names(some) } else { format!("{} of {all} ways", some.len()) }
}

fn lost_without(comparison: &Comparison) -> Option<String> {
    let all = interrupted(comparison, |way| way.without_fallback.as_ref());
    if all.is_empty() {
        return None;
    }
    let losing: Vec<_> = all.iter().copied().filter(|(_, recovery)| recovery.lost > 0).collect();
    if losing.is_empty() {
        return Some(String::from("Even without a fallback nothing was lost while watchers were cut off."));
    }
    let share = |recovery: &Recovery| recovery.lost as f64 / recovery.updates_in_outage as f64;
    let worst = losing.iter().max_by(|a, b| share(a.1).total_cmp(&share(b.1)))?.1;
    Some(format!(
        "Without a fallback, watchers that were cut off for {} never learned of up to {} of what was written meanwhile ({}).",
        number::interval(comparison.workload.outage_ms as f64),
        number::share(worst.lost, worst.updates_in_outage),
        which(&losing, all.len()),
    ))
}

fn lost_with(comparison: &Comparison) -> Option<String> {
    let all = interrupted(comparison, |way| way.with_fallback.as_ref());
    if all.is_empty() {
        return None;
    }
    let (bad, good): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, recovery)| recovery.lost > 0 || recovery.never_current > 0);
    if !bad.is_empty() {
        let others = if good.is_empty() { "" } else { " With the others nothing was lost." };
        return Some(format!(
            "Even with their fallback, these left watchers with wrong copies: {}.{others}",
            names(&bad)
        ));
    }
    let slowest = good
        .iter()
        .filter_map(|(way, recovery)| Some((way, recovery.current_again_max_ms?)))
        .filter(|(way, _)| is_pushed(way))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(way, longest)| {
            format!(
                " Of those that are told at once the slowest took {} ({}).",
                number::time(longest),
                spoken(way)
            )
        });
    Some(format!(
        "With a fallback nothing was lost, and every watcher was current again.{}",
        slowest.unwrap_or_default()
    ))
}

/// Where figures are not the server's alone.
fn busy_generator(comparison: &Comparison) -> Option<String> {
    let busy: Vec<String> =
        comparison.ways.iter().filter(|way| way.generator_share > BUSY).map(spoken).collect();
    (!busy.is_empty()).then(|| {
        format!(
            "The load generator was busy for more than {:.0} % of the time, so that latencies are partly its own: {}.",
            BUSY * 100.0,
            busy.join("; ")
        )
    })
}

/// The leanest way of a family, in figures.
fn facts(ways: &[&WayFigures]) -> String {
    let Some(leanest) = ways.iter().min_by(|a, b| a.bytes_per_update.total_cmp(&b.bytes_per_update)) else {
        return String::new();
    };
    if leanest.updates == 0 {
        return String::new();
    }
    let which = if ways.len() > 1 { format!("{}: ", leanest.label) } else { String::from("Here: ") };
    let cpu = leanest.cpu_us_per_update.map(|cpu| format!(" and {} of server CPU", number::cpu(cpu)));
    let memory =
        leanest.memory_per_watcher.map(|bytes| format!(", {} of memory a watcher", number::bytes(bytes)));
    format!(
        "{which}99 of 100 updates within {}, {}{} an update{}.{}",
        number::time(leanest.latency.p99_ms),
        number::bytes(leanest.bytes_per_update),
        cpu.unwrap_or_default(),
        memory.unwrap_or_default(),
        losses(ways),
    )
}

/// Which ways of a family need the fallback.
fn losses(ways: &[&WayFigures]) -> String {
    let met = ways.iter().filter_map(|way| Some((*way, way.without_fallback.as_ref()?)));
    let met: Vec<_> = met.filter(|(_, recovery)| recovery.updates_in_outage > 0).collect();
    let losing: Vec<_> = met.iter().copied().filter(|(_, recovery)| recovery.lost > 0).collect();
    match (met.len(), losing.len()) {
        (0, _) => String::new(),
        (_, 0) => String::from(" Cut off without a fallback it lost nothing."),
        (all, losing) if all == losing => {
            String::from(" Cut off without a fallback it lost updates, so it wants one.")
        }
        _ => format!(" Cut off without a fallback, these lost updates: {}.", names(&losing)),
    }
}

fn polling_facts(comparison: &Comparison) -> String {
    [crossovers(comparison), few_watchers(comparison)].into_iter().flatten().collect::<Vec<_>>().join(" ")
}
