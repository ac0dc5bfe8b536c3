//! Stage 1 of a write: a permit by bytes, and a place in the queue.
//!
//! This is the only hop between threads on the way in. Admission never waits: when too many bytes
//! are waiting for the disk the answer is [`WriteError::Overloaded`], at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use dovetail_auth::Authorized;

use crate::mailbox::{Mailbox, ReplySlot};
use crate::outcome::WriteError;
use crate::request::Write;

/// How long an overloaded client is told to wait: a few groups of commits on a slow disk.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// A write with somewhere to send its answer.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) write: Authorized<Write>,
    pub(crate) reply: ReplyTo,
    pub(crate) weight: usize,
}

/// Where an answer goes: a slot of a shard.
#[derive(Debug)]
pub(crate) struct ReplyTo {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) slot: ReplySlot,
}

/// What waits for the owner of the journal.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    limit_bytes: usize,
    owner: OnceLock<Thread>,
    owner_sleeps: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    submissions: Vec<Submission>,
    /// Bytes of everything admitted and not yet answered.
    bytes: usize,
    refuse: Option<WriteError>,
    stop: bool,
}

/// What the owner finds when it looks.
pub(crate) enum Found {
    /// Writes to do; they were swapped into the owner's buffer.
    Work,
    /// Nothing to do.
    Nothing,
    /// Nothing to do, and nothing will come.
    Stop,
}

impl Queue {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            limit_bytes,
            owner: OnceLock::new(),
            owner_sleeps: AtomicBool::new(false),
        }
    }

    /// Admits a write.
    ///
    /// # Errors
    /// [`WriteError::Overloaded`] when the bytes waiting are at their limit, and whatever
    /// [`Queue::refuse_from_now`] was told.
    pub(crate) fn push(&self, write: Authorized<Write>, reply: ReplyTo) -> Result<(), WriteError> {
        let weight = write.request().weight();
        {
            let mut waiting = self.lock();
            if let Some(refusal) = &waiting.refuse {
                return Err(refusal.clone());
            }
            if waiting.bytes + weight > self.limit_bytes && waiting.bytes > 0 {
                return Err(WriteError::Overloaded { retry_after: RETRY_AFTER });
            }
            waiting.bytes += weight;
            waiting.submissions.push(Submission { write, reply, weight });
        }
        self.wake_owner();
        Ok(())
    }

    /// Swaps everything that waits into `batch`, which is empty.
    pub(crate) fn take(&self, batch: &mut Vec<Submission>) -> Found {
        debug_assert!(batch.is_empty());
        let mut waiting = self.lock();
        if !waiting.submissions.is_empty() {
            std::mem::swap(&mut waiting.submissions, batch);
            return Found::Work;
        }
        if waiting.stop { Found::Stop } else { Found::Nothing }
    }

    /// Gives back the permits of answered writes.
    pub(crate) fn release(&self, bytes: usize) {
        self.lock().bytes -= bytes;
    }

    /// Refuses every later write with `refusal`.
    pub(crate) fn refuse_from_now(&self, refusal: WriteError) {
        self.lock().refuse.get_or_insert(refusal);
    }

    /// What later writes are refused with, if they are.
    pub(crate) fn refusal(&self) -> Option<WriteError> {
        self.lock().refuse.clone()
    }

    /// Refuses later writes; what waits is still done, then the owner finds [`Found::Stop`].
    pub(crate) fn stop(&self) {
        {
            let mut waiting = self.lock();
            waiting.stop = true;
            waiting.refuse.get_or_insert(WriteError::Stopping);
        }
        self.wake_owner();
    }

    /// Puts the calling thread, the owner's, to sleep until there may be something to do.
    pub(crate) fn sleep(&self, at_most: Duration) {
        let _ = self.owner.set(std::thread::current());
        self.owner_sleeps.store(true, Ordering::SeqCst);
        let idle = {
            let waiting = self.lock();
            waiting.submissions.is_empty() && !waiting.stop
        };
        if idle {
            std::thread::park_timeout(at_most);
        }
        self.owner_sleeps.store(false, Ordering::SeqCst);
    }

    /// Lets the owner look again, for work that does not come through the queue.
    pub(crate) fn wake_owner(&self) {
        if self.owner_sleeps.swap(false, Ordering::SeqCst)
            && let Some(owner) = self.owner.get()
        {
            owner.unpark();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // Nothing in here panics between two states that belong together.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
