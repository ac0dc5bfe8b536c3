//! A child process whose output is read as it comes, and that does not outlive its owner.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long a process that was killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running child. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    /// Signals go through this, so that they never reach another process that got the number later.
    handle: OwnedFd,
    exit: Receiver<ExitStatus>,
    exited: Option<ExitStatus>,
    lines: Arc<Lines>,
}

/// What was said, line by line, and how many of the two outputs are closed.
#[derive(Debug, Default)]
struct Lines {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Said {
    lines: Vec<String>,
    closed: u8,
}

impl Process {
    /// Starts `command` without an input.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("could not start {command:?}: {error}"));
        let lines = Arc::new(Lines::default());
        lines.read(child.stdout.take().unwrap());
        lines.read(child.stderr.take().unwrap());
        let handle =
            pidfd_open(Pid::from_raw(child.id().cast_signed()).unwrap(), PidfdFlags::empty()).unwrap();
        let pid = child.id();
        let (done, exit) = mpsc::sync_channel(1);
        std::thread::spawn(move || wait(child, &done));
        Self { pid, handle, exit, exited: None, lines }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal; one that has ended is not told anything, which is no fault.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.handle, signal);
    }

    /// Its exit status, if it ends in time.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        if self.exited.is_none() {
            self.exited = self.exit.recv_timeout(patience).ok();
        }
        self.exited
    }

    /// Kills it and waits until it is gone. What it started goes first: a tracer that is killed lets its tracee go on.
    pub fn kill(&mut self) -> ExitStatus {
        self.kill_children();
        self.signal(Signal::KILL);
        self.wait(PATIENCE).unwrap_or_else(|| panic!("process {} was killed and does not end", self.pid))
    }

    fn kill_children(&self) {
        let pid = self.pid;
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|child| Pid::from_raw(child.parse().ok()?));
        for child in children {
            // One that has just ended needs no more.
            if let Ok(child) = pidfd_open(child, PidfdFlags::empty()) {
                let _ = pidfd_send_signal(&child, Signal::KILL);
            }
        }
    }

    /// Waits until `wanted` finds what it wants in a line, be it old or new; `None` when both outputs end before, or
    /// time does.
    pub fn wait_for<T>(&self, patience: Duration, wanted: impl Fn(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut said = self.lines.said.lock().unwrap();
        loop {
            if let Some(found) = said.lines.iter().find_map(|line| wanted(line)) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if said.closed == 2 || left.is_zero() {
                return None;
            }
            said = self.lines.more.wait_timeout(said, left).unwrap().0;
        }
    }

    /// Waits until a line contains `part`, and fails the test otherwise.
    pub fn says(&self, part: &str) {
        let found = self.wait_for(PATIENCE, |line| line.contains(part).then_some(()));
        assert!(found.is_some(), "waited for \"{part}\" in:\n{}", self.output());
    }

    /// What it said so far.
    pub fn output(&self) -> String {
        let said = self.lines.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.lines.join("\n")
    }

    /// All that it says, once it has ended.
    pub fn complete_output(&self) -> String {
        let said = self.lines.said.lock().unwrap();
        let waited = self.lines.more.wait_timeout_while(said, PATIENCE, |said| said.closed < 2).unwrap();
        waited.0.lines.join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_children();
        self.signal(Signal::KILL);
        self.wait(PATIENCE);
    }
}

impl Lines {
    fn read(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        let lines = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                lines.said.lock().unwrap().lines.push(line);
                lines.more.notify_all();
            }
            lines.said.lock().unwrap().closed += 1;
            lines.more.notify_all();
        });
    }
}

fn wait(mut child: Child, done: &SyncSender<ExitStatus>) {
    if let Ok(status) = child.wait() {
        // Nobody may want to know any more.
        let _ = done.send(status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::start(Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn lines_are_seen_while_it_runs_and_it_goes_with_its_owner() {
        let mut process = shell("echo ready; echo also >&2; exec tail -f /dev/null");
        process.says("ready");
        process.says("also");
        assert_eq!(process.wait(Duration::ZERO), None);
        assert!(!process.kill().success());
    }

    #[test]
    fn the_end_is_seen() {
        let mut process = shell("echo last words; exit 3");
        assert_eq!(process.wait(PATIENCE).unwrap().code(), Some(3));
        assert_eq!(process.complete_output(), "last words");
        assert_eq!(process.wait_for(PATIENCE, |line| line.contains("never").then_some(())), None);
    }
}
