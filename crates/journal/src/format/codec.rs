//! Commits and changes as bytes.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use dovetail_model::{
    Change, Commit, DeleteCause, Event, Metadata, PublisherId, Qos, Representation, Resource, Tombstone,
    Topic, UnixMillis,
};

use super::Reason;

/// Length, time and count in front of the changes of a commit.
const COMMIT_HEADER_BYTES: usize = 4 + 8 + 4;
/// In the count of changes: whose client the commit came by follows it.
const HAS_PUBLISHER: u32 = 1 << 31;
/// Kind, flags and lengths in front of the fields of a change.
const CHANGE_HEADER_BYTES: usize = 1 + 1 + 2 + 4 + 4;
/// Content types that are told apart before sharing stops.
const INTERNED_MAX: usize = 1_024;

const PUT: u8 = 1;
const DELETE_REQUEST: u8 = 2;
const DELETE_EXPIRY: u8 = 3;
const EVENT: u8 = 4;

/// The revision follows; it is not that of the commit.
const HAS_REVISION: u8 = 1 << 0;
/// The time follows; it is not that of the commit.
const HAS_TIME: u8 = 1 << 1;
const HAS_EXPIRY: u8 = 1 << 2;
const HAS_CONTENT_TYPE: u8 = 1 << 3;
const HAS_METADATA: u8 = 1 << 4;
/// How much less surely than the most the contents are to be delivered: two bits.
const QOS_SHIFT: u32 = 5;
const QOS: u8 = 0b11 << QOS_SHIFT;
const FLAGS: u8 = HAS_REVISION | HAS_TIME | HAS_EXPIRY | HAS_CONTENT_TYPE | HAS_METADATA | QOS;

const IS_TEXT: u8 = 1 << 0;
const HAS_RESPONSE_TOPIC: u8 = 1 << 1;
const HAS_CORRELATION: u8 = 1 << 2;
const METADATA_FLAGS: u8 = IS_TEXT | HAS_RESPONSE_TOPIC | HAS_CORRELATION;

/// Gives equal content types one allocation.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    last: Option<Arc<str>>,
    known: HashSet<Arc<str>>,
}

/// The most bytes that `commit` takes in a batch; at most 16 per change and 8 more are not written.
pub fn encoded_bytes(commit: &Commit) -> usize {
    COMMIT_HEADER_BYTES + 8 + commit.changes.iter().map(change_bytes).sum::<usize>()
}

/// The most bytes that `change` takes in a commit or a snapshot.
pub fn change_bytes(change: &Change) -> usize {
    let fields = CHANGE_HEADER_BYTES + 3 * 8 + change.topic().as_str().len();
    let Some(representation) = change.representation() else { return fields };
    let metadata = representation.metadata.as_deref().map_or(0, metadata_bytes);
    let content_type = representation.content_type.as_ref().map_or(0, |text| text.len());
    fields + content_type + representation.payload.len() + metadata
}

fn metadata_bytes(metadata: &Metadata) -> usize {
    let texts = metadata.user_properties.iter().map(|(name, value)| 8 + name.len() + value.len());
    let response = metadata.response_topic.as_ref().map_or(0, |topic| topic.as_str().len());
    let correlation = metadata.correlation_data.as_ref().map_or(0, Bytes::len);
    1 + 4 + response + 4 + correlation + 4 + texts.sum::<usize>()
}

/// Appends `commit` to `out`. The caller has bounded [`encoded_bytes`], so every length fits.
pub(crate) fn encode_commit(commit: &Commit, out: &mut Vec<u8>) {
    let start = out.len();
    let mut head = [0; COMMIT_HEADER_BYTES];
    let flag = if commit.publisher.is_some() { HAS_PUBLISHER } else { 0 };
    head[4..12].copy_from_slice(&commit.at.to_le_bytes());
    head[12..].copy_from_slice(&(commit.changes.len() as u32 | flag).to_le_bytes());
    out.extend_from_slice(&head);
    if let Some(PublisherId(id)) = commit.publisher {
        out.extend_from_slice(&id.to_le_bytes());
    }
    for change in &commit.changes {
        encode_change(change, commit.number, commit.at, out);
    }
    let body_bytes = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&body_bytes.to_le_bytes());
}

/// Appends `change` to `out`; it is part of what happened at `revision` and `at`.
pub(crate) fn encode_change(change: &Change, revision: u64, at: UnixMillis, out: &mut Vec<u8>) {
    let nothing = Representation::default();
    let (kind, own_revision, own_at, expires_at, representation) = match change {
        Change::Put(put) => (PUT, put.revision, put.modified_at, put.expires_at, &put.representation),
        Change::Delete(gone) => {
            let kind = match gone.cause {
                DeleteCause::Request => DELETE_REQUEST,
                DeleteCause::Expiry => DELETE_EXPIRY,
            };
            (kind, gone.revision, gone.deleted_at, None, &nothing)
        }
        Change::Event(event) => {
            (EVENT, revision, event.published_at, event.expires_at, &event.representation)
        }
    };
    let topic = change.topic().as_str().as_bytes();
    let content_type = representation.content_type.as_deref();
    let optional = [
        (own_revision != revision).then_some((HAS_REVISION, own_revision)),
        (own_at != at).then_some((HAS_TIME, own_at)),
        expires_at.map(|expires_at| (HAS_EXPIRY, expires_at)),
    ];
    let mut head = [0; CHANGE_HEADER_BYTES + 3 * 8];
    let mut head_bytes = CHANGE_HEADER_BYTES;
    head[0] = kind;
    for (flag, value) in optional.into_iter().flatten() {
        head[1] |= flag;
        head[head_bytes..head_bytes + 8].copy_from_slice(&value.to_le_bytes());
        head_bytes += 8;
    }
    if content_type.is_some() {
        head[1] |= HAS_CONTENT_TYPE;
    }
    if representation.metadata.is_some() {
        head[1] |= HAS_METADATA;
    }
    head[1] |= encode_qos(change.qos());
    head[2..4].copy_from_slice(&(topic.len() as u16).to_le_bytes());
    head[4..8].copy_from_slice(&(content_type.map_or(0, str::len) as u32).to_le_bytes());
    head[8..12].copy_from_slice(&(representation.payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&head[..head_bytes]);
    out.extend_from_slice(topic);
    out.extend_from_slice(content_type.unwrap_or_default().as_bytes());
    out.extend_from_slice(&representation.payload);
    if let Some(metadata) = &representation.metadata {
        encode_metadata(metadata, out);
    }
}

/// The most is no bits at all: what says nothing about it is that.
fn encode_qos(qos: Qos) -> u8 {
    let less = match qos {
        Qos::ExactlyOnce => 0,
        Qos::AtLeastOnce => 1,
        Qos::AtMostOnce => 2,
    };
    less << QOS_SHIFT
}

fn decode_qos(flags: u8) -> Result<Qos, Reason> {
    match (flags & QOS) >> QOS_SHIFT {
        0 => Ok(Qos::ExactlyOnce),
        1 => Ok(Qos::AtLeastOnce),
        2 => Ok(Qos::AtMostOnce),
        _ => Err("a change is to be delivered in no known way"),
    }
}

fn encode_metadata(metadata: &Metadata, out: &mut Vec<u8>) {
    let mut flags = 0;
    for (is_set, flag) in [
        (metadata.is_text, IS_TEXT),
        (metadata.response_topic.is_some(), HAS_RESPONSE_TOPIC),
        (metadata.correlation_data.is_some(), HAS_CORRELATION),
    ] {
        flags |= if is_set { flag } else { 0 };
    }
    out.push(flags);
    if let Some(topic) = &metadata.response_topic {
        encode_bytes(topic.as_str().as_bytes(), out);
    }
    if let Some(data) = &metadata.correlation_data {
        encode_bytes(data, out);
    }
    out.extend_from_slice(&(metadata.user_properties.len() as u32).to_le_bytes());
    for (name, value) in &metadata.user_properties {
        encode_bytes(name.as_bytes(), out);
        encode_bytes(value.as_bytes(), out);
    }
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Steps over one commit and gives its encoded size.
pub(crate) fn skip_commit(input: &mut &[u8]) -> Result<usize, Reason> {
    let body_bytes = take_u32(input)? as usize;
    take(input, body_bytes)?;
    Ok(4 + body_bytes)
}

/// Takes commit `number` from the front of `input`. What it keeps owns its bytes.
pub(crate) fn decode_commit(
    input: &mut &[u8],
    number: u64,
    interner: &mut Interner,
) -> Result<Commit, Reason> {
    let body_bytes = take_u32(input)? as usize;
    let mut body = take(input, body_bytes)?;
    let at = take_u64(&mut body)?;
    let counted = take_u32(&mut body)?;
    let publisher = if counted & HAS_PUBLISHER == 0 { None } else { Some(PublisherId(take_u64(&mut body)?)) };
    let count = (counted & !HAS_PUBLISHER) as usize;
    if count == 0 {
        return Err("a commit has no changes");
    }
    let mut changes = Vec::with_capacity(count.min(body.len() / CHANGE_HEADER_BYTES));
    for _ in 0..count {
        changes.push(decode_change(&mut body, number, at, interner)?);
    }
    if !body.is_empty() {
        return Err("a commit is longer than its changes");
    }
    Ok(Commit { number, at, publisher, changes: changes.into_boxed_slice() })
}

/// Takes one change from the front of `input`; it is part of what happened at `revision` and `at`.
pub(crate) fn decode_change(
    input: &mut &[u8],
    revision: u64,
    at: UnixMillis,
    interner: &mut Interner,
) -> Result<Change, Reason> {
    let &[kind, flags, t0, t1, c0, c1, c2, c3, p0, p1, p2, p3] = take_array::<CHANGE_HEADER_BYTES>(input)?;
    if flags & !FLAGS != 0 {
        return Err("a change has unknown flags");
    }
    let mut optional = |flag| if flags & flag == 0 { Ok(None) } else { take_u64(input).map(Some) };
    let revision = optional(HAS_REVISION)?.unwrap_or(revision);
    let at = optional(HAS_TIME)?.unwrap_or(at);
    let expires_at = optional(HAS_EXPIRY)?;
    let topic = topic(take(input, u16::from_le_bytes([t0, t1]) as usize)?)?;
    let content_type = text(take(input, u32::from_le_bytes([c0, c1, c2, c3]) as usize)?)?;
    let payload = take(input, u32::from_le_bytes([p0, p1, p2, p3]) as usize)?;
    let metadata = if flags & HAS_METADATA == 0 { None } else { Some(Arc::new(decode_metadata(input)?)) };
    let qos = decode_qos(flags)?;
    let representation = Representation {
        payload: Bytes::copy_from_slice(payload),
        content_type: (flags & HAS_CONTENT_TYPE != 0).then(|| interner.intern(content_type)),
        metadata,
        qos,
    };
    let tombstone =
        |topic, cause| Change::Delete(Arc::new(Tombstone { topic, revision, deleted_at: at, cause, qos }));
    Ok(match kind {
        PUT => {
            Change::Put(Arc::new(Resource { topic, revision, modified_at: at, expires_at, representation }))
        }
        DELETE_REQUEST => tombstone(topic, DeleteCause::Request),
        DELETE_EXPIRY => tombstone(topic, DeleteCause::Expiry),
        EVENT => Change::Event(Arc::new(Event { topic, published_at: at, expires_at, representation })),
        _ => return Err("a change is of no known kind"),
    })
}

fn decode_metadata(input: &mut &[u8]) -> Result<Metadata, Reason> {
    let &[flags] = take_array(input)?;
    if flags & !METADATA_FLAGS != 0 {
        return Err("metadata has unknown flags");
    }
    let response_topic =
        if flags & HAS_RESPONSE_TOPIC == 0 { None } else { Some(topic(take_bytes(input)?)?) };
    let correlation_data =
        if flags & HAS_CORRELATION == 0 { None } else { Some(Bytes::copy_from_slice(take_bytes(input)?)) };
    let count = take_u32(input)? as usize;
    let mut user_properties = Vec::with_capacity(count.min(input.len() / 8));
    for _ in 0..count {
        user_properties.push((text(take_bytes(input)?)?.into(), text(take_bytes(input)?)?.into()));
    }
    Ok(Metadata { is_text: flags & IS_TEXT != 0, response_topic, correlation_data, user_properties })
}

impl Interner {
    fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(last) = self.last.as_ref().filter(|last| ***last == *text) {
            return Arc::clone(last);
        }
        let shared = self.known.get(text).map_or_else(|| Arc::from(text), Arc::clone);
        if self.known.len() < INTERNED_MAX {
            self.known.insert(Arc::clone(&shared));
        }
        self.last = Some(Arc::clone(&shared));
        shared
    }
}

fn topic(bytes: &[u8]) -> Result<Topic, Reason> {
    Topic::new(text(bytes)?).map_err(|_| "a name breaks the rules of topics")
}

fn text(bytes: &[u8]) -> Result<&str, Reason> {
    std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8")
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> Result<&'a [u8], Reason> {
    let (taken, rest) = input.split_at_checked(count).ok_or("a length reaches beyond the end")?;
    *input = rest;
    Ok(taken)
}

fn take_array<'a, const N: usize>(input: &mut &'a [u8]) -> Result<&'a [u8; N], Reason> {
    let (taken, rest) = input.split_first_chunk().ok_or("a length reaches beyond the end")?;
    *input = rest;
    Ok(taken)
}

fn take_u32(input: &mut &[u8]) -> Result<u32, Reason> {
    take_array(input).map(|bytes| u32::from_le_bytes(*bytes))
}

fn take_u64(input: &mut &[u8]) -> Result<u64, Reason> {
    take_array(input).map(|bytes| u64::from_le_bytes(*bytes))
}

fn take_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Reason> {
    let count = take_u32(input)? as usize;
    take(input, count)
}
