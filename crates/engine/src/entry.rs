//! What is fanned out: a commit or an event, and its encoded forms.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dovetail_model::{Change, Commit, Event, PublisherId};
use smallvec::SmallVec;

use crate::record;

/// A slot for one wire form of a change. Each door owns the forms it uses; the engine only keeps
/// what a door encoded, so that it is encoded once for all subscribers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// MQTT 3.1 and 3.1.1.
    Mqtt3,
    /// MQTT 5.
    Mqtt5,
    /// The JSON of the change, for SSE, WebSocket and NDJSON.
    Json,
    /// The same in `MessagePack`, for SignalR.
    MessagePack,
}

const FORMS: usize = 4;

/// The encoded forms of one change, each made at most once.
#[derive(Debug, Default)]
pub struct Forms(OnceLock<Box<[OnceLock<Bytes>; FORMS]>>);

impl Forms {
    /// The form, made with `encode` the first time that anybody asks for it.
    pub fn get(&self, form: Form, encode: impl FnOnce() -> Bytes) -> &Bytes {
        self.0.get_or_init(Default::default)[form as usize].get_or_init(encode)
    }
}

/// A commit or an event on its way to subscribers.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says another thing about what is in it")]
pub(crate) struct Entry {
    /// The number of the commit; for an event the head when it was accepted.
    pub(crate) number: u64,
    /// It is an event that is not in the journal.
    pub(crate) is_event: bool,
    /// Some of its changes are events.
    pub(crate) holds_events: bool,
    /// Subscribers see events of it and nothing else: the rest are records, if anything.
    pub(crate) tells_only_events: bool,
    /// There is nothing but records: no subscriber sees anything of it.
    pub(crate) is_internal: bool,
    pub(crate) publisher: Option<PublisherId>,
    /// Bytes, for limits.
    pub(crate) weight: usize,
    changes: Box<[Change]>,
    change_forms: SmallVec<[Forms; 1]>,
}

impl Entry {
    /// A commit.
    pub(crate) fn of(commit: Commit) -> Self {
        Self::new(commit.number, false, commit.publisher, commit.changes)
    }

    /// An event that is not in the journal, accepted when the head was `number`.
    pub(crate) fn event(number: u64, publisher: Option<PublisherId>, event: Event) -> Self {
        Self::new(number, true, publisher, Box::new([Change::Event(Arc::new(event))]))
    }

    fn new(number: u64, is_event: bool, publisher: Option<PublisherId>, changes: Box<[Change]>) -> Self {
        const FIXED: usize = 192;
        let is_an_event = |change: &Change| matches!(change, Change::Event(_));
        let weight = FIXED + changes.iter().map(Change::weight).sum::<usize>();
        let holds_events = changes.iter().any(is_an_event);
        let tells_only_events =
            holds_events && changes.iter().all(|change| is_an_event(change) || change.topic().is_reserved());
        let is_internal = record::are_of_records(&changes);
        let change_forms = changes.iter().map(|_| Forms::default()).collect();
        Self {
            number,
            is_event,
            holds_events,
            tells_only_events,
            is_internal,
            publisher,
            weight,
            changes,
            change_forms,
        }
    }

    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub(crate) fn change_forms(&self, index: usize) -> &Forms {
        &self.change_forms[index]
    }
}
