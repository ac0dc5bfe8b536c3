//! A disk that fails and loses power on command, to test what stands on a [`Disk`].
//!
//! It remembers every write since the last sync of its file and every change of a name since the
//! last sync of the directory. [`SimDisk::crash`] gives a disk as one power cut could have left it:
//! synced things are there; of the others, any part is: lost, whole, cut short, or some of their
//! sectors; sizes without data, data without names, names of some changes and not of others.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, StorageFile};

const SECTOR_BYTES: usize = 512;

/// A disk in memory. Clones are handles of the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// What a call does instead of succeeding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SimFault {
    /// It fails with an I/O error. A write may have done any part of its work.
    Io,
    /// There is no space. A write has done part of its work.
    NoSpace,
    /// The power goes: this call and all later ones fail, until [`SimDisk::crash`].
    PowerCut,
}

/// Which calls a fault hits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SimWhen {
    /// Only the n-th call from now, counted from 0; the device heals afterwards.
    Once(u64),
    /// The n-th call from now and all after it.
    From(u64),
}

#[derive(Debug, Default)]
struct State {
    files: Vec<FileState>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    unsynced_names: Vec<NameChange>,
    calls: u64,
    fault: Option<(SimWhen, SimFault)>,
    capacity: Option<usize>,
    dice: u64,
}

#[derive(Clone, Debug, Default)]
struct FileState {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Write>,
}

#[derive(Clone, Debug)]
struct Write {
    offset: usize,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

#[derive(Debug)]
struct SimFile {
    state: Arc<Mutex<State>>,
    at: usize,
}

impl SimDisk {
    /// An empty disk; `seed` decides what crashes and partial writes leave.
    pub fn new(seed: u64) -> Self {
        let disk = Self::default();
        disk.lock().dice = seed;
        disk
    }

    /// Makes calls that change the disk fail. Reads never do.
    pub fn fail(&self, when: SimWhen, fault: SimFault) {
        let mut state = self.lock();
        let now = state.calls;
        let when = match when {
            SimWhen::Once(skip) => SimWhen::Once(now + skip),
            SimWhen::From(skip) => SimWhen::From(now + skip),
        };
        state.fault = Some((when, fault));
    }

    /// Ends the fault.
    pub fn heal(&self) {
        self.lock().fault = None;
    }

    /// Gives the disk `bytes` of space for all files together, or no limit. What grows beyond it fails
    /// for lack of space; what has space already can be written.
    pub fn limit(&self, bytes: Option<usize>) {
        self.lock().capacity = bytes;
    }

    /// How many calls have changed the disk or tried to.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// A disk as a power cut at this moment could have left it, by the dice of `seed`. This one
    /// stays as it is, so one moment can be crashed many times.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let state = self.lock();
        let mut dice = seed;
        let mut names = state.durable_names.clone();
        let keeps_all = roll(&mut dice, 3) == 0;
        for change in &state.unsynced_names {
            if keeps_all || roll(&mut dice, 2) == 0 {
                change.apply(&mut names);
            }
        }
        let files = state.files.iter().map(|file| file.crashed(&mut dice)).collect();
        let crashed = State { files, durable_names: names.clone(), names, dice, ..State::default() };
        Self { state: Arc::new(Mutex::new(crashed)) }
    }

    /// The disk with everything that was written, as a killed process leaves it.
    #[must_use]
    pub fn killed(&self) -> Self {
        let state = self.lock();
        let settle = |file: &FileState| FileState {
            now: file.now.clone(),
            durable: file.now.clone(),
            unsynced: Vec::new(),
        };
        let killed = State {
            files: state.files.iter().map(settle).collect(),
            names: state.names.clone(),
            durable_names: state.names.clone(),
            dice: state.dice,
            ..State::default()
        };
        Self { state: Arc::new(Mutex::new(killed)) }
    }

    /// Changes the stored bytes of the file `name` at rest, as decay does.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn alter(&self, name: &str, alter: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let at = *state.names.get(name).unwrap_or_else(|| panic!("no file {name}"));
        let file = &mut state.files[at];
        alter(&mut file.now);
        file.durable.clone_from(&file.now);
        file.unsynced.clear();
    }

    /// The size of the file `name`.
    pub fn bytes_of(&self, name: &str) -> Option<usize> {
        let state = self.lock();
        state.names.get(name).map(|&at| state.files[at].now.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A test that panicked with the lock held has failed already.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number below `limit` (splitmix64).
fn roll(dice: &mut u64, limit: u64) -> u64 {
    *dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *dice;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ z >> 31) % limit
}

impl State {
    /// Counts a call that changes the disk, and says what goes wrong with it.
    fn step(&mut self) -> Option<SimFault> {
        let call = self.calls;
        self.calls += 1;
        let (when, fault) = self.fault?;
        let hits = match when {
            SimWhen::Once(at) => call == at || fault == SimFault::PowerCut && call > at,
            SimWhen::From(at) => call >= at,
        };
        hits.then_some(fault)
    }

    /// How far file `at` can grow.
    fn size_max(&self, at: usize) -> usize {
        let used: usize = self.names.values().map(|&at| self.files[at].now.len()).sum();
        let free = self.capacity.map_or(usize::MAX / 2, |capacity| capacity.saturating_sub(used));
        self.files[at].now.len() + free
    }

    fn at(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        if let Some(fault) = self.step() {
            return Err(fault.error());
        }
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
        Ok(())
    }
}

impl FileState {
    fn write(&mut self, write: Write) {
        write.apply(&mut self.now);
        self.unsynced.push(write);
    }

    /// What a power cut leaves of the file.
    fn crashed(&self, dice: &mut u64) -> Self {
        let mut bytes = self.durable.clone();
        let keeps_all = roll(dice, 4) == 0;
        for write in &self.unsynced {
            if keeps_all {
                write.apply(&mut bytes);
            } else {
                write.apply_torn(&mut bytes, dice);
            }
        }
        Self { now: bytes.clone(), durable: bytes, unsynced: Vec::new() }
    }
}

impl Write {
    fn apply(&self, to: &mut Vec<u8>) {
        let end = self.offset + self.bytes.len();
        to.resize(to.len().max(end), 0);
        to[self.offset..end].copy_from_slice(&self.bytes);
    }

    fn apply_torn(&self, to: &mut Vec<u8>, dice: &mut u64) {
        let len = self.bytes.len();
        let part = |range: std::ops::Range<usize>| Self {
            offset: self.offset + range.start,
            bytes: self.bytes[range].to_vec(),
        };
        match roll(dice, 6) {
            0 => {}
            1 => self.apply(to),
            // The size grew, the data did not arrive.
            2 => to.resize(to.len().max(self.offset + len), 0),
            // Cut short anywhere.
            3 => part(0..roll(dice, len as u64 + 1) as usize).apply(to),
            // Some sectors, in any combination, on the borders of the disk.
            _ => {
                let first = self.offset / SECTOR_BYTES;
                for sector in first..(self.offset + len).div_ceil(SECTOR_BYTES) {
                    if roll(dice, 2) == 0 {
                        let from = (sector * SECTOR_BYTES).max(self.offset) - self.offset;
                        let end = ((sector + 1) * SECTOR_BYTES).min(self.offset + len) - self.offset;
                        part(from..end).apply(to);
                    }
                }
            }
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create(name, at) => drop(names.insert(name.clone(), *at)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to, at) => {
                // It is the file that gets another name, whatever else of the directory is lost.
                if names.get(from) == Some(at) {
                    names.remove(from);
                }
                names.insert(to.clone(), *at);
            }
        }
    }
}

impl SimFault {
    fn error(self) -> io::Error {
        match self {
            Self::Io => io::Error::from_raw_os_error(5),
            Self::NoSpace => io::ErrorKind::StorageFull.into(),
            Self::PowerCut => io::Error::other("the power is gone"),
        }
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut state = self.lock();
        let at = state.files.len();
        state.change_name(NameChange::Create(name.into(), at))?;
        state.files.push(FileState::default());
        Ok(Box::new(SimFile { state: Arc::clone(&self.state), at }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let at = self.lock().at(name)?;
        Ok(Box::new(SimFile { state: Arc::clone(&self.state), at }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        let at = state.at(from)?;
        state.change_name(NameChange::Rename(from.into(), to.into(), at))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.at(name)?;
        state.change_name(NameChange::Remove(name.into()))
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.lock();
        if let Some(fault) = state.step() {
            return Err(fault.error());
        }
        state.durable_names = state.names.clone();
        state.unsynced_names.clear();
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("sim").join(name)
    }
}

impl StorageFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(lock(&self.state).files[self.at].now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = lock(&self.state);
        let now = &state.files[self.at].now;
        let from = offset as usize;
        let found = now.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        let mut fault = state.step();
        let mut count = bytes.len();
        let room = state.size_max(self.at).saturating_sub(offset as usize);
        if fault.is_some() {
            // A short write, then the error.
            count = roll(&mut state.dice, count as u64 + 1) as usize;
        } else if room < count {
            count = room;
            fault = Some(SimFault::NoSpace);
        }
        state.files[self.at].write(Write { offset: offset as usize, bytes: bytes[..count].to_vec() });
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        let lacks = state.size_max(self.at) < bytes as usize;
        match state.step().or(lacks.then_some(SimFault::NoSpace)) {
            Some(fault) => Err(fault.error()),
            None => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        match state.step() {
            // What a failed sync did to the disk nobody knows, and the system forgets that there
            // was anything to write: a later sync succeeds without it.
            Some(SimFault::Io | SimFault::NoSpace) => {
                let mut dice = state.dice;
                let file = &mut state.files[self.at];
                file.durable = file.crashed(&mut dice).now;
                file.unsynced.clear();
                state.dice = dice;
                Err(SimFault::Io.error())
            }
            Some(fault) => Err(fault.error()),
            None => {
                let file = &mut state.files[self.at];
                file.durable.clone_from(&file.now);
                file.unsynced.clear();
                Ok(())
            }
        }
    }
}
