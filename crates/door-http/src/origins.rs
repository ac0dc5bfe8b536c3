//! Which web pages may use the server.
//!
//! A browser lets any page open a WebSocket to anywhere, or send a form, and sends along what it knows of the user
//! there; the server alone can refuse (RFC 6455 §10.2). Programs that are no browsers send no origin.

use std::net::IpAddr;

use http::header;
use http::request::Parts;
use http::uri::{Authority, Uri};

use crate::fields;
use crate::problem::{Answer, Failure};
use dovetail_api::problem::ProblemType;

/// Origins of web pages that may use the server, besides pages of the server's own host and, for clients on this
/// machine, pages from this machine. The default is no more than those.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origins {
    listed: Vec<Origin>,
    is_any: bool,
}

/// A text that is no origin.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no origin: one is SCHEME://HOST or SCHEME://HOST:PORT, and `*` is any")]
pub struct OriginError(String);

/// An origin (RFC 6454 §4), with the port of its scheme if it names none.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origins {
    /// The origins that `texts` are; `*` stands for any.
    ///
    /// # Errors
    /// The first that is none.
    pub fn new(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, OriginError> {
        let mut origins = Self::default();
        for text in texts {
            match text.as_ref() {
                "*" => origins.is_any = true,
                text => origins.listed.push(Origin::parse(text).ok_or_else(|| OriginError(text.to_owned()))?),
            }
        }
        Ok(origins)
    }

    /// Refuses a request that comes from another page.
    ///
    /// # Errors
    /// 403 that names the origin.
    pub(crate) fn check(&self, head: &Parts, peer: IpAddr) -> Answer<()> {
        match fields::text(&head.headers, &header::ORIGIN)? {
            Some(text) if !self.permits(text, head, peer) => {
                let detail = format!("pages of `{text}` may not use this server");
                Err(Failure::new(ProblemType::Forbidden, detail))
            }
            _ => Ok(()),
        }
    }

    /// Whether a page of the origin that `text` is may send this request.
    pub(crate) fn permits(&self, text: &str, head: &Parts, peer: IpAddr) -> bool {
        self.is_any || Origin::parse(text).is_some_and(|origin| self.permit(&origin, head, peer))
    }

    fn permit(&self, origin: &Origin, head: &Parts, peer: IpAddr) -> bool {
        let is_local = || peer.to_canonical().is_loopback() && origin.is_loopback();
        origin.is_of(head) || is_local() || self.listed.contains(origin)
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let (scheme, authority) = (uri.scheme_str()?.to_ascii_lowercase(), uri.authority()?);
        let is_bare = uri.path_and_query().is_none_or(|rest| rest.as_str() == "/") && !text.ends_with('/');
        if !is_bare || authority.as_str().contains('@') {
            return None;
        }
        let port = authority.port_u16().or_else(|| usual_port(&scheme));
        Some(Self { host: authority.host().to_ascii_lowercase(), port, scheme })
    }

    /// Whether it is the host that the request was sent to.
    fn is_of(&self, head: &Parts) -> bool {
        let said = || head.headers.get(header::HOST)?.to_str().ok()?.parse::<Authority>().ok();
        // HTTP/2 says it in `:authority` (RFC 9113 §8.3.1).
        head.uri.authority().cloned().or_else(said).is_some_and(|host| {
            let port = host.port_u16().or_else(|| usual_port(&self.scheme));
            host.host().eq_ignore_ascii_case(&self.host) && port == self.port
        })
    }

    fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

fn usual_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;
    use http::Request;

    fn permits(origins: &Origins, origin: &str, host: &str, peer: &str) -> bool {
        let request = Request::get("/").header(header::HOST, host).header(header::ORIGIN, origin);
        let (head, ()) = request.body(()).unwrap().into_parts();
        origins.check(&head, peer.parse().unwrap()).is_ok()
    }

    #[test]
    fn the_host_of_http_2_is_its_authority() {
        let request = Request::get("http://plant.example/").header(header::ORIGIN, "http://plant.example");
        let (head, ()) = request.body(()).unwrap().into_parts();
        assert!(Origins::default().check(&head, "192.0.2.7".parse().unwrap()).is_ok());
    }

    #[test]
    fn pages_of_the_same_host_and_of_this_machine_are_let_in() {
        let (near, far) = ("127.0.0.1", "192.0.2.7");
        for (origin, host, peer, expected) in [
            ("http://plant.example", "plant.example", far, true),
            ("https://Plant.Example", "plant.example", far, true),
            ("https://plant.example", "plant.example:443", far, true),
            ("http://plant.example:8080", "plant.example:8080", far, true),
            ("http://[2001:db8::1]:8080", "[2001:db8::1]:8080", far, true),
            ("http://plant.example:8080", "plant.example", far, false),
            ("http://plant.example", "plant.example:8080", far, false),
            ("http://evil.example", "plant.example", far, false),
            ("http://plant.example.evil.example", "plant.example", far, false),
            ("http://user@plant.example", "plant.example", far, false),
            ("null", "plant.example", far, false),
            ("null", "localhost", near, false),
            ("", "localhost", near, false),
            ("http://localhost:3000", "127.0.0.1:8080", near, true),
            ("http://app.localhost", "127.0.0.1:8080", near, true),
            ("http://127.9.9.9", "localhost:8080", near, true),
            ("http://[::1]:3000", "localhost:8080", "::1", true),
            ("http://localhost:3000", "plant.example", far, false),
            ("http://localhost.evil.example", "localhost", near, false),
            ("http://evil.example", "localhost", near, false),
        ] {
            let found = permits(&Origins::default(), origin, host, peer);
            assert_eq!(found, expected, "{origin} at {host} from {peer}");
        }
    }

    #[test]
    fn more_are_listed() {
        let origins = Origins::new(["https://app.example", "http://lab.example:8000"]).unwrap();
        for (origin, expected) in [
            ("https://app.example", true),
            ("https://APP.example:443", true),
            ("http://app.example", false),
            ("https://app.example:444", false),
            ("http://lab.example:8000", true),
            ("http://lab.example", false),
        ] {
            assert_eq!(permits(&origins, origin, "plant.example", "192.0.2.7"), expected, "{origin}");
        }
        assert!(permits(&Origins::new(["*"]).unwrap(), "null", "plant.example", "192.0.2.7"));
    }

    #[test]
    fn what_is_no_origin_is_not_taken_for_one() {
        for text in ["", "app.example", "https://", "https://app.example/", "https://app.example/x", "null"] {
            assert!(Origins::new([text]).is_err(), "{text}");
        }
    }
}
