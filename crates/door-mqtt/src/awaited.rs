//! What a subscription of a session waits for while its client is away.
//!
//! Events that match are kept in the journal as long as somebody waits for them; and a group in which a session has a part keeps its
//! position, as a record, also while none of its members is there.

use dovetail_engine::{Engine, Record, Shard};
use dovetail_model::Filter;
use dovetail_mqtt_proto::{Qos, split_shared};

use crate::share::{Groups, Key};
use crate::sys;
use crate::tracked::{FRAMES, Kind};

/// What is waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Awaited {
    filter: Filter,
    group: Option<Key>,
}

impl Awaited {
    /// What a subscription waits for; `None` with `QoS` 0 and for readings, for which nothing is kept.
    pub(crate) fn of(filter: &str, kind: Kind, qos: Qos) -> Option<Self> {
        if qos == Qos::AtMostOnce || sys::is_sys(filter) {
            return None;
        }
        if let Some(shared) = split_shared(filter) {
            let group = Key { name: shared.name.into(), filter: shared.filter.into() };
            return Some(Self { filter: Filter::new(shared.filter).ok()?, group: Some(group) });
        }
        let filter =
            if kind == Kind::Frames { filter.strip_prefix(FRAMES).unwrap_or(filter) } else { filter };
        Some(Self { filter: Filter::new(filter).ok()?, group: None })
    }

    /// A subscription that is stored, or is about to be, waits from now on. The first one with a part in a group gets the
    /// record of the group's position, to be committed with it.
    pub(crate) fn begin(&self, engine: &Engine, groups: &Groups) -> Option<Record> {
        engine.await_events(&self.filter);
        self.group.as_ref().and_then(|key| groups.hold(key, engine.head()))
    }

    /// As [`Awaited::begin`], for what an earlier server stored.
    pub(crate) fn restore(&self, engine: &Engine, groups: &Groups) {
        engine.await_events(&self.filter);
        if let Some(key) = &self.group {
            let position = key.stored_position(engine).unwrap_or_else(|| engine.head());
            groups.hold(key, position);
        }
    }

    /// The group that the subscription is a part of.
    pub(crate) fn group(&self) -> Option<&Key> {
        self.group.as_ref()
    }

    /// A subscription no longer waits.
    pub(crate) fn end(&self, shard: &Shard, groups: &Groups) {
        shard.forget_events(&self.filter);
        if let Some(key) = &self.group {
            groups.release(key, shard);
        }
    }
}
