//! What a resource costs in memory over its payload.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set up has no result")]
#![allow(clippy::print_stdout, reason = "the number is the result")]

mod sample;

use std::sync::Arc;

use dovetail_model::{Change, Commit, Resource, Topic};
use dovetail_tree::Tree;

use sample::{Shuffled, put, topic};

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const RESOURCES: usize = 1_000_000;
const PAYLOAD_BYTES: usize = 100;

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1_024
}

/// The two indexes that every write touches, on the map that is there to be had.
#[derive(Default)]
struct Imbl {
    names: imbl::OrdMap<Topic, Arc<Resource>>,
    history: imbl::OrdMap<(u64, Topic), Arc<Resource>>,
}

impl Imbl {
    fn apply(&mut self, commit: &Commit) {
        for change in &commit.changes {
            let Change::Put(resource) = change else { continue };
            if let Some(old) = self.names.insert(resource.topic.clone(), Arc::clone(resource)) {
                self.history.remove(&(old.revision, old.topic.clone()));
            }
            self.history.insert((resource.revision, resource.topic.clone()), Arc::clone(resource));
        }
    }
}

fn measure(name: &str, mut apply: impl FnMut(&Commit)) {
    let before = resident_bytes();
    let mut number = 0;
    let mut write = |at: usize| {
        number += 1;
        apply(&put(number, &topic(at)));
    };
    let report = |what: &str| {
        let each = (resident_bytes() - before) / RESOURCES;
        println!("{name}, {what}: {} bytes per resource over its payload", each - PAYLOAD_BYTES);
    };
    (0..RESOURCES).for_each(&mut write);
    report("written once in order");
    Shuffled::below(RESOURCES).take(2 * RESOURCES).for_each(write);
    report("and twice more at random");
}

fn main() {
    // One contender stays alive while the other fills fresh memory.
    let (mut tree, mut other) = (Tree::new(), Imbl::default());
    measure("own", |commit| tree.apply(commit));
    measure("imbl", |commit| other.apply(commit));
    assert_eq!((tree.len(), other.names.len()), (RESOURCES, RESOURCES));
}
