//! PUT: the resource becomes what the body holds.

use dovetail_engine::Verb;
use dovetail_model::Topic;
use http::Response;
use hyper::body::Incoming;

use crate::body::receive;
use crate::call::Call;
use crate::payload::Payload;
use crate::problem::Answer;
use crate::write;

/// Answers 201 for a new resource, 204 for one that was there.
pub(crate) async fn answer(call: &Call<'_>, topic: Topic, body: Incoming) -> Answer<Response<Payload>> {
    let precondition = write::precondition(call, &topic)?;
    let time_to_live = write::time_to_live(call)?;
    let body = receive(call.door, body).await?;
    let key = write::idempotency_key(call, &body)?;
    let verb = Verb::Put { representation: write::representation(call, &body)?, time_to_live };
    let write = write::one(call, topic, verb, precondition, key)?;
    drop(body);
    let committed = write::commit(call, write).await?;
    Ok(write::stored(call, &committed))
}
