//! When a session ends and when its will is due, decided from what is stored and the time.
//!
//! Everything that can happen to a session without its connection is one [`Plan`]: what of it is deleted or written, and
//! whether the will is published with it, in one commit. The same decision is made when a connection ends, when its time has
//! come, when the client returns and when the server starts, so it is made here, by a function.

use dovetail_engine::Record;
use dovetail_model::UnixMillis;

use crate::record::{LastWill, Root};
use crate::store::{Names, Stored};

/// What happens to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Occasion {
    /// It has no connection, and time passes.
    Away,
    /// Its client is there again, and goes on with it.
    Resumed,
    /// Its client is there again, and does not want it.
    Discarded,
}

/// What is to be committed.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What is published with the commit.
    pub(crate) will: Option<LastWill>,
    pub(crate) records: Vec<Record>,
    /// Nothing of the session is left.
    pub(crate) is_over: bool,
    /// When there is something to be done again.
    pub(crate) due: Option<UnixMillis>,
}

/// What is to be done about a session `now`. Its connection ended at `ended_at`, unless the root knows better.
pub(crate) fn plan(
    stored: &Stored,
    names: &Names,
    ended_at: UnixMillis,
    now: UnixMillis,
    occasion: Occasion,
) -> Plan {
    let root = stored.root.filter(|_| !stored.is_damaged);
    let ended_at = root.and_then(|root| root.ended_at).unwrap_or(ended_at);
    let ends = root.map_or(ended_at, |root| after(ended_at, root.expiry));
    let is_over = ends <= now || occasion == Occasion::Discarded;
    let will_due = stored.will.as_ref().map(|will| ends.min(after(ended_at, will.delay())));
    let fires = is_over || will_due.is_some_and(|due| due <= now);
    let mut records = Vec::new();
    if is_over {
        records.extend(stored.names.iter().cloned().map(Record::delete));
    } else {
        // A client that is back in time has cancelled its will [MQTT-3.1.3-9].
        if stored.will.is_some() && (fires || occasion == Occasion::Resumed) {
            records.push(Record::delete(names.will()));
        }
        if let Some(root) = root.filter(|root| root.ended_at.is_none() && occasion == Occasion::Away) {
            let ended = Root { ended_at: Some(ended_at), ..root };
            records.push(Record::put(names.root(), ended.encode().into()));
        }
    }
    let will_due = will_due.filter(|_| !fires && occasion == Occasion::Away);
    let due = if is_over { None } else { Some(will_due.map_or(ends, |due| due.min(ends))) };
    Plan { will: stored.will.clone().filter(|_| fires), records, is_over, due }
}

fn after(at: UnixMillis, seconds: u32) -> UnixMillis {
    at.saturating_add(u64::from(seconds) * 1000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;
    use crate::registry::Name;
    use bytes::Bytes;
    use dovetail_mqtt_proto::{PropertiesBuf, Property, Qos, Text, Will};

    const END: u64 = 1_000_000;

    fn names() -> Names {
        Names::of(&Name { principal: "a".into(), client_id: "b".into() }).unwrap()
    }

    fn will(delay: u32) -> LastWill {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::WillDelay(delay)).unwrap();
        let will = Will {
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: properties.into(),
            topic: Text::new("gone").unwrap(),
            payload: Bytes::new(),
        };
        LastWill { will }
    }

    /// What is left: `Some` of whether the root and the will are, `None` if nothing is.
    fn left(stored: &Stored, plan: &Plan) -> Option<(bool, bool)> {
        let deleted =
            |name| plan.records.iter().any(|record| record.name == name && record.contents.is_none());
        let (root, will) = (!deleted(names().root()), !deleted(names().will()));
        let left = (stored.root.is_some() && root, stored.will.is_some() && will);
        assert_eq!(plan.is_over, !left.0, "{plan:?}");
        (left.0 || left.1).then_some(left)
    }

    #[test]
    #[rustfmt::skip]
    fn wills_and_ends_as_a_table() {
        use Occasion::{Away, Discarded, Resumed};
        // Expiry, will delay, seconds since the end, what happens; is the will published, what is left, when is the next look.
        let table = [
            // A connection without a session: its will goes with it, whatever its delay [MQTT-3.1.3-9].
            (None, Some(0), 0, Away, true, None, None),
            (None, Some(60), 0, Away, true, None, None),
            (None, Some(60), 0, Discarded, true, None, None),
            // A session without a will.
            (Some(100), None, 0, Away, false, Some((true, false)), Some(100)),
            (Some(100), None, 99, Away, false, Some((true, false)), Some(100)),
            (Some(100), None, 100, Away, false, None, None),
            (Some(100), None, 99, Resumed, false, Some((true, false)), Some(100)),
            (Some(100), None, 100, Resumed, false, None, None),
            (Some(100), None, 5, Discarded, false, None, None),
            // Without a delay the will is published at once, and the session stays.
            (Some(100), Some(0), 0, Away, true, Some((true, false)), Some(100)),
            (Some(100), Some(0), 0, Resumed, true, Some((true, false)), Some(100)),
            // With a delay it waits, and is cancelled by a return before it is due.
            (Some(100), Some(60), 0, Away, false, Some((true, true)), Some(60)),
            (Some(100), Some(60), 59, Away, false, Some((true, true)), Some(60)),
            (Some(100), Some(60), 60, Away, true, Some((true, false)), Some(100)),
            (Some(100), Some(60), 59, Resumed, false, Some((true, false)), Some(100)),
            (Some(100), Some(60), 60, Resumed, true, Some((true, false)), Some(100)),
            // The end of the session ends the delay.
            (Some(100), Some(300), 99, Away, false, Some((true, true)), Some(100)),
            (Some(100), Some(300), 100, Away, true, None, None),
            (Some(100), Some(300), 100, Resumed, true, None, None),
            // A clean start ends the session, and so publishes what is due with it.
            (Some(100), Some(60), 5, Discarded, true, None, None),
        ];
        for (expiry, delay, since, occasion, fires, expected, due) in table {
            let root = expiry.map(|expiry| Root { expiry, ended_at: Some(END) });
            let will = delay.map(will);
            let all = [(root.is_some(), names().root()), (will.is_some(), names().will())];
            let names_there = all.into_iter().filter(|(there, _)| *there).map(|(_, name)| name).collect();
            let stored = Stored { root, will, names: names_there, ..Stored::default() };
            let what = format!("{expiry:?} {delay:?} {since} {occasion:?}");
            let plan = plan(&stored, &names(), END, END + since * 1000, occasion);
            assert_eq!(plan.will.is_some(), fires, "{what}");
            assert_eq!(left(&stored, &plan), expected, "{what}");
            assert_eq!(plan.due, due.map(|seconds: u64| END + seconds * 1000), "{what}");
        }
    }

    #[test]
    fn a_session_that_was_connected_ends_when_that_is_noticed() {
        let root = Root { expiry: 100, ended_at: None };
        let stored = Stored { root: Some(root), names: vec![names().root()], ..Stored::default() };
        let plan = plan(&stored, &names(), END, END + 5, Occasion::Away);
        let written = plan.records[0].contents.as_ref().map(|bytes| Root::decode(bytes));
        assert_eq!(written, Some(Ok(Root { expiry: 100, ended_at: Some(END) })));
        assert_eq!((plan.is_over, plan.due), (false, Some(END + 100_000)));
    }

    #[test]
    fn a_damaged_session_is_over() {
        let root = Root { expiry: 100, ended_at: Some(END) };
        let stored = Stored {
            root: Some(root),
            names: vec![names().root(), names().flow()],
            is_damaged: true,
            ..Stored::default()
        };
        let plan = plan(&stored, &names(), END, END, Occasion::Resumed);
        assert!(plan.is_over);
        assert_eq!(plan.records.len(), 2);
    }
}
