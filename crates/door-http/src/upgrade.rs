//! The handshake of WebSocket (RFC 6455 §4.2): which requests are one, and the answer.
//!
//! What speaks inside a WebSocket is told by its subprotocol, on any path, and without one by the page: the mounted one,
//! and `/-/ws`. The door serves none of them itself: it gives the connection back to whoever let it in
//! ([`crate::Upgraded`]).

use dovetail_net::accept_key;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use hyper::body::{Body as _, Incoming};

use crate::call::Call;
use crate::fields;
use crate::mounted;
use crate::payload::{Agreed, Payload};
use crate::problem::{Answer, Failure};

/// The page that is a WebSocket and nothing else.
pub(crate) const PAGE: &str = "ws";
/// The version of the protocol, the only one there is.
const VERSION: &str = "13";

/// Whether a request is a handshake. Other upgrades are not offered, so that who asks for one is answered as if they had
/// not (RFC 9110 §7.8).
pub(crate) fn is_wanted(head: &Parts) -> bool {
    head.version == Version::HTTP_11
        && head.method == Method::GET
        && lists(&head.headers, &header::UPGRADE).any(|name| name.eq_ignore_ascii_case("websocket"))
        && lists(&head.headers, &header::CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"))
}

/// Agrees to a handshake.
///
/// # Errors
/// 400 for what is malformed or offers nothing that is known, 403 for a page of somewhere else.
pub(crate) fn answer(call: &Call<'_>, body: &Incoming) -> Answer<Response<Payload>> {
    let headers = &call.head.headers;
    if !body.is_end_stream() {
        // Its bytes would be taken for frames.
        return Err(Failure::bad_request("a WebSocket handshake has no body").closing());
    }
    if fields::text(headers, &header::SEC_WEBSOCKET_VERSION)? != Some(VERSION) {
        return Err(Failure::websocket_version(VERSION));
    }
    let key = fields::text(headers, &header::SEC_WEBSOCKET_KEY)?.and_then(accept_key);
    let Some(accept) = key.and_then(|key| HeaderValue::try_from(key).ok()) else {
        return Err(Failure::bad_request("Sec-WebSocket-Key is not 16 bytes in base64"));
    };
    call.door.settings().origins.check(call.head, call.peer)?;
    let known = call.door.settings().subprotocols;
    // The first of ours that is offered: who offers `mqtt` is answered with it, whatever else it offers [MQTT-6.0.0-4].
    let is_offered = |known: &str| lists(headers, &header::SEC_WEBSOCKET_PROTOCOL).any(|name| name == known);
    let offered = known.iter().copied().find(|known| is_offered(known));
    let usual = || call.door.settings().usual_subprotocol.filter(|_| is_plain(call.head));
    let chosen = offered.or_else(usual);
    let mounted = call.mounted().filter(|(_, below)| chosen.is_none() && below.is_empty());
    match (chosen, mounted) {
        (None, None) => {
            let detail = format!("a WebSocket needs a subprotocol; here is {}", known.join(", "));
            return Err(Failure::bad_request(detail));
        }
        (None, Some((mount, _))) => {
            if let Some(refusal) = mount.refuse(call.head) {
                return Ok(mounted::refused(refusal));
            }
        }
        (Some(_), _) => {}
    }
    // A copy: the request lies in a buffer of the connection, which would live as long as a part of it.
    let query = |_| Box::from(call.head.uri.query().unwrap_or_default());
    let agreed = Agreed { subprotocol: chosen.unwrap_or_default(), mounted: mounted.map(query) };
    let mut response = Response::new(Payload::WebSocket(Box::new(agreed)));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = response.headers_mut();
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(offered) = offered {
        // Nothing may be said that was not offered (RFC 6455 §4.2.2).
        fields.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offered));
    }
    Ok(response)
}

/// Whether a handshake is for `/-/ws` and offers no subprotocol, as that of a browser which was told nothing but the
/// address.
fn is_plain(head: &Parts) -> bool {
    let page = head.uri.path().strip_prefix("/-/");
    page == Some(PAGE) && !head.headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL)
}

/// The members of a field that is a list, over all its lines.
fn lists<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|member| !member.is_empty())
}
