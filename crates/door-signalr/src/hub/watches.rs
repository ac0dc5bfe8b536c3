//! The feeds of a connection, and what they are told as.

use dovetail_engine::{FeedId, Subscriber};

/// A feed that is told to the client.
pub(crate) struct Watch {
    feed: FeedId,
    pub(crate) told: Told,
    /// It said something since progress was last looked at.
    pub(crate) spoke: bool,
}

/// How a feed is told.
pub(crate) enum Told {
    /// As the stream of this invocation.
    Stream(Box<str>),
    /// As calls of the client's method, with this id, as a JSON string.
    Calls(Box<str>),
}

/// The watches of one connection.
#[derive(Default)]
pub(crate) struct Watches {
    /// Made with the first watch.
    pub(crate) subscriber: Option<Subscriber>,
    /// In the order of their feeds, which only grow.
    all: Vec<Watch>,
    /// Where the feed is that spoke last.
    last: usize,
}

impl Watches {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn add(&mut self, feed: FeedId, told: Told) {
        self.all.push(Watch { feed, told, spoke: false });
    }

    pub(crate) fn get(&mut self, feed: FeedId) -> Option<&mut Watch> {
        if self.all.get(self.last).is_none_or(|watch| watch.feed != feed) {
            self.last = self.all.binary_search_by_key(&feed, |watch| watch.feed).ok()?;
        }
        self.all.get_mut(self.last)
    }

    /// The feed that is told as a stream of this invocation.
    pub(crate) fn stream(&self, id: &str) -> Option<FeedId> {
        self.find(|told| matches!(told, Told::Stream(other) if **other == *id))
    }

    /// The feed that is told as calls with this id.
    pub(crate) fn subscription(&self, id: &str) -> Option<FeedId> {
        self.find(|told| matches!(told, Told::Calls(other) if **other == *id))
    }

    fn find(&self, is_it: impl Fn(&Told) -> bool) -> Option<FeedId> {
        self.all.iter().find(|watch| is_it(&watch.told)).map(|watch| watch.feed)
    }

    pub(crate) fn remove(&mut self, feed: FeedId) {
        if let Ok(at) = self.all.binary_search_by_key(&feed, |watch| watch.feed) {
            self.all.remove(at);
        }
        if let Some(subscriber) = &mut self.subscriber {
            subscriber.unsubscribe(feed);
        }
        if self.all.is_empty() {
            self.subscriber = None;
        }
    }

    /// The feeds that have been silent since this was last asked.
    pub(crate) fn silent(&mut self) -> Vec<FeedId> {
        let silent = self.all.iter_mut().filter_map(|watch| {
            let spoke = std::mem::take(&mut watch.spoke);
            (!spoke).then_some(watch.feed)
        });
        silent.collect()
    }
}
