//! Frames of RFC 6455 made by hand.

pub(crate) const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const TEXT_BEGIN: u8 = 0x01;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const BINARY_BEGIN: u8 = 0x02;
pub(crate) const CONTINUE: u8 = 0x00;
pub(crate) const CONTINUE_LAST: u8 = 0x80;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// In place of a length: it is in so many more bytes.
pub(crate) const TWO_BYTES: u8 = 0x7e;
pub(crate) const EIGHT_BYTES: u8 = 0x7f;

/// A frame of a client, as short as it can be.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, 0x80, payload.len());
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A frame of a server.
pub(crate) fn bare(first: u8, payload: &[u8]) -> Vec<u8> {
    [head(first, 0, payload.len()), payload.to_vec()].concat()
}

fn head(first: u8, masked: u8, length: usize) -> Vec<u8> {
    match length {
        0..=125 => vec![first, masked | length as u8],
        126..=0xffff => [&[first, masked | TWO_BYTES], &(length as u16).to_be_bytes()[..]].concat(),
        _ => [&[first, masked | EIGHT_BYTES], &(length as u64).to_be_bytes()[..]].concat(),
    }
}

/// A close frame of a server that gives no reason.
pub(crate) fn close(code: u16) -> Vec<u8> {
    bare(CLOSE, &code.to_be_bytes())
}
