//! The data types of §1.5, read from and written to bytes.

use crate::error::{DecodeError, EncodeError};
use crate::packet_id::PacketId;

/// The largest value of a variable byte integer.
pub(crate) const MAX_VARINT: u32 = 268_435_455;

/// Reads fields off the front of a packet's body. All it gives borrows from the packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// The end of a packet that has no payload.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A variable byte integer, in as few bytes as it needs `[MQTT-1.5.5-1]`.
    pub(crate) fn varint(&mut self) -> Result<u32, DecodeError> {
        let (value, size) = read_varint(self.rest)?.ok_or(DecodeError::Truncated)?;
        if size != varint_size(value) {
            return Err(DecodeError::VariableInteger);
        }
        self.rest = &self.rest[size..];
        Ok(value)
    }

    #[inline]
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// A string `[MQTT-1.5.4-1]`, `[MQTT-1.5.4-2]`. A byte order mark is kept `[MQTT-1.5.4-3]`.
    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.binary()?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8)?;
        if bytes.contains(&0) { Err(DecodeError::Nul) } else { Ok(text) }
    }

    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16()?).ok_or(DecodeError::PacketId)
    }
}

/// The variable byte integer at the front of `bytes` and the bytes it takes; `None` while its last byte is not there.
pub(crate) fn read_varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= 4 { Err(DecodeError::VariableInteger) } else { Ok(None) }
}

/// How many bytes a variable byte integer takes. `value` is at most [`MAX_VARINT`].
#[inline]
pub(crate) fn varint_size(value: u32) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

/// `length` as a variable byte integer can hold it.
pub(crate) fn check_varint(length: usize) -> Result<u32, EncodeError> {
    u32::try_from(length)
        .ok()
        .filter(|&length| length <= MAX_VARINT)
        .ok_or(EncodeError::VariableInteger(length as u64))
}

/// A variable byte integer, as bytes on the stack.
#[inline]
pub(crate) fn varint_bytes(value: u32) -> ([u8; 4], usize) {
    let mut bytes = [0; 4];
    let size = varint_size(value);
    for (index, byte) in bytes[..size].iter_mut().enumerate() {
        let more = if index + 1 < size { 0x80 } else { 0 };
        *byte = ((value >> (7 * index)) & 0x7f) as u8 | more;
    }
    (bytes, size)
}

#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, value: u32) {
    if value < 0x80 {
        return out.push(value as u8);
    }
    let (bytes, size) = varint_bytes(value);
    out.extend_from_slice(&bytes[..size]);
}

pub(crate) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
    let length = u16::try_from(bytes.len()).map_err(|_| EncodeError::Field(bytes.len()))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Writes a packet whose body is written by `body`: the length goes before it once it is known. On an error `out` is as
/// it was.
pub(crate) fn put_packet(
    out: &mut Vec<u8>,
    first: u8,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    // Most packets that are written this way are shorter than 128 bytes, so that one byte holds the length.
    out.extend_from_slice(&[first, 0]);
    let written = body(out).and_then(|()| check_varint(out.len() - start - 2));
    match written {
        Ok(length) => {
            let (bytes, size) = varint_bytes(length);
            out[start + 1] = bytes[0];
            if size > 1 {
                out.splice(start + 2..start + 2, bytes[1..size].iter().copied());
            }
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}
