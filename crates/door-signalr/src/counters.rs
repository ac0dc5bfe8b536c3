//! What the door counts, for each shard apart, so that shards do not share a cache line.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        /// What the door has done since the start.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Counts {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        /// The counts of one shard.
        #[derive(Debug, Default)]
        pub(crate) struct Tally {
            $(pub(crate) $name: Count,)+
        }

        impl Counts {
            fn add(&mut self, tally: &Tally) {
                $(self.$name = self.$name.wrapping_add(tally.$name.0.load(Relaxed));)+
            }
        }
    };
}

counts! {
    /// Connections negotiated.
    negotiations;
    /// Requests and connections refused: unknown, used twice, or too many.
    refused;
    /// Connections on a WebSocket that are open now.
    websockets;
    /// Connections on an event stream that are open now.
    event_streams;
    /// Connections that poll now.
    polling;
    /// Connections that shook hands.
    handshakes;
    /// Times that a WebSocket took the place of another of its connection.
    reconnects;
    /// Connections ended because their client fell silent or stayed away.
    timeouts;
    /// Connections ended for breaking the protocol.
    violations;
    /// Calls and streams asked for.
    invocations;
    /// Messages from clients.
    messages_received;
    /// Messages to clients that are no pings.
    messages_sent;
    /// Bytes from clients, without what frames them.
    bytes_received;
    /// Bytes to clients, without what frames them.
    bytes_sent;
}

/// One count. Written by its shard alone.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// Counts something as long as the answer lives.
    pub(crate) fn hold(tally: &Arc<Tally>, of: fn(&Tally) -> &Self) -> Open {
        of(tally).add(1);
        Open { tally: Arc::clone(tally), of }
    }
}

/// Something that is open.
#[derive(Debug)]
pub(crate) struct Open {
    tally: Arc<Tally>,
    of: fn(&Tally) -> &Count,
}

impl Drop for Open {
    fn drop(&mut self) {
        (self.of)(&self.tally).0.fetch_sub(1, Relaxed);
    }
}

/// The counts of all shards.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<Vec<Arc<Tally>>>);

impl Counters {
    pub(crate) fn of_shard(&self) -> Arc<Tally> {
        let tally = Arc::new(Tally::default());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&tally));
        tally
    }

    pub(crate) fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        for tally in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sum.add(tally);
        }
        sum
    }
}
