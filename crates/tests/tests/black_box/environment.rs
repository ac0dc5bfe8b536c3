//! How long the long tests are (`xtask/src/prove.rs` sets what makes them longer), and where our own programs are.

use std::time::{Duration, Instant};

/// The program that writes and records.
pub(crate) const RECORDER: &str = env!("CARGO_BIN_EXE_recorder");

/// How many cases to run, and until when to start another.
#[derive(Debug)]
pub(crate) struct Length {
    count: u64,
    until: Option<Instant>,
    done: u64,
}

impl Length {
    /// The count of the variable `name`, or `default`.
    pub(crate) fn of(name: &str, default: u64) -> Self {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let until =
            number("DOVETAIL_PROVE_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
        Self { count: number(name).unwrap_or(default), until, done: 0 }
    }

    /// Whether to go on when so many are done: for cases that are counted while several threads do them.
    pub(crate) fn goes_on_after(&mut self, done: u64) -> bool {
        self.done = done;
        done < self.count && self.until.is_none_or(|until| Instant::now() < until)
    }

    /// How many cases were started; printed at the end of a long run, which may be cut by its time.
    pub(crate) fn report(&self, what: &str) {
        #[expect(clippy::print_stderr, reason = "the runner shows it")]
        {
            eprintln!("{} of {} {what}", self.done, self.count);
        }
    }
}

impl Iterator for Length {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let late = self.until.is_some_and(|until| Instant::now() > until);
        if self.done == self.count || late {
            return None;
        }
        self.done += 1;
        Some(self.done)
    }
}
