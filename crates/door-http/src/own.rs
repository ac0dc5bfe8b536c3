//! The server's own pages, under `/-/`.

use std::fmt::Write as _;

use dovetail_api::JSON;
use dovetail_api::problem::ProblemType;
use dovetail_engine::Status;
use http::{HeaderValue, Response, StatusCode, header};

use crate::call::Call;
use crate::door::Shared;
use crate::headers;
use crate::payload::Payload;
use crate::problem::{Answer, Failure};
use crate::upgrade;

const OPENAPI: &str = include_str!("own/openapi.json");
const ASYNCAPI: &str = include_str!("own/asyncapi.json");
const CONSOLE: &str = include_str!("own/console.html");
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page with this name.
///
/// # Errors
/// 404 when there is none; 503 from the page that says whether the server is ready.
pub(crate) fn page(call: &Call<'_>, name: &str) -> Answer<Response<Payload>> {
    match name {
        "" => Ok(to_console()),
        "health" => Ok(live(JSON, "{\"status\":\"up\"}".to_owned())),
        "ready" => ready(call),
        "metrics" => Ok(live(METRICS, metrics(&call.door.shared))),
        "openapi.json" => Ok(fixed(JSON, OPENAPI)),
        "asyncapi.json" => Ok(fixed(JSON, ASYNCAPI)),
        "console" => Ok(fixed("text/html; charset=utf-8", CONSOLE)),
        upgrade::PAGE => Err(Failure::upgrade_required()),
        _ => {
            let detail = format!("the server has no page `/-/{name}`");
            Err(Failure::new(ProblemType::NotFound, detail))
        }
    }
}

/// Sends a browser to the console.
pub(crate) fn to_console() -> Response<Payload> {
    let mut response = Response::new(Payload::Empty);
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/-/console"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// Whether requests should be sent here: 200, or 503 with the reason.
fn ready(call: &Call<'_>) -> Answer<Response<Payload>> {
    let door = call.door;
    match door.shared.engine.status() {
        _ if door.draining.is_begun() => {
            Err(Failure::new(ProblemType::ShuttingDown, "the server is stopping").retry_after_s(1))
        }
        Status::Ready => {
            let head = door.shard.head();
            let mut response = live(JSON, format!("{{\"status\":\"ready\",\"rev\":\"{head}\"}}"));
            response.headers_mut().insert(headers::REVISION, headers::revision(head));
            Ok(response)
        }
        Status::ReadOnly(reason) => Err(Failure::new(ProblemType::ReadOnly, reason)),
        Status::Stopping => {
            Err(Failure::new(ProblemType::ShuttingDown, "the server is stopping").retry_after_s(1))
        }
    }
}

/// The text format of Prometheus.
fn metrics(shared: &Shared) -> String {
    let values = shared.engine.counters().values();
    let (resources, bytes) = shared.engine.size();
    let requests = shared.requests();
    let mut text = String::with_capacity(2_048);
    let mut metric = |name: &str, kind: &str, help: &str, value: u64| {
        let _ = writeln!(
            text,
            "# HELP dovetail_{name} {help}\n# TYPE dovetail_{name} {kind}\ndovetail_{name} {value}"
        );
    };
    metric("head_revision", "gauge", "Number of the newest commit.", shared.engine.head().number);
    metric("resources", "gauge", "Resources that are stored.", resources as u64);
    metric("resource_bytes", "gauge", "Bytes of their payloads.", bytes);
    metric("commits_total", "counter", "Commits made durable.", values.commits);
    metric("changes_total", "counter", "Changes in these commits.", values.changes);
    metric("commit_groups_total", "counter", "Appends to the journal.", values.groups);
    metric("events_total", "counter", "Events accepted.", values.events);
    metric(
        "events_dropped_total",
        "counter",
        "Deliveries of events dropped for slow subscribers.",
        values.events_dropped,
    );
    metric(
        "writes_refused_total",
        "counter",
        "Writes refused because too many were waiting.",
        values.refused,
    );
    metric("feeds", "gauge", "Feeds that are open, on all protocols.", values.feeds);
    metric("feeds_behind", "gauge", "Feeds that are told what they missed.", values.feeds_behind);
    metric("feed_catch_ups_total", "counter", "Times that a feed began to be.", values.catch_ups);
    metric("http_event_streams", "gauge", "Event streams that are open.", requests.streams as u64);
    let writable = u64::from(shared.engine.status() == Status::Ready);
    metric("writable", "gauge", "Whether writes are taken.", writable);
    text.push_str("# HELP dovetail_http_requests_total Requests answered, by class of status.\n");
    text.push_str("# TYPE dovetail_http_requests_total counter\n");
    for (index, count) in requests.by_class.iter().enumerate() {
        let _ = writeln!(text, "dovetail_http_requests_total{{class=\"{}xx\"}} {count}", index + 1);
    }
    shared.append_more_metrics(&mut text);
    text
}

/// A page that is different each time.
fn live(content_type: &'static str, text: String) -> Response<Payload> {
    let mut response = Response::new(Payload::Whole(text.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A page that is part of the server.
fn fixed(content_type: &'static str, text: &'static str) -> Response<Payload> {
    let mut response = Response::new(Payload::Whole(bytes::Bytes::from_static(text.as_bytes())));
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    );
    response
}
