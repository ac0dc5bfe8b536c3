//! Writes messages, each behind its frame.
//!
//! Values are given in the form of the protocol: JSON text, or MessagePack as [`to_messagepack`](crate::to_messagepack) makes it.
//! They are not looked at. A JSON value must not contain the byte 0x1e, which JSON never does.

use crate::message::{self, Message, Protocol, kind, result_kind};
use crate::transcode::put_messagepack;
use crate::value::Value;
use crate::{RECORD_SEPARATOR, json, pack};

/// How an invocation or a stream ended, with the value in the form of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Well, with nothing to tell.
    Void,
    /// Well, with this result.
    Value(&'a [u8]),
    /// Not well.
    Error(&'a str),
}

/// Calls a method of the peer, which answers only if there is an `id`.
pub fn invocation(
    protocol: Protocol,
    out: &mut Vec<u8>,
    id: Option<&str>,
    target: &str,
    arguments: &[&[u8]],
) {
    call(protocol, out, kind::INVOCATION, id, target, Parts { arguments, streams: &[] });
}

/// An item of a stream.
pub fn stream_item(protocol: Protocol, out: &mut Vec<u8>, id: &str, item: &[u8]) {
    match protocol {
        Protocol::Json => record(out, kind::STREAM_ITEM, |out| {
            json::put_member(out, "invocationId", id);
            out.extend_from_slice(b",\"item\":");
            out.extend_from_slice(item);
        }),
        Protocol::MessagePack => array(out, 4, kind::STREAM_ITEM, |out| {
            pack::put_map(out, 0);
            pack::put_str(out, id);
            out.extend_from_slice(item);
        }),
    }
}

/// The end of an invocation or of a stream.
pub fn completion(protocol: Protocol, out: &mut Vec<u8>, id: &str, outcome: Outcome<'_>) {
    match protocol {
        Protocol::Json => record(out, kind::COMPLETION, |out| {
            json::put_member(out, "invocationId", id);
            match outcome {
                Outcome::Void => {}
                Outcome::Value(value) => {
                    out.extend_from_slice(b",\"result\":");
                    out.extend_from_slice(value);
                }
                Outcome::Error(error) => json::put_member(out, "error", error),
            }
        }),
        Protocol::MessagePack => {
            let items = if outcome == Outcome::Void { 4 } else { 5 };
            array(out, items, kind::COMPLETION, |out| {
                pack::put_map(out, 0);
                pack::put_str(out, id);
                match outcome {
                    Outcome::Void => pack::put_unsigned(out, result_kind::VOID),
                    Outcome::Value(value) => {
                        pack::put_unsigned(out, result_kind::VALUE);
                        out.extend_from_slice(value);
                    }
                    Outcome::Error(error) => {
                        pack::put_unsigned(out, result_kind::ERROR);
                        pack::put_str(out, error);
                    }
                }
            });
        }
    }
}

/// The sender is alive.
pub fn ping(protocol: Protocol, out: &mut Vec<u8>) {
    match protocol {
        Protocol::Json => record(out, kind::PING, |_| {}),
        Protocol::MessagePack => array(out, 1, kind::PING, |_| {}),
    }
}

/// The sender is about to close the connection.
pub fn close(protocol: Protocol, out: &mut Vec<u8>, error: Option<&str>, allow_reconnect: bool) {
    match protocol {
        Protocol::Json => record(out, kind::CLOSE, |out| {
            if let Some(error) = error {
                json::put_member(out, "error", error);
            }
            if allow_reconnect {
                out.extend_from_slice(b",\"allowReconnect\":true");
            }
        }),
        Protocol::MessagePack => array(out, 3, kind::CLOSE, |out| {
            match error {
                None => pack::put_nil(out),
                Some(error) => pack::put_str(out, error),
            }
            pack::put_bool(out, allow_reconnect);
        }),
    }
}

/// Everything up to the message of this number was received.
pub fn ack(protocol: Protocol, out: &mut Vec<u8>, sequence: u64) {
    numbered(protocol, out, kind::ACK, sequence);
}

/// The sender goes on with the message of this number.
pub fn sequence(protocol: Protocol, out: &mut Vec<u8>, sequence: u64) {
    numbered(protocol, out, kind::SEQUENCE, sequence);
}

/// Any message, as a client would write it. Its values are brought into the form of the protocol.
pub fn message(protocol: Protocol, out: &mut Vec<u8>, message: &Message) {
    match message {
        Message::Invocation { id, target, arguments, streams } => {
            let arguments = values(protocol, arguments);
            let parts = Parts { arguments: &slices(&arguments), streams };
            call(protocol, out, kind::INVOCATION, id.as_deref(), target, parts);
        }
        Message::StreamInvocation { id, target, arguments, streams } => {
            let arguments = values(protocol, arguments);
            let parts = Parts { arguments: &slices(&arguments), streams };
            call(protocol, out, kind::STREAM_INVOCATION, Some(id), target, parts);
        }
        Message::StreamItem { id, item } => stream_item(protocol, out, id, &value(protocol, item)),
        Message::Completion { id, result } => match result {
            message::Outcome::Void => completion(protocol, out, id, Outcome::Void),
            message::Outcome::Value(result) => {
                completion(protocol, out, id, Outcome::Value(&value(protocol, result)));
            }
            message::Outcome::Error(error) => completion(protocol, out, id, Outcome::Error(error)),
        },
        Message::CancelInvocation { id } => match protocol {
            Protocol::Json => {
                record(out, kind::CANCEL_INVOCATION, |out| json::put_member(out, "invocationId", id));
            }
            Protocol::MessagePack => array(out, 3, kind::CANCEL_INVOCATION, |out| {
                pack::put_map(out, 0);
                pack::put_str(out, id);
            }),
        },
        Message::Ping => ping(protocol, out),
        Message::Close { error, allow_reconnect } => close(protocol, out, error.as_deref(), *allow_reconnect),
        Message::Ack { sequence } => ack(protocol, out, *sequence),
        Message::Sequence { sequence: number } => sequence(protocol, out, *number),
    }
}

#[derive(Clone, Copy)]
struct Parts<'a> {
    arguments: &'a [&'a [u8]],
    streams: &'a [Box<str>],
}

/// An invocation or a stream invocation.
fn call(protocol: Protocol, out: &mut Vec<u8>, kind: u64, id: Option<&str>, target: &str, parts: Parts<'_>) {
    match protocol {
        Protocol::Json => record(out, kind, |out| {
            if let Some(id) = id {
                json::put_member(out, "invocationId", id);
            }
            json::put_member(out, "target", target);
            out.extend_from_slice(b",\"arguments\":[");
            for (index, argument) in parts.arguments.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(argument);
            }
            out.push(b']');
            if !parts.streams.is_empty() {
                out.extend_from_slice(b",\"streamIds\":[");
                for (index, stream) in parts.streams.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    json::put_string(out, stream);
                }
                out.push(b']');
            }
        }),
        Protocol::MessagePack => array(out, 6, kind, |out| {
            pack::put_map(out, 0);
            match id {
                None => pack::put_nil(out),
                Some(id) => pack::put_str(out, id),
            }
            pack::put_str(out, target);
            pack::put_array(out, parts.arguments.len());
            for argument in parts.arguments {
                out.extend_from_slice(argument);
            }
            pack::put_array(out, parts.streams.len());
            for stream in parts.streams {
                pack::put_str(out, stream);
            }
        }),
    }
}

fn numbered(protocol: Protocol, out: &mut Vec<u8>, kind: u64, sequence: u64) {
    match protocol {
        Protocol::Json => record(out, kind, |out| {
            out.extend_from_slice(b",\"sequenceId\":");
            out.extend_from_slice(sequence.to_string().as_bytes());
        }),
        Protocol::MessagePack => array(out, 2, kind, |out| pack::put_unsigned(out, sequence)),
    }
}

/// A JSON record; `members` writes what follows the type, each with the comma before it.
fn record(out: &mut Vec<u8>, kind: u64, members: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"type\":");
    // All types have one digit.
    out.push(b'0' + kind as u8);
    members(out);
    out.extend_from_slice(&[b'}', RECORD_SEPARATOR]);
}

/// A MessagePack array behind its length; `rest` writes what follows the type.
fn array(out: &mut Vec<u8>, items: usize, kind: u64, rest: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    // The length is known afterwards. Most messages are shorter than 128 bytes, so that one byte holds it.
    out.push(0);
    pack::put_array(out, items);
    pack::put_unsigned(out, kind);
    rest(out);
    pack::set_length(out, start);
}

/// A value in the form of the protocol.
fn value(protocol: Protocol, value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.as_str().len());
    match protocol {
        Protocol::Json => out.extend_from_slice(value.as_str().as_bytes()),
        Protocol::MessagePack => put_messagepack(value.as_str(), &mut out),
    }
    out
}

fn values(protocol: Protocol, all: &[Value]) -> Vec<Vec<u8>> {
    all.iter().map(|one| value(protocol, one)).collect()
}

fn slices(values: &[Vec<u8>]) -> Vec<&[u8]> {
    values.iter().map(Vec::as_slice).collect()
}
