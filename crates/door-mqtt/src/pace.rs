//! How fast a connection may publish: beyond that it is read slower, and nothing is lost.

use std::time::{Duration, Instant};

/// Messages per second over time, and how many of them may come at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublishRate {
    /// The time that one message uses up.
    interval: Duration,
    /// How far ahead of the time its messages may be.
    ahead: Duration,
}

/// Whether one connection is ahead of its rate.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: PublishRate,
    /// When the time that all messages so far used up is over.
    used_until: Instant,
    /// Until when no further message is taken.
    pauses_until: Option<Instant>,
}

impl PublishRate {
    /// So many messages a second, of which `burst` may come at once; `None` if either is 0.
    pub fn new(per_second: u32, burst: u32) -> Option<Self> {
        let interval = Duration::from_secs(1).checked_div(per_second)?;
        let ahead = interval.saturating_mul(burst.checked_sub(1)?);
        Some(Self { interval, ahead })
    }
}

impl Pace {
    pub(crate) fn new(rate: PublishRate, now: Instant) -> Self {
        Self { rate, used_until: now, pauses_until: None }
    }

    /// A message was taken. Whether no other one may be taken now.
    pub(crate) fn spend(&mut self, now: Instant) -> bool {
        self.used_until = self.used_until.max(now) + self.rate.interval;
        self.pauses_until = self.used_until.checked_sub(self.rate.ahead).filter(|&again| now < again);
        self.pauses_until.is_some()
    }

    /// Ends the pause if it is over.
    pub(crate) fn go_on(&mut self, now: Instant) {
        self.pauses_until = self.pauses_until.filter(|&again| now < again);
    }

    /// When the pause ends; `None` if there is none.
    pub(crate) fn pauses_until(&self) -> Option<Instant> {
        self.pauses_until
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
mod tests {
    use super::*;

    /// Sends as fast as the pace lets it for `time`, and counts the messages.
    fn count(rate: PublishRate, time: Duration) -> usize {
        let begun = Instant::now();
        let (mut now, mut pace, mut count) = (begun, Pace::new(rate, begun), 0);
        while now < begun + time {
            count += 1;
            if pace.spend(now) {
                let again = pace.pauses_until().unwrap();
                pace.go_on(again.checked_sub(Duration::from_nanos(1)).unwrap());
                assert_eq!(pace.pauses_until(), Some(again));
                pace.go_on(again);
                assert_eq!(pace.pauses_until(), None);
                now = again;
            }
        }
        count
    }

    #[test]
    fn the_rate_holds_over_time_and_the_burst_at_once() {
        for (per_second, burst) in [(1, 1), (10, 1), (10, 5), (1_000, 1_000), (1_000_000, 7)] {
            let rate = PublishRate::new(per_second, burst).unwrap();
            let counted = count(rate, Duration::from_secs(2));
            let allowed = (2 * per_second + burst - 1) as usize;
            assert_eq!(counted, allowed, "{per_second} {burst}");
        }
        assert_eq!((PublishRate::new(0, 1), PublishRate::new(1, 0)), (None, None));
    }

    #[test]
    fn what_was_not_used_is_not_saved_beyond_the_burst() {
        let rate = PublishRate::new(10, 3).unwrap();
        let begun = Instant::now();
        let mut pace = Pace::new(rate, begun);
        let hour_later = begun + Duration::from_hours(1);
        assert_eq!([0, 1, 2].map(|_| pace.spend(hour_later)), [false, false, true]);
        assert_eq!(pace.pauses_until(), Some(hour_later + Duration::from_millis(100)));
    }
}
