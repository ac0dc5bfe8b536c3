//! What other threads leave for a shard, with one wake-up for all of it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;

use crate::entry::Entry;
use crate::outcome::{Committed, WriteError};

/// Which waiting write of a shard an answer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReplySlot(pub(crate) usize);

/// The answer to a write.
pub(crate) type Reply = Result<Committed, WriteError>;

/// The mailbox of one shard.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    contents: Mutex<Contents>,
    /// Whether the dispatcher has been woken and has not looked since.
    signalled: AtomicBool,
    dispatcher: AtomicWaker,
    /// Whether the shard has feeds, and so wants to know about commits.
    wants_commits: AtomicBool,
}

#[derive(Debug, Default)]
struct Contents {
    replies: Vec<(ReplySlot, Reply)>,
    events: VecDeque<Arc<Entry>>,
    event_bytes: usize,
    /// Publishers that found the events full.
    held_back: Vec<Waker>,
    /// Subscribers that read cannot keep up: publishers wait.
    hold_events: bool,
}

impl Mailbox {
    /// Leaves answers. The caller signals when it has left everything.
    pub(crate) fn leave_replies(&self, replies: &mut Vec<(ReplySlot, Reply)>) {
        self.lock().replies.append(replies);
    }

    /// Leaves an event unless the events are full; then `waker` is woken when there is room.
    pub(crate) fn leave_event(&self, event: &Arc<Entry>, limit_bytes: usize, waker: &Waker) -> bool {
        {
            let mut contents = self.lock();
            if !contents.has_room(limit_bytes) {
                contents.held_back.push(waker.clone());
                return false;
            }
            contents.push(event);
        }
        self.signal();
        true
    }

    /// Whether [`Mailbox::leave_event`] would take an event.
    pub(crate) fn has_room(&self, limit_bytes: usize) -> bool {
        self.lock().has_room(limit_bytes)
    }

    /// Leaves an event whether or not there is room: for who has asked just before.
    pub(crate) fn leave_event_now(&self, event: &Arc<Entry>) {
        self.lock().push(event);
        self.signal();
    }

    /// Whether publishers are to wait for subscribers.
    pub(crate) fn hold_events(&self, hold: bool) {
        let released = {
            let mut contents = self.lock();
            contents.hold_events = hold;
            if hold { Vec::new() } else { std::mem::take(&mut contents.held_back) }
        };
        released.into_iter().for_each(Waker::wake);
    }

    /// Wakes the dispatcher, once for however many calls until it looks.
    pub(crate) fn signal(&self) {
        if !self.signalled.swap(true, Ordering::SeqCst) {
            self.dispatcher.wake();
        }
    }

    /// Whether something was left that the dispatcher has not begun to take.
    pub(crate) fn is_signalled(&self) -> bool {
        self.signalled.load(Ordering::SeqCst)
    }

    /// The dispatcher is about to look: later signals wake it again.
    pub(crate) fn begin_look(&self, dispatcher: &Waker) {
        self.dispatcher.register(dispatcher);
        self.signalled.store(false, Ordering::SeqCst);
    }

    /// Takes the answers into `replies`, which is empty.
    pub(crate) fn take_replies(&self, replies: &mut Vec<(ReplySlot, Reply)>) {
        std::mem::swap(&mut self.lock().replies, replies);
    }

    /// Takes the events into `events`, which is empty, and lets held-back publishers go on.
    pub(crate) fn take_events(&self, events: &mut VecDeque<Arc<Entry>>) {
        let held_back = {
            let mut contents = self.lock();
            std::mem::swap(&mut contents.events, events);
            contents.event_bytes = 0;
            if contents.hold_events { Vec::new() } else { std::mem::take(&mut contents.held_back) }
        };
        held_back.into_iter().for_each(Waker::wake);
    }

    /// Says whether the shard wants to know about commits. Sequentially consistent: see the join
    /// in [`crate::fanout`].
    pub(crate) fn set_wants_commits(&self, wants: bool) {
        self.wants_commits.store(wants, Ordering::SeqCst);
    }

    pub(crate) fn wants_commits(&self) -> bool {
        self.wants_commits.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn has_room(&self, limit_bytes: usize) -> bool {
        !self.hold_events && self.event_bytes < limit_bytes
    }

    fn push(&mut self, event: &Arc<Entry>) {
        self.event_bytes += event.weight;
        self.events.push_back(Arc::clone(event));
    }
}
