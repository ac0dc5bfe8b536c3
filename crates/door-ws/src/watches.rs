//! What a connection follows.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use dovetail_api::problem::ProblemType;
use dovetail_api::socket::{self, Id};
use dovetail_auth::Authorized;
use dovetail_calls::{Refusal, frame};
use dovetail_engine::{FeedId, Item, Subscribe, Subscriber};
use dovetail_model::Epoch;
use dovetail_net::{Kind, Messages};

use crate::counters::Counters;

/// The watches of one connection: there is room for it only when there is one.
pub(crate) struct Watches {
    subscriber: Subscriber,
    /// In the order of their feeds, which is that in which they were opened.
    open: Vec<Watch>,
    epoch: Epoch,
    /// No watch has to say something before this.
    progress_due: Instant,
    counters: Arc<Counters>,
}

struct Watch {
    feed: FeedId,
    id: Id,
    last_said: Instant,
}

/// How the telling ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Telling {
    /// There is nothing more to tell now.
    Everything,
    /// There may be more.
    Enough,
}

impl Watches {
    pub(crate) fn new(subscriber: Subscriber, epoch: Epoch, counters: &Arc<Counters>, now: Instant) -> Self {
        let counters = Arc::clone(counters);
        Self { subscriber, open: Vec::new(), epoch, progress_due: now, counters }
    }

    /// Whether a watch may be opened under this id.
    pub(crate) fn has_room(&self, id: &Id, limit: usize) -> Result<(), Refusal> {
        if self.open.len() >= limit {
            let detail = format!("a connection has at most {limit} watches");
            return Err(Refusal::new(ProblemType::TooManyRequests, detail));
        }
        if self.open.iter().any(|watch| watch.id == *id) {
            let detail = format!("there is a watch {} already", id.as_str());
            return Err(Refusal::new(ProblemType::Conflict, detail));
        }
        Ok(())
    }

    pub(crate) fn open(&mut self, id: Id, subscribe: Authorized<Subscribe>, now: Instant) {
        let feed = self.subscriber.subscribe(subscribe);
        self.open.push(Watch { feed, id, last_said: now });
        self.counters.watches.add(1);
    }

    /// Ends a watch. Whether there was one.
    pub(crate) fn close(&mut self, id: &Id) -> bool {
        let Some(at) = self.open.iter().position(|watch| watch.id == *id) else { return false };
        self.remove(at);
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Says what the feeds have to say, until `enough` bytes wait to be written.
    pub(crate) fn tell<S>(
        &mut self,
        messages: &mut Messages<S>,
        cx: &mut Context<'_>,
        now: Instant,
        enough: usize,
    ) -> Telling {
        while messages.unwritten() < enough {
            match self.subscriber.poll_next(cx) {
                Poll::Ready((feed, item)) => self.say(messages, feed, &item, now),
                Poll::Pending => return Telling::Everything,
            }
        }
        Telling::Enough
    }

    fn say<S>(&mut self, messages: &mut Messages<S>, feed: FeedId, item: &Item, now: Instant) {
        let Ok(at) = self.open.binary_search_by_key(&feed, |watch| watch.feed) else { return };
        let watch = &mut self.open[at];
        watch.last_said = now;
        let (id, epoch) = (&watch.id, self.epoch);
        messages.queue_with(Kind::Text, |out| socket::watched(out, id, |out| frame::write(out, item, epoch)));
        self.counters.frames.add(1);
        if matches!(item, Item::End(_)) {
            self.remove(at);
        }
    }

    /// Says of each watch that has long been silent how far it has told everything, and when to ask again.
    pub(crate) fn say_progress<S>(
        &mut self,
        messages: &mut Messages<S>,
        now: Instant,
        every: Duration,
    ) -> Option<Instant> {
        if self.progress_due > now {
            return Some(self.progress_due);
        }
        for at in 0..self.open.len() {
            let watch = &mut self.open[at];
            if watch.last_said + every > now {
                continue;
            }
            // One that is not live yet has something else to say, or waits for history.
            watch.last_said = now;
            let feed = watch.feed;
            if let Some(item) = self.subscriber.progress(feed) {
                self.say(messages, feed, &item, now);
            }
        }
        let next = self.open.iter().map(|watch| watch.last_said + every).min();
        self.progress_due = next.unwrap_or(now);
        next
    }

    fn remove(&mut self, at: usize) {
        let watch = self.open.remove(at);
        self.subscriber.unsubscribe(watch.feed);
        self.counters.watches.sub(1);
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.counters.watches.sub(self.open.len() as u64);
    }
}
