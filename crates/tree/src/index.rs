//! What the maps of the tree hold and what they are sorted by.

use std::sync::Arc;

use dovetail_model::{Resource, Tombstone, Topic};

use crate::map::{Entry, Map, Rank};

/// Live resources or tombstones in tree order.
pub(crate) type ByName<E> = Map<Arc<E>, NameOnly>;
/// Live resources or tombstones in the order of the commits that made them; within one in tree order.
pub(crate) type ByRevision<E> = Map<Arc<E>, Revision>;
/// Live resources that expire, soonest first.
pub(crate) type ByExpiry = Map<Arc<Resource>, Expiry>;

/// Sorts by the name alone.
pub(crate) struct NameOnly;
/// Sorts by the number of the commit.
pub(crate) struct Revision;
/// Sorts by the time of expiry.
pub(crate) struct Expiry;

impl Entry for Arc<Resource> {
    fn topic(&self) -> &Topic {
        &self.topic
    }
}

impl Entry for Arc<Tombstone> {
    fn topic(&self) -> &Topic {
        &self.topic
    }
}

impl<E> Rank<E> for NameOnly {
    fn rank(_: &E) -> u64 {
        0
    }
}

impl Rank<Arc<Resource>> for Revision {
    fn rank(entry: &Arc<Resource>) -> u64 {
        entry.revision
    }
}

impl Rank<Arc<Tombstone>> for Revision {
    fn rank(entry: &Arc<Tombstone>) -> u64 {
        entry.revision
    }
}

impl Rank<Arc<Resource>> for Expiry {
    fn rank(entry: &Arc<Resource>) -> u64 {
        // A resource without an end is never in this map.
        entry.expires_at.unwrap_or(u64::MAX)
    }
}
