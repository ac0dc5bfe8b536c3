//! The commands of a client: read, write and watch a Dovetail server from a terminal or a script.
//!
//! [`Command`] is what was typed, as a `clap` subcommand; [`run`] does it. Results go to standard output,
//! everything said about them to standard error. `--json` prints one JSON object a line, in the shapes of
//! `dovetail-api`.
//!
//! # Exit codes
//!
//! | code | means |
//! |---|---|
//! | 0 | done |
//! | 1 | failed in a way that has no code of its own |
//! | 2 | the command line is wrong |
//! | 3 | there is no such resource |
//! | 4 | a precondition does not hold, or an idempotency key was used for something else |
//! | 5 | the server cannot be reached, or did not answer in time |
//! | 6 | not allowed |
//! | 7 | the position can no longer be resumed |

mod args;
mod connection;
mod failure;
mod input;
mod names;
mod read;
mod show;
mod watch;
mod write;

use std::io::Write as _;
use std::process::ExitCode;

pub use args::{Command, Completions, Connection, Delete, Get, List, Patch, Publish, Put, Via, Watch};
pub use failure::Failure;

/// Does what was typed. `program` is the whole command line that [`Command`] is a part of; completions are
/// those of it.
pub fn run(command: Command, program: clap::Command) -> ExitCode {
    let result = match command {
        Command::Completions(completions) => complete(&completions, program),
        other => wait_for(work(other)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.explain(&mut anstream::stderr().lock());
            failure.code()
        }
    }
}

/// Prints the completion script of `program`.
fn complete(completions: &Completions, mut program: clap::Command) -> Result<(), Failure> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut program, name, &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

async fn work(command: Command) -> Result<(), Failure> {
    match command {
        Command::Get(get) => read::get(get).await,
        Command::Ls(list) => read::list(list).await,
        Command::Put(put) => write::put(put).await,
        Command::Patch(patch) => write::patch(patch).await,
        Command::Delete(delete) => write::delete(delete).await,
        Command::Publish(publish) => write::publish(publish).await,
        Command::Watch(watch) => watch::watch(watch).await,
        Command::Completions(_) => Ok(()),
    }
}

fn wait_for(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::Output)?.block_on(work)
}
