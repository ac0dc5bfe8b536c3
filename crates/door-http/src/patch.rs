//! PATCH: the resource is changed by a merge patch or a JSON patch (RFC 5789, 7396, 6902).

use bytes::Bytes;
use dovetail_api::problem::ProblemType;
use dovetail_engine::Verb;
use dovetail_model::Topic;
use http::Response;
use hyper::body::Incoming;

use crate::body::receive;
use crate::call::Call;
use crate::fields;
use crate::headers::{self, JSON_PATCH, MERGE_PATCH};
use crate::payload::Payload;
use crate::problem::{Answer, Failure};
use crate::write;

/// Answers 201 where a merge patch made the resource, else 204.
pub(crate) async fn answer(call: &Call<'_>, topic: Topic, body: Incoming) -> Answer<Response<Payload>> {
    let media_type = fields::media_type(&call.head.headers);
    if media_type != MERGE_PATCH && media_type != JSON_PATCH {
        return Err(Failure::unsupported_patch(&media_type));
    }
    if call.head.headers.contains_key(headers::TTL) {
        return Err(Failure::bad_request("a patch leaves the time to live as it is; set it with PUT"));
    }
    let precondition = write::precondition(call, &topic)?;
    let body = receive(call.door, body).await?;
    if body.is_empty() {
        return Err(Failure::new(ProblemType::Unprocessable, "a patch of no bytes changes nothing"));
    }
    let key = write::idempotency_key(call, &body)?;
    let verb = verb(&media_type, &body);
    let write = write::one(call, topic, verb, precondition, key)?;
    drop(body);
    let committed = write::commit(call, write).await?;
    Ok(write::stored(call, &committed))
}

/// The verb that a patch of one of the two types is.
pub(crate) fn verb(media_type: &str, patch: &[u8]) -> Verb {
    // Copied, so that what waits for the journal does not keep a receive buffer alive.
    let patch = Bytes::copy_from_slice(patch);
    if media_type == JSON_PATCH { Verb::JsonPatch(patch) } else { Verb::MergePatch(patch) }
}
