//! Averages of how much happens in a minute, over one, five and fifteen minutes.

use std::time::{Duration, Instant};

/// The windows, as they are named, and their lengths in seconds.
pub(super) const WINDOWS: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

/// The averages of one count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    total: u64,
    per_minute: [f64; WINDOWS.len()],
}

impl Load {
    /// The count is at `total`, so long after the last look. Gives the averages, which follow the count like the load
    /// average of a system: each look weighs as much of the window as it is long.
    pub(super) fn look(&mut self, total: u64, since_last: Duration) -> [f64; WINDOWS.len()] {
        let seconds = since_last.as_secs_f64();
        let more = total.wrapping_sub(std::mem::replace(&mut self.total, total));
        if seconds > 0.0 {
            let now = more as f64 * 60.0 / seconds;
            for (average, (_, window)) in self.per_minute.iter_mut().zip(WINDOWS) {
                let keep = (-seconds / window).exp();
                *average = keep * *average + (1.0 - keep) * now;
            }
        }
        self.per_minute
    }
}

/// The time since the last look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    pub(super) fn new(now: Instant) -> Self {
        Self(now)
    }

    pub(super) fn lap(&mut self, now: Instant) -> Duration {
        now.saturating_duration_since(std::mem::replace(&mut self.0, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn a_steady_rate_is_approached_by_each_window_at_its_pace() {
        let mut load = Load::default();
        let mut averages = load.look(0, Duration::ZERO);
        assert!(averages.iter().all(|average| *average == 0.0), "nothing was seen: {averages:?}");
        for look in 1..=6 {
            averages = load.look(look * 100, TEN);
        }
        // After one minute of 600 a minute: 1 - e^-1, 1 - e^-(1/5), 1 - e^-(1/15) of it.
        for (average, expected) in averages.into_iter().zip([379.27, 108.76, 38.69]) {
            assert!((average - expected).abs() < 0.01, "{average} instead of {expected}");
        }
        for look in 7..=6_000 {
            averages = load.look(look * 100, TEN);
        }
        assert!(averages.iter().all(|average| (average - 600.0).abs() < 0.01), "{averages:?}");
    }

    #[test]
    fn silence_is_forgotten() {
        let mut load = Load::default();
        load.look(600, Duration::from_mins(1));
        let [one, five, fifteen] = load.look(600, Duration::from_mins(10));
        for (average, expected) in [(one, 0.02), (five, 14.72), (fifteen, 19.87)] {
            assert!((average - expected).abs() < 0.01, "{one} {five} {fifteen}");
        }
    }
}
