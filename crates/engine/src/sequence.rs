//! Stage 2 of a write: one owner decides, in order, what each write does.
//!
//! The owner works on a private copy of the tree. Each write is judged against everything
//! sequenced before it, also what shares its group and is not durable yet; nobody sees the copy
//! until the group is durable.

use std::sync::Arc;
use std::time::Duration;

use dovetail_auth::Principal;
use dovetail_model::{
    Change, Commit, DeleteCause, Epoch, Event, Qos, Representation, Resource, Revision, Tombstone, Topic,
    UnixMillis, limits,
};
use dovetail_tree::Tree;
use smallvec::SmallVec;

use crate::idempotency::{self, Remembered};
use crate::outcome::{Committed, Effect, WriteError};
use crate::patch;
use crate::record::Record;
use crate::request::{Operation, Precondition, Verb, Write};

/// What sequencing a write came to.
#[derive(Debug)]
pub(crate) struct Sequenced {
    /// What to append; `None` when the write changes nothing.
    pub(crate) commit: Option<Commit>,
    /// What to answer once the group is durable.
    pub(crate) committed: Committed,
}

/// Where and when a write is sequenced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) epoch: Epoch,
    pub(crate) at: UnixMillis,
    pub(crate) payload_limit: usize,
    /// The disk is nearly full: what is left is for deletes.
    pub(crate) only_deletes: bool,
}

/// Judges `write` against `tree`, which is left as it is.
///
/// # Errors
/// Why the write does not happen.
pub(crate) fn sequence(
    write: Write,
    principal: &Principal,
    tree: &Tree,
    moment: Moment,
) -> Result<Sequenced, WriteError> {
    let Write { operations, records, idempotency_key, publisher } = write;
    check_shape(&operations, &records)?;
    if moment.only_deletes && !only_deletes(&operations, &records) {
        return Err(WriteError::DiskFull);
    }
    if let Some(key) = &idempotency_key {
        match idempotency::recall(tree, principal, key) {
            Remembered::Nothing => {}
            Remembered::Same { number, effects } => {
                let revision = moment.epoch.at(number);
                return Ok(Sequenced {
                    commit: None,
                    committed: Committed { revision, effects, repeated: true },
                });
            }
            Remembered::Other => return Err(WriteError::KeyReused),
        }
    }
    let number = tree.revision() + 1;
    let mut changes =
        Vec::with_capacity(operations.len() + records.len() + usize::from(idempotency_key.is_some()));
    let mut effects = SmallVec::new();
    for operation in operations {
        let (effect, change) = apply_operation(operation, tree, number, moment)?;
        effects.push(effect);
        changes.extend(change);
    }
    for record in records {
        changes.extend(apply_record(record, tree, number, moment)?);
    }
    if let Some(key) = &idempotency_key {
        changes.extend(idempotency::remember(principal, key, number, &effects, moment.at));
    }
    if changes.is_empty() {
        let revision = moment.epoch.at(tree.revision());
        return Ok(Sequenced { commit: None, committed: Committed { revision, effects, repeated: false } });
    }
    let commit = Commit { number, at: moment.at, publisher, changes: changes.into_boxed_slice() };
    let revision = moment.epoch.at(number);
    Ok(Sequenced { commit: Some(commit), committed: Committed { revision, effects, repeated: false } })
}

/// The commit that deletes what has outlived its time, at most `max` resources of it.
pub(crate) fn sequence_expiry(tree: &Tree, at: UnixMillis, max: usize) -> Option<Commit> {
    let number = tree.revision() + 1;
    let changes: Box<[Change]> = tree
        .expired(at, max)
        .into_iter()
        .map(|topic| Change::Delete(Arc::new(tombstone(topic, number, at, DeleteCause::Expiry))))
        .collect();
    (!changes.is_empty()).then_some(Commit { number, at, publisher: None, changes })
}

fn check_shape(operations: &[Operation], records: &[Record]) -> Result<(), WriteError> {
    let malformed = |reason: String| Err(WriteError::Malformed { reason, limit: limits::BATCH_CHANGES });
    match operations.len() + records.len() {
        0 => malformed("it has none".to_owned()),
        1 => Ok(()),
        many if many > limits::BATCH_CHANGES => malformed(format!("it has {many}")),
        _ => {
            let topics = operations.iter().map(|operation| &operation.topic);
            let mut topics: Vec<&Topic> =
                topics.chain(records.iter().map(|record| record.name.topic())).collect();
            topics.sort_unstable();
            match topics.windows(2).find(|pair| pair[0] == pair[1]) {
                Some(pair) => malformed(format!("`{}` is named twice", pair[0])),
                None => Ok(()),
            }
        }
    }
}

fn only_deletes(operations: &[Operation], records: &[Record]) -> bool {
    operations.iter().all(|operation| matches!(operation.verb, Verb::Delete { .. }))
        && records.iter().all(|record| record.contents.is_none())
}

fn apply_operation(
    operation: Operation,
    tree: &Tree,
    number: u64,
    moment: Moment,
) -> Result<(Effect, Option<Change>), WriteError> {
    let Operation { topic, verb, precondition } = operation;
    let current = tree.get(&topic).map(Arc::as_ref);
    check_precondition(&topic, &precondition, current, moment.epoch)?;
    let expires_in = |life: Option<Duration>| life.map(|life| moment.at.saturating_add(millis(life)));
    let (representation, expires_at) = match verb {
        Verb::Put { representation, time_to_live } => (representation, expires_in(time_to_live)),
        Verb::Delete { .. } if current.is_none() => return Ok((Effect::Unchanged, None)),
        Verb::Delete { qos } => {
            let gone = Tombstone { qos, ..tombstone(topic, number, moment.at, DeleteCause::Request) };
            return Ok((Effect::Deleted, Some(Change::Delete(Arc::new(gone)))));
        }
        Verb::MergePatch(bytes) => {
            (patch::merge(&topic, current, &bytes)?, current.and_then(|c| c.expires_at))
        }
        Verb::JsonPatch(bytes) => {
            let Some(current) = current else { return Err(WriteError::NotFound(topic)) };
            (patch::json(current, &bytes)?, current.expires_at)
        }
        Verb::Publish { representation, time_to_live } => {
            check_limit(&topic, representation.payload.len(), moment.payload_limit)?;
            let (published_at, expires_at) = (moment.at, expires_in(time_to_live));
            let event = Event { topic, published_at, expires_at, representation };
            return Ok((Effect::Published, Some(Change::Event(Arc::new(event)))));
        }
    };
    check_size(&topic, &representation, moment.payload_limit)?;
    let effect = if current.is_some() { Effect::Replaced } else { Effect::Created };
    let resource = Resource { topic, revision: number, modified_at: moment.at, expires_at, representation };
    Ok((effect, Some(Change::Put(Arc::new(resource)))))
}

/// What a record becomes, if anything. Its size is the door's own matter, up to what the formats hold.
fn apply_record(
    record: Record,
    tree: &Tree,
    number: u64,
    moment: Moment,
) -> Result<Option<Change>, WriteError> {
    let Record { name, contents, time_to_live, only_if } = record;
    let topic = name.topic();
    let current = tree.get(topic).map(|current| current.revision);
    if only_if.is_some_and(|expected| expected != current.unwrap_or_default()) {
        let current = current.map(|number| moment.epoch.at(number));
        return Err(WriteError::PreconditionFailed { topic: topic.clone(), current });
    }
    let Some(payload) = contents else {
        let gone = || tombstone(topic.clone(), number, moment.at, DeleteCause::Request);
        return Ok(current.map(|_| Change::Delete(Arc::new(gone()))));
    };
    let representation = Representation { payload, ..Representation::default() };
    check_size(topic, &representation, limits::PAYLOAD_BYTES_MAX)?;
    Ok(Some(Change::Put(Arc::new(Resource {
        topic: topic.clone(),
        revision: number,
        modified_at: moment.at,
        expires_at: time_to_live.map(|life| moment.at.saturating_add(millis(life))),
        representation,
    }))))
}

fn check_precondition(
    topic: &Topic,
    precondition: &Precondition,
    current: Option<&Resource>,
    epoch: Epoch,
) -> Result<(), WriteError> {
    let is_at = |revisions: &[Revision]| {
        current.is_some_and(|current| revisions.contains(&epoch.at(current.revision)))
    };
    let holds = match precondition {
        Precondition::None => true,
        Precondition::Exists => current.is_some(),
        Precondition::Absent => current.is_none(),
        Precondition::AnyOf(revisions) => is_at(revisions),
        Precondition::NoneOf(revisions) => !is_at(revisions),
    };
    if holds {
        return Ok(());
    }
    let current = current.map(|current| epoch.at(current.revision));
    Err(WriteError::PreconditionFailed { topic: topic.clone(), current })
}

fn check_size(topic: &Topic, representation: &Representation, limit: usize) -> Result<(), WriteError> {
    let bytes = representation.payload.len();
    if bytes == 0 {
        return Err(WriteError::Empty(topic.clone()));
    }
    check_limit(topic, bytes, limit)
}

fn check_limit(topic: &Topic, bytes: usize, limit: usize) -> Result<(), WriteError> {
    if bytes > limit {
        return Err(WriteError::TooLarge { topic: topic.clone(), bytes, limit });
    }
    Ok(())
}

fn tombstone(topic: Topic, revision: u64, deleted_at: UnixMillis, cause: DeleteCause) -> Tombstone {
    Tombstone { topic, revision, deleted_at, cause, qos: Qos::default() }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
