//! When to try again.

use std::time::Duration;

/// Delays that double from attempt to attempt, each shortened by up to half at random, so that the clients of a
/// server that restarted do not come back all at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    attempt: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, attempt: 0 }
    }

    /// Attempts that failed since the last headway.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Something was told: the next failure is a first one.
    pub(crate) fn headway(&mut self) {
        self.attempt = 0;
    }

    /// Another attempt failed: how long to wait. Never shorter than what the server asked for.
    pub(crate) fn next_delay(&mut self, asked: Option<Duration>) -> Duration {
        let full = self.first.saturating_mul(2u32.saturating_pow(self.attempt)).min(self.most);
        self.attempt = self.attempt.saturating_add(1);
        let delay = full.mul_f64(0.5 + fastrand::f64() / 2.0);
        delay.max(asked.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_most_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for full_ms in [100, 200, 400, 800, 1_000, 1_000] {
            let delay = backoff.next_delay(None);
            let full = Duration::from_millis(full_ms);
            assert!(full / 2 <= delay && delay <= full, "{delay:?} of {full:?}");
        }
        assert_eq!(backoff.attempt(), 6);
        backoff.headway();
        assert!(backoff.next_delay(None) <= Duration::from_millis(100));
        assert_eq!(backoff.next_delay(Some(Duration::from_secs(7))), Duration::from_secs(7));
        backoff.attempt = u32::MAX;
        assert!(backoff.next_delay(None) <= Duration::from_secs(1));
    }
}
