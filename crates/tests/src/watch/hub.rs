//! Frames as the items of a stream of a SignalR hub, over a WebSocket.
//!
//! The two hub protocols are written down here once more, as far as a watch needs them; MessagePack is read by a library.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::frame::Frame;
use crate::validator::Mode;
use crate::websocket::{BINARY, Received, WebSocket};

/// What ends a message in JSON, and the handshake in both protocols.
const RECORD_END: char = '\u{1e}';
const PING: u64 = 6;
const STREAM_ITEM: u64 = 2;
const COMPLETION: u64 = 3;
const STREAM_INVOCATION: u64 = 4;
const CLOSE: u64 = 7;

/// Which hub protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HubProtocol {
    /// Text.
    Json,
    /// Bytes.
    MessagePack,
}

/// A connection with one stream.
pub(super) struct Hub {
    socket: WebSocket,
    protocol: HubProtocol,
    frames: VecDeque<Frame>,
}

impl Hub {
    pub(super) fn open(
        address: SocketAddr,
        protocol: HubProtocol,
        filter: &str,
        mode: Mode,
        since: Option<&str>,
    ) -> io::Result<Self> {
        let mut socket = super::websocket(address, "/-/signalr", None)?;
        let name = if protocol == HubProtocol::Json { "json" } else { "messagepack" };
        let handshake = format!("{}{RECORD_END}", json!({ "protocol": name, "version": 1 }));
        let mut options = json!({ "mode": super::word(mode) });
        if let Some(since) = since {
            options["since"] = since.into();
        }
        if protocol == HubProtocol::Json {
            socket.send_text(&handshake)?;
            let watch = json!({
                "type": STREAM_INVOCATION, "invocationId": "w", "target": "Watch", "arguments": [filter, options],
            });
            socket.send_text(&format!("{watch}{RECORD_END}"))?;
        } else {
            socket.send(BINARY, handshake.as_bytes())?;
            let watch = json!([STREAM_INVOCATION, {}, "w", "Watch", [filter, options], []]);
            socket.send(BINARY, &packed(&watch))?;
        }
        let mut hub = Self { socket, protocol, frames: VecDeque::new() };
        let answer = match super::message(&mut hub.socket)? {
            Received::Binary(bytes) => bytes,
            Received::Text(text) => text.into_bytes(),
            other => panic!("{other:?} in place of the answer to the handshake"),
        };
        // The first items may come with it.
        let items = answer.strip_prefix(format!("{{}}{RECORD_END}").as_bytes());
        let refused = || io::Error::other(format!("refused: {}", String::from_utf8_lossy(&answer)));
        hub.take_all(items.ok_or_else(refused)?)?;
        Ok(hub)
    }

    pub(super) fn connection(&self) -> &WebSocket {
        &self.socket
    }

    /// The next frame of the stream.
    pub(super) fn next(&mut self) -> io::Result<Frame> {
        while self.frames.is_empty() {
            match super::message(&mut self.socket)? {
                Received::Text(text) if self.protocol == HubProtocol::Json => {
                    self.take_all(text.as_bytes())?;
                }
                Received::Binary(bytes) if self.protocol == HubProtocol::MessagePack => {
                    self.take_all(&bytes)?;
                }
                other => panic!("a message of the other protocol: {other:?}"),
            }
        }
        self.frames.pop_front().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Takes whole messages of the hub protocol.
    fn take_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.protocol == HubProtocol::MessagePack {
            return unpacked(bytes).iter().try_for_each(|said| self.take(said[0].as_u64(), &said[3], said));
        }
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        for record in text.split_terminator(RECORD_END) {
            let said: Value = serde_json::from_str(record).map_err(io::Error::other)?;
            self.take(said["type"].as_u64(), &said["item"], &said)?;
        }
        assert!(text.is_empty() || text.ends_with(RECORD_END), "half a record: {text}");
        Ok(())
    }

    fn take(&mut self, kind: Option<u64>, item: &Value, said: &Value) -> io::Result<()> {
        match kind {
            Some(STREAM_ITEM) => {
                let frame = Frame::of_json(&item.to_string()).unwrap_or_else(|error| panic!("{error}"));
                self.frames.push_back(frame);
                Ok(())
            }
            // Who says nothing for long is taken for gone.
            Some(PING) if self.protocol == HubProtocol::Json => {
                self.socket.send_text(&format!("{}{RECORD_END}", json!({ "type": PING })))
            }
            Some(PING) => self.socket.send(BINARY, &packed(&json!([PING]))),
            Some(CLOSE | COMPLETION) => Err(io::Error::other(format!("the stream ended: {said}"))),
            _ => panic!("of no stream: {said}"),
        }
    }
}

/// A message in MessagePack, with its length before it.
fn packed(message: &Value) -> Vec<u8> {
    let mut body = Vec::new();
    rmpv::encode::write_value(&mut body, &to_pack(message)).unwrap();
    let mut framed = Vec::new();
    let mut length = body.len();
    while length >= 0x80 {
        framed.push((length as u8 & 0x7f) | 0x80);
        length >>= 7;
    }
    framed.push(length as u8);
    framed.extend_from_slice(&body);
    framed
}

/// The messages that lie one behind the other, each with its length before it.
fn unpacked(mut bytes: &[u8]) -> Vec<Value> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let (mut length, mut shift) = (0, 0);
        loop {
            let (&byte, rest) = bytes.split_first().expect("a length that is cut");
            bytes = rest;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (mut body, rest) = bytes.split_at(length);
        messages.push(of_pack(&rmpv::decode::read_value(&mut body).unwrap()));
        assert!(body.is_empty(), "a message that is longer than what is in it");
        bytes = rest;
    }
    messages
}

fn to_pack(value: &Value) -> rmpv::Value {
    match value {
        Value::Null => rmpv::Value::Nil,
        Value::Bool(is) => (*is).into(),
        Value::Number(number) => number.as_u64().expect("a small number").into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => rmpv::Value::Array(items.iter().map(to_pack).collect()),
        Value::Object(members) => rmpv::Value::Map(
            members.iter().map(|(name, value)| (name.as_str().into(), to_pack(value))).collect(),
        ),
    }
}

fn of_pack(value: &rmpv::Value) -> Value {
    match value {
        rmpv::Value::Nil => Value::Null,
        rmpv::Value::Boolean(is) => (*is).into(),
        rmpv::Value::Integer(number) => {
            number.as_u64().map_or_else(|| json!(number.as_i64()), |number| json!(number))
        }
        rmpv::Value::F32(number) => json!(number),
        rmpv::Value::F64(number) => json!(number),
        rmpv::Value::String(text) => text.as_str().expect("UTF-8").into(),
        rmpv::Value::Array(items) => items.iter().map(of_pack).collect(),
        rmpv::Value::Map(members) => {
            let name = |name: &rmpv::Value| name.as_str().expect("a text as a name").to_owned();
            Value::Object(members.iter().map(|(key, value)| (name(key), of_pack(value))).collect())
        }
        other => panic!("not in the contract: {other}"),
    }
}
