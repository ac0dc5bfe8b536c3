//! How long messages live: counted down while they are delivered `[MQTT-3.3.2-6]`, never delivered when they are over
//! `[MQTT-3.3.2-5]`.

use dovetail_engine::Shard;
use dovetail_model::limits::AT_ONCE;
use dovetail_model::{Change, Resource, UnixMillis};

/// From when to when a message is worth something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lifespan {
    begin: UnixMillis,
    end: UnixMillis,
}

/// What is left of a message's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// It has no end.
    Everything,
    /// Begun seconds.
    Seconds(u32),
    /// It is over: the message is not delivered.
    Nothing,
}

impl Lifespan {
    /// The life of a change's message; `None` if it has no end.
    pub(crate) fn of_change(change: &Change) -> Option<Self> {
        match change {
            Change::Put(resource) => Self::of_resource(resource),
            Change::Delete(_) => None,
            Change::Event(event) => event.expires_at.map(|end| Self { begin: event.published_at, end }),
        }
    }

    /// The life of a resource; `None` if it has no end.
    pub(crate) fn of_resource(resource: &Resource) -> Option<Self> {
        resource.expires_at.map(|end| Self { begin: resource.modified_at, end })
    }

    /// All of it, in begun seconds.
    pub(crate) fn seconds(self) -> u32 {
        begun_seconds(self.end.saturating_sub(self.begin))
    }

    /// What is left of it: never more than all of it, whatever the clock says.
    fn left(self, now: UnixMillis) -> Left {
        let now = now.max(self.begin);
        if now < self.end {
            Left::Seconds(begun_seconds(self.end - now))
        } else if self.end <= self.begin && now - self.begin < AT_ONCE.as_millis() as u64 {
            // Its life is 0: it is for who is there when it comes.
            Left::Seconds(0)
        } else {
            Left::Nothing
        }
    }
}

impl Left {
    /// What is left of a life that may have an end; the time is needed if it does.
    #[inline]
    pub(crate) fn of(life: Option<Lifespan>, now: Option<UnixMillis>) -> Self {
        life.zip(now).map_or(Self::Everything, |(life, now)| life.left(now))
    }

    /// What is left of a life now.
    #[inline]
    pub(crate) fn now(life: Option<Lifespan>, shard: &Shard) -> Self {
        life.map_or(Self::Everything, |life| life.left(shard.now()))
    }
}

fn begun_seconds(millis: UnixMillis) -> u32 {
    u32::try_from(millis.div_ceil(1_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_counted_in_begun_seconds_until_it_is_over() {
        let minute = Lifespan { begin: 1_000, end: 61_000 };
        assert_eq!(minute.seconds(), 60);
        let table = [
            (1_000, Left::Seconds(60)),
            (1_001, Left::Seconds(60)),
            (2_000, Left::Seconds(59)),
            (60_999, Left::Seconds(1)),
            (61_000, Left::Nothing),
            (90_000, Left::Nothing),
            // Another clock.
            (0, Left::Seconds(60)),
        ];
        for (now, expected) in table {
            assert_eq!(minute.left(now), expected, "{now}");
        }
        assert_eq!(Lifespan { begin: 0, end: u64::MAX }.left(5), Left::Seconds(u32::MAX));
        assert_eq!(Left::of(None, Some(5)), Left::Everything);
    }

    #[test]
    fn a_life_of_nothing_is_for_who_is_there() {
        let nothing = Lifespan { begin: 5_000, end: 5_000 };
        assert_eq!(nothing.seconds(), 0);
        let left = [4_000, 5_000, 5_999, 6_000].map(|now| nothing.left(now));
        assert_eq!(left, [Left::Seconds(0), Left::Seconds(0), Left::Seconds(0), Left::Nothing]);
    }
}
