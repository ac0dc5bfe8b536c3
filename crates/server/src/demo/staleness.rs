//! How old news is when it arrives.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use dovetail_model::{Change, UnixMillis};

/// Ages of updates at their arrival, in milliseconds. Clones share the record.
#[derive(Clone, Debug, Default)]
pub(super) struct Staleness(Rc<RefCell<Vec<u32>>>);

/// Staleness in short.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Summary {
    pub(super) updates: usize,
    pub(super) mean: f64,
    pub(super) p50: u32,
    pub(super) p99: u32,
}

impl Staleness {
    /// An update that was made at `at` has arrived now.
    pub(super) fn arrived(&self, at: UnixMillis) {
        let age = u32::try_from(now().saturating_sub(at)).unwrap_or(u32::MAX);
        self.0.borrow_mut().push(age);
    }

    /// The mean of the last few hundred, if there are any.
    pub(super) fn recent_mean(&self) -> Option<Duration> {
        const RECENT: usize = 500;
        let ages = self.0.borrow();
        let recent = &ages[ages.len().saturating_sub(RECENT)..];
        let sum: f64 = recent.iter().copied().map(f64::from).sum();
        (!recent.is_empty()).then(|| Duration::from_secs_f64(sum / recent.len() as f64 / 1_000.0))
    }

    pub(super) fn summary(&self) -> Summary {
        let mut ages = self.0.borrow().clone();
        ages.sort_unstable();
        let at = |share: f64| ages.get((ages.len() as f64 * share) as usize).copied().unwrap_or(0);
        let sum: f64 = ages.iter().copied().map(f64::from).sum();
        Summary { updates: ages.len(), mean: sum / ages.len().max(1) as f64, p50: at(0.5), p99: at(0.99) }
    }
}

/// When a change was made.
pub(super) fn made_at(change: &Change) -> UnixMillis {
    match change {
        Change::Put(resource) => resource.modified_at,
        Change::Delete(tombstone) => tombstone.deleted_at,
        Change::Event(event) => event.published_at,
    }
}

fn now() -> UnixMillis {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
