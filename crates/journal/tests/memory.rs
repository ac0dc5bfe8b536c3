//! The faults and the gate of the memory journal.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::thread;

use common::{Recovered, commit, commits};
use dovetail_journal::memory::{Fault, MemoryJournal, MemoryOptions};
use dovetail_journal::{AppendError, JournalStore, SnapshotError};

fn journal() -> MemoryJournal {
    MemoryJournal::new(MemoryOptions::default()).unwrap()
}

#[test]
fn after_poison_nothing_is_taken_and_the_batch_is_whole_or_absent() {
    for (fault, there) in [(Fault::PoisonLost, 4), (Fault::PoisonKept, 7)] {
        let mut journal = journal();
        let control = journal.control();
        control.fail_append(1, fault);
        journal.append(&commits(1, 5, 1), 0).unwrap();
        for expected in [4, 4, 7] {
            let refused = journal.append(&commits(5, 8, 1), expected);
            assert!(matches!(refused, Err(AppendError::Poisoned(_))), "{refused:?}");
        }
        assert_eq!(journal.reader().read(0, usize::MAX).unwrap(), commits(1, 5, 1));
        let snapshot = journal.snapshots().write(1, 0, &mut std::iter::empty());
        assert!(matches!(snapshot, Err(SnapshotError::Poisoned(_))));
        assert!(journal.close().is_err());

        let mut found = Recovered::default();
        let journal = MemoryJournal::open(control.image(), MemoryOptions::default(), &mut found).unwrap();
        assert_eq!(journal.tail(), there);
        assert_eq!(found.commits, commits(1, there + 1, 1));
    }
}

#[test]
fn full_leaves_the_journal_usable() {
    let mut journal = journal();
    journal.control().fail_append(0, Fault::Full);
    assert!(matches!(journal.append(&[commit(1, 2)], 0), Err(AppendError::Full)));
    assert_eq!(journal.tail(), 0);
    journal.append(&[commit(1, 3)], 0).unwrap();
    assert_eq!(journal.reader().read(0, 1).unwrap(), [commit(1, 3)]);
}

#[test]
fn a_held_append_is_invisible_until_released() {
    let mut journal = journal();
    let (control, reader) = (journal.control(), journal.reader());
    control.hold();
    thread::scope(|scope| {
        scope.spawn(|| journal.append(&[commit(1, 4)], 0).unwrap());
        control.wait_until_held();
        assert_eq!(reader.read(0, 1).unwrap(), []);
        control.release();
    });
    assert_eq!(reader.read(0, 1).unwrap(), [commit(1, 4)]);
}

#[test]
fn history_is_bounded_by_bytes() {
    let options = MemoryOptions { history_bytes_max: 2_000, ..MemoryOptions::default() };
    let mut journal = MemoryJournal::new(options).unwrap();
    for number in 1..=500 {
        journal.append(&[commit(number, 5)], number - 1).unwrap();
    }
    let kept = journal.reader().read(journal.first() - 1, usize::MAX).unwrap();
    assert_eq!(kept, commits(journal.first(), 501, 5));
    assert!(kept.len() == 1 || kept.iter().map(dovetail_model::Commit::weight).sum::<usize>() <= 2_000);
    let uncovered =
        MemoryJournal::open(journal.control().image(), MemoryOptions::default(), &mut Recovered::default());
    assert!(uncovered.is_err(), "history is missing and no snapshot stands for it");
}
