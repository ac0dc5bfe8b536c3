//! A copy of the resources under a filter.

use std::collections::BTreeMap;
use std::sync::Arc;

use dovetail_model::{Change, Resource, Revision, Topic};

use crate::feed::Item;

/// A copy that applies what a watch tells. It always shows a state that the server had: a baseline is built
/// aside and takes the place of what was there when it is complete.
#[derive(Clone, Default, Debug)]
pub struct Replica {
    resources: BTreeMap<Topic, Arc<Resource>>,
    position: Option<Revision>,
    arriving: Option<BTreeMap<Topic, Arc<Resource>>>,
}

/// An item does not fit the copy: something was left out or told twice.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplicaError {
    /// A change continues from another position than the copy's.
    #[error("a change after {after} does not fit a copy at {}", .position.map_or_else(|| "no revision".to_owned(), |p| p.to_string()))]
    Gap {
        /// Where the change continues from.
        after: Revision,
        /// Where the copy is.
        position: Option<Revision>,
    },
    /// A resource or an end of a baseline that never began.
    #[error("part of a baseline that never began")]
    NoBaseline,
}

impl Replica {
    /// A copy of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The position of the copy: it is the state of the server at this revision.
    pub fn position(&self) -> Option<Revision> {
        self.position
    }

    /// The number of resources.
    pub fn len(&self) -> usize {
        self.resources.len()
    }

    /// Whether there are no resources.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// The resource of this name.
    pub fn get(&self, topic: &Topic) -> Option<&Arc<Resource>> {
        self.resources.get(topic)
    }

    /// All resources in tree order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// The [`state_hash`] of the copy.
    pub fn state_hash(&self) -> u64 {
        state_hash(self.iter())
    }

    /// Takes an item in. Events change the position only.
    ///
    /// # Errors
    /// If the item does not continue from the copy, which then stays as it is.
    pub fn apply(&mut self, item: &Item) -> Result<(), ReplicaError> {
        match item {
            Item::BaselineBegin(_) => self.arriving = Some(BTreeMap::new()),
            Item::Resource(resource) => {
                let arriving = self.arriving.as_mut().ok_or(ReplicaError::NoBaseline)?;
                arriving.insert(resource.topic.clone(), Arc::clone(resource));
            }
            Item::BaselineEnd(rev) => {
                self.resources = self.arriving.take().ok_or(ReplicaError::NoBaseline)?;
                self.position = Some(*rev);
            }
            Item::Change { after, rev, changes } => {
                self.advance(*after, *rev)?;
                for entry in changes {
                    match &entry.change {
                        Change::Put(resource) => {
                            self.resources.insert(resource.topic.clone(), Arc::clone(resource));
                        }
                        Change::Delete(tombstone) => {
                            self.resources.remove(&tombstone.topic);
                        }
                        Change::Event(_) => {}
                    }
                }
            }
            Item::Progress { after, rev } => self.advance(*after, *rev)?,
            // The copy stays what it was until the next baseline is complete.
            Item::Reset { .. } | Item::Interrupted(_) => {}
        }
        Ok(())
    }

    fn advance(&mut self, after: Revision, rev: Revision) -> Result<(), ReplicaError> {
        if self.position != Some(after) {
            return Err(ReplicaError::Gap { after, position: self.position });
        }
        self.position = Some(rev);
        Ok(())
    }
}

/// A number that is equal for equal states: names, revisions, content types and payloads, given in tree order.
/// FNV-1a over 64 bits; not for whoever might want to deceive.
pub fn state_hash<'a>(resources: impl IntoIterator<Item = &'a Arc<Resource>>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut field = |bytes: &[u8]| {
        let length = (bytes.len() as u64).to_le_bytes();
        for byte in length.iter().chain(bytes) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for resource in resources {
        field(resource.topic.as_str().as_bytes());
        field(&resource.revision.to_le_bytes());
        field(resource.representation.content_type.as_deref().unwrap_or_default().as_bytes());
        field(&resource.representation.payload);
    }
    hash
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use dovetail_api::decode::Entry;
    use dovetail_model::{DeleteCause, Epoch, Qos, Representation, Tombstone};

    use super::*;

    fn at(number: u64) -> Revision {
        Epoch::from_random(7).at(number)
    }

    fn resource(name: &str, revision: u64) -> Arc<Resource> {
        Arc::new(Resource {
            topic: Topic::new(name).unwrap(),
            revision,
            modified_at: 0,
            expires_at: None,
            representation: Representation::copied(b"1", None),
        })
    }

    fn names(replica: &Replica) -> Vec<&str> {
        replica.iter().map(|resource| resource.topic.as_str()).collect()
    }

    #[test]
    fn a_copy_is_always_a_state_that_was() {
        let mut replica = Replica::new();
        assert_eq!(replica.apply(&Item::Resource(resource("a", 1))), Err(ReplicaError::NoBaseline));
        let gap = Err(ReplicaError::Gap { after: at(0), position: None });
        assert_eq!(replica.apply(&Item::Progress { after: at(0), rev: at(1) }), gap);
        replica.apply(&Item::BaselineBegin(at(5))).unwrap();
        replica.apply(&Item::Resource(resource("a", 1))).unwrap();
        replica.apply(&Item::Resource(resource("b", 2))).unwrap();
        assert!(replica.is_empty(), "half a baseline is no state");
        replica.apply(&Item::BaselineEnd(at(5))).unwrap();
        assert_eq!((names(&replica), replica.position()), (vec!["a", "b"], Some(at(5))));

        let tombstone = Tombstone {
            topic: Topic::new("a").unwrap(),
            revision: 7,
            deleted_at: 0,
            cause: DeleteCause::Request,
            qos: Qos::default(),
        };
        let changes = vec![
            Entry { number: 7, change: Change::Delete(Arc::new(tombstone)) },
            Entry { number: 7, change: Change::Put(resource("c", 7)) },
        ];
        let before = replica.state_hash();
        let change = Item::Change { after: at(5), rev: at(7), changes };
        replica.apply(&change).unwrap();
        assert_eq!((names(&replica), replica.position()), (vec!["b", "c"], Some(at(7))));
        assert_ne!(replica.state_hash(), before);
        assert!(replica.apply(&change).is_err(), "told twice");

        replica.apply(&Item::Reset { reason: "expired".into(), rev: at(9) }).unwrap();
        replica.apply(&Item::BaselineBegin(at(9))).unwrap();
        assert_eq!(names(&replica), ["b", "c"], "the old state stays until the new one is complete");
        replica.apply(&Item::BaselineEnd(at(9))).unwrap();
        assert_eq!(replica.state_hash(), Replica::new().state_hash());
    }
}
