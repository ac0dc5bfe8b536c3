//! What the journal's tests share: sample commits, and a sink that remembers what it was told.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "a module of tests has no other reach")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dovetail_journal::{FileOptions, RecoverySink};
use dovetail_model::{
    Change, Commit, DeleteCause, Event, Metadata, PublisherId, Qos, Representation, Resource, Tombstone,
    Topic,
};

/// Segments small enough to roll often.
pub fn small(prepares_ahead: bool) -> FileOptions {
    FileOptions {
        segment_bytes: 64 << 10,
        first_segment_bytes: 16 << 10,
        snapshot_after_bytes: 64 << 10,
        prepares_ahead,
    }
}

/// Live resources and tombstones by name: what a journal folds to.
pub type State = BTreeMap<Topic, Change>;

/// Everything that an opening told.
#[derive(Debug, Default)]
pub struct Recovered {
    pub snapshot: Option<(u64, u64)>,
    pub entries: Vec<Change>,
    pub commits: Vec<Commit>,
}

impl RecoverySink for Recovered {
    fn snapshot(&mut self, at: u64, floor: u64, entries_hint: u64) {
        assert!(self.snapshot.is_none(), "a second snapshot");
        assert!(self.commits.is_empty(), "a snapshot after commits");
        self.snapshot = Some((at, floor));
        self.entries.reserve(usize::try_from(entries_hint).unwrap().min(1 << 20));
    }

    fn entry(&mut self, change: Change) {
        assert!(self.snapshot.is_some() && self.commits.is_empty(), "an entry outside a snapshot");
        self.entries.push(change);
    }

    fn commit(&mut self, commit: Commit) {
        self.commits.push(commit);
    }
}

impl Recovered {
    /// The state that the opening told: the snapshot, and the commits applied to it.
    pub fn state(&self) -> State {
        let mut state: State =
            self.entries.iter().map(|change| (change.topic().clone(), change.clone())).collect();
        self.commits.iter().for_each(|commit| apply(&mut state, commit));
        state
    }
}

/// Applies one commit to a state.
pub fn apply(state: &mut State, commit: &Commit) {
    for change in &commit.changes {
        if !matches!(change, Change::Event(_)) {
            state.insert(change.topic().clone(), change.clone());
        }
    }
}

/// The state after all of `commits`.
pub fn fold(commits: &[Commit]) -> State {
    let mut state = State::new();
    for commit in commits {
        apply(&mut state, commit);
    }
    state
}

/// A sample commit: puts, deletes, events, batches, with and without everything optional, all
/// derived from its number and `seed`.
pub fn commit(number: u64, seed: u64) -> Commit {
    let mut dice = Dice(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let at = 1_790_000_000_000 + number * 7;
    let count = if dice.below(8) == 0 { 1 + dice.below(6) } else { 1 };
    let changes = (0..count).map(|part| change(number, at, part, &mut dice)).collect();
    let publisher = (dice.below(3) == 0).then(|| PublisherId(dice.below(u64::MAX)));
    Commit { number, at, publisher, changes }
}

/// The sample commits `from..to`.
pub fn commits(from: u64, to: u64, seed: u64) -> Vec<Commit> {
    (from..to).map(|number| commit(number, seed)).collect()
}

fn change(number: u64, at: u64, part: u64, dice: &mut Dice) -> Change {
    let topic = Topic::new(&format!("plant/{}/line{part}/temp", dice.below(13))).unwrap();
    let expires_at = (dice.below(5) == 0).then_some(at + 60_000);
    match dice.below(10) {
        0 | 1 => {
            let cause = if dice.below(2) == 0 { DeleteCause::Request } else { DeleteCause::Expiry };
            let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][dice.below(3) as usize];
            Change::Delete(Arc::new(Tombstone { topic, revision: number, deleted_at: at, cause, qos }))
        }
        2 => {
            let length = dice.below(40);
            let representation = representation(length, dice);
            Change::Event(Arc::new(Event { topic, published_at: at, expires_at, representation }))
        }
        _ => {
            let length = 1 + if dice.below(12) == 0 { dice.below(3_000) } else { dice.below(200) };
            let representation = representation(length, dice);
            let resource = Resource { topic, revision: number, modified_at: at, expires_at, representation };
            Change::Put(Arc::new(resource))
        }
    }
}

fn representation(length: u64, dice: &mut Dice) -> Representation {
    // Some payloads are zeros: they must not look like space that was never written.
    let zeros = dice.below(6) == 0;
    let payload: Vec<u8> = (0..length).map(|_| if zeros { 0 } else { dice.below(256) as u8 }).collect();
    let content_type = ["application/json", "text/plain", "application/octet-stream"];
    let content_type = (dice.below(4) > 0).then(|| content_type[dice.below(3) as usize].into());
    let metadata = (dice.below(6) == 0).then(|| {
        Arc::new(Metadata {
            is_text: dice.below(2) == 0,
            response_topic: (dice.below(2) == 0).then(|| Topic::new("answers/here").unwrap()),
            correlation_data: (dice.below(2) == 0).then(|| Bytes::from_static(b"\0\x01c")),
            user_properties: (0..dice.below(3)).map(|n| ("name".into(), n.to_string().into())).collect(),
        })
    });
    let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][dice.below(3) as usize];
    Representation { payload: payload.into(), content_type, metadata, qos }
}

/// Deterministic random numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }
}
