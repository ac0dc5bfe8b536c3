//! Frames (RFC 6455 §5) from bytes and to bytes: no socket and no buffer.

use std::ops::Range;

/// Bytes of the longest header of a frame from a client: two, eight of length, four of mask.
const HEADER_BYTES: usize = 14;
/// Bytes of the longest header of a frame to a client, which has no mask.
pub(super) const OWN_HEADER_BYTES: usize = 10;
/// Bytes that a control frame may carry (RFC 6455 §5.5).
const CONTROL_BYTES: u64 = 125;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Why a WebSocket ends, as a close frame says it (RFC 6455 §7.4, and the registry of close codes).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CloseCode(u16);

impl CloseCode {
    /// Its purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server stops, or the page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// The frames are wrong.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of message that is not taken.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// A text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// What no other code says.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// More bytes than are taken.
    pub const TOO_BIG: Self = Self(1009);
    /// The server failed.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The server starts again: come back, but not all at once.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// The server has too much to do.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// One of the codes that belong to libraries and applications, 3000 to 4999.
    pub const fn application(code: u16) -> Option<Self> {
        match code {
            3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// A code that a peer may send: those that a close frame can carry, and the ranges for libraries and applications.
    fn from_peer(code: u16) -> Option<Self> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }
}

/// How the peer's side of a WebSocket ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// With a close frame, and its code if it had one.
    Closed(Option<CloseCode>),
    /// It broke the protocol or a limit.
    Violated(CloseCode),
    /// The connection ended without a close frame.
    Lost,
}

/// What a message is (RFC 6455 §5.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// What is made of the data, which says what of it is limited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// The bytes of binary messages pass through. The limit is that of a frame.
    Stream,
    /// Messages of either kind are put together. The limit is that of a message.
    Messages,
}

/// What a client sends, frame by frame.
#[derive(Debug)]
pub(super) struct Inbound {
    phase: Phase,
    purpose: Purpose,
    /// The current message, while its last frame has not begun.
    message: Option<Kind>,
    /// Bytes that its frames so far say they have.
    message_bytes: u64,
    limit: u64,
    ping: Option<Vec<u8>>,
    end: Option<End>,
}

#[derive(Debug)]
enum Phase {
    Header { bytes: [u8; HEADER_BYTES], filled: usize },
    Data { kind: Kind, is_last: bool, left: u64, mask: Mask },
    Control { opcode: u8, left: usize, mask: Mask, payload: Vec<u8> },
}

impl Phase {
    const START: Self = Self::Header { bytes: [0; HEADER_BYTES], filled: 0 };
}

struct Header {
    opcode: u8,
    is_final: bool,
    length: u64,
    mask: Mask,
}

/// What stands at the end of the bytes that [`Inbound::step`] used.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing that is whole, and there are no more bytes.
    Nothing,
    /// Data of a message, where it lies, and whether the message ends with it.
    Data { kind: Kind, place: Range<usize>, ends: bool },
    /// A control frame, of which a ping or an end may have come.
    Control,
}

impl Inbound {
    /// Takes frames, or messages, of at most so many bytes.
    pub(super) fn new(purpose: Purpose, limit: usize) -> Self {
        Self {
            phase: Phase::START,
            purpose,
            message: None,
            message_bytes: 0,
            limit: limit as u64,
            ping: None,
            end: None,
        }
    }

    /// Goes on with `raw`, moves the data in it to its front and returns how much that is. The rest of `raw` is
    /// worthless then. After the end nothing is data.
    pub(super) fn decode(&mut self, raw: &mut [u8]) -> usize {
        let (mut from, mut data) = (0, 0);
        while from < raw.len() {
            let (used, found) = self.step(&mut raw[from..]);
            if let Found::Data { place, .. } = found {
                raw.copy_within(from + place.start..from + place.end, data);
                data += place.len();
            }
            from += used;
        }
        data
    }

    /// Goes on with `raw` up to whatever is found first, and says how much of it was used. Data is unmasked. After the end
    /// nothing is found.
    pub(super) fn step(&mut self, raw: &mut [u8]) -> (usize, Found) {
        let mut from = 0;
        while from < raw.len() && self.end.is_none() {
            match &mut self.phase {
                Phase::Header { bytes, filled } => {
                    bytes[*filled] = raw[from];
                    *filled += 1;
                    from += 1;
                    match parse(&bytes[..*filled]) {
                        Ok(None) => {}
                        Ok(Some(header)) => match self.begin(header) {
                            Ok(Some(found)) => return (from, found),
                            Ok(None) => {}
                            Err(code) => self.violated(code),
                        },
                        Err(code) => self.violated(code),
                    }
                }
                Phase::Data { kind, is_last, left, mask } => {
                    let count = (raw.len() - from).min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let place = from..from + count;
                    mask.apply(&mut raw[place.clone()]);
                    *left -= count as u64;
                    let (kind, is_whole, is_last) = (*kind, *left == 0, *is_last);
                    if is_whole {
                        self.phase = Phase::START;
                    }
                    return (place.end, Found::Data { kind, place, ends: is_whole && is_last });
                }
                Phase::Control { opcode, left, mask, payload } => {
                    let count = (raw.len() - from).min(*left);
                    let piece = &mut raw[from..from + count];
                    mask.apply(piece);
                    payload.extend_from_slice(piece);
                    from += count;
                    *left -= count;
                    if *left == 0 {
                        let (opcode, payload) = (*opcode, std::mem::take(payload));
                        self.phase = Phase::START;
                        return (from, self.control(opcode, payload));
                    }
                }
            }
        }
        (raw.len(), Found::Nothing)
    }

    /// The newest ping that was not answered; older ones need no answer (RFC 6455 §5.5.3).
    pub(super) fn take_ping(&mut self) -> Option<Vec<u8>> {
        self.ping.take()
    }

    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// The connection ended. What ended before keeps its reason.
    pub(super) fn lost(&mut self) {
        self.end.get_or_insert(End::Lost);
    }

    /// The peer broke a rule. What ended before keeps its reason.
    pub(super) fn violated(&mut self, code: CloseCode) {
        self.end.get_or_insert(End::Violated(code));
    }

    /// Bytes of data that the current frame still says to have.
    pub(super) fn left(&self) -> u64 {
        match self.phase {
            Phase::Data { left, .. } => left,
            Phase::Header { .. } | Phase::Control { .. } => 0,
        }
    }

    /// What follows a header, or what was found if that is nothing.
    fn begin(
        &mut self,
        Header { opcode, is_final, length, mask }: Header,
    ) -> Result<Option<Found>, CloseCode> {
        self.phase = Phase::START;
        let kind = match (opcode, self.message) {
            (CLOSE | PING | PONG, _) if !is_final || length > CONTROL_BYTES => {
                return Err(CloseCode::PROTOCOL_ERROR);
            }
            (CLOSE | PING | PONG, _) if length == 0 => return Ok(Some(self.control(opcode, Vec::new()))),
            (CLOSE | PING | PONG, _) => {
                let left = length as usize;
                self.phase = Phase::Control { opcode, left, mask, payload: Vec::with_capacity(left) };
                return Ok(None);
            }
            (CONTINUATION, Some(kind)) => kind,
            (TEXT, None) if self.purpose == Purpose::Stream => return Err(CloseCode::UNSUPPORTED_DATA),
            (TEXT, None) => Kind::Text,
            (BINARY, None) => Kind::Binary,
            _ => return Err(CloseCode::PROTOCOL_ERROR),
        };
        let before = if self.message.is_some() { self.message_bytes } else { 0 };
        let bytes = before.saturating_add(length);
        let limited = if self.purpose == Purpose::Stream { length } else { bytes };
        if limited > self.limit {
            return Err(CloseCode::TOO_BIG);
        }
        (self.message, self.message_bytes) = ((!is_final).then_some(kind), bytes);
        if length == 0 {
            return Ok(Some(Found::Data { kind, place: 0..0, ends: is_final }));
        }
        self.phase = Phase::Data { kind, is_last: is_final, left: length, mask };
        Ok(None)
    }

    /// A whole control frame.
    fn control(&mut self, opcode: u8, payload: Vec<u8>) -> Found {
        match opcode {
            PING => self.ping = Some(payload),
            CLOSE => self.end = Some(read_close(&payload)),
            // A pong that nobody asked for is nothing to answer.
            _ => {}
        }
        Found::Control
    }
}

/// The header that `bytes` are, or `None` while it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<Header>, CloseCode> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    if first & RESERVED != 0 || second & MASKED == 0 {
        return Err(CloseCode::PROTOCOL_ERROR);
    }
    let short = u64::from(second & !MASKED);
    // How many bytes more the length has, and the least that needs them: it has to be as short as it can be (RFC 6455
    // §5.2).
    let (width, least) = match short {
        126 => (2, 126),
        127 => (8, 1 << 16),
        _ => (0, 0),
    };
    let Some((long, mask)) = rest.split_at_checked(width) else { return Ok(None) };
    let Ok(mask) = mask.try_into() else { return Ok(None) };
    let length = match width {
        0 => short,
        _ => long.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    if length < least {
        return Err(CloseCode::PROTOCOL_ERROR);
    }
    let (opcode, is_final) = (first & !(FINAL | RESERVED), first & FINAL != 0);
    Ok(Some(Header { opcode, is_final, length, mask: Mask(mask) }))
}

fn read_close(payload: &[u8]) -> End {
    let (code, reason) = match *payload {
        [] => return End::Closed(None),
        [_] => return End::Violated(CloseCode::PROTOCOL_ERROR),
        [a, b, ref reason @ ..] => (CloseCode::from_peer(u16::from_be_bytes([a, b])), reason),
    };
    match code {
        None => End::Violated(CloseCode::PROTOCOL_ERROR),
        Some(_) if std::str::from_utf8(reason).is_err() => End::Violated(CloseCode::INVALID_DATA),
        code => End::Closed(code),
    }
}

/// What the bytes of a frame are combined with (RFC 6455 §5.3), turned so that it begins with the next one.
#[derive(Clone, Copy, Debug)]
struct Mask([u8; 4]);

impl Mask {
    fn apply(&mut self, data: &mut [u8]) {
        let [a, b, c, d] = self.0;
        let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (whole, rest) = data.as_chunks_mut::<8>();
        for chunk in whole {
            *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
        }
        for (byte, mask) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
            *byte ^= mask;
        }
        self.0.rotate_left(rest.len() % 4);
    }
}

/// The header of a frame of its own with so many bytes, and how long it is.
pub(super) fn header(kind: Kind, length: u64) -> ([u8; OWN_HEADER_BYTES], usize) {
    let mut bytes = [0; OWN_HEADER_BYTES];
    bytes[0] = FINAL
        | match kind {
            Kind::Text => TEXT,
            Kind::Binary => BINARY,
        };
    let used = match length {
        0..=125 => {
            bytes[1] = length as u8;
            2
        }
        126..=0xffff => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            bytes[1] = 127;
            bytes[2..].copy_from_slice(&length.to_be_bytes());
            OWN_HEADER_BYTES
        }
    };
    (bytes, used)
}

/// Appends a ping; `payload` is cut at 125 bytes.
pub(super) fn ping(out: &mut Vec<u8>, payload: &[u8]) {
    control(out, PING, &[payload]);
}

/// Appends the answer to a ping.
pub(super) fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    control(out, PONG, &[payload]);
}

/// Appends a close frame; without a code it says nothing. `reason` is cut to what a control frame can carry.
pub(super) fn close(out: &mut Vec<u8>, code: Option<CloseCode>, reason: &str) {
    match code {
        Some(CloseCode(code)) => {
            let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES as usize - 2)];
            control(out, CLOSE, &[&code.to_be_bytes(), reason.as_bytes()]);
        }
        None => control(out, CLOSE, &[]),
    }
}

fn control(out: &mut Vec<u8>, opcode: u8, parts: &[&[u8]]) {
    let start = out.len();
    out.extend_from_slice(&[FINAL | opcode, 0]);
    for part in parts {
        out.extend_from_slice(part);
    }
    out.truncate(start + 2 + CONTROL_BYTES as usize);
    out[start + 1] = (out.len() - start - 2) as u8;
}

impl End {
    /// What we say in answer; `None` is a close frame without a code.
    pub(super) fn answer(self) -> Option<CloseCode> {
        match self {
            Self::Closed(code) => code,
            Self::Violated(code) => Some(code),
            Self::Lost => Some(CloseCode::NORMAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 200;

    /// What comes of bytes that arrive in pieces of these lengths, and then all at once.
    fn decode(bytes: &[u8], lengths: &[usize]) -> (Vec<u8>, Option<Vec<u8>>, Option<End>) {
        let (mut inbound, mut data, mut rest) = (Inbound::new(Purpose::Stream, LIMIT), Vec::new(), bytes);
        for &length in lengths.iter().chain([&bytes.len()]) {
            let (piece, later) = rest.split_at(length.min(rest.len()));
            let mut piece = piece.to_vec();
            let count = inbound.decode(&mut piece);
            data.extend_from_slice(&piece[..count]);
            rest = later;
        }
        (data, inbound.take_ping(), inbound.end())
    }

    /// A frame that is right in most of its parts.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let first =
            prop_oneof![8 => Just(0x82), 4 => Just(0x02), 4 => Just(0x80), 2 => Just(0x89), 1 => any::<u8>()];
        let payload = proptest::collection::vec(any::<u8>(), 0..LIMIT + 10);
        (first, payload, any::<[u8; 4]>()).prop_map(|(first, payload, mask)| {
            let mut bytes = vec![first];
            match payload.len() {
                length @ 0..=125 => bytes.push(MASKED | length as u8),
                length => bytes.extend_from_slice(&[MASKED | 0x7e, 0, length as u8]),
            }
            bytes.extend_from_slice(&mask);
            bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            bytes
        })
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_makes_no_difference(
            frames in proptest::collection::vec(frame(), 0..8),
            garbage in proptest::collection::vec(any::<u8>(), 0..40),
            lengths in proptest::collection::vec(0..40_usize, 0..80),
        ) {
            let bytes = [frames.concat(), garbage].concat();
            prop_assert_eq!(decode(&bytes, &lengths), decode(&bytes, &[]));
        }

        #[test]
        fn a_mask_is_its_own_opposite(data in proptest::collection::vec(any::<u8>(), 0..100), mask: [u8; 4], cut: usize) {
            let mut masked = data.clone();
            let (first, second) = masked.split_at_mut(cut % (data.len() + 1));
            let mut rolling = Mask(mask);
            rolling.apply(first);
            rolling.apply(second);
            let plain: Vec<u8> = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            prop_assert_eq!(plain, data);
        }
    }
}
