//! What the door counts, for each shard apart, so that shards do not share a cache line.

use std::sync::Arc;

use dovetail_net::{Count, PerShard};

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        /// What the door has done since the start.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Counts {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        /// The counts of one shard.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(crate) struct Tally {
            $(pub(crate) $name: Count,)+
        }

        impl Counts {
            fn add(&mut self, tally: &Tally) {
                $(self.$name = self.$name.wrapping_add(tally.$name.get());)+
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

/// Something that is open.
#[derive(Debug)]
pub(crate) struct Open {
    tally: Arc<Tally>,
    of: fn(&Tally) -> &Count,
}

impl Open {
    /// Counts something as long as the answer lives.
    pub(crate) fn count(tally: &Arc<Tally>, of: fn(&Tally) -> &Count) -> Self {
        of(tally).add(1);
        Self { tally: Arc::clone(tally), of }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        (self.of)(&self.tally).sub(1);
    }
}

/// What all shards have counted.
pub(crate) fn sum(shards: &PerShard<Tally>) -> Counts {
    let mut sum = Counts::default();
    shards.for_each(|tally| sum.add(tally));
    sum
}
