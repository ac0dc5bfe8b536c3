//! Which addresses may be bound.

use std::net::{IpAddr, SocketAddr};

/// What stands between a listener and whoever can reach it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protection {
    /// Clients have to prove who they are.
    pub has_authentication: bool,
    /// The listener speaks TLS.
    pub has_tls: bool,
    /// The operator has said in so many words that an open listener is wanted.
    pub is_waived: bool,
}

/// Why an address is not bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{address} can be reached from other machines, and the listener has {lack}")]
pub struct ExposureError {
    /// The address.
    pub address: SocketAddr,
    /// What is missing.
    pub lack: &'static str,
}

/// Checks that a listener on `address` is open to this machine only, or protected, or explicitly
/// waived.
///
/// # Errors
/// What is missing.
pub fn check_exposure(address: SocketAddr, protection: Protection) -> Result<(), ExposureError> {
    if is_loopback(address.ip()) || protection.is_waived {
        return Ok(());
    }
    let lack = match (protection.has_authentication, protection.has_tls) {
        (true, true) => return Ok(()),
        (true, false) => "no TLS",
        (false, true) => "no authentication",
        (false, false) => "neither authentication nor TLS",
    };
    Err(ExposureError { address, lack })
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;

    #[test]
    fn only_loopback_is_open_without_protection() {
        let bare = Protection { has_authentication: false, has_tls: false, is_waived: false };
        for address in ["127.0.0.1:0", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert_eq!(check_exposure(address.parse().unwrap(), bare), Ok(()), "{address}");
        }
        for address in ["0.0.0.0:0", "[::]:80", "10.0.0.1:80", "[::ffff:10.0.0.1]:80", "192.0.2.1:80"] {
            let error = check_exposure(address.parse().unwrap(), bare).unwrap_err();
            assert_eq!(error.lack, "neither authentication nor TLS", "{address}");
        }
    }

    #[test]
    fn both_protections_or_a_waiver_open_the_rest() {
        let address = "0.0.0.0:80".parse().unwrap();
        for (has_authentication, has_tls, is_waived, lack) in [
            (true, true, false, None),
            (false, false, true, None),
            (true, false, false, Some("no TLS")),
            (false, true, false, Some("no authentication")),
        ] {
            let result = check_exposure(address, Protection { has_authentication, has_tls, is_waived });
            assert_eq!(result.err().map(|error| error.lack), lack);
        }
    }
}
