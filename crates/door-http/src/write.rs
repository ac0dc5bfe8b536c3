//! What the writing stages share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dovetail_auth::Authorized;
use dovetail_engine::{
    Committed, Effect, Fingerprint, IdempotencyKey, Operation, Precondition, Read, Verb, Write,
};
use dovetail_model::{Representation, Topic, limits};
use http::{HeaderValue, Response, StatusCode, header};
use smallvec::SmallVec;

use crate::call::Call;
use crate::conditions::{Conditions, State};
use crate::payload::Payload;
use crate::problem::{Answer, Failure};
use crate::query::duration;
use crate::{fields, headers};

/// The precondition that the fields of a write come to.
pub(crate) fn precondition(call: &Call<'_>, topic: &Topic) -> Answer<Precondition> {
    let conditions = Conditions::of(&call.head.headers)?;
    let current = if conditions.needs_state() {
        let view = call.door.shard.read(call.authorize(Read::Resource(topic.clone()))?);
        view.resource().map(|resource| State::of(resource, view.revision_of(resource)))
    } else {
        None
    };
    conditions.precondition(topic.as_str(), current)
}

/// What a body holds, as it is stored.
///
/// # Errors
/// 415 for a body that is encoded, because the encoding would be lost; 400 for a part of one.
pub(crate) fn representation(call: &Call<'_>, body: &Bytes) -> Answer<Representation> {
    let fields = &call.head.headers;
    let encoding = fields::text(fields, &header::CONTENT_ENCODING)?;
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        let detail = "a body with a content encoding is not stored; send it as it is";
        return Err(Failure::new(dovetail_api::problem::ProblemType::UnsupportedMediaType, detail));
    }
    if fields.contains_key(header::CONTENT_RANGE) {
        return Err(Failure::bad_request("a part of a representation cannot be written with Content-Range"));
    }
    let content_type = fields::text(fields, &header::CONTENT_TYPE)?;
    if content_type.is_some_and(|text| text.len() > limits::CONTENT_TYPE_BYTES) {
        let detail = format!("a content type has at most {} bytes", limits::CONTENT_TYPE_BYTES);
        return Err(Failure::bad_request(detail));
    }
    let content_type = content_type.filter(|text| !text.is_empty());
    Ok(Representation::copied(body, content_type.map(Arc::from)))
}

/// The time to live that `Dovetail-TTL` gives.
///
/// # Errors
/// 400 when it is none.
pub(crate) fn time_to_live(call: &Call<'_>) -> Answer<Option<Duration>> {
    let Some(text) = fields::text(&call.head.headers, &headers::TTL)? else { return Ok(None) };
    match duration(text).filter(|life| !life.is_zero()) {
        Some(life) => Ok(Some(life)),
        None => {
            Err(Failure::bad_request("dovetail-ttl is a number of seconds, or like 90s, 5m, 2h, 7d; above 0"))
        }
    }
}

/// The key that makes a repetition of the request harmless, with a digest of all that the request
/// says.
///
/// # Errors
/// 400 when it is none.
pub(crate) fn idempotency_key(call: &Call<'_>, body: &[u8]) -> Answer<Option<IdempotencyKey>> {
    let Some(text) = fields::text(&call.head.headers, &headers::IDEMPOTENCY_KEY)? else { return Ok(None) };
    // The field is a string in quotes; a bare one is what many clients send.
    let key = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let mut print =
        Fingerprint::new().field(call.head.method.as_str().as_bytes()).field(call.head.uri.path().as_bytes());
    let said =
        [&header::CONTENT_TYPE, &header::IF_MATCH, &header::IF_NONE_MATCH, &header::IF_UNMODIFIED_SINCE];
    for name in said.into_iter().chain([&headers::TTL]) {
        for value in call.head.headers.get_all(name) {
            print = print.field(name.as_str().as_bytes()).field(value.as_bytes());
        }
    }
    Ok(Some(dovetail_calls::write::idempotency_key(key, print.field(body).finish())?))
}

/// A write of one operation.
///
/// # Errors
/// 403 when the policy refuses it.
pub(crate) fn one(
    call: &Call<'_>,
    topic: Topic,
    verb: Verb,
    precondition: Precondition,
    idempotency_key: Option<IdempotencyKey>,
) -> Answer<Authorized<Write>> {
    let operations = SmallVec::from_buf([Operation { topic, verb, precondition }]);
    call.authorize(Write { operations, records: Vec::new(), idempotency_key, publisher: None })
}

/// Commits a write.
///
/// # Errors
/// The table of `problem`.
pub(crate) async fn commit(call: &Call<'_>, write: Authorized<Write>) -> Answer<Committed> {
    Ok(call.door.shard.submit(write).await?)
}

/// The answer to a write that left a representation: 201 with its location where there was none.
pub(crate) fn stored(call: &Call<'_>, committed: &Committed) -> Response<Payload> {
    let is_new = committed.effects.first() == Some(&Effect::Created);
    let path = call.head.uri.path();
    answer(committed, is_new.then(|| dovetail_api::names::reference(path)))
}

/// The answer to a write that left a representation, at `created` if it is new.
pub(crate) fn answer(committed: &Committed, created: Option<String>) -> Response<Payload> {
    let mut response = Response::new(Payload::Empty);
    let fields = response.headers_mut();
    fields.insert(header::ETAG, headers::etag(committed.revision));
    fields.insert(headers::REVISION, headers::revision(committed.revision));
    if let Some(location) = created.and_then(|path| HeaderValue::try_from(path).ok()) {
        fields.insert(header::LOCATION, location);
        *response.status_mut() = StatusCode::CREATED;
    } else {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    response
}
