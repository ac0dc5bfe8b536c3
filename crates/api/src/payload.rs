//! How the bytes of a payload stand in JSON, and how they come back exactly.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

use crate::text::string;

/// Deeper values are shown as text: parsers of clients have limits, and one value must not make a
/// whole document unreadable to them.
const INLINE_DEPTH: usize = 64;

/// Whether a content type says JSON: `application/json`, `text/json` or any type with the suffix
/// `+json` (RFC 6839 §3.1); parameters do not matter.
pub(crate) fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim_end();
    let ends_with = |suffix: &str| {
        media_type.len() > suffix.len()
            && media_type
                .as_bytes()
                .get(media_type.len() - suffix.len()..)
                .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()))
    };
    ends_with("/json") || ends_with("+json")
}

/// Appends the members that carry `payload`, each preceded by a comma.
pub(crate) fn write(out: &mut Vec<u8>, content_type: Option<&str>, payload: &[u8]) {
    let is_json = content_type.is_some_and(is_json);
    match if is_json { inline(payload) } else { None } {
        Some(Inline::Exact(value)) => {
            out.extend_from_slice(b",\"value\":");
            out.extend_from_slice(value.as_bytes());
        }
        Some(Inline::Reflowed(value)) => {
            out.extend_from_slice(b",\"value\":");
            out.extend(value.bytes().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { b }));
            write_bytes(out, payload);
        }
        None => write_bytes(out, payload),
    }
}

fn write_bytes(out: &mut Vec<u8>, payload: &[u8]) {
    if let Ok(text) = std::str::from_utf8(payload) {
        out.extend_from_slice(b",\"text\":");
        string(out, text);
    } else {
        out.extend_from_slice(b",\"base64\":\"");
        let at = out.len();
        out.resize(at + payload.len().div_ceil(3) * 4, 0);
        // The slice is as long as the encoding, so this cannot fail; were it to, the zeros would
        // be no base64 and no client would take them for data.
        let _ = STANDARD.encode_slice(payload, &mut out[at..]);
        out.push(b'"');
    }
}

enum Inline<'a> {
    /// The characters of the value are the payload.
    Exact(&'a str),
    /// The value has line breaks inside or whitespace around it.
    Reflowed(&'a str),
}

fn inline(payload: &[u8]) -> Option<Inline<'_>> {
    let value = serde_json::from_slice::<&RawValue>(payload).ok()?.get();
    let shape = Shape::of(value);
    if shape.depth > INLINE_DEPTH
        || shape.is_suspect && serde_json::from_str::<serde_json::Value>(value).is_err()
    {
        return None;
    }
    let is_exact = !shape.has_breaks && value.len() == payload.len();
    Some(if is_exact { Inline::Exact(value) } else { Inline::Reflowed(value) })
}

/// What one pass over the characters of a valid JSON value tells.
#[derive(Default)]
struct Shape {
    depth: usize,
    has_breaks: bool,
    /// It has escapes or numbers that are right by the grammar and that parsers may still refuse:
    /// halves of surrogate pairs, numbers beyond a double.
    is_suspect: bool,
}

impl Shape {
    fn of(value: &str) -> Self {
        const MANY_DIGITS: usize = 300;
        let mut shape = Self::default();
        let (mut depth, mut in_string, mut escaped, mut digits) = (0usize, false, false, 0usize);
        for (at, byte) in value.bytes().enumerate() {
            if in_string {
                if escaped {
                    let is_high = value.as_bytes().get(at + 1).is_some_and(|b| matches!(b, b'd' | b'D'));
                    shape.is_suspect |= byte == b'u' && is_high;
                    escaped = false;
                } else if byte == b'\\' {
                    escaped = true;
                } else if byte == b'"' {
                    in_string = false;
                }
                continue;
            }
            match byte {
                b'"' => in_string = true,
                b'[' | b'{' => {
                    depth += 1;
                    shape.depth = shape.depth.max(depth);
                }
                b']' | b'}' => depth -= 1,
                b'\n' | b'\r' => shape.has_breaks = true,
                b'e' | b'E' => shape.is_suspect |= digits > 0,
                _ => {}
            }
            digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
            shape.is_suspect |= digits > MANY_DIGITS;
        }
        shape
    }
}

/// The payload that `value`, `text` and `base64` say; `None` where `base64` is none.
pub(crate) fn read(
    value: Option<&RawValue>,
    text: Option<Cow<'_, str>>,
    base64: Option<&str>,
) -> Option<Bytes> {
    match (text, base64, value) {
        (Some(text), _, _) => Some(Bytes::copy_from_slice(text.as_bytes())),
        (None, Some(base64), _) => STANDARD.decode(base64).ok().map(Bytes::from),
        (None, None, Some(value)) => Some(Bytes::copy_from_slice(value.get().as_bytes())),
        (None, None, None) => Some(Bytes::new()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;

    #[test]
    fn knows_json_types() {
        for yes in [
            "application/json",
            "APPLICATION/JSON; charset=utf-8",
            "application/merge-patch+json",
            "text/json",
        ] {
            assert!(is_json(yes), "{yes}");
        }
        for no in ["json", "/json", "", "text/plain", "application/jsonx", "application/x-ndjson", "+json"] {
            assert!(!is_json(no), "{no}");
        }
    }

    fn shown(content_type: &str, payload: &[u8]) -> String {
        let mut out = Vec::new();
        write(&mut out, Some(content_type), payload);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn shows_each_kind_of_payload_in_its_way() {
        let json = "application/json";
        assert_eq!(shown(json, b"{\"a\": 1}"), ",\"value\":{\"a\": 1}");
        assert_eq!(shown(json, b"{\n\"a\":1}\n"), ",\"value\":{ \"a\":1},\"text\":\"{\\n\\\"a\\\":1}\\n\"");
        assert_eq!(shown(json, b"{\"a\":"), ",\"text\":\"{\\\"a\\\":\"");
        assert_eq!(shown(json, b"\xff"), ",\"base64\":\"/w==\"");
        assert_eq!(shown("text/plain", b"{}"), ",\"text\":\"{}\"");
        assert_eq!(shown("text/plain", b""), ",\"text\":\"\"");
    }

    #[test]
    fn a_value_too_deep_for_parsers_is_text() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(shown("application/json", nested(INLINE_DEPTH).as_bytes()).starts_with(",\"value\":"));
        assert!(shown("application/json", nested(INLINE_DEPTH + 1).as_bytes()).starts_with(",\"text\":"));
        let brackets_in_a_string = format!("\"\\\"{}\"", "[".repeat(100));
        assert!(shown("application/json", brackets_in_a_string.as_bytes()).starts_with(",\"value\":"));
    }

    #[test]
    fn a_value_that_parsers_refuse_is_text() {
        for refused in
            [r#""\ud800""#.to_owned(), r#"{"\uDC00":1}"#.to_owned(), "1e999".to_owned(), "9".repeat(400)]
        {
            let json = shown("application/json", refused.as_bytes());
            assert!(json.starts_with(",\"text\":"), "{json}");
        }
        for taken in [r#""\ud83d\ude00""#, "[1e9, 2.5E-3, true, false]", r#""\\ud800""#] {
            let json = shown("application/json", taken.as_bytes());
            assert!(json.starts_with(",\"value\":"), "{json}");
        }
    }
}
