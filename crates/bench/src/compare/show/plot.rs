//! Small plots as SVG: lines and points over two axes. No script, no font, no file of others; one class for each colour, so that
//! the page or the file decides on light and dark.

use std::fmt::Write as _;

use super::columns::cut;
use super::markup::escape;

/// Width of every plot, in its own units.
pub(super) const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 34.0;
const TOP: f64 = 32.0;
/// Below the axis: tick labels and the axis' name.
const BELOW: f64 = 50.0;
/// A line of the legend.
const LEGEND_LINE: f64 = 22.0;
/// What fits beside a sample, in characters.
const LEGEND_NAME: usize = 40;
/// Between words at the axis that would lie on each other.
const STAGGER: f64 = 20.0;
const LEGEND_COLUMNS: usize = 2;

/// How long strokes and gaps are, by the place of a line in its family.
const DASHES: [&str; 6] = ["", "7 4", "2 3", "12 4 2 4", "12 4", "4 2 1 2"];

/// How values become places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Even steps.
    Linear,
    /// Even factors.
    Log,
}

/// One direction.
pub(super) struct Axis {
    /// What it measures, with its unit.
    pub(super) name: String,
    pub(super) scale: Scale,
    pub(super) from: f64,
    pub(super) to: f64,
    /// How a value is written at a tick.
    pub(super) tick: fn(f64) -> String,
}

impl Axis {
    /// A logarithmic one around these values; none without a positive one.
    pub(super) fn around(
        name: &str,
        values: impl Iterator<Item = f64>,
        tick: fn(f64) -> String,
    ) -> Option<Self> {
        let (from, to) = values
            .filter(|value| value.is_finite() && *value > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        if from > to {
            return None;
        }
        let steps = |value: f64| {
            let decade = 10_f64.powf(value.log10().floor());
            [0.5, 1.0, 2.0, 5.0, 10.0, 20.0].map(|factor| factor * decade)
        };
        // A value on a step belongs inside.
        let low = steps(from).into_iter().rev().find(|step| *step <= from * 1.001).unwrap_or(from);
        let high = steps(to).into_iter().find(|step| *step >= to * 0.999).unwrap_or(to);
        let high = if high > low { high } else { low * 10.0 };
        Some(Self { name: name.to_owned(), scale: Scale::Log, from: low, to: high, tick })
    }

    /// Where its ticks are, from 0 to 1, and what is written there.
    pub(super) fn places(&self) -> Vec<(f64, String)> {
        self.ticks().into_iter().map(|value| (self.place(value), (self.tick)(value))).collect()
    }

    /// Where a value is, from 0 to 1; what lies outside is put on the edge.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Log => (value / self.from).log10() / (self.to / self.from).log10(),
        };
        if place.is_nan() { 0.0 } else { place.clamp(0.0, 1.0) }
    }

    /// Where lines and numbers are.
    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                (0..=4).map(|step| self.from + (self.to - self.from) * f64::from(step) / 4.0).collect()
            }
            Scale::Log => {
                let (first, last) = (self.from.log10().floor() as i32, self.to.log10().ceil() as i32);
                let decades = (self.to / self.from).log10();
                let factors: &[f64] = if decades < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let inside = self.from * 0.999..=self.to * 1.001;
                (first..=last)
                    .step_by((decades / 7.0) as usize + 1)
                    .flat_map(|decade| factors.iter().map(move |factor| factor * 10_f64.powi(decade)))
                    .filter(|value| inside.contains(value))
                    .collect()
            }
        }
    }
}

/// A line.
pub(super) struct Series {
    /// Its name in the legend; empty for one that is named beside it.
    pub(super) name: String,
    /// The class of its colour.
    pub(super) class: &'static str,
    /// Which of the dashes it has.
    pub(super) dash: usize,
    /// Whether it is the one to look at.
    pub(super) is_strong: bool,
    /// Where it goes through.
    pub(super) line: Vec<(f64, f64)>,
    /// What was measured, drawn as points.
    pub(super) points: Vec<(f64, f64)>,
}

/// A word.
pub(super) struct Note {
    pub(super) at: (f64, f64),
    pub(super) text: String,
    pub(super) class: &'static str,
    /// Whether the place is marked and the word stands at the axis below it, or at the place itself.
    pub(super) drops: bool,
}

/// A plot.
pub(super) struct Plot {
    /// A name that is its own in a page, of letters and `-`.
    pub(super) id: &'static str,
    pub(super) title: String,
    /// What is to be seen, for whoever cannot see it.
    pub(super) description: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
    pub(super) notes: Vec<Note>,
}

impl Plot {
    /// The plot as an `svg` element.
    pub(super) fn svg(&self) -> String {
        let legend: Vec<&Series> = self.series.iter().filter(|series| !series.name.is_empty()).collect();
        let lines = legend.len().div_ceil(LEGEND_COLUMNS);
        let height = TOP + HEIGHT + BELOW + lines as f64 * LEGEND_LINE + 10.0;
        let mut out = open(self.id, &self.title, &self.description, height);
        self.axes(&mut out);
        for series in &self.series {
            self.series(&mut out, series);
        }
        for (index, note) in self.notes.iter().enumerate() {
            self.note(&mut out, note, index as f64 * STAGGER);
        }
        for (index, series) in legend.iter().enumerate() {
            let (column, line) = (index / lines, index % lines);
            let width = (WIDTH - 24.0) / LEGEND_COLUMNS as f64;
            let at = (
                24.0 + width * column as f64,
                TOP + HEIGHT + BELOW + (line as f64 + 0.5) * LEGEND_LINE + 6.0,
            );
            legend_entry(&mut out, series, at);
        }
        out.push_str("</svg>\n");
        out
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        TOP + HEIGHT - self.y.place(value) * HEIGHT
    }

    fn axes(&self, out: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, TOP + HEIGHT);
        for value in self.y.ticks() {
            let y = self.y(value);
            let _ = writeln!(out, r#"<path class="grid" d="M{LEFT} {y:.1}H{right}"/>"#);
            let text = escape(&(self.y.tick)(value));
            let _ = writeln!(
                out,
                r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{text}</text>"#,
                LEFT - 8.0,
                y + 4.5
            );
        }
        for value in self.x.ticks() {
            let x = self.x(value);
            let _ = writeln!(out, r#"<path class="grid" d="M{x:.1} {TOP}V{bottom}"/>"#);
            let text = escape(&(self.x.tick)(value));
            let _ = writeln!(
                out,
                r#"<text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{text}</text>"#,
                bottom + 18.0
            );
        }
        let _ = writeln!(out, r#"<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>"#);
        let _ = writeln!(
            out,
            r#"<text class="name" x="{right}" y="{:.1}" text-anchor="end">{}</text>"#,
            bottom + 38.0,
            escape(&self.x.name)
        );
        let _ = writeln!(out, r#"<text class="name" x="4" y="14">{}</text>"#, escape(&self.y.name));
    }

    fn series(&self, out: &mut String, series: &Series) {
        let mut path = String::new();
        for (index, (x, y)) in series.line.iter().enumerate() {
            let _ = write!(path, "{}{:.1} {:.1}", if index == 0 { "M" } else { "L" }, self.x(*x), self.y(*y));
        }
        if !path.is_empty() {
            let _ = writeln!(out, r#"<path class="{}"{} d="{path}"/>"#, classes(series), dash(series));
        }
        for (x, y) in &series.points {
            let _ = writeln!(
                out,
                r#"<circle class="dot {}" cx="{:.1}" cy="{:.1}" r="4"/>"#,
                series.class,
                self.x(*x),
                self.y(*y)
            );
        }
    }

    fn note(&self, out: &mut String, note: &Note, raised: f64) {
        let (x, y) = (self.x(note.at.0), self.y(note.at.1));
        let bottom = TOP + HEIGHT;
        if note.drops {
            let _ = writeln!(out, r#"<path class="drop {}" d="M{x:.1} {y:.1}V{bottom:.1}"/>"#, note.class);
            let _ = writeln!(out, r#"<circle class="ring {}" cx="{x:.1}" cy="{y:.1}" r="6"/>"#, note.class);
        }
        // Towards the middle of the plot, where there is room.
        let (anchor, shift) = if x > WIDTH * 0.75 { ("end", -8.0) } else { ("start", 8.0) };
        let _ = writeln!(
            out,
            r#"<text class="note {}" x="{:.1}" y="{:.1}" text-anchor="{anchor}">{}</text>"#,
            note.class,
            x + shift,
            if note.drops { bottom - 10.0 - raised } else { y + 5.0 },
            escape(&note.text)
        );
    }
}

/// The beginning of a picture: its size, its name and what it shows.
pub(super) fn open(id: &str, title: &str, description: &str, height: f64) -> String {
    let (title, description) = (escape(title), escape(description));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" \
         aria-labelledby=\"{id}-t {id}-d\"><title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{description}</desc>\n"
    )
}

fn classes(series: &Series) -> String {
    format!("line {}{}", series.class, if series.is_strong { " strong" } else { "" })
}

fn dash(series: &Series) -> String {
    match DASHES[series.dash % DASHES.len()] {
        "" => String::new(),
        dash => format!(" stroke-dasharray=\"{dash}\""),
    }
}

fn legend_entry(out: &mut String, series: &Series, (x, y): (f64, f64)) {
    let name = cut(&series.name, LEGEND_NAME);
    if !series.line.is_empty() {
        let _ = writeln!(
            out,
            r#"<path class="{}"{} d="M{x:.1} {y:.1}H{:.1}"/>"#,
            classes(series),
            dash(series),
            x + 36.0
        );
    }
    if !series.points.is_empty() {
        let _ =
            writeln!(out, r#"<circle class="dot {}" cx="{:.1}" cy="{y:.1}" r="4"/>"#, series.class, x + 18.0);
    }
    let _ =
        writeln!(out, r#"<text class="key" x="{:.1}" y="{:.1}">{}</text>"#, x + 44.0, y + 4.5, escape(&name));
}
