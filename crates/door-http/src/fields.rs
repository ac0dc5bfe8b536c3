//! Header fields of requests, checked.

use dovetail_model::Revision;
use http::{HeaderMap, HeaderName, header};

use crate::problem::{Answer, Failure};

/// The text of a field that has to be visible ASCII and may be given once.
///
/// # Errors
/// 400 that names the field.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Answer<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Failure::bad_request(format!("{name} is given more than once")));
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text.trim())),
        Err(_) => Err(Failure::bad_request(format!("{name} is not visible ASCII"))),
    }
}

/// The revision that a field carries.
///
/// # Errors
/// 400 that names the field.
pub(crate) fn token(headers: &HeaderMap, name: &HeaderName) -> Answer<Option<Revision>> {
    match text(headers, name)? {
        None => Ok(None),
        Some(text) => match text.trim_matches('"').parse() {
            Ok(revision) => Ok(Some(revision)),
            Err(error) => Err(Failure::invalid_revision(format!("{name}: {error}"))),
        },
    }
}

/// The media type of a request body, without parameters, in lower case.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
