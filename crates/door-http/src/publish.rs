//! POST to `/-/publish/<topic>`: an event, which is delivered and is not state.

use dovetail_api::names::NameError;
use dovetail_api::problem::ProblemType;
use dovetail_engine::{Precondition, Publish, Verb};
use dovetail_model::Topic;
use http::{Response, StatusCode};
use hyper::body::Incoming;

use crate::body::receive;
use crate::call::Call;
use crate::payload::Payload;
use crate::problem::{Answer, Failure};
use crate::{headers, write};

/// Answers 202 when the event is on its way to everybody who is subscribed.
pub(crate) async fn answer(call: &Call<'_>, name: &str, body: Incoming) -> Answer<Response<Payload>> {
    if name.ends_with('/') {
        return Err(Failure::new(
            ProblemType::InvalidName,
            "a topic that ends in `/` cannot be written over HTTP",
        ));
    }
    let topic = Topic::new(name).map_err(NameError::from)?;
    if call.head.headers.contains_key(headers::IDEMPOTENCY_KEY) {
        return Err(Failure::bad_request(
            "an event is not stored, so an idempotency key cannot be kept for it",
        ));
    }
    let time_to_live = write::time_to_live(call)?;
    let body = receive(call.door, body).await?;
    let representation = write::representation(call, &body)?;
    drop(body);
    let shard = &call.door.shard;
    let revision = if shard.is_awaited(&topic) {
        // Some MQTT session that may be away waits for it: it is kept in the journal until that has it.
        let event = Verb::Publish { representation, time_to_live };
        let write = write::one(call, topic, event, Precondition::None, None)?;
        write::commit(call, write).await?.revision
    } else {
        let publish = call.authorize(Publish { topic, representation, time_to_live, publisher: None })?;
        shard.publish(publish).await;
        shard.head()
    };
    let mut response = Response::new(Payload::Empty);
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(headers::REVISION, headers::revision(revision));
    Ok(response)
}
