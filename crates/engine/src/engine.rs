//! Starting, stopping and asking after the engine.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use dovetail_auth::Policy;
use dovetail_journal::{Journal, JournalReader};
use dovetail_model::{Revision, UnixMillis, limits};

use crate::admit::Queue;
use crate::apply::Published;
use crate::awaited::Awaited;
use crate::clock::Clock;
use crate::counters::Counters;
use crate::fanout::{Shards, Tail};
use crate::history::Blocks;
use crate::outcome::WriteError;
use crate::owner::Owner;
use crate::recover::Recovered;
use crate::shard::Shard;
use crate::upkeep::Upkeep;

/// What may be set of the engine. The default is [`limits`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of one payload.
    pub payload_bytes: usize,
    /// Bytes of writes that may wait for the journal.
    pub admitted_bytes: usize,
    /// Bytes of events that may wait for one shard.
    pub event_inbox_bytes: usize,
    /// How long publishers of events are held back on account of subscribers that do not keep up.
    pub event_patience: Duration,
    /// Bytes of recent commits that all shards read from.
    pub tail_bytes: usize,
    /// Bytes of recent entries that the live feeds of one shard point to.
    pub ring_bytes: usize,
    /// Bytes that may wait for one live feed.
    pub feed_pending_bytes: usize,
    /// What is remembered.
    pub history: History,
}

/// How long the past is remembered.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// The age up to which journal entries are kept.
    pub age: Duration,
    /// Journal entries that are kept whatever their age.
    pub revisions: u64,
    /// How long deletes are remembered for `latest` catch-up.
    pub tombstone_age: Duration,
}

/// Whether the engine can do its work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Status {
    /// Reads and writes.
    Ready,
    /// Reads only, and why.
    ReadOnly(String),
    /// On its way down.
    Stopping,
}

/// A handle to the engine from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Core>);

/// The engine's own thread. Dropping it leaves the engine running; stop it with
/// [`Running::stop`].
#[derive(Debug)]
#[must_use = "the engine is stopped through this"]
pub struct Running {
    core: Arc<Core>,
    owner: JoinHandle<()>,
}

/// What all threads share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) policy: Policy,
    pub(crate) clock: Clock,
    pub(crate) queue: Queue,
    pub(crate) published: Published,
    pub(crate) tail: Tail,
    pub(crate) shards: Shards,
    pub(crate) history: JournalReader,
    pub(crate) blocks: Blocks,
    pub(crate) awaited: Awaited,
    pub(crate) counters: Counters,
}

impl Engine {
    /// Starts the engine on a journal and the state recovered from it.
    ///
    /// # Errors
    /// When the system gives no thread.
    ///
    /// # Panics
    /// If the state is not that of the journal.
    pub fn start(
        journal: Journal,
        recovered: Recovered,
        policy: Policy,
        clock: Clock,
        options: Options,
    ) -> std::io::Result<(Self, Running)> {
        let head = recovered.tree.revision();
        assert_eq!(head, journal.tail(), "the state is the journal applied");
        let upkeep = Upkeep::new(options.history, head, recovered.last_at);
        let core = Arc::new(Core {
            policy,
            clock,
            queue: Queue::new(options.admitted_bytes),
            published: Published::new(journal.epoch(), recovered.tree.clone()),
            tail: Tail::new(head, options.tail_bytes),
            shards: Shards::default(),
            history: journal.reader(),
            blocks: Blocks::default(),
            awaited: Awaited::default(),
            counters: Counters::default(),
            options,
        });
        let owner = Owner::new(Arc::clone(&core), journal, recovered, upkeep);
        let owner = std::thread::Builder::new().name("owner".to_owned()).spawn(move || {
            // Whoever waits for an answer would wait for ever, and what is in memory cannot be
            // trusted: a crash, which the journal is made for, is the safe end.
            let guard = AbortOnPanic;
            owner.run();
            std::mem::forget(guard);
        })?;
        Ok((Self(Arc::clone(&core)), Running { core, owner }))
    }

    pub(crate) fn from_core(core: Arc<Core>) -> Self {
        Self(core)
    }

    pub(crate) fn core(&self) -> &Core {
        &self.0
    }

    /// A shard for the calling thread, which runs a [`tokio::task::LocalSet`].
    pub fn shard(&self) -> Shard {
        Shard::new(Arc::clone(&self.0))
    }

    /// The head: the revision of the newest commit that everybody can see.
    pub fn head(&self) -> Revision {
        self.0.published.head()
    }

    /// The time, as everything in the engine sees it.
    pub fn now(&self) -> UnixMillis {
        self.0.clock.now()
    }

    /// The oldest position after which every journal entry can still be told.
    pub fn oldest(&self) -> Revision {
        self.0.published.epoch().at(self.0.history.first().saturating_sub(1))
    }

    /// Whether the engine can do its work.
    pub fn status(&self) -> Status {
        match self.0.queue.refusal() {
            None => Status::Ready,
            Some(WriteError::ReadOnly(reason)) => Status::ReadOnly(reason),
            Some(_) => Status::Stopping,
        }
    }

    /// What the engine has done.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Live resources, and the bytes of their payloads.
    pub fn size(&self) -> (usize, u64) {
        let tree = self.0.published.tree();
        (tree.len(), tree.weight())
    }

    /// The options in force.
    pub fn options(&self) -> &Options {
        &self.0.options
    }
}

impl Running {
    /// Refuses new writes, finishes those that wait, and closes the journal. Blocks until it is
    /// closed; call it away from the shards' threads, which take the last answers.
    pub fn stop(self) {
        self.core.queue.stop();
        // The owner aborts the process rather than panic, so there is nothing to report.
        let _ = self.owner.join();
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            payload_bytes: limits::PAYLOAD_BYTES,
            admitted_bytes: limits::ADMITTED_BYTES,
            event_inbox_bytes: limits::EVENT_INBOX_BYTES,
            event_patience: limits::EVENT_PATIENCE,
            tail_bytes: limits::TAIL_BYTES,
            ring_bytes: limits::RING_BYTES,
            feed_pending_bytes: limits::FEED_PENDING_BYTES,
            history: History::default(),
        }
    }
}

impl Default for History {
    fn default() -> Self {
        Self {
            age: limits::HISTORY_AGE,
            revisions: limits::HISTORY_REVISIONS,
            tombstone_age: limits::TOMBSTONE_AGE,
        }
    }
}

struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        std::process::abort();
    }
}
