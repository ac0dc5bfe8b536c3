//! MessagePack, read from and written to bytes.
//!
//! By hand, because what matters here is what a general library leaves to its caller: a length is believed only if the bytes
//! are there, and what is read borrows from the message.

use crate::error::ValueError;

/// The extension type of a timestamp.
pub(crate) const TIMESTAMP: i8 = -1;

/// What comes next in a message. Of arrays and maps only the head, which counts what follows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Token<'a> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    /// A negative number.
    Signed(i64),
    F32(f32),
    F64(f64),
    Str(&'a str),
    Bin(&'a [u8]),
    /// This many values follow.
    Array(usize),
    /// This many pairs of values follow.
    Map(usize),
    Ext(i8, &'a [u8]),
}

/// Reads tokens off the front of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next token. The head of an array or a map is only given if as many values as it counts can follow.
    pub(crate) fn token(&mut self) -> Result<Token<'a>, ValueError> {
        let [first] = self.array()?;
        Ok(match first {
            0x00..=0x7f => Token::Unsigned(u64::from(first)),
            0x80..=0x8f => self.map(usize::from(first & 0x0f))?,
            0x90..=0x9f => self.elements(usize::from(first & 0x0f))?,
            0xa0..=0xbf => self.str(usize::from(first & 0x1f))?,
            0xc0 => Token::Nil,
            0xc1 => return Err(ValueError::Reserved),
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xc4..=0xc6 => {
                let length = self.length(first - 0xc4)?;
                Token::Bin(self.take(length)?)
            }
            0xc7..=0xc9 => {
                let length = self.length(first - 0xc7)?;
                self.ext(length)?
            }
            0xca => Token::F32(f32::from_be_bytes(self.array()?)),
            0xcb => Token::F64(f64::from_be_bytes(self.array()?)),
            0xcc => Token::Unsigned(u64::from(u8::from_be_bytes(self.array()?))),
            0xcd => Token::Unsigned(u64::from(u16::from_be_bytes(self.array()?))),
            0xce => Token::Unsigned(u64::from(u32::from_be_bytes(self.array()?))),
            0xcf => Token::Unsigned(u64::from_be_bytes(self.array()?)),
            0xd0 => signed(i64::from(i8::from_be_bytes(self.array()?))),
            0xd1 => signed(i64::from(i16::from_be_bytes(self.array()?))),
            0xd2 => signed(i64::from(i32::from_be_bytes(self.array()?))),
            0xd3 => signed(i64::from_be_bytes(self.array()?)),
            0xd4..=0xd8 => self.ext(1 << (first - 0xd4))?,
            0xd9..=0xdb => {
                let length = self.length(first - 0xd9)?;
                self.str(length)?
            }
            0xdc | 0xdd => {
                let count = self.length(first - 0xdc + 1)?;
                self.elements(count)?
            }
            0xde | 0xdf => {
                let count = self.length(first - 0xde + 1)?;
                self.map(count)?
            }
            0xe0..=0xff => Token::Signed(i64::from(first.cast_signed())),
        })
    }

    /// Reads over one value, of any depth: what is left of it is a count.
    pub(crate) fn skip(&mut self) -> Result<(), ValueError> {
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            // Each count is at most the bytes of the message, so the sum of all is far from overflowing.
            left += match self.token()? {
                Token::Array(count) => count,
                Token::Map(count) => 2 * count,
                _ => 0,
            };
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], ValueError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ValueError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(ValueError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A length in one, two or four bytes, as `size` says: 0, 1 or 2.
    fn length(&mut self, size: u8) -> Result<usize, ValueError> {
        Ok(match size {
            0 => usize::from(u8::from_be_bytes(self.array()?)),
            1 => usize::from(u16::from_be_bytes(self.array()?)),
            _ => u32::from_be_bytes(self.array()?) as usize,
        })
    }

    fn str(&mut self, length: usize) -> Result<Token<'a>, ValueError> {
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(Token::Str).map_err(|_| ValueError::Utf8)
    }

    fn ext(&mut self, length: usize) -> Result<Token<'a>, ValueError> {
        let [kind] = self.array()?;
        Ok(Token::Ext(kind.cast_signed(), self.take(length)?))
    }

    fn elements(&self, count: usize) -> Result<Token<'a>, ValueError> {
        if count > self.rest.len() { Err(ValueError::Truncated) } else { Ok(Token::Array(count)) }
    }

    fn map(&self, count: usize) -> Result<Token<'a>, ValueError> {
        if count > self.rest.len() / 2 { Err(ValueError::Truncated) } else { Ok(Token::Map(count)) }
    }
}

/// A number in a signed format, which some encoders use for positive ones too.
fn signed<'a>(value: i64) -> Token<'a> {
    u64::try_from(value).map_or(Token::Signed(value), Token::Unsigned)
}

pub(crate) fn put_nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

pub(crate) fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xc3 } else { 0xc2 });
}

pub(crate) fn put_unsigned(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0x7f => out.push(value as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
        0x100..=0xffff => put(out, 0xcd, (value as u16).to_be_bytes()),
        0x1_0000..=0xffff_ffff => put(out, 0xce, (value as u32).to_be_bytes()),
        _ => put(out, 0xcf, value.to_be_bytes()),
    }
}

pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    match value {
        0.. => put_unsigned(out, value.cast_unsigned()),
        -32..0 => out.push(value as u8),
        -0x80..-32 => out.extend_from_slice(&[0xd0, value as u8]),
        -0x8000..-0x80 => put(out, 0xd1, (value as i16).to_be_bytes()),
        -0x8000_0000..-0x8000 => put(out, 0xd2, (value as i32).to_be_bytes()),
        _ => put(out, 0xd3, value.to_be_bytes()),
    }
}

pub(crate) fn put_f64(out: &mut Vec<u8>, value: f64) {
    put(out, 0xcb, value.to_be_bytes());
}

pub(crate) fn put_str(out: &mut Vec<u8>, text: &str) {
    let length = text.len();
    match length {
        0..=31 => out.push(0xa0 | length as u8),
        32..=0xff => out.extend_from_slice(&[0xd9, length as u8]),
        0x100..=0xffff => put(out, 0xda, (length as u16).to_be_bytes()),
        _ => put(out, 0xdb, (length as u32).to_be_bytes()),
    }
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_array(out: &mut Vec<u8>, count: usize) {
    match count {
        0..=15 => out.push(0x90 | count as u8),
        16..=0xffff => put(out, 0xdc, (count as u16).to_be_bytes()),
        _ => put(out, 0xdd, (count as u32).to_be_bytes()),
    }
}

pub(crate) fn put_map(out: &mut Vec<u8>, count: usize) {
    match count {
        0..=15 => out.push(0x80 | count as u8),
        16..=0xffff => put(out, 0xde, (count as u16).to_be_bytes()),
        _ => put(out, 0xdf, (count as u32).to_be_bytes()),
    }
}

/// Puts the length of the message that follows into the one byte at `start`, which was left for it (§Binary encoding).
pub(crate) fn set_length(out: &mut Vec<u8>, start: usize) {
    let mut rest = out.len() - start - 1;
    let mut bytes = [0; 5];
    let mut size = 0;
    loop {
        bytes[size] = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            break;
        }
        bytes[size] |= 0x80;
        size += 1;
    }
    out.splice(start..=start, bytes[..=size].iter().copied());
}

/// The length at the front of `bytes` and how many bytes it takes; `None` while its last byte is not there. An error if it takes
/// more than five bytes or says more than 2 GiB.
pub(crate) fn read_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, OverlongLength> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return if value > 0x7fff_ffff {
                Err(OverlongLength)
            } else {
                Ok(Some((value as usize, index + 1)))
            };
        }
    }
    if bytes.len() >= 5 { Err(OverlongLength) } else { Ok(None) }
}

/// A length that no message has.
#[derive(Debug)]
pub(crate) struct OverlongLength;

fn put<const N: usize>(out: &mut Vec<u8>, first: u8, bytes: [u8; N]) {
    out.push(first);
    out.extend_from_slice(&bytes);
}
