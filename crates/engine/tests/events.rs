//! Events that are kept in the journal, because somebody who may be away waits for them.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::Duration;

use common::{Copy, World, next, publish_durably, put, text, topic, who, with_engine};
use dovetail_auth::Principal;
use dovetail_engine::{
    Changes, Effect, EndReason, Events, IdempotencyKey, Item, Mode, Options, Precondition, PublisherId,
    Record, RecordArea, Start, Subscribe, Subscriber, Verb, Write, WriteError,
};
use dovetail_journal::memory::MemoryOptions;
use dovetail_model::{Change, Filter, Qos, Representation};

fn script<F: Future<Output = ()>>(script: impl FnOnce(World) -> F) {
    with_engine(Options::default(), MemoryOptions::default(), script);
}

/// Live feeds fall behind after a few entries, and the ring forgets soon.
fn tight() -> Options {
    Options { feed_pending_bytes: 1_000, ring_bytes: 3_000, tail_bytes: 3_000, ..Options::default() }
}

fn publish(value: &str) -> Verb {
    publish_durably(value, None)
}

/// What is there to tell now, events as their payloads and everything else as `.`; the dispatcher has its turns.
async fn told(subscriber: &mut Subscriber) -> Vec<String> {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let mut told = Vec::new();
    while let std::task::Poll::Ready((_, item)) =
        subscriber.poll_next(&mut Context::from_waker(Waker::noop()))
    {
        if let Item::Change(delivery) = item {
            told.extend(delivery.changes().map(|change| match change {
                Change::Event(event) => text(&event.representation.payload),
                _ => ".".to_owned(),
            }));
        }
    }
    told
}

/// Reads until the head is told, and gives the events.
async fn events_to_the_head(
    world: &World,
    filter: &str,
    start: Start,
    mode: Mode,
    events: Events,
) -> Vec<String> {
    let mut subscriber = world.subscriber();
    let id = world.subscribe_with(&mut subscriber, filter, start, mode, events);
    let mut copy = Copy::default();
    if let Start::After(position) = start {
        copy.position = Some(position);
    }
    copy.read_to(&mut subscriber, id, world.shard.head()).await;
    copy.events
}

#[test]
fn an_event_is_a_commit_that_changes_no_resource() {
    script(|world| async move {
        world.put("a", "state").await;
        let done = world.write(Write::one(topic("a"), publish("x"))).await.unwrap();
        assert_eq!((done.revision.number, done.effects.as_slice()), (2, &[Effect::Published][..]));
        assert_eq!(world.state("#")["a"], "state");
        assert_eq!(world.engine.counters().values().events, 1);
        let empty = world.write(Write::one(topic("b"), publish(""))).await.unwrap();
        assert_eq!(empty.revision.number, 3, "an event may be empty");
        assert_eq!(world.state("#").len(), 1);
        let limit = Options::default().payload_bytes;
        let large = world.write(Write::one(topic("b"), publish(&"x".repeat(limit + 1)))).await;
        assert!(matches!(large, Err(WriteError::TooLarge { .. })));
    });
}

#[test]
fn who_may_publish_may_not_write_where_only_the_server_does() {
    script(|world| async move {
        let policy = world.shard.policy();
        for (name, peer, allowed) in
            [("a", [127, 0, 0, 1], true), ("$SYS/x", [127, 0, 0, 1], false), ("a", [192, 0, 2, 1], false)]
        {
            let permitted =
                policy.authorize(&Principal::anonymous(peer.into()), Write::one(topic(name), publish("x")));
            assert_eq!(permitted.is_ok(), allowed, "{name} {peer:?}");
        }
        let denied = policy
            .authorize(&Principal::anonymous([192, 0, 2, 1].into()), Write::one(topic("a"), publish("x")))
            .unwrap_err();
        assert!(denied.to_string().contains("publish to"), "{denied}");
    });
}

#[test]
fn preconditions_keys_and_batches_are_those_of_every_write() {
    script(|world| async move {
        let key = || Write {
            idempotency_key: Some(IdempotencyKey { key: "k".into(), fingerprint: 1 }),
            ..Write::one(topic("a"), publish("x"))
        };
        let first = world.write(key()).await.unwrap();
        let again = world.write(key()).await.unwrap();
        assert!(again.repeated);
        assert_eq!((again.revision, again.effects), (first.revision, first.effects));
        let operation = dovetail_engine::Operation {
            topic: topic("a"),
            verb: publish("x"),
            precondition: Precondition::Exists,
        };
        let write =
            Write { operations: [operation].into_iter().collect(), ..Write::one(topic("z"), publish("")) };
        assert!(matches!(world.write(write).await, Err(WriteError::PreconditionFailed { .. })));
        let mixed = world.batch(vec![("s", put("1")), ("e", publish("2"))]).await.unwrap();
        assert_eq!(mixed.effects.as_slice(), [Effect::Created, Effect::Published]);
    });
}

#[test]
fn a_feed_of_every_entry_reads_events_back_and_one_that_ignores_them_does_not() {
    script(|world| async move {
        let start = Start::After(world.put("a", "1").await);
        world.write(Write::one(topic("e/1"), publish("one"))).await.unwrap();
        world.put("a", "2").await;
        world.batch(vec![("a", put("3")), ("e/2", publish("two"))]).await.unwrap();
        world.write(Write::one(topic("else"), publish("no"))).await.unwrap();
        let every = events_to_the_head(&world, "e/+", start, Mode::Every, Events::End).await;
        assert_eq!(every, ["one", "two"]);
        assert_eq!(
            events_to_the_head(&world, "#", start, Mode::Every, Events::Drop).await,
            ["one", "two", "no"]
        );
        let none: [&str; 0] = [];
        assert_eq!(events_to_the_head(&world, "#", start, Mode::Every, Events::Ignore).await, none);
        assert_eq!(events_to_the_head(&world, "#", start, Mode::Latest, Events::Drop).await, none);
        assert_eq!(events_to_the_head(&world, "#", Start::Baseline, Mode::Every, Events::End).await, none);

        let changes = Changes {
            filter: Filter::everything(),
            since: world.shard.head().epoch.at(1),
            mode: Mode::Every,
            limit: 100,
        };
        let page =
            world.shard.changes(world.shard.policy().authorize(&who(), changes).unwrap()).await.unwrap();
        let touched: Vec<_> =
            page.deliveries.iter().flat_map(|told| told.changes().map(|c| c.topic().to_string())).collect();
        assert_eq!(touched, ["a", "a"], "an event is not what changed");
    });
}

#[test]
fn live_feeds_tell_events_in_the_order_of_the_commits() {
    script(|world| async move {
        let mut all = Vec::new();
        for (mode, events) in [
            (Mode::Every, Events::End),
            (Mode::Every, Events::Ignore),
            (Mode::Latest, Events::Drop),
            (Mode::Latest, Events::Ignore),
        ] {
            let mut subscriber = world.subscriber();
            world.subscribe_with(&mut subscriber, "#", Start::Now, mode, events);
            all.push((subscriber, events));
        }
        world.put("a", "1").await;
        world.write(Write::one(topic("a"), publish("kept"))).await.unwrap();
        world.publish("a", "passing").await;
        world.put("a", "2").await;
        world.batch(vec![("a", put("3")), ("e", publish("both"))]).await.unwrap();
        for (subscriber, events) in &mut all {
            let expected: &[&str] = match events {
                Events::Ignore => &[".", ".", "."],
                _ => &[".", "kept", "passing", ".", ".", "both"],
            };
            assert_eq!(told(subscriber).await, expected);
        }
    });
}

#[test]
fn an_event_has_its_revision_and_the_chain_holds() {
    script(|world| async move {
        for mode in [Mode::Every, Mode::Latest] {
            let mut subscriber = world.subscriber();
            let id = world.subscribe(&mut subscriber, "e", Start::Now, mode);
            let mut copy = Copy { position: Some(world.shard.head()), ..Copy::default() };
            world.put("else", "1").await;
            let kept = world.write(Write::one(topic("e"), publish("kept"))).await.unwrap().revision;
            let head = world.put("else", "2").await;
            copy.take(&next(&mut subscriber).await);
            while copy.events.is_empty() {
                copy.take(&next(&mut subscriber).await);
            }
            assert_eq!(copy.position, Some(kept), "{mode:?}");
            copy.read_to(&mut subscriber, id, head).await;
        }
    });
}

#[test]
fn events_whose_time_is_over_are_not_told() {
    script(|world| async move {
        let start = Start::After(world.put("a", "1").await);
        let mut live = world.subscriber();
        world.subscribe_with(&mut live, "#", Start::Now, Mode::Every, Events::End);
        for (value, seconds) in [("short", 10), ("long", 100)] {
            let verb = publish_durably(value, Some(Duration::from_secs(seconds)));
            world.write(Write::one(topic("e"), verb)).await.unwrap();
        }
        world.hand.fetch_add(10_000, Ordering::SeqCst);
        assert_eq!(events_to_the_head(&world, "#", start, Mode::Every, Events::End).await, ["long"]);
        assert_eq!(told(&mut live).await, ["long"], "nor by a feed that had it waiting");
    });
}

#[test]
fn a_feed_of_every_entry_that_falls_behind_loses_no_event() {
    with_engine(tight(), MemoryOptions::default(), |world| async move {
        let mut subscriber = world.subscriber();
        let id = world.subscribe_with(&mut subscriber, "e", Start::Now, Mode::Every, Events::End);
        let mut copy = Copy { position: Some(world.shard.head()), ..Copy::default() };
        for n in 0..100 {
            world.write(Write::one(topic("e"), publish(&n.to_string()))).await.unwrap();
            world.put("else", "x").await;
        }
        copy.read_to(&mut subscriber, id, world.shard.head()).await;
        assert_eq!(copy.events, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    });
}

#[test]
fn a_feed_of_newest_states_that_falls_behind_drops_and_counts_or_ends() {
    with_engine(tight(), MemoryOptions::default(), |world| async move {
        let (mut dropping, mut ending) = (world.subscriber(), world.subscriber());
        let id = world.subscribe_with(&mut dropping, "#", Start::Now, Mode::Latest, Events::Drop);
        world.subscribe_with(&mut ending, "#", Start::Now, Mode::Latest, Events::End);
        let mut copy = Copy { position: Some(world.shard.head()), ..Copy::default() };
        for n in 0..100 {
            let write = Write {
                records: vec![Record::delete(RecordArea::new("tests").record("none").unwrap())],
                ..Write::one(topic("e"), publish(&n.to_string()))
            };
            world.write(write).await.unwrap();
        }
        let head = world.put("s", "1").await;
        copy.read_to(&mut dropping, id, head).await;
        // What it could keep while it caught up comes after that.
        let came = (copy.events.len() + told(&mut dropping).await.len()) as u64;
        let lost = world.engine.counters().values().events_dropped;
        assert!(lost > 0);
        assert_eq!(came + lost, 100, "each is told or counted");
        assert_eq!(copy.state["s"], "1");
        let end = loop {
            match next(&mut ending).await {
                Item::End(reason) => break reason,
                Item::Change(_) | Item::Progress { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(end, EndReason::TooSlow);
    });
}

#[test]
fn no_local_holds_when_the_past_is_read_from_the_journal() {
    script(|world| async move {
        let start = Start::After(world.put("a", "1").await);
        for (publisher, value) in [(Some(7), "own"), (Some(8), "other"), (None, "rest")] {
            let publisher = publisher.map(PublisherId);
            for verb in [publish(value), put(value)] {
                world.write(Write { publisher, ..Write::one(topic("e"), verb) }).await.unwrap();
            }
        }
        let mut subscriber = world.subscriber();
        let subscribe = Subscribe {
            filter: Filter::everything(),
            start,
            mode: Mode::Every,
            events: Events::End,
            no_local: Some(PublisherId(7)),
        };
        let id = subscriber.subscribe(world.shard.policy().authorize(&who(), subscribe).unwrap());
        let Start::After(position) = start else { unreachable!() };
        let mut copy = Copy { position: Some(position), ..Copy::default() };
        copy.read_to(&mut subscriber, id, world.shard.head()).await;
        assert_eq!(copy.events, ["other", "rest"]);
        assert_eq!(copy.revisions, [4, 5, 6, 7]);
    });
}

#[test]
fn what_the_publisher_said_about_delivery_is_kept() {
    script(|world| async move {
        let representation = Representation { qos: Qos::AtLeastOnce, ..Representation::copied(b"{}", None) };
        let verb = Verb::Put { representation, time_to_live: None };
        world.write(Write::one(topic("a"), verb)).await.unwrap();
        world.write(Write::one(topic("a"), Verb::MergePatch(b"{\"b\":1}".as_slice().into()))).await.unwrap();
        let view = world.view("a");
        let patched = view.select(None).next().unwrap();
        assert_eq!(patched.representation.qos, Qos::AtLeastOnce, "a patch keeps it");
        world.put("a", "x").await;
        assert_eq!(world.view("a").select(None).next().unwrap().representation.qos, Qos::ExactlyOnce);
    });
}
