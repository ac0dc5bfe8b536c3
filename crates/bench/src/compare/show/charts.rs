//! The pictures of a comparison.

use super::columns::{brief, families, spoken, title};
use super::crossover::{self, Crossover, Crossovers, Polling};
use super::number;
use super::plot::{Axis, Note, Plot, Scale, Series};
use super::rows::{Mark, Row, Rows, Shape};
use crate::compare::figures::{Comparison, Family, Recovery, WayFigures};

/// Colours and strokes of a picture, light and dark.
pub(super) const STYLE: &str = include_str!("chart.css");

/// A picture and what is said below it.
pub(crate) struct Chart {
    /// A name for a file, of letters and `-`.
    pub(crate) name: &'static str,
    /// What is to be seen.
    pub(super) caption: String,
    /// The `svg` element.
    pub(super) svg: String,
}

impl Chart {
    /// The picture as a file of its own.
    pub(crate) fn file(&self) -> String {
        let own = format!(
            "</desc>\n<style>\n{STYLE}</style>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n"
        );
        self.svg.replacen("</desc>\n", &own, 1)
    }
}

/// From a write to its arrival, of all ways.
pub(super) fn latency(comparison: &Comparison) -> Option<Chart> {
    let mut series = Vec::new();
    for (family, ways) in families(comparison) {
        if family == Family::Polling {
            series.extend(polled(comparison));
        } else {
            series
                .extend(ways.iter().enumerate().map(|(index, way)| arrivals(way, way.label.clone(), index)));
        }
    }
    let kinds = crossover::kinds(comparison);
    let first = kinds.first().map(|kind| kind.ways.as_slice()).unwrap_or_default();
    let notes = first.iter().map(|polling| Note {
        at: (polling.way.latency.p50_ms, 0.5),
        text: number::interval(polling.every * 1e3),
        class: class(Family::Polling),
        drops: false,
    });
    let words = "What share of all updates had reached a watcher after which time, with watchers that were not interrupted. A line \
                 further left is faster; the time is logarithmic.";
    distributions(
        ("latency", "Latency of every way", words),
        latency_words(comparison),
        series,
        notes.collect(),
    )
}

/// The same of the ways that are told at once, near enough to see them apart. None if that is all there is.
pub(super) fn latency_of_push(comparison: &Comparison) -> Option<Chart> {
    let mut series = Vec::new();
    for (_, ways) in families(comparison).into_iter().filter(|(family, _)| *family != Family::Polling) {
        series.extend(ways.iter().enumerate().map(|(index, way)| arrivals(way, way.label.clone(), index)));
    }
    if series.len() < 2 || series.len() == comparison.ways.len() {
        return None;
    }
    let words = "The same without polling: the ways that are told at once.";
    let title = "Latency of the ways that are told at once";
    distributions(("latency-push", title, words), latency_words(comparison), series, Vec::new())
}

fn distributions(
    (name, title, caption): (&'static str, &str, &str),
    description: String,
    series: Vec<Series>,
    notes: Vec<Note>,
) -> Option<Chart> {
    let times = series.iter().flat_map(|series| &series.line).map(|point| point.0);
    let x = Axis::around("from a write to its arrival", times, time_tick)?;
    let y = Axis {
        name: String::from("updates that have arrived"),
        scale: Scale::Linear,
        from: 0.0,
        to: 1.0,
        tick: |share| format!("{:.0} %", share * 100.0),
    };
    let plot = Plot { id: name, title: title.to_owned(), description, x, y, series, notes };
    Some(Chart { name, caption: caption.to_owned(), svg: plot.svg() })
}

/// One line for each way that polls, one name for each kind.
fn polled(comparison: &Comparison) -> Vec<Series> {
    let mut series = Vec::new();
    for (place, kind) in crossover::kinds(comparison).iter().enumerate() {
        let every = |polling: &Polling<'_>| number::interval(polling.every * 1e3);
        let intervals: Vec<String> = kind.ways.iter().map(every).collect();
        for (index, polling) in kind.ways.iter().enumerate() {
            let name = if index == 0 {
                format!("{}: {}", brief(kind.label), intervals.join(", "))
            } else {
                String::new()
            };
            series.push(arrivals(polling.way, name, place));
        }
    }
    series
}

fn arrivals(way: &WayFigures, name: String, dash: usize) -> Series {
    Series {
        name,
        class: class(way.family),
        dash,
        is_strong: way.family == Family::Combined,
        line: way.latency.cdf.clone(),
        points: Vec::new(),
    }
}

fn latency_words(comparison: &Comparison) -> String {
    let medians = families(comparison).into_iter().filter_map(|(family, ways)| {
        let medians = ways.iter().map(|way| way.latency.p50_ms).filter(|median| median.is_finite());
        let (low, high) =
            medians.fold((f64::INFINITY, 0.0_f64), |(low, high), median| (low.min(median), high.max(median)));
        let range = if low < high {
            format!("{} to {}", number::time(low), number::time(high))
        } else {
            number::time(low)
        };
        low.is_finite().then(|| format!("{}: {range}", title(family)))
    });
    format!("Cumulative distributions. Medians by family: {}.", medians.collect::<Vec<_>>().join("; "))
}

/// Bytes by the rate of updates.
pub(super) fn rates(comparison: &Comparison) -> Option<Chart> {
    let lines: Vec<(&WayFigures, Vec<(f64, f64)>)> = comparison
        .ways
        .iter()
        .filter(|way| comparison.rates.iter().any(|rate| rate.name == way.name))
        .map(|way| {
            let own = crossover::bytes_per_second(comparison, way);
            (way, crossover::over_rates(comparison, way, |rate| Some(rate.bytes_per_second), Some(own)))
        })
        .filter(|(_, line)| line.len() > 1)
        .collect();
    let points = || lines.iter().flat_map(|(_, line)| line);
    let x = Axis::around("updates per second, over all resources", points().map(|point| point.0), rate_tick)?;
    let y = Axis::around("bytes per second of a watcher", points().map(|point| point.1), number_tick)?;
    let mut places: Vec<Family> = Vec::new();
    let series = lines.iter().map(|(way, line)| {
        let dash = places.iter().filter(|family| **family == way.family).count();
        places.push(way.family);
        Series {
            name: way.label.clone(),
            class: class(way.family),
            dash,
            is_strong: way.family == Family::Combined,
            line: line.clone(),
            points: line.clone(),
        }
    });
    let words = lines.iter().filter_map(|(way, line)| {
        let (first, last) = (line.first()?, line.last()?);
        Some(format!("{}: {}/s to {}/s", way.label, number::bytes(first.1), number::bytes(last.1)))
    });
    let plot = Plot {
        id: "rates",
        title: String::from("Bytes by the rate of updates"),
        description: format!(
            "From the lowest rate to the highest: {}.",
            words.collect::<Vec<_>>().join("; ")
        ),
        x,
        y,
        series: series.collect(),
        notes: Vec::new(),
    };
    Some(Chart {
        name: "rates",
        caption: String::from(
            "What a watcher moves in both directions, by how much is written. Push pays for each update. Polling pays for each poll, \
             whether there is news or not, but never for what was overwritten between two polls. Points were measured; both axes are \
             logarithmic.",
        ),
        svg: plot.svg(),
    })
}

/// Bytes of polling by its interval, beside push.
pub(super) fn crossover_of_bytes(comparison: &Comparison) -> Option<Chart> {
    let push = crossover::push(comparison)?;
    let cost = Cost {
        id: "crossover-bytes",
        title: "Bytes of polling by its interval",
        unit: "bytes per second of a watcher",
        of_push: crossover::bytes_per_second(comparison, push),
        of_way: |comparison, way| Some(crossover::bytes_per_second(comparison, way)),
        of_model: |found, every| Some(found.model.bytes_per_second(every)),
        crossover: |found| found.bytes,
    };
    cost.chart(comparison, push)
}

/// CPU of polling by its interval, beside push.
pub(super) fn crossover_of_cpu(comparison: &Comparison) -> Option<Chart> {
    let push = crossover::push(comparison)?;
    let cost = Cost {
        id: "crossover-cpu",
        title: "Server CPU of polling by its interval",
        unit: "µs of server CPU per second of a watcher",
        of_push: crossover::cpu_per_second(comparison, push)?,
        of_way: crossover::cpu_per_second,
        of_model: |found, every| found.model.cpu_per_second(every),
        crossover: |found| found.cpu,
    };
    cost.chart(comparison, push)
}

/// What is drawn over intervals.
struct Cost {
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    of_push: f64,
    of_way: fn(&Comparison, &WayFigures) -> Option<f64>,
    of_model: fn(&Crossovers<'_>, f64) -> Option<f64>,
    crossover: fn(&Crossovers<'_>) -> Option<Crossover>,
}

impl Cost {
    fn chart(&self, comparison: &Comparison, push: &WayFigures) -> Option<Chart> {
        const STEPS: i32 = 60;
        let found = crossover::crossovers(comparison);
        let from_each = |found: &Crossovers<'_>| match (self.crossover)(found) {
            Some(Crossover::From(every)) => Some(every),
            _ => None,
        };
        let measured = found.iter().flat_map(|found| &found.kind.ways).map(|polling| polling.every);
        let marks = found.iter().filter_map(from_each);
        // A little further than what there is to be seen.
        let seen = measured.chain(marks).flat_map(|every| [every / 2.0, every * 2.0]);
        let x = Axis::around("interval between two polls", seen, |seconds| time_tick(seconds * 1e3))?;
        let at = |step: i32| x.from * (x.to / x.from).powf(f64::from(step) / f64::from(STEPS));
        let curve = |found: &Crossovers<'_>| -> Vec<(f64, f64)> {
            (0..=STEPS).map(at).filter_map(|every| Some((every, (self.of_model)(found, every)?))).collect()
        };
        let curves: Vec<Vec<(f64, f64)>> = found.iter().map(curve).collect();
        let costs = curves.iter().flatten().map(|point| point.1).chain([self.of_push]);
        let y = Axis::around(self.unit, costs, number_tick)?;
        let mut series: Vec<Series> = found
            .iter()
            .zip(curves)
            .enumerate()
            .map(|(place, (found, line))| self.series(comparison, found, line, place))
            .collect();
        series.push(Series {
            name: spoken(push),
            class: class(push.family),
            dash: 0,
            is_strong: true,
            line: vec![(x.from, self.of_push), (x.to, self.of_push)],
            points: Vec::new(),
        });
        let plot = Plot {
            id: self.id,
            title: self.title.to_owned(),
            description: self.words(push, &found),
            x,
            y,
            series,
            notes: self.notes(found.iter().filter_map(from_each).collect()),
        };
        Some(Chart {
            name: self.id,
            caption: String::from(
                "Points were measured; curves are computed from what a poll with and without news costs, and rings are where polling \
                 begins to cost less than push. A copy is half the interval old on average. Both axes are logarithmic.",
            ),
            svg: plot.svg(),
        })
    }

    fn series(
        &self,
        comparison: &Comparison,
        found: &Crossovers<'_>,
        line: Vec<(f64, f64)>,
        place: usize,
    ) -> Series {
        let point = |polling: &Polling<'_>| Some((polling.every, (self.of_way)(comparison, polling.way)?));
        Series {
            name: format!("{}{}", brief(found.kind.label), cheaper((self.crossover)(found))),
            class: class(Family::Polling),
            dash: place,
            is_strong: false,
            line,
            points: found.kind.ways.iter().filter_map(point).filter(|point| point.1 > 0.0).collect(),
        }
    }

    /// Marks at crossovers; one word for those that nearly are one.
    fn notes(&self, mut crossovers: Vec<f64>) -> Vec<Note> {
        crossovers.sort_by(f64::total_cmp);
        let mut last = 0.0;
        let note = |every: f64| {
            let text = if every / last > 1.1 { number::time(every * 1e3) } else { String::new() };
            if !text.is_empty() {
                last = every;
            }
            Note { at: (every, self.of_push), text, class: class(Family::Polling), drops: true }
        };
        crossovers.into_iter().map(note).collect()
    }

    fn words(&self, push: &WayFigures, found: &[Crossovers<'_>]) -> String {
        let each =
            found.iter().map(|found| format!("{}{}", found.kind.label, cheaper((self.crossover)(found))));
        format!(
            "{}, falling as the interval grows, beside {} at {}. {}.",
            self.title,
            spoken(push),
            number::digits(self.of_push),
            each.collect::<Vec<_>>().join("; ")
        )
    }
}

fn cheaper(crossover: Option<Crossover>) -> String {
    match crossover {
        None => String::new(),
        Some(Crossover::From(every)) => format!(": less from {}", number::time(every * 1e3)),
        Some(Crossover::Always) => String::from(": less at any interval"),
        Some(Crossover::Never) => String::from(": more up to a day"),
    }
}

/// Updates that were lost, without a fallback and with it.
pub(super) fn lost(comparison: &Comparison) -> Option<Chart> {
    let share = |recovery: &Recovery| recovery.lost as f64 / recovery.updates_in_outage as f64;
    let counts = |recovery: &&Recovery| recovery.updates_in_outage > 0;
    let recoveries = comparison.ways.iter().flat_map(|way| [&way.without_fallback, &way.with_fallback]);
    let most = recoveries.flatten().filter(counts).map(share).fold(0.0, f64::max);
    let end = [0.1, 0.25, 0.5].into_iter().find(|end| most <= *end).unwrap_or(1.0);
    let row = |way: &WayFigures| {
        let without = way.without_fallback.as_ref().filter(counts);
        let with = way.with_fallback.as_ref().filter(counts);
        // Who always asks for the state has nothing to leave out.
        let tells = without.is_some() || with.is_some_and(|recovery| recovery.lost > 0);
        let marks = [("off", without), ("on", with)].into_iter().filter_map(|(class, recovery)| {
            let recovery = recovery?;
            let text = number::share(recovery.lost, recovery.updates_in_outage);
            Some(Mark { class, shape: Shape::Bar(0.0, share(recovery) / end), text })
        });
        tells.then(|| Row { name: way.label.clone(), marks: marks.collect() })
    };
    let rows: Vec<Row> = comparison.ways.iter().filter_map(row).collect();
    if rows.is_empty() {
        return None;
    }
    let words = rows.iter().map(|row| {
        let marks: Vec<String> =
            row.marks.iter().map(|mark| format!("{} {}", fallback(mark.class), mark.text)).collect();
        format!("{}: {}", row.name, marks.join(", "))
    });
    let chart = Rows {
        id: "lost",
        title: String::from("Updates lost in an outage"),
        description: format!("{}.", words.collect::<Vec<_>>().join("; ")),
        keys: keys(),
        ticks: [0.0, 0.5, 1.0]
            .map(|place| (place, format!("{} %", number::given(place * end * 100.0))))
            .to_vec(),
        lines: rows,
    };
    Some(Chart {
        name: "lost",
        caption: String::from(
            "The share of what was written while a watcher was cut off of which it never learned, nor of anything newer of the same \
             resource. Ways that ask for the state each time have nothing to lose and are left out.",
        ),
        svg: chart.svg(),
    })
}

/// How long it took to be current again.
pub(super) fn recovery(comparison: &Comparison) -> Option<Chart> {
    let recoveries =
        |way: &WayFigures| [("off", way.without_fallback.clone()), ("on", way.with_fallback.clone())];
    let times = comparison
        .ways
        .iter()
        .flat_map(recoveries)
        .filter_map(|(_, recovery)| recovery)
        .flat_map(|recovery| [recovery.current_again_p50_ms, recovery.current_again_max_ms]);
    let axis = Axis::around("", times.flatten(), time_tick)?;
    let row = |way: &WayFigures| {
        let marks: Vec<Mark> = recoveries(way)
            .into_iter()
            .filter_map(|(class, recovery)| Some((class, recovery.filter(|recovery| recovery.watchers > 0)?)))
            .map(|(class, recovery)| range(&axis, class, &recovery))
            .collect();
        (!marks.is_empty()).then(|| Row { name: way.label.clone(), marks })
    };
    let rows: Vec<Row> = comparison.ways.iter().filter_map(row).collect();
    let words = rows.iter().map(|row| {
        let marks: Vec<String> =
            row.marks.iter().map(|mark| format!("{} {}", fallback(mark.class), mark.text)).collect();
        format!("{}: {}", row.name, marks.join(", "))
    });
    let chart = Rows {
        id: "recovery",
        title: String::from("Current again after an outage"),
        description: format!("{}.", words.collect::<Vec<_>>().join("; ")),
        keys: keys(),
        ticks: axis.places(),
        lines: rows,
    };
    Some(Chart {
        name: "recovery",
        caption: String::from(
            "From the return of a watcher until all its copies were as new as the server's: the median, and a line up to the slowest. \
             The time is logarithmic.",
        ),
        svg: chart.svg(),
    })
}

fn range(axis: &Axis, class: &'static str, recovery: &Recovery) -> Mark {
    let never = match recovery.never_current {
        0 => String::new(),
        never => format!("{never} of {} never", recovery.watchers),
    };
    match (recovery.current_again_p50_ms, recovery.current_again_max_ms) {
        (Some(median), longest) => {
            let longest = longest.unwrap_or(median).max(median);
            let comma = if never.is_empty() { "" } else { ", " };
            let text = format!("{}{comma}{never}", number::time(median));
            Mark { class, shape: Shape::Range(axis.place(median), axis.place(longest)), text }
        }
        (None, _) => Mark { class, shape: Shape::Word, text: never },
    }
}

fn keys() -> Vec<(&'static str, String)> {
    vec![("off", String::from("without fallback")), ("on", String::from("with fallback"))]
}

fn fallback(class: &str) -> &'static str {
    if class == "off" { "without fallback" } else { "with fallback" }
}

/// The class of a family's colour.
pub(super) const fn class(family: Family) -> &'static str {
    match family {
        Family::Polling => "polling",
        Family::LongPoll => "longpoll",
        Family::Mqtt => "mqtt",
        Family::WebSocket => "websocket",
        Family::Sse => "sse",
        Family::SignalR => "signalr",
        Family::Combined => "combined",
    }
}

fn time_tick(milliseconds: f64) -> String {
    match milliseconds {
        ms if ms < 0.9 => format!("{} µs", number::given(ms * 1e3)),
        ms if ms < 900.0 => format!("{} ms", number::given(ms)),
        // Powers of ten stay powers of ten: 100 s, not 1.67 min.
        ms => format!("{} s", number::given(ms / 1e3)),
    }
}

fn rate_tick(rate: f64) -> String {
    number::given(rate)
}

fn number_tick(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", number::given(value / 1e6)),
        value if value >= 1e3 => format!("{} k", number::given(value / 1e3)),
        value => number::given(value),
    }
}
