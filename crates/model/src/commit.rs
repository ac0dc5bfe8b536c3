//! What the journal says: commits and their changes.

use std::sync::Arc;

use crate::{Qos, Representation, Topic, UnixMillis, limits};

/// A resource as one commit left it.
///
/// The journal, the tree and the feeds share one allocation of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resource {
    /// The name.
    pub topic: Topic,
    /// The number of the commit that wrote it.
    pub revision: u64,
    /// When it was written.
    pub modified_at: UnixMillis,
    /// When it ends, if it does. The end itself is a committed delete.
    pub expires_at: Option<UnixMillis>,
    /// The contents; the payload is never empty.
    pub representation: Representation,
}

/// What is left of a deleted resource, so that whoever was away learns of the delete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tombstone {
    /// The name.
    pub topic: Topic,
    /// The number of the commit that deleted it.
    pub revision: u64,
    /// When it was deleted.
    pub deleted_at: UnixMillis,
    /// Why.
    pub cause: DeleteCause,
    /// How surely who deleted it wants that delivered.
    pub qos: Qos,
}

/// Why a resource was deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeleteCause {
    /// A client asked for it.
    Request,
    /// Its time to live ran out.
    Expiry,
}

/// A message that is not state: delivered, never read back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The name it was published to.
    pub topic: Topic,
    /// When it was accepted.
    pub published_at: UnixMillis,
    /// When it is no longer worth delivering, if ever.
    pub expires_at: Option<UnixMillis>,
    /// The contents; the payload may be empty.
    pub representation: Representation,
}

impl Event {
    /// Whether it is no longer worth delivering. One that lives for no time at all is for whoever is there
    /// when it comes, and has [`limits::AT_ONCE`] to get there.
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.expires_at.is_some_and(|end| {
            let patience =
                if end <= self.published_at { limits::AT_ONCE.as_millis() as UnixMillis } else { 0 };
            now >= end.saturating_add(patience)
        })
    }
}

/// What one commit did to one name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The resource is now this.
    Put(Arc<Resource>),
    /// The resource is gone.
    Delete(Arc<Tombstone>),
    /// A message passed. Only events that a persistent session waits for are in the journal.
    Event(Arc<Event>),
}

/// Whose client a commit came by, where that is known, so that a no-local subscription can leave out what
/// its own client published. It is the same whenever that client connects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PublisherId(pub u64);

/// One entry of the journal: one or more changes that happen as a unit, under one revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// The number of the commit: one more than that of the commit before.
    pub number: u64,
    /// When it was sequenced. Never decreases from commit to commit.
    pub at: UnixMillis,
    /// Whose client it came by.
    pub publisher: Option<PublisherId>,
    /// The changes, in order; at least one; at most one per name.
    pub changes: Box<[Change]>,
}

impl Change {
    /// The name that changed.
    pub fn topic(&self) -> &Topic {
        match self {
            Self::Put(resource) => &resource.topic,
            Self::Delete(tombstone) => &tombstone.topic,
            Self::Event(event) => &event.topic,
        }
    }

    /// The contents that the change carries; a delete has none.
    pub fn representation(&self) -> Option<&Representation> {
        match self {
            Self::Put(resource) => Some(&resource.representation),
            Self::Delete(_) => None,
            Self::Event(event) => Some(&event.representation),
        }
    }

    /// How surely it is to be delivered.
    pub fn qos(&self) -> Qos {
        match self {
            Self::Put(resource) => resource.representation.qos,
            Self::Delete(tombstone) => tombstone.qos,
            Self::Event(event) => event.representation.qos,
        }
    }

    /// The bytes that the change takes, for limits and accounting.
    pub fn weight(&self) -> usize {
        self.topic().as_str().len() + self.representation().map_or(0, Representation::weight)
    }
}

impl Commit {
    /// The bytes that the commit takes, for limits and accounting.
    pub fn weight(&self) -> usize {
        self.changes.iter().map(Change::weight).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There are as many of these as there are resources. With its reference counts a resource fits the 128 bytes that
    /// allocators give.
    #[test]
    fn resources_and_tombstones_stay_small() {
        const COUNTS: usize = 2 * size_of::<usize>();
        assert!(size_of::<Resource>() + COUNTS <= 128, "{}", size_of::<Resource>());
        assert!(size_of::<Tombstone>() + COUNTS <= 64, "{}", size_of::<Tombstone>());
    }
}
