//! The current state, exact at one revision.

use std::sync::Arc;

use dovetail_auth::{Authorized, Demand, Policy};
use dovetail_model::{Epoch, Filter, Resource, Revision, Topic};
use dovetail_tree::Tree;

use crate::request::Read;

/// A frozen state of all resources, as its reader may see it. It costs a reference count to keep;
/// writes go on beside it.
#[derive(Debug)]
pub struct View {
    policy: Policy,
    epoch: Epoch,
    tree: Arc<Tree>,
    read: Authorized<Read>,
}

impl View {
    pub(crate) fn new(policy: Policy, epoch: Epoch, tree: Arc<Tree>, read: Authorized<Read>) -> Self {
        Self { policy, epoch, tree, read }
    }

    /// Reads the same frozen state for another request: the next page of a collection.
    #[must_use]
    pub fn again(&self, read: Authorized<Read>) -> Self {
        Self::new(self.policy.clone(), self.epoch, Arc::clone(&self.tree), read)
    }

    /// The revision that everything in the view is exact at.
    pub fn revision(&self) -> Revision {
        self.epoch.at(self.tree.revision())
    }

    /// The revision token of a resource's last change.
    pub fn revision_of(&self, resource: &Resource) -> Revision {
        self.epoch.at(resource.revision)
    }

    /// The resource that the view was asked for with [`Read::Resource`], if it exists.
    pub fn resource(&self) -> Option<&Arc<Resource>> {
        match self.read.request() {
            Read::Resource(topic) => self.tree.get(topic).filter(|resource| self.permits(&resource.topic)),
            Read::Select(_) => None,
        }
    }

    /// Whether there is a resource strictly below `topic`.
    pub fn has_below(&self, topic: &Topic) -> bool {
        self.tree.has_below(topic)
    }

    /// The filter that the view was asked for with [`Read::Select`].
    pub fn filter(&self) -> Option<&Filter> {
        match self.read.request() {
            Read::Select(filter) => Some(filter),
            Read::Resource(_) => None,
        }
    }

    /// The resources that match the filter, in tree order, from after `after` on.
    pub fn select<'a>(&'a self, after: Option<&Topic>) -> impl Iterator<Item = &'a Arc<Resource>> + use<'a> {
        let selected = self.filter().map(|filter| match after {
            Some(after) => self.tree.select_after(filter, after),
            None => self.tree.select(filter),
        });
        selected.into_iter().flatten().filter(|resource| self.permits(&resource.topic))
    }

    /// Whether anything that matches the filter changed after `revision`, looking at no more than
    /// `look_at` changes; `None` when that does not decide it.
    pub fn changed_since(&self, revision: Revision, look_at: usize) -> Option<bool> {
        if revision.epoch != self.epoch || revision.number > self.tree.revision() {
            return None;
        }
        if revision.number == self.tree.revision() {
            return Some(false);
        }
        if revision.number < self.tree.floor() {
            return None;
        }
        let filter = self.filter()?;
        let mut changed = self.tree.changed_after(revision.number);
        for _ in 0..look_at {
            match changed.next() {
                None => return Some(false),
                Some(state) if filter.matches(state.topic()) => return Some(true),
                Some(_) => {}
            }
        }
        None
    }

    fn permits(&self, topic: &Topic) -> bool {
        self.policy.permits(self.read.principal(), Demand::Read, topic)
    }
}
