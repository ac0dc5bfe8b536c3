//! What the door has done, counted for each shard so that shards do not share a cache line.

use dovetail_net::{Count, PerShard};

/// Counts since the start, over all shards. Reading them is not exact across counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CounterValues {
    /// Connections that are open now.
    pub open: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Watches that are open now.
    pub watches: u64,
    /// Requests that came, of any kind.
    pub requests: u64,
    /// Requests refused.
    pub refused: u64,
    /// Frames of watches sent.
    pub frames: u64,
    /// Connections ended for what they sent.
    pub violations: u64,
    /// Connections given up because nothing was heard of them.
    pub silent: u64,
}

/// The counts of one shard.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) open: Count,
    pub(crate) accepted: Count,
    pub(crate) watches: Count,
    pub(crate) requests: Count,
    pub(crate) refused: Count,
    pub(crate) frames: Count,
    pub(crate) violations: Count,
    pub(crate) silent: Count,
}

/// What all shards have counted.
pub(crate) fn sum(shards: &PerShard<Counters>) -> CounterValues {
    let mut sum = CounterValues::default();
    shards.for_each(|shard| {
        sum.open += shard.open.get();
        sum.accepted += shard.accepted.get();
        sum.watches += shard.watches.get();
        sum.requests += shard.requests.get();
        sum.refused += shard.refused.get();
        sum.frames += shard.frames.get();
        sum.violations += shard.violations.get();
        sum.silent += shard.silent.get();
    });
    sum
}
