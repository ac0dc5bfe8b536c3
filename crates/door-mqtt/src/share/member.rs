//! The side of a connection: what its groups hand to it, and what becomes of it.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use dovetail_auth::Principal;
use dovetail_engine::{Events, Form, Message, Mode, Start, Subscribe};
use dovetail_model::{Change, Filter};
use dovetail_mqtt_proto::{
    Connection, Outgoing, PropertiesBuf, Qos, ReasonCode, Sent, SubscribeOptions, Version, split_shared,
};
use futures_util::task::AtomicWaker;
use slab::Slab;

use super::group::{MemberId, Serial};
use super::home::Home;
use super::{Admitted, Candidate, Key, SharedGroup};
use crate::Local;
use crate::answer::{Refusal, of_denied};
use crate::counters::count;
use crate::expiry::{Left, Lifespan};
use crate::kept::{Kept, Origin};
use crate::record::{What, digest};
use crate::sending::{Encoded, Told, count_sent, send};
use crate::{encode, qos};

/// The most messages that one member holds at a time: enough for a connection to be busy, few enough for the others of its
/// group to have something to do.
const CAPACITY: usize = 32;
/// Marks the tags of messages from groups.
const TAG: u64 = 1 << 63;

/// What groups have handed to a connection and it has not sent. Groups fill it from other threads.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    contents: Mutex<Contents>,
    connection: AtomicWaker,
}

#[derive(Debug, Default)]
struct Contents {
    parcels: VecDeque<Parcel>,
    /// The connection is to end.
    end: Option<(ReasonCode, &'static str)>,
}

/// A message from a group.
#[derive(Debug)]
struct Parcel {
    member: MemberId,
    serial: Serial,
    message: Message,
}

/// The shared subscriptions of a connection.
#[derive(Default)]
pub(crate) struct Shares {
    inbox: Arc<Inbox>,
    joined: HashMap<MemberId, Joined>,
    /// Subscriptions that were given up. Messages may still be in flight for them.
    retired: Vec<(MemberId, Arc<SharedGroup>)>,
    by_filter: HashMap<Box<str>, MemberId>,
    flights: Slab<Flight>,
}

/// One shared subscription.
struct Joined {
    group: Arc<SharedGroup>,
    options: SubscribeOptions,
    /// The subscription identifier, encoded.
    identifier: PropertiesBuf,
    /// By which a session's records know it.
    number: u32,
}

/// What a shared subscription is to be.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// The filter as it was subscribed.
    pub(crate) name: &'a str,
    pub(crate) options: SubscribeOptions,
    /// The subscription identifier, encoded.
    pub(crate) identifier: &'a PropertiesBuf,
    /// By which a session's records know it.
    pub(crate) number: u32,
}

/// A message that the client has not acknowledged.
struct Flight {
    member: MemberId,
    serial: Serial,
    group: Arc<SharedGroup>,
}

/// Whether a tag is that of a message from a group.
pub(crate) fn is_shared(tag: u64) -> bool {
    tag & TAG != 0
}

impl Inbox {
    pub(super) fn put(&self, member: MemberId, serial: Serial, message: Message) {
        self.lock().parcels.push_back(Parcel { member, serial, message });
        self.connection.wake();
    }

    /// The connection is to end with this reason.
    pub(super) fn end(&self, reason: ReasonCode, text: &'static str) {
        self.lock().end = Some((reason, text));
        self.connection.wake();
    }

    fn take(&self) -> Option<Parcel> {
        self.lock().parcels.pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shares {
    /// How many shared subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.joined.len()
    }

    /// Whether the connection has this one, spelled as it was subscribed.
    pub(crate) fn contains(&self, filter: &str) -> bool {
        self.by_filter.contains_key(filter)
    }

    /// Gives a subscription up; false if there is none.
    pub(crate) fn remove(&mut self, filter: &str) -> bool {
        let Some(member) = self.by_filter.remove(filter) else { return false };
        let Some(joined) = self.joined.remove(&member) else { return false };
        self.inbox.lock().parcels.retain(|parcel| parcel.member != member);
        joined.group.retire(member);
        let flights = &self.flights;
        self.retired.push((member, joined.group));
        self.retired.retain(|(id, _)| flights.iter().any(|(_, flight)| flight.member == *id));
        true
    }

    /// The client has a message, or has refused it.
    pub(crate) fn delivered(&mut self, tag: u64) {
        if let Some(Flight { member, serial, group }) = self.flights.try_remove((tag & !TAG) as usize) {
            group.done(member, serial);
        }
    }

    /// A message is not worth sending any more, to nobody.
    fn give_up(&self, parcel: &Parcel) {
        if let Some(joined) = self.joined.get(&parcel.member) {
            joined.group.done(parcel.member, parcel.serial);
        }
    }

    /// Sends one message. What the client does not take is done with, unless it may take it later.
    fn send(
        &mut self,
        connection: &mut Connection,
        version: Version,
        (parcel, left): (&Parcel, Left),
        kept: Option<&mut Kept>,
    ) -> Sent {
        let Parcel { member, serial, message } = parcel;
        // Messages for a subscription that was given up are out of the inbox.
        let Some(joined) = self.joined.get(member) else { return Sent::NotConnected };
        let change = message.change();
        let form = if version.is_v5() { Form::Mqtt5 } else { Form::Mqtt3 };
        let own;
        let bytes = if let Some(forms) = message.forms() {
            forms.get(form, || encode::change(version, change))
        } else {
            own = encode::change(version, change);
            &own
        };
        let qos = qos::delivered(change.qos(), joined.options.qos);
        let retain = joined.options.retain_as_published && !matches!(change, Change::Event(_));
        let tag = TAG | self.flights.vacant_key() as u64;
        let outgoing = Outgoing { qos, retain, extra: joined.identifier.as_bytes(), tag };
        let sent = send(connection, &Encoded { version, bytes, left }, &outgoing);
        match sent {
            Sent::Written(id) => {
                joined.group.sent(*member, *serial, qos);
                if id.is_some() {
                    // What was sent with QoS 1 others get when the member is gone, so only the rest is the session's.
                    if let Some(kept) = kept.filter(|_| qos == Qos::ExactlyOnce) {
                        let (topic, subscription) = (change.topic(), joined.number);
                        let what = message.number().map_or(What::Nowhere, |rev| What::Change {
                            after: rev,
                            rev,
                            digest: digest(topic),
                        });
                        kept.sent_for_group(&outgoing, Origin { subscription, what });
                    }
                    let group = Arc::clone(&joined.group);
                    self.flights.insert(Flight { member: *member, serial: *serial, group });
                }
            }
            // For the protocol it counts as delivered [MQTT-3.1.2-25].
            Sent::TooLarge => joined.group.done(*member, *serial),
            Sent::WindowFull | Sent::NotConnected => {}
        }
        sent
    }
}

impl Drop for Shares {
    /// The connection is gone: what was in flight others get.
    fn drop(&mut self) {
        for (member, group) in self.retired.drain(..) {
            group.leave(member);
        }
        for (member, joined) in self.joined.drain() {
            joined.group.leave(member);
        }
    }
}

impl Shares {
    /// Subscribes to the part of a group: nothing of the state is told, and from now on this client has its turn.
    pub(crate) fn join(
        &mut self,
        (local, principal): (&Rc<Local>, &Principal),
        connection: &Connection,
        wish: Wish<'_>,
    ) -> Result<Qos, Refusal> {
        let Wish { name, options, identifier, number } = wish;
        let shared = split_shared(name)
            .ok_or_else(|| Refusal::new(ReasonCode::TopicFilterInvalid, "no shared subscription"))?;
        let filter = Filter::new(shared.filter)
            .map_err(|error| Refusal::new(ReasonCode::TopicFilterInvalid, error.to_string()))?;
        let request = Subscribe {
            filter: filter.clone(),
            start: Start::Now,
            mode: Mode::Every,
            events: Events::End,
            no_local: None,
        };
        local.shard.policy().authorize(principal, request).map_err(|denied| of_denied(&denied))?;
        if let Some(member) = self.by_filter.get(name)
            && let Some(joined) = self.joined.get_mut(member)
        {
            (joined.options, joined.identifier) = (options, identifier.clone());
            joined.number = number;
            joined.group.regrant(*member, options.qos);
            return Ok(options.qos);
        }
        let window = connection.peer().map_or(CAPACITY, |peer| usize::from(peer.receive_maximum));
        let candidate = Candidate {
            inbox: Arc::clone(&self.inbox),
            principal: principal.clone(),
            qos: options.qos,
            capacity: CAPACITY.min(window).min(usize::from(local.shared.options.send_maximum)),
        };
        let key = Key { name: shared.name.into(), filter: shared.filter.into() };
        let Admitted { group, member, needs_home } = local.shared.groups.join(key, candidate);
        let joined = Joined { group: Arc::clone(&group), options, identifier: identifier.clone(), number };
        self.by_filter.insert(name.into(), member);
        self.joined.insert(member, joined);
        if needs_home {
            let home = Home::new(local, &group, filter).map_err(|denied| of_denied(&denied))?;
            tokio::task::spawn_local(home);
        }
        Ok(options.qos)
    }

    /// Sends what groups have handed to the connection, as far as the client takes messages.
    pub(crate) fn deliver(
        &mut self,
        local: &Local,
        connection: &mut Connection,
        mut kept: Option<&mut Kept>,
        cx: &Context<'_>,
        limit: usize,
    ) -> Told {
        let Some(version) = connection.peer().map(|peer| peer.version).filter(|_| !self.joined.is_empty())
        else {
            return Told::Everything;
        };
        // Registered before the look, so that nothing falls between the two.
        self.inbox.connection.register(cx.waker());
        loop {
            if connection.output().len() >= limit {
                return Told::Enough;
            }
            if let Some((reason, text)) = self.inbox.lock().end.take() {
                connection.disconnect(reason, text);
                return Told::Everything;
            }
            let Some(parcel) = self.inbox.take() else { return Told::Everything };
            let left = Left::now(Lifespan::of_change(parcel.message.change()), &local.shard);
            if left == Left::Nothing {
                self.give_up(&parcel);
                count(&local.shared.counters.expired);
                continue;
            }
            let sent = self.send(connection, version, (&parcel, left), kept.as_deref_mut());
            count_sent(&local.traffic, sent);
            match sent {
                Sent::WindowFull => {
                    self.inbox.lock().parcels.push_front(parcel);
                    return Told::Everything;
                }
                Sent::TooLarge => count(&local.shared.counters.too_large),
                Sent::Written(_) | Sent::NotConnected => {}
            }
        }
    }
}
