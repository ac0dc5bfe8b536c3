//! The `dovetail` command.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use dovetail_server::config::{Arguments, Config};
use dovetail_server::demo::{self, Demo};
use dovetail_server::{Server, complain, describe, log};
use tokio::signal::unix::{SignalKind, signal};

/// jemalloc gives memory back and stays compact under many small, long-lived allocations.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// One server for REST and MQTT: GET the state, get every change pushed, miss nothing.
#[derive(Parser)]
#[command(name = "dovetail", version, about, max_term_width = 100)]
struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run the server.
    Serve(Serve),
    /// Show the pattern on the real state of this machine.
    Demo(Demo),
    Bench(dovetail_bench::Bench),
    #[command(flatten)]
    Client(dovetail_cli::Command),
}

/// Runs the server until it is told to stop (Ctrl-C or SIGTERM). Every address speaks HTTP and
/// MQTT alike. The first lines on standard output say the addresses and, once it serves, `ready`.
#[derive(Args)]
#[command(after_help = "Examples:
  dovetail serve
  dovetail serve --data /var/lib/dovetail --listen 127.0.0.1:8080 --listen 127.0.0.1:1883
  dovetail serve --config dovetail.toml

Settings come from the file, then from variables like DOVETAIL__HISTORY__AGE=7d, then from the
command line. docs/configuration.md lists them.

Exit codes: 0 stopped as told, 1 failed, 2 the configuration is wrong.")]
struct Serve {
    /// Where the data is; made if it is not there. [default: ./dovetail-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// An address to listen on; may be repeated. Port 0 takes a free one.
    /// [default: 127.0.0.1:8080 and 127.0.0.1:1883]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// A file with settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const BAD_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    match Command::parse().action {
        Action::Serve(arguments) => serve(arguments),
        Action::Demo(arguments) => demo::run(&arguments),
        Action::Bench(arguments) => dovetail_bench::run(&arguments),
        Action::Client(command) => dovetail_cli::run(command, Command::command()),
    }
}

fn serve(Serve { data, listen, config }: Serve) -> ExitCode {
    let config = match Config::load(&Arguments { config, data, listen }, std::env::vars()) {
        Ok(config) => config,
        Err(problems) => {
            complain(&problems.to_string());
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    log::init(&config.log);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the operating system gives no event loop: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

async fn run(config: &Config) -> Result<(), String> {
    // Before anything else, so that a signal during a long start is not the default death.
    let signals = |kind| signal(kind).map_err(|error| format!("signals cannot be watched: {error}"));
    let (mut interrupt, mut terminate) =
        (signals(SignalKind::interrupt())?, signals(SignalKind::terminate())?);
    let started = Instant::now();
    let server = Server::start(config).map_err(|error| describe(&error))?;
    announce(&server, config, started);
    tokio::select! {
        _ = interrupt.recv() => tracing::info!("stopping: interrupted"),
        _ = terminate.recv() => tracing::info!("stopping: told to terminate"),
    }
    server.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// The lines that programs wait for. Nobody reading them is no reason to stop.
fn announce(server: &Server, config: &Config, started: Instant) {
    let mut out = std::io::stdout().lock();
    for address in server.addresses() {
        let _ = writeln!(out, "listening on {address}");
    }
    let (resources, _) = server.engine().size();
    let _ = writeln!(
        out,
        "ready at {} with {resources} resources from {} in {} ms",
        server.head(),
        config.data.display(),
        started.elapsed().as_millis(),
    );
    let _ = out.flush();
}
