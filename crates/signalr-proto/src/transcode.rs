//! The two forms of a value.
//!
//! JSON has fewer types, so going there and back changes some values; [`Value`] says how. Going from JSON to MessagePack and
//! back changes none but numbers: an integer beyond 64 bits becomes the nearest float.

use crate::error::ValueError;
use crate::json;
use crate::pack::{self, Head, Reader, TIMESTAMP, Token};
use crate::value::{MAX_DEPTH, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::io::Write as _;

/// Appends the JSON value `json` as MessagePack, integers and the heads of arrays, maps and strings as short as can be.
///
/// # Errors
/// It is not one JSON value, or nested deeper than [`MAX_DEPTH`]; `out` is as it was.
pub fn to_messagepack(json: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let start = out.len();
    let text = std::str::from_utf8(json).map_err(|_| ValueError::Utf8)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut too_deep = false;
    let written = Pack { out: &mut *out, depth: 0, too_deep: &mut too_deep }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    if written.is_err() {
        out.truncate(start);
        return Err(if too_deep { ValueError::Depth } else { ValueError::Json });
    }
    Ok(())
}

/// Reads one MessagePack value as JSON. The text is at most six times as long as the value, for `false` and for control
/// characters.
pub(crate) fn to_json(reader: &mut Reader<'_>) -> Result<Value, ValueError> {
    let mut out = Vec::new();
    put_json(reader, &mut out, 0)?;
    String::from_utf8(out).map(Value::of_valid).map_err(|_| ValueError::Utf8)
}

fn put_json(reader: &mut Reader<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), ValueError> {
    match reader.token()? {
        Token::Array(count) => {
            let depth = deeper(depth)?;
            out.push(b'[');
            for index in 0..count {
                if index > 0 {
                    out.push(b',');
                }
                put_json(reader, out, depth)?;
            }
            out.push(b']');
        }
        Token::Map(count) => {
            let depth = deeper(depth)?;
            out.push(b'{');
            for index in 0..count {
                if index > 0 {
                    out.push(b',');
                }
                put_key(reader.token()?, out)?;
                out.push(b':');
                put_json(reader, out, depth)?;
            }
            out.push(b'}');
        }
        scalar => put_scalar(scalar, out)?,
    }
    Ok(())
}

fn deeper(depth: usize) -> Result<usize, ValueError> {
    if depth == MAX_DEPTH { Err(ValueError::Depth) } else { Ok(depth + 1) }
}

fn put_key(token: Token<'_>, out: &mut Vec<u8>) -> Result<(), ValueError> {
    match token {
        Token::Str(key) => json::put_string(out, key),
        Token::Unsigned(_) | Token::Signed(_) => {
            out.push(b'"');
            put_scalar(token, out)?;
            out.push(b'"');
        }
        _ => return Err(ValueError::Key),
    }
    Ok(())
}

fn put_scalar(token: Token<'_>, out: &mut Vec<u8>) -> Result<(), ValueError> {
    match token {
        Token::Nil => out.extend_from_slice(b"null"),
        Token::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Token::Unsigned(value) => put_display(out, value),
        Token::Signed(value) => put_display(out, value),
        // The fewest digits that give the same float of the same width.
        Token::F32(value) => put_float(out, value.is_finite(), value),
        Token::F64(value) => put_float(out, value.is_finite(), value),
        Token::Str(text) => json::put_string(out, text),
        Token::Bin(bytes) => {
            out.push(b'"');
            out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            out.push(b'"');
        }
        Token::Ext(TIMESTAMP, bytes) => {
            out.push(b'"');
            put_timestamp(out, bytes)?;
            out.push(b'"');
        }
        Token::Ext(kind, _) => return Err(ValueError::Extension(kind)),
        // The caller takes these apart.
        Token::Array(_) | Token::Map(_) => return Err(ValueError::Key),
    }
    Ok(())
}

fn put_display(out: &mut Vec<u8>, value: impl fmt::Display) {
    write!(out, "{value}").expect("writing to memory does not fail");
}

/// `Debug` of a float is what JSON allows: the digits, and an exponent where it is shorter.
fn put_float(out: &mut Vec<u8>, is_finite: bool, value: impl fmt::Debug) {
    if is_finite {
        write!(out, "{value:?}").expect("writing to memory does not fail");
    } else {
        out.extend_from_slice(b"null");
    }
}

/// The seconds of the years 0 to 9999, which RFC 3339 can write.
const YEARS: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

/// A timestamp in one of its three sizes: 32 bits of seconds; 30 of nanoseconds and 34 of seconds; 32 of nanoseconds and 64 of
/// signed seconds. The nanoseconds always count forward.
fn put_timestamp(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), ValueError> {
    let (seconds, nanoseconds) = match bytes.len() {
        4 => (big_endian(bytes), 0),
        8 => (big_endian(bytes) & 0x3_ffff_ffff, big_endian(bytes) >> 34),
        12 => (big_endian(&bytes[4..]), big_endian(&bytes[..4])),
        _ => return Err(ValueError::Timestamp),
    };
    let seconds = seconds.cast_signed();
    if nanoseconds >= 1_000_000_000 || !YEARS.contains(&seconds) {
        return Err(ValueError::Timestamp);
    }
    let (year, month, day) = date(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    put_display(out, format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"));
    if nanoseconds > 0 {
        let digits = format!(".{nanoseconds:09}");
        out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
    }
    out.push(b'Z');
    Ok(())
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar of all times.
fn date(days: i64) -> (i64, i64, i64) {
    // Years are taken to begin in March, so that the day of a leap year is the last one, and days to be counted from
    // 0000-03-01. 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on, five months have 153 days, twice in a year.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month, day)
}

/// Writes what a JSON reader tells as MessagePack.
struct Pack<'a> {
    out: &'a mut Vec<u8>,
    depth: usize,
    /// Set when the error is that of depth, which the reader's error type could only say in words.
    too_deep: &'a mut bool,
}

impl Pack<'_> {
    fn inner(&mut self) -> Pack<'_> {
        Pack { out: self.out, depth: self.depth, too_deep: self.too_deep }
    }

    fn enter<E: de::Error>(&mut self) -> Result<usize, E> {
        if self.depth == MAX_DEPTH {
            *self.too_deep = true;
            return Err(E::custom("depth"));
        }
        self.depth += 1;
        // Room for the head, of which the count comes at the end.
        self.out.push(0);
        Ok(self.out.len() - 1)
    }
}

impl<'de> DeserializeSeed<'de> for Pack<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pack<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        pack::put_nil(self.out);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        pack::put_bool(self.out, value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        pack::put_unsigned(self.out, value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        pack::put_signed(self.out, value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        pack::put_f64(self.out, value);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        pack::put_str(self.out, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let start = self.enter()?;
        let mut count = 0;
        while items.next_element_seed(self.inner())?.is_some() {
            count += 1;
        }
        Head::ARRAY.set(self.out, start, count);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let start = self.enter()?;
        let mut count = 0;
        while members.next_key_seed(self.inner())?.is_some() {
            members.next_value_seed(self.inner())?;
            count += 1;
        }
        Head::MAP.set(self.out, start, count);
        Ok(())
    }
}
