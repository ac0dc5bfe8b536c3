//! Which feeds have something to say, by subscriber.

use std::task::{Context, Waker};

use slab::Slab;

use crate::feed::Feed;
use crate::short::Short;

/// The subscribers of a shard, each with its feeds that have something to say.
#[derive(Debug, Default)]
pub(crate) struct Subscribers {
    lists: Slab<List>,
    /// How many feeds stand in all lists.
    ready: usize,
}

/// What one subscriber has ready.
#[derive(Debug, Default)]
struct List {
    feeds: Short<u32>,
    /// Who reads them. Kept from one wake-up to the next.
    waker: Option<Waker>,
    /// Whether it waits to be woken.
    is_waiting: bool,
}

impl Subscribers {
    /// A new subscriber's key.
    pub(crate) fn add(&mut self) -> usize {
        self.lists.insert(List::default())
    }

    /// A subscriber without feeds is gone.
    pub(crate) fn remove(&mut self, subscriber: usize) {
        self.lists.remove(subscriber);
    }

    /// Whether no feed has anything to say, but for those that wait for history.
    pub(crate) fn are_silent(&self) -> bool {
        self.ready == 0
    }

    /// Puts a feed on its subscriber's list unless it stands there, and wakes the subscriber.
    #[inline]
    pub(crate) fn put(&mut self, key: u32, feed: &mut Feed) {
        if std::mem::replace(&mut feed.is_ready, true) {
            return;
        }
        self.ready += 1;
        if let Some(list) = self.lists.get_mut(feed.subscriber) {
            list.feeds.push_back(key);
            if std::mem::take(&mut list.is_waiting)
                && let Some(waker) = &list.waker
            {
                waker.wake_by_ref();
            }
        }
    }

    /// The feed whose turn it is. Where there is none the subscriber is woken when there is one.
    pub(crate) fn front(&mut self, subscriber: usize, cx: &Context<'_>) -> Option<u32> {
        let list = &mut self.lists[subscriber];
        let key = list.feeds.front().copied();
        if key.is_none() {
            list.is_waiting = true;
            match &mut list.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => list.waker = Some(cx.waker().clone()),
            }
        }
        key
    }

    /// The feed whose turn it was has nothing more to say.
    pub(crate) fn leave(&mut self, feed: &mut Feed) {
        feed.is_ready = false;
        self.ready -= 1;
        self.lists[feed.subscriber].feeds.pop_front();
    }

    /// The feed whose turn it was has more to say, after the others.
    pub(crate) fn step_back(&mut self, subscriber: usize) {
        let feeds = &mut self.lists[subscriber].feeds;
        if let Some(key) = feeds.pop_front() {
            feeds.push_back(key);
        }
    }

    /// A feed is gone.
    pub(crate) fn forget(&mut self, key: u32, feed: &Feed) {
        if feed.is_ready {
            self.ready -= 1;
            if let Some(list) = self.lists.get_mut(feed.subscriber) {
                list.feeds.retain(|other| *other != key);
            }
        }
    }
}
