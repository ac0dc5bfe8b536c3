//! The program under test, running.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::Process;

/// How long the program may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);
/// Shards of a server under test, unless the test says otherwise.
const SHARDS: &str = "2";

/// How to start the program.
#[derive(Debug)]
pub struct Setup {
    data: PathBuf,
    own_data: Option<TempDir>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    wrapper: Vec<OsString>,
}

/// A running program. Dropped, it is killed, and its log must hold no warning that the test did not expect.
#[derive(Debug)]
pub struct Server {
    process: Process,
    address: SocketAddr,
    expected: Vec<String>,
    took: Duration,
    data: PathBuf,
    own_data: Option<TempDir>,
}

/// The program ended before it was ready.
#[derive(Debug, thiserror::Error)]
#[error("ended with {status} before it was ready:\n{log}")]
pub struct NotReady {
    /// Its exit status.
    pub status: ExitStatus,
    /// All that it said.
    pub log: String,
}

/// Where the program is: `DOVETAIL_BIN`, or beside this test.
pub fn program() -> PathBuf {
    let path = std::env::var_os("DOVETAIL_BIN").map_or_else(
        || {
            let test = std::env::current_exe().unwrap();
            test.ancestors().nth(2).unwrap().join("dovetail")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "{} is not there: build it with `cargo build -p dovetail-server`",
        path.display()
    );
    path
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// On a free port and an empty data directory that goes away with the server.
    pub fn new() -> Self {
        let own = tempfile::Builder::new().prefix("dovetail-test-").tempdir().unwrap();
        Self { own_data: Some(own), ..Self::on(Path::new("")) }
    }

    /// On a free port and a data directory that stays. There are several shards whatever the machine has, so that what goes
    /// from one to another is tested everywhere.
    pub fn on(data: &Path) -> Self {
        Self {
            data: data.to_path_buf(),
            own_data: None,
            arguments: Vec::new(),
            environment: vec![("DOVETAIL__SHARDS".into(), SHARDS.into())],
            wrapper: Vec::new(),
        }
    }

    /// Adds an argument of `dovetail serve`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets a variable that it reads, such as `DOVETAIL__HISTORY__REVISIONS`.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs the program under another one, such as strace.
    #[must_use]
    pub fn under(mut self, wrapper: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// Starts the program and waits until it is ready.
    pub fn start(self) -> Server {
        self.try_start().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts the program; it may refuse.
    pub fn try_start(self) -> Result<Server, NotReady> {
        let data = self.own_data.as_ref().map_or(self.data, |own| own.path().to_path_buf());
        let mut words = self.wrapper;
        words.push(program().into());
        words.extend(["serve", "--listen", "127.0.0.1:0", "--data"].map(OsString::from));
        words.push(data.clone().into());
        words.extend(self.arguments);
        let started = Instant::now();
        let mut process = Process::start(Command::new(&words[0]).args(&words[1..]).envs(self.environment));
        let ready = process.wait_for(PATIENCE, |line| line.starts_with("ready ").then_some(()));
        // The addresses come before the line that says that it is ready.
        let Some(address) = ready.and_then(|()| process.wait_for(Duration::ZERO, address_in)) else {
            // It ended, or it hangs; either way it has to go.
            let status = process.wait(Duration::from_secs(1)).unwrap_or_else(|| process.kill());
            return Err(NotReady { status, log: process.complete_output() });
        };
        Ok(Server {
            process,
            address,
            expected: Vec::new(),
            took: started.elapsed(),
            data,
            own_data: self.own_data,
        })
    }
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The time from its start to its readiness.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// The number of its process; under a wrapper, of the wrapper.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A warning or error that contains `part` is part of this test.
    pub fn expect_in_log(&mut self, part: &str) {
        self.expected.push(part.to_owned());
    }

    /// All that it said so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Its resident memory, in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to stop (SIGTERM).
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Its exit status, if it ends in time.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.process.wait(patience)
    }

    fn complaints(&self) -> Vec<String> {
        let unexpected =
            |line: &&str| is_complaint(line) && !self.expected.iter().any(|part| line.contains(part));
        self.process.complete_output().lines().filter(unexpected).map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill();
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the runner shows it with the failing test")]
            {
                eprintln!("the server said:\n{}", self.log());
            }
            return;
        }
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "the server complained:\n{}", complaints.join("\n"));
        drop(self.own_data.take());
    }
}

/// The address in a line that says where the program listens.
fn address_in(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("listening on ")?.parse().ok()
}

/// Whether a line of the log is a warning or worse, in the plain or the JSON form.
fn is_complaint(line: &str) -> bool {
    let mut words = line.split_whitespace().take(4);
    words.any(|word| matches!(word, "WARN" | "ERROR"))
        || line.contains("\"level\":\"WARN\"")
        || line.contains("\"level\":\"ERROR\"")
        || line.contains("panicked at")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_the_line_that_says_so() {
        assert_eq!(address_in("listening on 127.0.0.1:4711"), Some("127.0.0.1:4711".parse().unwrap()));
        for line in ["127.0.0.1:4711", "listening on everything", "was listening on 127.0.0.1:4711"] {
            assert_eq!(address_in(line), None, "{line}");
        }
    }

    #[test]
    fn complaints_are_told_from_the_rest() {
        for line in [
            "2026-11-22T10:00:00Z  WARN dovetail: slow",
            "ERROR disk is full",
            "{\"level\":\"ERROR\"}",
            "thread 'main' panicked at src/main.rs",
        ] {
            assert!(is_complaint(line), "{line}");
        }
        for line in ["2026-11-22T10:00:00Z  INFO dovetail: no ERROR so far", "WARNING is not a level", ""] {
            assert!(!is_complaint(line), "{line}");
        }
    }
}
