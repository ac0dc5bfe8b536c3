//! What the engine has done, as numbers for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dovetail_model::{Change, Commit};

/// Counts since the start. Reading them is not exact across counters.
#[derive(Debug, Default)]
pub struct Counters {
    commits: AtomicU64,
    changes: AtomicU64,
    groups: AtomicU64,
    events: AtomicU64,
    events_dropped: AtomicU64,
    refused: AtomicU64,
    feeds: AtomicU64,
    feeds_behind: AtomicU64,
    catch_ups: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CounterValues {
    /// Commits made durable.
    pub commits: u64,
    /// Changes in them.
    pub changes: u64,
    /// Groups, that is, appends to the journal.
    pub groups: u64,
    /// Events accepted.
    pub events: u64,
    /// Deliveries of events that were dropped because a subscriber did not keep up.
    pub events_dropped: u64,
    /// Writes refused at admission.
    pub refused: u64,
    /// Feeds that exist now.
    pub feeds: u64,
    /// Feeds that are told what they missed: new ones that continue, and those whose subscriber is slow.
    pub feeds_behind: u64,
    /// How often a feed began to be told what it missed.
    pub catch_ups: u64,
}

impl Counters {
    /// The values now.
    pub fn values(&self) -> CounterValues {
        CounterValues {
            commits: self.commits.load(Relaxed),
            changes: self.changes.load(Relaxed),
            groups: self.groups.load(Relaxed),
            events: self.events.load(Relaxed),
            events_dropped: self.events_dropped.load(Relaxed),
            refused: self.refused.load(Relaxed),
            feeds: self.feeds.load(Relaxed),
            feeds_behind: self.feeds_behind.load(Relaxed),
            catch_ups: self.catch_ups.load(Relaxed),
        }
    }

    pub(crate) fn committed(&self, group: &[Commit]) {
        self.groups.fetch_add(1, Relaxed);
        self.commits.fetch_add(group.len() as u64, Relaxed);
        let changes: usize = group.iter().map(|commit| commit.changes.len()).sum();
        self.changes.fetch_add(changes as u64, Relaxed);
        let in_group = group.iter().flat_map(|commit| &*commit.changes);
        let events = in_group.filter(|change| matches!(change, Change::Event(_))).count();
        if events > 0 {
            self.events.fetch_add(events as u64, Relaxed);
        }
    }

    pub(crate) fn event(&self) {
        self.events.fetch_add(1, Relaxed);
    }

    pub(crate) fn dropped(&self, deliveries: u64) {
        if deliveries > 0 {
            self.events_dropped.fetch_add(deliveries, Relaxed);
        }
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// So many more feeds (or fewer, as a wrapped number) catch up, so many of them anew.
    pub(crate) fn catching_up(&self, more: u64, begun: u64) {
        self.feeds_behind.fetch_add(more, Relaxed);
        self.catch_ups.fetch_add(begun, Relaxed);
    }

    pub(crate) fn subscribed(&self) {
        self.feeds.fetch_add(1, Relaxed);
    }

    pub(crate) fn unsubscribed(&self) {
        self.feeds.fetch_sub(1, Relaxed);
    }
}
