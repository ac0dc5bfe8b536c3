//! The tree: every resource in its newest state, which is the journal applied.
//!
//! A [`Tree`] is persistent: a clone costs a few reference counts, shares everything, and is *frozen*, that
//! is, it never changes whatever is applied to the original. One owner applies commits; any number of
//! readers hold clones. Nothing here does I/O, waits, or looks at a clock.
//!
//! * what is there: [`Tree::get`], [`Tree::select`], [`Tree::scan`], [`Tree::has_below`]
//! * what changed: [`Tree::changed_after`], [`Tree::changes_after`], [`Tree::changes_matching`]
//! * what ends: [`Tree::next_expiry`], [`Tree::expired`], [`Tree::forget_before`]
//! * where it comes from: [`Tree::apply`], [`Builder`]

mod builder;
mod index;
mod latest;
mod map;
mod select;

use std::sync::Arc;

use dovetail_model::{Change, Commit, Filter, Resource, Tombstone, Topic, UnixMillis};

pub use builder::{BuildError, Builder};
pub use latest::{ChangeScan, Changed, Latest};
pub use select::{Scan, Select};

use index::{ByExpiry, ByName, ByRevision, Dated, Ending, Named};
use latest::ByNames;

/// All resources as one commit left them, and the tombstones of those deleted lately.
///
/// Revisions here are the numbers of commits within one epoch, which the tree does not know.
#[derive(Clone, Default)]
pub struct Tree {
    revision: u64,
    floor: u64,
    weight: u64,
    names: ByName<Resource>,
    history: ByRevision<Resource>,
    graves: ByName<Tombstone>,
    burials: ByRevision<Tombstone>,
    expiry: ByExpiry,
}

impl Tree {
    /// The tree of the empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of the last commit that was applied; 0 before the first.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The number of live resources.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no resource is live. There may be tombstones.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the payloads of all live resources.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// The number of tombstones.
    pub fn tombstones_len(&self) -> usize {
        self.graves.len()
    }

    /// The live resource of this name.
    pub fn get(&self, topic: &Topic) -> Option<&Arc<Resource>> {
        self.names.get(0, topic.as_str()).map(|named| &named.what)
    }

    /// What is left of the deleted resource of this name, until it is forgotten or written again.
    pub fn tombstone(&self, topic: &Topic) -> Option<&Arc<Tombstone>> {
        self.graves.get(0, topic.as_str()).map(|named| &named.what)
    }

    /// Whether a live resource is strictly below `topic`.
    pub fn has_below(&self, topic: &Topic) -> bool {
        let topic = topic.as_str();
        let below = self.names.seek(|_, name| dovetail_model::tree_order(name, topic).is_le()).peek();
        below.is_some_and(|named| select::is_in_subtree(named.what.topic.as_str(), topic))
    }

    /// The live resources that match `filter`, in tree order.
    ///
    /// The cost follows the number of matches, not the size of the tree: whole subtrees that cannot match
    /// are skipped.
    pub fn select<'a>(&'a self, filter: &'a Filter) -> Select<'a> {
        Select::new(&self.names, filter)
    }

    /// The live resources that match `filter` and come after `topic`, in tree order: the next page.
    pub fn select_after<'a>(&'a self, filter: &'a Filter, topic: &Topic) -> Select<'a> {
        self.select(filter).after(topic)
    }

    /// Like [`Self::select`], but owns a frozen clone of what it reads, so that it can be kept and resumed.
    pub fn scan(&self, filter: Filter) -> Scan {
        Scan::new(self.names.clone(), filter)
    }

    /// Every live resource in tree order, reserved ones included.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.names.start().map(|named| &named.what)
    }

    /// Every tombstone in tree order, reserved ones included.
    pub fn tombstones(&self) -> impl Iterator<Item = &Arc<Tombstone>> {
        self.graves.start().map(|named| &named.what)
    }

    /// The newest state of every resource that changed after `revision`, in the order of the revisions;
    /// what one commit did is adjacent, in tree order. Deleted resources are among them as tombstones.
    ///
    /// Complete only if `revision` is at least [`Self::floor`].
    pub fn changed_after(&self, revision: u64) -> Changed<'_> {
        Changed::new(&self.history, &self.burials, revision)
    }

    /// Like [`Self::changed_after`], but owns a frozen clone of what it reads.
    pub fn changes_after(&self, revision: u64) -> ChangeScan {
        ChangeScan::by_revision(self.history.clone(), self.burials.clone(), revision)
    }

    /// Like [`Self::changes_after`], and complete for what matches `filter`; changes of others may be among them.
    ///
    /// The cost follows the number of changes, or the number of names that match if that is less: who follows little of a tree
    /// in which much happens does not pay for what concerns others.
    pub fn changes_matching(&self, filter: &Filter, revision: u64) -> ChangeScan {
        let commits = self.revision.saturating_sub(revision);
        let (names, graves) = (self.names.clone(), self.graves.clone());
        let by_names = ByNames { names, graves, filter: filter.clone() };
        ChangeScan::by_name(by_names, revision, commits).unwrap_or_else(|| self.changes_after(revision))
    }

    /// The oldest revision that [`Self::changed_after`] is complete for: tombstones up to it may have been
    /// forgotten.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// When the next live resource expires.
    pub fn next_expiry(&self) -> Option<UnixMillis> {
        self.expiry.start().peek().map(|ending| ending.at)
    }

    /// The names of up to `max` live resources whose time to live ended at `now` or before, soonest first.
    /// They stay until their delete is applied as a commit.
    pub fn expired(&self, now: UnixMillis, max: usize) -> Vec<Topic> {
        let ended = self.expiry.start().take_while(|ending| ending.at <= now);
        ended.take(max).map(|ending| ending.what.topic.clone()).collect()
    }

    /// Makes the changes of `commit`. Events change nothing but the revision.
    ///
    /// # Panics
    /// If the number of the commit is not one more than [`Self::revision`]: a tree with a hole would
    /// answer wrongly from then on.
    pub fn apply(&mut self, commit: &Commit) {
        assert_eq!(commit.number, self.revision + 1, "commits are applied one after the other");
        self.revision = commit.number;
        for change in &commit.changes {
            match change {
                Change::Put(resource) => self.put(resource),
                Change::Delete(tombstone) => self.delete(tombstone),
                Change::Event(_) => {}
            }
        }
    }

    /// Drops up to `max` tombstones of deletes before `deleted_before`, oldest first, and raises the floor
    /// to the last of them. Returns how many were dropped; fewer than `max` means that none is left.
    pub fn forget_before(&mut self, deleted_before: UnixMillis, max: usize) -> usize {
        let tombstones = self.burials.start().map(|dated| &dated.what);
        let old = tombstones.take_while(|tombstone| tombstone.deleted_at < deleted_before);
        let forgotten: Vec<_> = old.take(max).cloned().collect();
        for tombstone in &forgotten {
            self.unbury(&tombstone.topic);
            self.floor = self.floor.max(tombstone.revision);
        }
        forgotten.len()
    }

    fn put(&mut self, resource: &Arc<Resource>) {
        if let Some(old) = self.names.insert(Named::new(Arc::clone(resource))) {
            self.unlink(&old.what);
        } else {
            self.unbury(&resource.topic);
        }
        self.weight += resource.representation.payload.len() as u64;
        self.history.insert(Dated { revision: resource.revision, what: Arc::clone(resource) });
        if let Some(at) = resource.expires_at {
            self.expiry.insert(Ending { at, what: Arc::clone(resource) });
        }
    }

    fn delete(&mut self, tombstone: &Arc<Tombstone>) {
        if let Some(old) = self.names.remove(0, tombstone.topic.as_str()) {
            self.unlink(&old.what);
        } else {
            self.unbury(&tombstone.topic);
        }
        self.graves.insert(Named::new(Arc::clone(tombstone)));
        self.burials.insert(Dated { revision: tombstone.revision, what: Arc::clone(tombstone) });
    }

    /// Takes a resource that is no longer live out of everything but the names.
    fn unlink(&mut self, old: &Resource) {
        self.weight -= old.representation.payload.len() as u64;
        self.history.remove(old.revision, old.topic.as_str());
        if let Some(at) = old.expires_at {
            self.expiry.remove(at, old.topic.as_str());
        }
    }

    fn unbury(&mut self, topic: &Topic) {
        if self.tombstone(topic).is_none() {
            return;
        }
        if let Some(old) = self.graves.remove(0, topic.as_str()) {
            self.burials.remove(old.what.revision, topic.as_str());
        }
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree")
            .field("revision", &self.revision)
            .field("floor", &self.floor)
            .field("resources", &self.len())
            .field("tombstones", &self.tombstones_len())
            .finish_non_exhaustive()
    }
}
