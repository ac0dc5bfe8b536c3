//! How much goes through the door, counted where it goes through.
//!
//! Each shard counts for itself.

use std::ops::Add;
use std::sync::Arc;

use dovetail_net::{Count, PerShard};

/// What went through one shard, or through all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TrafficValues {
    /// Bytes that came.
    pub bytes_received: u64,
    /// Bytes that went.
    pub bytes_sent: u64,
    /// Packets of any kind that came.
    pub packets_received: u64,
    /// Packets of any kind that were written.
    pub packets_sent: u64,
    /// PUBLISH packets that came.
    pub publishes_received: u64,
    /// PUBLISH packets that were written.
    pub publishes_sent: u64,
    /// Subscriptions that exist now, shared ones included.
    pub subscriptions: u64,
    /// Shared subscriptions that exist now.
    pub shared_subscriptions: u64,
}

/// The counts of one shard. They lie alone, so that two shards do not share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Traffic {
    pub(crate) bytes_received: Count,
    pub(crate) bytes_sent: Count,
    pub(crate) packets_received: Count,
    pub(crate) packets_sent: Count,
    pub(crate) publishes_received: Count,
    pub(crate) publishes_sent: Count,
    subscriptions: Count,
    shared_subscriptions: Count,
}

/// The subscriptions of one connection, counted as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted {
    traffic: Arc<Traffic>,
    subscriptions: u32,
    shared: u32,
}

/// What went through all shards.
pub(crate) fn sum(shards: &PerShard<Traffic>) -> TrafficValues {
    let mut sum = TrafficValues::default();
    shards.for_each(|traffic| sum = sum + traffic.values());
    sum
}

impl Traffic {
    fn values(&self) -> TrafficValues {
        TrafficValues {
            bytes_received: self.bytes_received.get(),
            bytes_sent: self.bytes_sent.get(),
            packets_received: self.packets_received.get(),
            packets_sent: self.packets_sent.get(),
            publishes_received: self.publishes_received.get(),
            publishes_sent: self.publishes_sent.get(),
            subscriptions: self.subscriptions.get(),
            shared_subscriptions: self.shared_subscriptions.get(),
        }
    }
}

impl Add for TrafficValues {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        // A shard that counts down while it is read may be off by one for a moment.
        Self {
            bytes_received: self.bytes_received.wrapping_add(other.bytes_received),
            bytes_sent: self.bytes_sent.wrapping_add(other.bytes_sent),
            packets_received: self.packets_received.wrapping_add(other.packets_received),
            packets_sent: self.packets_sent.wrapping_add(other.packets_sent),
            publishes_received: self.publishes_received.wrapping_add(other.publishes_received),
            publishes_sent: self.publishes_sent.wrapping_add(other.publishes_sent),
            subscriptions: self.subscriptions.wrapping_add(other.subscriptions),
            shared_subscriptions: self.shared_subscriptions.wrapping_add(other.shared_subscriptions),
        }
    }
}

impl Counted {
    pub(crate) fn new(traffic: &Arc<Traffic>) -> Self {
        Self { traffic: Arc::clone(traffic), subscriptions: 0, shared: 0 }
    }

    /// The connection has so many subscriptions now, so many of them shared.
    pub(crate) fn set(&mut self, subscriptions: usize, shared: usize) {
        let (subscriptions, shared) = (subscriptions as u32, shared as u32);
        let change = |now: u32, before: u32| u64::from(now).wrapping_sub(before.into());
        self.traffic.subscriptions.add(change(subscriptions, self.subscriptions));
        self.traffic.shared_subscriptions.add(change(shared, self.shared));
        (self.subscriptions, self.shared) = (subscriptions, shared);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.set(0, 0);
    }
}
