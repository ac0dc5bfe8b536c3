//! Every arrow of the picture in `feed.rs`, and the boundaries of a position.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::task::{Context, Waker};
use std::time::Duration;

use common::{Copy, World, next, put, topic, who, with_engine};
use dovetail_engine::{
    Changes, ChangesError, EndReason, Events, Item, Mode, Options, PublisherId, ResetReason, Start,
    Subscribe, Subscriber, Verb, Write,
};
use dovetail_journal::memory::MemoryOptions;
use dovetail_model::{Epoch, Filter, Revision};

fn script<F: Future<Output = ()>>(script: impl FnOnce(World) -> F) {
    with_engine(Options::default(), MemoryOptions::default(), script);
}

/// Live feeds fall behind after a few entries, and the ring forgets soon.
fn tight() -> Options {
    Options { feed_pending_bytes: 1_000, ring_bytes: 3_000, tail_bytes: 3_000, ..Options::default() }
}

fn is_silent(subscriber: &mut Subscriber) -> bool {
    subscriber.poll_next(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[test]
fn a_baseline_is_exact_and_live_follows_from_there() {
    script(|world| async move {
        world.put("a/1", "x").await;
        let at = world.put("b", "y").await;
        let mut subscriber = world.subscriber();
        let id = world.subscribe(&mut subscriber, "#", Start::Baseline, Mode::Latest);
        // Written after the subscription and before anything of it was read.
        let live = world.put("a/1", "z").await;
        let mut copy = Copy::default();
        for _ in 0..4 {
            copy.take(&next(&mut subscriber).await);
        }
        assert_eq!(copy.position, Some(at));
        assert_eq!(copy.state["a/1"], "x", "the baseline is frozen");
        copy.read_to(&mut subscriber, id, live).await;
        assert_eq!(copy.state, world.state("#"));
        assert!(is_silent(&mut subscriber));
    });
}

#[test]
fn a_filter_sees_its_part_and_the_chain_holds() {
    script(|world| async move {
        let mut subscriber = world.subscriber();
        let id = world.subscribe(&mut subscriber, "a/+", Start::Baseline, Mode::Every);
        let mut copy = Copy::default();
        world.put("b", "1").await;
        world.put("a/1", "2").await;
        world.put("a/1/deep", "3").await;
        world.batch(vec![("b", put("4")), ("a/2", put("5")), ("c", put("6"))]).await.unwrap();
        let head = world.put("b", "7").await;
        copy.read_to(&mut subscriber, id, head).await;
        assert_eq!(copy.revisions, [2, 4]);
        assert_eq!(copy.state, world.state("a/+"));
        assert_eq!(copy.position, Some(head), "progress tells what did not concern the feed");
    });
}

#[test]
fn a_batch_is_delivered_as_a_unit() {
    script(|world| async move {
        let mut subscriber = world.subscriber();
        world.subscribe(&mut subscriber, "#", Start::Now, Mode::Every);
        assert!(matches!(next(&mut subscriber).await, Item::Progress { .. }));
        world.batch(vec![("a", put("1")), ("b", put("2"))]).await.unwrap();
        let Item::Change(delivery) = next(&mut subscriber).await else { panic!("no change") };
        assert_eq!(delivery.len(), 2);
        assert!(is_silent(&mut subscriber));
    });
}

#[test]
fn a_latest_feed_that_falls_behind_gets_the_newest_states_once() {
    with_engine(tight(), MemoryOptions::default(), |world| async move {
        let mut subscriber = world.subscriber();
        let id = world.subscribe(&mut subscriber, "#", Start::Baseline, Mode::Latest);
        let mut copy = Copy::default();
        copy.take(&next(&mut subscriber).await);
        copy.take(&next(&mut subscriber).await);
        world.put("gone", "1").await;
        for n in 0..50 {
            world.put("hot", &n.to_string()).await;
            world.put(&format!("cold/{n}"), "1").await;
        }
        world.delete("gone").await;
        let head = world.put("last", "1").await;
        let behind = world.engine.counters().values();
        assert_eq!((behind.feeds_behind, behind.catch_ups), (1, 1));
        copy.read_to(&mut subscriber, id, head).await;
        assert_eq!(copy.state, world.state("#"));
        assert!(
            copy.revisions.len() < 60,
            "{} revisions: the hot resource is told once",
            copy.revisions.len()
        );
        // And it is live again.
        let live = world.put("hot", "live").await;
        copy.read_to(&mut subscriber, id, live).await;
        assert_eq!(copy.state["hot"], "live");
        let behind = world.engine.counters().values();
        assert_eq!((behind.feeds_behind, behind.catch_ups), (0, 1));
    });
}

#[test]
fn an_every_feed_that_falls_behind_gets_every_entry() {
    with_engine(tight(), MemoryOptions::default(), |world| async move {
        let mut subscriber = world.subscriber();
        let id = world.subscribe(&mut subscriber, "hot", Start::Baseline, Mode::Every);
        let mut copy = Copy::default();
        copy.take(&next(&mut subscriber).await);
        copy.take(&next(&mut subscriber).await);
        for n in 0..100 {
            world.put("hot", &n.to_string()).await;
        }
        copy.read_to(&mut subscriber, id, world.shard.head()).await;
        assert_eq!(copy.revisions, (1..=100).collect::<Vec<_>>());
    });
}

#[test]
fn an_every_feed_behind_trimmed_history_is_reset() {
    let journal = MemoryOptions { history_bytes_max: 500, ..MemoryOptions::default() };
    with_engine(tight(), journal, |world| async move {
        let mut subscriber = world.subscriber();
        let id = world.subscribe(&mut subscriber, "#", Start::Baseline, Mode::Every);
        let mut copy = Copy::default();
        copy.take(&next(&mut subscriber).await);
        copy.take(&next(&mut subscriber).await);
        for n in 0..200 {
            world.put("hot", &n.to_string()).await;
        }
        copy.read_to(&mut subscriber, id, world.shard.head()).await;
        assert_eq!(copy.resets, [ResetReason::TooOld]);
        assert_eq!(copy.state, world.state("#"));
    });
}

/// One row of the table of boundaries.
async fn resume(world: &World, position: Revision, mode: Mode) -> Copy {
    let mut subscriber = world.subscriber();
    let id = world.subscribe(&mut subscriber, "#", Start::After(position), mode);
    let mut copy = Copy { position: Some(position), ..Copy::default() };
    let head = world.shard.head();
    loop {
        copy.take(&next(&mut subscriber).await);
        if copy.position == Some(head) {
            assert!(is_silent(&mut subscriber) || subscriber.progress(id).is_some());
            return copy;
        }
    }
}

#[test]
fn positions_at_their_boundaries() {
    let journal = MemoryOptions { history_bytes_max: 700, ..MemoryOptions::default() };
    with_engine(Options::default(), journal, |world| async move {
        for n in 1..=100 {
            world.put(&format!("a/{}", n % 10), &n.to_string()).await;
        }
        let head = world.shard.head();
        let oldest = world.engine.oldest().number + 1;
        assert!(oldest > 1, "history was trimmed");
        let at = |number| head.epoch.at(number);
        // Every entry after `oldest - 1` is still there.
        let copy = resume(&world, at(oldest - 1), Mode::Every).await;
        assert_eq!((copy.resets.len(), copy.revisions.len() as u64), (0, 100 - oldest + 1));
        assert_eq!(resume(&world, at(oldest - 2), Mode::Every).await.resets, [ResetReason::TooOld]);
        assert_eq!(resume(&world, at(oldest), Mode::Every).await.revisions.len() as u64, 100 - oldest);
        for mode in [Mode::Latest, Mode::Every] {
            let copy = resume(&world, head, mode).await;
            assert_eq!((copy.resets.len(), copy.revisions.len()), (0, 0), "the head has nothing after it");
            let copy = resume(&world, at(head.number + 1), mode).await;
            assert_eq!((copy.resets, copy.state.len()), (vec![ResetReason::InTheFuture], 10));
            let other = Epoch::from_random(head.epoch.to_bits() ^ 1).at(head.number);
            let copy = resume(&world, other, mode).await;
            assert_eq!((copy.resets, copy.state.len()), (vec![ResetReason::OtherEpoch], 10));
        }
        // The newest states need no history.
        let copy = resume(&world, at(0), Mode::Latest).await;
        assert_eq!((copy.resets.len(), copy.revisions.len()), (0, 10));
    });
}

#[test]
fn who_follows_little_is_told_what_it_missed_of_it_and_no_more() {
    with_engine(tight(), MemoryOptions::default(), |world| async move {
        let name = |n: u64| format!("g/{}/{}", n % 10, n / 10 % 3);
        for n in 0..30 {
            world.put(&name(n), "old").await;
        }
        let position = world.shard.head();
        let filters = ["g/3/#", "g/3/1", "g/+/2", "g/#", "g/3/+/x/#", "#"];
        let before = filters.map(|filter| world.state(filter));
        let mut told: Vec<(u64, String)> = Vec::new();
        for n in 0..400 {
            let done = if n % 7 == 6 {
                world.delete(&name(n * 3)).await.revision
            } else {
                world.put(&name(n * 3), &n.to_string()).await
            };
            told.push((done.number, name(n * 3)));
        }
        told.dedup_by_key(|(number, _)| *number);
        let head = world.shard.head();
        for (filter, before) in filters.into_iter().zip(before) {
            for mode in [Mode::Latest, Mode::Every] {
                let mut subscriber = world.subscriber();
                let id = world.subscribe(&mut subscriber, filter, Start::After(position), mode);
                let mut copy = Copy { position: Some(position), state: before.clone(), ..Copy::default() };
                copy.read_to(&mut subscriber, id, head).await;
                assert_eq!(copy.state, world.state(filter), "{filter} {mode:?}");
                let matching = Filter::new(filter).unwrap();
                let mut expected: Vec<_> =
                    told.iter().filter(|(_, name)| matching.matches(&topic(name))).collect();
                if mode == Mode::Latest {
                    let newest = |(number, name): &(u64, String)| {
                        !told.iter().any(|(other, same)| same == name && other > number)
                    };
                    expected.retain(|told| newest(told));
                }
                let expected: Vec<_> = expected.into_iter().map(|(number, _)| *number).collect();
                assert_eq!(copy.revisions, expected, "{filter} {mode:?}");
            }
        }
    });
}

#[test]
fn changes_answer_like_feeds_and_pages_compose() {
    let journal = MemoryOptions { history_bytes_max: 500, ..MemoryOptions::default() };
    with_engine(Options::default(), journal, |world| async move {
        for n in 1..=60 {
            world.put(&format!("a/{}", n % 10), &n.to_string()).await;
        }
        world.batch(vec![("a/1", Verb::DELETE), ("a/2", put("x")), ("b", put("y"))]).await.unwrap();
        let head = world.shard.head();
        let oldest = world.engine.oldest().number + 1;
        let ask = |number: u64, mode, limit| {
            let changes =
                Changes { filter: Filter::new("a/+").unwrap(), since: head.epoch.at(number), mode, limit };
            world.shard.changes(world.shard.policy().authorize(&who(), changes).unwrap())
        };
        for mode in [Mode::Latest, Mode::Every] {
            let whole = ask(oldest - 1, mode, usize::MAX).await.unwrap();
            assert_eq!(whole.rev, head);
            let flat = |page: &dovetail_engine::ChangePage| -> Vec<String> {
                page.deliveries
                    .iter()
                    .map(|d| format!("{} {:?}", d.rev, d.changes().collect::<Vec<_>>()))
                    .collect()
            };
            let mut paged = Vec::new();
            let mut position = oldest - 1;
            while position < head.number {
                let page = ask(position, mode, 3).await.unwrap();
                paged.extend(flat(&page));
                assert!(page.rev.number > position, "a page goes on");
                position = page.rev.number;
            }
            assert_eq!(paged, flat(&whole));
            let gone = ask(head.number + 1, mode, 9).await.unwrap_err();
            assert_eq!(gone, ChangesError::Gone { reason: ResetReason::InTheFuture, head });
        }
        let gone = ask(oldest - 2, Mode::Every, 9).await.unwrap_err();
        assert_eq!(gone, ChangesError::Gone { reason: ResetReason::TooOld, head });
    });
}

#[test]
fn forgotten_tombstones_reset_who_might_miss_a_delete() {
    script(|world| async move {
        let before = world.put("a", "1").await;
        world.delete("a").await;
        let after = world.put("b", "1").await;
        let week = Duration::from_hours(24 * 8).as_millis() as u64;
        world.hand.fetch_add(week, std::sync::atomic::Ordering::SeqCst);
        // The owner looks after the house when it has nothing else to do.
        while resume(&world, before, Mode::Latest).await.resets.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(resume(&world, after, Mode::Latest).await.resets.is_empty());
    });
}

#[test]
fn events_come_in_order_with_the_writes_of_their_publisher() {
    script(|world| async move {
        let mut subscriber = world.subscriber();
        world.subscribe(&mut subscriber, "a", Start::Now, Mode::Every);
        assert!(matches!(next(&mut subscriber).await, Item::Progress { .. }));
        for n in 0..100 {
            if n % 3 == 0 {
                world.put("a", &n.to_string()).await;
            } else {
                world.publish("a", &n.to_string()).await;
            }
        }
        let mut told = Vec::new();
        while told.len() < 100 {
            let Item::Change(delivery) = next(&mut subscriber).await else { continue };
            let change = delivery.changes().next().unwrap();
            told.push(common::text(&change.representation().unwrap().payload));
        }
        assert_eq!(told, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
        assert_eq!(world.state("#").len(), 1, "events are not state");
    });
}

#[test]
fn overflowing_events_are_dropped_and_counted_or_end_the_feed() {
    let options = Options { feed_pending_bytes: 1_000, ..Options::default() };
    with_engine(options, MemoryOptions::default(), |world| async move {
        let (mut dropping, mut ending) = (world.subscriber(), world.subscriber());
        let start = Start::Now;
        world.subscribe_with(&mut dropping, "#", start, Mode::Latest, Events::Drop);
        world.subscribe_with(&mut ending, "#", start, Mode::Every, Events::End);
        for subscriber in [&mut dropping, &mut ending] {
            assert!(matches!(next(subscriber).await, Item::Progress { .. }));
        }
        for n in 0..20 {
            world.publish("a", &n.to_string()).await;
        }
        let dropped = || world.engine.counters().values().events_dropped;
        let mut told = 0;
        while told + dropped() < 20 {
            assert!(matches!(next(&mut dropping).await, Item::Change(_)));
            told += 1;
        }
        assert!(is_silent(&mut dropping), "what is not told is counted");
        assert!(dropped() > 0);
        let ended = loop {
            if let Item::End(reason) = next(&mut ending).await {
                break reason;
            }
        };
        assert_eq!(ended, EndReason::TooSlow);
    });
}

#[test]
fn publishers_wait_a_while_for_subscribers_that_read() {
    let options = Options { feed_pending_bytes: 2_000, event_inbox_bytes: 500, ..Options::default() };
    with_engine(options, MemoryOptions::default(), |world| async move {
        let mut subscriber = world.subscriber();
        world.subscribe(&mut subscriber, "#", Start::Now, Mode::Latest);
        assert!(matches!(next(&mut subscriber).await, Item::Progress { .. }));
        let publisher = tokio::task::spawn_local({
            let shard = world.shard.clone();
            async move {
                for n in 0..500 {
                    let publish = dovetail_engine::Publish {
                        topic: topic("a"),
                        representation: dovetail_model::Representation::copied(
                            n.to_string().as_bytes(),
                            None,
                        ),
                        time_to_live: None,
                        publisher: None,
                    };
                    shard.publish(shard.policy().authorize(&who(), publish).unwrap()).await;
                }
            }
        });
        for n in 0..500 {
            let Item::Change(delivery) = next(&mut subscriber).await else { panic!("no event") };
            let told = delivery.changes().next().unwrap().representation().unwrap().payload.clone();
            assert_eq!(told, n.to_string());
        }
        publisher.await.unwrap();
        assert_eq!(world.engine.counters().values().events_dropped, 0);
    });
}

/// What is told to all who read is dropped, and what one of them has not read is not. A feed whose subscriber reads
/// nothing at all, one behind its baseline and one that is live are the three that can still have an event to tell.
#[test]
fn an_event_stays_until_everybody_has_read_it() {
    script(|world| async move {
        let commit = world.write(Write::one(topic("a"), put("state"))).await.unwrap();
        let (mut quick, mut slow, mut new) = (world.subscriber(), world.subscriber(), world.subscriber());
        world.subscribe(&mut quick, "a", Start::Now, Mode::Latest);
        world.subscribe(&mut slow, "a", Start::Now, Mode::Latest);
        for subscriber in [&mut quick, &mut slow] {
            assert!(matches!(next(subscriber).await, Item::Progress { .. }));
        }
        let told = |item: &Item| match item {
            Item::Change(told) => {
                common::text(&told.changes().next().unwrap().representation().unwrap().payload)
            }
            other => panic!("{other:?} in place of an event"),
        };
        for n in 0..20 {
            world.publish("a", &n.to_string()).await;
            assert_eq!(told(&next(&mut quick).await), n.to_string());
            assert!(is_silent(&mut quick), "there is no more");
            if n == 9 {
                world.subscribe(&mut new, "a", Start::Baseline, Mode::Latest);
            }
        }
        for n in 0..20 {
            assert_eq!(told(&next(&mut slow).await), n.to_string());
        }
        assert!(is_silent(&mut slow), "there is no more");
        assert!(matches!(next(&mut new).await, Item::BaselineBegin(rev) if rev == commit.revision));
        assert!(matches!(next(&mut new).await, Item::Resource(_)));
        assert!(matches!(next(&mut new).await, Item::BaselineEnd(_)));
        for n in 10..20 {
            assert_eq!(told(&next(&mut new).await), n.to_string());
        }
        assert!(is_silent(&mut new), "there is no more");
        // Everybody has read everything: the next ones take the places of those.
        for n in 20..23 {
            world.publish("a", &n.to_string()).await;
            for subscriber in [&mut quick, &mut slow, &mut new] {
                assert_eq!(told(&next(subscriber).await), n.to_string());
            }
        }
        let after = world.write(Write::one(topic("a"), put("newer"))).await.unwrap();
        world.publish("a", "last").await;
        for subscriber in [&mut quick, &mut slow, &mut new] {
            let Item::Change(change) = next(subscriber).await else { panic!("no change") };
            assert_eq!((change.after, change.rev), (commit.revision, after.revision));
            assert_eq!(told(&next(subscriber).await), "last");
        }
        assert_eq!(world.engine.counters().values().events_dropped, 0);
    });
}

#[test]
fn no_local_leaves_out_what_the_connection_wrote_itself() {
    script(|world| async move {
        let own = PublisherId(7);
        let mut subscriber = world.subscriber();
        let subscribe = Subscribe {
            filter: Filter::everything(),
            start: Start::Now,
            mode: Mode::Every,
            events: Events::Drop,
            no_local: Some(own),
        };
        subscriber.subscribe(world.shard.policy().authorize(&who(), subscribe).unwrap());
        assert!(matches!(next(&mut subscriber).await, Item::Progress { .. }));
        world.write(Write { publisher: Some(own), ..Write::one(topic("a"), put("1")) }).await.unwrap();
        world
            .write(Write { publisher: Some(PublisherId(8)), ..Write::one(topic("b"), put("2")) })
            .await
            .unwrap();
        let Item::Change(delivery) = next(&mut subscriber).await else { panic!("no change") };
        assert_eq!(delivery.changes().next().unwrap().topic().as_str(), "b");
    });
}

#[test]
fn what_ended_says_nothing_more_and_holds_nothing_back() {
    script(|world| async move {
        let (mut one, mut other) = (world.subscriber(), world.subscriber());
        let first = world.subscribe(&mut one, "#", Start::Now, Mode::Latest);
        let second = world.subscribe(&mut one, "#", Start::Now, Mode::Latest);
        world.subscribe(&mut other, "#", Start::Now, Mode::Latest);
        assert_eq!(world.engine.counters().values().feeds, 3);
        assert!(one.unsubscribe(first));
        assert!(!one.unsubscribe(first));
        let (id, item) = one.next().await;
        assert_eq!(id, second);
        assert!(matches!(item, Item::Progress { .. }));
        drop(other);
        assert_eq!(world.engine.counters().values().feeds, 1);
        world.put("a", "1").await;
        assert_eq!(one.next().await.0, second);
        drop(one);
        // Without feeds the shard takes no part; a new feed joins where the journal is then.
        world.put("a", "2").await;
        let mut late = world.subscriber();
        let id = world.subscribe(&mut late, "#", Start::Baseline, Mode::Latest);
        let mut copy = Copy::default();
        copy.read_to(&mut late, id, world.shard.head()).await;
        assert_eq!(copy.state, world.state("#"));
        let live = world.put("a", "3").await;
        copy.read_to(&mut late, id, live).await;
        assert_eq!(copy.state["a"], "3");
    });
}
