//! `dovetail-bench`: Dovetail beside its floors and its peers, in one run.

mod child;
mod cpu;
mod floor;
mod http;
mod load;
mod report;
mod scenario;
mod schedulers;
mod servers;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use report::{Progress, Rows, note, print_lines};
use scenario::{Context, Scenario};
use servers::Places;

/// Measures Dovetail beside its floors and its peers, in one run.
///
/// Absolute figures depend on the machine and on what else runs there, so targets are ratios: to a floor, which is a bare
/// program that moves the same bytes with nothing in between, or to a peer, both measured in the same repeat. CPU is the
/// server's alone, in nanoseconds from the scheduler. Medians of the repeats are shown, ± half the distance of the extremes.
///
/// Peers (nginx, mosquitto, redis-server) are measured when they are installed and left out otherwise.
///
/// Ends with 1 when a target is missed by more than the repeats differ.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
struct Arguments {
    #[command(flatten)]
    run: Run,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  dovetail-bench                                   everything, some minutes
  dovetail-bench --only get --repeats 5            one scenario
  dovetail-bench --only publish --syscalls         what the server asks of the kernel for each commit
  dovetail-bench --json > figures.json             every sample, for a comparison
  dovetail-bench schedulers                        the experiment behind ADR 0002";

#[derive(Debug, Args)]
struct Run {
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
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Print samples and verdicts as JSON in place of the table.
    #[arg(long)]
    json: bool,
    /// Count the server's system calls too, with `perf`. CPU figures grow by it.
    #[arg(long)]
    syscalls: bool,
    /// The program `dovetail`; by default the one beside this program.
    #[arg(long, value_name = "FILE", env = "DOVETAIL_BIN")]
    dovetail: Option<PathBuf>,
    /// Where data directories are made: a directory on the disk to be measured.
    #[arg(long, default_value = "target/bench-data")]
    dir: PathBuf,
    /// Messages under way in saturated fan-out. Half of them are sent at a time, so the floor gathers that many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(2..=500))]
    window: u64,
    /// Resources of the large tree.
    #[arg(long, default_value_t = 1_000_000)]
    resources: u64,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare shards with a work-stealing scheduler, and the ways to wake a commit thread (ADR 0002).
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

#[derive(Debug, Subcommand)]
enum Internal {
    Relay { writes: floor::relay::Writes },
    Pour { clients: usize, topics: u64, payload: usize },
    Shards { shards: usize, writer: schedulers::shards::Writer },
    Stealing { threads: usize, send: schedulers::stealing::Send },
    Hop { hop: schedulers::hop::Hop },
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    raise_file_limit();
    match arguments.command {
        None => return run(&arguments.run),
        Some(Command::Schedulers { repeats, seconds }) => {
            schedulers::run(repeats, Duration::from_secs_f64(seconds))?;
        }
        Some(Command::Internal(Internal::Relay { writes })) => floor::relay::serve(writes)?,
        Some(Command::Internal(Internal::Pour { clients, topics, payload })) => {
            floor::pour::serve(clients, topics, payload)?;
        }
        Some(Command::Internal(Internal::Shards { shards, writer })) => {
            schedulers::shards::serve(shards, writer)?;
        }
        Some(Command::Internal(Internal::Stealing { threads, send })) => {
            schedulers::stealing::serve(threads, send)?;
        }
        Some(Command::Internal(Internal::Hop { hop })) => schedulers::serve_hop(hop)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn run(run: &Run) -> Result<ExitCode> {
    if run.list {
        let lines: Vec<String> = Scenario::ALL.iter().map(|scenario| scenario.line()).collect();
        print_lines(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    if run.syscalls {
        cpu::count_syscalls();
    }
    let dovetail = run.dovetail.clone().or_else(beside_this).filter(|path| path.is_file());
    if dovetail.is_none() {
        note("the program dovetail was not found (--dovetail): only floors and peers are measured");
    }
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
        rows.next_scenario();
        for _ in 0..repeats(*scenario) {
            scenario.run(&context, &mut rows, &progress)?;
            progress.done();
        }
    }
    progress.finish();
    if run.json {
        print_lines(&[serde_json::to_string_pretty(&rows)?])?;
    } else {
        print_lines(&rows.table())?;
    }
    Ok(if rows.any_missed() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn beside_this() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.with_file_name("dovetail"))
}

/// A thousand subscribers need more than the usual 1,024 open files, here and in the servers, which inherit the limit.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).is_err() {
        note("the limit of open files could not be raised");
    }
}
