//! Tracked subscriptions: where their messages stand in the history, and what the server says besides.
//!
//! A tracked message carries the user properties `rev`, `after`, `op` and `at`; the messages of one commit but the last
//! also `more`. A baseline's messages carry no `after`. Control messages say `sync`, `progress` and `reset` below
//! `$feed/`. A filter below `$changes/` gets whole items as JSON instead, which every version can read.

use std::fmt::Write as _;

use dovetail_api::encode;
use dovetail_calls::frame;
use dovetail_engine::{Delivery, Item, Start};
use dovetail_model::{Change, Revision, UnixMillis};
use dovetail_mqtt_proto::{Properties, PropertiesBuf, Property, ReasonCode};

use crate::answer::Refusal;

/// Where filters begin whose messages are items in JSON.
pub(crate) const FRAMES: &str = "$changes/";
/// The baseline is complete.
const SYNC: &str = "$feed/sync";
/// Nothing happened up to a revision.
const PROGRESS: &str = "$feed/progress";
/// What was told is void; a baseline follows.
const RESET: &str = "$feed/reset";
/// The user property of SUBSCRIBE that makes its subscriptions tracked.
const SINCE: &str = "since";

/// What a subscription's messages say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Contents only.
    Plain,
    /// Contents with positions as user properties, and control messages.
    Tracked,
    /// Whole items as JSON.
    Frames,
}

/// From where a tracked subscription starts; `None` for a plain one.
///
/// # Errors
/// The user property `since` is there and says nothing that can be understood.
pub(crate) fn since(properties: &Properties) -> Result<Option<Start>, Refusal> {
    let Some((_, value)) = properties.user().find(|(name, _)| *name == SINCE) else { return Ok(None) };
    match value {
        "" => Ok(Some(Start::Baseline)),
        "now" => Ok(Some(Start::Now)),
        token => token.parse().map(|revision| Some(Start::After(revision))).map_err(|error| {
            let text = format!("since is a revision, now, or empty: {error}");
            Refusal::new(ReasonCode::ImplementationSpecificError, text)
        }),
    }
}

/// Puts the positions of one change of a delivery into `extra`; `more` changes of the same commit follow.
pub(crate) fn position(extra: &mut PropertiesBuf, delivery: &Delivery, change: &Change, more: usize) {
    let mut text = String::new();
    user(extra, &mut text, "rev", delivery.rev);
    user(extra, &mut text, "after", delivery.after);
    let (op, at) = match change {
        Change::Put(resource) => ("put", resource.modified_at),
        Change::Delete(tombstone) => ("delete", tombstone.deleted_at),
        Change::Event(event) => ("event", event.published_at),
    };
    // Before `op`, which is always there: what the publisher said itself comes after and cannot be taken for it.
    if more > 0 {
        user(extra, &mut text, "more", more);
    }
    push(extra, Property::User("op", op));
    user(extra, &mut text, "at", at);
}

/// Puts where and when a resource of a baseline was last changed into `extra`.
pub(crate) fn resource(extra: &mut PropertiesBuf, rev: Revision, at: UnixMillis) {
    let mut text = String::new();
    user(extra, &mut text, "rev", rev);
    push(extra, Property::User("op", "put"));
    user(extra, &mut text, "at", at);
}

fn user(extra: &mut PropertiesBuf, text: &mut String, name: &str, value: impl std::fmt::Display) {
    text.clear();
    // Writing to a string does not fail.
    let _ = write!(text, "{value}");
    push(extra, Property::User(name, text));
}

fn push(extra: &mut PropertiesBuf, property: Property<'_>) {
    let pushed = extra.push(property);
    debug_assert!(pushed.is_ok(), "short texts fit");
}

/// The control message for an item, as topic and payload; `None` for items that have none.
pub(crate) fn control(item: &Item, filter: &str) -> Option<(&'static str, Vec<u8>)> {
    let mut out = Vec::with_capacity(96);
    out.extend_from_slice(b"{\"filter\":");
    encode::string(&mut out, filter);
    let topic = match item {
        Item::BaselineEnd(rev) => {
            member(&mut out, "rev", *rev);
            SYNC
        }
        Item::Progress { after, rev } => {
            member(&mut out, "after", *after);
            member(&mut out, "rev", *rev);
            PROGRESS
        }
        Item::Reset { reason, head } => {
            out.extend_from_slice(b",\"reason\":");
            encode::string(&mut out, frame::reset_reason(*reason));
            member(&mut out, "rev", *head);
            RESET
        }
        Item::BaselineBegin(_) | Item::Resource(_) | Item::Change(_) | Item::End(_) => return None,
    };
    out.push(b'}');
    Some((topic, out))
}

fn member(out: &mut Vec<u8>, name: &str, revision: Revision) {
    out.push(b',');
    encode::string(out, name);
    out.push(b':');
    encode::token(out, revision);
}

/// An item as JSON, and the topic that it goes to: that of its (first) change below `$changes/`, or a control topic.
pub(crate) fn frame(item: &Item, head: Revision) -> Option<(String, Vec<u8>)> {
    let topic = match item {
        Item::BaselineBegin(_) => "$feed/baseline".to_owned(),
        Item::Resource(resource) => format!("{FRAMES}{}", resource.topic),
        Item::BaselineEnd(_) => SYNC.to_owned(),
        Item::Change(delivery) => format!("{FRAMES}{}", delivery.changes().next()?.topic()),
        Item::Progress { .. } => PROGRESS.to_owned(),
        Item::Reset { .. } => RESET.to_owned(),
        Item::End(_) => return None,
    };
    let mut out = Vec::with_capacity(256);
    frame::write(&mut out, item, head.epoch);
    Some((topic, out))
}
