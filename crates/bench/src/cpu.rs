//! What a process and its children cost: CPU time in nanoseconds, and resident memory.
//!
//! The scheduler accounts every thread in nanoseconds (`/proc/PID/task/*/schedstat`). A thread that has ended takes its line
//! with it, so a sample also holds the coarse total of `/proc/PID/stat`, which keeps the dead; it decides when a thread went
//! missing between two samples. Work that the kernel does for a sender on loopback is accounted to the sender, for servers
//! and floors alike.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Nanoseconds in one tick of `/proc/PID/stat` (`USER_HZ` is 100 on every Linux that has it).
const TICK_NS: u64 = 10_000_000;

/// The CPU time of one process tree at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    threads: HashMap<u32, u64>,
    total_ticks: u64,
}

impl Sample {
    /// Reads the CPU time of process `pid` and all its descendants.
    pub(crate) fn take(pid: u32) -> Result<Self> {
        let mut sample = Self::default();
        for pid in tree(pid) {
            sample.add(pid)?;
        }
        Ok(sample)
    }

    /// Reads the CPU time of the calling thread alone.
    pub(crate) fn of_this_thread() -> Result<Self> {
        let line = fs::read_to_string("/proc/thread-self/schedstat")?;
        let ns = first_number(&line).context("no number in schedstat")?;
        Ok(Self { threads: HashMap::from([(0, ns)]), total_ticks: 0 })
    }

    /// Nanoseconds of CPU from `self` to the later sample `end`.
    pub(crate) fn until(&self, end: &Self) -> u64 {
        let alive: u64 = end
            .threads
            .iter()
            .map(|(tid, ns)| ns.saturating_sub(self.threads.get(tid).copied().unwrap_or(0)))
            .sum();
        let lost_a_thread = self.threads.keys().any(|tid| !end.threads.contains_key(tid));
        if lost_a_thread {
            alive.max(end.total_ticks.saturating_sub(self.total_ticks) * TICK_NS)
        } else {
            alive
        }
    }

    fn add(&mut self, pid: u32) -> Result<()> {
        let tasks =
            fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))?;
        for task in tasks.flatten() {
            let Some(tid) = task.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // A thread may end between the listing and the reading.
            if let Ok(line) = fs::read_to_string(task.path().join("schedstat"))
                && let Some(ns) = first_number(&line)
            {
                self.threads.insert(tid, ns);
            }
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The command name may hold spaces; the fields after its bracket are fixed: user time is the 12th, system the 13th.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        self.total_ticks += fields
            .split_ascii_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<u64>().ok())
            .sum::<u64>();
        Ok(())
    }
}

/// System calls that are worth counting on the way of a message.
const SYSCALLS: &[&str] = &[
    "read",
    "readv",
    "recvfrom",
    "recvmsg",
    "write",
    "writev",
    "sendto",
    "sendmsg",
    "sendfile64",
    "pwrite64",
    "fdatasync",
    "fsync",
    "epoll_wait",
    "epoll_ctl",
    "futex",
    "openat",
    "close",
    "madvise",
];

/// Whether system calls are counted too: it costs the server a little, so not when CPU is what matters.
static COUNT_SYSCALLS: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// From now on meters count system calls as well.
pub(crate) fn count_syscalls() {
    COUNT_SYSCALLS.store(true, std::sync::atomic::Ordering::Relaxed);
}

/// Measures a process tree from its start to its finish.
pub(crate) struct Meter {
    pid: u32,
    before: Sample,
    perf: Option<Child>,
}

/// What a process tree spent under a meter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spent {
    /// CPU nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Calls by name, when they were counted.
    pub(crate) syscalls: BTreeMap<String, u64>,
}

impl Meter {
    /// Starts measuring `pid` and its descendants.
    pub(crate) fn start(pid: u32) -> Result<Self> {
        let wanted = COUNT_SYSCALLS.load(std::sync::atomic::Ordering::Relaxed);
        let perf = if wanted { Some(start_perf(pid)?) } else { None };
        Ok(Self { pid, before: Sample::take(pid)?, perf })
    }

    /// Says what was spent since the start.
    pub(crate) fn finish(self) -> Result<Spent> {
        let cpu_ns = self.before.until(&Sample::take(self.pid)?);
        let syscalls = self.perf.map_or(Ok(BTreeMap::new()), stop_perf)?;
        Ok(Spent { cpu_ns, syscalls })
    }
}

impl Spent {
    /// CPU nanoseconds and calls for each of `count` operations.
    pub(crate) fn per(&self, count: u64) -> (f64, BTreeMap<String, f64>) {
        let share = |total: u64| total as f64 / count as f64;
        (
            share(self.cpu_ns),
            self.syscalls.iter().map(|(name, &total)| (name.clone(), share(total))).collect(),
        )
    }
}

fn start_perf(pid: u32) -> Result<Child> {
    let events: Vec<String> = SYSCALLS.iter().map(|name| format!("syscalls:sys_enter_{name}")).collect();
    let pids: Vec<String> = tree(pid).iter().map(u32::to_string).collect();
    Command::new("perf")
        .args(["stat", "-x", ",", "-e", &events.join(","), "-p", &pids.join(",")])
        .stderr(Stdio::piped())
        .spawn()
        .context("counting system calls needs `perf`")
}

/// Ends `perf stat`, which then prints a line `COUNT,,EVENT,…` for each event.
fn stop_perf(perf: Child) -> Result<BTreeMap<String, u64>> {
    let pid = rustix::process::Pid::from_child(&perf);
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    let output = perf.wait_with_output()?;
    // perf ends by the signal that it was sent, so its status says nothing.
    let lines = String::from_utf8_lossy(&output.stderr).into_owned();
    let counts = lines.lines().filter_map(|line| {
        let mut fields = line.split(',');
        let count: u64 = fields.next()?.parse().ok()?;
        let name = fields.nth(1)?.strip_prefix("syscalls:sys_enter_")?;
        (count > 0).then(|| (name.to_owned(), count))
    });
    let counts: BTreeMap<_, _> = counts.collect();
    ensure!(!counts.is_empty(), "perf counted nothing: {}", lines.trim());
    Ok(counts)
}

/// Resident bytes of process `pid` alone.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The most resident bytes that process `pid` alone ever had.
pub(crate) fn peak_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "VmHWM:")
}

fn status_bytes(pid: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(first_number)
        .with_context(|| format!("no {field} in /proc/PID/status"))?;
    Ok(kib * 1024)
}

/// `pid` and its descendants. A process that ends meanwhile is left out.
pub(crate) fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        if let Ok(children) = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
            found.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    found
}

fn first_number(line: &str) -> Option<u64> {
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
mod tests {
    use super::*;

    #[test]
    fn spinning_is_accounted_to_the_spinner() {
        let pid = std::process::id();
        let before = Sample::take(pid).unwrap();
        let mut sum = 0_u64;
        for i in 0..20_000_000_u64 {
            sum = std::hint::black_box(sum ^ i);
        }
        let spent = before.until(&Sample::take(pid).unwrap());
        assert!(spent > 1_000_000, "20 million steps took {spent} ns, which is less than possible");
        assert!(resident_bytes(pid).unwrap() > 100_000);
        assert!(peak_bytes(pid).unwrap() >= resident_bytes(pid).unwrap());
    }

    #[test]
    fn a_thread_that_ended_still_counts() {
        let before = Sample { threads: HashMap::from([(1, 5), (2, 7)]), total_ticks: 0 };
        let end = Sample { threads: HashMap::from([(1, 6)]), total_ticks: 3 };
        assert_eq!(before.until(&end), 3 * TICK_NS);
    }
}
