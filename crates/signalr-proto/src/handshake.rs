//! The first record in each direction. It is JSON, whatever follows.

use crate::error::HandshakeError;
use crate::message::Protocol;
use crate::{RECORD_SEPARATOR, json};
use serde::Deserialize;
use std::borrow::Cow;

/// The largest handshake, in bytes. Clients send about fifty.
pub const MAX_HANDSHAKE_BYTES: usize = 4096;

/// The newest version of both protocols. Version 2 is version 1 with `Ack` and `Sequence`; old clients say 0 for 1.
const NEWEST: u32 = 2;
/// The longest unknown name that is told back, in characters.
const NAME_SHOWN: usize = 40;

/// What the client wants to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeRequest {
    /// The form of its messages.
    pub protocol: Protocol,
    /// Its version, 0 to 2. The messages of all of them can be told apart, so nothing hangs on it.
    pub version: u32,
}

/// Reads the handshake at the front of `input`, and says how many bytes it took; `None` when more are needed.
///
/// # Errors
/// This is no handshake, or not one for us. The answer is [`handshake_response`] with the text of the error, and the end of the
/// connection.
pub fn handshake(input: &[u8]) -> Result<Option<(HandshakeRequest, usize)>, HandshakeError> {
    let within = &input[..input.len().min(MAX_HANDSHAKE_BYTES)];
    let Some(end) = within.iter().position(|&byte| byte == RECORD_SEPARATOR) else {
        return if input.len() < MAX_HANDSHAKE_BYTES {
            Ok(None)
        } else {
            Err(HandshakeError::TooLarge { limit: MAX_HANDSHAKE_BYTES })
        };
    };
    Ok(Some((read(&within[..end])?, end + 1)))
}

/// Appends the answer: nothing but an agreement, or why there is none.
pub fn handshake_response(out: &mut Vec<u8>, error: Option<&str>) {
    match error {
        None => out.extend_from_slice(b"{}"),
        Some(error) => {
            out.extend_from_slice(b"{\"error\":");
            json::put_string(out, error);
            out.push(b'}');
        }
    }
    out.push(RECORD_SEPARATOR);
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    protocol: Cow<'a, str>,
    version: u32,
}

fn read(record: &[u8]) -> Result<HandshakeRequest, HandshakeError> {
    let object = json::object(record).ok_or(HandshakeError::Malformed)?;
    let Request { protocol: name, version } =
        serde_json::from_str(object).map_err(|_| HandshakeError::Malformed)?;
    let Some(protocol) = Protocol::from_name(&name) else {
        return Err(HandshakeError::Protocol(name.chars().take(NAME_SHOWN).collect()));
    };
    if version > NEWEST {
        return Err(HandshakeError::Version { name: protocol.name(), version, newest: NEWEST });
    }
    Ok(HandshakeRequest { protocol, version })
}
