//! The loop that keeps a watch going.

use dovetail_api::decode::Frame;
use dovetail_model::{Filter, Revision};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::machine::Machine;
use super::mqtt::Mqtt;
use super::poll::Poll;
use super::sse::Sse;
use super::transport::Transport;
use super::{Interruption, Item, Start, Via, WatchOptions};
use crate::Client;
use crate::error::Error;

/// Follows a filter: the state, then every change, over as many connections as it takes.
///
/// It works while [`Watch::next`] is awaited. Dropping it closes the connection.
#[derive(Debug)]
pub struct Watch {
    follower: Follower<Wire>,
}

/// The transports. An enum, so that a watch is one type.
#[derive(Debug)]
enum Wire {
    Sse(Box<Sse>),
    Mqtt(Box<Mqtt>),
    Poll(Box<Poll>),
}

/// A machine, a transport, and the times at which to connect them.
#[derive(Debug)]
struct Follower<T> {
    machine: Machine,
    transport: T,
    backoff: Backoff,
    link: Link,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Link {
    /// Not connected; the next attempt is due at this time.
    Down { until: Option<Instant> },
    /// Connected.
    Up,
}

impl Client {
    /// Follows `filter`. No connection is made before [`Watch::next`] is awaited.
    pub fn watch(&self, filter: Filter, via: Via, options: WatchOptions) -> Watch {
        Watch::new(self.clone(), filter, via, options)
    }
}

impl Watch {
    fn new(client: Client, filter: Filter, via: Via, options: WatchOptions) -> Self {
        let backoff = Backoff::new(options.retry_first, options.retry_most);
        let machine = Machine::new(options.start);
        let transport = match via {
            Via::Sse => Wire::Sse(Box::new(Sse::new(client, filter, options))),
            Via::Poll => Wire::Poll(Box::new(Poll::new(client, filter, options))),
            Via::Mqtt(server) => Wire::Mqtt(Box::new(Mqtt::new(&client, server, filter, &options))),
        };
        Self { follower: Follower { machine, transport, backoff, link: Link::Down { until: None } } }
    }

    /// The next item. May be cancelled: the next call goes on.
    ///
    /// # Errors
    /// Only what the watch cannot get over by itself: the server refuses, and will refuse again. What passes
    /// is [`Item::Interrupted`]. Another call after an error tries again.
    pub async fn next(&mut self) -> Result<Item, Error> {
        self.follower.next().await
    }

    /// How far everything has been told: where another watch would go on. `None` before the first baseline is
    /// complete and after a reset.
    pub fn position(&self) -> Option<Revision> {
        self.follower.machine.position()
    }

    /// Cuts the connection, as a network would. The watch goes on by itself.
    pub fn disconnect(&mut self) {
        self.follower.disconnect();
    }
}

impl<T: Transport> Follower<T> {
    async fn next(&mut self) -> Result<Item, Error> {
        if let Link::Down { until } = self.link {
            if let Some(until) = until {
                tokio::time::sleep_until(until).await;
            }
            if let Err(error) = self.transport.open(self.machine.start()).await {
                return self.failed(error);
            }
            self.link = Link::Up;
        }
        let frame = self.transport.next().await;
        match frame.and_then(|frame| self.machine.take(frame)) {
            Ok(item) => {
                self.backoff.headway();
                Ok(item)
            }
            Err(error) => self.failed(error),
        }
    }

    fn disconnect(&mut self) {
        self.transport.close();
        self.machine.interrupted();
        self.link = Link::Down { until: None };
    }

    /// Decides what an error means: a reset, another attempt, or the end.
    fn failed(&mut self, error: Error) -> Result<Item, Error> {
        self.disconnect();
        if error.is_position_gone() {
            self.machine.reset();
            let rev = error.problem().and_then(|problem| problem.rev);
            return rev.map(|rev| Item::Reset { reason: "expired".into(), rev }).ok_or(error);
        }
        if !error.is_passing() {
            return Err(error);
        }
        let retry_in = self.backoff.next_delay(error.retry_after());
        self.link = Link::Down { until: Some(Instant::now() + retry_in) };
        Ok(Item::Interrupted(Interruption { error, retry_in, attempt: self.backoff.attempt() }))
    }
}

impl Transport for Wire {
    async fn open(&mut self, start: Start) -> Result<(), Error> {
        match self {
            Self::Sse(sse) => sse.open(start).await,
            Self::Mqtt(mqtt) => mqtt.open(start).await,
            Self::Poll(poll) => poll.open(start).await,
        }
    }

    async fn next(&mut self) -> Result<Frame, Error> {
        match self {
            Self::Sse(sse) => sse.next().await,
            Self::Mqtt(mqtt) => mqtt.next().await,
            Self::Poll(poll) => poll.next().await,
        }
    }

    fn close(&mut self) {
        match self {
            Self::Sse(sse) => sse.close(),
            Self::Mqtt(mqtt) => mqtt.close(),
            Self::Poll(poll) => poll.close(),
        }
    }
}

#[cfg(test)]
mod tests;
