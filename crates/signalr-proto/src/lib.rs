//! ASP.NET Core SignalR without I/O: no socket, no clock, no other Dovetail crate.
//!
//! What a server needs to speak to the clients that exist: the handshake, and the hub protocol in both of its forms. A
//! [`Protocol`] is a value, and above the codec nobody needs to know it: arguments come as JSON, whichever form they had.
//!
//! * [`handshake()`] reads the first record of a connection, [`handshake_response`] answers it.
//! * A [`Decoder`] cuts a stream of bytes into messages and validates them. Nothing is allocated ahead of bytes received.
//! * [`encode`] writes messages, each behind its frame. Values are given in the form of the protocol, so that a value for many
//!   connections is made once for each form; [`to_messagepack`] makes the second form of the first.
//! * [`Outbox`] and [`Inbox`] are what *stateful reconnect* asks of the two directions: each message once and in order, though
//!   the connection below was replaced.
//!
//! The specification is `HubProtocol.md` of ASP.NET Core, cited by the titles of its sections. It leaves some things open, and
//! in others the clients differ from it; there the clients are followed, and the comment says so.

pub mod encode;

mod decoder;
mod error;
mod handshake;
mod json;
mod lexer;
mod message;
mod messagepack;
mod pack;
mod reconnect;
mod transcode;
mod value;

pub use decoder::Decoder;
pub use error::{Field, HandshakeError, ProtocolError, SequenceError, ValueError};
pub use handshake::{HandshakeRequest, MAX_HANDSHAKE_BYTES, handshake, handshake_response};
pub use message::{MAX_ARGUMENTS, MAX_ID_BYTES, Message, Outcome, Protocol};
pub use reconnect::{Inbox, Outbox};
pub use transcode::to_messagepack;
pub use value::{MAX_DEPTH, Value};

/// Ends each JSON record, and both messages of the handshake.
const RECORD_SEPARATOR: u8 = 0x1e;
