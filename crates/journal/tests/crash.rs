//! Power cuts: random scripts, cut at a random call, opened again, and judged by the promises.
//!
//! `DOVETAIL_CRASH_IMAGES` sets how many disks are looked at, `DOVETAIL_CRASH_SEED` where to begin;
//! a failure names the seed that repeats it.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
#![allow(clippy::print_stdout, reason = "a failure says how to repeat it")]

mod common;

use common::{Dice, Recovered, commit, fold, small};
use dovetail_journal::sim::{SimDisk, SimFault, SimWhen};
use dovetail_journal::{AppendError, FileJournal, FileOptions, JournalStore, OpenError};
use dovetail_model::{Commit, Epoch};

/// Disks looked at per script.
const IMAGES_PER_SCRIPT: u64 = 8;

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn open(disk: &SimDisk) -> Result<(FileJournal, Recovered), OpenError> {
    let mut found = Recovered::default();
    let options = FileOptions { segment_bytes: 32 << 10, ..small(false) };
    let journal = FileJournal::open_on(Box::new(disk.clone()), options, &mut found)?;
    Ok((journal, found))
}

/// What a client of the journal knows when the power goes.
#[derive(Clone, Default)]
struct Known {
    epoch: Option<Epoch>,
    /// Acknowledged commits, from number 1.
    acknowledged: Vec<Commit>,
    /// The batch whose fate is unknown.
    unknown: Vec<Commit>,
    /// The oldest commit that was never given to trim.
    kept_from: u64,
    /// The last snapshot that was acknowledged, and one that was being written.
    snapshot: u64,
    snapshot_begun: u64,
}

impl Known {
    /// Runs steps until the power goes or they are done. Says whether it went.
    fn live(&mut self, disk: &SimDisk, dice: &mut Dice, steps: u64) -> bool {
        let Ok((journal, found)) = open(disk) else { return true };
        self.check(&journal, &found);
        self.run(journal, disk, dice, steps)
    }

    fn run(&mut self, mut journal: FileJournal, disk: &SimDisk, dice: &mut Dice, steps: u64) -> bool {
        for _ in 0..steps {
            let done = match dice.below(12) {
                0 => self.snapshot(&journal, dice),
                1 => self.trim(&mut journal, dice),
                2 if dice.below(4) == 0 => {
                    if journal.close().is_err() {
                        return true;
                    }
                    let Ok((opened, found)) = open(disk) else { return true };
                    self.check(&opened, &found);
                    journal = opened;
                    true
                }
                _ => self.append(&mut journal, dice),
            };
            if !done {
                return true;
            }
        }
        false
    }

    fn append(&mut self, journal: &mut FileJournal, dice: &mut Dice) -> bool {
        let count = [1, 1, 1, 2, 5, 16][dice.below(6) as usize];
        let tail = self.acknowledged.len() as u64;
        let seed = dice.bits();
        let batch: Vec<_> = (tail + 1..=tail + count).map(|number| commit(number, seed)).collect();
        match journal.append(&batch, tail) {
            Ok(()) => self.acknowledged.extend(batch),
            Err(AppendError::Poisoned(_)) => {
                self.unknown = batch;
                return false;
            }
            Err(other) => panic!("{other}"),
        }
        true
    }

    fn snapshot(&mut self, journal: &FileJournal, dice: &mut Dice) -> bool {
        let tail = self.acknowledged.len() as u64;
        if tail == self.snapshot {
            return true;
        }
        let at = self.snapshot + 1 + dice.below(tail - self.snapshot);
        self.snapshot_begun = at;
        let state = fold(&self.acknowledged[..at as usize]);
        if journal.snapshots().write(at, at / 2, &mut state.values().cloned()).is_err() {
            return false;
        }
        self.snapshot = at;
        true
    }

    fn trim(&mut self, journal: &mut FileJournal, dice: &mut Dice) -> bool {
        let before = 1 + dice.below(self.acknowledged.len() as u64 + 2);
        self.kept_from = self.kept_from.max(before.min(self.snapshot + 1));
        match journal.trim(before) {
            Ok(first) => assert!(first <= self.kept_from.max(1), "trimmed to {first}, asked for {before}"),
            Err(_) => return false,
        }
        true
    }

    /// Judges what an opening found, and what can be read, and takes it for the truth from now on.
    fn check(&mut self, journal: &FileJournal, found: &Recovered) {
        match self.epoch {
            Some(epoch) => assert_eq!(journal.epoch(), epoch, "the epoch changed"),
            None => assert!(self.acknowledged.is_empty()),
        }
        self.epoch = Some(journal.epoch());
        let tail = journal.tail() as usize;
        let acknowledged = self.acknowledged.len();
        assert!(
            tail == acknowledged || tail == acknowledged + self.unknown.len(),
            "ends at {tail}, {acknowledged} acknowledged and {} unknown",
            self.unknown.len()
        );
        if tail > acknowledged {
            self.acknowledged.append(&mut self.unknown);
        }
        self.unknown.clear();
        let at = found.snapshot.map_or(0, |(at, _)| at);
        assert!(at == self.snapshot || at == self.snapshot_begun, "the snapshot is at {at}");
        assert!(found.snapshot.is_none_or(|(at, floor)| floor == at / 2));
        self.snapshot = at;
        assert_eq!(found.commits, self.acknowledged[at as usize..], "replayed commits");
        assert_eq!(found.state(), fold(&self.acknowledged), "the state is the fold of the history");
        let first = journal.first();
        assert!(first <= self.kept_from.max(1), "history begins at {first}");
        let read = journal.reader().read(first - 1, usize::MAX).unwrap();
        assert_eq!(read, self.acknowledged[first as usize - 1..], "history");
    }
}

#[test]
fn no_power_cut_loses_or_changes_anything() {
    let images = from_env("DOVETAIL_CRASH_IMAGES", 5_000);
    let first_seed = from_env("DOVETAIL_CRASH_SEED", 0);
    let mut seen = 0;
    let mut seed = first_seed;
    while seen < images {
        let repeat = Repeat(seed);
        seen += crash_one_script(seed);
        drop(repeat);
        seed += 1;
    }
}

/// Says at a failure how to repeat it.
struct Repeat(u64);

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("repeat with DOVETAIL_CRASH_SEED={} DOVETAIL_CRASH_IMAGES=1", self.0);
        }
    }
}

/// Runs one script, cuts the power somewhere in it, and looks at some of the disks that it can
/// leave: each is opened, used, cut again, also in the middle of recovery. Returns how many.
fn crash_one_script(seed: u64) -> u64 {
    let mut dice = Dice(seed);
    let disk = SimDisk::new(dice.bits());
    let mut known = Known::default();
    // Some scripts live long before the cut, so that there are several segments and snapshots.
    let quiet = dice.below(40);
    if quiet > 0 {
        assert!(!known.live(&disk, &mut dice, quiet), "a fault where there is none");
    }
    let is_kill = dice.below(8) == 0;
    disk.fail(SimWhen::Once(dice.below(50)), SimFault::PowerCut);
    known.live(&disk, &mut dice, 40);
    for _ in 0..IMAGES_PER_SCRIPT {
        let mut known = known.clone();
        let mut image = if is_kill { disk.killed() } else { disk.crash(dice.bits()) };
        // Up to three more cuts, early enough to hit the recovery itself.
        for _ in 0..dice.below(4) {
            image.fail(SimWhen::Once(dice.below(12)), SimFault::PowerCut);
            known.live(&image, &mut dice, 4);
            image = image.crash(dice.bits());
        }
        let (journal, found) = open(&image)
            .unwrap_or_else(|error| panic!("a crash image is refused: {error}: {:?}", files(&image)));
        known.check(&journal, &found);
        let fell = known.run(journal, &image, &mut dice, 6);
        assert!(!fell, "the journal is not usable after a crash: {:?}", open(&image).map(drop));
        assert!(!known.live(&image, &mut dice, 0), "the journal does not open again");
    }
    IMAGES_PER_SCRIPT
}

/// A script that meets every kind of call: rolls, snapshots, trims, a close.
fn script(disk: &SimDisk) -> (Vec<Commit>, Option<Vec<Commit>>) {
    let mut acknowledged = Vec::new();
    let Ok((mut journal, _)) = open(disk) else { return (acknowledged, None) };
    for round in 0..40_u64 {
        let tail = acknowledged.len() as u64;
        let batch: Vec<_> = (tail + 1..=tail + 8).map(|number| commit(number, 77)).collect();
        match journal.append(&batch, tail) {
            Ok(()) => acknowledged.extend(batch),
            Err(AppendError::Full) => {}
            Err(_) => return (acknowledged, Some(batch)),
        }
        if round % 13 == 12 {
            let state = fold(&acknowledged);
            let at = acknowledged.len() as u64;
            let _ = journal.snapshots().write(at, 0, &mut state.values().cloned());
            let _ = journal.trim(at);
        }
    }
    let _ = journal.close();
    (acknowledged, None)
}

fn calls_of_script() -> u64 {
    let disk = SimDisk::new(1);
    let (acknowledged, unknown) = script(&disk);
    assert_eq!((acknowledged.len(), unknown), (320, None));
    disk.calls()
}

fn check_after(disk: &SimDisk, acknowledged: &[Commit], unknown: Option<Vec<Commit>>, what: &str) {
    let (journal, found) = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut whole = acknowledged.to_vec();
    if journal.tail() as usize > whole.len() {
        whole.extend(unknown.unwrap_or_else(|| panic!("{what}: a commit from nowhere")));
    }
    assert_eq!(journal.tail() as usize, whole.len(), "{what}");
    assert_eq!(found.state(), fold(&whole), "{what}");
    let read = journal.reader().read(journal.first() - 1, usize::MAX).unwrap();
    assert_eq!(read, whole[journal.first() as usize - 1..], "{what}");
}

#[test]
fn after_an_io_error_at_any_call_nothing_is_acknowledged_even_if_the_device_heals() {
    for call in 0..calls_of_script() {
        for when in [SimWhen::Once(call), SimWhen::From(call)] {
            let what = format!("an I/O error at {when:?}");
            let disk = SimDisk::new(call);
            disk.fail(when, SimFault::Io);
            let (acknowledged, unknown) = script_until_poisoned(&disk, &what);
            disk.heal();
            check_after(&disk.killed(), &acknowledged, unknown.clone(), &what);
            check_after(&disk.crash(call), &acknowledged, unknown, &what);
        }
    }
}

/// Runs the script; once something has failed, heals the device and insists on refusal.
fn script_until_poisoned(disk: &SimDisk, what: &str) -> (Vec<Commit>, Option<Vec<Commit>>) {
    let mut acknowledged = Vec::new();
    let Ok((mut journal, _)) = open(disk) else { return (acknowledged, None) };
    let mut unknown = None;
    for round in 0..60_u64 {
        let tail = acknowledged.len() as u64;
        let batch: Vec<_> = (tail + 1..=tail + 8).map(|number| commit(number, 77)).collect();
        match journal.append(&batch, tail) {
            Ok(()) => {
                assert!(unknown.is_none(), "{what}: acknowledged after a failure");
                acknowledged.extend(batch);
            }
            Err(AppendError::Poisoned(_)) => {
                disk.heal();
                unknown.get_or_insert(batch);
            }
            Err(other) => panic!("{what}: {other}"),
        }
        if round % 13 == 12 {
            let state = fold(&acknowledged);
            let at = acknowledged.len() as u64;
            let _ = journal.snapshots().write(at, 0, &mut state.values().cloned());
            let _ = journal.trim(at);
        }
    }
    (acknowledged, unknown)
}

#[test]
fn lack_of_space_at_any_call_is_survived() {
    for call in 0..calls_of_script() {
        for when in [SimWhen::Once(call), SimWhen::From(call)] {
            let what = format!("no space at {when:?}");
            let disk = SimDisk::new(call);
            disk.fail(when, SimFault::NoSpace);
            let (acknowledged, unknown) = script(&disk);
            disk.heal();
            check_after(&disk.killed(), &acknowledged, unknown.clone(), &what);
            check_after(&disk.crash(call), &acknowledged, unknown, &what);
        }
    }
}

/// A journal at rest, after a clean end or killed: several segments, a snapshot, a tail.
fn resting(is_closed: bool) -> (SimDisk, Vec<Commit>) {
    let disk = SimDisk::new(3);
    let mut known = Known::default();
    let mut dice = Dice(11);
    let (mut journal, _) = open(&disk).unwrap();
    for _ in 0..60 {
        assert!(known.append(&mut journal, &mut dice));
    }
    assert!(known.snapshot(&journal, &mut dice));
    for _ in 0..60 {
        assert!(known.append(&mut journal, &mut dice));
    }
    if is_closed {
        journal.close().unwrap();
    }
    (disk, known.acknowledged)
}

/// Opens a damaged disk. Either it is refused by name, or what it tells is right, or the reading of
/// history says what is damaged.
fn check_damaged(disk: &SimDisk, written: &[Commit], what: &str) -> bool {
    let (journal, found) = match open(disk) {
        Ok(opened) => opened,
        Err(OpenError::Corrupt { file, .. } | OpenError::Version { file, .. }) => {
            assert!(!file.as_os_str().is_empty());
            return true;
        }
        Err(other) => panic!("{what}: {other}"),
    };
    assert_eq!(journal.tail() as usize, written.len(), "{what}");
    assert_eq!(found.state(), fold(written), "{what}");
    match journal.reader().read(journal.first() - 1, usize::MAX) {
        Ok(read) => {
            assert_eq!(read, written[journal.first() as usize - 1..], "{what}");
            false
        }
        Err(dovetail_journal::ReadError::Corrupt { file, .. }) => {
            assert!(!file.as_os_str().is_empty());
            true
        }
        Err(other) => panic!("{what}: {other}"),
    }
}

fn files(disk: &SimDisk) -> Vec<(String, usize)> {
    use dovetail_journal::Disk;
    disk.list().unwrap().into_iter().map(|name| (name.clone(), disk.bytes_of(&name).unwrap())).collect()
}

#[test]
fn a_flipped_bit_is_harmless_or_reported() {
    let flips = from_env("DOVETAIL_BIT_FLIPS", 2_500);
    let resting = [resting(true), resting(false)];
    let mut dice = Dice(21);
    let mut reported = 0;
    for flip in 0..flips {
        let (disk, written) = &resting[flip as usize % 2];
        let files = files(disk);
        let (name, bytes) = &files[dice.below(files.len() as u64) as usize];
        let (at, bit) = (dice.below(*bytes as u64) as usize, dice.below(8));
        let damaged = disk.killed();
        damaged.alter(name, |bytes| bytes[at] ^= 1 << bit);
        reported += u64::from(check_damaged(&damaged, written, &format!("bit {bit} of byte {at} of {name}")));
    }
    assert!(reported > flips / 4, "only {reported} of {flips} were noticed: the test looks at blank space");
}

#[test]
fn a_flipped_bit_in_the_last_record_is_never_taken_for_a_torn_write() {
    let disk = SimDisk::new(4);
    let (mut journal, _) = open(&disk).unwrap();
    let written = common::commits(1, 9, 4);
    journal.append(&written[..7], 0).unwrap();
    let before = disk.crash(0);
    journal.append(&written[7..], 7).unwrap();
    let name = "segment-00000000000000000001";
    let mut places = (0, 0);
    let mut bytes = Vec::new();
    before.alter(name, |stored| bytes.clone_from(stored));
    disk.alter(name, |stored| {
        let differs = |at: &usize| stored[*at] != bytes[*at];
        places = ((0..stored.len()).find(differs).unwrap(), (0..stored.len()).rfind(differs).unwrap());
    });
    for at in places.0..=places.1 {
        let damaged = disk.killed();
        damaged.alter(name, |bytes| bytes[at] ^= 1 << (at % 8));
        assert!(check_damaged(&damaged, &written, &format!("byte {at}")), "byte {at} passed unnoticed");
    }
}

#[test]
fn zeroed_pages_and_cut_files_are_harmless_or_reported() {
    let (disk, written) = resting(true);
    for (name, bytes) in files(&disk) {
        for page in (0..bytes).step_by(4096) {
            let damaged = disk.killed();
            damaged.alter(&name, |stored| stored[page..bytes.min(page + 4096)].fill(0));
            check_damaged(&damaged, &written, &format!("page at {page} of {name} zeroed"));
            let damaged = disk.killed();
            damaged.alter(&name, |stored| stored.truncate(page + (bytes - page) / 3));
            check_damaged(&damaged, &written, &format!("{name} cut in the page at {page}"));
        }
    }
}

#[test]
fn a_missing_file_is_reported() {
    use dovetail_journal::Disk;
    let (disk, written) = resting(true);
    for (name, _) in files(&disk) {
        let damaged = disk.killed();
        damaged.remove(&name).unwrap();
        check_damaged(&damaged, &written, &format!("{name} missing"));
    }
}
