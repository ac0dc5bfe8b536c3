//! Builds a tree out of a snapshot, faster than by applying commits.

use std::sync::Arc;

use dovetail_model::{Resource, Tombstone, Topic};

use crate::Tree;
use crate::index::{ByExpiry, ByName, ByRevision, Dated, Ending, Named};

/// Takes the entries of a snapshot in tree order and makes a [`Tree`] of them.
#[derive(Debug)]
pub struct Builder {
    revision: u64,
    floor: u64,
    weight: u64,
    resources: Vec<Arc<Resource>>,
    tombstones: Vec<Arc<Tombstone>>,
}

/// Why entries do not make a tree.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildError {
    /// The floor is above the revision of the snapshot.
    #[error("the floor {floor} is after the snapshot's revision {revision}")]
    Floor {
        /// The floor that was given.
        floor: u64,
        /// The revision that was given.
        revision: u64,
    },
    /// A name does not come after the one before it.
    #[error("`{0}` is out of order or there twice")]
    Order(Topic),
    /// A name is live and deleted at once.
    #[error("`{0}` is both live and deleted")]
    LiveAndDeleted(Topic),
    /// An entry was written before the first commit or after the snapshot.
    #[error("`{topic}` has revision {revision}, which the snapshot cannot contain")]
    Revision {
        /// The name of the entry.
        topic: Topic,
        /// Its revision.
        revision: u64,
    },
    /// A resource without contents.
    #[error("`{0}` has no payload")]
    Empty(Topic),
}

impl Builder {
    /// Begins the tree of a snapshot taken at `revision`, in which tombstones up to `floor` may be missing.
    ///
    /// # Errors
    /// If `floor` is above `revision`.
    pub fn new(revision: u64, floor: u64) -> Result<Self, BuildError> {
        if floor > revision {
            return Err(BuildError::Floor { floor, revision });
        }
        Ok(Self { revision, floor, weight: 0, resources: Vec::new(), tombstones: Vec::new() })
    }

    /// Adds a live resource, which comes after every resource added before.
    ///
    /// # Errors
    /// If the order, the revision or the payload is wrong.
    pub fn resource(&mut self, resource: Arc<Resource>) -> Result<(), BuildError> {
        self.check_revision(&resource.topic, resource.revision)?;
        if self.resources.last().is_some_and(|last| last.topic >= resource.topic) {
            return Err(BuildError::Order(resource.topic.clone()));
        }
        if resource.representation.payload.is_empty() {
            return Err(BuildError::Empty(resource.topic.clone()));
        }
        self.weight += resource.representation.payload.len() as u64;
        self.resources.push(resource);
        Ok(())
    }

    /// Adds a tombstone, which comes after every tombstone added before.
    ///
    /// # Errors
    /// If the order or the revision is wrong.
    pub fn tombstone(&mut self, tombstone: Arc<Tombstone>) -> Result<(), BuildError> {
        self.check_revision(&tombstone.topic, tombstone.revision)?;
        if self.tombstones.last().is_some_and(|last| last.topic >= tombstone.topic) {
            return Err(BuildError::Order(tombstone.topic.clone()));
        }
        self.tombstones.push(tombstone);
        Ok(())
    }

    /// The tree of what was added.
    ///
    /// # Errors
    /// If a name is both live and deleted.
    pub fn build(self) -> Result<Tree, BuildError> {
        let Self { revision, floor, weight, resources, tombstones } = self;
        let history = ByRevision::from_sorted(dated(&resources, |resource| resource.revision));
        let burials = ByRevision::from_sorted(dated(&tombstones, |tombstone| tombstone.revision));
        let ends = |(at, resource): (usize, &Arc<Resource>)| resource.expires_at.map(|end| (end, at));
        let mut ends: Vec<_> = resources.iter().enumerate().filter_map(ends).collect();
        ends.sort_unstable();
        let ending = |(end, at): (u64, usize)| Ending { at: end, what: Arc::clone(&resources[at]) };
        let expiry = ByExpiry::from_sorted(ends.into_iter().map(ending));
        let names = ByName::from_sorted(resources.into_iter().map(Named::new));
        for tombstone in &tombstones {
            if names.get(0, tombstone.topic.as_str()).is_some() {
                return Err(BuildError::LiveAndDeleted(tombstone.topic.clone()));
            }
        }
        let graves = ByName::from_sorted(tombstones.into_iter().map(Named::new));
        Ok(Tree { revision, floor, weight, names, history, graves, burials, expiry })
    }

    fn check_revision(&self, topic: &Topic, revision: u64) -> Result<(), BuildError> {
        if (1..=self.revision).contains(&revision) {
            return Ok(());
        }
        Err(BuildError::Revision { topic: topic.clone(), revision })
    }
}

/// The entries, which are in tree order, by revision and within one revision in tree order. The revisions
/// are copied aside first: sorting the entries themselves would visit each of them some twenty times.
fn dated<T>(entries: &[Arc<T>], revision: impl Fn(&T) -> u64) -> impl Iterator<Item = Dated<T>> {
    let mut order: Vec<(u64, usize)> = entries.iter().enumerate().map(|(at, e)| (revision(e), at)).collect();
    order.sort_unstable();
    order.into_iter().map(|(revision, at)| Dated { revision, what: Arc::clone(&entries[at]) })
}
