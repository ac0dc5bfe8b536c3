//! What a filter costs in memory.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set up has no result")]
#![allow(clippy::print_stdout, reason = "the number is the result")]

use dovetail_model::Filter;
use dovetail_routes::Routes;

const FILTERS: u32 = 100_000;

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1_024
}

fn main() {
    let before = resident_bytes();
    let mut routes = Routes::new();
    for key in 0..FILTERS {
        routes.insert(&Filter::new(&format!("plant/device{key}/+")).unwrap(), key);
    }
    println!("a filter of its own: {} bytes", (resident_bytes() - before) / FILTERS as usize);
    let before = resident_bytes();
    let mut routes = Routes::new();
    let filter = Filter::new("plant/#").unwrap();
    for key in 0..FILTERS {
        routes.insert(&filter, key);
    }
    println!("one more key of a filter: {} bytes", (resident_bytes() - before) / FILTERS as usize);
}
