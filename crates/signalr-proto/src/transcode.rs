//! The two forms of a value.
//!
//! JSON has fewer types, so going there and back changes some values; [`Value`] says how. Going from JSON to MessagePack and
//! back changes only numbers that are neither 64-bit integers nor floats, and halves of surrogate pairs.

use crate::error::ValueError;
use crate::json;
use crate::lexer::{self, Lexeme, Lexer};
use crate::pack::{self, Reader, TIMESTAMP, Token};
use crate::value::{MAX_DEPTH, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use std::fmt;
use std::io::Write as _;

/// Appends the JSON value `json` as MessagePack, integers and the heads of arrays, maps and strings as short as can be.
///
/// Whatever is valid JSON has a form, of any depth, since it may be what others stored: half of a surrogate pair becomes
/// U+FFFD, and a number beyond all floats infinite, as it is for JavaScript.
///
/// # Errors
/// It is not one JSON value; `out` is as it was.
pub fn to_messagepack(json: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let text = std::str::from_utf8(json).map_err(|_| ValueError::Utf8)?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| ValueError::Json)?;
    put_messagepack(text, out);
    Ok(())
}

/// Appends valid JSON as MessagePack.
pub(crate) fn put_messagepack(text: &str, out: &mut Vec<u8>) {
    let mut counts = counts(text).into_iter();
    // Each array and object has a count, in the order in which they begin.
    let mut next = || counts.next().unwrap_or_default() as usize;
    for lexeme in Lexer::new(text) {
        match lexeme {
            Lexeme::OpenArray => pack::put_array(out, next()),
            Lexeme::OpenObject => pack::put_map(out, next()),
            Lexeme::String(inner) if inner.contains('\\') => pack::put_str(out, &lexer::unescape(inner)),
            Lexeme::String(inner) => pack::put_str(out, inner),
            Lexeme::Word("null") => pack::put_nil(out),
            Lexeme::Word("true") => pack::put_bool(out, true),
            Lexeme::Word("false") => pack::put_bool(out, false),
            Lexeme::Word(number) => put_number(out, number),
            Lexeme::Close | Lexeme::Comma | Lexeme::Colon => {}
        }
    }
}

/// How many elements or members each array and object has. They are counted before anything is written, because MessagePack
/// wants to know first, and moving what was written would take time by the square of its size.
fn counts(text: &str) -> Vec<u32> {
    let (mut counts, mut open) = (Vec::new(), Vec::new());
    let mut is_empty = false;
    for lexeme in Lexer::new(text) {
        match lexeme {
            Lexeme::OpenArray | Lexeme::OpenObject => {
                open.push(counts.len());
                counts.push(0);
            }
            Lexeme::Comma => {
                if let Some(&innermost) = open.last() {
                    counts[innermost] += 1;
                }
            }
            Lexeme::Close => {
                if let Some(innermost) = open.pop() {
                    counts[innermost] += u32::from(!is_empty);
                }
            }
            Lexeme::Colon | Lexeme::String(_) | Lexeme::Word(_) => {}
        }
        is_empty = matches!(lexeme, Lexeme::OpenArray | Lexeme::OpenObject);
    }
    counts
}

fn put_number(out: &mut Vec<u8>, number: &str) {
    // Minus zero is a float, as integers have none.
    match (number.parse(), number.parse()) {
        (Ok(value), _) => pack::put_unsigned(out, value),
        (_, Ok(value)) if value != 0 => pack::put_signed(out, value),
        _ => pack::put_f64(out, number.parse().unwrap_or_default()),
    }
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
