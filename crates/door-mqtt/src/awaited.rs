//! What a subscription of a session waits for while its client is away.
//!
//! Events that match are kept in the journal as long as somebody waits for them; and a group in which a session has a part keeps its
//! position, as a record, also while none of its members is there.

use dovetail_model::Filter;
use dovetail_mqtt_proto::{Qos, split_shared};

use crate::sys;
use crate::tracked::{FRAMES, Kind};

/// What is waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Awaited {
    pub(crate) filter: Filter,
    group: Option<Key>,
}

/// What makes a group: its name and its filter.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Key {
    pub(crate) name: Box<str>,
    pub(crate) filter: Box<str>,
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

    /// The group that the subscription is a part of.
    pub(crate) fn group(&self) -> Option<&Key> {
        self.group.as_ref()
    }
}
