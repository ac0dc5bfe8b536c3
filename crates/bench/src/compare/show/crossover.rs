//! Polling beside push, computed: at equal staleness, and where the one costs as much as the other.
//!
//! # The model of polling
//!
//! A poll every `T` seconds of resources that are updated `r` times a second in all costs what an answer without news costs, and
//! more when it finds some. Whether it does is taken from the law of independent updates: a poll finds a change with probability
//! `1 - exp(-rT)`, and of `N` resources `N (1 - exp(-rT/N))` different ones have changed. Updates at an even pace would be
//! found by `min(1, rT)` of all polls, which is more, by 0.37 at most. So of the two laws the one that is cheaper for polling is
//! taken, and what is said against polling holds for both.
//!
//! Which bytes an answer has is measured: [`crate::compare::figures::PollCost`]. An answer to `?since=` grows with the number of
//! resources that have changed; the others are whole and do not. What each resource adds is measured for each interval; between
//! two of them it is drawn straight over the logarithm of the interval, and outside of them it is that of the nearest. CPU is drawn
//! straight over logarithms from one interval to the next, and outside of them a poll takes what it takes at the nearest.

use super::super::figures::{Comparison, Family, PollCost, RateFigures, WayFigures};

/// Intervals that are looked at, in seconds. A crossover beyond them is none.
const SHORTEST: f64 = 0.001;
const LONGEST: f64 = 86_400.0;

/// What the product promises at equal staleness, on the default workload, against every kind of polling.
pub(crate) const PROMISED: Ratios = Ratios { bytes: 5.0, cpu: Some(10.0) };

/// One kind of polling: the same request at all its intervals.
#[derive(Debug, Clone)]
pub(crate) struct Kind<'a> {
    /// Its name without an interval, such as `poll-etag`.
    pub(crate) name: &'a str,
    /// What people call it, without an interval.
    pub(crate) label: &'a str,
    /// Its ways, the shortest interval first.
    pub(crate) ways: Vec<Polling<'a>>,
}

/// A way that polls, and its interval.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Polling<'a> {
    /// Seconds between two polls.
    pub(crate) every: f64,
    /// What was found.
    pub(crate) way: &'a WayFigures,
}

/// The kinds of polling in a comparison, in its order.
pub(crate) fn kinds(comparison: &Comparison) -> Vec<Kind<'_>> {
    let mut kinds: Vec<Kind<'_>> = Vec::new();
    for way in comparison.ways.iter().filter(|way| way.family == Family::Polling) {
        let Some(every) = way.poll_every_ms.filter(|every| *every > 0).map(|every| every as f64 / 1e3) else {
            continue;
        };
        let name = stem(&way.name);
        let polling = Polling { every, way };
        match kinds.iter_mut().find(|kind| kind.name == name) {
            Some(kind) => kind.ways.push(polling),
            None => kinds.push(Kind { name, label: without_interval(&way.label), ways: vec![polling] }),
        }
    }
    for kind in &mut kinds {
        kind.ways.sort_by(|a, b| a.every.total_cmp(&b.every));
    }
    kinds
}

/// `poll-etag` of `poll-etag-1s`.
pub(crate) fn stem(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((stem, interval)) if interval.starts_with(|first: char| first.is_ascii_digit()) => stem,
        _ => name,
    }
}

fn without_interval(label: &str) -> &str {
    label.split(", every").next().unwrap_or(label)
}

/// What polling is held against: the combined way, or the way of push with the fewest bytes where that was not measured.
pub(crate) fn push(comparison: &Comparison) -> Option<&WayFigures> {
    let pushed = |way: &&WayFigures| !matches!(way.family, Family::Polling | Family::LongPoll);
    comparison.ways.iter().find(|way| way.family == Family::Combined).or_else(|| {
        comparison.ways.iter().filter(pushed).min_by(|a, b| a.bytes_per_update.total_cmp(&b.bytes_per_update))
    })
}

/// Bytes each second of each watcher, at the rate of the workload.
pub(crate) fn bytes_per_second(comparison: &Comparison, way: &WayFigures) -> f64 {
    way.bytes_per_update * comparison.workload.updates_per_second
}

/// Server CPU each second of each watcher in microseconds, at the rate of the workload.
pub(crate) fn cpu_per_second(comparison: &Comparison, way: &WayFigures) -> Option<f64> {
    way.cpu_us_per_update.map(|cpu| cpu * comparison.workload.updates_per_second)
}

/// How stale copies were on average while nobody was interrupted, in milliseconds: the mean of the latencies, since a copy is stale
/// from a write until that, or something newer, arrives. Interruptions add the same to every way, and would blur what is compared.
pub(crate) fn staleness_ms(way: &WayFigures) -> Option<f64> {
    let cdf = &way.latency.cdf;
    let (first, last) = (cdf.first()?, cdf.last()?);
    let steps = cdf.windows(2).map(|pair| f64::midpoint(pair[0].0, pair[1].0) * (pair[1].1 - pair[0].1));
    (last.1 > 0.0).then(|| (first.0 * first.1 + steps.sum::<f64>()) / last.1)
}

/// How many times as much one way costs as another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ratios {
    /// Of bytes.
    pub(crate) bytes: f64,
    /// Of server CPU, where it can be seen.
    pub(crate) cpu: Option<f64>,
}

impl Ratios {
    fn of(polling: &WayFigures, push: &WayFigures) -> Option<Self> {
        let bytes = ratio(polling.bytes_per_update, push.bytes_per_update)?;
        let cpu = polling.cpu_us_per_update.zip(push.cpu_us_per_update);
        Some(Self { bytes, cpu: cpu.and_then(|(polling, push)| ratio(polling, push)) })
    }

    /// Whether each ratio is at least that of `least`; unknown where CPU cannot be seen.
    pub(crate) fn reach(&self, least: &Self) -> Option<bool> {
        let cpu = match (self.cpu, least.cpu) {
            (_, None) => true,
            (cpu, Some(least)) => cpu? >= least,
        };
        Some(cpu && self.bytes >= least.bytes)
    }
}

/// None where it would say nothing: there is no measured cost below the line.
fn ratio(above: f64, below: f64) -> Option<f64> {
    let ratio = above / below;
    (below > 0.0 && above >= 0.0 && ratio.is_finite()).then_some(ratio)
}

/// A kind of polling by push, as near to equal staleness as was measured, and beyond.
#[derive(Debug, Clone)]
pub(crate) struct AtEqualStaleness<'a> {
    /// The kind, at the shortest interval that was measured of any kind.
    pub(crate) polling: Polling<'a>,
    /// What it is held against.
    pub(crate) push: &'a WayFigures,
    /// What was measured: polling at that interval by push.
    pub(crate) measured: Ratios,
    /// How stale copies were with each, in milliseconds: [`staleness_ms`].
    pub(crate) polling_staleness_ms: f64,
    pub(crate) push_staleness_ms: f64,
    /// The longest interval at which polling could be as fresh as push, in seconds: twice push's staleness, since a copy is on
    /// average half an interval old; never above the interval that was measured.
    pub(crate) fresh_every: f64,
    /// Polling every `fresh_every` by push, if each poll cost what the cheapest measured one of its kind cost, and never less than
    /// `measured`. Of bytes this is a lower bound; of CPU it is an estimate, because polls in a row may be cheaper than lone ones.
    pub(crate) extrapolated: Ratios,
}

impl AtEqualStaleness<'_> {
    /// How many times staler polling still was. At least 1 is what makes `measured` a lower bound of what polling costs at
    /// equal staleness: polls at a shorter interval cost at least as much.
    pub(crate) fn staler(&self) -> f64 {
        self.polling_staleness_ms / self.push_staleness_ms
    }

    /// Whether [`PROMISED`] holds against this kind; unknown where CPU cannot be seen or where polling was not staler.
    pub(crate) fn keeps_promise(&self) -> Option<bool> {
        if self.staler() < 1.0 { None } else { self.extrapolated.reach(&PROMISED) }
    }
}

/// Every kind of polling that was measured at the shortest interval, beside push.
pub(crate) fn at_equal_staleness<'a>(comparison: &'a Comparison) -> Vec<AtEqualStaleness<'a>> {
    let kinds = kinds(comparison);
    let shortest =
        kinds.iter().filter_map(|kind| kind.ways.first()).map(|polling| polling.every).reduce(f64::min);
    let Some((push, shortest)) = push(comparison).zip(shortest) else {
        return Vec::new();
    };
    let Some(push_staleness_ms) = staleness_ms(push).filter(|staleness| *staleness > 0.0) else {
        return Vec::new();
    };
    let beside = |kind: &Kind<'a>| {
        let polling = *kind.ways.first().filter(|polling| polling.every <= shortest)?;
        let polling_staleness_ms = staleness_ms(polling.way)?;
        let measured = Ratios::of(polling.way, push)?;
        let fresh_every = polling.every.min(2.0 * push_staleness_ms / 1e3);
        let least = |cost: Option<f64>, push: Option<f64>| ratio(cost? / fresh_every, push?);
        let bytes = least(
            cheapest(kind, |poll| least_of(poll.changed_bytes, poll.unchanged_bytes)),
            Some(bytes_per_second(comparison, push)),
        );
        let cpu = least(cheapest(kind, |poll| poll.cpu_us), cpu_per_second(comparison, push));
        let extrapolated = Ratios {
            bytes: bytes.map_or(measured.bytes, |bytes| bytes.max(measured.bytes)),
            cpu: measured.cpu.map(|measured| cpu.map_or(measured, |cpu| cpu.max(measured))),
        };
        Some(AtEqualStaleness {
            polling,
            push,
            measured,
            polling_staleness_ms,
            push_staleness_ms,
            fresh_every,
            extrapolated,
        })
    };
    kinds.iter().filter_map(beside).collect()
}

fn least_of(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).reduce(f64::min)
}

/// The least cost of a poll of this kind, over all its intervals.
fn cheapest(kind: &Kind<'_>, cost: impl Fn(&PollCost) -> Option<f64>) -> Option<f64> {
    kind.ways
        .iter()
        .filter_map(|polling| cost(polling.way.poll.as_ref()?))
        .filter(|cost| *cost > 0.0)
        .reduce(f64::min)
}

/// From which interval on polling costs no more than push.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Crossover {
    /// From this one on, in seconds.
    From(f64),
    /// At every interval that was looked at, a millisecond and more.
    Always,
    /// At none, up to a day.
    Never,
}

/// A kind of polling, what it costs at any interval, and from which on that is no more than push.
#[derive(Debug)]
pub(crate) struct Crossovers<'a> {
    /// The kind.
    pub(crate) kind: Kind<'a>,
    /// Its cost.
    pub(crate) model: Model,
    /// Of bytes; none if push moved none.
    pub(crate) bytes: Option<Crossover>,
    /// Of server CPU; none where it cannot be seen.
    pub(crate) cpu: Option<Crossover>,
}

/// Every kind of polling whose polls were counted, beside push.
pub(crate) fn crossovers(comparison: &Comparison) -> Vec<Crossovers<'_>> {
    let push = push(comparison);
    let is_cost = |cost: &f64| cost.is_finite() && *cost > 0.0;
    let push_bytes = push.map(|push| bytes_per_second(comparison, push)).filter(is_cost);
    let push_cpu = push.and_then(|push| cpu_per_second(comparison, push)).filter(is_cost);
    let beside = |kind| {
        let model = Model::of(comparison, &kind)?;
        let bytes = push_bytes.map(|push| model.bytes_crossover(push));
        let cpu = push_cpu.and_then(|push| model.cpu_crossover(push));
        Some(Crossovers { kind, model, bytes, cpu })
    };
    kinds(comparison).into_iter().filter_map(beside).collect()
}

/// What polling of one kind costs at any interval.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    rate: f64,
    resources: f64,
    /// Bytes of a poll without news.
    idle_bytes: f64,
    /// What news adds.
    news: News,
    /// Logarithms of intervals, rising, and of the CPU each second there.
    cpu: Vec<(f64, f64)>,
}

#[derive(Debug, Clone)]
enum News {
    /// So many bytes, whatever has changed.
    Whole(f64),
    /// Logarithms of intervals, rising, and bytes for each resource that has changed there.
    Each(Vec<(f64, f64)>),
}

impl Model {
    /// From what was measured of this kind; none if no poll was counted.
    pub(crate) fn of(comparison: &Comparison, kind: &Kind<'_>) -> Option<Self> {
        let rate = comparison.workload.updates_per_second;
        let resources = (comparison.workload.resources as f64).max(1.0);
        let costs: Vec<(f64, &PollCost)> = kind
            .ways
            .iter()
            .filter_map(|polling| Some((polling.every, polling.way.poll.as_ref()?)))
            .collect();
        let changed: Vec<(f64, f64)> =
            costs.iter().filter_map(|(every, poll)| Some((*every, poll.changed_bytes?))).collect();
        let unchanged = mean(costs.iter().filter_map(|(_, poll)| poll.unchanged_bytes));
        let whole = mean(changed.iter().map(|(_, bytes)| *bytes));
        let found = |every: f64| {
            // How many different resources an answer with news has.
            let share = 1.0 - (-rate * every).exp();
            if share > 0.0 { different(rate, resources, every) / share } else { 1.0 }
        };
        let points: Vec<(f64, f64)> = changed.iter().map(|(every, bytes)| (found(*every), *bytes)).collect();
        let (idle_bytes, news) = match (is_since(kind), unchanged, whole) {
            (true, idle, Some(whole)) => match idle.or_else(|| Some(line(&points)?.0)) {
                Some(idle) => {
                    let each =
                        |(every, bytes): &(f64, f64)| (every.ln(), ((bytes - idle) / found(*every)).max(0.0));
                    (idle, News::Each(changed.iter().map(each).collect()))
                }
                None => (whole, News::Whole(0.0)),
            },
            (false, Some(idle), Some(whole)) => (idle, News::Whole((whole - idle).max(0.0))),
            // An answer that is whole is as long without news.
            (_, idle, whole) => (idle.or(whole)?, News::Whole(0.0)),
        };
        let cpu = kind.ways.iter().filter_map(|polling| {
            let cost = cpu_per_second(comparison, polling.way).filter(|cost| *cost > 0.0)?;
            Some((polling.every.ln(), cost.ln()))
        });
        let cpu = cpu.collect();
        Some(Self { rate, resources, idle_bytes, news, cpu })
    }

    /// Bytes each second of a watcher that polls every so many seconds.
    pub(crate) fn bytes_per_second(&self, every: f64) -> f64 {
        let news = match &self.news {
            News::Whole(bytes) => bytes * (1.0 - (-self.rate * every).exp()),
            News::Each(points) => {
                interpolate(points, every.ln()).unwrap_or(0.0) * different(self.rate, self.resources, every)
            }
        };
        (self.idle_bytes + news) / every
    }

    /// Server CPU each second of such a watcher, in microseconds, where it can be seen.
    pub(crate) fn cpu_per_second(&self, every: f64) -> Option<f64> {
        let (first, last) = (self.cpu.first()?.0, self.cpu.last()?.0);
        let nearest = every.ln().clamp(first, last);
        // A poll costs what it costs at the nearest interval: twice as many, twice the cost.
        Some((interpolate(&self.cpu, nearest)? - (every.ln() - nearest)).exp())
    }

    /// From which interval on it moves no more bytes than so many a second.
    pub(crate) fn bytes_crossover(&self, push: f64) -> Crossover {
        crossover(|every| self.bytes_per_second(every), push)
    }

    /// From which interval on it takes no more CPU than so many microseconds a second; none where it cannot be seen.
    pub(crate) fn cpu_crossover(&self, push: f64) -> Option<Crossover> {
        (!self.cpu.is_empty())
            .then(|| crossover(|every| self.cpu_per_second(every).unwrap_or(f64::INFINITY), push))
    }
}

fn is_since(kind: &Kind<'_>) -> bool {
    kind.name.contains("since")
}

/// How many different resources of so many are expected to change in so many seconds.
fn different(rate: f64, resources: f64, seconds: f64) -> f64 {
    resources * (1.0 - (-rate * seconds / resources).exp())
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// The line of least squares through points, if it rises from no less than zero.
fn line(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let (x, y) = (mean(points.iter().map(|point| point.0))?, mean(points.iter().map(|point| point.1))?);
    let square: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / square;
    let start = y - slope * x;
    (slope.is_finite() && slope >= 0.0 && start >= 0.0).then_some((start, slope))
}

/// The value at `x` between rising points; that of the nearest outside of them.
fn interpolate(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let after = points.iter().position(|point| point.0 >= x);
    match after {
        None => points.last().map(|point| point.1),
        Some(0) => points.first().map(|point| point.1),
        Some(index) => {
            let (from, to) = (points[index - 1], points[index]);
            Some(from.1 + (to.1 - from.1) * (x - from.0) / (to.0 - from.0))
        }
    }
}

/// The shortest interval from which on `cost` stays at or below `limit`, to a ten-thousandth.
fn crossover(cost: impl Fn(f64) -> f64, limit: f64) -> Crossover {
    const STEPS: i32 = 400;
    let at = |step: i32| SHORTEST * (LONGEST / SHORTEST).powf(f64::from(step) / f64::from(STEPS));
    let fits = |every: f64| cost(every) <= limit;
    if !fits(LONGEST) {
        return Crossover::Never;
    }
    let Some(last) = (0..=STEPS).rev().find(|step| !fits(at(*step))) else {
        return Crossover::Always;
    };
    let (mut low, mut high) = (at(last), at((last + 1).min(STEPS)));
    while high / low > 1.0001 {
        let middle = (low * high).sqrt();
        if fits(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Crossover::From(high)
}

/// Where, over rates of updates, polling at a fixed interval and push cost the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RateCrossover {
    /// Updates each second.
    pub(crate) rate: f64,
    /// Whether above it polling is the cheaper one, or below.
    pub(crate) polling_above: bool,
}

/// What `way` cost at each rate that was measured, rising, the workload's own included.
pub(crate) fn over_rates(
    comparison: &Comparison,
    way: &WayFigures,
    cost: impl Fn(&RateFigures) -> Option<f64>,
    own: Option<f64>,
) -> Vec<(f64, f64)> {
    let of_way = comparison.rates.iter().filter(|rate| rate.name == way.name);
    let mut points: Vec<(f64, f64)> = of_way
        .filter_map(|rate| Some((rate.updates_per_second, cost(rate)?)))
        .chain(own.map(|own| (comparison.workload.updates_per_second, own)))
        .filter(|(rate, cost)| *rate > 0.0 && *cost > 0.0 && cost.is_finite())
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    // The workload's rate may have been measured twice; its own run was the longer one.
    points.dedup_by(|later, earlier| {
        let same = later.0 / earlier.0 < 1.01;
        if same && own == Some(later.1) {
            *earlier = *later;
        }
        same
    });
    points
}

/// Where polling's bytes cross push's between the rates that were measured: straight lines over logarithms, nothing beyond them.
pub(crate) fn rate_crossovers(comparison: &Comparison, polling: &WayFigures) -> Vec<RateCrossover> {
    let Some(push) = push(comparison) else {
        return Vec::new();
    };
    let logarithms = |way: &WayFigures| -> Vec<(f64, f64)> {
        let own = Some(bytes_per_second(comparison, way));
        let points = over_rates(comparison, way, |rate| Some(rate.bytes_per_second), own);
        points.iter().map(|(rate, bytes)| (rate.ln(), bytes.ln())).collect()
    };
    let (polling, push) = (logarithms(polling), logarithms(push));
    let ends = |points: &[(f64, f64)]| Some((points.first()?.0, points.last()?.0));
    let Some((polling_ends, push_ends)) = ends(&polling).zip(ends(&push)) else {
        return Vec::new();
    };
    let (from, to) = (polling_ends.0.max(push_ends.0), polling_ends.1.min(push_ends.1));
    let mut rates: Vec<f64> =
        polling.iter().chain(&push).map(|point| point.0).filter(|rate| (from..=to).contains(rate)).collect();
    rates.sort_by(f64::total_cmp);
    let excess: Vec<(f64, f64)> = rates
        .into_iter()
        .filter_map(|rate| Some((rate, interpolate(&polling, rate)? - interpolate(&push, rate)?)))
        .collect();
    let crossing = |pair: &[(f64, f64)]| {
        let ((from, before), (to, after)) = (pair[0], pair[1]);
        let crosses = (before > 0.0) != (after > 0.0);
        crosses.then(|| RateCrossover {
            rate: (from + (to - from) * before / (before - after)).exp(),
            polling_above: before > 0.0,
        })
    };
    excess.windows(2).filter_map(crossing).collect()
}

#[cfg(test)]
mod tests;
