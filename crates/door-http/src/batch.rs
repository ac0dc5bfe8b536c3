//! POST to `/-/batch`: several writes as one commit, or none of them.

use std::time::Duration;

use dovetail_api::batch::{self, Outcome};
use dovetail_api::problem::ProblemType;
use dovetail_api::{JSON, batch::Operation as Op};
use dovetail_engine::{Effect, Operation, Verb, Write};
use dovetail_model::{Topic, limits};
use http::{HeaderValue, Response, header};
use hyper::body::Incoming;

use crate::body::receive;
use crate::call::Call;
use crate::conditions::{Tags, combined};
use crate::fields;
use crate::headers::{self, JSON_PATCH, MERGE_PATCH};
use crate::patch;
use crate::payload::Payload;
use crate::problem::{Answer, Failure};
use crate::write;

/// Answers 200 with what became of each write.
pub(crate) async fn answer(call: &Call<'_>, body: Incoming) -> Answer<Response<Payload>> {
    if fields::media_type(&call.head.headers) != JSON {
        let detail = "a batch is a document of type application/json";
        return Err(Failure::new(ProblemType::UnsupportedMediaType, detail));
    }
    if [header::IF_MATCH, header::IF_NONE_MATCH].iter().any(|name| call.head.headers.contains_key(name)) {
        return Err(Failure::bad_request("the conditions of a batch stand with its writes"));
    }
    let body = receive(call.door, body).await?;
    let writes = batch::decode(&body)?;
    if writes.len() > limits::BATCH_CHANGES {
        let detail = format!("a batch has at most {} writes", limits::BATCH_CHANGES);
        return Err(Failure::new(ProblemType::Unprocessable, detail));
    }
    let topics: Vec<Topic> = writes.iter().map(|write| write.path.clone()).collect();
    let words: Vec<&'static str> = writes.iter().map(|write| word(&write.operation)).collect();
    let operations = writes.into_iter().map(operation).collect::<Answer<_>>()?;
    let idempotency_key = write::idempotency_key(call, &body)?;
    drop(body);
    let write =
        call.authorize(Write { operations, records: Vec::new(), idempotency_key, publisher: None })?;
    let committed = call
        .door
        .shard
        .submit(write)
        .await
        .map_err(|error| Failure::from(error.clone()).in_batch(&topics, &error))?;
    let results = topics.iter().zip(words).zip(&committed.effects).map(|((path, op), effect)| Outcome {
        op: op.into(),
        path: path.as_str().into(),
        effect: effect_word(*effect).into(),
    });
    let mut text = Vec::new();
    batch::Answer { rev: committed.revision, results: results.collect() }.encode(&mut text);
    let mut response = Response::new(Payload::Whole(text.into()));
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    fields.insert(headers::REVISION, headers::revision(committed.revision));
    Ok(response)
}

fn operation(write: batch::Write) -> Answer<Operation> {
    let if_match = write.if_match.as_ref().map(Tags::from);
    let if_none_match = write.if_none_match.as_ref().map(Tags::from);
    let precondition = combined(if_match.as_ref(), if_none_match.as_ref()).ok_or_else(|| {
        Failure::bad_request("`ifMatch: \"*\"` cannot be combined with a list in `ifNoneMatch`")
    })?;
    let time_to_live = write.ttl_s.map(Duration::from_secs);
    if time_to_live.is_some_and(|life| life.is_zero()) {
        return Err(Failure::bad_request("`ttl` is above 0"));
    }
    let verb = match write.operation {
        Op::Put(representation) => Verb::Put { representation, time_to_live },
        Op::Delete => Verb::DELETE,
        Op::Patch(patch) => {
            let content_type = patch.content_type.as_deref().unwrap_or_default();
            match content_type.split(';').next().unwrap_or_default().trim() {
                media_type @ (MERGE_PATCH | JSON_PATCH) => patch::verb(media_type, &patch.payload),
                other => return Err(Failure::unsupported_patch(other)),
            }
        }
    };
    Ok(Operation { topic: write.path, verb, precondition })
}

fn word(operation: &Op) -> &'static str {
    match operation {
        Op::Put(_) => "put",
        Op::Patch(_) => "patch",
        Op::Delete => "delete",
    }
}

fn effect_word(effect: Effect) -> &'static str {
    match effect {
        Effect::Created => "created",
        Effect::Replaced => "replaced",
        Effect::Deleted => "deleted",
        Effect::Unchanged => "unchanged",
        Effect::Published => "published",
    }
}
