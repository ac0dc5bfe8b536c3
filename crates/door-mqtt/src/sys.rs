//! `$SYS`: what the server says about itself, under the names that mosquitto made common, and its own below
//! `$SYS/dovetail/`.
//!
//! These are readings, not resources: they are not in the tree and not in the journal. One task of the server takes them once an
//! interval and puts them on a [`Board`]; a subscription below `$SYS` is told what is on the board, and then what changes. It
//! keeps no queue: a client that does not read is told the newest values when it does. They are delivered with `QoS` 0, and no
//! filter that begins with a wildcard matches them `[MQTT-4.7.2-1]`.

mod load;
mod readings;

use std::collections::{BTreeMap, HashMap};
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use bytes::Bytes;
use dovetail_auth::{Demand, Principal};
use dovetail_engine::{Events, Mode, Start, Subscribe};
use dovetail_model::{Filter, Topic};
use dovetail_mqtt_proto::{
    Connection, Frame, Outgoing, Properties, PropertiesBuf, Qos, ReasonCode, RetainHandling,
    SubscribeOptions, Version,
};
use futures_util::task::AtomicWaker;
use slab::Slab;

use crate::Local;
use crate::answer::{Refusal, of_denied};
use crate::expiry::Left;
use crate::sending::{Encoded, Told, count_sent, send};

use readings::Readings;

/// The first level of everything here.
const ROOT: &str = "$SYS";

/// The newest readings, and who wants to know of new ones.
#[derive(Debug, Default)]
pub(crate) struct Board {
    contents: Mutex<Contents>,
    /// Whether somebody takes readings already.
    is_kept: AtomicBool,
}

#[derive(Debug, Default)]
struct Contents {
    values: BTreeMap<Topic, Value>,
    /// Counts up with each round of readings.
    round: u64,
    listeners: Slab<Arc<AtomicWaker>>,
}

#[derive(Debug)]
struct Value {
    text: Bytes,
    /// The round in which it became this.
    since: u64,
}

/// The subscriptions of one connection below `$SYS`.
pub(crate) struct SysSubscriptions {
    local: Rc<Local>,
    listener: Arc<AtomicWaker>,
    key: usize,
    by_filter: HashMap<Box<str>, SysSubscription>,
}

struct SysSubscription {
    filter: Filter,
    options: SubscribeOptions,
    /// The subscription identifier, encoded.
    identifier: PropertiesBuf,
    /// The round up to which it is told.
    told: u64,
    /// What is told next is the state as it was when the subscription was made.
    is_first: bool,
}

/// Whether a filter is served from the board.
pub(crate) fn is_sys(filter: &str) -> bool {
    filter.split('/').next() == Some(ROOT)
}

/// Takes readings as long as the shard lives, unless another shard does already. Call it once for each shard.
pub(crate) fn keep(local: &Rc<Local>) {
    let shared = &local.shared;
    if shared.options.sys_interval.is_zero() || shared.board.is_kept.swap(true, Ordering::SeqCst) {
        return;
    }
    tokio::task::spawn_local(take_readings(Rc::downgrade(local)));
}

async fn take_readings(local: Weak<Local>) {
    let mut readings = Readings::new(crate::now());
    loop {
        let Some(local) = local.upgrade() else { return };
        let taken = readings.take(&local.shared, &local.shard.engine(), crate::now());
        local.shared.board.put(taken);
        let interval = local.shared.options.sys_interval;
        // The shard is not kept alive by who looks at it.
        drop(local);
        tokio::time::sleep(interval).await;
    }
}

impl Board {
    /// Puts new readings up and wakes who waits for them. What is the same as before is not new.
    fn put(&self, readings: impl IntoIterator<Item = (Topic, String)>) {
        let mut contents = self.lock();
        let Contents { values, round, listeners } = &mut *contents;
        *round += 1;
        for (topic, text) in readings {
            match values.get_mut(&topic) {
                Some(value) if value.text == text => {}
                Some(value) => *value = Value { text: text.into(), since: *round },
                None => {
                    values.insert(topic, Value { text: text.into(), since: *round });
                }
            }
        }
        for (_, listener) in &*listeners {
            listener.wake();
        }
    }

    fn round(&self) -> u64 {
        self.lock().round
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SysSubscriptions {
    /// None yet.
    pub(crate) fn new(local: &Rc<Local>) -> Self {
        let listener = Arc::<AtomicWaker>::default();
        let key = local.shared.board.lock().listeners.insert(Arc::clone(&listener));
        Self { local: Rc::clone(local), listener, key, by_filter: HashMap::new() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_filter.len()
    }

    /// Whether there is one for this filter.
    pub(crate) fn contains(&self, filter: &str) -> bool {
        self.by_filter.contains_key(filter)
    }

    /// Gives a subscription up; false if there is none.
    pub(crate) fn remove(&mut self, filter: &str) -> bool {
        self.by_filter.remove(filter).is_some()
    }
}

impl Drop for SysSubscriptions {
    fn drop(&mut self) {
        self.local.shared.board.lock().listeners.remove(self.key);
    }
}

impl SysSubscriptions {
    /// Subscribes to readings. They are told with `QoS` 0 whatever is granted: nobody waits for an old one.
    pub(crate) fn subscribe(
        &mut self,
        principal: &Principal,
        name: &str,
        options: SubscribeOptions,
        identifier: &PropertiesBuf,
    ) -> Result<Qos, Refusal> {
        let filter = Filter::new(name)
            .map_err(|error| Refusal::new(ReasonCode::TopicFilterInvalid, error.to_string()))?;
        let wish = Subscribe {
            filter: filter.clone(),
            start: Start::Now,
            mode: Mode::Latest,
            events: Events::Ignore,
            no_local: None,
        };
        self.local.shard.policy().authorize(principal, wish).map_err(|denied| of_denied(&denied))?;
        let before = self.by_filter.get(name);
        let tells_state = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => before.is_none(),
            RetainHandling::DoNotSend => false,
        };
        let told = match before {
            _ if tells_state => 0,
            Some(before) => before.told,
            None => self.local.shared.board.round(),
        };
        let identifier = identifier.clone();
        let subscription = SysSubscription { filter, options, identifier, told, is_first: tells_state };
        self.by_filter.insert(name.into(), subscription);
        Ok(options.qos)
    }

    /// Tells what is new on the board.
    pub(crate) fn deliver(
        &mut self,
        principal: &Principal,
        connection: &mut Connection,
        cx: &Context<'_>,
        limit: usize,
    ) -> Told {
        let Some(version) = connection.peer().map(|peer| peer.version) else { return Told::Everything };
        // Registered before the look, so that nothing falls between the two.
        self.listener.register(cx.waker());
        for subscription in self.by_filter.values_mut() {
            if connection.output().len() >= limit {
                return Told::Enough;
            }
            let policy = self.local.shard.policy();
            let board = self.local.shared.board.lock();
            let is_new = |topic: &Topic, value: &Value| {
                value.since > subscription.told
                    && subscription.filter.matches(topic)
                    && policy.permits(principal, Demand::Read, topic)
            };
            let traffic = &self.local.traffic;
            for (topic, value) in board.values.iter().filter(|(topic, value)| is_new(topic, value)) {
                let retain = subscription.is_first || subscription.options.retain_as_published;
                let extra = subscription.identifier.as_bytes();
                let outgoing = Outgoing { qos: Qos::AtMostOnce, retain, extra, tag: 0 };
                let bytes = encode(version, topic, &value.text);
                let message = Encoded { version, bytes: &bytes, left: Left::Everything };
                let sent = send(connection, &message, &outgoing);
                count_sent(traffic, sent);
            }
            (subscription.told, subscription.is_first) = (board.round, false);
        }
        Told::Everything
    }
}

fn encode(version: Version, topic: &Topic, text: &Bytes) -> Bytes {
    Frame::encode(version, topic.as_str(), &Properties::NONE, text).unwrap_or_default()
}
