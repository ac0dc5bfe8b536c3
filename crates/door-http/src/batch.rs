//! POST to `/-/batch`: several writes as one commit, or none of them.

use dovetail_api::JSON;
use dovetail_api::batch::{self, Outcome};
use dovetail_api::problem::ProblemType;
use dovetail_calls::{Refusal, write as written};
use dovetail_engine::Write;
use dovetail_model::Topic;
use http::{HeaderValue, Response, header};
use hyper::body::Incoming;

use crate::body::receive;
use crate::call::Call;
use crate::payload::Payload;
use crate::problem::{Answer, Failure};
use crate::{fields, headers, write};

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
    let said = |write: &batch::Write| (written::word(&write.operation), write.path.clone());
    let asked: Vec<(&'static str, Topic)> = writes.iter().map(said).collect();
    let operations = written::operations(writes)?;
    let idempotency_key = write::idempotency_key(call, &body)?;
    drop(body);
    let write =
        call.authorize(Write { operations, records: Vec::new(), idempotency_key, publisher: None })?;
    let committed = call.door.shard.submit(write).await;
    let committed =
        committed.map_err(|error| Refusal::of_batch(error, asked.iter().map(|(_, path)| path)))?;
    let results = asked.iter().zip(&committed.effects).map(|((op, path), effect)| Outcome {
        op: (*op).into(),
        path: path.as_str().into(),
        effect: written::effect(*effect).into(),
    });
    let mut text = Vec::new();
    batch::Answer { rev: committed.revision, results: results.collect() }.encode(&mut text);
    let mut response = Response::new(Payload::Whole(text.into()));
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    fields.insert(headers::REVISION, headers::revision(committed.revision));
    Ok(response)
}
