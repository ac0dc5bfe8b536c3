//! The journal in memory: for tests and for servers whose history may end with the process.
//!
//! It keeps the whole contract of [`JournalStore`] except that it survives only as a
//! [`MemoryImage`], which stands for the disk: what was acknowledged is in it, and opening it again
//! is what a restart is. A [`MemoryControl`] makes appends fail or wait, so that tests decide the
//! order of events.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use dovetail_model::{Change, Commit, Epoch};

use crate::error::{AppendError, CloseError, OpenError, Poison, ReadError, SnapshotError, TrimError};
use crate::store::{check_numbers, random_epoch};
use crate::{JournalReader, JournalStore, RecoverySink, SnapshotWriter, Space};

/// How a memory journal is built.
#[derive(Clone, Debug)]
pub struct MemoryOptions {
    /// The epoch; random if `None`.
    pub epoch: Option<Epoch>,
    /// Bytes of history that are kept. Beyond it the oldest commits go, whether or not a snapshot
    /// covers them; the newest commit always stays.
    pub history_bytes_max: usize,
    /// Bytes of one batch.
    pub batch_bytes_max: usize,
    /// Bytes after which [`JournalStore::should_snapshot`] says yes.
    pub snapshot_after_bytes: u64,
}

/// What a memory journal would leave on a disk.
#[derive(Clone, Debug)]
pub struct MemoryImage {
    epoch: Epoch,
    commits: VecDeque<Commit>,
    tail: u64,
    snapshot: Option<Snapshot>,
}

/// A journal in memory.
#[derive(Debug)]
pub struct MemoryJournal {
    shared: Arc<Shared>,
    options: MemoryOptions,
}

/// Makes the appends of one [`MemoryJournal`] fail or wait.
#[derive(Clone, Debug)]
pub struct MemoryControl {
    shared: Arc<Shared>,
}

/// What an injected fault does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The append fails and poisons the journal; its batch is lost.
    PoisonLost,
    /// The append fails and poisons the journal; its batch reached the disk all the same and is
    /// there after the next opening.
    PoisonKept,
    /// There is no space for this append.
    Full,
}

/// Reads a [`MemoryJournal`].
#[derive(Clone, Debug)]
pub struct MemoryReader {
    shared: Arc<Shared>,
}

/// Writes snapshots of a [`MemoryJournal`].
#[derive(Debug)]
pub struct MemorySnapshots {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    epoch: Epoch,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The visible commits, contiguous, the last one is `tail`.
    commits: VecDeque<Commit>,
    tail: u64,
    history_bytes: usize,
    snapshot: Option<Snapshot>,
    bytes_since_snapshot: u64,
    /// A batch that failed with [`Fault::PoisonKept`]: invisible now, there after re-opening.
    unknown: Vec<Commit>,
    poison: Option<Poison>,
    /// Faults to come: how many appends from now, and what.
    faults: Vec<(u64, Fault)>,
    gate: Gate,
}

#[derive(Clone, Debug)]
struct Snapshot {
    at: u64,
    floor: u64,
    entries: Arc<[Change]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gate {
    Open,
    Closed { waiting: bool },
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            epoch: None,
            history_bytes_max: 256 << 20,
            batch_bytes_max: 32 << 20,
            snapshot_after_bytes: 64 << 20,
        }
    }
}

impl MemoryJournal {
    /// An empty journal.
    ///
    /// # Errors
    /// Only if the system has no randomness for the epoch and none is given.
    pub fn new(options: MemoryOptions) -> Result<Self, OpenError> {
        let epoch = match options.epoch {
            Some(epoch) => epoch,
            None => random_epoch()?,
        };
        let image = MemoryImage { epoch, commits: VecDeque::new(), tail: 0, snapshot: None };
        Ok(Self::of_image(image, options))
    }

    /// Opens what an earlier journal left, and tells `sink` what is in it.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] if the earlier journal dropped history that no snapshot covers.
    pub fn open(
        image: MemoryImage,
        options: MemoryOptions,
        sink: &mut dyn RecoverySink,
    ) -> Result<Self, OpenError> {
        let covered = image.snapshot.as_ref().map_or(0, |snapshot| snapshot.at);
        if image.commits.front().is_some_and(|commit| commit.number > covered + 1) {
            return Err(OpenError::Corrupt {
                file: "memory".into(),
                offset: 0,
                reason: "history that no snapshot covers was dropped",
            });
        }
        if let Some(snapshot) = &image.snapshot {
            sink.snapshot(snapshot.at, snapshot.floor, snapshot.entries.len() as u64);
            snapshot.entries.iter().for_each(|change| sink.entry(change.clone()));
        }
        let replayed = image.commits.iter().filter(|commit| commit.number > covered);
        replayed.for_each(|commit| sink.commit(commit.clone()));
        Ok(Self::of_image(image, options))
    }

    /// The handle that makes appends fail or wait.
    pub fn control(&self) -> MemoryControl {
        MemoryControl { shared: Arc::clone(&self.shared) }
    }

    fn of_image(image: MemoryImage, options: MemoryOptions) -> Self {
        let covered = image.snapshot.as_ref().map_or(0, |snapshot| snapshot.at);
        let replayed = image.commits.iter().filter(|commit| commit.number > covered);
        let state = State {
            bytes_since_snapshot: replayed.map(|commit| commit.weight() as u64).sum(),
            history_bytes: image.commits.iter().map(Commit::weight).sum(),
            tail: image.tail,
            commits: image.commits,
            snapshot: image.snapshot,
            unknown: Vec::new(),
            poison: None,
            faults: Vec::new(),
            gate: Gate::Open,
        };
        let shared = Shared { epoch: image.epoch, state: Mutex::new(state), changed: Condvar::new() };
        Self { shared: Arc::new(shared), options }
    }
}

impl JournalStore for MemoryJournal {
    fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    fn tail(&self) -> u64 {
        self.shared.lock().tail
    }

    fn first(&self) -> u64 {
        self.shared.lock().first()
    }

    fn append(&mut self, batch: &[Commit], expected_tail: u64) -> Result<(), AppendError> {
        let mut state = self.shared.lock();
        state.check(batch, expected_tail)?;
        let bytes = batch.iter().map(Commit::weight).sum();
        if bytes > self.options.batch_bytes_max {
            return Err(AppendError::TooLarge { bytes, bytes_max: self.options.batch_bytes_max });
        }
        if batch.is_empty() {
            return Ok(());
        }
        state = self.shared.pass_gate(state);
        if let Some(fault) = state.next_fault() {
            return Err(state.fail(fault, batch));
        }
        state.tail += batch.len() as u64;
        state.commits.extend(batch.iter().cloned());
        state.history_bytes += bytes;
        state.bytes_since_snapshot += bytes as u64;
        state.bound_history(self.options.history_bytes_max);
        Ok(())
    }

    fn reader(&self) -> JournalReader {
        MemoryReader { shared: Arc::clone(&self.shared) }.into()
    }

    fn trim(&mut self, before: u64) -> Result<u64, TrimError> {
        let mut state = self.shared.lock();
        if let Some(poison) = &state.poison {
            return Err(TrimError::Poisoned(poison.clone()));
        }
        let covered = state.snapshot.as_ref().map_or(0, |snapshot| snapshot.at);
        while state.first() < before && state.first() <= covered && state.commits.len() > 1 {
            state.drop_oldest();
        }
        Ok(state.first())
    }

    fn snapshots(&self) -> SnapshotWriter {
        MemorySnapshots { shared: Arc::clone(&self.shared) }.into()
    }

    fn bytes_since_snapshot(&self) -> u64 {
        self.shared.lock().bytes_since_snapshot
    }

    fn should_snapshot(&self) -> bool {
        self.bytes_since_snapshot() >= self.options.snapshot_after_bytes
    }

    fn batch_bytes_max(&self) -> usize {
        self.options.batch_bytes_max
    }

    fn space(&self) -> Space {
        Space::Ample
    }

    fn close(self) -> Result<(), CloseError> {
        match &self.shared.lock().poison {
            Some(poison) => Err(CloseError::Poisoned(poison.clone())),
            None => Ok(()),
        }
    }
}

impl MemoryControl {
    /// Makes one append fail: the next one if `skip` is 0, else the one after `skip` others.
    pub fn fail_append(&self, skip: u64, fault: Fault) {
        self.shared.lock().faults.push((skip, fault));
    }

    /// Holds every append from now on until [`release`](Self::release).
    pub fn hold(&self) {
        self.shared.lock().gate = Gate::Closed { waiting: false };
    }

    /// Waits until an append is held.
    pub fn wait_until_held(&self) {
        let mut state = self.shared.lock();
        while state.gate == (Gate::Closed { waiting: false }) {
            state = self.shared.wait(state);
        }
    }

    /// Lets the append that is held, and all later ones, go on.
    pub fn release(&self) {
        self.shared.lock().gate = Gate::Open;
        self.shared.changed.notify_all();
    }

    /// What an opening would find if the process ended now.
    pub fn image(&self) -> MemoryImage {
        let state = self.shared.lock();
        let mut commits = state.commits.clone();
        commits.extend(state.unknown.iter().cloned());
        let tail = state.tail + state.unknown.len() as u64;
        MemoryImage { epoch: self.shared.epoch, commits, tail, snapshot: state.snapshot.clone() }
    }
}

impl MemoryReader {
    pub(crate) fn read(&self, after: u64, max_bytes: usize) -> Result<Vec<Commit>, ReadError> {
        let state = self.shared.lock();
        let (first, tail) = (state.first(), state.tail);
        if after > tail {
            return Err(ReadError::Ahead { tail });
        }
        if after + 1 < first {
            return Err(ReadError::Trimmed { first });
        }
        let mut bytes = 0;
        let from = (after + 1 - first) as usize;
        let fits = |commit: &&Commit| {
            let starts = bytes == 0 || bytes + commit.weight() <= max_bytes;
            bytes += commit.weight();
            starts
        };
        Ok(state.commits.range(from..).take_while(fits).cloned().collect())
    }

    pub(crate) fn tail(&self) -> u64 {
        self.shared.lock().tail
    }

    pub(crate) fn first(&self) -> u64 {
        self.shared.lock().first()
    }
}

impl MemorySnapshots {
    pub(crate) fn write(
        &self,
        at: u64,
        floor: u64,
        entries: &mut dyn Iterator<Item = Change>,
    ) -> Result<(), SnapshotError> {
        self.shared.lock().check_snapshot(at)?;
        let entries = entries.collect();
        let mut state = self.shared.lock();
        state.check_snapshot(at)?;
        state.snapshot = Some(Snapshot { at, floor, entries });
        let replayed = state.commits.iter().rev().take_while(|commit| commit.number > at);
        state.bytes_since_snapshot = replayed.map(|commit| commit.weight() as u64).sum();
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No panic can happen between two halves of a change of the state, so it is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_gate<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.gate != Gate::Open {
            state.gate = Gate::Closed { waiting: true };
            self.changed.notify_all();
            state = self.wait(state);
        }
        state
    }
}

impl State {
    fn first(&self) -> u64 {
        self.tail + 1 - self.commits.len() as u64
    }

    fn check(&self, batch: &[Commit], expected_tail: u64) -> Result<(), AppendError> {
        if let Some(poison) = &self.poison {
            return Err(AppendError::Poisoned(poison.clone()));
        }
        check_numbers(batch, expected_tail, self.tail)
    }

    fn check_snapshot(&self, at: u64) -> Result<(), SnapshotError> {
        if let Some(poison) = &self.poison {
            return Err(SnapshotError::Poisoned(poison.clone()));
        }
        if at > self.tail {
            return Err(SnapshotError::Ahead { at, tail: self.tail });
        }
        match &self.snapshot {
            Some(newest) if newest.at >= at => Err(SnapshotError::NotNewer { at, newest: newest.at }),
            _ => Ok(()),
        }
    }

    fn next_fault(&mut self) -> Option<Fault> {
        let due = self.faults.iter().position(|&(skip, _)| skip == 0);
        let fault = due.map(|at| self.faults.swap_remove(at).1);
        for (skip, _) in &mut self.faults {
            *skip = skip.saturating_sub(1);
        }
        fault
    }

    fn fail(&mut self, fault: Fault, batch: &[Commit]) -> AppendError {
        match fault {
            Fault::Full => return AppendError::Full,
            Fault::PoisonKept => self.unknown = batch.to_vec(),
            Fault::PoisonLost => {}
        }
        let poison = Poison::failed("append to", "memory", io::Error::other("an injected fault"));
        self.poison = Some(poison.clone());
        AppendError::Poisoned(poison)
    }

    fn bound_history(&mut self, bytes_max: usize) {
        while self.history_bytes > bytes_max && self.commits.len() > 1 {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(commit) = self.commits.pop_front() {
            self.history_bytes -= commit.weight();
        }
    }
}
