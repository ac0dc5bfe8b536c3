//! What a comparison says to people: a table for the terminal and a page of HTML.
//!
//! `columns` is what is shown of each way, `crossover` where polling and push cost the same, `conclusions` the sentences; `table`,
//! `page` and `charts` (by `plot`, `rows`) put them in front of a reader; `number` and `markup` write numbers and text.

mod charts;
mod columns;
mod conclusions;
mod crossover;
mod markup;
mod number;
mod page;
mod plot;
mod rows;
mod table;

pub(crate) use charts::Chart;
pub(crate) use page::page;
pub(crate) use table::table;

use super::figures::Comparison;

/// The pictures of the page, for files of their own.
pub(crate) fn charts(comparison: &Comparison) -> Vec<Chart> {
    let charts = [
        charts::latency(comparison),
        charts::latency_of_push(comparison),
        charts::rates(comparison),
        charts::crossover_of_bytes(comparison),
        charts::crossover_of_cpu(comparison),
        charts::lost(comparison),
        charts::recovery(comparison),
    ];
    charts.into_iter().flatten().collect()
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
