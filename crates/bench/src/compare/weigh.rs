//! Figures of what was seen.

use super::copies::Kind;
use super::course::Polls;
use super::figures::{Latency, PollCost, RateFigures, Recovery, WayFigures};
use super::measure::{Measured, Plan};
use super::ways::Way;

/// Points of a distribution at most.
const POINTS: usize = 200;

/// What a way cost. `writing_us` is the server's CPU for an update that nobody follows.
pub(super) fn way(way: Way, plan: &Plan, measured: &Measured, writing_us: Option<f64>) -> WayFigures {
    let updates = updates(plan);
    let steady = &measured.steady;
    let per_update = |bytes: u64| bytes as f64 / steady.watchers as f64 / updates;
    let cpu_us = following_us(plan, measured, writing_us);
    let watchers = plan.shape.watchers as f64;
    WayFigures {
        name: way.name(),
        label: way.label(),
        family: way.family(),
        poll_every_ms: way.every().map(|every| every.as_millis() as u64),
        updates: updates as u64,
        latency: distribution(measured.course.ledger.borrow().latencies_ns()),
        staleness_ms: measured.course.ledger.borrow().staleness_ns(measured.end_ns) / 1e6,
        bytes_per_update: per_update(steady.sent + steady.received),
        sent_bytes_per_update: per_update(steady.sent),
        requests_per_second: steady.requests as f64 / steady.watchers as f64 / measured.seconds,
        cpu_us_per_update: cpu_us.map(|us| us / updates / watchers),
        memory_per_watcher: measured.growth.map(|bytes| bytes.max(0.0) / watchers),
        generator_share: measured.generator_share,
        poll: way.every().map(|_| poll_cost(&measured.course.polls.borrow(), cpu_us)),
        without_fallback: recovery(way, measured, Kind::WithoutFallback),
        with_fallback: recovery(way, measured, Kind::WithFallback),
    }
}

/// The same at another rate.
pub(super) fn rate(way: Way, plan: &Plan, measured: &Measured, writing_us: Option<f64>) -> RateFigures {
    let steady = &measured.steady;
    let cpu_us = following_us(plan, measured, writing_us);
    RateFigures {
        name: way.name(),
        updates_per_second: plan.shape.rate,
        bytes_per_second: (steady.sent + steady.received) as f64 / steady.watchers as f64 / measured.seconds,
        cpu_us_per_second: cpu_us.map(|us| us / plan.shape.watchers as f64 / measured.seconds),
        staleness_ms: measured.course.ledger.borrow().staleness_ns(measured.end_ns) / 1e6,
    }
}

/// Server CPU of an update that nobody follows.
pub(super) fn writing_us(plan: &Plan, measured: &Measured) -> Option<f64> {
    measured.cpu_us.map(|us| us / updates(plan))
}

fn updates(plan: &Plan) -> f64 {
    super::schedule::count(&plan.shape) as f64
}

/// Server CPU less that of writing. Where writing is most of it, the rest may come out below nothing: then it is not known.
fn following_us(plan: &Plan, measured: &Measured, writing_us: Option<f64>) -> Option<f64> {
    Some(measured.cpu_us? - writing_us? * updates(plan)).filter(|&us| us > 0.0)
}

fn poll_cost(polls: &Polls, cpu_us: Option<f64>) -> PollCost {
    let mean = |(count, bytes): (u64, u64)| (count > 0).then(|| bytes as f64 / count as f64);
    PollCost {
        changed_bytes: mean(polls.changed),
        unchanged_bytes: mean(polls.unchanged),
        cpu_us: cpu_us.filter(|_| polls.count() > 0).map(|us| us / polls.count() as f64),
    }
}

fn recovery(way: Way, measured: &Measured, kind: Kind) -> Option<Recovery> {
    let missed = measured.course.ledger.borrow().missed(kind);
    if missed.watchers == 0 {
        return None;
    }
    let mut current_ns = missed.current_again_ns;
    current_ns.sort_unstable();
    let bytes = measured.return_bytes.iter().filter(|(of, _)| *of == kind).map(|(_, bytes)| *bytes);
    Some(Recovery {
        how: way.how(kind == Kind::WithFallback).to_owned(),
        watchers: missed.watchers,
        updates_in_outage: missed.updates_in_outage,
        skipped: missed.skipped,
        lost: missed.lost,
        current_again_p50_ms: current_ns.get(current_ns.len() / 2).map(|&ns| ns as f64 / 1e6),
        current_again_max_ms: current_ns.last().map(|&ns| ns as f64 / 1e6),
        never_current: missed.never_current,
        bytes: bytes.sum::<u64>() as f64 / missed.watchers as f64,
    })
}

/// The distribution of these nanoseconds.
fn distribution(latencies_ns: &[u64]) -> Latency {
    let mut sorted = latencies_ns.to_vec();
    sorted.sort_unstable();
    let count = sorted.len();
    let ms = |index: usize| sorted.get(index).map_or(0.0, |&ns| ns as f64 / 1e6);
    let at = |share: f64| ms(((count as f64 * share) as usize).min(count.saturating_sub(1)));
    let points = count.min(POINTS);
    let point = |point: usize| {
        let index = (point + 1) * count / points - 1;
        (ms(index), (index + 1) as f64 / count as f64)
    };
    Latency { p50_ms: at(0.5), p99_ms: at(0.99), cdf: (0..points).map(point).collect() }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these are exact")]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_rises_to_the_whole() {
        for count in [1, 2, 199, 200, 201, 5_000] {
            let samples: Vec<u64> = (1..=count).rev().map(|ms| ms * 1_000_000).collect();
            let latency = distribution(&samples);
            assert_eq!(latency.cdf.len(), (count as usize).min(200));
            assert!(latency.cdf.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "{count}");
            assert_eq!(latency.cdf.last(), Some(&(count as f64, 1.0)));
            assert_eq!(latency.p50_ms, (count / 2 + 1).min(count) as f64);
            assert!(latency.p99_ms <= count as f64 && latency.p99_ms >= 0.98 * count as f64);
        }
        let nothing = distribution(&[]);
        assert_eq!((nothing.p50_ms, nothing.cdf.len()), (0.0, 0));
    }

    #[test]
    fn a_poll_costs_what_its_kind_costs() {
        let mut polls = Polls::default();
        assert_eq!(
            poll_cost(&polls, Some(5.0)),
            PollCost { changed_bytes: None, unchanged_bytes: None, cpu_us: None }
        );
        for (is_news, bytes) in [(true, 100), (false, 10), (true, 300), (false, 20)] {
            polls.add(is_news, bytes);
        }
        assert_eq!(
            poll_cost(&polls, Some(8.0)),
            PollCost { changed_bytes: Some(200.0), unchanged_bytes: Some(15.0), cpu_us: Some(2.0) }
        );
    }
}
