//! What the door has done, counted for each shard so that shards do not share a cache line.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts since the start, over all shards. Reading them is not exact across counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CounterValues {
    /// Connections that are open now.
    pub open: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Watches that are open now.
    pub watches: u64,
    /// Requests that came, of any kind.
    pub requests: u64,
    /// Requests refused.
    pub refused: u64,
    /// Frames of watches sent.
    pub frames: u64,
    /// Connections ended for what they sent.
    pub violations: u64,
    /// Connections given up because nothing was heard of them.
    pub silent: u64,
}

/// The counts of one shard.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) open: Count,
    pub(crate) accepted: Count,
    pub(crate) watches: Count,
    pub(crate) requests: Count,
    pub(crate) refused: Count,
    pub(crate) frames: Count,
    pub(crate) violations: Count,
    pub(crate) silent: Count,
}

/// A number that one thread changes and all may read.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

/// The counts of all shards.
#[derive(Debug, Default)]
pub(crate) struct AllCounters(Mutex<Vec<Arc<Counters>>>);

impl Count {
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    pub(crate) fn sub(&self, less: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(less), Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl AllCounters {
    /// The counts of another shard.
    pub(crate) fn of_shard(&self) -> Arc<Counters> {
        let counters = Arc::<Counters>::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&counters));
        counters
    }

    pub(crate) fn values(&self) -> CounterValues {
        let mut sum = CounterValues::default();
        for shard in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sum.open += shard.open.get();
            sum.accepted += shard.accepted.get();
            sum.watches += shard.watches.get();
            sum.requests += shard.requests.get();
            sum.refused += shard.refused.get();
            sum.frames += shard.frames.get();
            sum.violations += shard.violations.get();
            sum.silent += shard.silent.get();
        }
        sum
    }
}
