//! A shard: everything that belongs to one thread of connections.
//!
//! Connections never move between threads, so what a shard holds needs no lock: its part of the
//! routes, its feeds, the ring of entries they point to, and the writes that wait for an answer.
//! One local task, the dispatcher, takes what other threads left in the mailbox.

mod dispatch;
mod ready;
mod subscriber;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dovetail_auth::{Authorized, Policy, Principal};
use dovetail_model::{Event, Revision, UnixMillis};
use slab::Slab;

use crate::Core;
use crate::entry::Entry;
use crate::mailbox::{Mailbox, Reply, ReplySlot};
use crate::outcome::{Committed, WriteError};
use crate::request::{Publish, Read, Write};
use crate::view::View;

use dispatch::{Dispatcher, Dispatching};
pub(crate) use subscriber::is_too_old;
pub use subscriber::{FeedId, Subscriber};

/// A thread's handle to the engine. Cheap to clone; not `Send`.
///
/// Made with [`crate::Engine::shard`] inside a [`tokio::task::LocalSet`] of a current-thread
/// runtime. The shard lives until the last clone, ticket and subscriber of it are dropped.
#[derive(Clone)]
pub struct Shard(Rc<Inner>);

pub(crate) struct Inner {
    pub(crate) core: Arc<Core>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) dispatching: RefCell<Dispatching>,
    tickets: RefCell<Slab<Slot>>,
}

/// A write that waits for its answer.
enum Slot {
    Waiting(Option<Waker>),
    Answered(Reply),
    /// Nobody wants the answer any more.
    Abandoned,
}

/// The answer to a write, to come. Dropping it does not undo the write.
///
/// Answers of one shard come in the order in which the writes were submitted.
#[must_use = "a write is done when its ticket says so"]
pub struct Ticket {
    shard: Shard,
    state: TicketState,
}

enum TicketState {
    Refused(Option<WriteError>),
    Slot(usize),
    Done,
}

impl Shard {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        core.shards.add(Arc::clone(&mailbox));
        let dispatching = RefCell::new(Dispatching::new(&core));
        let inner = Rc::new(Inner { core, mailbox, dispatching, tickets: RefCell::default() });
        tokio::task::spawn_local(Dispatcher::new(Rc::downgrade(&inner)));
        Self(inner)
    }

    /// The rules in force.
    pub fn policy(&self) -> &Policy {
        &self.0.core.policy
    }

    /// The head: the revision of the newest commit that everybody can see.
    pub fn head(&self) -> Revision {
        self.0.core.published.head()
    }

    /// The time, as everything in the engine sees it.
    pub fn now(&self) -> UnixMillis {
        self.0.core.clock.now()
    }

    /// The engine that the shard belongs to.
    pub fn engine(&self) -> crate::Engine {
        crate::Engine::from_core(Arc::clone(&self.0.core))
    }

    /// Submits a write. It is queued when this returns; several may be submitted before the first
    /// answer, and are done in this order.
    pub fn submit(&self, write: Authorized<Write>) -> Ticket {
        let slot = self.0.tickets.borrow_mut().insert(Slot::Waiting(None));
        let reply = crate::admit::ReplyTo { mailbox: Arc::clone(&self.0.mailbox), slot: ReplySlot(slot) };
        let state = match self.0.core.queue.push(write, reply) {
            Ok(()) => TicketState::Slot(slot),
            Err(refusal) => {
                self.0.tickets.borrow_mut().remove(slot);
                self.0.core.counters.refused();
                TicketState::Refused(Some(refusal))
            }
        };
        Ticket { shard: self.clone(), state }
    }

    /// Sends an event to everybody who is subscribed now. Completes when every shard has taken it;
    /// it waits while subscribers are far behind, at most about a second on their account until all
    /// have recovered.
    ///
    /// An event is delivered after everything that was committed when this was called. A publisher
    /// that wants it after its own writes waits for their tickets first.
    pub async fn publish(&self, publish: Authorized<Publish>) {
        let Err(publish) = self.try_publish(publish) else { return };
        let entry = self.event(publish.into_parts().1);
        let mut shards = Vec::new();
        self.0.core.shards.for_each(|mailbox| {
            if mailbox.wants_commits() {
                shards.push(Arc::clone(mailbox));
            }
        });
        let limit = self.0.core.options.event_inbox_bytes;
        poll_fn(|cx| {
            shards.retain(|mailbox| !mailbox.leave_event(&entry, limit, cx.waker()));
            if shards.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Like [`Shard::publish`], when it need not wait; else gives the event back.
    ///
    /// # Errors
    /// The event, when some shard has no room: publish it with [`Shard::publish`].
    pub fn try_publish(&self, publish: Authorized<Publish>) -> Result<(), Authorized<Publish>> {
        let limit = self.0.core.options.event_inbox_bytes;
        let mut has_room = true;
        self.0.core.shards.for_each(|mailbox| {
            has_room &= !mailbox.wants_commits() || mailbox.has_room(limit);
        });
        if !has_room {
            return Err(publish);
        }
        let entry = self.event(publish.into_parts().1);
        let mut is_for_own = false;
        self.0.core.shards.for_each(|mailbox| {
            if Arc::ptr_eq(mailbox, &self.0.mailbox) {
                is_for_own = mailbox.wants_commits();
            } else if mailbox.wants_commits() {
                mailbox.leave_event_now(&entry);
            }
        });
        if is_for_own && !self.0.dispatch_at_once(&entry) {
            self.0.mailbox.leave_event_now(&entry);
        }
        Ok(())
    }

    /// Reads the current state.
    pub fn read(&self, read: Authorized<Read>) -> View {
        View::new(self.policy().clone(), self.0.core.published.epoch(), self.0.core.published.tree(), read)
    }

    /// Waits until the head is at least `revision`, for at most `at_most`. Whether it is.
    pub async fn reached(&self, revision: Revision, at_most: Duration) -> bool {
        let published = &self.0.core.published;
        if revision.epoch != published.epoch() {
            return false;
        }
        tokio::time::timeout(at_most, published.reached(revision.number)).await.is_ok()
    }

    /// A subscriber for a connection of `principal`.
    pub fn subscriber(&self, principal: Principal) -> Subscriber {
        Subscriber::new(self.clone(), principal)
    }

    pub(crate) fn inner(&self) -> &Rc<Inner> {
        &self.0
    }

    fn event(&self, publish: Publish) -> Arc<Entry> {
        let Publish { topic, representation, time_to_live, publisher } = publish;
        let published_at = self.0.core.clock.now();
        let expires_at = time_to_live.map(|life| published_at.saturating_add(life.as_millis() as u64));
        let event = Event { topic, published_at, expires_at, representation };
        self.0.core.counters.event();
        let head = self.head().number;
        Arc::new(Entry::event(head, publisher, event))
    }
}

impl Inner {
    /// Hands an answer to whoever waits for it.
    pub(crate) fn answer(&self, slot: ReplySlot, reply: Reply) {
        let mut tickets = self.tickets.borrow_mut();
        let Some(waiting) = tickets.get_mut(slot.0) else { return };
        match std::mem::replace(waiting, Slot::Answered(reply)) {
            Slot::Waiting(waker) => {
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Slot::Abandoned | Slot::Answered(_) => {
                tickets.remove(slot.0);
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.core.shards.remove(&self.mailbox);
    }
}

impl Future for Ticket {
    type Output = Result<Committed, WriteError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ticket = &mut *self;
        let slot = match &mut ticket.state {
            TicketState::Refused(refusal) => {
                return Poll::Ready(Err(refusal.take().unwrap_or(WriteError::Stopping)));
            }
            TicketState::Slot(slot) => *slot,
            TicketState::Done => return Poll::Ready(Err(WriteError::Stopping)),
        };
        let mut tickets = ticket.shard.0.tickets.borrow_mut();
        if let Some(Slot::Waiting(waker)) = tickets.get_mut(slot) {
            match waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => *waker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        let answered = tickets.try_remove(slot);
        drop(tickets);
        ticket.state = TicketState::Done;
        match answered {
            Some(Slot::Answered(reply)) => Poll::Ready(reply),
            _ => Poll::Ready(Err(WriteError::Stopping)),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let TicketState::Slot(slot) = self.state {
            let mut tickets = self.shard.0.tickets.borrow_mut();
            if let Some(waiting @ Slot::Waiting(_)) = tickets.get_mut(slot) {
                *waiting = Slot::Abandoned;
            } else {
                tickets.try_remove(slot);
            }
        }
    }
}
