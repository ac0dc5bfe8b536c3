//! Shared subscriptions: `$share/<group>/<filter>`, where each message goes to one member of the group (§4.8.2 of MQTT 5; the
//! same for MQTT 3.1.1).
//!
//! A group belongs to the server, its members are connections on any shard. It has one feed like any subscription, which the
//! task in `home` reads as long as some member has room; so a group whose members do not keep up holds a position like a
//! slow client does. `group` decides who gets a message, `member` is the side of the connection. A message is passed on as it is
//! shared by all shards, and encoded once for each version.
//!
//! A group that sessions have a part in outlives its connections: its position is a record, and when one of them returns, the
//! group reads on from there. The position is behind everything that is not done, and about a second old, so after a
//! crash a message may come again.

mod group;
mod holding;
mod home;
mod member;

pub(crate) use member::{Inbox, Shares, Wish, is_shared};

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dovetail_auth::{Authorized, Demand, Policy, Principal};
use dovetail_engine::{Engine, Message, Record, RecordArea, RecordName, Shard, Write};
use dovetail_model::Revision;
use dovetail_mqtt_proto::Qos;
use futures_util::task::AtomicWaker;

use crate::awaited::Key;
use crate::record::digest;
use crate::store::escape;
use group::{Group, MemberId, Serial, Turn};

/// Where the positions of groups are, by name and filter.
const AREA: RecordArea = RecordArea::new("mqtt-groups");

/// All groups of the server.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_key: Mutex<HashMap<Key, Arc<SharedGroup>>>,
    next_member: AtomicU64,
}

/// One group.
#[derive(Debug)]
pub(crate) struct SharedGroup {
    key: Key,
    state: Mutex<State>,
    /// The task that reads for the group.
    home: AtomicWaker,
}

#[derive(Debug)]
struct State {
    group: Group<Post>,
    links: HashMap<MemberId, Link>,
    /// The home waits until something changes about the members.
    is_idle: bool,
    has_home: bool,
    /// Everything up to here was read.
    read_to: Option<Revision>,
    /// How many sessions have a part, with a connection or without.
    holders: usize,
    /// Messages that were on their way to a member with `QoS` 2 when an earlier server ended: they are its session's, whatever
    /// the position says. Numbers of commits, and digests of topics.
    taken: HashSet<(u64, u64)>,
}

/// A message on its way through a group.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    message: Message,
}

/// How a member is reached.
#[derive(Clone, Debug)]
struct Link {
    inbox: Arc<Inbox>,
    principal: Principal,
    qos: Qos,
}

/// Who is about to join.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) principal: Principal,
    /// What was granted.
    pub(crate) qos: Qos,
    /// How many messages it may hold.
    pub(crate) capacity: usize,
}

/// What became of a wish to join.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) group: Arc<SharedGroup>,
    pub(crate) member: MemberId,
    /// Nobody reads for the group: whoever joined is to see to it, before it is answered.
    pub(crate) needs_home: bool,
}

/// What the home is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// Somebody has room: read on.
    Read,
    /// Wait for somebody who has room.
    Wait,
    /// Nobody is there.
    Leave,
}

impl Groups {
    /// Lets somebody join the group of this key, which is there from then on.
    pub(crate) fn join(&self, key: Key, candidate: Candidate) -> Admitted {
        let member = MemberId(self.next_member.fetch_add(1, Ordering::Relaxed));
        let mut groups = self.lock();
        let group = groups.entry(key).or_insert_with_key(|key| Arc::new(SharedGroup::new(key.clone())));
        let group = Arc::clone(group);
        let needs_home = group.join(member, candidate);
        drop(groups);
        Admitted { group, member, needs_home }
    }

    /// A session has a part in the group from now on; nothing up to `position` is for it. The first one gets the record
    /// of the group's position, to be committed with its subscription.
    pub(crate) fn hold(&self, key: &Key, position: Revision) -> Option<Record> {
        let mut groups = self.lock();
        let group =
            groups.entry(key.clone()).or_insert_with_key(|key| Arc::new(SharedGroup::new(key.clone())));
        let mut state = group.lock();
        state.holders += 1;
        state.read_to.get_or_insert(position);
        let is_first = state.holders == 1;
        let record = if is_first { key.record(state.position()?) } else { None };
        drop(state);
        group.home.wake();
        record
    }

    /// A message of the group is on its way to a session.
    pub(crate) fn take(&self, key: &Key, number: u64, digest: u64) {
        if let Some(group) = self.lock().get(key) {
            group.lock().taken.insert((number, digest));
        }
    }

    /// A session has no part in the group any more. With the last one the record goes, and the group if nobody is there.
    pub(crate) fn release(&self, key: &Key, shard: &Shard) {
        let mut groups = self.lock();
        let Some(group) = groups.get(key) else { return };
        let mut state = group.lock();
        state.holders = state.holders.saturating_sub(1);
        if state.holders > 0 {
            return;
        }
        // Under the lock, so that whoever holds the group next writes after this.
        if let Some(delete) = key.name().map(Record::delete).and_then(|record| of_the_server(record, shard)) {
            drop(shard.submit(delete));
        }
        if state.group.is_deserted() && !state.has_home {
            drop(state);
            groups.remove(key);
        }
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Lets a group be without a home unless somebody has joined meanwhile; one without sessions is over. Whether the home
    /// is.
    fn end(&self, group: &SharedGroup) -> bool {
        let mut groups = self.lock();
        let mut state = group.lock();
        if !state.group.is_deserted() {
            return false;
        }
        state.has_home = false;
        if state.holders == 0 {
            groups.remove(&group.key);
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<SharedGroup>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    /// The name of the record of the position; `None` if it would be too long.
    fn name(&self) -> Option<RecordName> {
        let mut path = String::new();
        escape(&self.name, &mut path);
        path.push('/');
        escape(&self.filter, &mut path);
        AREA.record(&path).ok()
    }

    fn record(&self, position: Revision) -> Option<Record> {
        self.name().map(|name| Record::put(name, position.to_string().into()))
    }

    /// The position that an earlier server stored.
    pub(crate) fn stored_position(&self, engine: &Engine) -> Option<Revision> {
        let record = engine.record(&self.name()?)?;
        std::str::from_utf8(&record.representation.payload).ok()?.parse().ok()
    }
}

impl State {
    /// What a later home must go on after, so that nothing is missed that is not done.
    fn position(&self) -> Option<Revision> {
        let read_to = self.read_to?;
        let oldest = self.group.unfinished().filter_map(|post| post.message.number()).min();
        Some(oldest.map_or(read_to, |oldest| read_to.epoch.at(oldest.saturating_sub(1).min(read_to.number))))
    }
}

/// A write of the server's own.
fn of_the_server(record: Record, shard: &Shard) -> Option<Authorized<Write>> {
    shard.policy().authorize(&Principal::server(), Write::of_records(vec![record])).ok()
}

impl SharedGroup {
    fn new(key: Key) -> Self {
        let state = State {
            group: Group::new(),
            links: HashMap::new(),
            is_idle: false,
            has_home: false,
            read_to: None,
            holders: 0,
            taken: HashSet::new(),
        };
        Self { key, state: Mutex::new(state), home: AtomicWaker::new() }
    }

    /// Whether the group needs a home.
    fn join(&self, id: MemberId, candidate: Candidate) -> bool {
        let Candidate { inbox, principal, qos, capacity } = candidate;
        self.change(|state| {
            state.group.join(id, capacity);
            state.links.insert(id, Link { inbox, principal, qos });
            !std::mem::replace(&mut state.has_home, true)
        })
    }

    /// What a member is granted has changed.
    pub(crate) fn regrant(&self, id: MemberId, qos: Qos) {
        if let Some(link) = self.lock().links.get_mut(&id) {
            link.qos = qos;
        }
    }

    /// A message was sent to a member; with `QoS` 0 that was all.
    pub(crate) fn sent(&self, id: MemberId, serial: Serial, qos: Qos) {
        self.change(|state| match qos {
            Qos::AtMostOnce => state.group.done(id, serial),
            Qos::AtLeastOnce => state.group.sent(id, serial, false),
            Qos::ExactlyOnce => state.group.sent(id, serial, true),
        });
    }

    /// A member has a message, or has refused it.
    pub(crate) fn done(&self, id: MemberId, serial: Serial) {
        self.change(|state| state.group.done(id, serial));
    }

    /// A member gives its subscription up. What it was sent it may still acknowledge.
    pub(crate) fn retire(&self, id: MemberId) {
        self.change(|state| state.group.retire(id));
    }

    /// A member is gone, with its connection.
    pub(crate) fn leave(&self, id: MemberId) {
        self.change(|state| {
            state.group.leave(id);
            state.links.remove(&id);
        });
    }

    /// A message was read; `read_to` is how far everything is.
    fn offer(&self, messages: impl Iterator<Item = Message>, read_to: Revision) {
        let mut state = self.lock();
        for message in messages {
            let is_taken = !state.taken.is_empty()
                && message
                    .number()
                    .is_some_and(|number| state.taken.remove(&(number, digest(message.change().topic()))));
            if !is_taken {
                state.group.offer(Post { message });
            }
        }
        state.read_to = Some(read_to);
    }

    /// Hands out what waits, and says what the home is to do.
    fn hand_out(&self, policy: &Policy) -> Next {
        let mut state = self.lock();
        loop {
            let State { group, links, .. } = &mut *state;
            let may = |id: MemberId, post: &Post| {
                let topic = post.message.change().topic();
                links.get(&id).is_some_and(|link| policy.permits(&link.principal, Demand::Read, topic))
            };
            match group.turn(may) {
                Turn::For(id, serial, post) => {
                    if let Some(link) = links.get(&id) {
                        link.inbox.put(id, serial, post.message);
                    }
                }
                Turn::Nothing => return Next::Read,
                Turn::Full => {
                    state.is_idle = true;
                    return if state.group.is_deserted() { Next::Leave } else { Next::Wait };
                }
            }
        }
    }

    /// Everything up to here was read, and nothing of it is for anybody.
    fn advance(&self, read_to: Revision) {
        let mut state = self.lock();
        if state.read_to.is_some_and(|before| before.epoch != read_to.epoch || before.number < read_to.number)
        {
            state.read_to = Some(read_to);
        }
    }

    /// Whether sessions have a part.
    fn is_held(&self) -> bool {
        self.lock().holders > 0
    }

    /// The position to be stored, if there is a session to store it for.
    fn position(&self) -> Option<Revision> {
        let state = self.lock();
        if state.holders == 0 { None } else { state.position() }
    }

    /// Calls `tell` with the inbox of every member, and what it was granted.
    fn for_each_member(&self, mut tell: impl FnMut(&Inbox, Qos)) {
        self.lock().links.values().for_each(|link| tell(&link.inbox, link.qos));
    }

    /// Changes something about the members, and lets the home go on if there is something for it to do then.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (result, is_work) = {
            let mut state = self.lock();
            let result = change(&mut state);
            let was_idle = std::mem::take(&mut state.is_idle);
            (result, was_idle || state.group.has_waiting())
        };
        if is_work {
            self.home.wake();
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
