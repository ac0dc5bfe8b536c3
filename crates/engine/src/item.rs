//! What a feed says.

use std::sync::Arc;

use dovetail_model::{Change, Resource, Revision};
use smallvec::SmallVec;

use crate::entry::{Entry, Forms};
use crate::ring::Shared;

/// One thing that a feed says. Every item that tells of changes carries `(after, rev]`: the feed
/// has told everything up to `after`, and with this item everything up to `rev`.
#[derive(Clone, Debug)]
pub enum Item {
    /// A baseline begins. It is exact at this revision, and replaces what the subscriber holds.
    BaselineBegin(Revision),
    /// A resource of the baseline.
    Resource(Arc<Resource>),
    /// The baseline is complete; the feed has now told everything up to this revision.
    BaselineEnd(Revision),
    /// Changes of one revision, or an event.
    Change(Delivery),
    /// Nothing (more) happened up to `rev`.
    Progress {
        /// What had been told before.
        after: Revision,
        /// What has been told now.
        rev: Revision,
    },
    /// The position asked for cannot be continued from. A baseline follows.
    Reset {
        /// Why.
        reason: ResetReason,
        /// The head at the time.
        head: Revision,
    },
    /// Nothing more will come.
    End(EndReason),
}

/// Why a position cannot be continued from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResetReason {
    /// The position is of another epoch.
    OtherEpoch,
    /// The position is older than what is remembered.
    TooOld,
    /// The position has not happened yet.
    InTheFuture,
}

/// Why a feed ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndReason {
    /// The subscriber did not keep up with events that may not be dropped.
    TooSlow,
    /// The right to read was taken away.
    Revoked,
    /// The journal could not be read.
    JournalFailed,
}

/// Changes of one revision that a feed delivers as a unit, or one event.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What the feed had told before.
    pub after: Revision,
    /// What the feed has told with this. Equal to `after` for an event that is not in the journal.
    pub rev: Revision,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// A live entry, shared by all feeds of the shard; `None` stands for all of its changes.
    Live(Shared, Option<SmallVec<[u16; 4]>>),
    /// Read back from the tree or the journal.
    Past(SmallVec<[Change; 1]>),
}

/// One change of a delivery, to be passed on to another thread. It shares what the delivery shares: contents,
/// and for a live entry its encoded forms.
#[derive(Clone, Debug)]
pub struct Message(Kept);

#[derive(Clone, Debug)]
enum Kept {
    Live(Arc<Entry>, usize),
    Past(Change, u64),
}

impl Message {
    /// What happened.
    pub fn change(&self) -> &Change {
        match &self.0 {
            Kept::Live(entry, index) => &entry.changes()[*index],
            Kept::Past(change, _) => change,
        }
    }

    /// The cache of its encoded forms. What was read back from the past has none.
    pub fn forms(&self) -> Option<&Forms> {
        match &self.0 {
            Kept::Live(entry, index) => Some(entry.change_forms(*index)),
            Kept::Past(..) => None,
        }
    }

    /// The number of the commit that it is part of; `None` for an event that is not in the journal.
    pub fn number(&self) -> Option<u64> {
        match &self.0 {
            Kept::Live(entry, _) => (!entry.is_event).then_some(entry.number),
            Kept::Past(_, number) => Some(*number),
        }
    }
}

impl Delivery {
    /// The changes, each to be passed on to another thread.
    pub fn messages(&self) -> impl Iterator<Item = Message> {
        (0..self.len()).map(|index| {
            Message(match &self.body {
                Body::Live(entry, None) => Kept::Live(entry.share(), index),
                Body::Live(entry, Some(picked)) => Kept::Live(entry.share(), usize::from(picked[index])),
                Body::Past(changes) => Kept::Past(changes[index].clone(), self.rev.number),
            })
        })
    }

    /// The changes, in order; at least one. An event is alone.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        (0..self.len()).map(|index| self.change(index))
    }

    /// The changes with the cache of their encoded forms. What was read back from the past has no
    /// cache: it is encoded for one feed.
    pub fn changes_with_forms(&self) -> impl Iterator<Item = (&Change, Option<&Forms>)> {
        (0..self.len()).map(|index| (self.change(index), self.forms(index)))
    }

    /// How many changes there are.
    #[expect(clippy::len_without_is_empty, reason = "a delivery is never empty")]
    pub fn len(&self) -> usize {
        match &self.body {
            Body::Live(entry, None) => entry.changes().len(),
            Body::Live(_, Some(picked)) => picked.len(),
            Body::Past(changes) => changes.len(),
        }
    }

    fn change(&self, index: usize) -> &Change {
        match &self.body {
            Body::Live(entry, None) => &entry.changes()[index],
            Body::Live(entry, Some(picked)) => &entry.changes()[usize::from(picked[index])],
            Body::Past(changes) => &changes[index],
        }
    }

    fn forms(&self, index: usize) -> Option<&Forms> {
        match &self.body {
            Body::Live(entry, None) => Some(entry.change_forms(index)),
            Body::Live(entry, Some(picked)) => Some(entry.change_forms(usize::from(picked[index]))),
            Body::Past(_) => None,
        }
    }
}
