//! Records: what a door keeps for itself, in the same journal as everything else.
//!
//! A record is a resource below `$dovetail/`, where no client reads or writes. It is put or deleted by a
//! [`Write`](crate::Write), in one commit with the operations of a client or alone, so that it is exactly as
//! durable as they are.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dovetail_model::{Change, Filter, Resource, Topic, TopicError};
use dovetail_tree::Scan;

use crate::{Engine, Shard};

/// Where the server keeps what is its own.
const ROOT: &str = "$dovetail";
/// The area of the engine itself.
const OWN_AREA: &str = "idempotency";

/// The part of the server's own names that one door keeps its records in: `$dovetail/<area>/…`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordArea(&'static str);

/// The name of a record: a topic below `$dovetail/<area>/`, within the limits of topics. Only a
/// [`RecordArea`] makes one, so a write of records needs no right of the client on whose behalf it is done.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RecordName(Topic);

/// What is to become of one record.
#[derive(Clone, Debug)]
pub struct Record {
    /// Which one.
    pub name: RecordName,
    /// What it is to hold, at least one byte; `None` deletes it, which changes nothing when it is not there.
    pub contents: Option<Bytes>,
    /// How long it is to live, counted from the commit; `None` is for ever.
    pub time_to_live: Option<Duration>,
    /// The number of the revision that it must be at for the write to happen
    /// ([`Resource::revision`]); 0 when it must not exist.
    pub only_if: Option<u64>,
}

/// Whether these are changes of records alone. No client may read one, and the engine lets nobody follow them.
pub(crate) fn are_of_records(changes: &[Change]) -> bool {
    let is_record =
        |topic: &Topic| topic.as_str().strip_prefix(ROOT).is_some_and(|rest| rest.starts_with('/'));
    changes.iter().all(|change| is_record(change.topic()))
}

impl RecordArea {
    /// The area of this name, which is made of lower-case letters and `-`.
    ///
    /// # Panics
    /// If `name` is made of anything else, or is the engine's own. Areas are constants, so this is found when
    /// they are compiled.
    pub const fn new(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty(), "an area has a name");
        let mut at = 0;
        while at < bytes.len() {
            assert!(bytes[at].is_ascii_lowercase() || bytes[at] == b'-', "a letter or a dash");
            at += 1;
        }
        assert!(!equal(bytes, OWN_AREA.as_bytes()), "the area of the engine");
        Self(name)
    }

    /// The record at `path`, which may have several levels.
    ///
    /// # Errors
    /// When `path` is empty, or the name breaks the rules of topics.
    pub fn record(self, path: &str) -> Result<RecordName, TopicError> {
        if path.is_empty() {
            return Err(TopicError::Empty);
        }
        Topic::new(&format!("{ROOT}/{}/{path}", self.0)).map(RecordName)
    }
}

impl RecordName {
    /// The name in the tree.
    pub fn topic(&self) -> &Topic {
        &self.0
    }

    /// The name within its area.
    pub fn path(&self) -> &str {
        self.0.as_str().splitn(3, '/').nth(2).unwrap_or_default()
    }
}

impl Record {
    /// A record that is put, without conditions and for ever.
    pub fn put(name: RecordName, contents: Bytes) -> Self {
        Self { name, contents: Some(contents), time_to_live: None, only_if: None }
    }

    /// A record that is deleted, without conditions.
    pub fn delete(name: RecordName) -> Self {
        Self { name, contents: None, time_to_live: None, only_if: None }
    }

    pub(crate) fn weight(&self) -> usize {
        self.name.0.as_str().len() + self.contents.as_ref().map_or(0, Bytes::len)
    }
}

impl Engine {
    /// The record as everybody can see it now, with the revision that [`Record::only_if`] compares.
    pub fn record(&self, name: &RecordName) -> Option<Arc<Resource>> {
        self.core().published.tree().get(name.topic()).cloned()
    }

    /// All records of an area, in tree order, exact at one revision. Their [`RecordName::path`] is what follows
    /// the second level of the topic.
    pub fn records(&self, area: RecordArea) -> impl Iterator<Item = Arc<Resource>> + use<> {
        self.scan(&format!("{ROOT}/{}/#", area.0))
    }

    /// The record `name` and all below it, in tree order, exact at one revision.
    pub fn records_below(&self, name: &RecordName) -> impl Iterator<Item = Arc<Resource>> + use<> {
        self.scan(&format!("{}/#", name.topic()))
    }

    fn scan(&self, filter: &str) -> impl Iterator<Item = Arc<Resource>> + use<> {
        // A name at the limit of topics has nothing below it, and no filter either.
        let filter = Filter::new(filter).ok();
        let scan: Option<Scan> = filter.map(|filter| self.core().published.tree().scan(filter));
        scan.into_iter().flatten()
    }
}

impl Shard {
    /// The record as everybody can see it now: [`Engine::record`].
    pub fn record(&self, name: &RecordName) -> Option<Arc<Resource>> {
        self.inner().core.published.tree().get(name.topic()).cloned()
    }
}

/// Whether two texts are equal, for constants.
const fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;

    const AREA: RecordArea = RecordArea::new("sessions");

    #[test]
    fn a_name_stays_within_its_area() {
        let name = AREA.record("local/a//b").unwrap();
        assert_eq!(name.topic().as_str(), "$dovetail/sessions/local/a//b");
        assert_eq!(name.path(), "local/a//b");
        assert_eq!(AREA.record(""), Err(TopicError::Empty));
        assert_eq!(AREA.record("a/#"), Err(TopicError::Wildcard('#')));
        assert!(matches!(AREA.record(&"x".repeat(4_096)), Err(TopicError::TooLong(_))));
    }

    #[test]
    #[should_panic(expected = "the area of the engine")]
    fn the_engines_own_area_is_its_own() {
        let _ = RecordArea::new("idempotency");
    }
}
