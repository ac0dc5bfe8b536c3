//! A connection's feeds, as it reads them.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use dovetail_auth::{Authorized, Principal};
use dovetail_tree::Tree;
use smallvec::SmallVec;

use super::dispatch::Dispatching;
use super::{Inner, Shard};
use crate::feed::{Feed, HistoryGap, Plan, Step, World};
use crate::history::Block;
use crate::item::{Item, ResetReason};
use crate::request::{Mode, Start, Subscribe};

/// The feeds of one connection. Not `Send`; dropping it ends them all.
///
/// The subscriber takes items when its client can take them: nothing is made in advance, so one
/// that does not read holds positions, not payloads.
pub struct Subscriber {
    shard: Shard,
    principal: Principal,
    key: usize,
    feeds: SmallVec<[FeedId; 1]>,
}

/// Names a feed of a [`Subscriber`]. Never reused, and above all that were given before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FeedId {
    serial: u64,
    key: u32,
    label: u32,
}

impl FeedId {
    /// What the feed was labelled with ([`Subscriber::subscribe_as`]).
    pub fn label(self) -> u32 {
        self.label
    }
}

impl Subscriber {
    pub(crate) fn new(shard: Shard, principal: Principal) -> Self {
        let key = shard.inner().dispatching.borrow_mut().subscribers.add();
        Self { shard, principal, key, feeds: SmallVec::new() }
    }

    /// Whom the subscriber reads for.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Starts a feed. Its first item is ready at once, except with [`Start::Now`] and
    /// [`Start::After`] the head, where it is an [`Item::Progress`] that says where the feed is.
    pub fn subscribe(&mut self, subscribe: Authorized<Subscribe>) -> FeedId {
        self.subscribe_as(0, subscribe)
    }

    /// Like [`Subscriber::subscribe`], with a number of the door's own, such as the place where it keeps what belongs to
    /// the feed: the id of the feed says it with each item.
    pub fn subscribe_as(&mut self, label: u32, subscribe: Authorized<Subscribe>) -> FeedId {
        let (principal, subscribe) = subscribe.into_parts();
        let inner = Rc::clone(self.shard.inner());
        let mut dispatching = inner.dispatching.borrow_mut();
        if !dispatching.is_active() {
            // First the wish, then the head: see the join in `fanout`.
            inner.mailbox.set_wants_commits(true);
            let head = inner.core.published.head().number;
            dispatching.dispatched = head;
            dispatching.ring.restart_after(head);
        }
        let serial = dispatching.next_serial;
        dispatching.next_serial += 1;
        let filter = subscribe.filter.clone();
        let plan = Plan {
            filter: subscribe.filter,
            principal,
            no_local: subscribe.no_local,
            subscriber: self.key,
            serial,
            label,
            mode: subscribe.mode,
            events: subscribe.events,
            pending_limit: inner.core.options.feed_pending_bytes,
        };
        let feed = open(plan, subscribe.start, &inner, &dispatching);
        let key = dispatching.feeds.insert(feed) as u32;
        dispatching.routes.insert(&filter, key);
        dispatching.make_ready(key);
        inner.core.counters.subscribed();
        let id = FeedId { serial, key, label };
        self.feeds.push(id);
        id
    }

    /// Ends a feed. Nothing more comes of it. False if there is no such feed.
    pub fn unsubscribe(&mut self, id: FeedId) -> bool {
        let Some(at) = self.feeds.iter().position(|other| *other == id) else { return false };
        self.feeds.swap_remove(at);
        let inner = self.shard.inner();
        remove(inner, &mut inner.dispatching.borrow_mut(), id.key);
        true
    }

    /// The next item of any feed. Feeds take turns; the items of one come in order.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(FeedId, Item)> {
        let inner = Rc::clone(self.shard.inner());
        let mut dispatching = inner.dispatching.borrow_mut();
        loop {
            let Some(key) = dispatching.subscribers.front(self.key, cx) else { return Poll::Pending };
            let Dispatching { feeds, ring, dispatched, congested, subscribers, catching_up, waiters, .. } =
                &mut *dispatching;
            let Some(feed) = feeds.get_mut(key as usize) else { continue };
            let id = FeedId { serial: feed.serial, key, label: feed.label };
            let step = with_world(&inner, ring, *dispatched, |world| feed.step(world));
            if catching_up.look_at(feed) {
                catching_up.count(&inner.core.counters);
            }
            if feed.is_congested && feed.has_recovered() {
                feed.is_congested = false;
                *congested -= 1;
                if *congested == 0 {
                    inner.mailbox.signal();
                }
            }
            match step {
                Step::Item(item) => return Poll::Ready((id, item)),
                Step::Lost => inner.core.counters.dropped(1),
                Step::Idle => subscribers.leave(feed),
                Step::Yield => {
                    subscribers.step_back(self.key);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Step::NeedsHistory(after) => {
                    if let Some(block) = inner.core.blocks.find(after) {
                        with_world(&inner, ring, *dispatched, |world| feed.give_history(Ok(block), world));
                        continue;
                    }
                    subscribers.leave(feed);
                    if waiters.wait(after, id) {
                        tokio::task::spawn_local(read_history(Rc::clone(&inner)));
                    }
                }
            }
        }
    }

    /// Like [`Subscriber::poll_next`], as a future.
    pub async fn next(&mut self) -> (FeedId, Item) {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// How far a live feed has told everything, as an [`Item::Progress`]; `None` while there is
    /// something else to say. Doors ask when a feed has long been silent.
    pub fn progress(&mut self, id: FeedId) -> Option<Item> {
        let inner = Rc::clone(self.shard.inner());
        let mut dispatching = inner.dispatching.borrow_mut();
        let Dispatching { feeds, ring, dispatched, .. } = &mut *dispatching;
        let feed = feeds.get_mut(id.key as usize).filter(|feed| feed.serial == id.serial)?;
        with_world(&inner, ring, *dispatched, |world| feed.progress(world))
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let inner = Rc::clone(self.shard.inner());
        let mut dispatching = inner.dispatching.borrow_mut();
        for feed in self.feeds.drain(..) {
            remove(&inner, &mut dispatching, feed.key);
        }
        dispatching.subscribers.remove(self.key);
    }
}

fn open(plan: Plan, start: Start, inner: &Inner, dispatching: &Dispatching) -> Feed {
    with_world(inner, &dispatching.ring, dispatching.dispatched, |world| {
        let tree = (world.tree)();
        let number = match start {
            Start::Baseline => return Feed::with_baseline(plan, &tree, None),
            Start::Now => tree.revision(),
            Start::After(position) => {
                let reset = if position.epoch != world.epoch {
                    Some(ResetReason::OtherEpoch)
                } else if position.number > tree.revision() {
                    Some(ResetReason::InTheFuture)
                } else if is_too_old(position.number, plan.mode, &tree, inner) {
                    Some(ResetReason::TooOld)
                } else {
                    None
                };
                if reset.is_some() {
                    return Feed::with_baseline(plan, &tree, reset);
                }
                position.number
            }
        };
        Feed::continued(plan, number, world)
    })
}

/// Whether what came after `number` cannot be told any more.
pub(crate) fn is_too_old(number: u64, mode: Mode, tree: &Tree, inner: &Inner) -> bool {
    match mode {
        Mode::Latest => number < tree.floor(),
        Mode::Every => number + 1 < inner.core.history.first(),
    }
}

fn with_world<T>(
    inner: &Inner,
    ring: &crate::ring::Ring,
    dispatched: u64,
    act: impl FnOnce(&World<'_>) -> T,
) -> T {
    let core = &inner.core;
    let tree: &dyn Fn() -> Arc<Tree> = &|| core.published.tree();
    let (epoch, policy, clock) = (core.published.epoch(), &core.policy, &core.clock);
    act(&World { epoch, policy, clock, ring, dispatched, tree })
}

fn remove(inner: &Inner, dispatching: &mut Dispatching, key: u32) {
    let Some(feed) = dispatching.feeds.try_remove(key as usize) else { return };
    dispatching.routes.remove(&feed.filter, &key);
    dispatching.subscribers.forget(key, &feed);
    if feed.is_congested {
        dispatching.congested -= 1;
        inner.mailbox.signal();
    }
    inner.core.counters.unsubscribed();
    dispatching.catching_up.forget(&feed);
    dispatching.catching_up.count(&inner.core.counters);
    if !dispatching.is_active() {
        inner.mailbox.set_wants_commits(false);
        dispatching.ring.restart_after(dispatching.dispatched);
    }
}

/// Reads the journal for the feeds that wait, away from the shard's thread, and hands each what was read, until none waits.
async fn read_history(inner: Rc<Inner>) {
    loop {
        let Some((after, bytes)) = inner.dispatching.borrow_mut().waiters.next() else { return };
        let block = match inner.core.blocks.find(after) {
            Some(block) => Ok(block),
            None => read_block(&inner, after, bytes).await,
        };
        let mut dispatching = inner.dispatching.borrow_mut();
        let helped = dispatching.waiters.helped(after, block.as_deref().ok());
        for id in helped {
            let Dispatching { feeds, ring, dispatched, .. } = &mut *dispatching;
            let feed = feeds.get_mut(id.key as usize).filter(|feed| feed.serial == id.serial);
            let Some(feed) = feed else { continue };
            with_world(&inner, ring, *dispatched, |world| feed.give_history(block.clone(), world));
            dispatching.make_ready(id.key);
        }
    }
}

async fn read_block(inner: &Inner, after: u64, bytes: usize) -> Result<Arc<Block>, HistoryGap> {
    let reader = inner.core.history.clone();
    let read = tokio::task::spawn_blocking(move || reader.read(after, bytes)).await;
    match read {
        Ok(Ok(commits)) => {
            let block = Arc::new(Block::new(after, commits));
            inner.core.blocks.keep(&block);
            Ok(block)
        }
        Ok(Err(dovetail_journal::ReadError::Trimmed { .. })) => Err(HistoryGap::Trimmed),
        Ok(Err(error)) => {
            tracing::error!(error = crate::describe(&error), after, "history cannot be read");
            Err(HistoryGap::Failed)
        }
        Err(_) => Err(HistoryGap::Failed),
    }
}
