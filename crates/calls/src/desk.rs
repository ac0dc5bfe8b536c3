//! Where calls are taken in.

use std::rc::Rc;
use std::sync::Arc;

use dovetail_api::batch::{self, Operation as Op};
use dovetail_api::calls::{Call, List, Since, Watch};
use dovetail_auth::{Authorized, Principal, Request};
use dovetail_engine::{Events, Mode, Operation, Publish, Read, Shard, Start, Subscribe, Verb, Write};
use dovetail_model::{Representation, Topic, limits};
use smallvec::SmallVec;

use crate::pages::{Page, Pages};
use crate::refusal::Refusal;
use crate::task::{Asked, Task};
use crate::write;

/// What may be set of calls.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of one payload.
    pub payload_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { payload_bytes: limits::PAYLOAD_BYTES }
    }
}

/// Where the connections of one shard have their calls done. Cheap to clone; not `Send`.
#[derive(Clone)]
pub struct Desk(Rc<Inner>);

struct Inner {
    shard: Shard,
    pages: Arc<Pages>,
    settings: Settings,
}

impl Desk {
    /// The desk of `shard`. `pages` is shared by the desks of all shards.
    pub fn new(shard: Shard, pages: Arc<Pages>, settings: Settings) -> Self {
        Self(Rc::new(Inner { shard, pages, settings }))
    }

    /// The engine's handle of the shard.
    pub fn shard(&self) -> &Shard {
        &self.0.shard
    }

    /// What a watch asks of the engine. Who wants every entry would rather lose the feed than an event without knowing
    /// it, so events end such a feed when they overflow, and are dropped from others.
    ///
    /// # Errors
    /// 403 when the policy refuses.
    pub fn watch(&self, principal: &Principal, watch: Watch) -> Result<Authorized<Subscribe>, Refusal> {
        let (mode, overflow) =
            if watch.every { (Mode::Every, Events::End) } else { (Mode::Latest, Events::Drop) };
        let start = match watch.since {
            Since::Baseline => Start::Baseline,
            Since::Now => Start::Now,
            Since::After(revision) => Start::After(revision),
        };
        let events = if watch.events { overflow } else { Events::Ignore };
        self.authorize(principal, Subscribe { filter: watch.filter, start, mode, events, no_local: None })
    }

    pub(crate) fn pages(&self) -> &Pages {
        &self.0.pages
    }

    /// Checks a call and begins what can be begun at once. Writes are in the engine's queue when this returns.
    pub(crate) fn take(&self, principal: &Principal, call: Call) -> Result<Task, Refusal> {
        match call {
            Call::Get { path } => {
                let read = self.authorize(principal, Read::Resource(path))?;
                Ok(Task::Get(Box::new(read)))
            }
            Call::List(List { filter, limit, after }) => {
                let page = match after.as_deref().map(str::parse::<Page>) {
                    None => None,
                    Some(Ok(page)) => Some(page),
                    Some(Err(_)) => {
                        return Err(Refusal::invalid_revision("`after` is not one that this server gave"));
                    }
                };
                let read = self.authorize(principal, Read::Select(filter))?;
                Ok(Task::List(Box::new((read, page, limit))))
            }
            Call::Write { write, idempotency_key } => {
                let word = write::word(&write.operation);
                self.submit(principal, word, vec![*write], idempotency_key, Asked::One)
            }
            Call::Batch { writes, idempotency_key } => {
                let said = |write: &batch::Write| (write::word(&write.operation), write.path.clone());
                let asked = Asked::Batch(writes.iter().map(said).collect());
                self.submit(principal, "batch", writes, idempotency_key, asked)
            }
            Call::Publish { path, representation, ttl_s } => {
                self.publish(principal, path, representation, ttl_s)
            }
        }
    }

    fn submit(
        &self,
        principal: &Principal,
        method: &str,
        writes: Vec<batch::Write>,
        idempotency_key: Option<Box<str>>,
        asked: Asked,
    ) -> Result<Task, Refusal> {
        let is_batch = matches!(asked, Asked::Batch(_));
        for (index, write) in writes.iter().enumerate() {
            let (Op::Put(contents) | Op::Patch(contents)) = &write.operation else { continue };
            write::check(contents, self.0.settings.payload_bytes)
                .map_err(|refusal| if is_batch { refusal.about(index) } else { refusal })?;
        }
        let idempotency_key = match idempotency_key {
            None => None,
            Some(key) => Some(write::idempotency_key(&key, write::fingerprint(method, &writes))?),
        };
        let operations = if is_batch {
            write::operations(writes)?
        } else {
            writes.into_iter().map(write::operation).collect::<Result<_, _>>()?
        };
        let write = Write { operations, records: Vec::new(), idempotency_key, publisher: None };
        let ticket = self.0.shard.submit(self.authorize(principal, write)?);
        Ok(Task::Write(ticket, asked))
    }

    fn publish(
        &self,
        principal: &Principal,
        topic: Topic,
        representation: Representation,
        ttl_s: Option<u64>,
    ) -> Result<Task, Refusal> {
        write::check(&representation, self.0.settings.payload_bytes)?;
        let time_to_live = write::time_to_live(ttl_s)?;
        if !self.0.shard.is_awaited(&topic) {
            let publish = Publish { topic, representation, time_to_live, publisher: None };
            return Ok(Task::Event(Box::new(self.authorize(principal, publish)?)));
        }
        // Some MQTT session that may be away waits for it: it is kept in the journal until that has it.
        let verb = Verb::Publish { representation, time_to_live };
        let operation = Operation { topic, verb, precondition: dovetail_engine::Precondition::None };
        let operations = SmallVec::from_buf([operation]);
        let write = Write { operations, records: Vec::new(), idempotency_key: None, publisher: None };
        let ticket = self.0.shard.submit(self.authorize(principal, write)?);
        Ok(Task::Write(ticket, Asked::Event))
    }

    fn authorize<T: Request>(&self, principal: &Principal, ask: T) -> Result<Authorized<T>, Refusal> {
        Ok(self.0.shard.policy().authorize(principal, ask)?)
    }
}
