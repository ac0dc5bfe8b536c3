//! Frames over a WebSocket with the subprotocol `dovetail.v1`.

use std::io;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::frame::Frame;
use crate::validator::Mode;
use crate::websocket::{Received, WebSocket};

/// What the one watch of a connection is called.
const ID: u64 = 7;

/// A connection with one watch.
pub(super) struct Socket(WebSocket);

impl Socket {
    pub(super) fn open(
        address: SocketAddr,
        filter: &str,
        mode: Mode,
        since: Option<&str>,
    ) -> io::Result<Self> {
        let mut socket = super::websocket(address, "/-/ws", Some("dovetail.v1"))?;
        let mut watch = json!({ "type": "watch", "id": ID, "filter": filter, "mode": super::word(mode) });
        if let Some(since) = since {
            watch["since"] = since.into();
        }
        socket.send_text(&watch.to_string())?;
        Ok(Self(socket))
    }

    pub(super) fn connection(&self) -> &WebSocket {
        &self.0
    }

    /// The next frame of the watch.
    pub(super) fn next(&mut self) -> io::Result<Frame> {
        loop {
            let Received::Text(text) = super::message(&mut self.0)? else {
                panic!("bytes in place of a text")
            };
            let said: Value = serde_json::from_str(&text).map_err(io::Error::other)?;
            match said["type"].as_str() {
                Some("hello" | "bye") => {}
                Some("error") => panic!("the watch is refused: {text}"),
                _ if said["watch"] == ID => {
                    return Ok(Frame::of_json(&text).unwrap_or_else(|error| panic!("{error}")));
                }
                // The watch is agreed to.
                Some("result") if said["id"] == ID => {}
                _ => panic!("of no watch: {text}"),
            }
        }
    }
}
