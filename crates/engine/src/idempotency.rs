//! Idempotency keys: what a write came to, remembered in the same commit.
//!
//! The memory is a resource under the server's own prefix with a time to live, so that durability,
//! snapshots and forgetting are those of every resource.

use std::fmt::Write as _;
use std::sync::Arc;

use dovetail_auth::Principal;
use dovetail_model::{Change, Representation, Resource, Topic, UnixMillis, limits};
use dovetail_tree::Tree;
use smallvec::SmallVec;

use crate::outcome::Effect;
use crate::request::IdempotencyKey;

/// What is remembered of a key.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Remembered {
    /// It was never used, or long ago.
    Nothing,
    /// It was used for this very request.
    Same { number: u64, effects: SmallVec<[Effect; 1]> },
    /// It was used for something else.
    Other,
}

/// Builds the digest of a request for [`IdempotencyKey::fingerprint`]: feed it everything that
/// makes the request what it is. Stable across versions and machines (64-bit FNV-1a over
/// length-prefixed fields). It guards against mistakes, not against forgery: keys are private to a
/// principal.
#[derive(Clone, Copy, Debug)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The digest of nothing.
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds a field.
    #[must_use]
    pub fn field(self, bytes: &[u8]) -> Self {
        self.bytes(&(bytes.len() as u64).to_le_bytes()).bytes(bytes)
    }

    /// The digest.
    pub fn finish(self) -> u64 {
        self.0
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self::new()
    }
}

/// Looks a key up.
pub(crate) fn recall(tree: &Tree, principal: &Principal, key: &IdempotencyKey) -> Remembered {
    let Some(resource) = topic(principal, key).and_then(|topic| tree.get(&topic).cloned()) else {
        return Remembered::Nothing;
    };
    match decode(&resource.representation.payload) {
        Some((fingerprint, effects)) if fingerprint == key.fingerprint => {
            Remembered::Same { number: resource.revision, effects }
        }
        _ => Remembered::Other,
    }
}

/// The change that remembers what commit `number` came to.
pub(crate) fn remember(
    principal: &Principal,
    key: &IdempotencyKey,
    number: u64,
    effects: &[Effect],
    at: UnixMillis,
) -> Option<Change> {
    let mut payload = key.fingerprint.to_le_bytes().to_vec();
    payload.extend(effects.iter().map(|effect| encode_effect(*effect)));
    Some(Change::Put(Arc::new(Resource {
        topic: topic(principal, key)?,
        revision: number,
        modified_at: at,
        expires_at: Some(at + limits::IDEMPOTENCY_RETENTION.as_millis() as u64),
        representation: Representation::copied(&payload, None),
    })))
}

/// The name of the memory. The key is spelled in hexadecimal: it may hold any character.
fn topic(principal: &Principal, key: &IdempotencyKey) -> Option<Topic> {
    let mut name = format!("$dovetail/idempotency/{}/", principal.name());
    for byte in key.key.bytes() {
        let _ = write!(name, "{byte:02x}");
    }
    // Doors bound the key, so the name is within the limits of a topic.
    Topic::new(&name).ok()
}

const EFFECTS: [(u8, Effect); 5] = [
    (b'c', Effect::Created),
    (b'r', Effect::Replaced),
    (b'd', Effect::Deleted),
    (b'u', Effect::Unchanged),
    (b'p', Effect::Published),
];

fn encode_effect(effect: Effect) -> u8 {
    EFFECTS.iter().find(|(_, other)| *other == effect).map_or(b'u', |(letter, _)| *letter)
}

fn decode(payload: &[u8]) -> Option<(u64, SmallVec<[Effect; 1]>)> {
    let (fingerprint, letters) = payload.split_first_chunk::<8>()?;
    let effects = letters
        .iter()
        .map(|letter| EFFECTS.iter().find(|(other, _)| other == letter).map(|(_, effect)| *effect))
        .collect::<Option<_>>()?;
    Some((u64::from_le_bytes(*fingerprint), effects))
}
