//! The two paths without a disk and without sockets: what the engine itself costs.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot run has failed")]

use std::hint::black_box;
use std::net::IpAddr;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dovetail_auth::{Policy, Principal};
use dovetail_engine::{
    Clock, Engine, Events, Mode, Options, Publish, Recovery, Running, Shard, Start, Subscribe, Subscriber,
    Verb, Write,
};
use dovetail_journal::memory::{MemoryJournal, MemoryOptions};
use dovetail_journal::{FileJournal, FileOptions, Journal};
use dovetail_model::{Filter, Representation, Topic};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

fn who() -> Principal {
    Principal::anonymous(IpAddr::from([127, 0, 0, 1]))
}

fn in_memory() -> Journal {
    MemoryJournal::new(MemoryOptions::default()).unwrap().into()
}

fn on_a_shard<T>(journal: Journal, script: impl AsyncFnOnce(Shard) -> T) -> T {
    let recovered = Recovery::new().finish().unwrap();
    let (engine, running): (Engine, Running) =
        Engine::start(journal, recovered, Policy::loopback(), Clock::system(), Options::default()).unwrap();
    let runtime: Runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let done = LocalSet::new().block_on(&runtime, async { script(engine.shard()).await });
    drop(runtime);
    running.stop();
    done
}

fn put(shard: &Shard, topic: &Topic) -> dovetail_engine::Ticket {
    let representation = Representation::copied(&[b'x'; 100], None);
    let write = Write::one(topic.clone(), Verb::Put { representation, time_to_live: None });
    shard.submit(shard.policy().authorize(&who(), write).unwrap())
}

/// The time of `rounds` writes, each after the answer to the one before.
async fn write_alone(shard: Shard, rounds: u64) -> Duration {
    let topic = Topic::new("plant/7/temp").unwrap();
    let began = Instant::now();
    for _ in 0..rounds {
        black_box(put(&shard, &topic).await.unwrap());
    }
    began.elapsed()
}

/// The time of `rounds` groups of 1,024 writes to 10,000 resources.
async fn write_groups(shard: Shard, rounds: u64) -> Duration {
    let topics: Vec<Topic> = (0..10_000).map(|n| Topic::new(&format!("plant/{n}/temp")).unwrap()).collect();
    let mut topics = topics.iter().cycle();
    let began = Instant::now();
    for _ in 0..rounds {
        let tickets: Vec<_> = (0..1024).map(|_| put(&shard, topics.next().unwrap())).collect();
        for ticket in tickets {
            black_box(ticket.await.unwrap());
        }
    }
    began.elapsed()
}

fn subscribe(shard: &Shard) -> Subscriber {
    let subscribe = Subscribe {
        filter: Filter::everything(),
        start: Start::Now,
        mode: Mode::Latest,
        events: Events::Drop,
        no_local: None,
    };
    let mut subscriber = shard.subscriber(who());
    subscriber.subscribe(shard.policy().authorize(&who(), subscribe).unwrap());
    subscriber
}

fn drain(subscriber: &mut Subscriber) -> u64 {
    let mut items = 0;
    while let Poll::Ready(item) = subscriber.poll_next(&mut Context::from_waker(Waker::noop())) {
        black_box(&item);
        items += 1;
    }
    items
}

/// The time in which `rounds` batches of 100 events reach 1,000 subscribers.
async fn fan_out(shard: Shard, rounds: u64) -> Duration {
    let mut subscribers: Vec<_> = (0..1_000).map(|_| subscribe(&shard)).collect();
    for subscriber in &mut subscribers {
        drain(subscriber);
    }
    let topic = Topic::new("plant/7/temp").unwrap();
    let began = Instant::now();
    for _ in 0..rounds {
        for _ in 0..100 {
            let publish = Publish {
                topic: topic.clone(),
                representation: Representation::copied(&[b'x'; 100], None),
                time_to_live: None,
                publisher: None,
            };
            assert!(shard.try_publish(shard.policy().authorize(&who(), publish).unwrap()).is_ok());
        }
        // The dispatcher has its turn.
        tokio::task::yield_now().await;
        let delivered: u64 = subscribers.iter_mut().map(drain).sum();
        assert_eq!(delivered, 100_000);
    }
    began.elapsed()
}

fn paths(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    group.sample_size(10);
    group.bench_function("write, alone, in memory", |b| {
        b.iter_custom(|rounds| on_a_shard(in_memory(), async move |shard| write_alone(shard, rounds).await));
    });
    group.bench_function("write, alone, to a file", |b| {
        b.iter_custom(|rounds| {
            let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let journal =
                FileJournal::open(dir.path(), FileOptions::default(), &mut Recovery::new()).unwrap();
            on_a_shard(journal.into(), async move |shard| {
                // tidy: allow(sleep) a new journal prepares its next segment, and nothing says when it has
                // done so; what is measured is the time after that.
                tokio::time::sleep(Duration::from_secs(1)).await;
                // A journal of its own for each sample is dear, so a round is the mean of many.
                write_alone(shard, rounds * 1_000).await / 1_000
            })
        });
    });
    group.throughput(Throughput::Elements(1024));
    group.bench_function("write, in groups of 1024", |b| {
        b.iter_custom(|rounds| on_a_shard(in_memory(), async move |shard| write_groups(shard, rounds).await));
    });
    group.throughput(Throughput::Elements(100_000));
    group.bench_function("event to 1000 feeds, in turns of 100", |b| {
        b.iter_custom(|rounds| on_a_shard(in_memory(), async move |shard| fan_out(shard, rounds).await));
    });
    group.finish();
}

criterion_group!(benches, paths);
criterion_main!(benches);
