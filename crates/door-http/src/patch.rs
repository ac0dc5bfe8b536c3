//! PATCH: the resource is changed by a merge patch or a JSON patch (RFC 5789, 7396, 6902).

use dovetail_api::problem::ProblemType;
use dovetail_api::{JSON_PATCH, MERGE_PATCH};
use dovetail_model::Topic;
use http::Response;
use hyper::body::Incoming;

use crate::body::receive;
use crate::call::Call;
use crate::payload::Payload;
use crate::problem::{Answer, Failure};
use crate::{fields, headers, write};

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
    let verb = dovetail_calls::write::patch(&media_type, &body)?;
    let write = write::one(call, topic, verb, precondition, key)?;
    drop(body);
    let committed = write::commit(call, write).await?;
    Ok(write::stored(call, &committed))
}
