//! What will happen in a measurement, decided before it begins and the same for every way: which resource is written when, and
//! which watcher is cut off when.

use std::time::Duration;

/// What to decide on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Resources.
    pub(super) resources: usize,
    /// Watchers.
    pub(super) watchers: usize,
    /// How many of them are cut off.
    pub(super) interrupted: usize,
    /// Updates each second.
    pub(super) rate: f64,
    /// How long it takes.
    pub(super) measured: Duration,
    /// How long a cut lasts; at most half of that.
    pub(super) outage: Duration,
}

/// All that will happen.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    /// Updates by the time at which they are due.
    pub(super) updates: Vec<Update>,
    /// For each watcher, how it is cut off.
    pub(super) cuts: Vec<Option<Cut>>,
}

/// A write that will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Update {
    /// Which resource.
    pub(super) resource: usize,
    /// When, counted from the beginning.
    pub(super) due: Duration,
}

/// An interruption that will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// When, counted from the beginning.
    pub(super) at: Duration,
    /// When the watcher comes back.
    pub(super) back: Duration,
    /// Whether it then uses what the way has for it.
    pub(super) with_fallback: bool,
}

/// Any number does; it is always this one, so that two runs compare.
const SEED: u64 = 0x0d07_e7a1;

impl Schedule {
    /// Decides. Updates are evenly spaced over the time and fall on resources by chance; cuts fall by chance into the middle
    /// half of the time, and are over by its end. Every second of those that are cut has no fallback.
    pub(super) fn new(shape: &Shape) -> Self {
        let mut random = Random(SEED);
        let count = count(shape);
        let updates = (0..count).map(|number| Update {
            resource: random.below(shape.resources as u64) as usize,
            due: shape.measured.mul_f64((number as f64 + 0.5) / count as f64),
        });
        let updates = updates.collect();
        let room = (shape.measured / 2).saturating_sub(shape.outage);
        let mut cut = 0;
        let cuts = (0..shape.watchers).map(|watcher| {
            // Spread over the watchers, because neighbours poll at about the same time.
            let before = |watcher: usize| watcher * shape.interrupted / shape.watchers;
            if before(watcher + 1) == before(watcher) {
                return None;
            }
            cut += 1;
            let at = shape.measured / 4 + Duration::from_nanos(random.below(room.as_nanos() as u64 + 1));
            Some(Cut { at, back: at + shape.outage, with_fallback: cut % 2 == 1 })
        });
        let cuts = cuts.collect();
        Self { updates, cuts }
    }
}

/// Updates that there will be; at least one.
pub(super) fn count(shape: &Shape) -> u64 {
    (shape.rate * shape.measured.as_secs_f64()).round().max(1.0) as u64
}

/// A generator (SplitMix64), small on purpose: its numbers spread load, nothing more.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_happens_within_the_time() {
        for (watchers, interrupted, rate, measured_ms, outage_ms, updates) in [
            (50, 20, 50.0, 4_000, 500, 200),
            (4, 2, 50.0, 1_000, 500, 50),
            (1, 1, 0.1, 1_000, 100, 1),
            (3, 0, 7.0, 1_000, 100, 7),
        ] {
            let (measured, outage) = (Duration::from_millis(measured_ms), Duration::from_millis(outage_ms));
            let shape = Shape { resources: 10, watchers, interrupted, rate, measured, outage };
            let schedule = Schedule::new(&shape);
            assert_eq!(schedule.updates.len(), updates);
            assert!(schedule.updates.is_sorted_by_key(|update| update.due));
            for update in &schedule.updates {
                assert!(update.resource < 10 && update.due > Duration::ZERO && update.due < measured);
            }
            let cuts: Vec<Cut> = schedule.cuts.iter().flatten().copied().collect();
            assert_eq!((schedule.cuts.len(), cuts.len()), (watchers, interrupted));
            assert_eq!(cuts.iter().filter(|cut| cut.with_fallback).count(), interrupted.div_ceil(2));
            for cut in cuts {
                assert!(cut.at >= measured / 4 && cut.back <= measured * 3 / 4);
                assert_eq!(cut.at + outage, cut.back);
            }
            assert_eq!(Schedule::new(&shape).updates, schedule.updates, "it is the same each time");
        }
    }
}
