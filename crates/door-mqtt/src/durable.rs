//! A connection whose session outlives it: what it commits, and how it goes on.

use std::task::{Context, Poll};
use std::time::Instant;

use dovetail_engine::{Record, Start, Write, WriteError};
use dovetail_model::Revision;
use dovetail_model::limits::BATCH_CHANGES;
use dovetail_mqtt_proto::{
    Connection, PropertiesBuf, Qos, ReasonCode, RetainHandling, Session, SubscribeOptions, split_shared,
};

use crate::answer::{Outcome, Refusal, of_write_error};
use crate::awaited::Awaited;
use crate::expiry::Left;
use crate::feeds::Subscription;
use crate::kept::{Kept, Part};
use crate::open::Resumed;
use crate::record::{Flow, Place, Subscribed};
use crate::sending::Encoded;
use crate::serving::Serving;
use crate::share::Wish;
use crate::sys;
use crate::tracked::Kind;

/// What a subscription of a session is to be stored as.
pub(crate) struct NewSubscription<'a> {
    pub(crate) filter: &'a str,
    pub(crate) options: SubscribeOptions,
    pub(crate) identifier: &'a PropertiesBuf,
    pub(crate) kind: Kind,
    pub(crate) start: Start,
    /// The head before its feed was opened.
    pub(crate) head: Revision,
}

impl Serving {
    /// Goes on with the subscriptions of a continued session.
    pub(crate) fn resume(&mut self, connection: &mut Connection, subscriptions: Vec<Resumed>, now: Instant) {
        for resumed in subscriptions {
            if let Err(refusal) = self.resume_one(connection, resumed) {
                connection.disconnect(refusal.reason, &refusal.text);
                return;
            }
        }
        if self.feeds.tracked().next().is_some() {
            self.feeds.next_progress.get_or_insert(now + self.local.shared.options.progress);
        }
    }

    fn resume_one(&mut self, connection: &Connection, resumed: Resumed) -> Result<(), Refusal> {
        let Resumed { number, subscribed, place, epoch } = resumed;
        let encoded = subscribed.identifier_properties();
        let Subscribed { filter, options, kind, .. } = subscribed;
        if split_shared(&filter).is_some() {
            let wish = Wish { name: &filter, options, identifier: &encoded, number };
            self.subscribe_shared(connection, wish)?;
            if let Some(kept) = self.kept.as_deref_mut() {
                kept.parts.insert(filter, Part { number, qos: options.qos });
            }
            return Ok(());
        }
        if sys::is_sys(&filter) {
            // What it was told is what it holds; from now on it is told what changes.
            let options = SubscribeOptions { retain_handling: RetainHandling::DoNotSend, ..options };
            self.subscribe_sys(&filter, options, &encoded)?;
            if let Some(kept) = self.kept.as_deref_mut() {
                kept.parts.insert(filter, Part { number, qos: options.qos });
            }
            return Ok(());
        }
        let start = place.told.map_or(Start::Baseline, |told| Start::After(epoch.at(told)));
        let slot = self.feeds.slot_of(&filter);
        let feed = self.open(&filter, options, start, slot)?;
        let is_here = epoch == self.local.shard.head().epoch;
        let index = self.feeds.put(Subscription {
            filter,
            number,
            place: if is_here { Place { refresh: false, ..place } } else { Place::BASELINE },
            feed,
            refresh: None,
            options,
            identifier: encoded,
            kind,
            is_first_baseline: true,
            spoke: false,
        });
        if place.refresh && place.told.is_some() {
            self.refresh(index)?;
        }
        Ok(())
    }

    /// A subscription is made: it is stored before it is answered, and from now on awaited. Gives its number.
    pub(crate) fn keep_subscription(&mut self, new: &NewSubscription<'_>) -> u32 {
        let Some(kept) = &mut self.kept else { return 0 };
        let number = kept.next;
        kept.next += 1;
        let (epoch, place) = match new.start {
            Start::Baseline => (new.head.epoch, Place::with_state(new.head.number, new.kind)),
            Start::Now => (new.head.epoch, Place::up_to(new.head.number)),
            Start::After(revision) => (revision.epoch, Place::up_to(revision.number)),
        };
        let identifier = identifier_of(new.identifier);
        let NewSubscription { filter, options, kind, .. } = *new;
        let subscribed = Subscribed { filter: filter.into(), options, identifier, kind, place, epoch };
        if let Some(awaited) = subscribed.awaited() {
            awaited.begin(&self.local.shard.engine(), &self.local.shared.groups);
        }
        kept.owe(Record::put(kept.names.subscription(number), subscribed.encode().into()));
        number
    }

    /// A subscription is made that has no position of its own, a part of a group or readings: it is stored before it is
    /// answered. Gives its number.
    pub(crate) fn keep_placeless(
        &mut self,
        filter: &str,
        options: SubscribeOptions,
        identifier: &PropertiesBuf,
    ) -> u32 {
        let head = self.local.shard.head();
        let Some(kept) = &mut self.kept else { return 0 };
        let before = kept.parts.get(filter).copied();
        let number = before.map_or(kept.next, |part| part.number);
        kept.next = kept.next.max(number + 1);
        kept.parts.insert(filter.into(), Part { number, qos: options.qos });
        let subscribed = Subscribed {
            filter: filter.into(),
            options,
            identifier: identifier_of(identifier),
            kind: Kind::Plain,
            place: Place::up_to(head.number),
            epoch: head.epoch,
        };
        if let Some(awaited) = subscribed.awaited()
            && let Some(position) = awaited.begin(&self.local.shard.engine(), &self.local.shared.groups)
        {
            kept.owe(position);
        }
        if let Some(awaited) = before.and_then(|part| part.awaited(filter)) {
            kept.forget(awaited);
        }
        kept.owe(Record::put(kept.names.subscription(number), subscribed.encode().into()));
        number
    }

    /// A subscription goes on in another way.
    pub(crate) fn keep_change(&mut self, index: usize, before: SubscribeOptions) {
        let Some(kept) = &mut self.kept else { return };
        let Some(told) = self.feeds.subscriptions.get(index) else { return };
        let (epoch, identifier) = (self.local.shard.head().epoch, identifier_of(&told.identifier));
        let subscribed = Subscribed {
            filter: told.filter.clone(),
            options: told.options,
            identifier,
            kind: told.kind,
            place: Place { refresh: told.refresh.is_some(), ..told.place },
            epoch,
        };
        if let Some(awaited) = subscribed.awaited() {
            awaited.begin(&self.local.shard.engine(), &self.local.shared.groups);
        }
        if let Some(awaited) = Awaited::of(&told.filter, told.kind, before.qos) {
            kept.forget(awaited);
        }
        kept.owe(Record::put(kept.names.subscription(told.number), subscribed.encode().into()));
        // The flow may be older than the change.
        kept.owe_flow();
    }

    /// A subscription is given up.
    pub(crate) fn forget_subscription(&mut self, name: &str) {
        let Some(kept) = &mut self.kept else { return };
        if let Some(part) = kept.parts.remove(name) {
            kept.owe(Record::delete(kept.names.subscription(part.number)));
            if let Some(awaited) = part.awaited(name) {
                kept.forget(awaited);
            }
        }
        let index = self.feeds.find(name);
        let Some(told) = index.and_then(|index| self.feeds.subscriptions.get(index)) else { return };
        kept.owe(Record::delete(kept.names.subscription(told.number)));
        if let Some(awaited) = Awaited::of(&told.filter, told.kind, told.options.qos) {
            kept.forget(awaited);
        }
    }

    /// Where the session is now.
    pub(crate) fn flow(&mut self, session: &Session) -> Option<Flow> {
        let kept = self.kept.as_deref_mut()?;
        let places = self.feeds.places();
        let plain = |place: &Place| place.told.filter(|told| *place == Place::up_to(*told));
        let base = places.iter().filter_map(|(_, place)| plain(place)).max().unwrap_or_default();
        let others = places.into_iter().filter(|(_, place)| *place != Place::up_to(base)).collect();
        let epoch = self.local.shard.head().epoch;
        Some(Flow { epoch, next: kept.next, base, others, flights: kept.flights(session) })
    }

    /// Submits what is owed to the disk, and the flow when it is time for it.
    pub(crate) fn commit(&mut self, connection: &Connection, now: Instant) {
        let Some(kept) = self.kept.as_deref() else { return };
        let is_due = kept.flow_due.is_some_and(|due| due <= now) || kept.refresh_due <= now;
        let is_due = is_due && !kept.is_writing();
        if (!kept.owes() && !is_due) || kept.has_failed {
            return;
        }
        let with_flow = kept.owes_flow() || is_due;
        let flow = connection.session().filter(|_| with_flow).and_then(|session| self.flow(session));
        let local = std::rc::Rc::clone(&self.local);
        let Some(kept) = self.kept.as_deref_mut() else { return };
        let is_owed = kept.owes();
        let (mut records, forgotten) = kept.take_owed();
        let mut forgotten = Some(forgotten);
        if let Some(flow) = flow {
            records.push(Record::put(kept.names.flow(), flow.encode().into()));
            kept.flow_due = None;
            kept.refresh_due = now + kept.refresh;
        }
        last_words(&mut records);
        let policy = local.shard.policy();
        let mut chunks = records.chunks(BATCH_CHANGES).peekable();
        while let Some(chunk) = chunks.next() {
            let write = Write::of_records(chunk.to_vec());
            // Records need no right.
            let Ok(write) = policy.authorize(&self.principal, write) else { continue };
            let forgotten = if chunks.peek().is_none() { forgotten.take() } else { None };
            let ticket = local.shard.submit(write);
            if is_owed {
                kept.submitted(ticket, forgotten.unwrap_or_default());
            } else {
                kept.written_aside(ticket);
            }
        }
    }

    /// Whether a subscription that says nothing of positions cannot go on: the session is given up, since a client that was
    /// away for too long must learn of it.
    pub(crate) fn is_broken(&mut self, index: usize) -> bool {
        let Some(kept) = self.kept.as_deref_mut() else { return false };
        let told = &self.feeds.subscriptions[index];
        let is_broken = told.kind == Kind::Plain && told.options.qos != Qos::AtMostOnce;
        kept.is_void |= is_broken;
        is_broken
    }

    /// Whether no output may leave.
    pub(crate) fn is_held(&self) -> bool {
        self.kept.as_deref().is_some_and(Kept::is_held)
    }

    /// Whether the output promises something that is not committed yet.
    pub(crate) fn promises(&self) -> bool {
        self.kept.as_deref().is_some_and(|kept| kept.is_held() || kept.owes())
    }

    /// Looks after what was submitted.
    ///
    /// # Errors
    /// What was promised is not committed.
    pub(crate) fn poll_released(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        let Some(kept) = self.kept.as_deref_mut() else { return Poll::Ready(Ok(())) };
        let forgotten = std::task::ready!(kept.poll_released(cx))?;
        for awaited in &forgotten {
            awaited.end(&self.local.shard, &self.local.shared.groups);
        }
        if self.is_held() { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    /// When the flow is to be written next.
    pub(crate) fn flow_due(&self) -> Option<Instant> {
        let kept = self.kept.as_deref()?;
        Some(kept.flow_due.map_or(kept.refresh_due, |due| due.min(kept.refresh_due)))
    }

    /// Writes again what was in flight, as far as the client takes messages. Whether that is all.
    pub(crate) fn tell_again(&mut self, connection: &mut Connection, limit: usize) -> bool {
        let send_maximum = self.local.shared.options.send_maximum;
        let Some(kept) = self.kept.as_deref_mut() else { return true };
        while let Some(next) = kept.again.front() {
            let Some((peer, session)) = connection.peer().zip(connection.session()) else { return false };
            let window = usize::from(peer.receive_maximum.min(send_maximum));
            let on_their_way = session.outgoing().len().saturating_sub(kept.again.len());
            if on_their_way >= window || connection.output().len() >= limit {
                return false;
            }
            let left = Left::now(next.life, &self.local.shard);
            let frame = Encoded { version: self.version, bytes: &next.bytes, left }.frame();
            let extra = next.extra.as_bytes();
            let id = next.id;
            let is_written = frame.is_some_and(|frame| connection.resend(id, &frame, next.retain, extra));
            kept.again.pop_front();
            if !is_written && let Some(message) = connection.give_up(id) {
                if message.stage == dovetail_mqtt_proto::Stage::PubRec {
                    kept.owe_flow();
                } else {
                    kept.delivered(message.tag);
                }
            }
        }
        true
    }

    /// What is awaited for the subscriptions in memory.
    pub(crate) fn awaited(&self) -> Vec<Awaited> {
        let all = self.feeds.subscriptions.iter();
        let own = all.filter_map(|(_, told)| Awaited::of(&told.filter, told.kind, told.options.qos));
        let parts = self.kept.iter().flat_map(|kept| &kept.parts);
        own.chain(parts.filter_map(|(filter, part)| part.awaited(filter))).collect()
    }
}

/// Why a connection ends whose session cannot be stored.
pub(crate) fn not_stored(error: &WriteError) -> (ReasonCode, String) {
    match of_write_error(error) {
        Outcome::Refused(refusal) => (refusal.reason, refusal.text),
        Outcome::Unknown(text) => (ReasonCode::UnspecifiedError, text),
    }
}

/// Leaves of several words about one record the last.
pub(crate) fn last_words(records: &mut Vec<Record>) {
    if records.len() < 2 {
        return;
    }
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<_> =
        records.drain(..).rev().filter(|record| seen.insert(record.name.clone())).collect();
    kept.reverse();
    *records = kept;
}

fn identifier_of(encoded: &PropertiesBuf) -> Option<u32> {
    let properties: dovetail_mqtt_proto::Properties = encoded.clone().into();
    properties.subscription_identifiers().next()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;
    use crate::registry::Name;
    use crate::store::{self, Names};

    #[test]
    fn the_last_word_about_a_record_counts() {
        let names = Names::of(&Name { principal: "a".into(), client_id: "b".into() }).unwrap();
        let (first, second) = (names.subscription(1), names.subscription(2));
        let put = |name: &dovetail_engine::RecordName| store::mark(name.clone());
        let mut records = vec![put(&first), put(&second), Record::delete(first.clone())];
        last_words(&mut records);
        let left: Vec<_> = records.iter().map(|record| (&record.name, record.contents.is_some())).collect();
        assert_eq!(left, [(&second, true), (&first, false)]);
    }
}
