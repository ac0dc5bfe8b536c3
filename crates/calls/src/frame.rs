//! What a feed says, as frames: the one table for every door that shows them.

use bytes::Bytes;
use dovetail_api::encode::{self, ChangeFrame};
use dovetail_api::sse::{Position, name};
use dovetail_engine::{Delivery, EndReason, Form, Forms, Item, ResetReason};
use dovetail_model::{Change, Epoch, Revision};

/// What an item is called and what it does to the position that a client resumes from.
pub fn kind(item: &Item) -> (&'static str, Position) {
    match item {
        Item::BaselineBegin(_) => (name::BASELINE, Position::Unchanged),
        Item::Resource(_) => (name::ITEM, Position::Unchanged),
        Item::BaselineEnd(rev) => (name::SYNC, Position::At(*rev)),
        Item::Change(delivery) => (name::CHANGE, Position::At(delivery.rev)),
        Item::Progress { rev, .. } => (name::PROGRESS, Position::At(*rev)),
        Item::Reset { .. } => (name::RESET, Position::None),
        // Whoever comes back goes on from where they were.
        Item::End(_) => (name::END, Position::Unchanged),
    }
}

/// Appends the frame of `item` as one line of JSON. `epoch` is the one of the journal. The JSON of a live change is made
/// once for all feeds that tell it, on whatever door.
pub fn write(out: &mut Vec<u8>, item: &Item, epoch: Epoch) {
    match item {
        Item::BaselineBegin(rev) => encode::baseline_begin(out, *rev),
        Item::Resource(resource) => encode::item(out, epoch, resource),
        Item::BaselineEnd(rev) => encode::baseline_end(out, *rev),
        Item::Change(delivery) => change(out, delivery),
        Item::Progress { after, rev } => encode::progress(out, *after, *rev),
        Item::Reset { reason, head } => encode::reset(out, *head, reset_reason(*reason)),
        Item::End(reason) => encode::end(out, end_reason(*reason)),
    }
}

/// Appends the frame of `item` in `MessagePack`. `transcode` appends the `MessagePack` of one JSON value. It is asked
/// once for each live change, for all feeds that tell it.
pub fn write_messagepack(
    out: &mut Vec<u8>,
    item: &Item,
    epoch: Epoch,
    transcode: impl Fn(&[u8], &mut Vec<u8>),
) {
    let Item::Change(delivery) = item else {
        let mut json = Vec::with_capacity(256);
        write(&mut json, item, epoch);
        return transcode(&json, out);
    };
    // What differs for each feed is written as it is: a transcoder would take longer for it than all else takes.
    out.extend_from_slice(b"\x84\xa4type\xa6change\xa5after");
    packed_token(out, delivery.after);
    out.extend_from_slice(b"\xa3rev");
    packed_token(out, delivery.rev);
    out.extend_from_slice(b"\xa7changes");
    array_header(out, delivery.len());
    for (change, forms) in delivery.changes_with_forms() {
        let encode = || {
            let json = encoded(delivery.rev, change, forms);
            let mut entry = Vec::with_capacity(json.len());
            transcode(&json, &mut entry);
            Bytes::from(entry)
        };
        match forms {
            Some(forms) => out.extend_from_slice(forms.get(Form::MessagePack, encode)),
            None => out.extend_from_slice(&encode()),
        }
    }
}

/// Why a position could not be continued from, as a word of the contract.
pub fn reset_reason(reason: ResetReason) -> &'static str {
    match reason {
        ResetReason::OtherEpoch => "epoch",
        ResetReason::TooOld => "expired",
        ResetReason::InTheFuture => "future",
    }
}

/// Why a feed ended, as a word of the contract.
pub fn end_reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::TooSlow => "too-slow",
        EndReason::Revoked => "revoked",
        EndReason::JournalFailed => "failed",
    }
}

fn change(out: &mut Vec<u8>, delivery: &Delivery) {
    let mut frame = ChangeFrame::begin(out, delivery.after, delivery.rev);
    for (change, forms) in delivery.changes_with_forms() {
        match forms {
            Some(forms) => frame.encoded(out, shared(delivery.rev, change, forms)),
            None => frame.entry(out, delivery.rev.number, change),
        }
    }
    frame.end(out);
}

/// The JSON of a live change, made when it is first asked for.
fn shared<'a>(rev: Revision, change: &Change, forms: &'a Forms) -> &'a Bytes {
    forms.get(Form::Json, || json(rev, change))
}

fn encoded(rev: Revision, change: &Change, forms: Option<&Forms>) -> Bytes {
    match forms {
        Some(forms) => shared(rev, change, forms).clone(),
        None => json(rev, change),
    }
}

fn json(rev: Revision, change: &Change) -> Bytes {
    let mut entry = Vec::new();
    encode::entry(&mut entry, rev.epoch, rev.number, change);
    entry.into()
}

/// The marks of short strings and of arrays in `MessagePack`.
const FIXED_STRING: u8 = 0xa0;
const FIXED_ARRAY: u8 = 0x90;
const FIXED_ARRAY_LEN: usize = 15;
const ARRAY_16: u8 = 0xdc;
const ARRAY_32: u8 = 0xdd;

/// A token has at most 29 characters, which makes a short string.
fn packed_token(out: &mut Vec<u8>, revision: Revision) {
    let mark = out.len();
    out.push(FIXED_STRING);
    revision.append_to(out);
    out[mark] |= (out.len() - mark - 1) as u8;
}

fn array_header(out: &mut Vec<u8>, len: usize) {
    if len <= FIXED_ARRAY_LEN {
        out.push(FIXED_ARRAY | len as u8);
    } else if let Ok(len) = u16::try_from(len) {
        out.push(ARRAY_16);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(ARRAY_32);
        out.extend_from_slice(&(len as u32).to_be_bytes());
    }
}
