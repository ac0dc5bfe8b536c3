//! Header fields of answers, and how their values are made.

use std::time::{Duration, UNIX_EPOCH};

use bytes::BytesMut;
use dovetail_model::{Revision, UnixMillis};
use http::{HeaderName, HeaderValue};

pub(crate) const REVISION: HeaderName = HeaderName::from_static("dovetail-revision");
pub(crate) const MIN_REVISION: HeaderName = HeaderName::from_static("dovetail-min-revision");
pub(crate) const TTL: HeaderName = HeaderName::from_static("dovetail-ttl");
pub(crate) const EXPIRES: HeaderName = HeaderName::from_static("dovetail-expires");
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
pub(crate) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// The revision, as `Dovetail-Revision` carries it.
pub(crate) fn revision(revision: Revision) -> HeaderValue {
    written(|text| {
        let _ = std::fmt::write(text, format_args!("{revision}"));
    })
}

/// The entity tag of what a revision left.
pub(crate) fn etag(revision: Revision) -> HeaderValue {
    written(|text| {
        let _ = std::fmt::write(text, format_args!("\"{revision}\""));
    })
}

/// The same, for a representation that may differ in its bytes (RFC 9110 §8.8.1).
pub(crate) fn weak_etag(revision: Revision) -> HeaderValue {
    written(|text| {
        let _ = std::fmt::write(text, format_args!("W/\"{revision}\""));
    })
}

/// The date of `Last-Modified`, whole seconds.
pub(crate) fn http_date(at: UnixMillis) -> HeaderValue {
    // The last time that the form can say.
    let at = UNIX_EPOCH + Duration::from_millis(at.min(dovetail_api::time::LAST));
    written(|text| {
        let _ = std::fmt::write(text, format_args!("{}", httpdate::HttpDate::from(at)));
    })
}

/// A value written into one allocation of its own. What is written is visible ASCII; should it not
/// be, the value is empty.
pub(crate) fn written(write: impl FnOnce(&mut BytesMut)) -> HeaderValue {
    const USUAL: usize = 48;
    let mut text = BytesMut::with_capacity(USUAL);
    write(&mut text);
    HeaderValue::from_maybe_shared(text.freeze()).unwrap_or(HeaderValue::from_static(""))
}
