//! From when to when a subscription of a session is waited for, and its group held.

use dovetail_engine::{Engine, Record, Shard};

use super::Groups;
use crate::awaited::Awaited;

impl Awaited {
    /// A subscription that is stored, or is about to be, waits from now on. The first one with a part in a group gets the
    /// record of the group's position, to be committed with it.
    pub(crate) fn begin(&self, engine: &Engine, groups: &Groups) -> Option<Record> {
        engine.await_events(&self.filter);
        self.group().and_then(|key| groups.hold(key, engine.head()))
    }

    /// As [`Awaited::begin`], for what an earlier server stored.
    pub(crate) fn restore(&self, engine: &Engine, groups: &Groups) {
        engine.await_events(&self.filter);
        if let Some(key) = self.group() {
            let position = key.stored_position(engine).unwrap_or_else(|| engine.head());
            groups.hold(key, position);
        }
    }

    /// A subscription no longer waits.
    pub(crate) fn end(&self, shard: &Shard, groups: &Groups) {
        shard.forget_events(&self.filter);
        if let Some(key) = self.group() {
            groups.release(key, shard);
        }
    }
}
