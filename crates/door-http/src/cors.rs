//! What a browser is told about requests of pages from other hosts (Fetch, CORS protocol).
//!
//! A page whose origin is [permitted](crate::Origins) may use every door; to the script of any other, the browser hides
//! the answers. That does not keep such a page from *sending* what needs no leave, a form for instance, so a request that
//! may change something is refused when it comes from there.

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use crate::call::Call;
use crate::fields;
use crate::payload::Payload;
use crate::problem::Answer;

/// Methods that a page may use.
const METHODS: &str = "GET, HEAD, PUT, PATCH, POST, DELETE, OPTIONS";
/// Fields of answers that a page may read, besides those that every page may.
const EXPOSED: &str = "etag, location, content-location, link, retry-after, dovetail-revision";
/// How long a browser may remember what it may send, in seconds.
const REMEMBERED_S: &str = "600";

/// The page that a request comes from.
pub(crate) enum Page<'a> {
    /// None, or one whose origin cannot be told.
    None,
    /// One that may use the server, with its origin.
    Permitted(&'a HeaderValue),
    /// Any other.
    Foreign,
}

impl<'a> Page<'a> {
    /// Where a request comes from.
    ///
    /// # Errors
    /// 400 for an origin that is none; 403 when a foreign page wants to change something.
    pub(crate) fn of(call: &Call<'a>) -> Answer<Self> {
        let headers = &call.head.headers;
        let origins = &call.door.settings().origins;
        let Some(text) = fields::text(headers, &header::ORIGIN)? else { return Ok(Self::None) };
        match headers.get(header::ORIGIN) {
            Some(origin) if origins.permits(text, call.head, call.peer) => Ok(Self::Permitted(origin)),
            _ => {
                if !matches!(call.head.method, Method::GET | Method::HEAD | Method::OPTIONS) {
                    origins.check(call.head, call.peer)?;
                }
                Ok(Self::Foreign)
            }
        }
    }

    /// Tells the browser whether the page may read an answer.
    pub(crate) fn mark(&self, fields: &mut HeaderMap) {
        match self {
            Self::None => {}
            Self::Permitted(origin) => {
                fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, (*origin).clone());
                fields.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
                fields.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
                fields.append(header::VARY, HeaderValue::from_static("origin"));
            }
            Self::Foreign => {
                fields.append(header::VARY, HeaderValue::from_static("origin"));
            }
        }
    }
}

/// The answer to a browser that asks whether a page may send a request; `None` for any other request.
///
/// # Errors
/// 403 when it may not.
pub(crate) fn preflight(call: &Call<'_>) -> Answer<Option<Response<Payload>>> {
    let headers = &call.head.headers;
    let is_asked =
        headers.contains_key(header::ORIGIN) && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if call.head.method != Method::OPTIONS || !is_asked {
        return Ok(None);
    }
    call.door.settings().origins.check(call.head, call.peer)?;
    let mut response = Response::new(Payload::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let fields = response.headers_mut();
    fields.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    fields.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBERED_S));
    // A page that may use the server may send any field: what they mean is looked at when they come.
    if let Some(names) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    Ok(Some(response))
}
