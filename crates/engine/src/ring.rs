//! What a shard has lately dispatched: the places that live feeds point to.

use std::collections::VecDeque;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use crate::entry::Entry;

/// An entry as the feeds of one shard share it: counted without atomics.
pub(crate) type Shared = Rc<Dispatched>;

/// A shard's hold on an entry.
#[derive(Debug)]
pub(crate) struct Dispatched(Arc<Entry>);

impl Dispatched {
    /// A hold on the entry that other threads can have.
    pub(crate) fn share(&self) -> Arc<Entry> {
        Arc::clone(&self.0)
    }
}

impl Deref for Dispatched {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.0
    }
}

/// The most recent entries of a shard, commits and events in the order of dispatch. Their numbers
/// never decrease.
#[derive(Debug)]
pub(crate) struct Ring {
    entries: VecDeque<Shared>,
    /// The place of the first entry.
    first: u64,
    bytes: usize,
    limit_bytes: usize,
    /// Every dispatched commit with a number above this is here.
    complete_after: u64,
}

impl Ring {
    pub(crate) fn new(complete_after: u64, limit_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), first: 0, bytes: 0, limit_bytes, complete_after }
    }

    /// Appends an entry and returns its place.
    pub(crate) fn push(&mut self, entry: Arc<Entry>) -> u64 {
        self.bytes += entry.weight;
        self.entries.push_back(Rc::new(Dispatched(entry)));
        while self.bytes > self.limit_bytes && self.entries.len() > 1 {
            if let Some(oldest) = self.entries.pop_front() {
                self.forget(&oldest);
            }
        }
        self.first + self.entries.len() as u64 - 1
    }

    /// Drops the events behind the newest commit: nobody has any of them to tell. So what is published now lies in
    /// the memory of what was published just before, which is in the cache, and not of what is 32 MiB ago.
    pub(crate) fn forget_told_events(&mut self) {
        while let Some(told) = self.entries.pop_back_if(|entry| entry.is_event) {
            self.bytes -= told.weight;
        }
    }

    /// The entry at a place, unless it was dropped since.
    pub(crate) fn get(&self, place: u64) -> Option<&Shared> {
        self.entries.get(usize::try_from(place.checked_sub(self.first)?).ok()?)
    }

    /// Whether every commit after `number` is here.
    pub(crate) fn covers(&self, number: u64) -> bool {
        number >= self.complete_after
    }

    /// The places and entries of the commits after `number`, events between them included.
    pub(crate) fn after(&self, number: u64) -> impl Iterator<Item = (u64, &Shared)> {
        let skipped = self.entries.partition_point(|entry| entry.number <= number);
        self.entries.iter().enumerate().skip(skipped).map(|(index, entry)| (self.first + index as u64, entry))
    }

    /// Drops everything: commits up to `number` were missed.
    pub(crate) fn restart_after(&mut self, number: u64) {
        self.first += self.entries.len() as u64;
        self.entries.clear();
        self.bytes = 0;
        self.complete_after = number;
    }

    fn forget(&mut self, oldest: &Shared) {
        self.first += 1;
        self.bytes -= oldest.weight;
        if !oldest.is_event {
            self.complete_after = oldest.number;
        }
    }
}
