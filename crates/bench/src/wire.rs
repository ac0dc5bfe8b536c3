//! The few bytes of MQTT 3.1.1, HTTP/1.1 and RESP that the load generators need, encoded ahead of time where possible.

/// Which service a PUBLISH asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Qos {
    /// At most once, no packet id.
    Zero,
    /// At least once, with this packet id.
    One(u16),
}

/// CONNECT, clean session, no keep-alive.
pub(crate) fn connect(client_id: &str) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0];
    put_string(&mut body, client_id);
    packet(0x10, &body)
}

/// SUBSCRIBE to one filter at `QoS` 0, packet id 1.
pub(crate) fn subscribe(filter: &str) -> Vec<u8> {
    let mut body = vec![0, 1];
    put_string(&mut body, filter);
    body.push(0);
    packet(0x82, &body)
}

/// Appends a PUBLISH to `out`.
pub(crate) fn publish(out: &mut Vec<u8>, topic: &str, payload: &[u8], qos: Qos, retain: bool) {
    let id_len = if qos == Qos::Zero { 0 } else { 2 };
    let flags = if qos == Qos::Zero { 0 } else { 2 } | u8::from(retain);
    out.push(0x30 | flags);
    put_length(out, 2 + topic.len() + id_len + payload.len());
    put_string(out, topic);
    if let Qos::One(id) = qos {
        out.extend_from_slice(&id.to_be_bytes());
    }
    out.extend_from_slice(payload);
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

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
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
        publish(&mut bytes, "a/b", &[7; 200], Qos::One(9), true);
        let whole = bytes.len();
        assert_eq!(whole, 3 + 5 + 2 + 200);
        assert_eq!(bytes[0], 0x33);
        publish(&mut bytes, "a/b", b"x", Qos::Zero, false);
        assert_eq!(first_packet(&bytes).unwrap().len(), whole);
        assert_eq!(whole_packets(&bytes[..bytes.len() - 1]), whole);
        assert_eq!(whole_packets(&bytes), bytes.len());
        assert_eq!(first_packet(&bytes[..1]), None);
        assert_eq!(first_packet(&[]), None);
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
