//! The messages of the hub protocol.

use crate::value::Value;

/// The most arguments of an invocation, and the most streams that go with it. Hub methods have a handful; without a limit the
/// parts of a message would take many times its size.
pub const MAX_ARGUMENTS: usize = 256;
/// The longest id of an invocation or a stream, in bytes. Clients count, or send a UUID.
pub const MAX_ID_BYTES: usize = 128;

/// In which form messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// JSON records, each ended by the byte 0x1e.
    Json,
    /// MessagePack arrays, each behind its length.
    MessagePack,
}

impl Protocol {
    /// The protocol of this name in a handshake, compared without case as ASP.NET Core does.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Json, Self::MessagePack].into_iter().find(|known| known.name().eq_ignore_ascii_case(name))
    }

    /// Its name in a handshake.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::MessagePack => "messagepack",
        }
    }

    /// Whether its messages need a transport for binary data.
    pub fn is_binary(self) -> bool {
        self == Self::MessagePack
    }
}

/// A message of the hub protocol. Headers are read over, as the specification defines none.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Calls a method that gives one result or none.
    Invocation {
        /// By which the completion names it; without one no completion may be sent.
        id: Option<Box<str>>,
        /// The method.
        target: Box<str>,
        /// What it is given.
        arguments: Vec<Value>,
        /// Ids of the streams that the caller will send for it.
        streams: Vec<Box<str>>,
    },
    /// Calls a method that gives a stream.
    StreamInvocation {
        /// By which items and completion name it.
        id: Box<str>,
        /// The method.
        target: Box<str>,
        /// What it is given.
        arguments: Vec<Value>,
        /// Ids of the streams that the caller will send for it.
        streams: Vec<Box<str>>,
    },
    /// An item of a stream, in either direction.
    StreamItem {
        /// The stream invocation, or the stream of the caller.
        id: Box<str>,
        /// The item.
        item: Value,
    },
    /// The end of an invocation or of a stream.
    Completion {
        /// The invocation, or the stream of the caller.
        id: Box<str>,
        /// How it ended.
        result: Outcome,
    },
    /// The caller wants no more of an invocation.
    CancelInvocation {
        /// The invocation.
        id: Box<str>,
    },
    /// The sender is alive.
    Ping,
    /// The sender is about to close the connection.
    Close {
        /// Why, if something went wrong.
        error: Option<String>,
        /// Whether a client that reconnects by itself should.
        allow_reconnect: bool,
    },
    /// Stateful reconnect: everything up to this message was received.
    Ack {
        /// The number of the message.
        sequence: u64,
    },
    /// Stateful reconnect: the first message of a new connection, which says where the sender goes on.
    Sequence {
        /// The number of the next message.
        sequence: u64,
    },
}

impl Message {
    /// Whether stateful reconnect numbers it, so that it is sent again if it was lost (§Trackable messages).
    pub fn is_sequenced(&self) -> bool {
        match self {
            Self::Invocation { .. }
            | Self::StreamInvocation { .. }
            | Self::StreamItem { .. }
            | Self::Completion { .. }
            | Self::CancelInvocation { .. } => true,
            Self::Ping | Self::Close { .. } | Self::Ack { .. } | Self::Sequence { .. } => false,
        }
    }
}

/// How an invocation or a stream ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Well, with nothing to tell.
    Void,
    /// Well, with this result.
    Value(Value),
    /// Not well.
    Error(String),
}

/// The numbers of the message types, the same in both protocols.
pub(crate) mod kind {
    pub(crate) const INVOCATION: u64 = 1;
    pub(crate) const STREAM_ITEM: u64 = 2;
    pub(crate) const COMPLETION: u64 = 3;
    pub(crate) const STREAM_INVOCATION: u64 = 4;
    pub(crate) const CANCEL_INVOCATION: u64 = 5;
    pub(crate) const PING: u64 = 6;
    pub(crate) const CLOSE: u64 = 7;
    pub(crate) const ACK: u64 = 8;
    pub(crate) const SEQUENCE: u64 = 9;
}

/// The kinds of result of a MessagePack completion.
pub(crate) mod result_kind {
    pub(crate) const ERROR: u64 = 1;
    pub(crate) const VOID: u64 = 2;
    pub(crate) const VALUE: u64 = 3;
}
