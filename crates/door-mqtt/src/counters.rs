//! What the door has done, as numbers for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts since the start. Reading them is not exact across counters.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) taken_over: AtomicU64,
    pub(crate) violations: AtomicU64,
    pub(crate) writes_refused: AtomicU64,
    pub(crate) too_large: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) throttled: AtomicU64,
    pub(crate) wills: AtomicU64,
    pub(crate) sessions_expired: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CounterValues {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused with CONNACK.
    pub refused: u64,
    /// Connections ended because another one took the client id.
    pub taken_over: u64,
    /// Connections ended because the client broke a rule of the protocol.
    pub violations: u64,
    /// Messages refused.
    pub writes_refused: u64,
    /// Messages not delivered because the client does not take packets of that size.
    pub too_large: u64,
    /// Messages not delivered because their life was over.
    pub expired: u64,
    /// Times that a client was read slower because it published faster than it may.
    pub throttled: u64,
    /// Wills published.
    pub wills: u64,
    /// Sessions that ended because their client did not come back in time.
    pub sessions_expired: u64,
}

impl Counters {
    /// The counts now.
    pub fn read(&self) -> CounterValues {
        CounterValues {
            accepted: self.accepted.load(Relaxed),
            refused: self.refused.load(Relaxed),
            taken_over: self.taken_over.load(Relaxed),
            violations: self.violations.load(Relaxed),
            writes_refused: self.writes_refused.load(Relaxed),
            too_large: self.too_large.load(Relaxed),
            expired: self.expired.load(Relaxed),
            throttled: self.throttled.load(Relaxed),
            wills: self.wills.load(Relaxed),
            sessions_expired: self.sessions_expired.load(Relaxed),
        }
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
