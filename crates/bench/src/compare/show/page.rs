//! The report as one file of HTML that asks nobody for anything: no script, no font, no picture of others. It is well-formed XML.

use std::fmt::Write as _;

use super::charts::{self, Chart, STYLE};
use super::columns::{COLUMNS, Tone, families, title, workload};
use super::conclusions;
use super::crossover::{self, Crossover};
use super::markup::{escape, prose};
use super::number::{self, NOTHING};
use crate::compare::figures::{Comparison, Family, WayFigures};

const PAGE_STYLE: &str = include_str!("page.css");

/// The report, for a browser and for print.
pub(crate) fn page(comparison: &Comparison) -> String {
    let mut out =
        String::from("<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n");
    out.push_str("<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n");
    let _ = writeln!(out, "<title>{}</title>", escape(&heading(comparison)));
    let _ = write!(out, "<style>\n{STYLE}{PAGE_STYLE}</style>\n</head>\n<body>\n<main>\n");
    out.push_str(&opening(comparison));
    out.push_str(&all_ways(comparison));
    out.push_str(&section("How fast", [charts::latency(comparison), charts::latency_of_push(comparison)]));
    out.push_str(&section("Bytes by the rate of updates", [charts::rates(comparison)]));
    out.push_str(&polling(comparison));
    out.push_str(&section("After an interruption", [charts::lost(comparison), charts::recovery(comparison)]));
    out.push_str(&returns(comparison));
    out.push_str(&advice(comparison));
    let _ = write!(
        out,
        "<footer>Made by <code>dovetail bench compare</code>, version {}.</footer>\n</main>\n</body>\n</html>\n",
        escape(&comparison.version)
    );
    out
}

fn heading(comparison: &Comparison) -> String {
    match comparison.ways.len() {
        1 => String::from("One way to follow resources, measured"),
        count => format!("{count} ways to follow resources, side by side"),
    }
}

fn opening(comparison: &Comparison) -> String {
    let mut out = format!("<h1>{}</h1>\n", escape(&heading(comparison)));
    out.push_str("<p class=\"lead\">The same updates, followed in every way, and what each way costs.</p>\n<ul class=\"facts\">\n");
    for line in workload(comparison) {
        let _ = writeln!(out, "<li>{}</li>", prose(&line));
    }
    if let Some(cpu) = comparison.writing_cpu_us {
        let _ = writeln!(
            out,
            "<li>An update that nobody follows takes {} of server CPU; that is left out of the figures below.</li>",
            number::cpu(cpu)
        );
    }
    out.push_str("</ul>\n<h2>What follows</h2>\n<ul>\n");
    for sentence in conclusions::sentences(comparison) {
        let _ = writeln!(out, "<li>{}</li>", prose(&sentence));
    }
    out.push_str("</ul>\n");
    out
}

/// A part that scrolls by itself where it is wider than the screen, with the keyboard too.
fn scrolled(label: &str, content: &str) -> String {
    format!(
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{}\">\n{content}</div>\n",
        escape(label)
    )
}

fn all_ways(comparison: &Comparison) -> String {
    let mut table = String::from("<table>\n<thead><tr><th scope=\"col\">Way</th>");
    for column in &COLUMNS {
        let _ = write!(table, "<th scope=\"col\">{}</th>", escape(column.name));
    }
    table.push_str("</tr></thead>\n");
    for (family, ways) in families(comparison) {
        let _ = writeln!(
            table,
            "<tbody>\n<tr><th scope=\"rowgroup\" colspan=\"{}\"><span class=\"swatch {}\"></span>{}</th></tr>",
            COLUMNS.len() + 1,
            charts::class(family),
            title(family)
        );
        for way in ways {
            table.push_str(&row(way));
        }
        table.push_str("</tbody>\n");
    }
    table.push_str("</table>\n");
    let mut out = format!("<h2>All of it</h2>\n{}", scrolled("Figures of every way", &table));
    out.push_str("<details><summary>What the columns say</summary>\n<dl>\n");
    for column in &COLUMNS {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escape(column.name), escape(column.about));
    }
    out.push_str("</dl>\n</details>\n");
    out
}

fn row(way: &WayFigures) -> String {
    let class = if way.family == Family::Combined { " class=\"best\"" } else { "" };
    let mut out = format!("<tr{class}><th scope=\"row\">{}</th>", escape(&way.label));
    for column in &COLUMNS {
        let cell = (column.cell)(way);
        let class = match cell.tone {
            Tone::Plain => "",
            Tone::Good => " class=\"good\"",
            Tone::Bad => " class=\"bad\"",
        };
        let _ = write!(out, "<td{class}>{}</td>", escape(&cell.text));
    }
    out.push_str("</tr>\n");
    out
}

fn figure(out: &mut String, chart: &Chart) {
    let _ = write!(
        out,
        "<figure>\n{}<figcaption>{}</figcaption>\n</figure>\n",
        scrolled("Picture", &chart.svg),
        prose(&chart.caption)
    );
}

/// A heading and its pictures, if there are any.
fn section<const N: usize>(heading: &str, charts: [Option<Chart>; N]) -> String {
    let mut out = String::new();
    for chart in charts.into_iter().flatten() {
        if out.is_empty() {
            let _ = writeln!(out, "<h2>{heading}</h2>");
        }
        figure(&mut out, &chart);
    }
    out
}

/// Polling beside push: by kind, and over intervals.
fn polling(comparison: &Comparison) -> String {
    let charts: Vec<Chart> = [charts::crossover_of_bytes(comparison), charts::crossover_of_cpu(comparison)]
        .into_iter()
        .flatten()
        .collect();
    let table = kinds(comparison);
    if charts.is_empty() && table.is_none() {
        return String::new();
    }
    let mut out = String::from("<h2>Polling beside push</h2>\n");
    if let Some(table) = table {
        out.push_str(&table);
    }
    for chart in &charts {
        figure(&mut out, chart);
    }
    out
}

fn kinds(comparison: &Comparison) -> Option<String> {
    let push = crossover::push(comparison)?;
    let beside = crossover::at_equal_staleness(comparison);
    let first = beside.first()?;
    let crossovers = crossover::crossovers(comparison);
    let every = number::interval(first.polling.every * 1e3);
    let fresh = number::interval(first.fresh_every * 1e3);
    let heads = [
        format!("Staler, every {every}"),
        format!("Bytes, every {every}"),
        format!("CPU, every {every}"),
        format!("Bytes, every {fresh}: at least"),
        format!("CPU, every {fresh}: about"),
        String::from("Fewer bytes from"),
        String::from("Less CPU from"),
    ];
    let mut table = String::from("<table>\n<thead><tr><th scope=\"col\">Kind of polling</th>");
    for head in &heads {
        let _ = write!(table, "<th scope=\"col\">{}</th>", escape(head));
    }
    table.push_str("</tr></thead>\n<tbody>\n");
    for beside in &beside {
        let name = crossover::stem(&beside.polling.way.name);
        let found = crossovers.iter().find(|found| found.kind.name == name);
        let times = |ratio: Option<f64>| {
            ratio.map_or_else(|| NOTHING.to_owned(), |ratio| format!("{}×", number::factor(ratio)))
        };
        let cells = [
            times(Some(beside.staler())),
            times(Some(beside.measured.bytes)),
            times(beside.measured.cpu),
            times(Some(beside.extrapolated.bytes)),
            times(beside.extrapolated.cpu),
            from(found.and_then(|found| found.bytes)),
            from(found.and_then(|found| found.cpu)),
        ];
        let label = found.map_or(beside.polling.way.label.as_str(), |found| found.kind.label);
        let _ = write!(table, "<tr><th scope=\"row\">{}</th>", escape(label));
        for cell in cells {
            let _ = write!(table, "<td>{}</td>", escape(&cell));
        }
        table.push_str("</tr>\n");
    }
    table.push_str("</tbody>\n</table>\n");
    let label = super::columns::spoken(push);
    Some(format!(
        "<p>How many times as much polling cost as {0}: at the shortest interval that was measured, {every}, and at {fresh}, at which it \
         could be as fresh. The latter was not measured: it is what it comes to if each poll costs no more than the cheapest measured \
         one. Then, from which interval on polling costs less than {0}.</p>\n{1}<p>{2}</p>\n",
        escape(&label),
        scrolled("Kinds of polling beside push", &table),
        prose(&conclusions::promise(comparison).unwrap_or_default())
    ))
}

fn from(crossover: Option<Crossover>) -> String {
    match crossover {
        None => NOTHING.to_owned(),
        Some(Crossover::From(every)) => number::time(every * 1e3),
        Some(Crossover::Always) => String::from("any"),
        Some(Crossover::Never) => String::from("none up to a day"),
    }
}

/// What interrupted watchers did when they came back, and what that moved.
fn returns(comparison: &Comparison) -> String {
    let mut rows = String::new();
    for way in &comparison.ways {
        let kinds = [("without", way.without_fallback.as_ref()), ("with", way.with_fallback.as_ref())];
        for (kind, recovery) in kinds.into_iter().filter_map(|(kind, recovery)| Some((kind, recovery?))) {
            let _ = writeln!(
                rows,
                "<tr><th scope=\"row\">{}</th><td>{kind}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&way.label),
                escape(&recovery.how),
                number::count(recovery.updates_in_outage),
                number::count(recovery.skipped),
                number::count(recovery.lost),
                number::bytes(recovery.bytes),
            );
        }
    }
    if rows.is_empty() {
        return rows;
    }
    let heads = [
        "Way",
        "Fallback",
        "What a watcher does when it comes back",
        "Updates missed",
        "Skipped",
        "Lost",
        "Bytes until current",
    ];
    let heads: Vec<String> = heads.map(|head| format!("<th scope=\"col\">{head}</th>")).into();
    let table = format!(
        "<table class=\"words\">\n<thead><tr>{}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n",
        heads.concat()
    );
    format!(
        "<details><summary>What they did, in numbers</summary>\n<p>Summed over the watchers of a kind; bytes are a watcher's mean. An \
         update is skipped if the watcher was told something newer of the same resource instead: no copy is wrong by it.</p>\n{}</details>\n",
        scrolled("What interrupted watchers did", &table)
    )
}

fn advice(comparison: &Comparison) -> String {
    let mut out = String::from("<h2>Which should I use when</h2>\n<dl>\n");
    for (family, text) in conclusions::advice(comparison) {
        let _ = writeln!(
            out,
            "<dt><span class=\"swatch {}\"></span>{}</dt><dd>{}</dd>",
            charts::class(family),
            title(family),
            prose(&text)
        );
    }
    out.push_str("</dl>\n");
    out
}
