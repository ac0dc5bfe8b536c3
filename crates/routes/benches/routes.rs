//! What a match costs: by keys of one filter, and by filters that are there and do not match.
#![allow(missing_docs, reason = "criterion's macros make public items without any")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set up has no result")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dovetail_model::{Filter, Topic};
use dovetail_routes::Routes;

fn filter(text: &str) -> Filter {
    Filter::new(text).unwrap()
}

fn count(routes: &Routes<u32>, topic: &Topic) -> u64 {
    let mut sum = 0;
    routes.matching(topic, |key| sum += u64::from(*key));
    sum
}

fn keys_of_one_filter(c: &mut Criterion) {
    let mut group = c.benchmark_group("keys_of_one_filter");
    for keys in [1, 1_000] {
        let mut routes = Routes::new();
        for key in 0..keys {
            routes.insert(&filter("plant/+/temp"), key);
        }
        let topic = Topic::new("plant/7/temp").unwrap();
        group.throughput(Throughput::Elements(u64::from(keys)));
        group.bench_function(BenchmarkId::from_parameter(keys), |b| {
            b.iter(|| count(&routes, black_box(&topic)));
        });
    }
}

fn other_filters(c: &mut Criterion) {
    let mut group = c.benchmark_group("other_filters");
    for filters in [1_000, 10_000, 100_000] {
        let mut routes = Routes::new();
        for key in 0..filters {
            routes.insert(&filter(&format!("plant/device{key}/+")), key);
        }
        let topics: Vec<_> =
            (0..64).map(|i| Topic::new(&format!("plant/device{}/temp", i * 13)).unwrap()).collect();
        let mut at = 0;
        group.bench_function(BenchmarkId::from_parameter(filters), |b| {
            b.iter(|| {
                at = (at + 1) % topics.len();
                count(&routes, black_box(&topics[at]))
            });
        });
    }
}

fn subscribe_and_leave(c: &mut Criterion) {
    let mut routes = Routes::new();
    for key in 0..10_000 {
        routes.insert(&filter(&format!("plant/device{key}/+")), key);
    }
    let filter = filter("plant/device77/temp/#");
    c.bench_function("subscribe_and_leave", |b| {
        b.iter(|| {
            routes.insert(&filter, 1);
            routes.remove(&filter, &1);
        });
    });
}

criterion_group!(benches, keys_of_one_filter, other_filters, subscribe_and_leave);
criterion_main!(benches);
