//! Where the server is and who asks.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The port of an `http` URL without one.
const HTTP_PORT: u16 = 80;

/// The address of a server: host and port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    host: Box<str>,
    port: u16,
}

/// Why a text is not the address of a server.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// Another scheme than `http`.
    #[error("`{0}` is not an `http://` URL, and this client speaks no other")]
    Scheme(Box<str>),
    /// More than host and port.
    #[error("`{0}` has more than a host and a port; names start at the root of the server")]
    Path(Box<str>),
    /// No host, or one with impossible characters.
    #[error("`{0}` names no host")]
    Host(Box<str>),
    /// A port that is no number.
    #[error("`{0}` has a port that is not a number up to 65535")]
    Port(Box<str>),
}

/// Who asks. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A token, such as a JWT or an access token.
    Bearer(Box<str>),
    /// A name and a password.
    Password {
        /// The name.
        name: Box<str>,
        /// The password.
        password: Box<str>,
    },
}

impl Server {
    /// Reads `http://HOST[:PORT]` or `HOST:PORT`.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        Self::with_default_port(text, "http", HTTP_PORT)
    }

    /// Reads `SCHEME://HOST[:PORT]` or `HOST[:PORT]`.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn with_default_port(text: &str, scheme: &str, port: u16) -> Result<Self, AddressError> {
        let rest = match text.split_once("://") {
            None => text,
            Some((said, rest)) if said.eq_ignore_ascii_case(scheme) => rest,
            Some(_) => return Err(AddressError::Scheme(text.into())),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(AddressError::Path(text.into()));
        }
        let (host, port_text) = match authority.rsplit_once(':') {
            // Colons inside brackets belong to an IPv6 address.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(AddressError::Host(text.into()));
        }
        let port = match port_text {
            None => port,
            Some(port) => port.parse().map_err(|_| AddressError::Port(text.into()))?,
        };
        Ok(Self { host: host.into(), port })
    }

    /// The host, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same host at another port.
    #[must_use]
    pub fn at_port(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }

    /// Host and port as the resolver takes them.
    pub(crate) fn socket_address(&self) -> (&str, u16) {
        (self.host.trim_start_matches('[').trim_end_matches(']'), self.port)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Credentials {
    /// The value of an `Authorization` field.
    pub(crate) fn authorization(&self) -> String {
        match self {
            Self::Bearer(token) => format!("Bearer {token}"),
            Self::Password { name, password } => {
                format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer(…)",
            Self::Password { .. } => "Password(…)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_type_them() {
        for (text, host, port) in [
            ("http://127.0.0.1:8080", "127.0.0.1", 8_080),
            ("http://example.org/", "example.org", 80),
            ("HTTP://example.org", "example.org", 80),
            ("localhost:9000", "localhost", 9_000),
            ("http://[::1]:8080", "[::1]", 8_080),
            ("http://[::1]", "[::1]", 80),
        ] {
            assert_eq!(Server::parse(text), Ok(Server { host: host.into(), port }), "{text}");
        }
        assert_eq!(Server::with_default_port("mqtt://h", "mqtt", 1_883).map(|s| s.port()), Ok(1_883));
        for text in ["", "http://", ":80", "http://a b"] {
            assert_eq!(Server::parse(text), Err(AddressError::Host(text.into())));
        }
        for text in ["http://h:x", "http://h:65536", "h:"] {
            assert_eq!(Server::parse(text), Err(AddressError::Port(text.into())));
        }
        for text in ["http://h/a", "http://user@h", "h?x"] {
            assert_eq!(Server::parse(text), Err(AddressError::Path(text.into())));
        }
        assert_eq!(Server::parse("https://h"), Err(AddressError::Scheme("https://h".into())));
    }

    #[test]
    fn secrets_are_not_shown() {
        let token = Credentials::Bearer("s3cret".into());
        let password = Credentials::Password { name: "n".into(), password: "s3cret".into() };
        assert!(!format!("{token:?}{password:?}").contains("s3cret"));
        assert_eq!(password.authorization(), "Basic bjpzM2NyZXQ=");
    }
}
