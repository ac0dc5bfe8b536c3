//! What every watcher holds of every resource, and since when: who was late, who was told what, who has it wrong.
//!
//! Writes are numbered: first one for each resource, which makes it, then the updates in the order in which they are due. Times
//! are nanoseconds since the measurement began. There is no clock and no socket here.

use anyhow::{Result, bail, ensure};

use super::schedule::{Schedule, Update};

/// All copies of one measurement.
pub(super) struct Ledger {
    resources: usize,
    updates: Vec<Ranked>,
    /// When the updates of each resource are due, rising.
    due_ns: Vec<Vec<u64>>,
    watchers: Vec<Copies>,
    latencies_ns: Vec<u64>,
}

/// An update, and how many of the same resource there are up to it.
struct Ranked {
    resource: usize,
    rank: usize,
}

/// How a watcher fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is never cut off.
    Steady,
    /// It is, and comes back with the fallback of the way.
    WithFallback,
    /// It is, and comes back without.
    WithoutFallback,
}

/// What one watcher holds.
struct Copies {
    kind: Kind,
    /// By resource: `None` without a copy, else how many updates the copy covers.
    covered: Vec<Option<usize>>,
    without_baseline: usize,
    /// Updates that are covered, over all resources.
    covered_updates: usize,
    /// Whether it was told exactly this update.
    told: Vec<bool>,
    delay_sum_ns: u128,
    outage: Option<Outage>,
}

/// What is known of an interruption.
struct Outage {
    /// What was covered when it began.
    covered: Vec<Option<usize>>,
    /// What has to be covered to be as new as the server was at the return.
    wanted: Vec<usize>,
    /// Resources that are not.
    behind: usize,
    back_ns: Option<u64>,
    open_ns: Option<u64>,
    current_ns: Option<u64>,
}

/// What interrupted watchers of one kind missed, summed over them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Missed {
    pub(super) watchers: usize,
    pub(super) updates_in_outage: u64,
    pub(super) skipped: u64,
    pub(super) lost: u64,
    /// Of those that became current again: after how many nanoseconds.
    pub(super) current_again_ns: Vec<u64>,
    pub(super) never_current: usize,
}

impl Ledger {
    /// Nobody holds anything yet. A way without anything to leave out has fallbacks only (`always_falls_back`).
    pub(super) fn new(resources: usize, schedule: &Schedule, always_falls_back: bool) -> Self {
        let mut due_ns = vec![Vec::new(); resources];
        let updates = schedule.updates.iter().map(|&Update { resource, due }| {
            due_ns[resource].push(due.as_nanos() as u64);
            Ranked { resource, rank: due_ns[resource].len() }
        });
        let updates: Vec<Ranked> = updates.collect();
        let watchers = schedule.cuts.iter().map(|cut| {
            let kind = match cut {
                None => Kind::Steady,
                Some(cut) if cut.with_fallback || always_falls_back => Kind::WithFallback,
                Some(_) => Kind::WithoutFallback,
            };
            Copies {
                kind,
                covered: vec![None; resources],
                without_baseline: resources,
                covered_updates: 0,
                told: vec![false; updates.len()],
                delay_sum_ns: 0,
                outage: None,
            }
        });
        let watchers = watchers.collect();
        Self { resources, updates, due_ns, watchers, latencies_ns: Vec::new() }
    }

    /// The number of the update `index`.
    pub(super) fn sequence(&self, index: usize) -> u64 {
        (self.resources + index) as u64
    }

    /// How many watchers there are.
    pub(super) fn watchers(&self) -> usize {
        self.watchers.len()
    }

    /// How `watcher` fares.
    pub(super) fn kind(&self, watcher: usize) -> Kind {
        self.watchers[watcher].kind
    }

    /// `watcher` was told of the write `sequence`. Says whether that was new to its copy.
    ///
    /// # Errors
    /// There is no such write, or the watcher holds something newer although it was never cut off.
    pub(super) fn tell(&mut self, watcher: usize, sequence: u64, now_ns: u64) -> Result<bool> {
        let number = usize::try_from(sequence)?;
        let Some(index) = number.checked_sub(self.resources) else {
            return Ok(self.cover(watcher, number, 0, now_ns));
        };
        let Some(&Ranked { resource, rank }) = self.updates.get(index) else {
            bail!("write {sequence} came, which was never sent");
        };
        let copies = &mut self.watchers[watcher];
        copies.told[index] = true;
        if copies.kind == Kind::Steady {
            ensure!(copies.covered[resource] <= Some(rank), "write {sequence} came after a newer one");
        }
        Ok(self.cover(watcher, resource, rank, now_ns))
    }

    fn cover(&mut self, watcher: usize, resource: usize, rank: usize, now_ns: u64) -> bool {
        let copies = &mut self.watchers[watcher];
        let before = copies.covered[resource];
        if before >= Some(rank) {
            return false;
        }
        copies.covered[resource] = Some(rank);
        copies.without_baseline -= usize::from(before.is_none());
        let before = before.unwrap_or(0);
        copies.covered_updates += rank - before;
        for due_ns in &self.due_ns[resource][before..rank] {
            let delay_ns = now_ns.saturating_sub(*due_ns);
            copies.delay_sum_ns += u128::from(delay_ns);
            if copies.kind == Kind::Steady {
                self.latencies_ns.push(delay_ns);
            }
        }
        if let Some(outage) = &mut copies.outage
            && outage.back_ns.is_some()
            && (before..rank).contains(&(outage.wanted[resource].wrapping_sub(1)))
        {
            outage.behind -= 1;
            if outage.behind == 0 {
                outage.current_ns = Some(now_ns);
            }
        }
        true
    }

    /// `watcher` is cut off.
    pub(super) fn cut(&mut self, watcher: usize) {
        let copies = &mut self.watchers[watcher];
        copies.outage = Some(Outage {
            covered: copies.covered.clone(),
            wanted: Vec::new(),
            behind: 0,
            back_ns: None,
            open_ns: None,
            current_ns: None,
        });
    }

    /// The network is there again for `watcher`, which begins to come back.
    pub(super) fn back(&mut self, watcher: usize, now_ns: u64) {
        let copies = &mut self.watchers[watcher];
        let Some(outage) = &mut copies.outage else { return };
        outage.wanted = self.due_ns.iter().map(|due| due.partition_point(|&due| due <= now_ns)).collect();
        outage.back_ns = Some(now_ns);
        let covered = copies.covered.iter().map(|covered| covered.unwrap_or(0));
        outage.behind = covered.zip(&outage.wanted).filter(|(covered, wanted)| covered < wanted).count();
        if outage.behind == 0 {
            outage.current_ns = Some(now_ns);
        }
    }

    /// `watcher` watches again: what is written from now on reaches it.
    pub(super) fn open(&mut self, watcher: usize, now_ns: u64) {
        if let Some(outage) = &mut self.watchers[watcher].outage {
            outage.open_ns = Some(now_ns);
        }
    }

    /// Whether `watcher` came back and is as new as the server was then.
    pub(super) fn is_current_again(&self, watcher: usize) -> bool {
        self.watchers[watcher].outage.as_ref().is_some_and(|outage| outage.current_ns.is_some())
    }

    /// How many watchers do not hold all resources yet.
    pub(super) fn without_baseline(&self) -> usize {
        self.watchers.iter().filter(|copies| copies.without_baseline > 0).count()
    }

    /// How many of those that have to get every update in the end have not.
    pub(super) fn awaited(&self) -> usize {
        let is_awaited = |copies: &&Copies| {
            copies.kind != Kind::WithoutFallback && copies.covered_updates < self.updates.len()
        };
        self.watchers.iter().filter(is_awaited).count()
    }

    /// Nanoseconds from each update to each copy of a steady watcher.
    pub(super) fn latencies_ns(&self) -> &[u64] {
        &self.latencies_ns
    }

    /// Mean nanoseconds until a copy is as new as an update, over all watchers but those without fallback. What has not come
    /// by `end_ns` counts until then.
    pub(super) fn staleness_ns(&self, end_ns: u64) -> f64 {
        let (mut sum, mut count) = (0_u128, 0);
        for copies in self.watchers.iter().filter(|copies| copies.kind != Kind::WithoutFallback) {
            sum += copies.delay_sum_ns;
            count += self.updates.len();
            for (due, covered) in self.due_ns.iter().zip(&copies.covered) {
                let late = &due[covered.unwrap_or(0)..];
                sum += late.iter().map(|&due| u128::from(end_ns.saturating_sub(due))).sum::<u128>();
            }
        }
        if count == 0 { 0.0 } else { sum as f64 / count as f64 }
    }

    /// What interrupted watchers of this kind missed.
    pub(super) fn missed(&self, kind: Kind) -> Missed {
        let mut missed = Missed::default();
        for copies in self.watchers.iter().filter(|copies| copies.kind == kind) {
            self.add_missed(copies, &mut missed);
        }
        missed
    }

    /// The first watcher that lacks updates which no interruption explains, and how many.
    pub(super) fn unexplained(&self) -> Option<(usize, u64)> {
        self.watchers.iter().enumerate().find_map(|(number, copies)| {
            let mut missed = Missed::default();
            self.add_missed(copies, &mut missed);
            let missing = (self.updates.len() - copies.covered_updates) as u64;
            (missing > missed.lost).then(|| (number, missing - missed.lost))
        })
    }

    fn add_missed(&self, copies: &Copies, missed: &mut Missed) {
        let Some(outage) = &copies.outage else { return };
        missed.watchers += 1;
        let open_ns = outage.open_ns.unwrap_or(u64::MAX);
        for (index, &Ranked { resource, rank }) in self.updates.iter().enumerate() {
            let was_held = outage.covered[resource] >= Some(rank);
            if was_held || self.due_ns[resource][rank - 1] >= open_ns {
                continue;
            }
            missed.updates_in_outage += 1;
            if !copies.told[index] {
                let is_covered = copies.covered[resource] >= Some(rank);
                *if is_covered { &mut missed.skipped } else { &mut missed.lost } += 1;
            }
        }
        match (outage.back_ns, outage.current_ns) {
            (Some(back_ns), Some(current_ns)) => missed.current_again_ns.push(current_ns - back_ns),
            _ => missed.never_current += 1,
        }
    }
}

#[cfg(test)]
#[path = "copies/tests.rs"]
mod tests;
