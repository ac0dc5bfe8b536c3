//! What changed after a revision, newest state only.

use std::collections::VecDeque;
use std::sync::Arc;

use dovetail_model::{Resource, Tombstone, Topic, tree_order};

use crate::index::{ByRevision, Dated};
use crate::map::Cursor;

/// How many entries a scan reads ahead, so that not every one of them costs a search.
const AHEAD: usize = 64;

/// The newest state of a resource that changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Latest {
    /// It is there.
    Live(Arc<Resource>),
    /// It was deleted.
    Gone(Arc<Tombstone>),
}

impl Latest {
    /// The name of the resource.
    pub fn topic(&self) -> &Topic {
        match self {
            Self::Live(resource) => &resource.topic,
            Self::Gone(tombstone) => &tombstone.topic,
        }
    }

    /// The number of the commit that changed it last.
    pub fn revision(&self) -> u64 {
        match self {
            Self::Live(resource) => resource.revision,
            Self::Gone(tombstone) => tombstone.revision,
        }
    }
}

/// The changes of [`crate::Tree::changed_after`].
pub struct Changed<'a> {
    live: Cursor<'a, Dated<Resource>>,
    gone: Cursor<'a, Dated<Tombstone>>,
}

impl<'a> Changed<'a> {
    pub(crate) fn new(
        history: &'a ByRevision<Resource>,
        burials: &'a ByRevision<Tombstone>,
        revision: u64,
    ) -> Self {
        Self {
            live: history.seek(|number, _| number <= revision),
            gone: burials.seek(|number, _| number <= revision),
        }
    }

    /// The changes after the one that `revision` made to `topic`.
    fn resumed(
        history: &'a ByRevision<Resource>,
        burials: &'a ByRevision<Tombstone>,
        (revision, topic): (u64, &Topic),
    ) -> Self {
        let told = |number: u64, name: &str| {
            number < revision || number == revision && tree_order(name, topic.as_str()).is_le()
        };
        Self { live: history.seek(told), gone: burials.seek(told) }
    }
}

impl Iterator for Changed<'_> {
    type Item = Latest;

    fn next(&mut self) -> Option<Latest> {
        let live_is_next = match (self.live.peek(), self.gone.peek()) {
            (Some(live), Some(gone)) => (live.revision, &live.what.topic) < (gone.revision, &gone.what.topic),
            (live, _) => live.is_some(),
        };
        if live_is_next {
            self.live.next().map(|live| Latest::Live(Arc::clone(&live.what)))
        } else {
            self.gone.next().map(|gone| Latest::Gone(Arc::clone(&gone.what)))
        }
    }
}

/// The changes of [`crate::Tree::changes_after`]: owns a frozen tree, so that it can be kept between turns.
pub struct ChangeScan {
    history: ByRevision<Resource>,
    burials: ByRevision<Tombstone>,
    after: u64,
    last: Option<(u64, Topic)>,
    ahead: VecDeque<Latest>,
}

impl ChangeScan {
    pub(crate) fn new(history: ByRevision<Resource>, burials: ByRevision<Tombstone>, after: u64) -> Self {
        Self { history, burials, after, last: None, ahead: VecDeque::new() }
    }

    /// The next change, without taking it: tells whether the commit of the last one goes on.
    pub fn peek(&mut self) -> Option<&Latest> {
        if self.ahead.is_empty() {
            self.read_ahead();
        }
        self.ahead.front()
    }

    fn read_ahead(&mut self) {
        let changed = match &self.last {
            None => Changed::new(&self.history, &self.burials, self.after),
            Some((revision, topic)) => Changed::resumed(&self.history, &self.burials, (*revision, topic)),
        };
        self.ahead.extend(changed.take(AHEAD));
        if let Some(last) = self.ahead.back() {
            self.last = Some((last.revision(), last.topic().clone()));
        }
    }
}

impl Iterator for ChangeScan {
    type Item = Latest;

    fn next(&mut self) -> Option<Latest> {
        self.peek()?;
        self.ahead.pop_front()
    }
}
