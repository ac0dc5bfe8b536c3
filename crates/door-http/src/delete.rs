//! DELETE: the resource goes.

use dovetail_engine::{Effect, Verb};
use dovetail_model::Topic;
use http::{Response, StatusCode};

use crate::call::Call;
use crate::payload::Payload;
use crate::problem::{Answer, Failure};
use crate::{headers, write};

/// Answers 204, or 404 where there was nothing to delete.
pub(crate) async fn answer(call: &Call<'_>, topic: Topic) -> Answer<Response<Payload>> {
    let precondition = write::precondition(call, &topic)?;
    let key = write::idempotency_key(call, &[])?;
    let write = write::one(call, topic.clone(), Verb::DELETE, precondition, key)?;
    let committed = write::commit(call, write).await?;
    if committed.effects.first() == Some(&Effect::Unchanged) {
        return Err(Failure::not_found(topic.as_str(), committed.revision));
    }
    let mut response = Response::new(Payload::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(headers::REVISION, headers::revision(committed.revision));
    Ok(response)
}
