//! The commands of the house: one program that developers and CI both run, so that "it passes here" means the same
//! everywhere.
//!
//! * [`check`]: what every commit must pass, in a minute or two.
//! * [`test`]: everything that is tested on every change.
//! * [`prove`]: the same faults, many more times, within a time budget.
//! * [`bench`]: the numbers.
//! * [`setup`]: what the above need on a fresh Debian machine that has Rust.
//!
//! [`tidy`] and [`supply`] are the rules of the house that no other tool checks.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command's output is its product")]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing"))]

mod bench;
mod check;
mod prove;
mod setup;
mod stages;
mod supply;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands of the Dovetail house.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Formatting, lints, house rules, licences and the unit tests of the pure crates.
    Check,
    /// Only the house rules: layers, module cycles, sizes, words, links.
    Tidy,
    /// Everything that is tested on every change; installs what it needs first.
    Test(test::Options),
    /// The long runs: the same faults many more times, within a budget.
    Prove(prove::Options),
    /// Build for release and measure; further arguments go to `dovetail bench serve-path`.
    Bench(bench::Options),
    /// Install what the tests need: Debian packages, cargo-nextest, Python and npm clients.
    Setup,
}

fn main() -> ExitCode {
    let root = root();
    let result = match Arguments::parse().command {
        Command::Check => check::run(&root),
        Command::Tidy => tidy::run(&root),
        Command::Test(options) => test::run(&root, &options),
        Command::Prove(options) => prove::run(&root, &options),
        Command::Bench(options) => bench::run(&root, &options),
        Command::Setup => setup::run(&root),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace that this program was built from.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
