//! POST: a new resource below the one that is named.

use std::time::{SystemTime, UNIX_EPOCH};

use dovetail_api::names;
use dovetail_api::problem::ProblemType;
use dovetail_engine::{Effect, Fingerprint, IdempotencyKey, Precondition, Verb, WriteError};
use dovetail_model::{Topic, limits};
use http::{Response, header};
use hyper::body::Incoming;

use crate::body::receive;
use crate::call::Call;
use crate::payload::Payload;
use crate::problem::{Answer, Failure};
use crate::write;

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of an id: 128 bits, five each.
const ID_CHARS: usize = 26;

/// Answers 201 with the location of the new resource.
pub(crate) async fn answer(
    call: &Call<'_>,
    parent: Option<&Topic>,
    body: Incoming,
) -> Answer<Response<Payload>> {
    let conditions = [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_UNMODIFIED_SINCE];
    if conditions.iter().any(|name| call.head.headers.contains_key(name)) {
        return Err(Failure::bad_request(
            "POST makes a resource that is not there yet: conditions do not apply",
        ));
    }
    let time_to_live = write::time_to_live(call)?;
    let body = receive(call.door, body).await?;
    let key = write::idempotency_key(call, &body)?;
    let id = match &key {
        None => new_id()?,
        Some(key) => id_of(key, parent),
    };
    let topic = match parent {
        None => Topic::new(&id),
        Some(parent) => Topic::new(&format!("{parent}/{id}")),
    };
    let topic = topic.map_err(names::NameError::from)?;
    let location = names::path_of(&topic).map(|path| names::reference(&path));
    let verb = Verb::Put { representation: write::representation(call, &body)?, time_to_live };
    let write = write::one(call, topic, verb, Precondition::Absent, key)?;
    drop(body);
    let committed = call.door.shard.submit(write).await.map_err(|error| match error {
        WriteError::PreconditionFailed { .. } => {
            let detail =
                "the resource that this idempotency key made before is still there, and the key is forgotten";
            Failure::new(ProblemType::Conflict, detail)
        }
        other => other.into(),
    })?;
    debug_assert_eq!(committed.effects.first(), Some(&Effect::Created));
    Ok(write::answer(&committed, location))
}

/// An id that nobody has: 48 bits of time, so that ids sort by it, and 80 random ones.
fn new_id() -> Answer<String> {
    let mut random = [0u8; 16];
    if getrandom::fill(&mut random[6..]).is_err() {
        return Err(Failure::new(ProblemType::Internal, "no random numbers are to be had"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    random[..6].copy_from_slice(&now.to_be_bytes()[2..]);
    Ok(spelled(u128::from_be_bytes(random)))
}

/// The id that belongs to an idempotency key, so that a repetition names the same resource.
fn id_of(key: &IdempotencyKey, parent: Option<&Topic>) -> String {
    let print = |salt: &[u8]| {
        let parent = parent.map_or("", Topic::as_str);
        Fingerprint::new().field(salt).field(key.key.as_bytes()).field(parent.as_bytes()).finish()
    };
    spelled(u128::from(print(b"post")) << 64 | u128::from(print(b"id")))
}

fn spelled(mut bits: u128) -> String {
    let mut text = [0u8; ID_CHARS];
    for slot in text.iter_mut().rev() {
        *slot = DIGITS[(bits & 31) as usize];
        bits >>= 5;
    }
    text.iter().map(|&digit| char::from(digit)).collect()
}

const _: () = assert!(ID_CHARS < limits::TOPIC_BYTES);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;

    #[test]
    fn ids_have_one_length_and_sort_by_time() {
        let id = new_id().unwrap();
        assert_eq!(id.len(), ID_CHARS);
        assert_ne!(id, new_id().unwrap());
        assert!(spelled(1 << 80) < spelled(2 << 80));
        assert_eq!(spelled(0), "0".repeat(ID_CHARS));
        assert_eq!(spelled(u128::MAX), format!("7{}", "z".repeat(ID_CHARS - 1)));
    }

    #[test]
    fn a_key_has_one_id_under_each_parent() {
        let key = |text: &str| IdempotencyKey { key: text.into(), fingerprint: 0 };
        let topic = Topic::new("a").unwrap();
        assert_eq!(id_of(&key("k"), Some(&topic)), id_of(&key("k"), Some(&topic)));
        assert_ne!(id_of(&key("k"), Some(&topic)), id_of(&key("k"), None));
        assert_ne!(id_of(&key("k"), None), id_of(&key("l"), None));
    }
}
