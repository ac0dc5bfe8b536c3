//! History that feeds read back, shared by all of them.
//!
//! When many clients come back, each has missed much the same. The journal is read in blocks; a block that was read is
//! kept for a while, for whoever comes by the same place, and a shard reads one block at a time, for all its feeds that
//! wait for it: those that are furthest behind first, so that they catch up with the others and go on together.
//! A block finds what concerns a topic, or what is below one, without a look at the rest, and it holds no records: nobody
//! follows them, and sessions that come back together write many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use dovetail_model::{Commit, Filter};

use crate::idempotency::Fingerprint;
use crate::record;

/// Bytes of blocks that are kept, estimated.
const KEPT_BYTES: usize = 64 << 20;
/// After which time without a reader a block is forgotten.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// How many bytes of history are read at once for one feed.
const HISTORY_BYTES: usize = 256 << 10;
/// How many times as many are read for many feeds.
const HISTORY_TIMES: usize = 16;
/// So many levels of names are found by, and whole names.
const INDEXED_LEVELS: usize = 4;
/// What a commit takes in memory beside its contents.
const COMMIT_BYTES: usize = 320;

/// Commits that follow each other.
#[derive(Debug)]
pub(crate) struct Block {
    /// They are those after this one.
    after: u64,
    /// The number of the last.
    to: u64,
    /// Those of them that anybody may follow.
    commits: Box<[Commit]>,
    /// Where a name or something below it is concerned, by the digest of the name. Made for the first who asks.
    by_name: OnceLock<HashMap<u64, Vec<u32>>>,
}

/// How far a feed has read a block.
#[derive(Debug)]
pub(crate) struct Passage {
    block: Arc<Block>,
    next: usize,
    /// What is read concerns this name, or what is below it.
    key: Option<u64>,
}

/// Blocks that were read.
#[derive(Debug)]
pub(crate) struct Blocks(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    blocks: Vec<KeptBlock>,
    /// Bytes that there is room for.
    room: usize,
}

#[derive(Debug)]
struct KeptBlock {
    block: Arc<Block>,
    bytes: usize,
    used: Instant,
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
    pub(crate) fn new(after: u64, mut commits: Vec<Commit>) -> Self {
        let to = commits.last().map_or(after, |last| last.number);
        commits.retain(|commit| !record::are_of_records(&commit.changes));
        Self { after, to, commits: commits.into(), by_name: OnceLock::new() }
    }

    /// The number of the last commit.
    pub(crate) fn to(&self) -> u64 {
        self.to
    }

    fn covers(&self, number: u64) -> bool {
        (self.after..self.to).contains(&number)
    }

    fn weight(&self) -> usize {
        self.commits.iter().map(|commit| COMMIT_BYTES + commit.weight()).sum()
    }

    /// The first place from `from` on at which something concerns a name.
    fn find(&self, from: usize, key: Option<u64>) -> Option<usize> {
        let Some(key) = key else {
            return (from < self.commits.len()).then_some(from);
        };
        let places = self.by_name.get_or_init(|| self.index()).get(&key)?;
        let next = places.partition_point(|place| (*place as usize) < from);
        places.get(next).map(|place| *place as usize)
    }

    fn index(&self) -> HashMap<u64, Vec<u32>> {
        let mut by_name: HashMap<u64, Vec<u32>> = HashMap::new();
        for (place, commit) in (0..).zip(&self.commits) {
            for key in commit.changes.iter().flat_map(|change| keys(change.topic().as_str())) {
                let places = by_name.entry(key).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        }
        by_name
    }
}

impl Passage {
    /// The part of a block after commit `number`, for a feed with this filter.
    pub(crate) fn after(block: Arc<Block>, number: u64, filter: &Filter) -> Self {
        let next = block.commits.partition_point(|commit| commit.number <= number);
        Self { block, next, key: key_of(filter) }
    }

    /// The next commit in which something may match.
    pub(crate) fn next(&mut self) -> Option<&Commit> {
        let Some(place) = self.block.find(self.next, self.key) else {
            self.next = self.block.commits.len();
            return None;
        };
        self.next = place + 1;
        self.block.commits.get(place)
    }
}

impl Default for Blocks {
    fn default() -> Self {
        Self::with_room(KEPT_BYTES)
    }
}

impl Blocks {
    fn with_room(room: usize) -> Self {
        Self(Mutex::new(Kept { blocks: Vec::new(), room }))
    }

    /// A block with what comes after `number`, if one is kept.
    pub(crate) fn find(&self, number: u64) -> Option<Arc<Block>> {
        let mut kept = self.lock();
        let found = kept.blocks.iter_mut().rev().find(|kept| kept.block.covers(number))?;
        found.used = Instant::now();
        Some(Arc::clone(&found.block))
    }

    /// Keeps a block if there is room. Where there is none those that are kept stay: whoever comes next begins with the
    /// oldest, so that taking these away would leave nothing that it finds.
    pub(crate) fn keep(&self, block: &Arc<Block>) {
        let bytes = block.weight();
        let mut kept = self.lock();
        let is_known = kept.blocks.iter().any(|known| known.block.covers(block.after));
        if is_known || block.to == block.after {
            return;
        }
        if bytes > kept.room {
            kept.forget_unused();
        }
        if let Some(room) = kept.room.checked_sub(bytes) {
            kept.room = room;
            kept.blocks.push(KeptBlock { block: Arc::clone(block), bytes, used: Instant::now() });
        }
    }

    /// Forgets the blocks that nobody reads any more.
    pub(crate) fn forget_unused(&self) {
        self.lock().forget_unused();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn forget_unused(&mut self) {
        let Self { blocks, room } = self;
        blocks.retain(|kept| {
            let is_used = kept.used.elapsed() <= KEPT_FOR;
            *room += if is_used { 0 } else { kept.bytes };
            is_used
        });
        if blocks.is_empty() {
            *blocks = Vec::new();
        }
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

    /// After which number to read next, and how many bytes; `None` when the reader may go. Where many wait, each is told
    /// little of what is read, so more is read at once: then it is written to seldom.
    pub(crate) fn next(&mut self) -> Option<(u64, usize)> {
        let next = self.waiting.iter().map(|(number, _)| *number).min();
        self.is_read_for = next.is_some();
        next.map(|number| (number, HISTORY_BYTES * self.waiting.len().clamp(1, HISTORY_TIMES)))
    }

    /// Those whom it helps that `block` was read, or what else came of reading after `number`.
    pub(crate) fn helped(&mut self, number: u64, block: Option<&Block>) -> Vec<T> {
        let is_helped = |(wanted, _): &mut (u64, T)| {
            *wanted == number || block.is_some_and(|block| block.covers(*wanted))
        };
        self.waiting.extract_if(.., is_helped).map(|(_, who)| who).collect()
    }
}

/// By what a change of this name is found: the digests of the name, and of what it is below.
fn keys(name: &str) -> impl Iterator<Item = u64> {
    let above = name.match_indices('/').map(|(at, _)| at).take(INDEXED_LEVELS);
    above.chain([name.len()]).map(|end| digest(&name[..end]))
}

/// By what everything that the filter matches is found; `None` if that can be anywhere.
fn key_of(filter: &Filter) -> Option<u64> {
    let filter = filter.as_str();
    let Some(wildcard) = filter.find(['+', '#']) else { return Some(digest(filter)) };
    let literal = &filter[..wildcard.checked_sub(1)?];
    let indexed =
        literal.match_indices('/').nth(INDEXED_LEVELS - 1).map_or(literal, |(end, _)| &literal[..end]);
    Some(digest(indexed))
}

/// Two names with one digest are told apart by the filter.
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
        let record = "$dovetail/tests/a";
        let deep = "1/2/3/4/5/6";
        let block = block(
            10,
            &[&["a"], &["b", "c", "b"], &["a", record], &["a/b"], &["c"], &[record], &[deep, "/x"]],
        );
        let table: [(&str, u64, &[u64]); 15] = [
            // What is below a name is found with it, for the feed to match.
            ("a", 10, &[11, 13, 14]),
            ("a", 11, &[13, 14]),
            ("c", 10, &[12, 15]),
            ("d", 10, &[]),
            ("a", 14, &[]),
            ("a/#", 12, &[13, 14]),
            ("a/b", 10, &[14]),
            ("b/+", 10, &[12]),
            // A record alone is nothing that anybody follows.
            ("#", 10, &[11, 12, 13, 14, 15, 17]),
            ("+/b", 13, &[14, 15, 17]),
            ("1/2/3/4/5/6", 10, &[17]),
            ("1/2/3/4/9/#", 10, &[17]),
            ("1/2/3/9/#", 10, &[]),
            ("1/2/+/9", 10, &[17]),
            ("/+", 10, &[17]),
        ];
        assert_eq!(block.to(), 17);
        for (filter, after, expected) in table {
            let filter = Filter::new(filter).unwrap();
            let mut passage = Passage::after(Arc::clone(&block), after, &filter);
            let mut found = Vec::new();
            while let Some(commit) = passage.next() {
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
    fn what_is_kept_is_not_given_up_for_what_is_read_later() {
        let commits: [&[&str]; 2] = [&["a"], &["b"]];
        let blocks = Blocks::with_room(2 * block(0, &commits).weight());
        for after in [0, 2, 0, 4, 1] {
            blocks.keep(&block(after, &commits));
        }
        let table = [(0, true), (1, true), (2, true), (3, true), (4, false)];
        for (number, is_kept) in table {
            assert_eq!(blocks.find(number).is_some(), is_kept, "{number}");
        }
    }

    #[test]
    fn the_furthest_behind_are_read_for_first() {
        let mut waiters = Waiters::default();
        assert!(waiters.wait(30, 'a'));
        assert!(!waiters.wait(10, 'b'));
        assert!(!waiters.wait(11, 'c'));
        assert_eq!(waiters.next(), Some((10, 3 * HISTORY_BYTES)));
        assert_eq!(waiters.helped(10, Some(&block(10, &[&["x"], &["x"]]))), ['b', 'c']);
        assert_eq!(waiters.next(), Some((30, HISTORY_BYTES)));
        assert_eq!(waiters.helped(30, None), ['a']);
        assert_eq!(waiters.next(), None);
        assert!(waiters.wait(30, 'd'), "the reader has gone");
        (0..100).for_each(|_| assert!(!waiters.wait(31, 'e')));
        assert_eq!(waiters.next(), Some((30, HISTORY_TIMES * HISTORY_BYTES)));
    }
}
