//! The demonstration: the pattern at work on the real state of this machine.
//!
//! A server on a free port; a feeder that publishes what the machine is doing (`feeder`, `machine`); one
//! client that follows changes over a link that breaks again and again (`follower`, `cutter`); one that
//! polls at the same freshness (`poller`). At the end both copies are compared with the server's
//! state (`verdict`).

mod cutter;
mod feeder;
mod follower;
mod machine;
mod poller;
mod report;
mod staleness;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use dovetail_client::{Client, Server as Address};
use dovetail_model::Filter;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::config::{Config, parse_duration};
use crate::{Server, describe};

use cutter::Cutter;
use feeder::Feeder;
use follower::Follower;
use poller::Poller;
use report::Report;
use staleness::{Log, Staleness};

/// What is published, and what both clients keep a copy of.
const FILTER: &str = "machine/#";
/// The shortest and the longest time between two cuts of the link, in milliseconds.
const CUT_EVERY_MILLIS: (u64, u64) = (300, 1_500);

/// Shows the pattern on the real state of this machine: several hundred resources twice a second over
/// MQTT, a client that follows them through a link that breaks again and again, and one that polls
/// by REST at the same freshness. At the end both copies are compared with the server's.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 both copies equal the server's state, 1 they do not, or something failed."
)]
pub struct Demo {
    /// How long to run, like 30s or 2m.
    #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = duration)]
    run_for: Duration,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("\"{text}\" is no time like 30s or 2m"))
}

/// Runs the demonstration.
pub fn run(demo: &Demo) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("the operating system gives no event loop: {error}")),
    };
    match LocalSet::new().block_on(&runtime, demonstrate(demo)) {
        Ok(report) => {
            let is_terminal = std::io::stdout().is_terminal();
            let text = if demo.json { report.to_json() } else { report.to_table(is_terminal) };
            crate::print(&text);
            if report.are_equal() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(message) => complain(&message),
    }
}

fn complain(message: &str) -> ExitCode {
    crate::complain(message);
    ExitCode::FAILURE
}

async fn demonstrate(demo: &Demo) -> Result<Report, String> {
    let data = tempfile::tempdir().map_err(|error| format!("there is no place for the data: {error}"))?;
    let config = Config {
        data: data.path().join("data"),
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        ..Config::default()
    };
    let server = Server::start(&config).map_err(|error| describe(&error))?;
    let outcome = on_server(demo, server.addresses()[0]).await;
    server.stop().await;
    outcome
}

async fn on_server(demo: &Demo, address: SocketAddr) -> Result<Report, String> {
    let link = |error| format!("a link to the server cannot be made: {error}");
    let followed = Cutter::start(address).await.map_err(link)?;
    let polled = Cutter::start(address).await.map_err(link)?;
    let filter = Filter::new(FILTER).map_err(|error| error.to_string())?;
    let log = Log::default();
    let feeder = Feeder::start(address, log.clone());
    let via = Address::parse(&followed.address().to_string()).map_err(|error| error.to_string())?;
    let staleness = Staleness::new(log);
    let poller = Poller::start(client(polled.address())?, filter.clone(), staleness.clone());
    let follower = Follower::start(&client(followed.address())?, via, filter.clone(), staleness);

    run_until(demo, &followed, &feeder).await;
    let fed = feeder.finish().await?;
    // Everything is acknowledged, so the server's state now is what both copies must reach.
    let truth = client(address)?.list(&filter).await.map_err(|error| describe(&error))?;
    let combined = follower.finish(truth.rev).await?;
    let polling = poller.finish().await?;
    Ok(Report::new(demo.run_for, fed, &truth, &combined, &polling, [&followed, &polled]))
}

fn client(address: SocketAddr) -> Result<Client, String> {
    Client::new(&format!("http://{address}")).map_err(|error| error.to_string())
}

/// Cuts the link again and again until the time is over or somebody presses Ctrl-C.
async fn run_until(demo: &Demo, link: &Cutter, feeder: &Feeder) {
    let bar = progress(demo);
    let (began, mut random) = (Instant::now(), fastrand::Rng::new());
    let end = began + demo.run_for;
    let mut next_cut = began + Duration::from_millis(random.u64(CUT_EVERY_MILLIS.0..CUT_EVERY_MILLIS.1));
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        tokio::select! {
            now = tick.tick() => {
                bar.set_position(began.elapsed().min(demo.run_for).as_millis() as u64);
                bar.set_message(format!("{} updates, {} cuts", feeder.updates(), link.cuts()));
                if now >= end {
                    break;
                }
                if now >= next_cut {
                    link.cut();
                    next_cut = now + Duration::from_millis(random.u64(CUT_EVERY_MILLIS.0..CUT_EVERY_MILLIS.1));
                }
            }
            _ = &mut interrupted => break,
        }
    }
    bar.finish_and_clear();
}

fn progress(demo: &Demo) -> ProgressBar {
    if demo.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(demo.run_for.as_millis() as u64);
    let style = ProgressStyle::with_template("  {bar:40} {percent:>3}%  {msg}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
