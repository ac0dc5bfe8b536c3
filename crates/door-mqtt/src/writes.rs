//! What one connection has asked to write, on its way.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use dovetail_auth::Authorized;
use dovetail_engine::{Publish, PublisherId, Shard, Ticket};
use dovetail_mqtt_proto::Receipt;

use crate::now;
use crate::pace::{Pace, PublishRate};

/// Writes of one connection that may be on their way; more are not read.
const WRITES: usize = 512;

/// The writes and events of one connection that are on their way.
pub(crate) struct Writes {
    pub(crate) publisher: PublisherId,
    /// In the order in which they came.
    pub(crate) pending: VecDeque<(Ticket, Option<Receipt>)>,
    /// An event that waits. Nothing is read while there is one, so there is never a second.
    pub(crate) waiting: Option<Box<WaitingEvent>>,
    /// How fast messages are taken, if there is a limit.
    pub(crate) pace: Option<Box<Pace>>,
}

pub(crate) enum WaitingEvent {
    /// For the writes before it.
    Held(Authorized<Publish>, Option<Receipt>),
    /// For subscribers.
    Sending(Pin<Box<dyn Future<Output = ()>>>, Option<Receipt>),
}

impl Writes {
    pub(crate) fn new(publisher: PublisherId, rate: Option<PublishRate>) -> Self {
        let pace = rate.map(|rate| Box::new(Pace::new(rate, now())));
        Self { publisher, pending: VecDeque::new(), waiting: None, pace }
    }

    /// Whether another message can be taken.
    pub(crate) fn have_room(&self) -> bool {
        self.waiting.is_none() && self.pending.len() < WRITES && self.pauses_until().is_none()
    }

    /// When the next message can be taken of a client that publishes faster than it may.
    pub(crate) fn pauses_until(&self) -> Option<Instant> {
        self.pace.as_ref().and_then(|pace| pace.pauses_until())
    }

    /// Waits until everything is done, whatever comes of it.
    pub(crate) async fn finish(self, shard: &Shard) {
        for (ticket, _) in self.pending {
            // The answer is for a client that has gone.
            let _ = ticket.await;
        }
        match self.waiting.map(|waiting| *waiting) {
            Some(WaitingEvent::Held(event, _)) => shard.publish(event).await,
            Some(WaitingEvent::Sending(sending, _)) => sending.await,
            None => {}
        }
    }
}
