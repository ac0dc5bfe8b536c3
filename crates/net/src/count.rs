//! Counting on shards, each for itself.
//!
//! Only its own thread adds to what a shard counts, so adding is a load and a store, and no cache line moves between
//! cores. Whoever wants to know adds the shards up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// A number that one thread changes and all may read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

/// What each shard counts. `T` should be aligned so that two of them do not share a cache line.
#[derive(Debug)]
pub struct PerShard<T>(Mutex<Vec<Arc<T>>>);

impl Count {
    /// Adds. For the thread of its shard alone.
    #[inline]
    pub fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Relaxed);
    }

    /// Takes away. For the thread of its shard alone.
    #[inline]
    pub fn sub(&self, less: u64) {
        self.0.store(self.get().wrapping_sub(less), Relaxed);
    }

    /// The number now.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl<T> Default for PerShard<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> PerShard<T> {
    /// What another shard counts from now on.
    pub fn of_shard(&self) -> Arc<T> {
        let counts = Arc::<T>::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&counts));
        counts
    }

    /// Calls `each` with what every shard has counted. That is not exact across counts.
    pub fn for_each(&self, each: impl FnMut(&Arc<T>)) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(each);
    }
}
