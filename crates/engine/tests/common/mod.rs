//! A real engine over the memory journal, and a reader of feeds that checks every rule.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use dovetail_auth::{Policy, Principal};
use dovetail_engine::{
    Clock, Committed, Engine, Events, FeedId, Item, Mode, Operation, Options, Precondition, Publish, Read,
    Recovery, ResetReason, Running, Shard, Start, Subscribe, Subscriber, Verb, View, Write, WriteError,
};
use dovetail_journal::Journal;
use dovetail_journal::memory::{MemoryControl, MemoryJournal, MemoryOptions};
use dovetail_model::{Change, Filter, Representation, Revision, Topic};

pub const NOON: u64 = 1_800_000_000_000;

/// An engine in a test.
pub struct World {
    pub engine: Engine,
    pub shard: Shard,
    pub journal: MemoryControl,
    pub hand: Arc<AtomicU64>,
    pub running: Running,
}

/// Runs `script` with a fresh engine on a runtime like a shard's.
pub fn with_engine<F: Future<Output = ()>>(
    options: Options,
    journal: MemoryOptions,
    script: impl FnOnce(World) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let journal = MemoryJournal::new(journal).unwrap();
        let control = journal.control();
        let (clock, hand) = Clock::manual(NOON);
        let recovered = Recovery::new().finish().unwrap();
        let journal = Journal::from(journal);
        let (engine, running) =
            Engine::start(journal, recovered, Policy::loopback(), clock, options).unwrap();
        let shard = engine.shard();
        script(World { engine, shard, journal: control, hand, running }).await;
    });
}

pub fn who() -> Principal {
    Principal::anonymous(IpAddr::from([127, 0, 0, 1]))
}

pub fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

pub fn put(value: &str) -> Verb {
    Verb::Put {
        representation: Representation::copied(value.as_bytes(), Some("text/plain".into())),
        time_to_live: None,
    }
}

/// An event that is kept in the journal.
pub fn publish_durably(value: &str, time_to_live: Option<Duration>) -> Verb {
    Verb::Publish { representation: Representation::copied(value.as_bytes(), None), time_to_live }
}

impl World {
    pub async fn write(&self, write: Write) -> Result<Committed, WriteError> {
        self.shard.submit(self.shard.policy().authorize(&who(), write).unwrap()).await
    }

    pub async fn put(&self, name: &str, value: &str) -> Revision {
        self.write(Write::one(topic(name), put(value))).await.unwrap().revision
    }

    pub async fn put_if(
        &self,
        name: &str,
        value: &str,
        precondition: Precondition,
    ) -> Result<Committed, WriteError> {
        let operation = Operation { topic: topic(name), verb: put(value), precondition };
        self.write(Write {
            operations: [operation].into_iter().collect(),
            records: Vec::new(),
            idempotency_key: None,
            publisher: None,
        })
        .await
    }

    pub async fn delete(&self, name: &str) -> Committed {
        self.write(Write::one(topic(name), Verb::DELETE)).await.unwrap()
    }

    pub async fn batch(&self, operations: Vec<(&str, Verb)>) -> Result<Committed, WriteError> {
        let operations = operations
            .into_iter()
            .map(|(name, verb)| Operation { topic: topic(name), verb, precondition: Precondition::None })
            .collect();
        self.write(Write { operations, records: Vec::new(), idempotency_key: None, publisher: None }).await
    }

    pub async fn publish(&self, name: &str, value: &str) {
        let publish = Publish {
            topic: topic(name),
            representation: Representation::copied(value.as_bytes(), None),
            time_to_live: None,
            publisher: None,
        };
        self.shard.publish(self.shard.policy().authorize(&who(), publish).unwrap()).await;
    }

    pub fn view(&self, filter: &str) -> View {
        let read = Read::Select(Filter::new(filter).unwrap());
        self.shard.read(self.shard.policy().authorize(&who(), read).unwrap())
    }

    pub fn state(&self, filter: &str) -> BTreeMap<String, String> {
        self.view(filter)
            .select(None)
            .map(|resource| (resource.topic.to_string(), text(&resource.representation.payload)))
            .collect()
    }

    pub fn subscriber(&self) -> Subscriber {
        self.shard.subscriber(who())
    }

    pub fn subscribe(&self, subscriber: &mut Subscriber, filter: &str, start: Start, mode: Mode) -> FeedId {
        self.subscribe_with(subscriber, filter, start, mode, Events::Drop)
    }

    pub fn subscribe_with(
        &self,
        subscriber: &mut Subscriber,
        filter: &str,
        start: Start,
        mode: Mode,
        events: Events,
    ) -> FeedId {
        let subscribe =
            Subscribe { filter: Filter::new(filter).unwrap(), start, mode, events, no_local: None };
        subscriber.subscribe(self.shard.policy().authorize(&who(), subscribe).unwrap())
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The next item, which must come.
pub async fn next(subscriber: &mut Subscriber) -> Item {
    tokio::time::timeout(Duration::from_secs(10), subscriber.next()).await.expect("a feed fell silent").1
}

/// What a subscriber holds, kept by the rules of a feed and by nothing else.
#[derive(Debug, Default, Clone)]
pub struct Copy {
    pub position: Option<Revision>,
    pub state: BTreeMap<String, String>,
    pub events: Vec<String>,
    pub resets: Vec<ResetReason>,
    pub revisions: Vec<u64>,
    pub baseline: Option<(Revision, BTreeMap<String, String>)>,
}

impl Copy {
    /// Takes an item in, and checks what can be checked without the server.
    pub fn take(&mut self, item: &Item) {
        match item {
            Item::BaselineBegin(at) => self.baseline = Some((*at, BTreeMap::new())),
            Item::Resource(resource) => {
                let (at, state) = self.baseline.as_mut().expect("a resource outside of a baseline");
                assert!(resource.revision <= at.number, "a baseline holds nothing newer than it says");
                state.insert(resource.topic.to_string(), text(&resource.representation.payload));
            }
            Item::BaselineEnd(at) => {
                let (began_at, state) = self.baseline.take().expect("the end of no baseline");
                assert_eq!(began_at, *at);
                (self.state, self.position) = (state, Some(*at));
            }
            Item::Change(delivery) => {
                assert!(self.baseline.is_none(), "a change within a baseline");
                assert_eq!(Some(delivery.after), self.position, "the chain is broken");
                for change in delivery.changes() {
                    self.apply(change, delivery.rev.number);
                }
                if delivery.rev != delivery.after {
                    assert!(delivery.rev.number > delivery.after.number);
                    self.revisions.push(delivery.rev.number);
                }
                self.position = Some(delivery.rev);
            }
            Item::Progress { after, rev } => {
                assert_eq!(Some(*after), self.position, "the chain is broken");
                assert!(rev.number >= after.number);
                self.position = Some(*rev);
            }
            Item::Reset { reason, .. } => {
                self.resets.push(*reason);
                self.position = None;
            }
            Item::End(reason) => panic!("the feed ended: {reason:?}"),
        }
    }

    fn apply(&mut self, change: &Change, rev: u64) {
        match change {
            Change::Put(resource) => {
                assert_eq!(resource.revision, rev, "a change says the revision that it was made at");
                self.state.insert(resource.topic.to_string(), text(&resource.representation.payload));
            }
            Change::Delete(tombstone) => {
                assert_eq!(tombstone.revision, rev);
                self.state.remove(tombstone.topic.as_str());
            }
            Change::Event(event) => self.events.push(text(&event.representation.payload)),
        }
    }

    /// Reads until everything up to `head` was told.
    pub async fn read_to(&mut self, subscriber: &mut Subscriber, id: FeedId, head: Revision) {
        while self.position.is_none_or(|position| position.number < head.number) {
            if let Some(item) = subscriber.progress(id) {
                self.take(&item);
                if self.position == Some(head) {
                    break;
                }
            }
            let item = tokio::select! {
                (_, item) = subscriber.next() => item,
                () = tokio::task::yield_now() => continue,
            };
            self.take(&item);
        }
    }
}
