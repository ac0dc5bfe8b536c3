//! The table for a terminal, and the conclusions below it.

use std::fmt::Write as _;

use super::columns::{COLUMNS, Tone, cut, families, workload};
use super::conclusions;
use crate::compare::figures::{Comparison, WayFigures};

/// Columns of a terminal that are used at most.
const WIDTH: usize = 120;
/// Where sentences are broken.
const TEXT_WIDTH: usize = 100;
/// Between two figures.
const GAP: usize = 2;
/// A name is never cut below this.
const SHORTEST_NAME: usize = 16;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const END: &str = "\x1b[0m";

/// What a person reads after a run: how it was, a line for each way, and what follows from the figures. Coloured only for a
/// terminal; 120 columns wide at most.
pub(crate) fn table(comparison: &Comparison, is_terminal: bool) -> String {
    let paint = Paint(is_terminal);
    let mut out = String::new();
    for line in workload(comparison) {
        paragraph(&mut out, "", &line);
    }
    out.push('\n');
    let layout = Layout::of(comparison);
    layout.head(&mut out, &paint);
    for (index, (_, ways)) in families(comparison).iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        for way in ways {
            layout.row(&mut out, way, &paint);
        }
    }
    let sentences = conclusions::sentences(comparison);
    if !sentences.is_empty() {
        out.push('\n');
    }
    for sentence in sentences {
        paragraph(&mut out, "- ", &sentence);
    }
    out
}

/// How wide everything is, in characters.
struct Layout {
    name: usize,
    cells: Vec<usize>,
}

impl Layout {
    fn of(comparison: &Comparison) -> Self {
        let cells: Vec<usize> = COLUMNS
            .iter()
            .map(|column| {
                let heads = column.head.iter().map(|head| length(head));
                let texts = comparison.ways.iter().map(|way| length(&(column.cell)(way).text));
                heads.chain(texts).max().unwrap_or(0)
            })
            .collect();
        let taken: usize = cells.iter().map(|width| width + GAP).sum();
        let room = WIDTH.saturating_sub(taken).max(SHORTEST_NAME);
        let longest = comparison.ways.iter().map(|way| length(&printable(&way.label))).max().unwrap_or(0);
        Self { name: longest.min(room), cells }
    }

    fn head(&self, out: &mut String, paint: &Paint) {
        for line in 0..3 {
            let mut text = format!("{:1$}", "", self.name);
            for (column, width) in COLUMNS.iter().zip(&self.cells) {
                let _ = write!(text, "{:gap$}{:>width$}", "", column.head[line], gap = GAP);
            }
            let _ = writeln!(out, "{}", paint.with(if line == 2 { DIM } else { BOLD }, text.trim_end()));
        }
    }

    fn row(&self, out: &mut String, way: &WayFigures, paint: &Paint) {
        let name = cut(&printable(&way.label), self.name);
        let _ = write!(out, "{name:width$}", width = self.name);
        for (column, width) in COLUMNS.iter().zip(&self.cells) {
            let cell = (column.cell)(way);
            let text = format!("{:gap$}{:>width$}", "", cell.text, gap = GAP);
            match cell.tone {
                Tone::Plain => out.push_str(&text),
                Tone::Good => out.push_str(&paint.with(GREEN, &text)),
                Tone::Bad => out.push_str(&paint.with(RED, &text)),
            }
        }
        out.push('\n');
    }
}

/// Whether there are colours.
struct Paint(bool);

impl Paint {
    fn with(&self, style: &str, text: &str) -> String {
        if self.0 { format!("{style}{text}{END}") } else { text.to_owned() }
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// What comes from the run must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// A text broken between words, its later lines below its first word.
fn paragraph(out: &mut String, start: &str, text: &str) {
    let text = printable(text);
    let mut line = String::from(start);
    let indent = " ".repeat(length(start));
    let mut is_empty = true;
    for word in text.split(' ') {
        if !is_empty && length(&line) + 1 + length(word) > TEXT_WIDTH {
            let _ = writeln!(out, "{line}");
            line.clone_from(&indent);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    let _ = writeln!(out, "{line}");
}
