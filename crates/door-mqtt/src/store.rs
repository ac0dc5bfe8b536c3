//! Where the records of a session are: names, reading them all, and writing them.
//!
//! A session's records are below `$dovetail/mqtt/<principal>/<client id>`. That name itself is the root; below it are
//! `sub/<number>`, `flow`, `in/<packet id>` and `will`. Whoever holds the client id in the registry is the only one who reads
//! or writes them, so they need no conditions.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use dovetail_engine::{Engine, Record, RecordArea, RecordName};
use dovetail_model::{Epoch, Resource};
use dovetail_mqtt_proto::PacketId;

use crate::awaited::{Awaited, Key};
use crate::record::{Damaged, Flow, LastWill, Root, Subscribed, What};
use crate::registry::Name;

/// Where the door keeps what is its own.
const AREA: RecordArea = RecordArea::new("mqtt");
/// The longest name below a root.
const LONGEST: &str = "sub/4294967295";

/// The names of one session's records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Names {
    root: RecordName,
}

/// Everything that is stored of one session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    pub(crate) root: Option<Root>,
    pub(crate) subscriptions: BTreeMap<u32, Subscribed>,
    pub(crate) flow: Option<Flow>,
    /// The ids of messages with `QoS` 2 from the client that are taken, but not released.
    pub(crate) received: Vec<PacketId>,
    pub(crate) will: Option<LastWill>,
    /// Something is stored that cannot be understood.
    pub(crate) is_damaged: bool,
    /// All records there are.
    pub(crate) names: Vec<RecordName>,
}

impl Names {
    /// The names for a client; `None` if they would be too long.
    pub(crate) fn of(name: &Name) -> Option<Self> {
        let mut path = String::new();
        escape(&name.principal, &mut path);
        path.push('/');
        escape(&name.client_id, &mut path);
        AREA.record(&format!("{path}/{LONGEST}")).ok()?;
        AREA.record(&path).ok().map(|root| Self { root })
    }

    pub(crate) fn root(&self) -> RecordName {
        self.root.clone()
    }

    pub(crate) fn subscription(&self, number: u32) -> RecordName {
        self.below(&format!("sub/{number}"))
    }

    pub(crate) fn flow(&self) -> RecordName {
        self.below("flow")
    }

    pub(crate) fn received(&self, id: PacketId) -> RecordName {
        self.below(&format!("in/{}", id.get()))
    }

    pub(crate) fn will(&self) -> RecordName {
        self.below("will")
    }

    fn below(&self, rest: &str) -> RecordName {
        let name = AREA.record(&format!("{}/{rest}", self.root.path()));
        debug_assert!(name.is_ok(), "the longest name was tried first");
        name.unwrap_or_else(|_| self.root.clone())
    }
}

impl Subscribed {
    /// What the subscription waits for while its client is away; `None` if nothing is kept for it.
    pub(crate) fn awaited(&self) -> Option<Awaited> {
        Awaited::of(&self.filter, self.kind, self.options.qos)
    }
}

/// Reads what is stored of one session.
pub(crate) fn load(engine: &Engine, names: &Names) -> Stored {
    let mut stored = Stored::default();
    // An ordinary client has nothing, which one look says.
    for resource in engine.records_below(&names.root) {
        stored.add(names.root.path().len(), &resource);
    }
    stored
}

/// Reads what is stored of all sessions, one after the other.
pub(crate) fn load_all(engine: &Engine, mut each: impl FnMut(Name, Stored)) {
    let mut current: Option<(String, Name, Stored)> = None;
    for resource in engine.records(AREA) {
        let Some(path) = path_of(&resource) else { continue };
        let mut levels = path.splitn(3, '/');
        let (Some(principal), Some(client_id)) = (levels.next(), levels.next()) else { continue };
        let length = principal.len() + 1 + client_id.len();
        if current.as_ref().is_none_or(|(root, ..)| root != &path[..length]) {
            if let Some((_, name, stored)) = current.take() {
                each(name, stored);
            }
            let (Some(principal), Some(client_id)) = (unescape(principal), unescape(client_id)) else {
                tracing::error!(path, "a record of no session");
                continue;
            };
            let name = Name { principal: principal.into(), client_id: client_id.into() };
            current = Some((path[..length].to_owned(), name, Stored::default()));
        }
        if let Some((.., stored)) = &mut current {
            stored.add(length, &resource);
        }
    }
    if let Some((_, name, stored)) = current {
        each(name, stored);
    }
}

impl Stored {
    /// What the session waits for while its client is away.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = Awaited> {
        self.subscriptions.values().filter_map(Subscribed::awaited)
    }

    /// Calls `each` with the group, the number of the commit and the digest of the topic of every message that is on its way as
    /// part of a group.
    pub(crate) fn of_groups(&self, epoch: Epoch, mut each: impl FnMut(&Key, u64, u64)) {
        let Some(flow) = self.flow.as_ref().filter(|flow| flow.epoch == epoch) else { return };
        for flight in &flow.flights {
            let awaited = self.subscriptions.get(&flight.subscription).and_then(Subscribed::awaited);
            if let (Some(key), What::Change { rev, digest, .. }) =
                (awaited.as_ref().and_then(Awaited::group), &flight.what)
            {
                each(key, *rev, *digest);
            }
        }
    }

    fn add(&mut self, root: usize, resource: &Resource) {
        let Some(name) = path_of(resource).and_then(|path| AREA.record(path).ok()) else { return };
        let below = name.path().get(root + 1..).unwrap_or_default();
        if self.read(below, &resource.representation.payload).is_err() {
            self.is_damaged = true;
            tracing::error!(record = name.path(), "a record of a session cannot be read");
        }
        self.names.push(name);
    }

    fn read(&mut self, below: &str, bytes: &Bytes) -> Result<(), Damaged> {
        match below.split_once('/') {
            None if below.is_empty() => self.root = Some(Root::decode(bytes)?),
            None if below == "flow" => self.flow = Some(Flow::decode(bytes)?),
            None if below == "will" => self.will = Some(LastWill::decode(bytes)?),
            Some(("sub", number)) => {
                let number = number.parse().map_err(|_| Damaged)?;
                self.subscriptions.insert(number, Subscribed::decode(bytes)?);
            }
            Some(("in", id)) => {
                let id = id.parse().ok().and_then(PacketId::new).ok_or(Damaged)?;
                self.received.push(id);
            }
            _ => return Err(Damaged),
        }
        Ok(())
    }
}

/// A record that says by its name all there is to say.
pub(crate) fn mark(name: RecordName) -> Record {
    Record::put(name, Bytes::from_static(&[1]))
}

fn path_of(resource: &Resource) -> Option<&str> {
    resource.topic.as_str().splitn(3, '/').nth(2)
}

/// Appends a text as one level that is no wildcard: other bytes than letters, digits, `-`, `_` and `.` become `~` and two
/// digits.
pub(crate) fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "~{byte:02x}");
        }
    }
}

fn unescape(level: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(level.len());
    let mut parts = level.split('~');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;
    use proptest::prelude::*;

    fn name(principal: &str, client_id: &str) -> Name {
        Name { principal: principal.into(), client_id: client_id.into() }
    }

    proptest! {
        #[test]
        fn a_level_is_a_text_again(text in "\\PC{0,12}|[~a-z/+#]{0,8}") {
            let mut level = String::new();
            escape(&text, &mut level);
            prop_assert!(!level.contains(['/', '+', '#']));
            prop_assert_eq!(unescape(&level), Some(text));
        }
    }

    #[test]
    fn names_are_those_of_one_client() {
        let names = Names::of(&name("a/b", "c+")).unwrap();
        assert_eq!(names.root().path(), "a~2fb/c~2b");
        assert_eq!(names.subscription(7).path(), "a~2fb/c~2b/sub/7");
        assert_eq!(names.received(PacketId::FIRST).path(), "a~2fb/c~2b/in/1");
        assert_ne!(Names::of(&name("a", "b")), Names::of(&name("a/b", "b")));
        assert_eq!(Names::of(&name("a", &"+".repeat(1400))), None);
    }

    #[test]
    fn records_are_read_by_their_names() {
        let mut stored = Stored::default();
        let root = Root { expiry: 9, ended_at: Some(4) };
        let table: [(&str, Bytes, bool); 7] = [
            ("", root.encode().into(), true),
            ("in/9", Bytes::from_static(&[1]), true),
            ("in/0", Bytes::from_static(&[1]), false),
            ("sub/x", Bytes::from_static(&[1]), false),
            ("flow", Bytes::from_static(&[1]), false),
            ("other", Bytes::from_static(&[1]), false),
            ("will", Bytes::from_static(&[1]), false),
        ];
        for (below, bytes, expected) in table {
            assert_eq!(stored.read(below, &bytes).is_ok(), expected, "{below}");
        }
        assert_eq!(stored.root, Some(root));
        assert_eq!(stored.received, [PacketId::new(9).unwrap()]);
    }
}
