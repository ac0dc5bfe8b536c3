//! The subscriptions of one connection, and their feeds.

use std::time::Instant;

use dovetail_engine::{Delivery, FeedId, Item, Subscriber};
use dovetail_mqtt_proto::{PropertiesBuf, SubscribeOptions};
use slab::Slab;

use crate::record::Place;
use crate::tracked::Kind;

/// The feeds of one connection.
pub(crate) struct Feeds {
    pub(crate) subscriber: Subscriber,
    pub(crate) subscriptions: Slab<Subscription>,
    /// The subscriptions in the order of their filters, once there are many. A few are looked through, which is as fast
    /// and needs no memory.
    by_filter: Option<Box<ByFilter>>,
    /// An item that is not told to its end, and how many of its parts are.
    pub(crate) stalled: Option<Box<(FeedId, Item, usize)>>,
    /// When tracked subscriptions are next told how far they are.
    pub(crate) next_progress: Option<Instant>,
}

/// How many subscriptions are looked through before there is an index.
const LOOKED_THROUGH: usize = 8;

/// Finds subscriptions among many: a sorted list, which takes a fifth of the memory of a hash map and is short enough.
#[derive(Default)]
struct ByFilter(Vec<u32>);

/// How one subscription is told.
pub(crate) struct Subscription {
    pub(crate) filter: Box<str>,
    /// By which a session's records know it.
    pub(crate) number: u32,
    /// How far it is told, but for an item that stalled.
    pub(crate) place: Place,
    pub(crate) feed: FeedId,
    /// Tells the current state once more, because the client subscribed again.
    pub(crate) refresh: Option<FeedId>,
    pub(crate) options: SubscribeOptions,
    /// The subscription identifier, encoded.
    pub(crate) identifier: PropertiesBuf,
    pub(crate) kind: Kind,
    /// The first baseline is not over: what it tells is marked as retained `[MQTT-3.3.1-8]`.
    pub(crate) is_first_baseline: bool,
    /// Something was told since progress was last due.
    pub(crate) spoke: bool,
}

impl Subscription {
    fn is_told_by(&self, feed: FeedId) -> bool {
        self.feed == feed || self.refresh == Some(feed)
    }

    /// How many changes of an item the client was told before its session was continued.
    pub(crate) fn told_before(&self, feed: FeedId, item: &Item) -> Option<usize> {
        let (rev, changes) = self.place.within.filter(|_| feed == self.feed)?;
        match item {
            Item::Change(delivery) if delivery.rev.number == rev => Some(changes.into()),
            _ => None,
        }
    }
}

impl Feeds {
    pub(crate) fn new(subscriber: Subscriber) -> Self {
        Self { subscriber, subscriptions: Slab::new(), by_filter: None, stalled: None, next_progress: None }
    }

    /// The subscription that a feed belongs to; `None` once it has ended. Its feeds are labelled with where it stands.
    pub(crate) fn index_of(&self, feed: FeedId) -> Option<usize> {
        let at = feed.label() as usize;
        self.subscriptions.get(at).is_some_and(|told| told.is_told_by(feed)).then_some(at)
    }

    /// The subscription with this filter.
    pub(crate) fn find(&self, filter: &str) -> Option<usize> {
        match &self.by_filter {
            Some(sorted) => sorted.find(filter, &self.subscriptions).ok().map(|(_, at)| at),
            None => self.subscriptions.iter().find(|(_, told)| &*told.filter == filter).map(|(at, _)| at),
        }
    }

    /// Where the subscription with this filter stands, or would.
    pub(crate) fn slot_of(&self, filter: &str) -> usize {
        self.find(filter).unwrap_or_else(|| self.subscriptions.vacant_key())
    }

    pub(crate) fn get(&mut self, index: usize) -> Option<&mut Subscription> {
        self.subscriptions.get_mut(index)
    }

    /// The subscriptions that say where they are.
    pub(crate) fn tracked(&self) -> impl Iterator<Item = usize> {
        self.subscriptions.iter().filter(|(_, told)| told.kind != Kind::Plain).map(|(index, _)| index)
    }

    /// A baseline was told to its end. One that was only told again is over.
    pub(crate) fn baseline_told(&mut self, index: usize, feed: FeedId) {
        let Some(told) = self.subscriptions.get_mut(index) else { return };
        if told.refresh == Some(feed) {
            told.refresh = None;
            self.end_feed(feed);
        } else {
            told.is_first_baseline = false;
        }
    }

    /// How far everything is told, by number. A feed that has nothing more to tell has told everything up to now, which a
    /// tracked client would have to be told, and no other.
    pub(crate) fn places(&mut self) -> Vec<(u32, Place)> {
        let Self { subscriber, subscriptions, stalled, .. } = self;
        let mut places: Vec<_> = subscriptions
            .iter_mut()
            .map(|(_, told)| {
                let mut place = told.place;
                place.refresh |= told.refresh.is_some();
                match stalled.as_deref() {
                    Some((feed, item, count)) if *feed == told.feed => {
                        if let (Item::Change(delivery), 1..) = (item, *count) {
                            place.within = Some((delivery.rev.number, *count as u16));
                        }
                    }
                    _ if told.kind == Kind::Plain && place.told.is_some() => {
                        if let Some(Item::Progress { rev, .. }) = subscriber.progress(told.feed) {
                            place.told = Some(rev.number);
                            told.place.told = place.told;
                        }
                    }
                    _ => {}
                }
                (told.number, place)
            })
            .collect();
        places.sort_unstable_by_key(|(number, _)| *number);
        places
    }

    /// An item of a feed was told to its end.
    pub(crate) fn told(&mut self, index: usize, feed: FeedId, item: &Item) {
        let Some(told) = self.subscriptions.get_mut(index).filter(|told| told.feed == feed) else { return };
        match item {
            Item::Change(Delivery { rev, .. }) | Item::BaselineEnd(rev) | Item::Progress { rev, .. } => {
                told.place = Place::up_to(rev.number);
            }
            Item::BaselineBegin(rev) => told.place = Place::with_state(rev.number, told.kind),
            Item::Reset { .. } | Item::Resource(_) | Item::End(_) => {}
        }
    }

    /// Whether the feed only tells the state again.
    pub(crate) fn is_refresh(&self, index: usize, feed: FeedId) -> bool {
        self.subscriptions.get(index).is_some_and(|told| told.refresh == Some(feed))
    }

    pub(crate) fn end_feed(&mut self, feed: FeedId) {
        self.subscriber.unsubscribe(feed);
        self.stalled = self.stalled.take().filter(|stalled| stalled.0 != feed);
    }

    /// Puts a subscription in its [slot](Self::slot_of), in place of one with the same filter, and says where that is.
    pub(crate) fn put(&mut self, told: Subscription) -> usize {
        if let Some(at) = self.find(&told.filter) {
            let replaced = std::mem::replace(&mut self.subscriptions[at], told);
            self.end_feeds(&replaced);
            return at;
        }
        if self.subscriptions.capacity() == 0 {
            // Most connections have one subscription for all their life.
            self.subscriptions.reserve_exact(1);
        }
        let at = self.subscriptions.insert(told);
        if let Some(sorted) = &mut self.by_filter {
            sorted.add(at, &self.subscriptions);
        } else if self.subscriptions.len() > LOOKED_THROUGH {
            let mut sorted = Box::<ByFilter>::default();
            self.subscriptions.iter().for_each(|(at, _)| sorted.add(at, &self.subscriptions));
            self.by_filter = Some(sorted);
        }
        at
    }

    /// Tells the state of a subscription once more by another feed, which replaces one that does so already.
    pub(crate) fn refresh(&mut self, at: usize, feed: FeedId) {
        let Some(told) = self.subscriptions.get_mut(at) else { return };
        let replaced = told.refresh.replace(feed);
        if let Some(replaced) = replaced {
            self.end_feed(replaced);
        }
    }

    pub(crate) fn remove(&mut self, filter: &str) -> bool {
        let Some(at) = self.find(filter) else { return false };
        if let Some(sorted) = &mut self.by_filter {
            sorted.remove(filter, &self.subscriptions);
        }
        let told = self.subscriptions.remove(at);
        self.end_feeds(&told);
        true
    }

    fn end_feeds(&mut self, told: &Subscription) {
        self.end_feed(told.feed);
        if let Some(refresh) = told.refresh {
            self.end_feed(refresh);
        }
    }
}

impl ByFilter {
    /// The place in the list, and the subscription, of a filter; else where it would stand in the list.
    fn find(&self, filter: &str, all: &Slab<Subscription>) -> Result<(usize, usize), usize> {
        let name_of = |at: &u32| all.get(*at as usize).map_or("", |told| &*told.filter);
        let found = self.0.binary_search_by(|at| name_of(at).cmp(filter));
        found.map(|place| (place, self.0[place] as usize))
    }

    fn add(&mut self, at: usize, all: &Slab<Subscription>) {
        let Some(told) = all.get(at) else { return };
        if let Err(place) = self.find(&told.filter, all) {
            self.0.insert(place, at as u32);
        }
    }

    fn remove(&mut self, filter: &str, all: &Slab<Subscription>) {
        if let Ok((place, _)) = self.find(filter, all) {
            self.0.remove(place);
        }
    }
}
