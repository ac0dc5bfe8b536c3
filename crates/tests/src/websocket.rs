//! A small blocking WebSocket client (RFC 6455) that can also misbehave: what it sends is whole frames or any bytes.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::http::{Answer, Http};

/// The first byte of a whole text.
pub const TEXT: u8 = 0x81;
/// The first byte of whole bytes.
pub const BINARY: u8 = 0x82;
/// The first byte of a text that goes on.
pub const TEXT_BEGIN: u8 = 0x01;
/// The first byte of a part in the middle of a message.
pub const CONTINUE: u8 = 0x00;
/// The first byte of the last part of a message.
pub const CONTINUE_LAST: u8 = 0x80;
/// The first byte of a close frame.
pub const CLOSE: u8 = 0x88;
/// The first byte of a ping.
pub const PING: u8 = 0x89;
/// The first byte of a pong.
pub const PONG: u8 = 0x8a;

/// In place of a length: it is in so many more bytes.
const TWO_BYTES: u8 = 0x7e;
const EIGHT_BYTES: u8 = 0x7f;
/// Frames that are longer are the server's mistake.
const FRAME_BYTES: usize = 64 << 20;
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What answers the key in the standard's own example (§1.3).
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x5a, 0xa5, 0x0f, 0xf0];

/// One connection.
#[derive(Debug)]
pub struct WebSocket {
    stream: BufReader<TcpStream>,
}

/// What the server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// A ping; it is for the test to answer.
    Ping(Vec<u8>),
    /// An answer to a ping.
    Pong(Vec<u8>),
    /// The end: its code and reason.
    Close(Option<u16>, String),
}

/// A handshake that did not lead to a WebSocket.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It was answered otherwise.
    #[error("the handshake was answered {}: {}", .0.status, .0.text())]
    Answered(Box<Answer>),
    /// It was not answered.
    #[error("the handshake was not answered")]
    Io(#[from] io::Error),
}

impl WebSocket {
    /// Connects and offers `subprotocol`, with further header fields if there are some.
    pub fn connect(
        address: SocketAddr,
        path: &str,
        subprotocol: Option<&str>,
        more: &[(&str, &str)],
    ) -> Result<Self, Refused> {
        let mut http = Http::connect(address)?;
        let mut headers = vec![
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        headers.extend(subprotocol.map(|name| ("sec-websocket-protocol", name)));
        headers.extend(more);
        let answer = http.request("GET", path, &headers, None)?;
        if answer.status != 101 {
            return Err(Refused::Answered(Box::new(answer)));
        }
        assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
        assert_eq!(answer.header("sec-websocket-protocol"), subprotocol);
        Ok(Self { stream: http.into_stream() })
    }

    /// Sends a text in one frame.
    pub fn send_text(&mut self, text: &str) -> io::Result<()> {
        self.send(TEXT, text.as_bytes())
    }

    /// Sends one frame with this first byte, masked as it has to be.
    pub fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        self.send_raw(&frame(first, payload))
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The next thing that the server sends.
    ///
    /// # Errors
    /// `WouldBlock` or `TimedOut` when nothing comes in time, `UnexpectedEof` at the end of the connection.
    pub fn receive(&mut self) -> io::Result<Received> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let [first, short] = head;
        assert_eq!(short & 0x80, 0, "a server masks nothing");
        let length = match short {
            TWO_BYTES => {
                let mut bytes = [0; 2];
                self.stream.read_exact(&mut bytes)?;
                usize::from(u16::from_be_bytes(bytes))
            }
            EIGHT_BYTES => {
                let mut bytes = [0; 8];
                self.stream.read_exact(&mut bytes)?;
                usize::try_from(u64::from_be_bytes(bytes)).unwrap()
            }
            short => usize::from(short),
        };
        assert!(length <= FRAME_BYTES, "a frame of {length} bytes");
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        Ok(match first {
            TEXT => Received::Text(String::from_utf8(payload).unwrap()),
            BINARY => Received::Binary(payload),
            PING => Received::Ping(payload),
            PONG => Received::Pong(payload),
            CLOSE => match payload.split_first_chunk() {
                Some((code, reason)) => Received::Close(
                    Some(u16::from_be_bytes(*code)),
                    String::from_utf8(reason.to_vec()).unwrap(),
                ),
                None => Received::Close(None, String::new()),
            },
            other => panic!("a frame that begins with {other:#x}"),
        })
    }

    /// The next text.
    pub fn text(&mut self) -> io::Result<String> {
        match self.receive()? {
            Received::Text(text) => Ok(text),
            other => Err(io::Error::other(format!("{other:?} in place of a text"))),
        }
    }

    /// The next text, as JSON.
    pub fn json(&mut self) -> io::Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.text()?)?)
    }

    /// Reads until the server closes the WebSocket, and says with which code. A connection that ends without a close frame
    /// is an error.
    pub fn close_code(&mut self) -> io::Result<Option<u16>> {
        loop {
            if let Received::Close(code, _) = self.receive()? {
                return Ok(code);
            }
        }
    }

    /// Sets how long [`Self::receive`] waits.
    pub fn patience(&self, patience: Duration) -> io::Result<()> {
        self.socket().set_read_timeout(Some(patience))
    }

    /// The connection itself.
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}

/// A frame of a client with this first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0x80 | TWO_BYTES);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | EIGHT_BYTES);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_in_the_standard() {
        assert_eq!(frame(TEXT, b"")[..2], [0x81, 0x80]);
        assert_eq!(frame(BINARY, &[0; 126])[..4], [0x82, 0xfe, 0, 126]);
        assert_eq!(frame(BINARY, &vec![0; 65_536])[..10], [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(frame(TEXT, &[0x5a, 0xa5, 0x0f, 0xf0, 0x5a])[6..], [0; 5]);
    }
}
