//! What the tree costs: a commit while readers hold the last group's tree, a read, a selection, a catch-up,
//! a start from a snapshot. The same indexes made of `imbl::OrdMap` stand beside it (ADR 0003).
#![allow(missing_docs, reason = "criterion's macros make public items without any")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set up has no result")]

mod sample;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dovetail_model::{Change, Commit, Filter, Resource, Topic};
use dovetail_tree::{Builder, Tree};

use sample::{Shuffled, put, topic};

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What both contenders do with a commit.
trait Apply: Clone {
    fn apply_commit(&mut self, commit: &Commit);
}

impl Apply for Tree {
    fn apply_commit(&mut self, commit: &Commit) {
        self.apply(commit);
    }
}

/// The two indexes that every write touches, on the map that is there to be had.
#[derive(Clone, Default)]
struct Imbl {
    names: imbl::OrdMap<Topic, Arc<Resource>>,
    history: imbl::OrdMap<(u64, Topic), Arc<Resource>>,
}

impl Apply for Imbl {
    fn apply_commit(&mut self, commit: &Commit) {
        for change in &commit.changes {
            let Change::Put(resource) = change else { continue };
            if let Some(old) = self.names.insert(resource.topic.clone(), Arc::clone(resource)) {
                self.history.remove(&(old.revision, old.topic.clone()));
            }
            self.history.insert((resource.revision, resource.topic.clone()), Arc::clone(resource));
        }
    }
}

fn filled<T: Apply>(mut empty: T, topics: &[Topic]) -> (T, u64) {
    let mut number = 0;
    for topic in topics {
        number += 1;
        empty.apply_commit(&put(number, topic));
    }
    (empty, number)
}

fn time_groups<T: Apply>(tree: &mut T, number: &mut u64, topics: &[Topic], group: usize, n: u64) -> Duration {
    let mut spent = Duration::ZERO;
    let mut order = Shuffled::below(topics.len()).skip((*number % 1_000) as usize);
    let mut left = n as usize;
    let mut readers = tree.clone();
    while left > 0 {
        let commits: Vec<Commit> = order
            .by_ref()
            .take(group.min(left))
            .map(|at| {
                *number += 1;
                put(*number, &topics[at])
            })
            .collect();
        left -= commits.len();
        let begin = Instant::now();
        for commit in &commits {
            tree.apply_commit(commit);
        }
        readers = tree.clone();
        spent += begin.elapsed();
    }
    drop(readers);
    spent
}

fn apply(c: &mut Criterion) {
    let mut criterion_group = c.benchmark_group("apply");
    criterion_group.throughput(Throughput::Elements(1));
    for resources in [100_000, 1_000_000] {
        let topics: Vec<Topic> = (0..resources).map(topic).collect();
        let (mut tree, mut number) = filled(Tree::new(), &topics);
        for group in [1, 64, 1_024] {
            let id = BenchmarkId::new(format!("own/{resources}"), group);
            criterion_group.bench_function(id, |b| {
                b.iter_custom(|n| time_groups(&mut tree, &mut number, &topics, group, n));
            });
        }
        drop(tree);
        let (mut tree, mut number) = filled(Imbl::default(), &topics);
        for group in [1, 64, 1_024] {
            let id = BenchmarkId::new(format!("imbl/{resources}"), group);
            criterion_group.bench_function(id, |b| {
                b.iter_custom(|n| time_groups(&mut tree, &mut number, &topics, group, n));
            });
        }
    }
    criterion_group.finish();
}

fn read(c: &mut Criterion) {
    let topics: Vec<Topic> = (0..1_000_000).map(topic).collect();
    let (tree, number) = filled(Tree::new(), &topics);
    let (other, _) = filled(Imbl::default(), &topics);
    let mut order = Shuffled::below(topics.len());
    c.bench_function("get/own", |b| b.iter(|| black_box(tree.get(&topics[order.next().unwrap()]).is_some())));
    c.bench_function("get/imbl", |b| b.iter(|| black_box(other.names.get(&topics[order.next().unwrap()]))));

    let filters = [
        ("one_device", "plant/site050/device0500/#", 10),
        ("one_point_everywhere_on_a_site", "plant/site050/+/measured/value3", 1_000),
        ("a_site", "plant/site050/#", 10_000),
    ];
    let mut group = c.benchmark_group("select");
    for (name, filter, matches) in filters {
        let filter = Filter::new(filter).unwrap();
        assert_eq!(tree.select(&filter).count(), matches);
        group.throughput(Throughput::Elements(matches as u64));
        group.bench_function(name, |b| b.iter(|| tree.select(&filter).map(|r| r.revision).sum::<u64>()));
        group.bench_function(format!("{name}/scan"), |b| {
            b.iter(|| tree.scan(filter.clone()).map(|r| r.revision).sum::<u64>());
        });
    }
    group.finish();
    c.bench_function("scan_all/imbl", |b| b.iter(|| other.names.values().map(|r| r.revision).sum::<u64>()));
    c.bench_function("scan_all/own", |b| b.iter(|| tree.resources().map(|r| r.revision).sum::<u64>()));
    c.bench_function("changed_after/100_of_a_million", |b| {
        b.iter(|| tree.changed_after(black_box(number - 100)).map(|latest| latest.revision()).sum::<u64>());
    });
    c.bench_function("clone", |b| b.iter(|| tree.clone()));
}

fn load(c: &mut Criterion) {
    let topics: Vec<Topic> = (0..1_000_000).map(topic).collect();
    let (tree, number) = filled(Tree::new(), &topics);
    let resources: Vec<_> = tree.resources().cloned().collect();
    let mut group = c.benchmark_group("load");
    group.sample_size(10);
    group.bench_function("a_million", |b| {
        b.iter_batched(
            || resources.clone(),
            |resources| {
                let mut builder = Builder::new(number, 0).unwrap();
                for resource in resources {
                    builder.resource(resource).unwrap();
                }
                builder.build().unwrap()
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn quick() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = quick(); targets = apply, read, load }
criterion_main!(benches);
