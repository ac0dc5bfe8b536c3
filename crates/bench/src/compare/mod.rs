//! `dovetail bench compare`: the same workload followed in every way that there is, side by side.
//!
//! * `options`: what was typed, and what it means. `ways`: the ways. `schedule`: what will happen, decided beforehand.
//! * `copies`: who holds what, and since when.
//! * `course` is what the tasks of one measurement share: the `writer`, and a `watcher` each, which follows by `poll` or `push`.
//! * `target`: the server. `measure` has one way measured, `weigh` makes figures of that.
//! * `figures`: what is found, on which `machine`. `show` puts it in front of people.

mod copies;
mod course;
mod figures;
mod machine;
mod measure;
mod options;
mod poll;
mod push;
mod schedule;
mod show;
mod target;
mod watcher;
mod ways;
mod weigh;
mod writer;

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

use self::figures::{Comparison, WayFigures, Workload};
use self::measure::{Plan, measure};
use self::options::Settings;
use self::schedule::Shape;
use self::target::Targets;
use self::ways::Way;
use crate::load::door::Door;
use crate::load::local_runtime;
use crate::report::{Progress, note, print_lines};

pub(crate) use self::options::Options;

/// A generator that is busier than this measures itself.
const BUSY: f64 = 0.8;

/// Something was lost although the way has a fallback for it.
const LOST: u8 = 1;

/// Measures, prints, and says how it went.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.list {
        let width = 24;
        let line = |way: &Way| format!("{:width$}{}", way.name(), way.label());
        print_lines(&options.all_ways().iter().map(line).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let comparison = match &options.from {
        Some(file) => earlier(file)?,
        None => local_runtime()?.block_on(compare(&options.settings()?))?,
    };
    show(options, &comparison)?;
    let lost = |way: &WayFigures| way.with_fallback.as_ref().is_some_and(|recovery| recovery.lost > 0);
    let losers: Vec<&str> =
        comparison.ways.iter().filter(|way| lost(way)).map(|way| way.name.as_str()).collect();
    if losers.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    note(&format!("lost updates although it used its fallback: {}", losers.join(", ")));
    Ok(ExitCode::from(LOST))
}

/// What an earlier run found.
fn earlier(file: &Path) -> Result<Comparison> {
    let text = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not what --json prints", file.display()))
}

/// Prints what was found, and then writes the files that were asked for: if that fails, the figures are not lost.
fn show(options: &Options, comparison: &Comparison) -> Result<()> {
    if options.json {
        print_lines(&[serde_json::to_string_pretty(comparison)?])?;
    } else {
        let is_terminal = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        print_lines(&[show::table(comparison, is_terminal).trim_end().to_owned()])?;
    }
    if let Some(file) = &options.html {
        std::fs::write(file, show::page(comparison))
            .with_context(|| format!("writing {}", file.display()))?;
    }
    if let Some(directory) = &options.plots {
        std::fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        for chart in show::charts(comparison) {
            let file = directory.join(format!("comparison-{}.svg", chart.name));
            std::fs::write(&file, chart.file()).with_context(|| format!("writing {}", file.display()))?;
        }
    }
    Ok(())
}

/// Measures everything; whatever happens, and when it is interrupted, the server is left without what was written.
async fn compare(settings: &Settings) -> Result<Comparison> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let targets = Targets::new(settings);
    let compared = tokio::select! {
        compared = compare_all(settings, &targets) => compared,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("told to terminate")),
    };
    if let Err(error) = targets.clean().await {
        note(&format!("what was written below {} could not be deleted: {error:#}", targets.prefix()));
    }
    compared
}

async fn compare_all(settings: &Settings, targets: &Targets) -> Result<Comparison> {
    let machine = machine::look();
    let plan = Plan { shape: shape(settings), payload: settings.payload };
    let others = other_rates(settings);
    let again: Vec<Way> =
        settings.ways.iter().copied().filter(|way| is_shown_by_rate(*way, settings)).collect();
    let more = if again.is_empty() { 0 } else { others.len() * (1 + again.len()) };
    let progress = Progress::new(1 + settings.ways.len() + more);
    let meter = Meter { targets, progress };

    if let Some(remote) = &settings.server {
        target::greet(&targets.next()?.spot).await.with_context(|| remote.url.clone())?;
    }
    let writing_us = meter.writing(&plan).await?;
    let mut ways = Vec::new();
    for &way in &settings.ways {
        let measured = meter.following(&plan, way).await?;
        ways.push(weigh::way(way, &plan, &measured, writing_us));
    }
    let mut rates = Vec::new();
    if !again.is_empty() {
        for shape in others {
            let plan = Plan { shape, ..plan };
            let writing_us = meter.writing(&plan).await?;
            for &way in &again {
                let measured = meter.following(&plan, way).await?;
                rates.push(weigh::rate(way, &plan, &measured, writing_us));
            }
        }
    }
    drop(meter);
    warn_of_busy(&ways);
    Ok(Comparison {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        workload: workload(settings),
        writing_cpu_us: writing_us,
        machine,
        ways,
        rates,
    })
}

/// Measures and shows how far it is.
struct Meter<'a> {
    targets: &'a Targets,
    progress: Progress,
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        self.progress.finish();
    }
}

impl Meter<'_> {
    async fn writing(&self, plan: &Plan) -> Result<Option<f64>> {
        self.progress.step("writing alone");
        let measured = measure(self.targets, plan, None).await.context("writing alone")?;
        self.progress.done();
        Ok(weigh::writing_us(plan, &measured))
    }

    async fn following(&self, plan: &Plan, way: Way) -> Result<measure::Measured> {
        self.progress.step(&format!("{}, {} updates/s", way.label(), plan.shape.rate));
        let measured = measure(self.targets, plan, Some(way)).await.with_context(|| way.name())?;
        self.progress.done();
        Ok(measured)
    }
}

fn shape(settings: &Settings) -> Shape {
    Shape {
        resources: settings.resources,
        watchers: settings.watchers,
        interrupted: settings.interrupted,
        rate: settings.rate,
        measured: settings.measured,
        outage: settings.outage,
    }
}

/// A tenth and four times of the rate, shorter, and with nobody cut off.
fn other_rates(settings: &Settings) -> Vec<Shape> {
    let measured = settings.measured / 2;
    let shape = Shape { interrupted: 0, measured, ..shape(settings) };
    [0.1, 4.0].map(|factor| Shape { rate: settings.rate * factor, ..shape }).to_vec()
}

/// Whether a way is measured at other rates, too: those that a reader weighs against each other.
fn is_shown_by_rate(way: Way, settings: &Settings) -> bool {
    let slowest = settings.ways.iter().filter_map(|way| way.every()).max();
    match way {
        Way::Poll { every, .. } => Some(every) == slowest,
        Way::Web(Door::WebSocket) | Way::Combined => true,
        _ => false,
    }
}

fn workload(settings: &Settings) -> Workload {
    Workload {
        resources: settings.resources as u64,
        updates_per_second: settings.rate,
        payload_bytes: settings.payload,
        watchers: settings.watchers,
        interrupted: settings.interrupted,
        outage_ms: settings.outage.as_millis() as u64,
        seconds: settings.measured.as_secs_f64(),
        server: settings.server.as_ref().map(|remote| remote.url.clone()),
    }
}

fn warn_of_busy(ways: &[WayFigures]) {
    for way in ways.iter().filter(|way| way.generator_share > BUSY) {
        note(&format!(
            "{}: the load generator was busy for {:.0} % of the time, so latencies are partly its own",
            way.name,
            way.generator_share * 100.0
        ));
    }
}
