//! Writes frames and entries as single lines of JSON, straight into a buffer.
//!
//! The members and their meaning are in the documentation of the crate. No function appends a line
//! break, and no payload can bring one in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dovetail_model::{
    Change, DeleteCause, Epoch, Event, Metadata, Representation, Resource, Revision, Tombstone,
};

use crate::{payload, time};

pub use crate::text::string;

/// Appends a `baseline-begin` frame.
pub fn baseline_begin(out: &mut Vec<u8>, rev: Revision) {
    out.extend_from_slice(b"{\"type\":\"baseline-begin\",\"rev\":");
    token(out, rev);
    out.push(b'}');
}

/// Appends an `item` frame: one resource of a baseline.
pub fn item(out: &mut Vec<u8>, epoch: Epoch, resource: &Resource) {
    out.extend_from_slice(b"{\"type\":\"item\",");
    resource_members(out, epoch, resource);
}

/// Appends a `baseline-end` frame.
pub fn baseline_end(out: &mut Vec<u8>, rev: Revision) {
    out.extend_from_slice(b"{\"type\":\"baseline-end\",\"rev\":");
    token(out, rev);
    out.push(b'}');
}

/// Appends a `change` frame. Each change comes with the number of the commit that it belongs to,
/// in the order of the numbers; they are all in `(after, rev]`.
pub fn change<'a>(
    out: &mut Vec<u8>,
    after: Revision,
    rev: Revision,
    changes: impl IntoIterator<Item = (u64, &'a Change)>,
) {
    let mut frame = ChangeFrame::begin(out, after, rev);
    for (number, change) in changes {
        frame.entry(out, number, change);
    }
    frame.end(out);
}

/// Writes a `change` frame entry by entry, for entries that are encoded already.
#[derive(Debug)]
pub struct ChangeFrame {
    epoch: Epoch,
    is_first: bool,
}

impl ChangeFrame {
    /// Appends the start of the frame.
    pub fn begin(out: &mut Vec<u8>, after: Revision, rev: Revision) -> Self {
        out.extend_from_slice(b"{\"type\":\"change\",\"after\":");
        token(out, after);
        out.extend_from_slice(b",\"rev\":");
        token(out, rev);
        out.extend_from_slice(b",\"changes\":[");
        Self { epoch: rev.epoch, is_first: true }
    }

    /// Appends one change of the commit with this number.
    pub fn entry(&mut self, out: &mut Vec<u8>, number: u64, change: &Change) {
        self.separate(out);
        entry(out, self.epoch, number, change);
    }

    /// Appends what [`entry`] has written before.
    pub fn encoded(&mut self, out: &mut Vec<u8>, entry: &[u8]) {
        self.separate(out);
        out.extend_from_slice(entry);
    }

    /// Appends the end of the frame.
    pub fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"]}");
    }

    fn separate(&mut self, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.is_first) {
            out.push(b',');
        }
    }
}

/// Appends a `progress` frame.
pub fn progress(out: &mut Vec<u8>, after: Revision, rev: Revision) {
    out.extend_from_slice(b"{\"type\":\"progress\",\"after\":");
    token(out, after);
    out.extend_from_slice(b",\"rev\":");
    token(out, rev);
    out.push(b'}');
}

/// Appends a `reset` frame. `reason` is a word of the contract, such as `expired` or `epoch`.
pub fn reset(out: &mut Vec<u8>, rev: Revision, reason: &str) {
    out.extend_from_slice(b"{\"type\":\"reset\",\"rev\":");
    token(out, rev);
    out.extend_from_slice(b",\"reason\":");
    string(out, reason);
    out.push(b'}');
}

/// Appends an `end` frame. `reason` is a word of the contract, such as `shutdown` or `revoked`.
pub fn end(out: &mut Vec<u8>, reason: &str) {
    out.extend_from_slice(b"{\"type\":\"end\",\"reason\":");
    string(out, reason);
    out.push(b'}');
}

/// Appends a resource as an entry of a collection: an object without `type` and `op`.
pub fn resource(out: &mut Vec<u8>, epoch: Epoch, resource: &Resource) {
    out.push(b'{');
    resource_members(out, epoch, resource);
}

/// Appends one change as an entry: an object with an `op`. `number` is that of its commit.
pub fn entry(out: &mut Vec<u8>, epoch: Epoch, number: u64, change: &Change) {
    match change {
        Change::Put(resource) => {
            out.extend_from_slice(b"{\"op\":\"put\",");
            resource_members(out, epoch, resource);
        }
        Change::Delete(tombstone) => delete(out, epoch, tombstone),
        Change::Event(published) => event(out, epoch.at(number), published),
    }
}

fn delete(out: &mut Vec<u8>, epoch: Epoch, tombstone: &Tombstone) {
    out.extend_from_slice(b"{\"op\":\"delete\",");
    head(out, tombstone.topic.as_str(), epoch.at(tombstone.revision), tombstone.deleted_at);
    out.extend_from_slice(match tombstone.cause {
        DeleteCause::Request => b",\"cause\":\"request\"}",
        DeleteCause::Expiry => b",\"cause\":\"expiry\"}",
    });
}

fn event(out: &mut Vec<u8>, rev: Revision, event: &Event) {
    out.extend_from_slice(b"{\"op\":\"event\",");
    head(out, event.topic.as_str(), rev, event.published_at);
    contents(out, event.expires_at, &event.representation);
}

fn resource_members(out: &mut Vec<u8>, epoch: Epoch, resource: &Resource) {
    head(out, resource.topic.as_str(), epoch.at(resource.revision), resource.modified_at);
    contents(out, resource.expires_at, &resource.representation);
}

fn head(out: &mut Vec<u8>, path: &str, rev: Revision, modified_at: u64) {
    out.extend_from_slice(b"\"path\":");
    string(out, path);
    out.extend_from_slice(b",\"rev\":");
    token(out, rev);
    out.extend_from_slice(b",\"modified\":\"");
    time::write(out, modified_at);
    out.push(b'"');
}

/// The rest of an object that has a representation, with its closing brace.
fn contents(out: &mut Vec<u8>, expires_at: Option<u64>, representation: &Representation) {
    if let Some(at) = expires_at {
        out.extend_from_slice(b",\"expires\":\"");
        time::write(out, at);
        out.push(b'"');
    }
    representation_members(out, representation);
    out.push(b'}');
}

/// Content type, metadata and payload, each member preceded by a comma.
pub(crate) fn representation_members(out: &mut Vec<u8>, representation: &Representation) {
    let content_type = representation.content_type.as_deref();
    if let Some(content_type) = content_type {
        out.extend_from_slice(b",\"contentType\":");
        string(out, content_type);
    }
    if let Some(said) = representation.metadata.as_deref().filter(|said| !said.is_empty()) {
        out.extend_from_slice(b",\"metadata\":");
        metadata(out, said);
    }
    payload::write(out, content_type, &representation.payload);
}

fn metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    out.extend_from_slice(if metadata.is_text { b"{\"isText\":true" } else { b"{\"isText\":false" });
    if let Some(topic) = &metadata.response_topic {
        out.extend_from_slice(b",\"responseTopic\":");
        string(out, topic.as_str());
    }
    if let Some(data) = &metadata.correlation_data {
        out.extend_from_slice(b",\"correlationData\":\"");
        out.extend_from_slice(STANDARD.encode(data).as_bytes());
        out.push(b'"');
    }
    if !metadata.user_properties.is_empty() {
        out.extend_from_slice(b",\"userProperties\":[");
        for (index, (name, value)) in metadata.user_properties.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"[" } else { b",[" });
            string(out, name);
            out.push(b',');
            string(out, value);
            out.push(b']');
        }
        out.push(b']');
    }
    out.push(b'}');
}

/// Appends a revision as a JSON string.
pub fn token(out: &mut Vec<u8>, revision: Revision) {
    out.push(b'"');
    revision.append_to(out);
    out.push(b'"');
}
