//! Messages as JSON objects (§JSON Encoding).
//!
//! Members come in any order, so all of them are taken as raw text first and read when the type is known. That also lets types
//! that are not known pass by, whatever their members hold. As in ASP.NET Core, `null` is as good as absent, except where it is
//! a value, and so is an invocation id of no characters.

use crate::error::{Field, ProtocolError};
use crate::message::{MAX_ARGUMENTS, MAX_ID_BYTES, Message, Outcome, kind};
use crate::value::Value;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Reads a record; `None` if its type is unknown.
pub(crate) fn decode(record: &[u8]) -> Result<Option<Message>, ProtocolError> {
    let object = object(record).ok_or(ProtocolError::NotJson)?;
    let record: Record<'_> = serde_json::from_str(object).map_err(|_| ProtocolError::NotJson)?;
    record.read()
}

/// The text of a record that begins as a JSON object does. (The derived readers would take an array for an object.)
pub(crate) fn object(record: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(record).ok()?;
    text.trim_ascii_start().starts_with('{').then_some(text)
}

/// Appends a JSON string.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain..index]);
        plain = index + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[hex(byte >> 4), hex(byte & 0xf)]);
            }
        }
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
}

/// Appends a member that is not the first one. `name` needs no escapes.
pub(crate) fn put_member(out: &mut Vec<u8>, name: &str, text: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    put_string(out, text);
}

fn hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    invocation_id: Option<&'a RawValue>,
    #[serde(borrow)]
    target: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    stream_ids: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    item: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    allow_reconnect: Option<&'a RawValue>,
    #[serde(borrow)]
    sequence_id: Option<&'a RawValue>,
}

/// A member of which `null` is a value.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

impl Record<'_> {
    fn read(self) -> Result<Option<Message>, ProtocolError> {
        let kind: i64 = required(self.kind, Field::Type)?;
        let Ok(kind) = u64::try_from(kind) else {
            return Ok(None);
        };
        Ok(Some(match kind {
            kind::INVOCATION => Message::Invocation {
                id: self.optional_id()?,
                target: self.target()?,
                arguments: self.arguments()?,
                streams: self.streams()?,
            },
            kind::STREAM_INVOCATION => Message::StreamInvocation {
                id: self.id()?,
                target: self.target()?,
                arguments: self.arguments()?,
                streams: self.streams()?,
            },
            kind::STREAM_ITEM => Message::StreamItem {
                id: self.id()?,
                item: Value::of_raw(self.item.ok_or(ProtocolError::Missing(Field::Item))?)?,
            },
            kind::COMPLETION => Message::Completion { id: self.id()?, result: self.outcome()? },
            kind::CANCEL_INVOCATION => Message::CancelInvocation { id: self.id()? },
            kind::PING => Message::Ping,
            kind::CLOSE => Message::Close {
                error: optional(self.error, Field::Error)?,
                allow_reconnect: optional(self.allow_reconnect, Field::AllowReconnect)?.unwrap_or(false),
            },
            kind::ACK => Message::Ack { sequence: self.sequence()? },
            kind::SEQUENCE => Message::Sequence { sequence: self.sequence()? },
            _ => return Ok(None),
        }))
    }

    fn optional_id(&self) -> Result<Option<Box<str>>, ProtocolError> {
        let id: Option<Box<str>> = optional(self.invocation_id, Field::InvocationId)?;
        id.filter(|id| !id.is_empty()).map(|id| checked_id(id, Field::InvocationId)).transpose()
    }

    fn id(&self) -> Result<Box<str>, ProtocolError> {
        self.optional_id()?.ok_or(ProtocolError::Missing(Field::InvocationId))
    }

    fn target(&self) -> Result<Box<str>, ProtocolError> {
        required(self.target, Field::Target)
    }

    fn arguments(&self) -> Result<Vec<Value>, ProtocolError> {
        let raw: Vec<&RawValue> = required(self.arguments, Field::Arguments)?;
        if raw.len() > MAX_ARGUMENTS {
            return Err(ProtocolError::TooMuch(Field::Arguments));
        }
        raw.into_iter().map(|raw| Value::of_raw(raw).map_err(ProtocolError::from)).collect()
    }

    fn streams(&self) -> Result<Vec<Box<str>>, ProtocolError> {
        let ids: Vec<Box<str>> = optional(self.stream_ids, Field::StreamIds)?.unwrap_or_default();
        if ids.len() > MAX_ARGUMENTS {
            return Err(ProtocolError::TooMuch(Field::StreamIds));
        }
        ids.into_iter().map(|id| checked_id(id, Field::StreamIds)).collect()
    }

    fn outcome(&self) -> Result<Outcome, ProtocolError> {
        let error = optional(self.error, Field::Error)?;
        match (self.result, error) {
            (None, None) => Ok(Outcome::Void),
            (Some(result), None) => Ok(Outcome::Value(Value::of_raw(result)?)),
            (None, Some(error)) => Ok(Outcome::Error(error)),
            (Some(_), Some(_)) => Err(ProtocolError::ResultAndError),
        }
    }

    fn sequence(&self) -> Result<u64, ProtocolError> {
        required(self.sequence_id, Field::SequenceId)
    }
}

/// An id that is not longer than it may be.
fn checked_id(id: Box<str>, field: Field) -> Result<Box<str>, ProtocolError> {
    if id.len() > MAX_ID_BYTES { Err(ProtocolError::TooMuch(field)) } else { Ok(id) }
}

fn required<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, field: Field) -> Result<T, ProtocolError> {
    optional(raw, field)?.ok_or(ProtocolError::Missing(field))
}

fn optional<'a, T: Deserialize<'a>>(
    raw: Option<&'a RawValue>,
    field: Field,
) -> Result<Option<T>, ProtocolError> {
    raw.map(|raw| serde_json::from_str(raw.get()).map_err(|_| ProtocolError::Wrong(field))).transpose()
}
