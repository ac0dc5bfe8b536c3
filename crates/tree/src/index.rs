//! What the maps of the tree hold and what they are sorted by.

use std::sync::Arc;

use dovetail_model::{Resource, Tombstone, Topic, UnixMillis};

use crate::map::{Entry, Map};

/// Live resources or tombstones in tree order.
pub(crate) type ByName<T> = Map<Named<T>>;
/// Live resources or tombstones in the order of the commits that made them; within one in tree order.
pub(crate) type ByRevision<T> = Map<Dated<T>>;
/// Live resources that expire, soonest first.
pub(crate) type ByExpiry = Map<Ending>;

/// What has a name.
pub(crate) trait HasTopic {
    fn topic(&self) -> &Topic;
}

/// Sorted by the name alone.
pub(crate) struct Named<T> {
    mark: u32,
    pub(crate) what: Arc<T>,
}

/// Sorted by the number of the commit.
pub(crate) struct Dated<T> {
    pub(crate) revision: u64,
    pub(crate) what: Arc<T>,
}

/// Sorted by the time of expiry.
#[derive(Clone)]
pub(crate) struct Ending {
    pub(crate) at: UnixMillis,
    pub(crate) what: Arc<Resource>,
}

impl HasTopic for Resource {
    fn topic(&self) -> &Topic {
        &self.topic
    }
}

impl HasTopic for Tombstone {
    fn topic(&self) -> &Topic {
        &self.topic
    }
}

impl<T: HasTopic> Named<T> {
    pub(crate) fn new(what: Arc<T>) -> Self {
        Self { mark: mark(what.topic().as_str()), what }
    }
}

impl<T> Clone for Named<T> {
    fn clone(&self) -> Self {
        Self { mark: self.mark, what: Arc::clone(&self.what) }
    }
}

impl<T> Clone for Dated<T> {
    fn clone(&self) -> Self {
        Self { revision: self.revision, what: Arc::clone(&self.what) }
    }
}

impl<T: HasTopic> Entry for Named<T> {
    fn rank(&self) -> u64 {
        0
    }

    fn topic(&self) -> &Topic {
        self.what.topic()
    }

    /// Compares the marks first: names lie all over the memory, and most looks at one would be for nothing.
    fn find(entries: &[Self], _: u64, topic: &str) -> Option<usize> {
        let mark = mark(topic);
        entries.iter().position(|entry| entry.mark == mark && entry.topic().as_str() == topic)
    }
}

impl<T: HasTopic> Entry for Dated<T> {
    fn rank(&self) -> u64 {
        self.revision
    }

    fn topic(&self) -> &Topic {
        self.what.topic()
    }
}

impl Entry for Ending {
    fn rank(&self) -> u64 {
        self.at
    }

    fn topic(&self) -> &Topic {
        &self.what.topic
    }
}

/// A number that equal names share and different ones seldom do.
fn mark(name: &str) -> u32 {
    let mut state = name.len() as u64;
    for chunk in name.as_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = (state.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    (state >> 32) as u32
}
