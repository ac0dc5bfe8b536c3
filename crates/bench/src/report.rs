//! What is shown: progress while it runs, and figures beside their floors with a verdict.

use std::io::{IsTerminal, Write};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// What is promised of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// Value by floor or peer, at most.
    RatioAtMost(f64),
    /// Value, at most.
    AtMost(f64),
    /// Value, at least.
    AtLeast(f64),
    /// Nothing; it is shown for comparison.
    None,
}

/// How a figure stands to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// The median reaches it.
    Met,
    /// The median misses it by less than the repeats differ.
    WithinNoise,
    /// Missed.
    Missed,
    /// There is no target, or nothing to hold against it.
    None,
}

/// One figure, with a sample a repeat.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    scenario: String,
    name: String,
    unit: &'static str,
    target: Target,
    values: Vec<f64>,
    floor_name: String,
    floors: Vec<f64>,
    /// What else is to be said.
    pub(crate) remark: String,
}

impl Row {
    /// Adds a sample.
    pub(crate) fn value(&mut self, value: f64) -> &mut Self {
        self.values.push(value);
        self
    }

    /// Adds a sample of the floor or peer beside it.
    pub(crate) fn floor(&mut self, name: &str, value: f64) -> &mut Self {
        name.clone_into(&mut self.floor_name);
        self.floors.push(value);
        self
    }

    fn ratios(&self) -> impl Iterator<Item = f64> + Clone {
        self.values.iter().zip(&self.floors).map(|(value, floor)| value / floor)
    }

    /// What is held against the target: value or ratio, its spread, the limit, and whether more is better.
    fn measured(&self) -> Option<(f64, f64, f64, bool)> {
        let values = self.values.iter().copied();
        let of_values = |limit, more| (median(values.clone()), noise(values.clone()), limit, more);
        let of_ratios = |limit, more| (median(self.ratios()), noise(self.ratios()), limit, more);
        let measured = match self.target {
            Target::RatioAtMost(limit) => of_ratios(limit, false),
            Target::AtMost(limit) => of_values(limit, false),
            Target::AtLeast(limit) => of_values(limit, true),
            Target::None => return None,
        };
        let is_ratio = matches!(self.target, Target::RatioAtMost(_));
        let has_floor = !is_ratio || !self.floors.is_empty();
        (has_floor && !self.values.is_empty()).then_some(measured)
    }

    /// How it stands.
    pub(crate) fn verdict(&self) -> Verdict {
        let Some((value, noise, limit, more)) = self.measured() else {
            return Verdict::None;
        };
        let missed_by = if more { limit - value } else { value - limit };
        if missed_by <= 0.0 {
            Verdict::Met
        } else if missed_by <= noise {
            Verdict::WithinNoise
        } else {
            Verdict::Missed
        }
    }

    /// The target in words.
    fn wanted(&self) -> String {
        match self.target {
            Target::RatioAtMost(limit) => format!("ratio ≤ {limit}"),
            Target::AtMost(limit) => format!("≤ {limit} {}", self.unit),
            Target::AtLeast(limit) => format!("≥ {limit} {}", self.unit),
            Target::None => String::new(),
        }
    }

    fn line(&self) -> String {
        let shown = |values: &[f64]| match values {
            [] => String::from("-"),
            [one] => format!("{} {}", digits(*one), self.unit),
            many => {
                let (middle, noise) = (median(many.iter().copied()), spread(many.iter().copied()));
                format!("{} ± {} {}", digits(middle), digits(noise), self.unit)
            }
        };
        let floor = if self.floors.is_empty() {
            String::new()
        } else {
            format!("{}: {}", self.floor_name, shown(&self.floors))
        };
        let ratio = if self.ratios().next().is_some() {
            format!("{:.2}", median(self.ratios()))
        } else {
            String::new()
        };
        let target = self.wanted();
        let verdict = match self.verdict() {
            Verdict::Met => "met",
            Verdict::WithinNoise => "missed, within noise",
            Verdict::Missed => "MISSED",
            Verdict::None => "",
        };
        format!(
            "| {} | {} | {floor} | {ratio} | {target} | {verdict} | {} |",
            self.name,
            shown(&self.values),
            self.remark
        )
    }
}

/// Three significant digits, or whole numbers.
fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// All figures of a run, in the order in which they first came.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    all: Vec<Row>,
    scenario: String,
    /// Where the rows of the scenario at hand begin: names repeat from one scenario to the next.
    from: usize,
}

/// How many targets came out how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Tally {
    met: usize,
    within_noise: usize,
    missed: usize,
    /// There was nothing to hold against them: a peer is not installed.
    left_out: usize,
}

/// Everything for a program: samples, what they come to, and where they were taken.
#[derive(Serialize)]
struct Document<'a> {
    version: &'static str,
    cores: usize,
    /// As `/proc/loadavg` says it at the end.
    load_average: String,
    targets: Tally,
    rows: Vec<Judged<'a>>,
}

#[derive(Serialize)]
struct Judged<'a> {
    #[serde(flatten)]
    row: &'a Row,
    median: f64,
    spread: f64,
    ratio: Option<f64>,
    verdict: Verdict,
}

impl Rows {
    /// The next scenario begins.
    pub(crate) fn next_scenario(&mut self, name: &str) {
        name.clone_into(&mut self.scenario);
        self.from = self.all.len();
    }

    /// Everything as JSON.
    pub(crate) fn json(&self) -> Result<String> {
        let judged = |row| {
            let Row { values, .. }: &Row = row;
            Judged {
                row,
                median: median(values.iter().copied()),
                spread: spread(values.iter().copied()),
                ratio: row.ratios().next().map(|_| median(row.ratios())),
                verdict: row.verdict(),
            }
        };
        let document = Document {
            version: env!("CARGO_PKG_VERSION"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            load_average: std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned(),
            targets: self.tally(),
            rows: self.all.iter().map(judged).collect(),
        };
        Ok(serde_json::to_string_pretty(&document)?)
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for row in self.all.iter().filter(|row| row.target != Target::None) {
            *match row.verdict() {
                Verdict::Met => &mut tally.met,
                Verdict::WithinNoise => &mut tally.within_noise,
                Verdict::Missed => &mut tally.missed,
                Verdict::None => &mut tally.left_out,
            } += 1;
        }
        tally
    }

    /// How many targets were met, in a line, and a line for each that was not.
    pub(crate) fn summary(&self) -> Vec<String> {
        let Tally { met, within_noise, missed, left_out } = self.tally();
        let all = met + within_noise + missed + left_out;
        let mut lines = vec![format!(
            "{all} targets: {met} met, {within_noise} missed within noise, {missed} missed, {left_out} not measured"
        )];
        for (verdict, word) in [(Verdict::Missed, "missed"), (Verdict::WithinNoise, "within noise")] {
            let rows = self.all.iter().filter(|row| row.verdict() == verdict);
            lines.extend(rows.map(|row| {
                let measured = row.measured().map_or(0.0, |(value, ..)| value);
                let name = row.name.trim();
                format!(
                    "{word}: {}, {name}: {} where {} is wanted",
                    row.scenario,
                    digits(measured),
                    row.wanted()
                )
            }));
        }
        lines
    }

    /// The row of this name in the scenario at hand; a new one if there is none.
    pub(crate) fn row(&mut self, name: &str, unit: &'static str, target: Target) -> &mut Row {
        let found = self.all[self.from..].iter().position(|row| row.name == name);
        let index = found.map_or(self.all.len(), |index| index + self.from);
        if found.is_none() {
            self.all.push(Row {
                scenario: self.scenario.clone(),
                name: name.to_owned(),
                unit,
                target,
                values: Vec::new(),
                floor_name: String::new(),
                floors: Vec::new(),
                remark: String::new(),
            });
        }
        &mut self.all[index]
    }

    /// A Markdown table.
    pub(crate) fn table(&self) -> Vec<String> {
        let head = [
            "| figure | dovetail | beside it | ratio | target | verdict | remark |",
            "|---|---|---|---|---|---|---|",
        ];
        head.map(String::from).into_iter().chain(self.all.iter().map(Row::line)).collect()
    }

    /// Whether any target was missed by more than the noise.
    pub(crate) fn any_missed(&self) -> bool {
        self.all.iter().any(|row| row.verdict() == Verdict::Missed)
    }
}

/// What is measured now, and how far along that is: a bar on a terminal, a line a step elsewhere.
pub(crate) struct Progress {
    bar: ProgressBar,
    plain: bool,
}

impl Progress {
    /// A bar of so many steps.
    pub(crate) fn new(steps: usize) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let target = if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::with_draw_target(Some(steps as u64), target).with_style(style), plain }
    }

    /// Says what is measured now.
    pub(crate) fn step(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        if self.plain {
            note(&format!("{}/{} {what}", self.bar.position() + 1, self.bar.length().unwrap_or(0)));
        }
    }

    /// A step is done.
    pub(crate) fn done(&self) {
        self.bar.inc(1);
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Says something to the person who waits, aside from the results.
pub(crate) fn note(text: &str) {
    // Nobody is left to tell when standard error is closed.
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Prints results.
pub(crate) fn print_lines(lines: &[String]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The median; 0 of nothing.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// By how much a median of so few samples may be beside the truth: half the distance of the extremes, and at least what
/// repeats on a machine with a load of its own differ by anyway, since one sample shows no distance and two show little.
fn noise(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let unseen = UNSEEN_NOISE / values.clone().count().max(1) as f64;
    spread(values.clone()).max(median(values).abs() * unseen)
}

/// The share by which one sample may be beside the truth.
const UNSEEN_NOISE: f64 = 0.15;

/// Half the distance between the extremes.
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> f64 {
    let (low, high) = values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high { 0.0 } else { (high - low) / 2.0 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
mod tests {
    use super::*;

    /// The verdict on these samples.
    fn verdict(target: Target, values: &[f64]) -> Verdict {
        let mut rows = Rows::default();
        for value in values {
            rows.row("a", "µs", target).value(*value).floor("f", 1.0);
        }
        rows.row("a", "µs", target).verdict()
    }

    #[test]
    fn verdicts_know_the_noise() {
        let table: [(Target, &[f64], Verdict); 10] = [
            (Target::RatioAtMost(2.0), &[1.9], Verdict::Met),
            // One sample says little, three that agree say more.
            (Target::RatioAtMost(2.0), &[2.2], Verdict::WithinNoise),
            (Target::RatioAtMost(2.0), &[2.5], Verdict::Missed),
            (Target::RatioAtMost(2.0), &[2.2, 2.2], Verdict::Missed),
            (Target::RatioAtMost(2.0), &[2.2, 2.2, 2.2], Verdict::Missed),
            (Target::RatioAtMost(2.0), &[1.9, 2.2, 2.4], Verdict::WithinNoise),
            (Target::AtLeast(10.0), &[8.0, 9.0, 10.5], Verdict::WithinNoise),
            (Target::AtLeast(10.0), &[7.0, 7.5, 8.0], Verdict::Missed),
            (Target::AtMost(1.0), &[0.9, 1.0, 1.1], Verdict::Met),
            (Target::None, &[1.0], Verdict::None),
        ];
        for (target, values, expected) in table {
            assert_eq!(verdict(target, values), expected, "{target:?} {values:?}");
        }
    }

    #[test]
    fn a_run_is_summed_up() {
        let mut rows = Rows::default();
        rows.next_scenario("first");
        rows.row("a", "µs", Target::RatioAtMost(2.0)).value(1.9).floor("f", 1.0);
        rows.row("  b", "/s", Target::AtLeast(10.0)).value(9.5);
        rows.row("shown", "/s", Target::None).value(9.5);
        assert!(!rows.any_missed());
        rows.next_scenario("second");
        rows.row("a", "B", Target::AtMost(1.0)).value(2.0);
        rows.row("no peer", "µs", Target::RatioAtMost(2.0)).value(1.9);
        assert!(rows.any_missed());
        assert_eq!(rows.table().len(), 2 + 5);
        assert_eq!(
            rows.summary(),
            [
                "4 targets: 1 met, 1 missed within noise, 1 missed, 1 not measured",
                "missed: second, a: 2.00 where ≤ 1 B is wanted",
                "within noise: first, b: 9.50 where ≥ 10 /s is wanted",
            ]
        );
        let json: serde_json::Value = serde_json::from_str(&rows.json().unwrap()).unwrap();
        assert_eq!(json["targets"]["missed"], 1);
        let row = &json["rows"][0];
        assert_eq!((&row["scenario"], &row["verdict"]), (&"first".into(), &"met".into()));
        assert_eq!((&row["ratio"], &row["values"][0]), (&1.9.into(), &1.9.into()));
        assert!(json["rows"][3]["ratio"].is_null(), "there is nothing beside it");
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these halves and wholes are exact")]
    fn medians_and_spreads() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert_eq!(median([].into_iter()), 0.0);
        assert_eq!(spread([4.0, 1.0, 2.0].into_iter()), 1.5);
        assert_eq!(spread([].into_iter()), 0.0);
    }
}
