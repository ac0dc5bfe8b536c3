//! What a write does, and what it answers.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{World, next, put, topic, who, with_engine};
use dovetail_engine::{
    Effect, IdempotencyKey, Item, Mode, Operation, Options, Precondition, Start, Status, Verb, Write,
    WriteError,
};
use dovetail_journal::memory::{Fault, MemoryOptions};
use dovetail_model::{Change, DeleteCause, Representation};

fn script<F: Future<Output = ()>>(script: impl FnOnce(World) -> F) {
    with_engine(Options::default(), MemoryOptions::default(), script);
}

#[test]
fn revisions_count_up_one_by_one() {
    script(|world| async move {
        let first = world.put("a", "1").await;
        let second = world.put("b", "2").await;
        assert_eq!((first.number, second.number), (1, 2));
        assert_eq!(first.epoch, second.epoch);
        assert_eq!(world.shard.head(), second);
    });
}

#[test]
fn pipelined_writes_are_done_in_order_and_answered_in_order() {
    script(|world| async move {
        let tickets: Vec<_> = (0..500)
            .map(|n| {
                let write = Write::one(topic("a"), put(&n.to_string()));
                world.shard.submit(world.shard.policy().authorize(&who(), write).unwrap())
            })
            .collect();
        for (n, ticket) in (1..).zip(tickets) {
            assert_eq!(ticket.await.unwrap().revision.number, n);
        }
        assert_eq!(world.state("#")["a"], "499");
        assert!(world.engine.counters().values().groups < 500, "what waits shares a group");
    });
}

#[test]
fn effects_say_what_happened() {
    script(|world| async move {
        let created = world.write(Write::one(topic("a"), put("1"))).await.unwrap();
        let replaced = world.write(Write::one(topic("a"), put("2"))).await.unwrap();
        let deleted = world.delete("a").await;
        let unchanged = world.delete("a").await;
        let effects: Vec<_> =
            [&created, &replaced, &deleted, &unchanged].map(|done| done.effects[0]).to_vec();
        assert_eq!(effects, [Effect::Created, Effect::Replaced, Effect::Deleted, Effect::Unchanged]);
        assert_eq!(unchanged.revision, deleted.revision, "nothing was committed");
    });
}

#[test]
fn preconditions_as_a_table() {
    script(|world| async move {
        let old = world.put("a", "1").await;
        let now = world.put("a", "2").await;
        let other_epoch = dovetail_model::Epoch::from_random(now.epoch.to_bits() ^ 1).at(now.number);
        let table = [
            ("a", Precondition::Exists, true),
            ("x", Precondition::Exists, false),
            ("a", Precondition::Absent, false),
            ("x", Precondition::Absent, true),
            ("a", Precondition::AnyOf(vec![now]), true),
            ("a", Precondition::AnyOf(vec![old]), false),
            ("a", Precondition::AnyOf(vec![old, now]), true),
            ("a", Precondition::AnyOf(vec![other_epoch]), false),
            ("x", Precondition::AnyOf(vec![now]), false),
            ("a", Precondition::NoneOf(vec![now]), false),
            ("a", Precondition::NoneOf(vec![old]), true),
            ("x", Precondition::NoneOf(vec![now]), true),
        ];
        for (name, precondition, holds) in table {
            // The write itself must not change what the next row sees.
            let operation =
                Operation { topic: topic(name), verb: put("2"), precondition: precondition.clone() };
            let refused = Operation { topic: topic("y"), verb: put(""), precondition: Precondition::None };
            let write = Write {
                operations: [operation, refused].into_iter().collect(),
                records: Vec::new(),
                idempotency_key: None,
                publisher: None,
            };
            match world.write(write).await.unwrap_err() {
                WriteError::PreconditionFailed { topic, current } => {
                    assert!(!holds, "{name} {precondition:?}");
                    assert_eq!(topic.as_str(), name);
                    assert_eq!(current, (name == "a").then_some(now));
                }
                WriteError::Empty(_) => assert!(holds, "{name} {precondition:?}"),
                other => panic!("{other}"),
            }
        }
        assert_eq!(world.shard.head(), now);
    });
}

#[test]
fn of_many_conditional_writes_on_one_revision_one_wins() {
    script(|world| async move {
        let seen = world.put("a", "0").await;
        let tickets: Vec<_> = (0..50)
            .map(|n| {
                let operation = Operation {
                    topic: topic("a"),
                    verb: put(&n.to_string()),
                    precondition: Precondition::AnyOf(vec![seen]),
                };
                let write = Write {
                    operations: [operation].into_iter().collect(),
                    records: Vec::new(),
                    idempotency_key: None,
                    publisher: None,
                };
                world.shard.submit(world.shard.policy().authorize(&who(), write).unwrap())
            })
            .collect();
        let mut won = 0;
        for ticket in tickets {
            won += usize::from(ticket.await.is_ok());
        }
        assert_eq!(won, 1);
    });
}

#[test]
fn a_batch_happens_as_a_unit_or_not_at_all() {
    script(|world| async move {
        world.put("old", "1").await;
        let done = world.batch(vec![("a", put("1")), ("b", put("2")), ("old", Verb::DELETE)]).await.unwrap();
        assert_eq!(done.revision.number, 2);
        let refused = world.batch(vec![("c", put("3")), ("d", put(""))]).await;
        assert_eq!(refused, Err(WriteError::Empty(topic("d"))));
        assert_eq!(world.state("#").into_keys().collect::<Vec<_>>(), ["a", "b"]);
        for malformed in [vec![], vec![("a", put("1")), ("a", Verb::DELETE)]] {
            assert!(matches!(world.batch(malformed).await, Err(WriteError::Malformed { .. })));
        }
    });
}

#[test]
fn patches_as_the_standards_say() {
    script(|world| async move {
        let json = |text: &str| Verb::Put {
            representation: Representation::copied(text.as_bytes(), Some("application/json".into())),
            time_to_live: None,
        };
        world.write(Write::one(topic("a"), json(r#"{"x":1,"y":{"z":2}}"#))).await.unwrap();
        let merge = |text: &'static str| Verb::MergePatch(text.into());
        world.write(Write::one(topic("a"), merge(r#"{"x":null,"y":{"w":3}}"#))).await.unwrap();
        assert_eq!(world.state("#")["a"], r#"{"y":{"w":3,"z":2}}"#);
        let patch = |text: &'static str| Verb::JsonPatch(text.into());
        world
            .write(Write::one(topic("a"), patch(r#"[{"op":"replace","path":"/y","value":[]}]"#)))
            .await
            .unwrap();
        assert_eq!(world.state("#")["a"], r#"{"y":[]}"#);

        let failing = patch(r#"[{"op":"remove","path":"/y"},{"op":"test","path":"/q","value":1}]"#);
        let refused = world.write(Write::one(topic("a"), failing)).await;
        assert!(matches!(refused, Err(WriteError::PatchConflict { .. })), "{refused:?}");
        assert_eq!(world.state("#")["a"], r#"{"y":[]}"#, "a patch that fails changes nothing");
        let refused = world.write(Write::one(topic("a"), patch("[1]"))).await;
        assert!(matches!(refused, Err(WriteError::MalformedPatch { .. })), "{refused:?}");
        assert_eq!(
            world.write(Write::one(topic("none"), patch("[]"))).await,
            Err(WriteError::NotFound(topic("none")))
        );
        world.write(Write::one(topic("new"), merge(r#"{"a":1,"b":null}"#))).await.unwrap();
        assert_eq!(world.state("#")["new"], r#"{"a":1}"#);
        world.put("plain", "not json").await;
        let refused = world.write(Write::one(topic("plain"), merge("{}"))).await;
        assert!(matches!(refused, Err(WriteError::PatchConflict { .. })), "{refused:?}");
    });
}

#[test]
fn an_idempotency_key_has_one_effect_and_one_answer() {
    script(|world| async move {
        let write = |value: &str, fingerprint: u64| Write {
            idempotency_key: Some(IdempotencyKey { key: "key/+#1".into(), fingerprint }),
            ..Write::one(topic("a"), put(value))
        };
        let first = world.write(write("1", 7)).await.unwrap();
        world.put("a", "2").await;
        let again = world.write(write("1", 7)).await.unwrap();
        assert_eq!((again.revision, &again.effects, again.repeated), (first.revision, &first.effects, true));
        assert_eq!(world.state("#")["a"], "2");
        assert_eq!(world.write(write("3", 8)).await, Err(WriteError::KeyReused));
        assert_eq!(world.state("#").len(), 1, "the memory is not among the resources");

        let day = Duration::from_hours(24).as_millis() as u64;
        world.hand.fetch_add(day, Ordering::SeqCst);
        assert!(!world.write(write("1", 9)).await.unwrap().repeated, "a key is free again after a day");
    });
}

#[test]
fn what_has_a_time_to_live_is_deleted_by_a_commit() {
    script(|world| async move {
        let representation = Representation::copied(b"1", None);
        let verb = Verb::Put { representation, time_to_live: Some(Duration::from_secs(10)) };
        world.write(Write::one(topic("a"), verb)).await.unwrap();
        let mut subscriber = world.subscriber();
        world.subscribe(&mut subscriber, "#", Start::Now, Mode::Latest);
        assert!(matches!(next(&mut subscriber).await, Item::Progress { .. }));
        world.hand.fetch_add(10_000, Ordering::SeqCst);
        // Any write makes the owner look at the clock; it would look by itself within a second.
        world.put("b", "2").await;
        let Item::Change(delivery) = next(&mut subscriber).await else { panic!("no change") };
        let Some(Change::Delete(tombstone)) = delivery.changes().next() else { panic!("no delete") };
        assert_eq!((tombstone.topic.as_str(), tombstone.cause), ("a", DeleteCause::Expiry));
        assert_eq!(delivery.rev.number, 2);
    });
}

#[test]
fn limits_are_refused_one_past_them() {
    let options = Options { payload_bytes: 4, ..Options::default() };
    with_engine(options, MemoryOptions::default(), |world| async move {
        world.put("a", "1234").await;
        let refused = world.write(Write::one(topic("a"), put("12345"))).await;
        assert_eq!(refused, Err(WriteError::TooLarge { topic: topic("a"), bytes: 5, limit: 4 }));
        let grown = Verb::MergePatch(r#"{"a":1}"#.into());
        assert!(matches!(world.write(Write::one(topic("n"), grown)).await, Err(WriteError::TooLarge { .. })));
    });
}

#[test]
fn a_full_queue_answers_at_once() {
    let options = Options { admitted_bytes: 2_000, ..Options::default() };
    with_engine(options, MemoryOptions::default(), |world| async move {
        world.journal.hold();
        let tickets: Vec<_> = (0..100)
            .map(|n| {
                let write = Write::one(topic(&n.to_string()), put("1"));
                world.shard.submit(world.shard.policy().authorize(&who(), write).unwrap())
            })
            .collect();
        world.journal.release();
        let (mut done, mut refused) = (0, 0);
        for ticket in tickets {
            match ticket.await {
                Ok(_) => done += 1,
                Err(WriteError::Overloaded { .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(done >= 2 && refused >= 90, "{done} done, {refused} refused");
        assert_eq!(world.state("#").len(), done, "refused is refused");
        world.put("later", "1").await;
    });
}

#[test]
fn after_a_failed_append_nothing_is_acknowledged() {
    script(|world| async move {
        let before = world.put("a", "1").await;
        world.journal.fail_append(0, Fault::PoisonLost);
        let failed = world.write(Write::one(topic("a"), put("2"))).await;
        assert!(matches!(failed, Err(WriteError::Unknown(_))), "{failed:?}");
        let refused = world.write(Write::one(topic("a"), put("3"))).await;
        assert!(matches!(refused, Err(WriteError::ReadOnly(_))), "{refused:?}");
        assert!(matches!(world.engine.status(), Status::ReadOnly(_)));
        assert_eq!(world.state("#")["a"], "1", "nobody sees what is not durable");
        assert_eq!(world.shard.head(), before);
    });
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    script(|world| async move {
        world.journal.fail_append(0, Fault::Full);
        assert_eq!(world.write(Write::one(topic("a"), put("1"))).await, Err(WriteError::DiskFull));
        assert_eq!(world.engine.status(), Status::Ready);
        assert_eq!(world.put("a", "2").await.number, 1);
    });
}

#[test]
fn an_expiry_that_finds_the_disk_full_is_tried_again_after_a_while() {
    script(|world| async move {
        let representation = Representation::copied(b"1", None);
        let verb = Verb::Put { representation, time_to_live: Some(Duration::from_secs(10)) };
        world.write(Write::one(topic("a"), verb)).await.unwrap();
        world.journal.hold();
        world.hand.fetch_add(10_000, Ordering::SeqCst);
        // The owner looks at the clock by itself; what is held is the expiry.
        let control = world.journal.clone();
        tokio::task::spawn_blocking(move || control.wait_until_held()).await.unwrap();
        world.journal.fail_append(0, Fault::Full);
        world.journal.release();
        for name in ["b", "c", "d"] {
            world.put(name, "1").await;
        }
        assert_eq!(world.state("#").len(), 4, "the owner does not insist");
        world.hand.fetch_add(1_000, Ordering::SeqCst);
        while world.state("#").contains_key("a") {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.state("#").len(), 3);
    });
}

#[test]
fn nothing_is_visible_before_it_is_durable() {
    script(|world| async move {
        let mut subscriber = world.subscriber();
        world.subscribe(&mut subscriber, "#", Start::Now, Mode::Latest);
        assert!(matches!(next(&mut subscriber).await, Item::Progress { .. }));
        world.journal.hold();
        let write = Write::one(topic("a"), put("1"));
        let ticket = world.shard.submit(world.shard.policy().authorize(&who(), write).unwrap());
        let control = world.journal.clone();
        tokio::task::spawn_blocking(move || control.wait_until_held()).await.unwrap();
        assert!(world.state("#").is_empty());
        let waker = std::task::Waker::noop();
        assert!(subscriber.poll_next(&mut std::task::Context::from_waker(waker)).is_pending());
        world.journal.release();
        assert_eq!(ticket.await.unwrap().revision.number, 1);
        assert_eq!(world.state("#").len(), 1, "answered means visible");
        let polled = subscriber.poll_next(&mut std::task::Context::from_waker(waker));
        assert!(polled.is_ready(), "answered means told");
    });
}

#[test]
fn stopping_finishes_what_waits_and_refuses_the_rest() {
    script(|world| async move {
        let ticket = {
            let write = Write::one(topic("a"), put("1"));
            world.shard.submit(world.shard.policy().authorize(&who(), write).unwrap())
        };
        let World { running, shard, .. } = world;
        tokio::task::spawn_blocking(move || running.stop()).await.unwrap();
        assert!(ticket.await.is_ok());
        let write = Write::one(topic("a"), put("2"));
        let refused = shard.submit(shard.policy().authorize(&who(), write).unwrap()).await;
        assert_eq!(refused, Err(WriteError::Stopping));
    });
}
