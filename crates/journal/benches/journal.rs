//! What an append costs beside the bare disk, and what decoding costs at start-up.
//!
//! `TMPDIR` decides which disk is measured. The raw rows write and sync the same number of bytes into
//! zero-filled space without any journal.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the bench failing")]
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dovetail_journal::sim::SimDisk;
use dovetail_journal::{
    Disk, FileJournal, FileOptions, JournalStore, RecoverySink, StorageFile, encoded_bytes,
};
use dovetail_model::{Change, Commit, Representation, Resource, Topic};

const GROUPS: [u64; 5] = [1, 16, 64, 256, 1_024];

struct Count(u64);

impl RecoverySink for Count {
    fn snapshot(&mut self, _at: u64, _floor: u64, _entries_hint: u64) {}

    fn entry(&mut self, change: Change) {
        black_box(change);
        self.0 += 1;
    }

    fn commit(&mut self, commit: Commit) {
        black_box(commit);
        self.0 += 1;
    }
}

fn put(number: u64) -> Change {
    Change::Put(Arc::new(Resource {
        topic: Topic::new(&format!("plant/{}/line/{}/temperature", number % 1_000, number)).unwrap(),
        revision: number,
        modified_at: 1_790_000_000_000 + number,
        expires_at: None,
        representation: Representation::copied(&[b'7'; 200], Some("application/json".into())),
    }))
}

fn commits(first: u64, count: u64) -> Vec<Commit> {
    (first..first + count)
        .map(|number| Commit {
            number,
            at: 1_790_000_000_000 + number,
            publisher: None,
            changes: Box::new([put(number)]),
        })
        .collect()
}

/// Appends groups for ever, trimming what lies behind.
struct Writer {
    journal: FileJournal,
    batch: Vec<Commit>,
}

impl Writer {
    fn new(journal: FileJournal, group: u64) -> Self {
        let batch = commits(journal.tail() + 1, group);
        Self { journal, batch }
    }

    fn append(&mut self) {
        let tail = self.journal.tail();
        self.journal.append(&self.batch, tail).unwrap();
        for commit in &mut self.batch {
            commit.number += self.journal.tail() - tail;
        }
    }

    fn tidy(&mut self) {
        let tail = self.journal.tail();
        if self.journal.should_snapshot() {
            self.journal.snapshots().write(tail, 0, &mut std::iter::empty()).unwrap();
            self.journal.trim(tail).unwrap();
        }
    }
}

fn append(c: &mut Criterion) {
    let mut bench = c.benchmark_group("append");
    bench.sample_size(30);
    for group in GROUPS {
        let dir = tempfile::tempdir().unwrap();
        let journal = FileJournal::open(dir.path(), FileOptions::default(), &mut Count(0)).unwrap();
        let mut writer = Writer::new(journal, group);
        bench.throughput(Throughput::Elements(group));
        bench.bench_function(BenchmarkId::new("journal", group), |b| {
            b.iter(|| writer.append());
            writer.tidy();
        });

        let bytes: usize = commits(1, group).iter().map(encoded_bytes).sum();
        let bytes = vec![7; bytes.next_multiple_of(512)];
        let file =
            File::options().create(true).truncate(true).write(true).open(dir.path().join("raw")).unwrap();
        let file_bytes = 64 << 20;
        file.write_all_at(&vec![0; file_bytes], 0).unwrap();
        file.sync_all().unwrap();
        let mut offset = 0;
        bench.bench_function(BenchmarkId::new("raw disk", group), |b| {
            b.iter(|| {
                file.write_all_at(&bytes, offset).unwrap();
                file.sync_data().unwrap();
                offset = (offset + bytes.len() as u64) % (file_bytes - bytes.len()) as u64 / 512 * 512;
            });
        });
    }
    bench.finish();
}

/// A disk that takes writes for done, once it is told to.
#[derive(Debug, Default)]
struct NoDisk {
    disk: SimDisk,
    is_void: Arc<AtomicBool>,
}

#[derive(Debug)]
struct NoFile {
    file: Box<dyn StorageFile>,
    is_void: Arc<AtomicBool>,
}

impl NoDisk {
    fn file(&self, file: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        Box::new(NoFile { file, is_void: Arc::clone(&self.is_void) })
    }
}

impl Disk for NoDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(self.file(self.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(self.file(self.disk.open(name)?))
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

impl StorageFile for NoFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.is_void.load(Ordering::Relaxed) { Ok(()) } else { self.file.write_at(bytes, offset) }
    }

    fn reserve(&self, _bytes: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.is_void.load(Ordering::Relaxed) { Ok(()) } else { self.file.sync() }
    }
}

/// The journal's own share of an append: everything but the disk.
fn own_share(c: &mut Criterion) {
    let mut bench = c.benchmark_group("own share of an append");
    for group in GROUPS {
        let disk = NoDisk::default();
        let is_void = Arc::clone(&disk.is_void);
        let journal = FileJournal::open_on(Box::new(disk), FileOptions::default(), &mut Count(0)).unwrap();
        is_void.store(true, Ordering::Relaxed);
        let mut writer = Writer::new(journal, group);
        bench.throughput(Throughput::Elements(group));
        bench.bench_function(BenchmarkId::from_parameter(group), |b| b.iter(|| writer.append()));
    }
    bench.finish();
}

/// Start-up: a snapshot, or history to replay.
fn open(c: &mut Criterion) {
    const ENTRIES: u64 = 200_000;
    let mut bench = c.benchmark_group("open");
    bench.sample_size(10).throughput(Throughput::Elements(ENTRIES));
    for is_snapshot in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = FileJournal::open(dir.path(), FileOptions::default(), &mut Count(0)).unwrap();
        for number in (1..=ENTRIES).step_by(1_000) {
            journal.append(&commits(number, 1_000), number - 1).unwrap();
        }
        if is_snapshot {
            journal.snapshots().write(ENTRIES, 0, &mut (1..=ENTRIES).map(put)).unwrap();
            journal.trim(ENTRIES).unwrap();
        }
        journal.close().unwrap();
        let what = if is_snapshot { "snapshot" } else { "history in groups of 1,000" };
        bench.bench_function(what, |b| {
            b.iter(|| {
                let mut count = Count(0);
                drop(FileJournal::open(dir.path(), FileOptions::default(), &mut count).unwrap());
                assert_eq!(count.0, ENTRIES);
            });
        });
    }
    bench.finish();
}

criterion_group!(benches, own_share, append, open);
criterion_main!(benches);
