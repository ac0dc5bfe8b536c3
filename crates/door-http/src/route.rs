//! Which stage answers a request.

use std::net::IpAddr;

use dovetail_api::names::{self, Name};
use dovetail_api::problem::ProblemType;
use dovetail_auth::Principal;
use dovetail_model::{Filter, Topic, limits};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;

use crate::call::Call;
use crate::cors::{self, Page};
use crate::door::Inner;
use crate::headers;
use crate::payload::Payload;
use crate::problem::{Answer, Failure};
use crate::{batch, collection, delete, get, mount, mounted, own, patch, post, publish, put, upgrade};

const RESOURCE_METHODS: &str = "GET, HEAD, PUT, PATCH, DELETE, POST, OPTIONS";
const COLLECTION_METHODS: &str = "GET, HEAD, POST, OPTIONS";
const FILTER_METHODS: &str = "GET, HEAD, OPTIONS";
const PAGE_METHODS: &str = "GET, HEAD, OPTIONS";
const COMMAND_METHODS: &str = "POST, OPTIONS";

/// Answers a request. Never fails: a failure is an answer.
pub(crate) async fn answer(
    door: &Inner,
    principal: &Principal,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Response<Payload> {
    let (head, body) = request.into_parts();
    let call = Call { door, principal, peer, head: &head };
    let (page, checked) = match Page::of(&call) {
        Ok(page) => (page, Ok(())),
        Err(failure) => (Page::Foreign, Err(failure)),
    };
    let answered = match checked {
        Ok(()) => dispatch(&call, body).await,
        Err(failure) => Err(failure),
    };
    let mut response = answered.unwrap_or_else(Failure::into_response);
    page.mark(response.headers_mut());
    if call.is_head() {
        leave_out_body(&mut response);
    }
    door.tally.count(response.status());
    response
}

/// The answer to HEAD says how long the body would be, where that is known (RFC 9110 §9.3.2).
fn leave_out_body(response: &mut Response<Payload>) {
    if let Payload::Whole(body) = std::mem::replace(response.body_mut(), Payload::Empty) {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
}

async fn dispatch(call: &Call<'_>, body: Incoming) -> Answer<Response<Payload>> {
    let uri = &call.head.uri;
    let length = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if length > limits::URI_BYTES {
        let detail = format!("a path and its query have at most {} bytes", limits::URI_BYTES);
        return Err(Failure::new(ProblemType::UriTooLong, detail));
    }
    check_host(call)?;
    check_expectation(call)?;
    if let Some(answer) = cors::preflight(call)? {
        return Ok(answer);
    }
    if call.head.method == Method::OPTIONS && uri.path() == "*" {
        return Ok(options(RESOURCE_METHODS));
    }
    if upgrade::is_wanted(call.head) {
        return upgrade::answer(call, &body);
    }
    match names::parse(uri.path())? {
        Name::Topic(topic) => resource(call, topic, body).await,
        Name::Filter(filter) if uri.path().ends_with('/') => members(call, filter, body).await,
        Name::Filter(filter) => matches(call, filter).await,
        Name::Server(page) => server(call, &page, body).await,
    }
}

/// A path that names one resource.
async fn resource(call: &Call<'_>, topic: Topic, body: Incoming) -> Answer<Response<Payload>> {
    match call.head.method {
        Method::GET | Method::HEAD => get::answer(call, topic).await,
        Method::PUT => Box::pin(put::answer(call, topic, body)).await,
        Method::PATCH => Box::pin(patch::answer(call, topic, body)).await,
        Method::DELETE => Box::pin(delete::answer(call, topic)).await,
        Method::POST => Box::pin(post::answer(call, Some(&topic), body)).await,
        Method::OPTIONS => Ok(options(RESOURCE_METHODS)),
        _ => Err(Failure::method_not_allowed(RESOURCE_METHODS)),
    }
}

/// A path that ends in `/`: everything below its parent.
async fn members(call: &Call<'_>, filter: Filter, body: Incoming) -> Answer<Response<Payload>> {
    match call.head.method {
        Method::POST => {
            let parent = match filter.as_str().strip_suffix("/#") {
                None => None,
                Some(parent) => Some(Topic::new(parent).map_err(names::NameError::from)?),
            };
            Box::pin(post::answer(call, parent.as_ref(), body)).await
        }
        Method::OPTIONS => Ok(options(COLLECTION_METHODS)),
        Method::GET | Method::HEAD => collection::answer(call, filter, None).await,
        _ => Err(Failure::method_not_allowed(COLLECTION_METHODS)),
    }
}

/// A path with wildcards.
async fn matches(call: &Call<'_>, filter: Filter) -> Answer<Response<Payload>> {
    match call.head.method {
        Method::GET | Method::HEAD => collection::answer(call, filter, None).await,
        Method::OPTIONS => Ok(options(FILTER_METHODS)),
        Method::PUT | Method::PATCH | Method::DELETE | Method::POST => {
            let detail = format!("`{filter}` is a filter; a write needs the name of one resource");
            Err(Failure::new(ProblemType::InvalidName, detail))
        }
        _ => Err(Failure::method_not_allowed(FILTER_METHODS)),
    }
}

/// A path below `/-/`.
async fn server(call: &Call<'_>, page: &str, body: Incoming) -> Answer<Response<Payload>> {
    let method = &call.head.method;
    if page == "batch" || page.starts_with("publish/") {
        return match *method {
            Method::POST if page == "batch" => Box::pin(batch::answer(call, body)).await,
            Method::POST => Box::pin(publish::answer(call, &page["publish/".len()..], body)).await,
            Method::OPTIONS => Ok(options(COMMAND_METHODS)),
            _ => Err(Failure::method_not_allowed(COMMAND_METHODS)),
        };
    }
    if let Some(found) = call.mounted() {
        return match *method {
            Method::OPTIONS => Ok(options(mount::METHODS)),
            _ => Box::pin(mounted::answer(call, found, body)).await,
        };
    }
    if page == upgrade::PAGE && *method == Method::OPTIONS {
        return Ok(options(PAGE_METHODS));
    }
    let found = own::page(call, page)?;
    match *method {
        Method::GET | Method::HEAD => Ok(found),
        Method::OPTIONS => Ok(options(PAGE_METHODS)),
        // The names under `-` belong to the server whether or not there is a page.
        Method::PUT | Method::PATCH | Method::DELETE => {
            let detail = format!("`-/{page}` belongs to the server");
            Err(Failure::new(ProblemType::ReservedName, detail))
        }
        _ => Err(Failure::method_not_allowed(PAGE_METHODS)),
    }
}

fn options(allow: &'static str) -> Response<Payload> {
    let mut response = Response::new(Payload::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    if allow == RESOURCE_METHODS {
        let formats = HeaderValue::from_static("application/merge-patch+json, application/json-patch+json");
        response.headers_mut().insert(headers::ACCEPT_PATCH, formats);
    }
    response
}

/// Exactly one `Host` in HTTP/1.1 (RFC 9112 §3.2): intermediaries that see another one than we do
/// would mix up servers.
fn check_host(call: &Call<'_>) -> Answer<()> {
    if call.head.version != Version::HTTP_11 {
        return Ok(());
    }
    let mut hosts = call.head.headers.get_all(header::HOST).iter();
    if hosts.next().is_some() && hosts.next().is_none() {
        return Ok(());
    }
    Err(Failure::bad_request("a request has exactly one Host field").closing())
}

/// `100-continue` is met when the body is read; there is no other expectation (RFC 9110 §10.1.1).
fn check_expectation(call: &Call<'_>) -> Answer<()> {
    match call.head.headers.get(header::EXPECT) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            let detail = "the only expectation that can be met is 100-continue";
            Err(Failure::new(ProblemType::ExpectationFailed, detail))
        }
        _ => Ok(()),
    }
}
