//! `cargo xtask prove`: the long runs. The same tests as in `cargo xtask test`, told by an environment variable to do
//! their work many more times.
//!
//! The table [`PROOFS`] is the one place where those variables are defined; a test reads its own with the default that
//! keeps it short.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::stages::{Show, Stages, colours, target_dir};

/// How long and what.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Time for all proofs together, as `90s`, `30m` or `2h`; it is shared out by weight. A proof does as many
    /// cases as its share allows.
    #[arg(long, default_value = "30m", value_parser = duration)]
    budget: Duration,
    /// Run this proof alone (see `--list`), with the whole budget.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Print the proofs and end.
    #[arg(long)]
    list: bool,
}

/// One long run.
struct Proof {
    name: &'static str,
    /// What it shows, for `--list`.
    shows: &'static str,
    /// The variables that make it long.
    variables: &'static [(&'static str, Count)],
    /// Which tests: a nextest filter.
    tests: &'static str,
    /// Its part of the budget, in relation to the others.
    weight: u32,
}

/// How many cases.
#[derive(Clone, Copy)]
enum Count {
    /// So many, or as many as fit into the share: the test watches the time.
    UpTo(u64),
    /// So many for each second of the share: what two cores do, with room. The test does not watch the time.
    EachSecond(u64),
}

/// Told to each proof: seconds after which it shall start no further case. A proof that ends its whole count earlier is
/// done earlier.
const SECONDS: &str = "DOVETAIL_PROVE_SECONDS";

const PROOFS: [Proof; 12] = [
    Proof {
        name: "kill",
        shows: "nothing acknowledged is lost, nothing refused is applied, over 1,000 kill -9 under mixed load",
        variables: &[("DOVETAIL_KILL_CYCLES", Count::UpTo(1000))],
        tests: "package(dovetail-tests) & test(/^kill::/)",
        weight: 4,
    },
    Proof {
        name: "sessions",
        shows: "what was confirmed reaches every MQTT session, with QoS 2 never twice, over 300 kill -9",
        variables: &[("DOVETAIL_SESSION_CYCLES", Count::UpTo(300))],
        tests: "package(dovetail-tests) & test(/^sessions::/)",
        weight: 2,
    },
    Proof {
        name: "crash-images",
        shows: "the journal opens, complete, from every image that a power cut may leave, and a flipped bit never passes for data",
        variables: &[
            ("DOVETAIL_CRASH_IMAGES", Count::EachSecond(150)),
            ("DOVETAIL_BIT_FLIPS", Count::EachSecond(60)),
        ],
        tests: "package(dovetail-journal) & binary(crash)",
        weight: 2,
    },
    Proof {
        name: "properties",
        shows: "every property test of the workspace, on many more cases",
        variables: &[("PROPTEST_CASES", Count::EachSecond(10))],
        tests: "not package(dovetail-tests) & not package(dovetail-bench) & not binary(crash)",
        weight: 2,
    },
    Proof {
        name: "disk-errors",
        shows: "no acknowledgement after a failed write or sync, whichever call fails (strace injects it)",
        variables: &[("DOVETAIL_DISK_ERRORS", Count::UpTo(200))],
        tests: "package(dovetail-tests) & test(/^disk::/)",
        weight: 1,
    },
    Proof {
        name: "stop",
        shows: "200 orderly stops under load lose nothing and end in time",
        variables: &[("DOVETAIL_STOP_CYCLES", Count::UpTo(200))],
        tests: "package(dovetail-tests) & test(/^stop::/)",
        weight: 1,
    },
    Proof {
        name: "cuts",
        shows: "sessions and tracked subscriptions go on without a gap over 10,000 connections that break at any byte",
        variables: &[("DOVETAIL_CUTS", Count::UpTo(10_000))],
        tests: "package(dovetail-tests) & test(/^cuts::/)",
        weight: 2,
    },
    Proof {
        name: "doors",
        shows: "a hundred subscribers on all doors see the same over 300 kills and stops and any number of cuts",
        variables: &[("DOVETAIL_DOOR_ROUNDS", Count::UpTo(300))],
        tests: "package(dovetail-tests) & test(/^every_door::/)",
        weight: 2,
    },
    Proof {
        name: "mutants",
        shows: "a million packets of damaged MQTT sessions harm nobody but their senders",
        variables: &[("DOVETAIL_MUTANT_PACKETS", Count::UpTo(1_000_000))],
        tests: "package(dovetail-tests) & test(/^mutants::/)",
        weight: 2,
    },
    Proof {
        name: "wills",
        shows: "1,000 wills are published once or never, whether the client goes, the server, or both",
        variables: &[("DOVETAIL_WILL_CASES", Count::UpTo(1000))],
        tests: "package(dovetail-tests) & test(/^wills::/)",
        weight: 1,
    },
    Proof {
        name: "subscriptions",
        shows: "800 subscriptions of one connection miss nothing while some of them catch up all the time",
        variables: &[("DOVETAIL_SUBSCRIPTION_ROUNDS", Count::UpTo(200))],
        tests: "package(dovetail-tests) & test(/^many::/)",
        weight: 1,
    },
    Proof {
        name: "churn",
        shows: "ten minutes of client ids being taken over: nobody hangs, nothing goes astray, memory stays",
        variables: &[("DOVETAIL_CHURN_SECONDS", Count::UpTo(600))],
        tests: "package(dovetail-tests) & test(/^churn::/)",
        weight: 3,
    },
];

/// Runs the proofs within the budget.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    if options.list {
        for proof in &PROOFS {
            println!("{:14} {}", proof.name, proof.shows);
        }
        return Ok(());
    }
    let chosen: Vec<&Proof> =
        PROOFS.iter().filter(|proof| options.only.as_deref().is_none_or(|only| only == proof.name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = PROOFS.iter().map(|proof| proof.name).collect();
        bail!("no such proof; there are {}", names.join(", "));
    }
    let mut stages = Stages::new(root)?;
    let build = ["build", "--locked", "-p", "dovetail-server", "--bin", "dovetail"];
    stages.run("build", "cargo", &build, Show::OnFailure)?;
    stages.run(
        "build the tests",
        "cargo",
        &["nextest", "run", "--workspace", "--locked", "--no-run"],
        Show::OnFailure,
    )?;
    if stages.passed() {
        let started = Instant::now();
        for (index, proof) in chosen.iter().enumerate() {
            let share = share(options.budget.saturating_sub(started.elapsed()), &chosen[index..]);
            stages.run_command(proof.name, command(root, proof, share), Show::Always)?;
        }
    }
    stages.close()
}

/// What the first of `left` may use of the time that remains.
fn share(remaining: Duration, left: &[&Proof]) -> Duration {
    let weights: u32 = left.iter().map(|proof| proof.weight).sum();
    left.first().map_or(Duration::ZERO, |first| remaining * first.weight / weights)
}

fn command(root: &Path, proof: &Proof, share: Duration) -> Command {
    let mut command = Command::new("cargo");
    command
        .args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--profile", "prove"])
        .args(["--color", if colours() { "always" } else { "never" }])
        .args(["-E", proof.tests])
        .env("DOVETAIL_BIN", target_dir(root).join("debug/dovetail"))
        .env("DOVETAIL_TOOLS", root.join(".tools"))
        .env(SECONDS, share.as_secs().max(1).to_string());
    for (name, value) in proof.variables {
        let count = match value {
            Count::UpTo(count) => *count,
            Count::EachSecond(count) => count * share.as_secs().max(1),
        };
        command.env(name, count.to_string());
    }
    command
}

/// Reads `90s`, `30m`, `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no duration such as 90s, 30m or 2h");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(number * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_with_their_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("30m"), Ok(Duration::from_mins(30)));
        assert_eq!(duration("2h"), Ok(Duration::from_hours(2)));
        for wrong in ["", "30", "m", "-1s", "3d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn time_is_shared_by_weight_and_what_is_saved_goes_to_the_rest() {
        let all: Vec<&Proof> = PROOFS.iter().collect();
        let hundred = Duration::from_secs(100);
        let weights: u32 = PROOFS.iter().map(|proof| proof.weight).sum();
        assert_eq!(share(hundred, &all), hundred * PROOFS[0].weight / weights);
        assert_eq!(share(hundred, &all[PROOFS.len() - 1..]), hundred);
        assert_eq!(share(hundred, &[]), Duration::ZERO);
    }
}
