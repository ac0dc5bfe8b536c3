//! Stage 5 of a write: everybody learns of it.
//!
//! The owner appends the commits of a group to the *tail window*, which all shards read, and wakes
//! each shard that has feeds once. A shard keeps its own place in the window; one that fell out of
//! it sends its feeds to catch-up. So nobody ever waits for a shard, and no shard for a subscriber.
//!
//! **The join.** A shard without feeds is not woken. When it gets its first feed it says so
//! ([`Mailbox::set_wants_commits`]) and *then* reads the published head; the owner publishes the
//! head and *then* asks who wants to know. Both are sequentially consistent, so either the owner
//! sees the wish or the shard sees the commit. From then on a feed takes exactly the entries whose
//! number is above its position: one comparison, no buffer, no merge.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::entry::Entry;
use crate::mailbox::Mailbox;

/// The most recent commits, contiguous by number.
#[derive(Debug)]
pub(crate) struct Tail {
    window: Mutex<Window>,
    limit_bytes: usize,
}

#[derive(Debug)]
struct Window {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// The number of the newest commit ever pushed.
    head: u64,
}

/// What a shard gets when it reads on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReadOn {
    /// Every commit up to here was added.
    UpTo(u64),
    /// Some commits after the shard's place have left the window; the newest is this.
    FellOut(u64),
}

impl Tail {
    pub(crate) fn new(head: u64, limit_bytes: usize) -> Self {
        Self { window: Mutex::new(Window { entries: VecDeque::new(), bytes: 0, head }), limit_bytes }
    }

    /// Appends the commits of a group, whose numbers continue the window.
    pub(crate) fn push(&self, group: impl Iterator<Item = Arc<Entry>>) {
        let mut window = self.lock();
        for entry in group {
            debug_assert_eq!(entry.number, window.head + 1);
            window.head = entry.number;
            window.bytes += entry.weight;
            window.entries.push_back(entry);
        }
        while window.bytes > self.limit_bytes && window.entries.len() > 1 {
            if let Some(oldest) = window.entries.pop_front() {
                window.bytes -= oldest.weight;
            }
        }
    }

    /// Nobody wants the commits up to `head`: the window starts again after them.
    pub(crate) fn skip_to(&self, head: u64) {
        let mut window = self.lock();
        window.entries.clear();
        window.bytes = 0;
        window.head = head;
    }

    /// Adds the commits after `after`, up to and including `until`, to `out`.
    pub(crate) fn read_on(&self, after: u64, until: u64, out: &mut VecDeque<Arc<Entry>>) -> ReadOn {
        let window = self.lock();
        if after >= window.head {
            return ReadOn::UpTo(after);
        }
        let oldest = window.head + 1 - window.entries.len() as u64;
        if after + 1 < oldest {
            return ReadOn::FellOut(window.head);
        }
        let until = until.min(window.head);
        let from = (after + 1 - oldest) as usize;
        let to = (until + 1).saturating_sub(oldest) as usize;
        out.extend(window.entries.range(from..to.max(from)).cloned());
        ReadOn::UpTo(until.max(after))
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shards of the server.
#[derive(Debug, Default)]
pub(crate) struct Shards(Mutex<Vec<Arc<Mailbox>>>);

impl Shards {
    pub(crate) fn add(&self, mailbox: Arc<Mailbox>) {
        self.lock().push(mailbox);
    }

    pub(crate) fn remove(&self, mailbox: &Arc<Mailbox>) {
        self.lock().retain(|other| !Arc::ptr_eq(other, mailbox));
    }

    /// Calls `act` for every shard.
    pub(crate) fn for_each(&self, mut act: impl FnMut(&Arc<Mailbox>)) {
        self.lock().iter().for_each(&mut act);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Mailbox>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use dovetail_model::Commit;

    use super::*;

    fn commit(number: u64) -> Arc<Entry> {
        Arc::new(Entry::of(Commit { number, at: 0, publisher: None, changes: Box::default() }))
    }

    #[test]
    fn the_window_reads_on_from_any_place_it_still_holds() {
        let tail = Tail::new(10, commit(1).weight * 3);
        tail.push((11..=15).map(commit));
        let numbers = |after, until| {
            let mut out = VecDeque::new();
            let end = tail.read_on(after, until, &mut out);
            (out.iter().map(|entry| entry.number).collect::<Vec<_>>(), end)
        };
        assert_eq!(numbers(15, u64::MAX), (vec![], ReadOn::UpTo(15)));
        assert_eq!(numbers(14, u64::MAX), (vec![15], ReadOn::UpTo(15)));
        assert_eq!(numbers(12, u64::MAX), (vec![13, 14, 15], ReadOn::UpTo(15)));
        assert_eq!(numbers(12, 13), (vec![13], ReadOn::UpTo(13)));
        assert_eq!(numbers(12, 12), (vec![], ReadOn::UpTo(12)));
        assert_eq!(numbers(11, u64::MAX), (vec![], ReadOn::FellOut(15)));
    }
}
