//! Running a list of commands as named stages: output kept in a log, shown when it matters, and a table of times at
//! the end.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Lines of a failed quiet stage that are shown; the rest is in its log.
const TAIL_LINES: usize = 200;

/// What a stage shows while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// Nothing unless it fails.
    OnFailure,
    /// Every line as it comes.
    Always,
}

/// How a stage ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whether the command exited with 0.
    pub(crate) passed: bool,
    /// Standard output and standard error as they came, without colours when not on a terminal.
    pub(crate) output: String,
}

/// The stages of one `cargo xtask` command.
#[derive(Debug)]
pub(crate) struct Stages {
    root: PathBuf,
    logs: PathBuf,
    done: Vec<Done>,
}

#[derive(Debug)]
struct Done {
    name: String,
    took: Duration,
    passed: bool,
}

impl Stages {
    /// Starts an empty list for the workspace at `root`.
    pub(crate) fn new(root: &Path) -> Result<Self> {
        let logs = target_dir(root).join("xtask-logs");
        fs::create_dir_all(&logs).with_context(|| format!("could not create {}", logs.display()))?;
        Ok(Self { root: root.to_path_buf(), logs, done: Vec::new() })
    }

    /// Runs `program` with `arguments` in the workspace's root as the stage `name`.
    pub(crate) fn run(
        &mut self,
        name: &str,
        program: &str,
        arguments: &[&str],
        show: Show,
    ) -> Result<Outcome> {
        let mut command = Command::new(program);
        command.args(arguments);
        self.run_command(name, command, show)
    }

    /// Runs `command` as the stage `name`. A command that cannot be started is an error; one that exits with another
    /// code than 0 is a failed stage, and later stages still run.
    pub(crate) fn run_command(&mut self, name: &str, mut command: Command, show: Show) -> Result<Outcome> {
        announce(name);
        let log_path = self.logs.join(format!("{}.log", name.replace([' ', '/'], "-")));
        let started = Instant::now();
        command
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .env("CARGO_TERM_PROGRESS_WHEN", "never")
            .env("CARGO_TERM_COLOR", if colours() { "always" } else { "never" });
        let outcome = capture(command, &log_path, show).with_context(|| format!("stage {name}"))?;
        self.finish(name, started, outcome.passed);
        if !outcome.passed && show == Show::OnFailure {
            print_tail(&outcome.output, &log_path);
        }
        Ok(outcome)
    }

    /// Runs a check that is code of ours as the stage `name`.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Result<()>) {
        announce(name);
        let started = Instant::now();
        let result = check();
        self.finish(name, started, result.is_ok());
        if let Err(error) = result {
            println!("{error:#}");
        }
    }

    /// Whether every stage so far passed.
    pub(crate) fn passed(&self) -> bool {
        self.done.iter().all(|done| done.passed)
    }

    /// Prints the table of times.
    ///
    /// # Errors
    /// Names the stages that failed, if any did.
    pub(crate) fn close(self) -> Result<()> {
        let width = self.done.iter().map(|done| done.name.len()).max().unwrap_or(0);
        println!();
        for done in &self.done {
            let verdict = if done.passed { "ok" } else { "FAILED" };
            println!("{:width$}  {:>7.1} s  {verdict}", done.name, done.took.as_secs_f64());
        }
        let failed: Vec<&str> =
            self.done.iter().filter(|done| !done.passed).map(|done| done.name.as_str()).collect();
        if !failed.is_empty() {
            bail!("failed: {}; logs are in {}", failed.join(", "), self.logs.display());
        }
        Ok(())
    }

    fn finish(&mut self, name: &str, started: Instant, passed: bool) {
        self.done.push(Done { name: name.to_owned(), took: started.elapsed(), passed });
    }
}

/// Where cargo puts what it builds for the workspace at `root`.
pub(crate) fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// Whether `program` can be found on the path.
pub(crate) fn available(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join(program).is_file()))
}

/// Whether output may be coloured.
pub(crate) fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn announce(name: &str) {
    println!("== {name}");
}

/// Runs `command` with both outputs on one pipe, copies each line to the log, and to the screen if asked.
fn capture(mut command: Command, log_path: &Path, show: Show) -> Result<Outcome> {
    let mut log =
        File::create(log_path).with_context(|| format!("could not create {}", log_path.display()))?;
    let (reader, writer) = std::io::pipe().context("could not make a pipe")?;
    let errors = writer.try_clone().context("could not share a pipe")?;
    let program = command.get_program().to_owned();
    let mut child = command
        .stdout(writer)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("could not start {}", program.display()))?;
    // The command holds the writing ends of the pipe; while it lives the loop below would never see the end.
    drop(command);

    let mut output = String::new();
    let mut lines = BufReader::new(reader);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).context("could not read the output")? > 0 {
        log.write_all(&line).context("could not write the log")?;
        let text = String::from_utf8_lossy(&line);
        if show == Show::Always {
            print!("{text}");
        }
        output.push_str(&text);
        line.clear();
    }
    let status = child.wait().context("could not wait for the command")?;
    Ok(Outcome { passed: status.success(), output })
}

fn print_tail(output: &str, log_path: &Path) {
    let lines: Vec<&str> = output.lines().collect();
    let hidden = lines.len().saturating_sub(TAIL_LINES);
    if hidden > 0 {
        println!("({hidden} lines before these are in {})", log_path.display());
    }
    for line in &lines[hidden..] {
        println!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Outcome {
        let log =
            std::env::temp_dir().join(format!("xtask-stage-{}-{}.log", std::process::id(), script.len()));
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let outcome = capture(command, &log, Show::OnFailure).unwrap();
        fs::remove_file(log).unwrap();
        outcome
    }

    #[test]
    fn both_outputs_are_kept_and_the_code_decides() {
        let good = shell("echo out; echo err >&2");
        assert!(good.passed);
        assert!(good.output.contains("out\n") && good.output.contains("err\n"));
        assert!(!shell("echo seen; exit 3").passed);
    }
}
