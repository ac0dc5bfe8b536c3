//! What changed after a revision, newest state only.

use std::collections::VecDeque;
use std::sync::Arc;

use dovetail_model::{Filter, Resource, Tombstone, Topic, tree_order};

use crate::index::{ByName, ByRevision, Dated};
use crate::map::Cursor;
use crate::select::Matches;

/// How many entries a scan reads ahead, so that not every one of them costs a search.
const AHEAD: usize = 64;

/// How many steps it may take to find out that a scan by name costs too much.
const LOOK_AT: u64 = 4_096;

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

/// The changes of [`crate::Tree::changes_after`] and [`crate::Tree::changes_matching`]: owns a frozen tree, so that it can be
/// kept between turns.
pub struct ChangeScan {
    pages: Pages,
    /// The change up to which everything was read.
    last: (u64, Option<Topic>),
    ahead: VecDeque<Latest>,
}

/// Where a scan reads on.
enum Pages {
    /// What changed, in the order of the changes, whatever it is called.
    ByRevision { history: ByRevision<Resource>, burials: ByRevision<Tombstone> },
    /// What matches, changed or not, and put in the order of the changes.
    ByName(ByNames),
    /// Nowhere: everything is read.
    Over,
}

/// What has a name that matches.
pub(crate) struct ByNames {
    pub(crate) names: ByName<Resource>,
    pub(crate) graves: ByName<Tombstone>,
    pub(crate) filter: Filter,
}

/// What one look at all matches found.
struct Page {
    /// The first changes, in order.
    changes: Vec<Latest>,
    /// How many there are, these included.
    found: usize,
    /// How many steps it took to find them.
    steps: u64,
}

impl ChangeScan {
    pub(crate) fn by_revision(
        history: ByRevision<Resource>,
        burials: ByRevision<Tombstone>,
        after: u64,
    ) -> Self {
        Self { pages: Pages::ByRevision { history, burials }, last: (after, None), ahead: VecDeque::new() }
    }

    /// A scan by name, if it costs less than looking at `changes` entries by revision.
    pub(crate) fn by_name(names: ByNames, after: u64, changes: u64) -> Option<Self> {
        // Whoever reads by revision reads so many without a second search.
        if changes <= AHEAD as u64 {
            return None;
        }
        let page = names.page((after, None), changes.min(LOOK_AT))?;
        let pages = page.found.div_ceil(AHEAD).max(1) as u64;
        if page.steps * pages > changes {
            return None;
        }
        let mut scan = Self { pages: Pages::ByName(names), last: (after, None), ahead: VecDeque::new() };
        scan.keep(page.changes, page.found);
        Some(scan)
    }

    /// The next change, without taking it: tells whether the commit of the last one goes on.
    pub fn peek(&mut self) -> Option<&Latest> {
        if self.ahead.is_empty() {
            self.read_ahead();
        }
        self.ahead.front()
    }

    fn read_ahead(&mut self) {
        let (revision, topic) = &self.last;
        match &self.pages {
            Pages::ByRevision { history, burials } => {
                let changed = match topic {
                    None => Changed::new(history, burials, *revision),
                    Some(topic) => Changed::resumed(history, burials, (*revision, topic)),
                };
                let changes: Vec<_> = changed.take(AHEAD).collect();
                let found = changes.len() + usize::from(changes.len() == AHEAD);
                self.keep(changes, found);
            }
            Pages::ByName(names) => {
                let page = names.page((*revision, topic.as_ref()), u64::MAX);
                let (changes, found) = page.map_or((Vec::new(), 0), |page| (page.changes, page.found));
                self.keep(changes, found);
            }
            Pages::Over => {}
        }
    }

    /// Keeps a page, the first of so many changes that were found.
    fn keep(&mut self, changes: Vec<Latest>, found: usize) {
        match changes.last() {
            Some(last) if found > changes.len() => self.last = (last.revision(), Some(last.topic().clone())),
            _ => self.pages = Pages::Over,
        }
        self.ahead.extend(changes);
    }
}

impl ByNames {
    /// The first changes after `told`; `None` if it took `most` steps to look for them.
    fn page(&self, told: (u64, Option<&Topic>), most: u64) -> Option<Page> {
        let mut changes = Vec::new();
        let is_new = |revision: u64, topic: &Topic| match told {
            (told, None) => revision > told,
            (told, Some(last)) => (revision, topic) > (told, last),
        };
        let mut live = Matches::new(&self.names, &self.filter);
        while let Some(resource) = live.next_within(most) {
            if is_new(resource.revision, &resource.topic) {
                changes.push(Latest::Live(Arc::clone(resource)));
            }
        }
        let mut gone = Matches::new(&self.graves, &self.filter);
        while let Some(tombstone) = gone.next_within(most) {
            if is_new(tombstone.revision, &tombstone.topic) {
                changes.push(Latest::Gone(Arc::clone(tombstone)));
            }
        }
        let (found, steps) = (changes.len(), live.steps() + gone.steps());
        if steps >= most {
            return None;
        }
        let in_order = |a: &Latest, b: &Latest| (a.revision(), a.topic()).cmp(&(b.revision(), b.topic()));
        if found > AHEAD {
            changes.select_nth_unstable_by(AHEAD, in_order);
            changes.truncate(AHEAD);
        }
        changes.sort_unstable_by(in_order);
        Some(Page { changes, found, steps })
    }
}

impl Iterator for ChangeScan {
    type Item = Latest;

    fn next(&mut self) -> Option<Latest> {
        self.peek()?;
        self.ahead.pop_front()
    }
}
