//! What the listeners have seen.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Running counts, shared by acceptors and shards.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) open: AtomicUsize,
    pub(crate) accepted: AtomicU64,
    pub(crate) over_limit: AtomicU64,
    pub(crate) silent: AtomicU64,
    pub(crate) tls: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) pauses: AtomicU64,
    pub(crate) panics: AtomicU64,
}

/// The counts at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Connections that are open now.
    pub open: usize,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Of those, closed at once because too many were open.
    pub over_limit: u64,
    /// Of those, closed because they said nothing in time.
    pub silent: u64,
    /// Of those, refused because they spoke TLS to a listener without it.
    pub tls: u64,
    /// Of those, closed because they spoke no known protocol.
    pub unknown: u64,
    /// Times that accepting paused because descriptors or memory ran out.
    pub pauses: u64,
    /// Connection tasks that panicked.
    pub panics: u64,
}

impl Counters {
    /// The counts now. They are read one by one and need not fit together exactly.
    pub fn read(&self) -> Counts {
        Counts {
            open: self.open.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            over_limit: self.over_limit.load(Relaxed),
            silent: self.silent.load(Relaxed),
            tls: self.tls.load(Relaxed),
            unknown: self.unknown.load(Relaxed),
            pauses: self.pauses.load(Relaxed),
            panics: self.panics.load(Relaxed),
        }
    }

    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }
}
