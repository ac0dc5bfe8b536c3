//! `dovetail bench`: the numbers, each beside something of the same run.
//!
//! * `compare`: the ways to follow resources, on the user's workload.
//! * `serve_path`: Dovetail beside its floors and its peers, by scenario, with targets.
//! * `schedulers`: the experiment behind the shards.
//!
//! Below them: `load` (the load generators), `floor` (bare programs that move the same bytes), `servers` (what is measured),
//! `cpu` (what a process spent), `wire` and `http` (the bytes that loads need), `report` (rows and verdicts), `child`.

mod child;
mod compare;
mod cpu;
mod floor;
mod http;
mod load;
mod report;
mod schedulers;
mod serve_path;
mod servers;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use report::{Progress, Rows, note, print_lines};
use serve_path::{Context, Scenario};
use servers::Places;

/// Measures the server, each figure beside another of the same run.
#[derive(Debug, Args)]
pub struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Compare(compare::Options),
    ServePath(ServePath),
    /// Compare shards with a work-stealing scheduler, and the ways to wake a commit thread.
    #[command(hide = true)]
    Schedulers {
        /// How often each is measured; medians are shown.
        #[arg(long, default_value_t = 3)]
        repeats: usize,
        /// Seconds of each measurement.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
    /// Floors and prototypes, as processes of their own.
    #[command(hide = true, subcommand)]
    Internal(Internal),
}

const EXAMPLES: &str = "\
Examples:
  dovetail bench serve-path                                   everything, eleven minutes
  dovetail bench serve-path --only get --repeats 5            one scenario
  dovetail bench serve-path --only publish --syscalls         what the server asks of the kernel for each commit
  dovetail bench serve-path --json > figures.json             every sample, for a comparison

Exit codes: 0 all targets met, 1 one is missed by more than the repeats differ, 2 it could not be measured.";

/// Measures the server's path beside its floors and its peers, in one run.
///
/// Absolute figures depend on the machine and on what else runs there, so targets are ratios: to a floor, which is a bare
/// program that moves the same bytes with nothing in between, or to a peer, both measured in the same repeat. CPU is the
/// server's alone, in nanoseconds from the scheduler. Medians of the repeats are shown, ± half the distance of the extremes.
///
/// Peers (nginx, mosquitto, redis-server, etcd, nats-server) are measured when they are installed and left out otherwise.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct ServePath {
    /// Measure only this; may be given several times.
    #[arg(long, value_name = "NAME", value_enum)]
    only: Vec<Scenario>,
    /// Print what can be measured and end.
    #[arg(long)]
    list: bool,
    /// How often each is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    repeats: u16,
    /// Seconds of one measurement; a quarter is added to warm up.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Print samples and verdicts as JSON in place of the table.
    #[arg(long)]
    json: bool,
    /// Count the server's system calls too, with `perf`. CPU figures grow by it.
    #[arg(long)]
    syscalls: bool,
    /// Another build of the program `dovetail` to measure; by default it is this one.
    #[arg(long, value_name = "FILE", env = "DOVETAIL_BIN")]
    dovetail: Option<PathBuf>,
    /// Where data directories are made for as long as they are needed: a directory on the disk to be measured.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Messages under way in saturated fan-out. Half of them are sent at a time, so the floor gathers that many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(2..=500))]
    window: u64,
    /// Resources of the large tree.
    #[arg(long, default_value_t = 1_000_000)]
    resources: u64,
}

#[derive(Debug, Subcommand)]
enum Internal {
    Relay { writes: floor::relay::Writes },
    Pour { clients: usize, topics: u64, payload: usize },
    Shards { shards: usize, writer: schedulers::shards::Writer },
    Stealing { threads: usize, send: schedulers::stealing::Send },
    Hop { hop: schedulers::hop::Hop },
}

/// It could not be measured.
const NOT_MEASURED: u8 = 2;

/// Measures, and says how it went.
pub fn run(bench: &Bench) -> ExitCode {
    raise_file_limit();
    match measure(&bench.what) {
        Ok(code) => code,
        Err(error) => {
            note(&format!("dovetail bench: {error:#}"));
            ExitCode::from(NOT_MEASURED)
        }
    }
}

fn measure(what: &What) -> Result<ExitCode> {
    match what {
        What::Compare(options) => return compare::run(options),
        What::ServePath(options) => return serve_path(options),
        What::Schedulers { repeats, seconds } => {
            schedulers::run(*repeats, Duration::from_secs_f64(*seconds))?;
        }
        What::Internal(internal) => serve_internal(internal)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn serve_internal(internal: &Internal) -> Result<()> {
    match *internal {
        Internal::Relay { writes } => floor::relay::serve(writes),
        Internal::Pour { clients, topics, payload } => floor::pour::serve(clients, topics, payload),
        Internal::Shards { shards, writer } => schedulers::shards::serve(shards, writer),
        Internal::Stealing { threads, send } => schedulers::stealing::serve(threads, send),
        Internal::Hop { hop } => schedulers::serve_hop(hop),
    }
}

fn serve_path(run: &ServePath) -> Result<ExitCode> {
    if run.list {
        let lines: Vec<String> = Scenario::ALL.iter().map(|scenario| scenario.line()).collect();
        print_lines(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    if run.syscalls {
        cpu::count_syscalls();
    }
    let dovetail = match &run.dovetail {
        Some(path) => path.clone(),
        None => std::env::current_exe().context("where this program lies")?,
    };
    let context = Context {
        places: Places { dovetail, dir: run.dir.clone() },
        measure: Duration::from_secs_f64(run.seconds),
        window: run.window,
        resources: run.resources,
    };
    let scenarios = if run.only.is_empty() { Scenario::ALL } else { &run.only };
    let repeats = |scenario: Scenario| scenario.repeats(usize::from(run.repeats));
    let progress = Progress::new(scenarios.iter().map(|&scenario| repeats(scenario)).sum());
    let mut rows = Rows::default();
    for scenario in scenarios {
        rows.next_scenario(&scenario.name());
        for _ in 0..repeats(*scenario) {
            scenario.run(&context, &mut rows, &progress)?;
            progress.done();
        }
    }
    progress.finish();
    if run.json {
        print_lines(&[rows.json()?])?;
        rows.summary().iter().for_each(|line| note(line));
    } else {
        let (mut lines, summary) = (rows.table(), rows.summary());
        lines.push(String::new());
        lines.extend(summary);
        print_lines(&lines)?;
    }
    Ok(if rows.any_missed() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// A thousand subscribers need more than the usual 1,024 open files, here and in the servers, which inherit the limit.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).is_err() {
        note("the limit of open files could not be raised");
    }
}
