//! GET and HEAD of one resource.

use std::sync::Arc;

use bytes::BufMut as _;
use dovetail_api::names;
use dovetail_engine::{Read, View};
use dovetail_model::{Filter, Resource, Topic};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::call::Call;
use crate::conditions::{Conditions, State, Verdict};
use crate::negotiate::{Wanted, wanted};
use crate::payload::Payload;
use crate::problem::{Answer, Failure};
use crate::query::Query;
use crate::read::{read, validators};
use crate::{collection, headers, since, sse};

/// Answers with the representation, or with what the query and `Accept` ask for instead.
pub(crate) async fn answer(call: &Call<'_>, topic: Topic) -> Answer<Response<Payload>> {
    let wanted = wanted(&call.head.headers);
    if wanted == Wanted::EventStream {
        return sse::answer(call, Filter::exactly(&topic)).await;
    }
    if call.head.uri.query().is_some_and(|query| query.contains("since")) {
        let query = Query::parse(call.head.uri.query())?;
        if let Some(position) = query.since {
            return Box::pin(since::answer(call, Filter::exactly(&topic), position, &query)).await;
        }
    }
    let view = read(call, Read::Resource(topic.clone())).await?;
    if let Some(resource) = view.resource() {
        return found(call, &view, resource);
    }
    if !view.has_below(&topic) {
        return Err(Failure::not_found(topic.as_str(), view.revision()));
    }
    match Filter::new(&format!("{topic}/#")) {
        Ok(below) => collection::answer(call, below, Some(&topic)).await,
        // A filter one level below the limit has nothing below it to select.
        Err(_) => Err(Failure::not_found(topic.as_str(), view.revision())),
    }
}

fn found(call: &Call<'_>, view: &View, resource: &Arc<Resource>) -> Answer<Response<Payload>> {
    let revision = view.revision_of(resource);
    let conditions = Conditions::of(&call.head.headers)?;
    let verdict = if conditions.is_empty() {
        Verdict::Proceed
    } else {
        conditions.evaluate(Some(State::of(resource, revision)))
    };
    if verdict == Verdict::Failed {
        return Err(Failure::precondition_failed(resource.topic.as_str(), Some(revision)));
    }
    let mut response = Response::new(Payload::Empty);
    let fields = response.headers_mut();
    fields.reserve(12);
    fields.insert(header::ETAG, headers::etag(revision));
    validators(fields, view.revision());
    if verdict == Verdict::NotModified {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    fields.insert(header::LAST_MODIFIED, headers::http_date(resource.modified_at));
    contents(fields, resource);
    if let Some(links) = monitors(call, &resource.topic) {
        fields.insert(header::LINK, links);
    }
    *response.body_mut() = Payload::Whole(resource.representation.payload.clone());
    Ok(response)
}

/// The content type and what protects a browser from contents that somebody else wrote.
fn contents(fields: &mut HeaderMap, resource: &Resource) {
    let content_type = resource.representation.content_type.as_deref();
    let value = content_type.and_then(|text| HeaderValue::from_bytes(text.as_bytes()).ok());
    fields
        .insert(header::CONTENT_TYPE, value.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !content_type.is_none_or(is_inert) {
        // Stored pages share an origin with the server's own; in a sandbox their scripts do not.
        fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    }
    if let Some(at) = resource.expires_at {
        let mut text = Vec::with_capacity(24);
        dovetail_api::time::write(&mut text, at);
        fields.insert(headers::EXPIRES, headers::written(|value| value.put_slice(&text)));
    }
}

/// Whether browsers show this type without running anything in it.
fn is_inert(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim_end();
    ["application/json", "text/plain", "application/octet-stream"]
        .iter()
        .any(|inert| media_type.eq_ignore_ascii_case(inert))
}

/// Where the resource can be watched (`rel="monitor"`, RFC 5989): as an event stream under its own
/// URL, and as an MQTT topic of the same server.
fn monitors(call: &Call<'_>, topic: &Topic) -> Option<HeaderValue> {
    let path = call.head.uri.path();
    // A reference that starts with `//` would name a host.
    let path = if path.starts_with("//") { names::reference(path) } else { path.to_owned() };
    let host = call.head.headers.get(header::HOST).map(HeaderValue::as_bytes);
    let host = host.or_else(|| call.head.uri.authority().map(|authority| authority.as_str().as_bytes()));
    let host = host.filter(|host| host.iter().all(|b| b.is_ascii_alphanumeric() || b".:-_[]".contains(b)));
    let topic_path = names::path_of(topic)?;
    Some(headers::written(|value| {
        value.reserve(2 * path.len() + host.map_or(0, <[u8]>::len) + 80);
        value.put_u8(b'<');
        value.put_slice(path.as_bytes());
        value.put_slice(b">; rel=\"monitor\"; type=\"text/event-stream\"");
        if let Some(host) = host {
            value.put_slice(b", <mqtt://");
            value.put_slice(host);
            value.put_slice(topic_path.as_bytes());
            value.put_slice(b">; rel=\"monitor\"");
        }
    }))
}
