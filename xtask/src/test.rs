//! `cargo xtask test`: everything that is tested on every change.

use std::path::Path;

use anyhow::Result;

use crate::stages::{Show, Stages, colours, target_dir};
use crate::{check, setup};

/// What to leave out.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Install nothing: every tool is known to be there.
    #[arg(long)]
    no_setup: bool,
}

/// Tests that passed and that did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

/// Installs what is missing, then runs the rules, the build of the server, every test, and the examples in doc comments.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let mut stages = Stages::new(root)?;
    if !options.no_setup {
        stages.check("setup", || setup::run(root));
    }
    check::rules(root, &mut stages)?;
    let binaries = ["build", "--locked", "-p", "dovetail-server", "--bin", "dovetail"];
    let built = stages.run("build", "cargo", &binaries, Show::OnFailure)?;
    let mut count = Count::default();
    if built.passed {
        let colour = if colours() { "always" } else { "never" };
        let mut tests = std::process::Command::new("cargo");
        tests
            .args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--color", colour])
            .env("DOVETAIL_BIN", target_dir(root).join("debug/dovetail"))
            .env("DOVETAIL_TOOLS", root.join(".tools"));
        let run = stages.run_command("tests", tests, Show::Always)?;
        count = count.and(of_nextest(&run.output));
        let examples = stages.run(
            "doc examples",
            "cargo",
            &["test", "--workspace", "--doc", "--locked", "--no-fail-fast"],
            Show::OnFailure,
        )?;
        count = count.and(of_libtest(&examples.output));
    }
    let result = stages.close();
    println!("\n{} passed, {} failed", count.passed, count.failed);
    result
}

impl Count {
    fn and(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

/// Reads nextest's closing line: `Summary [ 1.2s] 9 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 0 skipped`.
fn of_nextest(output: &str) -> Count {
    let plain = without_colours(output);
    let Some(line) = plain.lines().rfind(|line| line.trim_start().starts_with("Summary")) else {
        return Count::default();
    };
    let Some((_, parts)) = line.split_once("run:") else {
        return Count::default();
    };
    let number = |word: &str| -> u64 {
        parts
            .split(',')
            .map(str::trim)
            .filter(|part| part.split_once(' ').is_some_and(|(_, rest)| rest.starts_with(word)))
            .filter_map(|part| part.split(' ').next()?.parse::<u64>().ok())
            .sum()
    };
    Count { passed: number("passed"), failed: number("failed") + number("timed out") + number("exec failed") }
}

/// Adds up libtest's closing lines: `test result: ok. 3 passed; 0 failed; …`.
fn of_libtest(output: &str) -> Count {
    without_colours(output)
        .lines()
        .filter_map(|line| line.strip_prefix("test result: "))
        .map(|line| {
            let number = |word: &str| -> u64 {
                line.split(['.', ';'])
                    .filter_map(|part| part.trim().strip_suffix(word)?.trim().parse::<u64>().ok())
                    .sum()
            };
            Count { passed: number("passed"), failed: number("failed") }
        })
        .fold(Count::default(), Count::and)
}

/// Takes the colour sequences (`ESC [ … m`) out.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("\u{1b}[") {
        plain.push_str(&rest[..start]);
        let sequence = &rest[start..];
        let end = sequence.find('m').map_or(sequence.len(), |end| end + 1);
        rest = &sequence[end..];
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_from_the_closing_lines() {
        let coloured = "noise\n\u{1b}[32;1m     Summary\u{1b}[0m [   1.2s] \u{1b}[1m9\u{1b}[0m tests run: \u{1b}[1m6\u{1b}[0m passed (1 slow), 2 failed, 1 timed out, 4 skipped\n";
        assert_eq!(of_nextest(coloured), Count { passed: 6, failed: 3 });
        assert_eq!(of_nextest("no summary"), Count::default());
        let doc = "test result: ok. 3 passed; 0 failed; 0 ignored\ntest result: FAILED. 1 passed; 2 failed; 0 ignored\n";
        assert_eq!(of_libtest(doc), Count { passed: 4, failed: 2 });
    }
}
