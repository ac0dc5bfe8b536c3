//! Records: what doors keep for themselves, in the commits of clients or alone.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use common::{World, put, topic, who, with_engine};
use dovetail_auth::{Policy, Principal};
use dovetail_engine::{
    Clock, Effect, Engine, IdempotencyKey, Mode, Options, Record, RecordArea, RecordName, Recovery, Start,
    Verb, Write, WriteError,
};
use dovetail_journal::Journal;
use dovetail_journal::memory::{MemoryJournal, MemoryOptions};
use dovetail_model::limits::{BATCH_CHANGES, PAYLOAD_BYTES_MAX};

const AREA: RecordArea = RecordArea::new("tests");

fn script<F: Future<Output = ()>>(script: impl FnOnce(World) -> F) {
    with_engine(Options::default(), MemoryOptions::default(), script);
}

fn name(path: &str) -> RecordName {
    AREA.record(path).unwrap()
}

fn record(path: &str, contents: &'static str) -> Record {
    Record::put(name(path), Bytes::from_static(contents.as_bytes()))
}

fn only_if(revision: u64, record: Record) -> Record {
    Record { only_if: Some(revision), ..record }
}

fn contents(world: &World, path: &str) -> Option<String> {
    world.shard.record(&name(path)).map(|record| common::text(&record.representation.payload))
}

#[test]
fn a_record_is_put_and_deleted_with_a_write_or_alone() {
    script(|world| async move {
        let write =
            Write { records: vec![record("a", "1"), record("b/c", "2")], ..Write::one(topic("t"), put("x")) };
        let done = world.write(write).await.unwrap();
        assert_eq!(done.effects.as_slice(), [Effect::Created], "records have no effects");
        assert_eq!(
            (contents(&world, "a").as_deref(), contents(&world, "b/c").as_deref()),
            (Some("1"), Some("2"))
        );
        assert_eq!(world.engine.record(&name("a")).unwrap().revision, done.revision.number);
        assert_eq!(world.state("#").len(), 1, "records are not among the resources of clients");

        let alone = Write::of_records(vec![Record::delete(name("a")), record("d", "3")]);
        let alone = world.write(alone).await.unwrap();
        assert_eq!((alone.revision.number, alone.effects.len()), (2, 0));
        assert_eq!(contents(&world, "a"), None);
        let nothing = world.write(Write::of_records(vec![Record::delete(name("a"))])).await.unwrap();
        assert_eq!(nothing.revision.number, 2, "deleting what is not there changes nothing");

        let paths: Vec<_> = world.engine.records(AREA).map(|record| record.topic.to_string()).collect();
        assert_eq!(paths, ["$dovetail/tests/b/c", "$dovetail/tests/d"]);
        let below: Vec<_> = world.engine.records_below(&name("b")).map(|record| record.revision).collect();
        assert_eq!(below, [1]);
        assert_eq!(world.engine.records(RecordArea::new("others")).count(), 0);
    });
}

#[test]
fn a_write_happens_only_if_its_records_are_where_they_should_be() {
    script(|world| async move {
        let write = |value: &str, record: Record| Write {
            records: vec![record],
            ..Write::one(topic("t"), put(value))
        };
        world.write(write("1", only_if(0, record("a", "1")))).await.unwrap();
        let again = world.write(write("2", only_if(0, record("a", "1")))).await.unwrap_err();
        let at_one = Some(world.shard.head().epoch.at(1));
        let failed = WriteError::PreconditionFailed { topic: name("a").topic().clone(), current: at_one };
        assert_eq!(again, failed, "a second one of the same does nothing at all");
        assert_eq!(world.state("#")["t"], "1");
        world.write(write("3", only_if(1, record("a", "2")))).await.unwrap();
        assert!(world.write(write("4", only_if(1, Record::delete(name("a"))))).await.is_err());
        world.write(write("5", only_if(2, Record::delete(name("a"))))).await.unwrap();
        assert_eq!((contents(&world, "a"), world.state("#")["t"].as_str()), (None, "5"));
    });
}

#[test]
fn of_many_conditional_writes_at_once_one_wins() {
    script(|world| async move {
        let tickets: Vec<_> = (0..50)
            .map(|_| {
                let write = Write {
                    records: vec![only_if(0, record("once", "1"))],
                    ..Write::one(
                        topic("t"),
                        Verb::Publish {
                            representation: dovetail_model::Representation::default(),
                            time_to_live: None,
                        },
                    )
                };
                world.shard.submit(world.shard.policy().authorize(&who(), write).unwrap())
            })
            .collect();
        let mut won = 0;
        for ticket in tickets {
            won += usize::from(ticket.await.is_ok());
        }
        assert_eq!((won, world.shard.head().number), (1, 1));
    });
}

#[test]
fn records_obey_the_limits_of_writes() {
    script(|world| async move {
        let many = |count: usize| (0..count).map(|n| record(&n.to_string(), "x")).collect::<Vec<_>>();
        let with_one = |records| Write { records, ..Write::one(topic("t"), put("1")) };
        assert!(matches!(world.write(Write::of_records(vec![])).await, Err(WriteError::Malformed { .. })));
        assert!(world.write(with_one(many(BATCH_CHANGES - 1))).await.is_ok());
        assert!(matches!(
            world.write(with_one(many(BATCH_CHANGES))).await,
            Err(WriteError::Malformed { .. })
        ));
        let twice = Write::of_records(vec![record("a", "1"), Record::delete(name("a"))]);
        assert!(matches!(world.write(twice).await, Err(WriteError::Malformed { .. })));
        assert!(matches!(
            world.write(Write::of_records(vec![record("a", "")])).await,
            Err(WriteError::Empty(_))
        ));
        let large = |bytes| Write::of_records(vec![Record::put(name("l"), vec![b'x'; bytes].into())]);
        assert!(world.write(large(PAYLOAD_BYTES_MAX)).await.is_ok(), "the limit for payloads is not theirs");
        let larger = world.write(large(PAYLOAD_BYTES_MAX + 1)).await;
        assert!(matches!(larger, Err(WriteError::TooLarge { .. })));
    });
}

#[test]
fn a_record_ends_with_its_time() {
    script(|world| async move {
        let life = Some(Duration::from_secs(10));
        let short = Record { time_to_live: life, ..record("short", "1") };
        world.write(Write::of_records(vec![short, record("long", "1")])).await.unwrap();
        world.hand.fetch_add(10_000, Ordering::SeqCst);
        // The owner looks before each group.
        world.put("t", "1").await;
        world.put("t", "2").await;
        assert_eq!((contents(&world, "short"), contents(&world, "long").as_deref()), (None, Some("1")));
    });
}

#[test]
fn a_repetition_leaves_records_as_they_are() {
    script(|world| async move {
        let write = || Write {
            idempotency_key: Some(IdempotencyKey { key: "k".into(), fingerprint: 1 }),
            records: vec![record("a", "first")],
            ..Write::one(topic("t"), put("1"))
        };
        world.write(write()).await.unwrap();
        world.write(Write::of_records(vec![record("a", "second")])).await.unwrap();
        assert!(world.write(write()).await.unwrap().repeated);
        assert_eq!(contents(&world, "a").as_deref(), Some("second"));
    });
}

#[test]
fn no_client_sees_or_touches_records_and_subscribers_see_the_rest_of_the_commit() {
    script(|world| async move {
        let mut subscriber = world.subscriber();
        let id = world.subscribe(&mut subscriber, "#", Start::Baseline, Mode::Every);
        let write = Write { records: vec![record("a", "1")], ..Write::one(topic("t"), put("x")) };
        world.write(write).await.unwrap();
        let head = world.write(Write::of_records(vec![record("a", "2")])).await.unwrap().revision;
        let mut copy = common::Copy::default();
        copy.read_to(&mut subscriber, id, head).await;
        assert_eq!(copy.state.keys().collect::<Vec<_>>(), ["t"]);
        assert_eq!((copy.revisions.as_slice(), copy.position), (&[1][..], Some(head)));
        let own = Write::one(name("a").topic().clone(), put("stolen"));
        assert!(world.shard.policy().authorize(&who(), own).is_err());
        let remote = Principal::anonymous([192, 0, 2, 1].into());
        assert!(
            Policy::loopback().authorize(&remote, Write::of_records(vec![record("a", "3")])).is_ok(),
            "records are the door's and need no right of its client"
        );
    });
}

#[test]
fn records_push_nothing_out_that_subscribers_have_to_be_told() {
    let small = Options { ring_bytes: 3_000, tail_bytes: 3_000, ..Options::default() };
    with_engine(small, MemoryOptions::default(), |world| async move {
        let mut subscriber = world.subscriber();
        let id = world.subscribe(&mut subscriber, "#", Start::Baseline, Mode::Every);
        let mut copy = common::Copy::default();
        copy.read_to(&mut subscriber, id, world.shard.head()).await;
        world.write(Write::one(topic("t"), put("x"))).await.unwrap();
        for n in 0..100 {
            let contents = Bytes::from(n.to_string());
            world.write(Write::of_records(vec![Record::put(name("a"), contents)])).await.unwrap();
        }
        let head = world.write(Write::one(topic("t"), put("y"))).await.unwrap().revision;
        copy.read_to(&mut subscriber, id, head).await;
        assert_eq!(copy.revisions, [1, 102]);
        assert_eq!(world.engine.counters().values().catch_ups, 0, "it was live all the time");
    });
}

#[test]
fn records_are_there_after_a_restart() {
    script(|world| async move {
        world.write(Write::of_records(vec![record("a", "1"), record("b", "2")])).await.unwrap();
        world.write(Write::of_records(vec![Record::delete(name("a"))])).await.unwrap();
        let mut recovery = Recovery::new();
        let image = world.journal.image();
        let journal = MemoryJournal::open(image, MemoryOptions::default(), &mut recovery).unwrap();
        let (clock, _) = Clock::manual(common::NOON);
        let recovered = recovery.finish().unwrap();
        let (engine, running) =
            Engine::start(Journal::from(journal), recovered, Policy::loopback(), clock, Options::default())
                .unwrap();
        let left: Vec<_> = engine.records(AREA).map(|record| record.topic.to_string()).collect();
        assert_eq!(left, ["$dovetail/tests/b"]);
        tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
    });
}
