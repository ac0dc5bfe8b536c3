//! What a shard does with what others left for it: entries to feeds, answers to tickets.
//!
//! Order matters twice. Entries come before answers, so that who reads its answer finds that its
//! own subscription was told first. And an event comes after every commit that its publisher could
//! have seen: the shard reads the commits *before* it takes the events, and an event carries the
//! head of its moment. A commit that a publisher made after its event was not in the window yet
//! when the event was left, so it cannot overtake it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Weak;
use std::sync::Arc;
use std::task::{Context, Poll};

use dovetail_routes::Routes;
use slab::Slab;
use tokio::time::Sleep;

use super::Inner;
use super::ready::Subscribers;
use super::subscriber::FeedId;
use crate::Core;
use crate::counters::Counters;
use crate::entry::Entry;
use crate::fanout::ReadOn;
use crate::feed::{Feed, Told};
use crate::history::Waiters;
use crate::mailbox::{Reply, ReplySlot};
use crate::ring::Ring;

/// What the dispatcher and the subscribers of a shard share.
pub(crate) struct Dispatching {
    pub(crate) routes: Routes<u32>,
    pub(crate) feeds: Slab<Feed>,
    pub(crate) subscribers: Subscribers,
    pub(crate) ring: Ring,
    /// How many entries were dispatched; a feed knows the last one that it was told of by this.
    entries: u64,
    /// Commits up to here went to the feeds.
    pub(crate) dispatched: u64,
    /// Feeds whose subscriber is far behind with live entries.
    pub(crate) congested: usize,
    pub(crate) catching_up: CatchingUp,
    pub(crate) next_serial: u64,
    /// Feeds that wait for history.
    pub(crate) waiters: Waiters<FeedId>,
}

/// Feeds that are told what they missed, for metrics.
#[derive(Debug, Default)]
pub(crate) struct CatchingUp {
    now: u64,
    /// How often that began.
    begun: u64,
    /// What of both the counters know.
    counted: (u64, u64),
}

/// The local task that takes from the mailbox.
pub(crate) struct Dispatcher {
    shard: Weak<Inner>,
    commits: VecDeque<Arc<Entry>>,
    events: VecDeque<Arc<Entry>>,
    replies: Vec<(ReplySlot, Reply)>,
    patience: Patience,
}

/// How the dispatcher stands to subscribers that do not keep up with events.
enum Patience {
    /// All keep up.
    Untried,
    /// Publishers wait until then.
    Waiting(Pin<Box<Sleep>>),
    /// Publishers go on, what overflows is lost, until all keep up again.
    Over,
}

impl Dispatching {
    pub(crate) fn new(core: &Core) -> Self {
        Self {
            routes: Routes::new(),
            feeds: Slab::new(),
            subscribers: Subscribers::default(),
            ring: Ring::new(0, core.options.ring_bytes),
            entries: 0,
            dispatched: 0,
            congested: 0,
            catching_up: CatchingUp::default(),
            next_serial: 0,
            waiters: Waiters::default(),
        }
    }

    /// Whether the shard takes part in fan-out.
    pub(crate) fn is_active(&self) -> bool {
        !self.feeds.is_empty()
    }

    /// Tells `entry` to every live feed that matches.
    fn dispatch(&mut self, entry: &Arc<Entry>, lost: &mut u64) {
        let all_is_told = self.all_is_told();
        let Self { routes, feeds, subscribers, ring, entries, dispatched, congested, catching_up, .. } = self;
        *entries += 1;
        let serial = *entries;
        if !entry.is_event {
            *dispatched = entry.number;
        }
        if entry.is_internal {
            // Nor does it take a place: sessions that come back together would fill the ring, and whoever joins looks at
            // everything in it.
            return;
        }
        if all_is_told {
            ring.forget_told_events();
        }
        let place = ring.push(Arc::clone(entry));
        for change in entry.changes() {
            routes.matching(change.topic(), |key| {
                let Some(feed) = feeds.get_mut(*key as usize) else { return };
                if is_own(feed, entry) || !feed.is_new(serial) {
                    return;
                }
                match feed.tell(place, entry) {
                    Told::Ready => {
                        subscribers.put(*key, feed);
                        catching_up.look_at(feed);
                        if !feed.is_congested && feed.is_far_behind() {
                            feed.is_congested = true;
                            *congested += 1;
                        }
                    }
                    Told::NotForIt => {}
                    Told::Dropped => *lost += 1,
                }
            });
        }
    }

    /// The shard missed commits up to `head`.
    fn miss(&mut self, head: u64) {
        self.ring.restart_after(head);
        self.dispatched = head;
        for (key, feed) in &mut self.feeds {
            if feed.miss() == Told::Ready {
                self.catching_up.look_at(feed);
                self.subscribers.put(key as u32, feed);
            }
        }
    }

    /// Puts a feed on its subscriber's list, and wakes the subscriber.
    pub(crate) fn make_ready(&mut self, key: u32) {
        if let Some(feed) = self.feeds.get_mut(key as usize) {
            self.subscribers.put(key, feed);
        }
    }

    /// Whether no feed has a place in the ring to tell. One that has either stands in its subscriber's list, or
    /// waits for history that comes before.
    fn all_is_told(&self) -> bool {
        self.subscribers.are_silent() && self.catching_up.now == 0
    }
}

impl Inner {
    /// Dispatches an event on its publisher's turn, if nothing is on its way that goes first: the subscribers of the
    /// same shard are told without a wake-up of the dispatcher. Whether it was dispatched.
    pub(super) fn dispatch_at_once(&self, event: &Arc<Entry>) -> bool {
        if self.mailbox.is_signalled() {
            return false;
        }
        let mut dispatching = self.dispatching.borrow_mut();
        if dispatching.congested > 0 || dispatching.dispatched < event.number {
            return false;
        }
        let mut lost = 0;
        dispatching.dispatch(event, &mut lost);
        dispatching.catching_up.count(&self.core.counters);
        self.core.counters.dropped(lost);
        if dispatching.congested > 0 {
            // The dispatcher has to hold publishers back.
            self.mailbox.signal();
        }
        true
    }
}

impl CatchingUp {
    /// Takes note of whether a feed catches up now; whether that has changed.
    #[inline]
    pub(crate) fn look_at(&mut self, feed: &mut Feed) -> bool {
        let is = feed.is_catching_up();
        if feed.counts_as_behind == is {
            return false;
        }
        feed.counts_as_behind = is;
        if is {
            self.now += 1;
            self.begun += 1;
        } else {
            self.now -= 1;
        }
        true
    }

    /// A feed is gone.
    pub(crate) fn forget(&mut self, feed: &Feed) {
        self.now -= u64::from(feed.counts_as_behind);
    }

    /// Tells the counters what has changed.
    pub(crate) fn count(&mut self, counters: &Counters) {
        let (now, begun) = std::mem::replace(&mut self.counted, (self.now, self.begun));
        if (now, begun) != self.counted {
            counters.catching_up(self.now.wrapping_sub(now), self.begun - begun);
        }
    }
}

fn is_own(feed: &Feed, entry: &Entry) -> bool {
    feed.no_local.is_some() && feed.no_local == entry.publisher
}

impl Dispatcher {
    pub(crate) fn new(shard: Weak<Inner>) -> Self {
        Self {
            shard,
            commits: VecDeque::new(),
            events: VecDeque::new(),
            replies: Vec::new(),
            patience: Patience::Untried,
        }
    }

    fn turn(&mut self, shard: &Inner) {
        let mut dispatching = shard.dispatching.borrow_mut();
        if dispatching.is_active() {
            self.read_commits(&mut dispatching, shard);
        }
        shard.mailbox.take_events(&mut self.events);
        let mut lost = 0;
        for event in self.events.drain(..) {
            if !dispatching.is_active() {
                continue;
            }
            // The window holds every commit that the publisher could have seen.
            if event.number > self.commits.back().map_or(dispatching.dispatched, |last| last.number) {
                let from = self.commits.back().map_or(dispatching.dispatched, |last| last.number);
                let _ = shard.core.tail.read_on(from, event.number, &mut self.commits);
            }
            while let Some(commit) = self.commits.pop_front_if(|commit| commit.number <= event.number) {
                dispatching.dispatch(&commit, &mut lost);
            }
            dispatching.dispatch(&event, &mut lost);
        }
        for commit in self.commits.drain(..) {
            dispatching.dispatch(&commit, &mut lost);
        }
        dispatching.catching_up.count(&shard.core.counters);
        drop(dispatching);
        shard.core.counters.dropped(lost);
        shard.mailbox.take_replies(&mut self.replies);
        for (slot, reply) in self.replies.drain(..) {
            shard.answer(slot, reply);
        }
    }

    fn read_commits(&mut self, dispatching: &mut Dispatching, shard: &Inner) {
        match shard.core.tail.read_on(dispatching.dispatched, u64::MAX, &mut self.commits) {
            ReadOn::UpTo(_) => {}
            ReadOn::FellOut(head) => dispatching.miss(head),
        }
    }

    /// Holds publishers of events back, or not.
    fn mind_congestion(&mut self, shard: &Inner, cx: &mut Context<'_>) {
        let is_congested = shard.dispatching.borrow().congested > 0;
        self.patience = match (is_congested, std::mem::replace(&mut self.patience, Patience::Untried)) {
            (false, _) => Patience::Untried,
            (true, Patience::Untried) => {
                Patience::Waiting(Box::pin(tokio::time::sleep(shard.core.options.event_patience)))
            }
            (true, patience) => patience,
        };
        if let Patience::Waiting(sleep) = &mut self.patience
            && sleep.as_mut().poll(cx).is_ready()
        {
            self.patience = Patience::Over;
        }
        shard.mailbox.hold_events(matches!(self.patience, Patience::Waiting(_)));
    }
}

impl Future for Dispatcher {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let dispatcher = &mut *self;
        // The handle keeps the shard alive; without one there is nobody to dispatch for.
        let Some(shard) = dispatcher.shard.upgrade() else { return Poll::Ready(()) };
        shard.mailbox.begin_look(cx.waker());
        dispatcher.turn(&shard);
        dispatcher.mind_congestion(&shard, cx);
        Poll::Pending
    }
}
