//! Which protocol a connection speaks, by its first byte.

/// A protocol that a listener serves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protocol {
    /// HTTP/1.1, or HTTP/2 with prior knowledge.
    Http,
    /// MQTT 3.1.1 or 5.
    Mqtt,
}

/// What a first byte can mean.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sniffed {
    /// A protocol that is served.
    Protocol(Protocol),
    /// A TLS handshake.
    Tls,
    /// Nothing known.
    Unknown,
}

/// What a fatal TLS alert `handshake_failure` looks like on the wire (RFC 8446 §6.2). Sent to whoever
/// speaks TLS to a listener without it, so that the client reports a refusal and not a broken line.
pub(crate) const TLS_REFUSAL: [u8; 7] = [0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28];

/// Tells the protocol of a connection by its first byte.
///
/// An MQTT connection starts with the fixed header of CONNECT, 0x10 ([MQTT-3.1.0-1]). An HTTP
/// connection starts with the letter of a method, which includes HTTP/2's `PRI`, or with the empty
/// line that a server ought to skip (RFC 9112 §2.2). TLS starts with a handshake record, 0x16.
pub fn sniff(first: u8) -> Sniffed {
    match first {
        0x10 => Sniffed::Protocol(Protocol::Mqtt),
        0x16 => Sniffed::Tls,
        b'A'..=b'Z' | b'a'..=b'z' | b'\r' | b'\n' => Sniffed::Protocol(Protocol::Http),
        _ => Sniffed::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_byte_has_one_meaning() {
        for (first, expected) in [
            (b'G', Sniffed::Protocol(Protocol::Http)),
            (b'P', Sniffed::Protocol(Protocol::Http)),
            (b'\r', Sniffed::Protocol(Protocol::Http)),
            (0x10, Sniffed::Protocol(Protocol::Mqtt)),
            (0x16, Sniffed::Tls),
            (0x00, Sniffed::Unknown),
            (0x20, Sniffed::Unknown),
            (0x30, Sniffed::Unknown),
            (0xff, Sniffed::Unknown),
        ] {
            assert_eq!(sniff(first), expected, "{first:#x}");
        }
    }
}
