//! Frames (RFC 6455 §5) from bytes and to bytes: no socket and no buffer.

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

/// Why a WebSocket ends, as a close frame says it (RFC 6455 §7.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CloseCode(u16);

impl CloseCode {
    pub(super) const NORMAL: Self = Self(1000);
    pub(super) const GOING_AWAY: Self = Self(1001);
    const PROTOCOL_ERROR: Self = Self(1002);
    const UNSUPPORTED_DATA: Self = Self(1003);
    const INVALID_DATA: Self = Self(1007);
    const TOO_BIG: Self = Self(1009);

    /// A code that a peer may send: those that a close frame can carry, and the ranges for libraries and applications.
    fn from_peer(code: u16) -> Option<Self> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }
}

/// How the peer's side of a WebSocket ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// With a close frame, and its code if it had one.
    Closed(Option<CloseCode>),
    /// It broke the protocol or a limit.
    Violated(CloseCode),
    /// The connection ended without a close frame.
    Lost,
}

/// What a client sends, frame by frame, of which only the bytes of binary messages are kept.
#[derive(Debug)]
pub(super) struct Inbound {
    phase: Phase,
    /// The last fragment of the current message has not come.
    is_in_message: bool,
    frame_bytes: u64,
    ping: Option<Vec<u8>>,
    end: Option<End>,
}

#[derive(Debug)]
enum Phase {
    Header { bytes: [u8; HEADER_BYTES], filled: usize },
    Data { left: u64, mask: Mask },
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

impl Inbound {
    /// Takes frames that say they have at most so many bytes.
    pub(super) fn new(frame_bytes: usize) -> Self {
        Self {
            phase: Phase::START,
            is_in_message: false,
            frame_bytes: frame_bytes as u64,
            ping: None,
            end: None,
        }
    }

    /// Goes on with `raw`, moves the data in it to its front and returns how much that is. The rest of `raw` is
    /// worthless then. After the end nothing is data.
    pub(super) fn decode(&mut self, raw: &mut [u8]) -> usize {
        let (mut from, mut data) = (0, 0);
        while from < raw.len() && self.end.is_none() {
            match &mut self.phase {
                Phase::Header { bytes, filled } => {
                    bytes[*filled] = raw[from];
                    *filled += 1;
                    from += 1;
                    match parse(&bytes[..*filled]) {
                        Ok(None) => {}
                        Ok(Some(header)) => self.begin(header),
                        Err(code) => self.end = Some(End::Violated(code)),
                    }
                }
                Phase::Data { left, mask } => {
                    let count = (raw.len() - from).min(usize::try_from(*left).unwrap_or(usize::MAX));
                    mask.apply(&mut raw[from..from + count]);
                    raw.copy_within(from..from + count, data);
                    (from, data) = (from + count, data + count);
                    *left -= count as u64;
                    if *left == 0 {
                        self.phase = Phase::START;
                    }
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
                        self.control(opcode, payload);
                    }
                }
            }
        }
        data
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

    /// What follows a header.
    fn begin(&mut self, Header { opcode, is_final, length, mask }: Header) {
        let violated = |code| Some(End::Violated(code));
        self.phase = Phase::START;
        match opcode {
            CLOSE | PING | PONG if !is_final || length > CONTROL_BYTES => {
                self.end = violated(CloseCode::PROTOCOL_ERROR);
            }
            CLOSE | PING | PONG if length == 0 => self.control(opcode, Vec::new()),
            CLOSE | PING | PONG => {
                let left = length as usize;
                self.phase = Phase::Control { opcode, left, mask, payload: Vec::with_capacity(left) };
            }
            CONTINUATION | BINARY if (opcode == CONTINUATION) == self.is_in_message => {
                self.is_in_message = !is_final;
                if length > self.frame_bytes {
                    self.end = violated(CloseCode::TOO_BIG);
                } else if length > 0 {
                    self.phase = Phase::Data { left: length, mask };
                }
            }
            TEXT if !self.is_in_message => self.end = violated(CloseCode::UNSUPPORTED_DATA),
            _ => self.end = violated(CloseCode::PROTOCOL_ERROR),
        }
    }

    /// A whole control frame.
    fn control(&mut self, opcode: u8, payload: Vec<u8>) {
        match opcode {
            PING => self.ping = Some(payload),
            CLOSE => self.end = Some(read_close(&payload)),
            // A pong that nobody asked for is nothing to answer.
            _ => {}
        }
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

/// The header of a binary frame of its own with so many bytes, and how long it is.
pub(super) fn header(length: u64) -> ([u8; OWN_HEADER_BYTES], usize) {
    let mut bytes = [0; OWN_HEADER_BYTES];
    bytes[0] = FINAL | BINARY;
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

/// The answer to a ping.
pub(super) fn pong(payload: &[u8]) -> Vec<u8> {
    control(PONG, payload)
}

/// A close frame; without a code it says nothing.
pub(super) fn close(code: Option<CloseCode>) -> Vec<u8> {
    match code {
        Some(CloseCode(code)) => control(CLOSE, &code.to_be_bytes()),
        None => control(CLOSE, &[]),
    }
}

fn control(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(2 + payload.len());
    frame.extend_from_slice(&[FINAL | opcode, payload.len() as u8]);
    frame.extend_from_slice(payload);
    frame
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
        let (mut inbound, mut data, mut rest) = (Inbound::new(LIMIT), Vec::new(), bytes);
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
