//! What only a journal in files does: its lock, its space, its threads, its failures.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{Recovered, commit, commits, fold, small};
use dovetail_journal::sim::{SimDisk, SimFault, SimWhen};
use dovetail_journal::{
    AppendError, Disk, FileJournal, FileOptions, JournalStore, OpenError, ReadError, SnapshotError, Space,
    StorageFile,
};
use dovetail_model::{Change, Commit};

fn open(disk: &SimDisk, prepares_ahead: bool) -> (FileJournal, Recovered) {
    let mut found = Recovered::default();
    let journal = FileJournal::open_on(Box::new(disk.clone()), small(prepares_ahead), &mut found).unwrap();
    (journal, found)
}

fn append_one(journal: &mut FileJournal, seed: u64) -> Result<Commit, AppendError> {
    let tail = journal.tail();
    let next = commit(tail + 1, seed);
    journal.append(std::slice::from_ref(&next), tail).map(|()| next)
}

fn snapshot(journal: &FileJournal, written: &[Commit]) -> Result<(), SnapshotError> {
    let state = fold(written);
    journal.snapshots().write(written.len() as u64, 0, &mut state.values().cloned())
}

#[test]
fn a_second_opener_is_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let open = || FileJournal::open(dir.path(), small(true), &mut Recovered::default());
    let first = open().unwrap();
    let refused = open().unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    assert!(text.contains(&dir.path().display().to_string()), "{text}");
    drop(first);
    open().unwrap().close().unwrap();
    open().unwrap();
}

#[test]
fn handles_that_outlive_the_journal_do_not_hold_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let open = || FileJournal::open(dir.path(), small(true), &mut Recovered::default());
    let mut journal = open().unwrap();
    journal.append(&commits(1, 4, 1), 0).unwrap();
    let (reader, snapshots) = (journal.reader(), journal.snapshots());
    journal.close().unwrap();
    let _next = open().unwrap();
    assert_eq!(reader.read(0, usize::MAX).unwrap(), commits(1, 4, 1));
    assert!(matches!(snapshots.write(3, 0, &mut std::iter::empty()), Err(SnapshotError::Closed)));
}

#[test]
fn directories_are_made_and_odd_options_refused() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b/c");
    FileJournal::open(&deep, small(true), &mut Recovered::default()).unwrap().close().unwrap();
    for (segment_bytes, first_segment_bytes) in
        [(8 << 10, 8 << 10), (65_537, 16 << 10), (16 << 10, 64 << 10), (2 << 30, 16 << 10), (64 << 10, 0)]
    {
        let options = FileOptions { segment_bytes, first_segment_bytes, ..small(true) };
        let refused = FileJournal::open(&deep, options, &mut Recovered::default());
        assert!(matches!(refused, Err(OpenError::Option { .. })), "{segment_bytes} {first_segment_bytes}");
    }
}

#[test]
fn nobody_else_can_read_what_is_stored() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut journal = FileJournal::open(&data, small(false), &mut Recovered::default()).unwrap();
    journal.append(&[commit(1, 1)], 0).unwrap();
    snapshot(&journal, &[commit(1, 1)]).unwrap();
    journal.close().unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_full_disk_is_full_and_not_broken_and_goes_on_when_there_is_space() {
    for prepares_ahead in [false, true] {
        let disk = SimDisk::new(5);
        disk.limit(Some(300 << 10));
        let (mut journal, _) = open(&disk, prepares_ahead);
        let mut written = Vec::new();
        let mut was_low = false;
        // Until not even the last segment has room.
        let refused = loop {
            was_low |= matches!(journal.space(), Space::Low { .. });
            match append_one(&mut journal, written.len() as u64) {
                Ok(commit) => written.push(commit),
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, AppendError::Full), "{refused:?}");
        // With a helper of its own it shows as soon as the helper has tried, not at a certain append.
        assert!(was_low || prepares_ahead, "the lack of space did not show before it hurt");
        let Space::Low { bytes_left } = journal.space() else { panic!("a full disk has space") };
        assert!(bytes_left < 64 << 10);
        assert_eq!(journal.reader().read(0, usize::MAX).unwrap(), written);
        disk.limit(Some(0));
        assert!(matches!(snapshot(&journal, &written), Err(SnapshotError::Full)));

        // Space comes from outside, enough for a snapshot; that lets history go, and so on.
        disk.limit(Some(400 << 10));
        snapshot(&journal, &written).unwrap();
        journal.trim(written.len() as u64).unwrap();
        for seed in 0..100 {
            let taken = loop {
                match append_one(&mut journal, seed) {
                    // The helper is about to make room.
                    Err(AppendError::Full) => thread::yield_now(),
                    other => break other,
                }
            };
            written.push(taken.unwrap());
        }
        drop(journal);
        let (journal, found) = open(&disk, prepares_ahead);
        assert_eq!(found.state(), fold(&written));
        let read = journal.reader().read(journal.first() - 1, usize::MAX).unwrap();
        assert_eq!(read, written[journal.first() as usize - 1..]);
    }
}

#[test]
fn a_failure_of_the_helper_ends_acknowledgements() {
    let disk = SimDisk::new(6);
    let (mut journal, _) = open(&disk, true);
    let mut poisoned = false;
    for seed in 0..2_000 {
        if seed == 20 {
            // From here on the helper's calls fail as well as the appends'.
            disk.fail(SimWhen::Once(3), SimFault::Io);
        }
        match append_one(&mut journal, seed) {
            Ok(_) => assert!(!poisoned, "acknowledged after a failure"),
            Err(AppendError::Poisoned(_)) => poisoned = true,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(poisoned);
    let refused = journal.snapshots().write(1, 0, &mut std::iter::empty());
    assert!(matches!(refused, Err(SnapshotError::Poisoned(_))));
    assert!(journal.trim(2).is_err());
    assert!(journal.close().is_err());
}

/// A disk on which a write can panic.
#[derive(Debug, Default)]
struct Panicking {
    disk: SimDisk,
    panics: Arc<AtomicBool>,
}

#[derive(Debug)]
struct PanickingFile {
    file: Box<dyn StorageFile>,
    panics: Arc<AtomicBool>,
}

impl Panicking {
    fn wrap(&self, file: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        Box::new(PanickingFile { file, panics: Arc::clone(&self.panics) })
    }
}

impl Disk for Panicking {
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(self.wrap(self.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(self.wrap(self.disk.open(name)?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }
}

impl StorageFile for PanickingFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        assert!(!self.panics.load(Ordering::Acquire), "the test wants a panic");
        self.file.write_at(bytes, offset)
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.file.reserve(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

#[test]
fn a_panic_in_the_middle_of_an_append_poisons() {
    let disk = Panicking::default();
    let (panics, inner) = (Arc::clone(&disk.panics), disk.disk.clone());
    let mut journal = FileJournal::open_on(Box::new(disk), small(false), &mut Recovered::default()).unwrap();
    journal.append(&[commit(1, 1)], 0).unwrap();
    panics.store(true, Ordering::Release);
    let panicked = catch_unwind(AssertUnwindSafe(|| journal.append(&[commit(2, 1)], 1)));
    assert!(panicked.is_err());
    panics.store(false, Ordering::Release);
    let refused = journal.append(&[commit(2, 1)], 1);
    assert!(matches!(refused, Err(AppendError::Poisoned(_))), "{refused:?}");
    drop(journal);
    let (_, found) = open(&inner, false);
    assert_eq!(found.commits, [commit(1, 1)]);
}

#[test]
fn snapshots_trims_and_reads_go_on_beside_appends() {
    let dir = tempfile::tempdir().unwrap();
    let mut found = Recovered::default();
    let mut journal = FileJournal::open(dir.path(), small(true), &mut found).unwrap();
    let last = 3_000;
    let snapshots = journal.snapshots();
    let reader = journal.reader();
    let (wants, wanted) = std::sync::mpsc::sync_channel::<u64>(16);
    thread::scope(|scope| {
        scope.spawn(move || {
            for at in wanted {
                let state = fold(&commits(1, at + 1, 3));
                match snapshots.write(at, at, &mut state.values().cloned()) {
                    Ok(()) | Err(SnapshotError::Closed) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
        scope.spawn(move || {
            let mut after = 0;
            while after < last {
                match reader.read(after, 20_000) {
                    Ok(read) => {
                        for found in read {
                            after += 1;
                            assert_eq!(found, commit(after, 3));
                        }
                    }
                    // Who is too slow is told where history begins, and never given a gap.
                    Err(ReadError::Trimmed { first }) => {
                        assert!(first > after + 1);
                        after = first - 1;
                    }
                    Err(other) => panic!("{other}"),
                }
                thread::yield_now();
            }
        });
        for from in (1..=last).step_by(10) {
            journal.append(&commits(from, from + 10, 3), from - 1).unwrap();
            if from % 300 == 1 {
                wants.send(journal.tail()).unwrap();
                journal.trim(journal.tail().saturating_sub(200)).unwrap();
            }
        }
        drop(wants);
    });
    let first = journal.trim(last - 200).unwrap();
    journal.close().unwrap();
    let mut found = Recovered::default();
    let journal = FileJournal::open(dir.path(), small(true), &mut found).unwrap();
    assert_eq!((journal.first(), journal.tail()), (first, last));
    assert!(first > 1, "nothing was trimmed");
    assert_eq!(found.state(), fold(&commits(1, last + 1, 3)));
}

#[test]
fn closing_ends_a_snapshot_that_is_being_written() {
    let disk = SimDisk::new(8);
    let (mut journal, _) = open(&disk, false);
    let written = commits(1, 20, 9);
    journal.append(&written, 0).unwrap();
    let snapshots = journal.snapshots();
    let (begun, begins) = std::sync::mpsc::sync_channel(1);
    let entry = fold(&written).into_values().next().unwrap();
    thread::scope(|scope| {
        let writing = scope.spawn(move || {
            // Endless, so that only the close can end it.
            let mut endless = std::iter::repeat_with(|| {
                let _ = begun.try_send(());
                entry.clone()
            });
            snapshots.write(19, 0, &mut endless as &mut dyn Iterator<Item = Change>)
        });
        begins.recv().unwrap();
        drop(begins);
        journal.close().unwrap();
        assert!(matches!(writing.join().unwrap(), Err(SnapshotError::Closed)));
    });
    let (_, found) = open(&disk, false);
    assert_eq!((found.snapshot, found.commits), (None, written));
}
