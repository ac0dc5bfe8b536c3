//! Who is asking.

use std::net::IpAddr;

/// Who a connection speaks for. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal(Kind);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    Anonymous { local: bool },
    Server,
}

impl Principal {
    /// Somebody who did not say who they are, calling from `peer`.
    pub fn anonymous(peer: IpAddr) -> Self {
        Self(Kind::Anonymous { local: peer.to_canonical().is_loopback() })
    }

    /// The server itself, for what it does of its own accord. Never made for a connection.
    pub fn server() -> Self {
        Self(Kind::Server)
    }

    /// A name for logs and for keeping apart what belongs to different principals.
    pub fn name(&self) -> &str {
        match self.0 {
            Kind::Anonymous { .. } => "anonymous",
            Kind::Server => "server",
        }
    }

    pub(crate) fn is_local(&self) -> bool {
        matches!(self.0, Kind::Anonymous { local: true } | Kind::Server)
    }

    pub(crate) fn is_server(&self) -> bool {
        self.0 == Kind::Server
    }
}
