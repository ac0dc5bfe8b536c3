//! Which events somebody waits for who may be away.
//!
//! An event that a durable subscription matches is worth a place in the journal; any other is told to whoever
//! is there and forgotten. All shards ask before each event, so asking costs one load while nobody waits, and
//! a read lock and a look at the routes while somebody does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use dovetail_model::{Filter, Topic};
use dovetail_routes::Routes;

use crate::{Engine, Shard};

/// The filters of all durable subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    is_any: AtomicBool,
    filters: RwLock<Filters>,
}

#[derive(Debug, Default)]
struct Filters {
    routes: Routes<()>,
    /// How many subscriptions have each filter.
    counts: HashMap<Filter, usize>,
}

impl Awaited {
    fn add(&self, filter: &Filter) {
        let mut filters = self.write();
        match filters.counts.entry(filter.clone()) {
            Entry::Occupied(mut count) => *count.get_mut() += 1,
            Entry::Vacant(count) => {
                count.insert(1);
                filters.routes.insert(filter, ());
            }
        }
        self.is_any.store(true, Ordering::SeqCst);
    }

    fn remove(&self, filter: &Filter) {
        let mut filters = self.write();
        let Entry::Occupied(mut count) = filters.counts.entry(filter.clone()) else { return };
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
            filters.routes.remove(filter, &());
        }
        self.is_any.store(!filters.counts.is_empty(), Ordering::SeqCst);
    }

    fn matches(&self, topic: &Topic) -> bool {
        if !self.is_any.load(Ordering::SeqCst) {
            return false;
        }
        let mut matches = false;
        let filters = self.filters.read().unwrap_or_else(PoisonError::into_inner);
        filters.routes.matching(topic, |()| matches = true);
        matches
    }

    fn write(&self) -> RwLockWriteGuard<'_, Filters> {
        self.filters.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// From now on [`Engine::is_awaited`] holds for what `filter` matches, until [`Engine::forget_events`] was
    /// called as often as this with the same filter.
    pub fn await_events(&self, filter: &Filter) {
        self.core().awaited.add(filter);
    }

    /// Takes one [`Engine::await_events`] back; nothing if there is none.
    pub fn forget_events(&self, filter: &Filter) {
        self.core().awaited.remove(filter);
    }

    /// Whether a durable subscription waits for events on `topic`. Such an event is submitted as a write of
    /// [`Verb::Publish`](crate::Verb::Publish) by whoever wants it to arrive.
    pub fn is_awaited(&self, topic: &Topic) -> bool {
        self.core().awaited.matches(topic)
    }
}

impl Shard {
    /// As [`Engine::await_events`].
    pub fn await_events(&self, filter: &Filter) {
        self.inner().core.awaited.add(filter);
    }

    /// As [`Engine::forget_events`].
    pub fn forget_events(&self, filter: &Filter) {
        self.inner().core.awaited.remove(filter);
    }

    /// As [`Engine::is_awaited`].
    pub fn is_awaited(&self, topic: &Topic) -> bool {
        self.inner().core.awaited.matches(topic)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;

    #[test]
    fn a_filter_is_awaited_as_long_as_anybody_awaits_it() {
        let awaited = Awaited::default();
        let (wide, narrow) = (Filter::new("a/#").unwrap(), Filter::new("a/b").unwrap());
        let (here, there) = (Topic::new("a/b").unwrap(), Topic::new("a/c").unwrap());
        let matches = || (awaited.matches(&here), awaited.matches(&there));
        assert_eq!(matches(), (false, false));
        awaited.remove(&wide);
        awaited.add(&narrow);
        assert_eq!(matches(), (true, false));
        awaited.add(&wide);
        awaited.add(&wide);
        awaited.remove(&narrow);
        assert_eq!(matches(), (true, true));
        awaited.remove(&wide);
        assert_eq!(matches(), (true, true), "once more than taken back");
        awaited.remove(&wide);
        assert_eq!(matches(), (false, false));
        assert!(!awaited.is_any.load(Ordering::SeqCst));
    }
}
