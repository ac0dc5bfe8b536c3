//! The few bytes of MQTT 3.1.1, HTTP/1.1 and RESP that the load generators need, encoded ahead of time where possible.

/// Quality of service, as it stands in SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Service {
    /// At most once.
    Zero = 0,
    /// At least once.
    One = 1,
    /// Exactly once.
    Two = 2,
}

/// What acknowledges: the first bytes of packets that hold a packet id and nothing else.
pub(crate) mod ack {
    /// Acknowledges a message of `QoS` 1.
    pub(crate) const PUBACK: u8 = 0x40;
    /// The first answer to a message of `QoS` 2.
    pub(crate) const PUBREC: u8 = 0x50;
    /// The answer to that.
    pub(crate) const PUBREL: u8 = 0x62;
    /// The last word about a message of `QoS` 2.
    pub(crate) const PUBCOMP: u8 = 0x70;
}

/// DISCONNECT.
pub(crate) const DISCONNECT: &[u8] = &[0xe0, 0];

/// CONNECT without keep-alive.
pub(crate) fn connect(client_id: &str, is_clean: bool) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, if is_clean { 2 } else { 0 }, 0, 0];
    put_string(&mut body, client_id);
    packet(0x10, &body)
}

/// SUBSCRIBE.
pub(crate) fn subscribe<T: AsRef<str>>(packet_id: u16, filters: &[T], service: Service) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    for filter in filters {
        put_string(&mut body, filter.as_ref());
        body.push(service as u8);
    }
    packet(0x82, &body)
}

/// Appends a PUBLISH to `out`. `QoS` 0 has no packet id.
pub(crate) fn publish(
    out: &mut Vec<u8>,
    topic: &str,
    payload: &[u8],
    (service, packet_id): (Service, u16),
    retain: bool,
) {
    let id_len = if service == Service::Zero { 0 } else { 2 };
    out.push(0x30 | (service as u8) << 1 | u8::from(retain));
    put_length(out, 2 + topic.len() + id_len + payload.len());
    put_string(out, topic);
    if service != Service::Zero {
        out.extend_from_slice(&packet_id.to_be_bytes());
    }
    out.extend_from_slice(payload);
}

/// Appends a packet that holds a packet id and nothing else.
pub(crate) fn acknowledge(out: &mut Vec<u8>, first: u8, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[first, 2, high, low]);
}

/// The packet id of an acknowledgement.
pub(crate) fn acknowledged(packet: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]))
}

/// A message that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// Its topic.
    pub(crate) topic: &'a [u8],
    /// The packet id of a message with `QoS` 1 or 2, and what is to be answered first.
    pub(crate) answer: Option<(u8, u16)>,
    /// Whether it is a retained one.
    pub(crate) is_retained: bool,
    /// What it carries.
    pub(crate) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a whole packet, or `None` if it is no PUBLISH.
    pub(crate) fn of(packet: &'a [u8]) -> Option<Self> {
        let first = *packet.first()?;
        if first & 0xf0 != 0x30 {
            return None;
        }
        let head = 2 + packet[1..].iter().take_while(|&&byte| byte & 0x80 != 0).count();
        let (topic, rest) = split_string(packet.get(head..)?)?;
        let (answer, payload) = match (first >> 1) & 3 {
            0 => (None, rest),
            service => {
                let (id, payload) = rest.split_first_chunk::<2>()?;
                let answer = if service == 1 { ack::PUBACK } else { ack::PUBREC };
                (Some((answer, u16::from_be_bytes(*id))), payload)
            }
        };
        Some(Self { topic, answer, is_retained: first & 1 == 1, payload })
    }

    /// The number at byte `at` of the payload, eight bytes long.
    pub(crate) fn number(&self, at: usize) -> Option<u64> {
        let bytes = self.payload.get(at..)?.first_chunk::<8>()?;
        Some(u64::from_be_bytes(*bytes))
    }
}

/// The filters of a SUBSCRIBE packet.
pub(crate) fn subscribed(packet: &[u8]) -> Vec<&[u8]> {
    let head = 2 + packet[1..].iter().take_while(|&&byte| byte & 0x80 != 0).count();
    let mut rest = packet.get(head + 2..).unwrap_or_default();
    let mut filters = Vec::new();
    while let Some((filter, behind)) = split_string(rest) {
        filters.push(filter);
        rest = behind.get(1..).unwrap_or_default();
    }
    filters
}

fn split_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// The first byte of a WebSocket frame that is a whole text.
pub(crate) const TEXT: u8 = 0x81;
/// The same for bytes.
pub(crate) const BINARY: u8 = 0x82;

/// A WebSocket frame of a client with less than 126 bytes. Its mask is zero, so that it leaves the payload as it is.
pub(crate) fn websocket(first: u8, payload: &[u8]) -> Vec<u8> {
    debug_assert!(payload.len() < 126, "longer frames have another header");
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

/// The handshake of a WebSocket.
pub(crate) fn upgrade(path: &str, subprotocol: Option<&str>) -> Vec<u8> {
    let protocol = subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
    format!(
        "GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n"
    )
    .into_bytes()
}

/// The first MQTT packet of `bytes`, as a whole, or `None` while it is incomplete.
pub(crate) fn first_packet(bytes: &[u8]) -> Option<&[u8]> {
    let mut length = 0_usize;
    for (i, &byte) in bytes.get(1..)?.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return bytes.get(..i + 2 + length);
        }
    }
    None
}

/// How many bytes at the front of `bytes` are whole MQTT packets.
pub(crate) fn whole_packets(bytes: &[u8]) -> usize {
    let mut whole = 0;
    while let Some(packet) = first_packet(&bytes[whole..]) {
        whole += packet.len();
    }
    whole
}

/// The length of the first HTTP/1.1 answer in `bytes`, and its status, or `None` while it is incomplete.
///
/// Knows `Content-Length` only: the answers measured here have one, or no body.
pub(crate) fn first_answer(bytes: &[u8]) -> Option<(usize, u16)> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let status = bytes.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())?;
    let body = content_length(&bytes[..head]).unwrap_or(0);
    (bytes.len() >= head + body).then_some((head + body, status))
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    head.split(|&byte| byte == b'\n').find_map(|line| {
        let name = line.get(..NAME.len())?;
        if !name.eq_ignore_ascii_case(NAME) {
            return None;
        }
        std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()
    })
}

/// Where `needle` begins in `bytes`.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    put_length(&mut out, body.len());
    out.extend_from_slice(body);
    out
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
mod tests {
    use super::*;

    #[test]
    fn packets_are_told_apart() {
        let mut bytes = Vec::new();
        publish(&mut bytes, "a/b", &[7; 200], (Service::One, 9), true);
        let whole = bytes.len();
        assert_eq!(whole, 3 + 5 + 2 + 200);
        assert_eq!(bytes[0], 0x33);
        publish(&mut bytes, "a/b", b"x", (Service::Zero, 0), false);
        assert_eq!(first_packet(&bytes).unwrap().len(), whole);
        assert_eq!(whole_packets(&bytes[..bytes.len() - 1]), whole);
        assert_eq!(whole_packets(&bytes), bytes.len());
        assert_eq!(first_packet(&bytes[..1]), None);
        assert_eq!(first_packet(&[]), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut bytes = Vec::new();
        let payload = [7_u64.to_be_bytes(), [b'.'; 8]].concat();
        publish(&mut bytes, "a/b", &payload, (Service::Two, 9), true);
        let message = Message::of(&bytes).unwrap();
        assert_eq!((message.topic, message.answer), (&b"a/b"[..], Some((ack::PUBREC, 9))));
        assert_eq!((message.is_retained, message.number(0)), (true, Some(7)));
        assert_eq!(message.payload, payload);
        assert_eq!(message.number(9), None);
        let mut answer = Vec::new();
        acknowledge(&mut answer, ack::PUBREC, 9);
        assert_eq!(acknowledged(first_packet(&answer).unwrap()), Some(9));
        assert_eq!(Message::of(&answer), None);
        let filters = ["a/#".to_owned(), "x".repeat(200)];
        let packet = subscribe(1, &filters, Service::One);
        assert_eq!(subscribed(&packet), [filters[0].as_bytes(), filters[1].as_bytes()]);
    }

    #[test]
    fn answers_are_told_apart() {
        const FIRST: usize = "HTTP/1.1 200 OK\r\nContent-length: 3\r\n\r\nabc".len();
        let two = b"HTTP/1.1 200 OK\r\nContent-length: 3\r\n\r\nabcHTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(first_answer(two), Some((FIRST, 200)));
        assert_eq!(first_answer(&two[FIRST..]), Some((27, 204)));
        assert_eq!(first_answer(&two[..FIRST - 1]), None);
        assert_eq!(first_answer(&two[..10]), None);
    }
}
