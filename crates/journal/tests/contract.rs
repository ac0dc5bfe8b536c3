//! The contract of `JournalStore`, held against every implementation.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{Recovered, commit, commits, fold};
use dovetail_journal::memory::{MemoryControl, MemoryJournal, MemoryOptions};
use dovetail_journal::sim::SimDisk;
use dovetail_journal::{AppendError, FileJournal, JournalStore, ReadError, RecoverySink, SnapshotError};
use dovetail_model::{Change, Commit};

/// A place where a journal of one kind lives over several openings.
trait Place: Default {
    type Store: JournalStore;

    /// Opens the journal; the first time it is new.
    fn open(&mut self, sink: &mut dyn RecoverySink) -> Self::Store;
}

#[derive(Default)]
struct Memory(Option<MemoryControl>);

impl Place for Memory {
    type Store = MemoryJournal;

    fn open(&mut self, sink: &mut dyn RecoverySink) -> MemoryJournal {
        let options = MemoryOptions { batch_bytes_max: 1 << 20, ..MemoryOptions::default() };
        let journal = match &self.0 {
            None => MemoryJournal::new(options).unwrap(),
            Some(control) => MemoryJournal::open(control.image(), options, sink).unwrap(),
        };
        self.0 = Some(journal.control());
        journal
    }
}

/// Files in a directory, as in production, except that segments are small enough to roll often.
struct Files(tempfile::TempDir);

impl Default for Files {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Place for Files {
    type Store = FileJournal;

    fn open(&mut self, sink: &mut dyn RecoverySink) -> FileJournal {
        FileJournal::open(self.0.path(), common::small(true), sink).unwrap()
    }
}

/// The same code on a simulated disk, everything in one thread.
#[derive(Default)]
struct Sim(SimDisk);

impl Place for Sim {
    type Store = FileJournal;

    fn open(&mut self, sink: &mut dyn RecoverySink) -> FileJournal {
        FileJournal::open_on(Box::new(self.0.clone()), common::small(false), sink).unwrap()
    }
}

macro_rules! contract {
    ($($test:ident),+ $(,)?) => {
        mod memory {
            $(#[test] fn $test() { super::$test::<super::Memory>(); })+
        }
        mod files {
            $(#[test] fn $test() { super::$test::<super::Files>(); })+
        }
        mod sim {
            $(#[test] fn $test() { super::$test::<super::Sim>(); })+
        }
    };
}

contract!(
    a_new_journal_is_empty,
    appended_commits_are_read_back_with_equal_bytes,
    reads_are_bounded_but_never_stuck,
    a_wrong_tail_changes_nothing,
    a_gap_in_the_numbers_changes_nothing,
    an_empty_batch_does_nothing,
    too_large_changes_nothing,
    everything_is_there_after_opening_again,
    a_snapshot_stands_for_what_it_covers,
    snapshots_claim_only_what_is_durable,
    trim_never_takes_what_no_snapshot_covers,
    trimmed_history_is_said_to_be_trimmed,
    readers_on_other_threads_see_a_gapless_prefix,
);

fn open_new<P: Place>(place: &mut P) -> P::Store {
    let mut nothing = Recovered::default();
    let journal = place.open(&mut nothing);
    assert!(nothing.snapshot.is_none() && nothing.commits.is_empty());
    journal
}

fn reopen<P: Place>(place: &mut P, journal: P::Store) -> (P::Store, Recovered) {
    journal.close().unwrap();
    let mut found = Recovered::default();
    (place.open(&mut found), found)
}

fn read_all(journal: &impl JournalStore) -> Vec<Commit> {
    journal.reader().read(journal.first() - 1, usize::MAX).unwrap()
}

fn a_new_journal_is_empty<P: Place>() {
    let place = &mut P::default();
    let journal = open_new(place);
    assert_eq!((journal.tail(), journal.first()), (0, 1));
    assert_eq!(journal.reader().read(0, 1_000).unwrap(), []);
    assert!(matches!(journal.reader().read(1, 1_000), Err(ReadError::Ahead { tail: 0 })));
}

fn appended_commits_are_read_back_with_equal_bytes<P: Place>() {
    let place = &mut P::default();
    let mut journal = open_new(place);
    let written = commits(1, 301, 1);
    let mut tail = 0;
    for batch in written.chunks(7) {
        journal.append(batch, tail).unwrap();
        tail += batch.len() as u64;
        assert_eq!(journal.tail(), tail);
    }
    assert_eq!(read_all(&journal), written);
    for after in 0..=300 {
        let read = journal.reader().read(after, usize::MAX).unwrap();
        assert_eq!(read, written[after as usize..], "after {after}");
    }
}

fn reads_are_bounded_but_never_stuck<P: Place>() {
    let place = &mut P::default();
    let mut journal = open_new(place);
    let written = commits(1, 201, 2);
    for batch in written.chunks(50) {
        journal.append(batch, batch[0].number - 1).unwrap();
    }
    for max_bytes in [0, 1, 500, 5_000] {
        let mut read = Vec::new();
        while read.len() < written.len() {
            let page = journal.reader().read(read.len() as u64, max_bytes).unwrap();
            assert!(!page.is_empty(), "stuck after {}", read.len());
            let bytes: usize = page.iter().map(Commit::weight).sum();
            assert!(page.len() == 1 || bytes <= max_bytes, "{bytes} bytes in a page of {max_bytes}");
            read.extend(page);
        }
        assert_eq!(read, written);
    }
}

fn a_wrong_tail_changes_nothing<P: Place>() {
    let place = &mut P::default();
    let mut journal = open_new(place);
    journal.append(&commits(1, 3, 3), 0).unwrap();
    for expected in [0, 1, 3] {
        let refused = journal.append(&[commit(expected + 1, 3)], expected);
        assert!(matches!(refused, Err(AppendError::WrongTail { actual: 2, .. })), "{refused:?}");
    }
    assert_eq!(read_all(&journal), commits(1, 3, 3));
}

fn a_gap_in_the_numbers_changes_nothing<P: Place>() {
    let place = &mut P::default();
    let mut journal = open_new(place);
    let refused = journal.append(&[commit(1, 4), commit(3, 4)], 0);
    assert!(matches!(refused, Err(AppendError::NotContiguous { wanted: 2, found: 3 })), "{refused:?}");
    journal.append(&commits(1, 3, 4), 0).unwrap();
    assert_eq!(read_all(&journal), commits(1, 3, 4));
}

fn an_empty_batch_does_nothing<P: Place>() {
    let place = &mut P::default();
    let mut journal = open_new(place);
    journal.append(&[], 0).unwrap();
    assert_eq!((journal.tail(), journal.first()), (0, 1));
}

fn too_large_changes_nothing<P: Place>() {
    let place = &mut P::default();
    let mut journal = open_new(place);
    let mut large = commit(1, 5);
    let bytes = vec![7; journal.batch_bytes_max()];
    let event = dovetail_model::Event {
        topic: dovetail_model::Topic::new("large").unwrap(),
        published_at: 0,
        expires_at: None,
        representation: dovetail_model::Representation::copied(&bytes, None),
    };
    large.changes = Box::new([Change::Event(event.into())]);
    let refused = journal.append(&[large], 0);
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })), "{refused:?}");
    journal.append(&[commit(1, 5)], 0).unwrap();
    assert_eq!(read_all(&journal), [commit(1, 5)]);
}

fn everything_is_there_after_opening_again<P: Place>() {
    let place = &mut P::default();
    let mut journal = open_new(place);
    let epoch = journal.epoch();
    let mut written = Vec::new();
    for round in 0..5 {
        let from = round * 40 + 1;
        for number in from..from + 40 {
            written.push(commit(number, 6));
            journal.append(&written[written.len() - 1..], number - 1).unwrap();
        }
        let found;
        (journal, found) = reopen(place, journal);
        assert_eq!(journal.epoch(), epoch);
        assert_eq!(found.commits, written);
        assert_eq!(read_all(&journal), written);
    }
}

fn a_snapshot_stands_for_what_it_covers<P: Place>() {
    let place = &mut P::default();
    let mut journal = open_new(place);
    let written = commits(1, 101, 7);
    journal.append(&written, 0).unwrap();
    assert!(journal.bytes_since_snapshot() > 0);
    let entries = fold(&written[..60]);
    journal.snapshots().write(60, 17, &mut entries.values().cloned()).unwrap();
    let (mut journal, found) = reopen(place, journal);
    assert_eq!(found.snapshot, Some((60, 17)));
    assert_eq!(found.entries, entries.values().cloned().collect::<Vec<_>>());
    assert_eq!(found.commits, written[60..]);
    assert_eq!(found.state(), fold(&written));

    let entries = fold(&written);
    journal.snapshots().write(100, 18, &mut entries.values().cloned()).unwrap();
    assert_eq!(journal.bytes_since_snapshot(), 0);
    journal.append(&[commit(101, 7)], 100).unwrap();
    let (_, found) = reopen(place, journal);
    assert_eq!(found.snapshot, Some((100, 18)));
    assert_eq!(found.commits, [commit(101, 7)]);
}

fn snapshots_claim_only_what_is_durable<P: Place>() {
    let place = &mut P::default();
    let mut journal = open_new(place);
    journal.append(&commits(1, 11, 8), 0).unwrap();
    let snapshots = journal.snapshots();
    let nothing = || std::iter::empty::<Change>();
    assert!(matches!(snapshots.write(11, 0, &mut nothing()), Err(SnapshotError::Ahead { at: 11, tail: 10 })));
    snapshots.write(9, 0, &mut nothing()).unwrap();
    let older = snapshots.write(9, 0, &mut nothing());
    assert!(matches!(older, Err(SnapshotError::NotNewer { at: 9, newest: 9 })));
}

fn trim_never_takes_what_no_snapshot_covers<P: Place>() {
    let place = &mut P::default();
    let mut journal = open_new(place);
    let written = commits(1, 401, 9);
    for batch in written.chunks(10) {
        journal.append(batch, batch[0].number - 1).unwrap();
    }
    assert_eq!(journal.trim(300).unwrap(), 1);
    let state = fold(&written[..200]);
    journal.snapshots().write(200, 0, &mut state.values().cloned()).unwrap();
    let first = journal.trim(300).unwrap();
    assert!(first <= 201, "{first} is above what the snapshot covers");
    assert_eq!(journal.first(), first);
    assert_eq!(read_all(&journal), written[first as usize - 1..]);
    let (journal, found) = reopen(place, journal);
    assert_eq!(found.state(), fold(&written));
    assert_eq!(journal.first(), first);
}

fn trimmed_history_is_said_to_be_trimmed<P: Place>() {
    let place = &mut P::default();
    let mut journal = open_new(place);
    let written = commits(1, 1_001, 10);
    for batch in written.chunks(10) {
        journal.append(batch, batch[0].number - 1).unwrap();
    }
    let state = fold(&written);
    journal.snapshots().write(1_000, 0, &mut state.values().cloned()).unwrap();
    let first = journal.trim(990).unwrap();
    assert!(first > 1 && first <= 990, "{first}");
    let reader = journal.reader();
    assert!(matches!(reader.read(first - 2, 10), Err(ReadError::Trimmed { first: f }) if f == first));
    assert_eq!(reader.read(first - 1, 0).unwrap(), written[first as usize - 1..first as usize]);
    assert_eq!(reader.read(1_000, 10).unwrap(), []);
}

/// Lets the readers end when the writer does, however it ends.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn readers_on_other_threads_see_a_gapless_prefix<P: Place>() {
    let place = &mut P::default();
    let mut journal = open_new(place);
    let done = AtomicBool::new(false);
    let reader = journal.reader();
    let last = 2_000;
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut seen = 0;
                while seen < last {
                    assert!(!done.load(Ordering::Acquire) || reader.tail() == last);
                    for read in reader.read(seen, 10_000).unwrap() {
                        assert_eq!(read, commit(seen + 1, 11));
                        seen += 1;
                    }
                }
            });
        }
        let _end = SetOnDrop(&done);
        for from in (1..=last).step_by(20) {
            journal.append(&commits(from, from + 20, 11), from - 1).unwrap();
        }
    });
}
