//! `cargo xtask check`: what every commit must pass, in a minute or two.

use std::path::Path;

use anyhow::Result;

use crate::stages::{Show, Stages, available};
use crate::{supply, tidy};

/// The crates without I/O, whose tests take seconds.
const PURE: [&str; 7] = [
    "dovetail-model",
    "dovetail-api",
    "dovetail-mqtt-proto",
    "dovetail-auth",
    "dovetail-tree",
    "dovetail-routes",
    "xtask",
];

/// Runs every check and reports all that fail.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut stages = Stages::new(root)?;
    rules(root, &mut stages)?;
    let mut arguments = if available("cargo-nextest") {
        vec!["nextest", "run", "--no-fail-fast"]
    } else {
        vec!["test", "--lib", "--bins", "--tests", "--no-fail-fast"]
    };
    for name in PURE {
        arguments.extend(["-p", name]);
    }
    stages.run("unit tests of the pure crates", "cargo", &arguments, Show::OnFailure)?;
    stages.close()
}

/// The checks that run no tests: formatting, house rules, dependencies, lints.
pub(crate) fn rules(root: &Path, stages: &mut Stages) -> Result<()> {
    stages.run("format", "cargo", &["fmt", "--all", "--check"], Show::OnFailure)?;
    stages.check("tidy", || tidy::run(root));
    stages.check("dependencies", || supply::run(root));
    if available("cargo-deny") {
        // Advisories need the network and change without us: they belong to a scheduled run, not to every commit.
        stages.run(
            "cargo-deny",
            "cargo",
            &["deny", "check", "licenses", "bans", "sources"],
            Show::OnFailure,
        )?;
    }
    stages.run(
        "clippy",
        "cargo",
        &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        Show::OnFailure,
    )?;
    Ok(())
}
