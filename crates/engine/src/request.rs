//! What doors ask of the engine, as plain data. Each is authorized before the engine takes it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dovetail_auth::{Demand, Denied, Request, Target};
use dovetail_model::{Filter, PublisherId, Qos, Representation, Revision, Topic};
use smallvec::SmallVec;

use crate::record::Record;

/// One write: one or more operations and records that happen as a unit or not at all.
#[derive(Clone, Debug)]
pub struct Write {
    /// The operations, at most one per topic; none only if there are records.
    pub operations: SmallVec<[Operation; 1]>,
    /// What the door keeps for itself in the same commit, at most one of each name. They need no right, have no
    /// effect in the answer, and count towards the limit of a batch.
    pub records: Vec<Record>,
    /// Makes a repetition of this very write harmless.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Whose client it came by, so that a no-local subscription can leave it out. It is kept in the journal.
    pub publisher: Option<PublisherId>,
}

/// One operation on one resource.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The resource.
    pub topic: Topic,
    /// What to do to it.
    pub verb: Verb,
    /// What must hold for the write to happen.
    pub precondition: Precondition,
}

/// What to do to a resource.
#[derive(Clone, Debug)]
pub enum Verb {
    /// Replace what it holds, or create it. A payload of no bytes is refused.
    Put {
        /// The new contents.
        representation: Representation,
        /// How long it is to live, counted from the commit; `None` is for ever.
        time_to_live: Option<Duration>,
    },
    /// Remove it. Removing what is not there changes nothing and succeeds.
    Delete {
        /// How surely subscribers of MQTT are to learn of it.
        qos: Qos,
    },
    /// Apply a JSON Merge Patch (RFC 7396); creates the resource when it is not there. Contents
    /// that exist must be JSON. Content type, metadata and remaining life stay as they were.
    MergePatch(Bytes),
    /// Apply a JSON Patch (RFC 6902) to a resource that exists and is JSON.
    JsonPatch(Bytes),
    /// Send an event that is kept in the journal, so that it reaches subscriptions that are away: see
    /// [`Events`]. It has a revision like every commit and leaves the resource of its name as it is.
    Publish {
        /// The contents; the payload may be empty.
        representation: Representation,
        /// When it is no longer worth delivering, counted from the commit.
        time_to_live: Option<Duration>,
    },
}

/// What must hold at the moment of the write (RFC 9110 §13.1). Only strong comparison exists here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// The resource exists.
    Exists,
    /// The resource does not exist.
    Absent,
    /// The resource was last changed by one of these.
    AnyOf(Vec<Revision>),
    /// The resource was last changed by none of these (or does not exist).
    NoneOf(Vec<Revision>),
}

/// A client's name for one write, unique among that principal's writes for 24 hours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdempotencyKey {
    /// 1 to 256 bytes.
    pub key: Arc<str>,
    /// A digest of the whole request, so that the key cannot be reused for another one. Doors
    /// compute it with [`crate::fingerprint`].
    pub fingerprint: u64,
}

/// A message that is not state, and is not kept: it reaches whoever is subscribed now.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Where to.
    pub topic: Topic,
    /// The contents; the payload may be empty.
    pub representation: Representation,
    /// When it is no longer worth delivering, counted from now.
    pub time_to_live: Option<Duration>,
    /// Whose client it came by.
    pub publisher: Option<PublisherId>,
}

/// A reading of the current state.
#[derive(Clone, Debug)]
pub enum Read {
    /// Of one resource, and whether anything is below it.
    Resource(Topic),
    /// Of all resources that match.
    Select(Filter),
}

/// A reading of what changed.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Among which resources.
    pub filter: Filter,
    /// After which position.
    pub since: Revision,
    /// Newest states, or every entry.
    pub mode: Mode,
    /// The most changes to give; the rest is asked for from where the answer ends. At least one
    /// revision is always given whole.
    pub limit: usize,
}

/// A subscription: a filter and a position.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// Which names.
    pub filter: Filter,
    /// From where.
    pub start: Start,
    /// Newest states, or every entry.
    pub mode: Mode,
    /// What becomes of events.
    pub events: Events,
    /// Leave out what this client published itself. The current state does not know who published it, so a
    /// baseline and what [`Mode::Latest`] tells of the past leave nothing out.
    pub no_local: Option<PublisherId>,
}

/// Where a subscription starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// With the current state, then everything after it.
    Baseline,
    /// With whatever comes after now.
    Now,
    /// With whatever came after this; [`crate::Item::Reset`] and a baseline when that cannot be told.
    After(Revision),
}

/// How exact a feed is about the past.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Behind, it gets the newest state of each changed resource once, in revision order, deletes
    /// included.
    Latest,
    /// It gets every journal entry.
    Every,
}

/// What a subscription does about events.
///
/// One that is kept in the journal ([`Verb::Publish`]) is told in the order of the commits, and with
/// [`Mode::Every`] it is told like every other entry, however far back, unless its time is over by then. With
/// [`Mode::Latest`] it is, like one that is not kept, only delivered while the subscriber keeps up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Events {
    /// None are delivered.
    Ignore,
    /// Delivered while the subscriber keeps up; what overflows is dropped and counted.
    Drop,
    /// Delivered while the subscriber keeps up; overflow ends the feed.
    End,
}

impl Verb {
    /// Remove it, and let everybody learn of it as surely as they can.
    pub const DELETE: Self = Self::Delete { qos: Qos::ExactlyOnce };
}

impl Write {
    /// A write of one operation without conditions.
    pub fn one(topic: Topic, verb: Verb) -> Self {
        Self {
            operations: SmallVec::from_buf([Operation { topic, verb, precondition: Precondition::None }]),
            records: Vec::new(),
            idempotency_key: None,
            publisher: None,
        }
    }

    /// A write of records alone.
    pub fn of_records(records: Vec<Record>) -> Self {
        Self { operations: SmallVec::new(), records, idempotency_key: None, publisher: None }
    }

    /// The bytes that the write takes while it waits, for admission.
    pub fn weight(&self) -> usize {
        const FIXED: usize = 256;
        let records: usize = self.records.iter().map(|record| FIXED + record.weight()).sum();
        let operations: usize = self
            .operations
            .iter()
            .map(|operation| {
                FIXED
                    + operation.topic.as_str().len()
                    + match &operation.verb {
                        Verb::Put { representation, .. } | Verb::Publish { representation, .. } => {
                            representation.weight()
                        }
                        Verb::Delete { .. } => 0,
                        Verb::MergePatch(patch) | Verb::JsonPatch(patch) => patch.len(),
                    }
            })
            .sum();
        operations + records
    }
}

type Check<'a> = dyn FnMut(Demand, Target<'_>) -> Result<(), Denied> + 'a;

impl Request for Write {
    fn demands(&self, check: &mut Check<'_>) -> Result<(), Denied> {
        self.operations.iter().try_for_each(|operation| {
            let demand = match operation.verb {
                Verb::Publish { .. } => Demand::Publish,
                Verb::Put { .. } | Verb::Delete { .. } | Verb::MergePatch(_) | Verb::JsonPatch(_) => {
                    Demand::Write
                }
            };
            check(demand, Target::Topic(&operation.topic))
        })
    }
}

impl Request for Publish {
    fn demands(&self, check: &mut Check<'_>) -> Result<(), Denied> {
        check(Demand::Publish, Target::Topic(&self.topic))
    }
}

impl Request for Read {
    fn demands(&self, check: &mut Check<'_>) -> Result<(), Denied> {
        match self {
            Self::Resource(topic) => check(Demand::Read, Target::Topic(topic)),
            Self::Select(filter) => check(Demand::Read, Target::Filter(filter)),
        }
    }
}

impl Request for Changes {
    fn demands(&self, check: &mut Check<'_>) -> Result<(), Denied> {
        check(Demand::Read, Target::Filter(&self.filter))
    }
}

impl Request for Subscribe {
    fn demands(&self, check: &mut Check<'_>) -> Result<(), Denied> {
        check(Demand::Read, Target::Filter(&self.filter))
    }
}
