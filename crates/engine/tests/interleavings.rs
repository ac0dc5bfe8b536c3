//! For any interleaving of writes, lags, cuts and resumes the client's copy equals the server's.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{Copy, World, publish_durably, put, topic, with_engine};
use dovetail_engine::{FeedId, Item, Mode, Options, Record, RecordArea, Start, Subscriber, Verb, Write};
use dovetail_journal::memory::MemoryOptions;
use dovetail_model::{Change, Filter};
use proptest::prelude::*;

const NAMES: [&str; 6] = ["a", "a/x", "a/y", "b/x", "b/x/deep", "c"];
const FILTERS: [&str; 4] = ["#", "a/+", "+/x", "b/#"];

#[derive(Clone, Debug)]
enum Act {
    Put(usize, u8),
    Delete(usize),
    Batch(Vec<(usize, Option<u8>)>),
    Publish(usize),
    /// An event that is kept in the journal.
    PublishDurably(usize),
    /// A put with a record in the same commit, or the record alone.
    Record(Option<usize>),
    /// The client reads up to this many items.
    Read(usize, usize),
    /// The client's connection is cut; it comes back with what it has.
    Cut(usize),
    /// Other tasks of the shard get their turns.
    Turn,
}

fn act(clients: usize) -> impl Strategy<Value = Act> {
    let name = 0..NAMES.len();
    prop_oneof![
        4 => (name.clone(), any::<u8>()).prop_map(|(name, value)| Act::Put(name, value)),
        2 => name.clone().prop_map(Act::Delete),
        1 => prop::collection::vec((name.clone(), any::<Option<u8>>()), 1..4).prop_map(Act::Batch),
        1 => name.clone().prop_map(Act::Publish),
        2 => name.clone().prop_map(Act::PublishDurably),
        1 => prop::option::of(name).prop_map(Act::Record),
        3 => (0..clients, 1..12usize).prop_map(|(client, items)| Act::Read(client, items)),
        1 => (0..clients).prop_map(Act::Cut),
        2 => Just(Act::Turn),
    ]
}

struct Client {
    filter: &'static str,
    mode: Mode,
    subscriber: Subscriber,
    feed: FeedId,
    copy: Copy,
    /// The events of the journal that it was told, by revision.
    kept: BTreeSet<u64>,
}

impl Client {
    fn new(world: &World, filter: &'static str, mode: Mode) -> Self {
        let mut subscriber = world.subscriber();
        let feed = world.subscribe(&mut subscriber, filter, Start::Baseline, mode);
        Self { filter, mode, subscriber, feed, copy: Copy::default(), kept: BTreeSet::new() }
    }

    fn read(&mut self, items: usize, model: &Model) {
        for _ in 0..items {
            let Poll::Ready((_, item)) = self.subscriber.poll_next(&mut Context::from_waker(Waker::noop()))
            else {
                return;
            };
            self.take(&item, model);
        }
    }

    /// The rules that need to know what the server did.
    fn take(&mut self, item: &Item, model: &Model) {
        let before = self.copy.position;
        self.copy.take(item);
        let filter = Filter::new(self.filter).unwrap();
        self.take_events(item, model);
        let told_up_to = match item {
            Item::Change(delivery) => Some(delivery.rev.number),
            Item::Progress { rev, .. } => Some(rev.number + 1),
            _ => None,
        };
        if let (Some(told_up_to), Mode::Every, Some(before)) = (told_up_to, self.mode, before) {
            for revision in before.number + 1..told_up_to {
                let touched = &model.touched[revision as usize];
                assert!(
                    !touched.iter().any(|name| filter.matches(&topic(name))),
                    "revision {revision} was left out"
                );
            }
        }
        // After anything but the middle of a catch-up the copy is the state at its position.
        let is_exact = match item {
            Item::BaselineEnd(_) | Item::Progress { .. } => true,
            Item::Change(_) => self.mode == Mode::Every,
            _ => false,
        };
        if let (true, Some(position)) = (is_exact, self.copy.position) {
            assert_eq!(
                self.copy.state,
                model.at(position.number, &filter),
                "at {position} of {}",
                self.filter
            );
        }
    }

    /// An event of the journal comes once, as it was, and where every entry is told at its revision.
    fn take_events(&mut self, item: &Item, model: &Model) {
        let Item::Change(delivery) = item else { return };
        for change in delivery.changes() {
            let Change::Event(event) = change else { continue };
            let text = common::text(&event.representation.payload);
            let Some(revision) = text.strip_prefix("kept at ") else { continue };
            let revision: u64 = revision.parse().unwrap();
            assert_eq!(model.touched[revision as usize], [event.topic.as_str()]);
            assert!(self.kept.insert(revision), "event {revision} came twice");
            assert!(revision <= delivery.rev.number);
            assert!(self.mode == Mode::Latest || revision == delivery.rev.number);
        }
    }

    fn cut(&mut self, world: &World) {
        let start = self.copy.position.map_or(Start::Baseline, Start::After);
        self.subscriber = world.subscriber();
        self.feed = world.subscribe(&mut self.subscriber, self.filter, start, self.mode);
        // A baseline that was cut is worth nothing.
        self.copy = Copy { position: self.copy.position, state: self.copy.state.clone(), ..Copy::default() };
    }
}

/// Every state that there ever was.
struct Model {
    states: Vec<BTreeMap<String, String>>,
    touched: Vec<Vec<&'static str>>,
}

impl Model {
    fn new() -> Self {
        Self { states: vec![BTreeMap::new()], touched: vec![vec![]] }
    }

    fn commit(&mut self, changes: &[(usize, Option<String>)]) {
        let mut state = self.states.last().unwrap().clone();
        let mut touched = Vec::new();
        for (name, value) in changes {
            let changed = match value {
                Some(value) => {
                    state.insert(NAMES[*name].to_owned(), value.clone());
                    true
                }
                None => state.remove(NAMES[*name]).is_some(),
            };
            if changed {
                touched.push(NAMES[*name]);
            }
        }
        if !touched.is_empty() {
            self.states.push(state);
            self.touched.push(touched);
        }
    }

    /// A commit that changes no resource.
    fn commit_nothing(&mut self, touched: &[&'static str]) {
        self.states.push(self.states.last().unwrap().clone());
        self.touched.push(touched.to_vec());
    }

    fn at(&self, revision: u64, filter: &Filter) -> BTreeMap<String, String> {
        let mut state = self.states[revision as usize].clone();
        state.retain(|name, _| filter.matches(&topic(name)));
        state
    }
}

async fn perform(world: &World, clients: &mut [Client], model: &mut Model, act: Act) {
    match act {
        Act::Put(name, value) => {
            world.put(NAMES[name], &value.to_string()).await;
            model.commit(&[(name, Some(value.to_string()))]);
        }
        Act::Delete(name) => {
            world.delete(NAMES[name]).await;
            model.commit(&[(name, None)]);
        }
        Act::Batch(mut operations) => {
            operations.sort_by_key(|(name, _)| *name);
            operations.dedup_by_key(|(name, _)| *name);
            let verbs = operations
                .iter()
                .map(|(name, value)| (NAMES[*name], value.map_or(Verb::DELETE, |v| put(&v.to_string()))))
                .collect();
            world.batch(verbs).await.unwrap();
            let changes: Vec<_> =
                operations.into_iter().map(|(name, value)| (name, value.map(|v| v.to_string()))).collect();
            model.commit(&changes);
        }
        Act::Publish(name) => world.publish(NAMES[name], "event").await,
        Act::PublishDurably(name) => {
            let verb = publish_durably(&format!("kept at {}", model.states.len()), None);
            world.write(Write::one(topic(NAMES[name]), verb)).await.unwrap();
            model.commit_nothing(&[NAMES[name]]);
        }
        Act::Record(name) => {
            let record = RecordArea::new("tests").record("one").unwrap();
            let records = vec![Record::put(record, "contents".into())];
            if let Some(name) = name {
                let write = Write { records, ..Write::one(topic(NAMES[name]), put("noted")) };
                world.write(write).await.unwrap();
                model.commit(&[(name, Some("noted".to_owned()))]);
            } else {
                world.write(Write::of_records(records)).await.unwrap();
                model.commit_nothing(&[]);
            }
        }
        Act::Read(client, items) => clients[client].read(items, model),
        Act::Cut(client) => clients[client].cut(world),
        Act::Turn => tokio::task::yield_now().await,
    }
}

fn run(mut options: Options, journal: MemoryOptions, acts: Vec<Act>) {
    // Publishers wait for clients that read only when the script says so.
    options.event_patience = Duration::from_micros(1);
    with_engine(options, journal, |world| async move {
        let mut clients: Vec<Client> = FILTERS
            .iter()
            .flat_map(|filter| [Mode::Latest, Mode::Every].map(|mode| Client::new(&world, filter, mode)))
            .collect();
        let mut model = Model::new();
        for act in acts {
            perform(&world, &mut clients, &mut model, act).await;
        }
        let head = world.shard.head();
        assert_eq!(head.number as usize, model.states.len() - 1);
        for client in &mut clients {
            client.copy.read_to(&mut client.subscriber, client.feed, head).await;
            assert_eq!(client.copy.state, world.state(client.filter), "{} {:?}", client.filter, client.mode);
        }
    });
}

proptest! {
    #[test]
    fn copies_converge_with_room(acts in prop::collection::vec(act(8), 1..80)) {
        run(Options::default(), MemoryOptions::default(), acts);
    }

    #[test]
    fn copies_converge_without_room(acts in prop::collection::vec(act(8), 1..120), pending in 200..1500usize, ring in 300..3000usize) {
        let options = Options { feed_pending_bytes: pending, ring_bytes: ring, tail_bytes: ring, ..Options::default() };
        run(options, MemoryOptions::default(), acts);
    }

    #[test]
    fn copies_converge_without_history(acts in prop::collection::vec(act(8), 1..120), history in 50..800usize) {
        let options = Options { feed_pending_bytes: 500, ring_bytes: 700, tail_bytes: 700, ..Options::default() };
        run(options, MemoryOptions { history_bytes_max: history, ..MemoryOptions::default() }, acts);
    }
}
