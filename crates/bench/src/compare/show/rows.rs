//! Small charts as SVG with a line for each way: bars from zero, or points with the range up to the longest.

use std::fmt::Write as _;

use super::columns::cut;
use super::markup::escape;
use super::plot::{WIDTH, open};

/// For each mark of a line.
const MARK: f64 = 16.0;
/// Between lines.
const GAP: f64 = 8.0;
const TOP: f64 = 34.0;
const BELOW: f64 = 14.0;
/// Where names end and values begin.
const LEFT: f64 = 250.0;
/// What fits before them, in characters.
const NAME: usize = 34;
/// Beside the longest bar, for its number.
const RIGHT: f64 = 130.0;

/// One thing on a line.
pub(super) struct Mark {
    /// The class of its colour or pattern.
    pub(super) class: &'static str,
    pub(super) shape: Shape,
    /// What is written beside it.
    pub(super) text: String,
}

/// How it is drawn; places are from 0 to 1.
pub(super) enum Shape {
    /// From one place to the other.
    Bar(f64, f64),
    /// A point, and how far the worst is.
    Range(f64, f64),
    /// Nothing but its text, at the left.
    Word,
}

/// A line.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) marks: Vec<Mark>,
}

/// A chart.
pub(super) struct Rows {
    /// A name that is its own in a page, of letters and `-`.
    pub(super) id: &'static str,
    pub(super) title: String,
    /// What is to be seen, for whoever cannot see it.
    pub(super) description: String,
    /// What the marks mean: class and words.
    pub(super) keys: Vec<(&'static str, String)>,
    /// Places with a line, and what is written there.
    pub(super) ticks: Vec<(f64, String)>,
    pub(super) lines: Vec<Row>,
}

impl Rows {
    /// The chart as an `svg` element.
    pub(super) fn svg(&self) -> String {
        let bottom = TOP + self.lines.iter().map(Row::height).sum::<f64>();
        let foot = if self.ticks.is_empty() { 0.0 } else { 20.0 };
        let mut out = open(self.id, &self.title, &self.description, bottom + foot + BELOW);
        let mut x = LEFT;
        for (class, text) in &self.keys {
            let _ =
                writeln!(out, r#"<rect class="{class}" x="{x:.1}" y="8" width="14" height="12" rx="2"/>"#);
            let _ =
                writeln!(out, r#"<text class="key" x="{:.1}" y="18.5">{}</text>"#, x + 20.0, escape(text));
            x += 38.0 + text.chars().count() as f64 * 7.4;
        }
        for (place, text) in &self.ticks {
            let x = at(*place);
            let _ = writeln!(out, r#"<path class="grid" d="M{x:.1} {TOP}V{bottom:.1}"/>"#);
            let _ = writeln!(
                out,
                r#"<text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 18.0,
                escape(text)
            );
        }
        let mut top = TOP;
        for row in &self.lines {
            row.draw(&mut out, top);
            top += row.height();
        }
        out.push_str("</svg>\n");
        out
    }
}

fn at(place: f64) -> f64 {
    let place = if place.is_nan() { 0.0 } else { place.clamp(0.0, 1.0) };
    LEFT + place * (WIDTH - LEFT - RIGHT)
}

impl Row {
    fn height(&self) -> f64 {
        GAP + MARK * self.marks.len().max(1) as f64
    }

    fn draw(&self, out: &mut String, top: f64) {
        let _ = writeln!(
            out,
            r#"<text class="row" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            LEFT - 10.0,
            top + self.height() / 2.0 + 4.5,
            escape(&cut(&self.name, NAME))
        );
        for (index, mark) in self.marks.iter().enumerate() {
            mark.draw(out, top + GAP / 2.0 + MARK * (index as f64 + 0.5));
        }
    }
}

impl Mark {
    fn draw(&self, out: &mut String, y: f64) {
        let class = self.class;
        let end = match self.shape {
            Shape::Bar(from, to) => {
                let (from, to) = (at(from), at(to));
                let (width, height) = ((to - from).max(1.5), MARK - 3.0);
                let top = y - height / 2.0;
                let _ = writeln!(
                    out,
                    r#"<rect class="{class}" x="{from:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}"/>"#
                );
                to
            }
            Shape::Range(from, to) => {
                let (from, to) = (at(from), at(to));
                let _ = writeln!(out, r#"<path class="range {class}" d="M{from:.1} {y:.1}H{to:.1}"/>"#);
                let _ = writeln!(out, r#"<circle class="dot {class}" cx="{from:.1}" cy="{y:.1}" r="4"/>"#);
                to
            }
            Shape::Word => LEFT,
        };
        if !self.text.is_empty() {
            let text = escape(&self.text);
            let _ =
                writeln!(out, r#"<text class="tick" x="{:.1}" y="{:.1}">{text}</text>"#, end + 8.0, y + 4.5);
        }
    }
}
