//! History that feeds read back, shared by all of them.
//!
//! When many clients come back, each has missed much the same. The journal is read in blocks; a block that was read is
//! kept for a while, for whoever comes by the same place, and a shard reads one block at a time, for all its feeds that
//! wait for it: those that are furthest behind first, so that they catch up with the others and go on together.
//! A block finds what concerns one topic without a look at the rest.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use dovetail_model::{Commit, Filter};

use crate::idempotency::Fingerprint;

/// Bytes of blocks that are kept, estimated.
const KEPT_BYTES: usize = 32 << 20;
/// After which time without a reader all blocks are forgotten.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// What a commit takes in memory beside its contents.
const COMMIT_BYTES: usize = 320;

/// Commits that follow each other.
#[derive(Debug)]
pub(crate) struct Block {
    /// They are those after this one.
    after: u64,
    commits: Box<[Commit]>,
    /// Where a topic is concerned, by its digest. Made for the first who asks.
    by_topic: OnceLock<HashMap<u64, Vec<u32>>>,
}

/// How far a feed has read a block.
#[derive(Debug)]
pub(crate) struct Passage {
    block: Arc<Block>,
    next: usize,
}

/// The blocks that were read last.
#[derive(Debug, Default)]
pub(crate) struct Blocks(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    blocks: VecDeque<Arc<Block>>,
    bytes: usize,
    used: Option<Instant>,
}

/// Feeds of a shard that wait for history.
#[derive(Debug)]
pub(crate) struct Waiters<T> {
    waiting: Vec<(u64, T)>,
    /// Somebody reads for them.
    is_read_for: bool,
}

impl Block {
    /// What was read after `after`; nothing at the end of the journal.
    pub(crate) fn new(after: u64, commits: Vec<Commit>) -> Self {
        Self { after, commits: commits.into(), by_topic: OnceLock::new() }
    }

    /// The number of the last commit.
    pub(crate) fn to(&self) -> u64 {
        self.commits.last().map_or(self.after, |last| last.number)
    }

    fn covers(&self, number: u64) -> bool {
        (self.after..self.to()).contains(&number)
    }

    fn weight(&self) -> usize {
        self.commits.iter().map(|commit| COMMIT_BYTES + commit.weight()).sum()
    }

    /// The first place from `from` on at which `filter` may match.
    fn find(&self, from: usize, filter: &Filter) -> Option<usize> {
        if !filter.is_exact() {
            return (from < self.commits.len()).then_some(from);
        }
        let places = self.by_topic.get_or_init(|| self.index()).get(&digest(filter.as_str()))?;
        let next = places.partition_point(|place| (*place as usize) < from);
        places.get(next).map(|place| *place as usize)
    }

    fn index(&self) -> HashMap<u64, Vec<u32>> {
        let mut by_topic: HashMap<u64, Vec<u32>> = HashMap::new();
        for (place, commit) in (0..).zip(&self.commits) {
            for change in &commit.changes {
                by_topic.entry(digest(change.topic().as_str())).or_default().push(place);
            }
        }
        by_topic
    }
}

impl Passage {
    /// The part of a block after commit `number`.
    pub(crate) fn after(block: Arc<Block>, number: u64) -> Self {
        let next = block.commits.partition_point(|commit| commit.number <= number);
        Self { block, next }
    }

    /// The next commit in which something may match.
    pub(crate) fn next(&mut self, filter: &Filter) -> Option<&Commit> {
        let Some(place) = self.block.find(self.next, filter) else {
            self.next = self.block.commits.len();
            return None;
        };
        self.next = place + 1;
        self.block.commits.get(place)
    }
}

impl Blocks {
    /// A block with what comes after `number`, if one is kept.
    pub(crate) fn find(&self, number: u64) -> Option<Arc<Block>> {
        let mut kept = self.lock();
        let found = kept.blocks.iter().rev().find(|block| block.covers(number)).cloned();
        if found.is_some() {
            kept.used = Some(Instant::now());
        }
        found
    }

    /// Keeps a block instead of the oldest ones.
    pub(crate) fn keep(&self, block: &Arc<Block>) {
        if block.commits.is_empty() {
            return;
        }
        let mut kept = self.lock();
        kept.bytes += block.weight();
        kept.blocks.push_back(Arc::clone(block));
        kept.used = Some(Instant::now());
        while kept.bytes > KEPT_BYTES
            && let Some(oldest) = kept.blocks.pop_front()
        {
            kept.bytes -= oldest.weight();
        }
    }

    /// Forgets the blocks if nobody reads them any more.
    pub(crate) fn forget_unused(&self) {
        let mut kept = self.lock();
        if kept.used.is_some_and(|used| used.elapsed() > KEPT_FOR) {
            *kept = Kept::default();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        Self { waiting: Vec::new(), is_read_for: false }
    }
}

impl<T> Waiters<T> {
    /// Somebody waits for what comes after `number`. Whether a reader is needed.
    pub(crate) fn wait(&mut self, number: u64, who: T) -> bool {
        self.waiting.push((number, who));
        !std::mem::replace(&mut self.is_read_for, true)
    }

    /// After which number to read next; `None` when the reader may go.
    pub(crate) fn next(&mut self) -> Option<u64> {
        let next = self.waiting.iter().map(|(number, _)| *number).min();
        self.is_read_for = next.is_some();
        next
    }

    /// Those whom it helps that `block` was read, or what else came of reading after `number`.
    pub(crate) fn helped(&mut self, number: u64, block: Option<&Block>) -> Vec<T> {
        let is_helped = |(wanted, _): &mut (u64, T)| {
            *wanted == number || block.is_some_and(|block| block.covers(*wanted))
        };
        self.waiting.extract_if(.., is_helped).map(|(_, who)| who).collect()
    }
}

/// Two topics with one digest are told apart by the filter.
fn digest(name: &str) -> u64 {
    Fingerprint::new().field(name.as_bytes()).finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;
    use dovetail_model::{Change, DeleteCause, Qos, Tombstone, Topic};

    /// A block of commits, each of which deletes the named resources.
    fn block(after: u64, commits: &[&[&str]]) -> Arc<Block> {
        let commits = (after + 1..).zip(commits).map(|(number, names)| Commit {
            number,
            at: 0,
            publisher: None,
            changes: names
                .iter()
                .map(|name| {
                    let topic = Topic::new(name).unwrap();
                    let cause = DeleteCause::Request;
                    Change::Delete(Arc::new(Tombstone {
                        topic,
                        revision: number,
                        deleted_at: 0,
                        cause,
                        qos: Qos::default(),
                    }))
                })
                .collect(),
        });
        Arc::new(Block::new(after, commits.collect()))
    }

    #[test]
    fn a_passage_goes_by_what_concerns_others() {
        let block = block(10, &[&["a"], &["b", "c"], &["a"], &["a/b"], &["c"]]);
        let table: [(&str, u64, &[u64]); 6] = [
            ("a", 10, &[11, 13]),
            ("a", 11, &[13]),
            ("c", 10, &[12, 15]),
            ("d", 10, &[]),
            ("a", 13, &[]),
            // With wildcards it gives everything, for the feed to match.
            ("a/#", 12, &[13, 14, 15]),
        ];
        for (filter, after, expected) in table {
            let filter = Filter::new(filter).unwrap();
            let mut passage = Passage::after(Arc::clone(&block), after);
            let mut found = Vec::new();
            while let Some(commit) = passage.next(&filter) {
                found.push(commit.number);
            }
            assert_eq!(found, expected, "{filter:?} {after}");
        }
    }

    #[test]
    fn blocks_are_found_by_what_follows_a_number() {
        let blocks = Blocks::default();
        blocks.keep(&block(10, &[&["a"], &["b"]]));
        blocks.keep(&block(20, &[&["a"]]));
        let found = |number| blocks.find(number).map(|block| block.after);
        let table = [(9, None), (10, Some(10)), (11, Some(10)), (12, None), (20, Some(20)), (21, None)];
        for (number, expected) in table {
            assert_eq!(found(number), expected, "{number}");
        }
        blocks.forget_unused();
        assert_eq!(found(10), Some(10), "it was used just now");
    }

    #[test]
    fn the_furthest_behind_are_read_for_first() {
        let mut waiters = Waiters::default();
        assert!(waiters.wait(30, 'a'));
        assert!(!waiters.wait(10, 'b'));
        assert!(!waiters.wait(11, 'c'));
        assert_eq!(waiters.next(), Some(10));
        assert_eq!(waiters.helped(10, Some(&block(10, &[&["x"], &["x"]]))), ['b', 'c']);
        assert_eq!(waiters.next(), Some(30));
        assert_eq!(waiters.helped(30, None), ['a']);
        assert_eq!(waiters.next(), None);
        assert!(waiters.wait(30, 'd'), "the reader has gone");
    }
}
