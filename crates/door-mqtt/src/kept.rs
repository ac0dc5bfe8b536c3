//! What a connection keeps for a session that outlives it, and what it owes to the disk.
//!
//! **The barrier.** What such a connection promises, by SUBACK, UNSUBACK, PUBCOMP, PUBREL and by a PUBLISH with `QoS` 2, is
//! written to its output when it is decided, and no byte leaves the output until the records that make it true are
//! committed. So each of these has the way of every other packet, and one write to the disk is shared by all that comes together.
//!
//! **The flow**, how far everything is, is written with the barrier where `QoS` 2 needs it, else about once a second while
//! it moves: what a crash repeats is what `QoS` 1 may repeat.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use dovetail_engine::{Record, Ticket, WriteError};
use dovetail_mqtt_proto::{Connection, Frame, Outgoing, Qos, Sent, Session};
use slab::Slab;

use crate::again::Again;
use crate::awaited::Awaited;
use crate::record::{Flight, What};
use crate::store::Names;
use crate::tracked::Kind;

/// How long the flow of a connected session may be ahead of its record.
const FLOW_LAG: Duration = Duration::from_secs(1);

/// What a connection keeps for its session.
pub(crate) struct Kept {
    pub(crate) names: Names,
    /// How long in seconds the session outlives the connection.
    pub(crate) expiry: u32,
    /// The number of the next subscription.
    pub(crate) next: u32,
    /// What is in flight, by tag.
    flights: Slab<Flying>,
    /// What is in flight for groups, by tags that they gave.
    for_groups: HashMap<u64, Flying>,
    /// Subscriptions without positions of their own, by filter: parts of groups, and readings.
    pub(crate) parts: HashMap<Box<str>, Part>,
    /// What was in flight when the session was resumed, and is not written again yet.
    pub(crate) again: VecDeque<Again>,
    owed: Owed,
    /// The flow is on its way to the disk, and nothing waits for it.
    writing: Option<Ticket>,
    /// When the flow is to be written, where it has moved.
    pub(crate) flow_due: Option<Instant>,
    /// After what time it is written even if nothing was told, so that history does not leave it behind.
    pub(crate) refresh: Duration,
    /// When that is.
    pub(crate) refresh_due: Instant,
    /// The session cannot be continued, which the client is told by *session present* 0.
    pub(crate) is_void: bool,
    /// A record could not be written: what is in memory is not what is stored.
    pub(crate) has_failed: bool,
}

/// A subscription of a session that has no position of its own.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    /// By which the records know it.
    pub(crate) number: u32,
    /// What was granted.
    pub(crate) qos: Qos,
}

impl Part {
    /// What it waits for.
    pub(crate) fn awaited(self, filter: &str) -> Option<Awaited> {
        Awaited::of(filter, Kind::Plain, self.qos)
    }
}

/// A message in flight, but for what the protocol knows of it.
struct Flying {
    subscription: u32,
    retain: bool,
    what: What,
}

/// What is to be committed before the output leaves.
#[derive(Default)]
struct Owed {
    records: Vec<Record>,
    /// No longer awaited once the records are committed.
    forgotten: Vec<Awaited>,
    /// The flow is part of it.
    with_flow: bool,
    /// On their way, in order.
    pending: VecDeque<(Ticket, Vec<Awaited>)>,
}

/// For what a message is sent.
pub(crate) struct Origin {
    /// The number of the subscription.
    pub(crate) subscription: u32,
    pub(crate) what: What,
}

impl Kept {
    pub(crate) fn new(names: Names, expiry: u32, (refresh, now): (Duration, Instant)) -> Self {
        Self {
            names,
            expiry,
            next: 0,
            flights: Slab::new(),
            for_groups: HashMap::new(),
            parts: HashMap::new(),
            again: VecDeque::new(),
            owed: Owed::default(),
            writing: None,
            flow_due: None,
            refresh,
            refresh_due: now + refresh,
            is_void: false,
            has_failed: false,
        }
    }

    /// Takes over a message that was in flight, and gives its tag.
    pub(crate) fn resume(&mut self, flight: Flight) -> u64 {
        let Flight { subscription, retain, what, .. } = flight;
        self.flights.insert(Flying { subscription, retain, what }) as u64
    }

    /// Sends a message, and keeps by what it is found again.
    pub(crate) fn send(
        &mut self,
        connection: &mut Connection,
        frame: &Frame<'_>,
        outgoing: &Outgoing<'_>,
        origin: impl FnOnce() -> Origin,
    ) -> Sent {
        let tag = self.flights.vacant_key() as u64;
        let sent = connection.send(frame, &Outgoing { tag, ..*outgoing });
        if let Sent::Written(Some(_)) = sent {
            let Origin { subscription, what } = origin();
            self.flights.insert(Flying { subscription, retain: outgoing.retain, what });
            self.owed.with_flow |= outgoing.qos == Qos::ExactlyOnce;
        }
        sent
    }

    /// A message for a group was sent.
    pub(crate) fn sent_for_group(&mut self, outgoing: &Outgoing<'_>, origin: Origin) {
        let Origin { subscription, what } = origin;
        let flying = Flying { subscription, retain: outgoing.retain, what };
        self.for_groups.insert(outgoing.tag, flying);
        self.owed.with_flow |= outgoing.qos == Qos::ExactlyOnce;
        self.moved();
    }

    /// A message is no longer in flight.
    pub(crate) fn delivered(&mut self, tag: u64) {
        if self.for_groups.remove(&tag).is_none() {
            self.flights.try_remove(tag as usize);
        }
        self.moved();
    }

    /// Something is told, or acknowledged.
    pub(crate) fn moved(&mut self) {
        self.flow_due.get_or_insert_with(|| crate::now() + FLOW_LAG);
    }

    /// The flow must be committed before the output leaves.
    pub(crate) fn owe_flow(&mut self) {
        self.owed.with_flow = true;
    }

    /// A record must be committed before the output leaves.
    pub(crate) fn owe(&mut self, record: Record) {
        self.owed.records.push(record);
    }

    /// Nobody waits for these events once everything owed is committed.
    pub(crate) fn forget(&mut self, awaited: Awaited) {
        self.owed.forgotten.push(awaited);
    }

    /// What is in flight, as it is stored.
    pub(crate) fn flights(&self, session: &Session) -> Vec<Flight> {
        let with_origin = session.outgoing().filter_map(|message| {
            let of_group = self.for_groups.get(&message.tag);
            let Flying { subscription, retain, what } =
                of_group.or_else(|| self.flights.get(message.tag as usize))?;
            let (subscription, retain, what) = (*subscription, *retain, what.clone());
            Some(Flight { id: message.id, stage: message.stage, subscription, retain, what })
        });
        with_origin.collect()
    }

    /// Whether the flow is part of what is owed.
    pub(crate) fn owes_flow(&self) -> bool {
        self.owed.with_flow
    }

    /// Whether something is owed that is not on its way.
    pub(crate) fn owes(&self) -> bool {
        self.owed.with_flow || !self.owed.records.is_empty()
    }

    /// Takes what is owed, to be submitted.
    pub(crate) fn take_owed(&mut self) -> (Vec<Record>, Vec<Awaited>) {
        self.owed.with_flow = false;
        (std::mem::take(&mut self.owed.records), std::mem::take(&mut self.owed.forgotten))
    }

    /// Part of what was owed is on its way.
    pub(crate) fn submitted(&mut self, ticket: Ticket, forgotten: Vec<Awaited>) {
        self.owed.pending.push_back((ticket, forgotten));
    }

    /// The flow is on its way, and nothing waits for it.
    pub(crate) fn written_aside(&mut self, ticket: Ticket) {
        self.writing = Some(ticket);
    }

    /// Whether the flow is on its way, and nothing waits for it.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Whether the output waits for the disk.
    pub(crate) fn is_held(&self) -> bool {
        !self.owed.pending.is_empty()
    }

    /// Ready when the output no longer waits, with what nobody waits for any more.
    ///
    /// # Errors
    /// What was promised is not committed: the output must not leave.
    pub(crate) fn poll_released(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Awaited>, WriteError>> {
        if let Some(Poll::Ready(written)) = self.writing.as_mut().map(|ticket| Pin::new(ticket).poll(cx)) {
            self.writing = None;
            if written.is_err() {
                // It is told again what is not noted: as much as `QoS` 1 may repeat.
                self.moved();
            }
        }
        let mut forgotten = Vec::new();
        while let Some((ticket, _)) = self.owed.pending.front_mut() {
            match Pin::new(ticket).poll(cx) {
                Poll::Pending if forgotten.is_empty() => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(done) => {
                    let released = self.owed.pending.pop_front();
                    forgotten.extend(released.into_iter().flat_map(|(_, forgotten)| forgotten));
                    if let Err(error) = done {
                        self.has_failed = true;
                        let rest = self.owed.pending.drain(..).flat_map(|(_, forgotten)| forgotten);
                        self.owed.forgotten.extend(forgotten.into_iter().chain(rest));
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
        Poll::Ready(Ok(forgotten))
    }
}
