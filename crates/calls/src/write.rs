//! What is written, as the engine takes it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dovetail_api::batch::{self, Operation as Op, Tags};
use dovetail_api::problem::ProblemType;
use dovetail_api::{JSON_PATCH, MERGE_PATCH};
use dovetail_engine::{Effect, Fingerprint, IdempotencyKey, Operation, Precondition, Verb};
use dovetail_model::{Representation, Revision, limits};
use smallvec::SmallVec;

use crate::refusal::Refusal;

/// The operations of the writes of a batch.
///
/// # Errors
/// The first write that cannot be done, with its index; 422 for more writes than a batch has.
pub fn operations(writes: Vec<batch::Write>) -> Result<SmallVec<[Operation; 1]>, Refusal> {
    if writes.len() > limits::BATCH_CHANGES {
        let detail = format!("a batch has at most {} writes", limits::BATCH_CHANGES);
        return Err(Refusal::new(ProblemType::Unprocessable, detail));
    }
    let numbered = writes.into_iter().enumerate();
    numbered.map(|(index, write)| operation(write).map_err(|refusal| refusal.about(index))).collect()
}

/// The operation that one write is.
///
/// # Errors
/// 400 for what contradicts itself, 415 for a patch of an unknown kind.
pub fn operation(write: batch::Write) -> Result<Operation, Refusal> {
    let precondition =
        precondition(write.if_match.as_ref(), write.if_none_match.as_ref()).ok_or_else(|| {
            Refusal::bad_request("`ifMatch: \"*\"` cannot be combined with a list in `ifNoneMatch`")
        })?;
    let verb = match write.operation {
        Op::Put(representation) => Verb::Put { representation, time_to_live: time_to_live(write.ttl_s)? },
        _ if write.ttl_s.is_some() => {
            return Err(Refusal::bad_request("only a put sets `ttl`; a patch leaves it as it is"));
        }
        Op::Delete => Verb::DELETE,
        Op::Patch(document) => {
            let content_type = document.content_type.as_deref().unwrap_or_default();
            patch(content_type, &document.payload)?
        }
    };
    Ok(Operation { topic: write.path, verb, precondition })
}

/// A time to live in seconds.
///
/// # Errors
/// 400 when it is 0.
pub fn time_to_live(ttl_s: Option<u64>) -> Result<Option<Duration>, Refusal> {
    match ttl_s {
        Some(0) => Err(Refusal::bad_request("`ttl` is above 0")),
        ttl_s => Ok(ttl_s.map(Duration::from_secs)),
    }
}

/// The verb that a patch document of this content type is.
///
/// # Errors
/// 415 for a type that is no patch format.
pub fn patch(content_type: &str, document: &[u8]) -> Result<Verb, Refusal> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    // Copied, so that what waits for the journal does not keep a receive buffer alive.
    if media_type.eq_ignore_ascii_case(MERGE_PATCH) {
        Ok(Verb::MergePatch(Bytes::copy_from_slice(document)))
    } else if media_type.eq_ignore_ascii_case(JSON_PATCH) {
        Ok(Verb::JsonPatch(Bytes::copy_from_slice(document)))
    } else {
        Err(Refusal::unsupported_patch(media_type))
    }
}

/// The precondition that two lists come to together; `None` for *match anything* with a list of revisions that must not
/// match, which the engine has no word for.
pub fn precondition(if_match: Option<&Tags>, if_none_match: Option<&Tags>) -> Option<Precondition> {
    Some(match (if_match, if_none_match) {
        (None, None) => Precondition::None,
        (Some(Tags::Any), None) => Precondition::Exists,
        (None, Some(Tags::Any)) => Precondition::Absent,
        (Some(Tags::List(list)), None) => Precondition::AnyOf(list.clone()),
        (None, Some(Tags::List(list))) => Precondition::NoneOf(list.clone()),
        // Nothing both exists and does not.
        (Some(_), Some(Tags::Any)) => Precondition::AnyOf(Vec::new()),
        (Some(Tags::List(list)), Some(Tags::List(but))) => {
            let left = list.iter().copied().filter(|revision: &Revision| !but.contains(revision));
            Precondition::AnyOf(left.collect())
        }
        (Some(Tags::Any), Some(Tags::List(_))) => return None,
    })
}

/// An idempotency key for a request whose digest is `fingerprint`.
///
/// # Errors
/// 400 when it is empty or too long.
pub fn idempotency_key(key: &str, fingerprint: u64) -> Result<IdempotencyKey, Refusal> {
    if key.is_empty() || key.len() > limits::IDEMPOTENCY_KEY_BYTES {
        let detail = format!("an idempotency key has 1 to {} bytes", limits::IDEMPOTENCY_KEY_BYTES);
        return Err(Refusal::bad_request(detail));
    }
    Ok(IdempotencyKey { key: Arc::from(key), fingerprint })
}

/// The digest of a call that writes. It is the same whichever door the call came by, and however its JSON was laid out
/// but for the payload.
pub(crate) fn fingerprint(method: &str, writes: &[batch::Write]) -> u64 {
    let mut said = Vec::new();
    batch::encode(&mut said, writes);
    Fingerprint::new().field(method.as_bytes()).field(&said).finish()
}

/// Checks contents against the limits that hold for every door.
///
/// # Errors
/// 413 for a payload that is too large, 400 for a content type that is too long.
pub(crate) fn check(representation: &Representation, payload_bytes: usize) -> Result<(), Refusal> {
    if representation.payload.len() > payload_bytes {
        return Err(Refusal::too_large(payload_bytes));
    }
    if representation.content_type.as_ref().is_some_and(|text| text.len() > limits::CONTENT_TYPE_BYTES) {
        let detail = format!("a content type has at most {} bytes", limits::CONTENT_TYPE_BYTES);
        return Err(Refusal::bad_request(detail));
    }
    Ok(())
}

/// What a write did, as a word of the contract.
pub fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Created => "created",
        Effect::Replaced => "replaced",
        Effect::Deleted => "deleted",
        Effect::Unchanged => "unchanged",
        Effect::Published => "published",
    }
}

/// What a write was asked to do, as a word of the contract.
pub fn word(operation: &Op) -> &'static str {
    match operation {
        Op::Put(_) => "put",
        Op::Patch(_) => "patch",
        Op::Delete => "delete",
    }
}
