//! The few bytes of MQTT 3.1.1 and 5, HTTP/1.1 and RESP that the load generators need, encoded ahead of time where possible.

use anyhow::{Context, Result, ensure};

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

/// PINGREQ.
pub(crate) const PINGREQ: &[u8] = &[0xc0, 0];
/// PINGRESP.
pub(crate) const PINGRESP: &[u8] = &[0xd0, 0];
/// DISCONNECT.
pub(crate) const DISCONNECT: &[u8] = &[0xe0, 0];

/// What makes a client one of MQTT 5.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Five {
    /// How long the session outlives its connection, in seconds.
    pub(crate) session_expiry_s: u32,
    /// Topic aliases that the client takes.
    pub(crate) aliases: u16,
    /// Whether a subscription begins without the retained messages.
    pub(crate) is_live_only: bool,
    /// The user property `since` of a subscription: a revision, `now`, or nothing for the state.
    pub(crate) since: Option<String>,
}

/// CONNECT without keep-alive. A client of MQTT 3.1.1 has no `five`; the password comes with an empty user name.
pub(crate) fn connect(
    client_id: &str,
    is_clean: bool,
    password: Option<&str>,
    five: Option<&Five>,
) -> Vec<u8> {
    let flags = if is_clean { 0x02 } else { 0 } | if password.is_some() { 0xc0 } else { 0 };
    let level = if five.is_some() { 5 } else { 4 };
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', level, flags, 0, 0];
    if let Some(five) = five {
        body.extend_from_slice(&[8, 0x11]);
        body.extend_from_slice(&five.session_expiry_s.to_be_bytes());
        body.push(0x22);
        body.extend_from_slice(&five.aliases.to_be_bytes());
    }
    put_string(&mut body, client_id);
    if let Some(password) = password {
        put_string(&mut body, "");
        put_string(&mut body, password);
    }
    packet(0x10, &body)
}

/// SUBSCRIBE.
pub(crate) fn subscribe<T: AsRef<str>>(
    packet_id: u16,
    filters: &[T],
    service: Service,
    five: Option<&Five>,
) -> Vec<u8> {
    const NO_RETAINED: u8 = 2 << 4;
    let mut body = packet_id.to_be_bytes().to_vec();
    if let Some(five) = five {
        let mut properties = Vec::new();
        if let Some(since) = &five.since {
            properties.push(0x26);
            put_string(&mut properties, "since");
            put_string(&mut properties, since);
        }
        put_length(&mut body, properties.len());
        body.extend_from_slice(&properties);
    }
    let retained = if five.is_some_and(|five| five.is_live_only) { NO_RETAINED } else { 0 };
    for filter in filters {
        put_string(&mut body, filter.as_ref());
        body.push(service as u8 | retained);
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

/// What is sent to show that a client is still there: a pong that nobody asked for.
pub(crate) const PONG: u8 = 0x8a;

/// A WebSocket frame of a client with less than 64 KiB. Its mask is zero, so that it leaves the payload as it is.
pub(crate) fn websocket(first: u8, payload: &[u8]) -> Vec<u8> {
    const SHORT: usize = 126;
    let mut frame = vec![first];
    if payload.len() < SHORT {
        frame.push(0x80 | payload.len() as u8);
    } else {
        frame.push(0x80 | SHORT as u8);
        frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// The payload of the first WebSocket frame of a server in `bytes`, and the length of the frame, or `None` while it is
/// incomplete. Knows frames below 64 KiB.
pub(crate) fn first_frame(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (start, length) = match bytes.get(1)? & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        length => (2, usize::from(length)),
    };
    let payload = bytes.get(start..start + length)?;
    Some((payload, start + length))
}

/// The `Host` of requests to a server on this machine, as a line of a head.
pub(crate) const HERE: &str = "Host: bench\r\n";

/// The handshake of a WebSocket. `fields` are the lines of the head that say which host, and perhaps who asks.
pub(crate) fn upgrade(path: &str, subprotocol: Option<&str>, fields: &str) -> Vec<u8> {
    let protocol = subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
    format!(
        "GET {path} HTTP/1.1\r\n{fields}Upgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n"
    )
    .into_bytes()
}

/// Appends a PUB of NATS.
pub(crate) fn nats_publish(out: &mut Vec<u8>, subject: &str, payload: &[u8]) {
    out.extend_from_slice(b"PUB ");
    out.extend_from_slice(subject.as_bytes());
    out.extend_from_slice(format!(" {}\r\n", payload.len()).as_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// What comes first in the bytes of a NATS server, and its length: a message, or something else; `None` while it is incomplete.
///
/// # Errors
/// The server says that something is wrong.
pub(crate) fn nats_message(bytes: &[u8]) -> Result<Option<(Option<Message<'_>>, usize)>> {
    let Some(end) = find(bytes, b"\r\n") else { return Ok(None) };
    let line = &bytes[..end];
    ensure!(!line.starts_with(b"-ERR"), "NATS said {}", String::from_utf8_lossy(line));
    let mut words = line.split(|&byte| byte == b' ');
    if words.next() != Some(b"MSG") {
        return Ok(Some((None, end + 2)));
    }
    let topic = words.next().unwrap_or_default();
    let length = words.next_back().and_then(|length| std::str::from_utf8(length).ok()?.parse::<usize>().ok());
    let length = length.with_context(|| format!("a line {}", String::from_utf8_lossy(line)))?;
    let whole = end + 2 + length + 2;
    let message = bytes.get(..whole).map(|bytes| Message {
        topic,
        answer: None,
        is_retained: false,
        payload: &bytes[end + 2..end + 2 + length],
    });
    Ok(message.map(|message| (Some(message), whole)))
}

/// Appends a command of Redis.
pub(crate) fn redis(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
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

/// Appends a length in groups of seven bits, the lowest first: MQTT and SignalR's `MessagePack` have the same.
pub(crate) fn put_length(out: &mut Vec<u8>, mut length: usize) {
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
        let packet = subscribe(1, &filters, Service::One, None);
        assert_eq!(subscribed(&packet), [filters[0].as_bytes(), filters[1].as_bytes()]);
    }

    #[test]
    fn versions_differ_in_their_properties() {
        let five = Five { session_expiry_s: 300, aliases: 16, is_live_only: true, since: Some("now".into()) };
        assert_eq!(connect("me", true, None, None), b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02me");
        assert_eq!(
            connect("me", false, Some("t"), Some(&five)),
            b"\x10\x1c\0\x04MQTT\x05\xc0\0\0\x08\x11\0\0\x01\x2c\x22\0\x10\0\x02me\0\0\0\x01t"
        );
        assert_eq!(
            subscribe(7, &["a"], Service::One, Some(&five)),
            b"\x82\x14\0\x07\x0d\x26\0\x05since\0\x03now\0\x01a\x21"
        );
        assert_eq!(subscribe(7, &["a"], Service::Zero, Some(&Five::default())), b"\x82\x07\0\x07\0\0\x01a\0");
    }

    #[test]
    fn longer_frames_have_another_header() {
        assert_eq!(websocket(TEXT, b"x"), [0x81, 0x81, 0, 0, 0, 0, b'x']);
        assert_eq!(websocket(BINARY, &[7; 125]).len(), 6 + 125);
        assert_eq!(websocket(TEXT, &[7; 300])[..9], [0x81, 0xfe, 1, 44, 0, 0, 0, 0, 7]);
    }

    #[test]
    fn frames_are_told_apart() {
        let long = [&[TEXT, 126, 1, 0][..], &[b'x'; 256]].concat();
        let bytes = [&[TEXT, 2, b'{', b'}'][..], &long].concat();
        assert_eq!(first_frame(&bytes), Some((&b"{}"[..], 4)));
        assert_eq!(first_frame(&bytes[4..]), Some((&[b'x'; 256][..], 260)));
        for end in 4..bytes.len() {
            assert_eq!(first_frame(&bytes[4..end]), None, "{end}");
        }
    }

    #[test]
    fn messages_of_nats_are_told_apart() {
        let bytes = b"PING\r\nMSG bench/a 7 4\r\n\r\nxy\r\nMSG b 1 0\r\n\r\n";
        assert_eq!(nats_message(bytes).unwrap(), Some((None, 6)));
        let first = &bytes[6..];
        let (message, length) = nats_message(first).unwrap().unwrap();
        let message = message.unwrap();
        assert_eq!((message.topic, message.payload, length), (&b"bench/a"[..], &b"\r\nxy"[..], 23));
        for end in 0..length {
            assert_eq!(nats_message(&first[..end]).unwrap(), None, "{end}");
        }
        let (message, length) = nats_message(&first[length..]).unwrap().unwrap();
        assert_eq!((message.unwrap().payload, length), (&b""[..], 13));
        for wrong in ["-ERR 'no'\r\n", "MSG a 1 x\r\n"] {
            assert!(nats_message(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let mut out = Vec::new();
        nats_publish(&mut out, "a", b"xy");
        assert_eq!(out, b"PUB a 2\r\nxy\r\n");
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
