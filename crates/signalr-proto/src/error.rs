//! Why bytes are not a handshake, a message or a value, and why a reconnect cannot go on.
//!
//! The texts go to the peer, in the answer to a handshake or in a close message, so they name what is wrong with what was sent.

/// Why a connection does not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// No record ended within [`MAX_HANDSHAKE_BYTES`](crate::MAX_HANDSHAKE_BYTES).
    #[error("handshake of more than {limit} bytes")]
    TooLarge {
        /// The most that is accepted, in bytes.
        limit: usize,
    },
    /// The record is no JSON object with `protocol` and `version`.
    #[error("handshake is not a JSON object with a protocol and a version")]
    Malformed,
    /// A protocol that is not spoken here.
    #[error("protocol '{0}' is neither json nor messagepack")]
    Protocol(Box<str>),
    /// A version that is not spoken here.
    #[error("version {version} of protocol '{name}', the newest known is {newest}")]
    Version {
        /// The name of the protocol.
        name: &'static str,
        /// What was asked for.
        version: u32,
        /// The newest that is spoken here.
        newest: u32,
    },
}

/// Why bytes are not a message. Nothing sensible can follow on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The message is larger than the receiver allows.
    #[error("message of more than {limit} bytes")]
    TooLarge {
        /// The most that is accepted, in bytes without the frame.
        limit: usize,
    },
    /// The length before a MessagePack message takes more than five bytes or says more than 2 GiB.
    #[error("malformed length of a message")]
    Length,
    /// A JSON record is not one JSON object.
    #[error("message is not a JSON object")]
    NotJson,
    /// A MessagePack message is not an array that begins with its type.
    #[error("message is not a MessagePack array with a type")]
    NotArray,
    /// Bytes follow the array of a MessagePack message.
    #[error("bytes after the message")]
    Trailing,
    /// A field that this type of message needs is absent.
    #[error("message without {0}")]
    Missing(Field),
    /// A field is not of its type.
    #[error("{0} is not {expected}", expected = .0.expected())]
    Wrong(Field),
    /// More arguments or streams than [`MAX_ARGUMENTS`](crate::MAX_ARGUMENTS), or an id of more than
    /// [`MAX_ID_BYTES`](crate::MAX_ID_BYTES).
    #[error("{0} is more than {limit}", limit = .0.limit())]
    TooMuch(Field),
    /// A completion has a result and an error.
    #[error("completion with a result and an error")]
    ResultAndError,
    /// A value inside is malformed.
    #[error("malformed value: {0}")]
    Value(ValueError),
}

impl From<ValueError> for ProtocolError {
    fn from(error: ValueError) -> Self {
        Self::Value(error)
    }
}

/// A part of a message, called as in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field {
    /// `type`
    Type,
    /// `headers`
    Headers,
    /// `invocationId`
    InvocationId,
    /// `target`
    Target,
    /// `arguments`
    Arguments,
    /// `streamIds`
    StreamIds,
    /// `item`
    Item,
    /// `result`, which in MessagePack follows its kind
    Result,
    /// The kind of a result, 1 to 3, which only MessagePack has
    ResultKind,
    /// `error`
    Error,
    /// `allowReconnect`
    AllowReconnect,
    /// `sequenceId`
    SequenceId,
}

impl Field {
    fn expected(self) -> &'static str {
        match self {
            Self::Type => "an integer",
            Self::Headers => "a map of strings",
            Self::InvocationId | Self::Target | Self::Error => "a string",
            Self::Arguments => "an array",
            Self::StreamIds => "an array of strings",
            Self::Item | Self::Result => "a value",
            Self::ResultKind => "1, 2 or 3",
            Self::AllowReconnect => "a boolean",
            Self::SequenceId => "an unsigned integer",
        }
    }

    fn limit(self) -> usize {
        match self {
            Self::Arguments | Self::StreamIds => crate::MAX_ARGUMENTS,
            _ => crate::MAX_ID_BYTES,
        }
    }
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Type => "type",
            Self::Headers => "headers",
            Self::InvocationId => "invocationId",
            Self::Target => "target",
            Self::Arguments => "arguments",
            Self::StreamIds => "streamIds",
            Self::Item => "item",
            Self::Result => "result",
            Self::ResultKind => "kind of result",
            Self::Error => "error",
            Self::AllowReconnect => "allowReconnect",
            Self::SequenceId => "sequenceId",
        })
    }
}

/// Why a value is malformed, or has no form in the other protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Not one JSON value.
    #[error("invalid JSON")]
    Json,
    /// A MessagePack value announces more than the message holds.
    #[error("MessagePack value is longer than its message")]
    Truncated,
    /// The byte 0xc1, which MessagePack never uses.
    #[error("MessagePack byte 0xc1")]
    Reserved,
    /// A string is not UTF-8.
    #[error("string that is not UTF-8")]
    Utf8,
    /// Arrays and maps within each other, more than [`MAX_DEPTH`](crate::MAX_DEPTH).
    #[error("more than {limit} arrays and maps within each other", limit = crate::MAX_DEPTH)]
    Depth,
    /// A key of a MessagePack map is neither a string nor an integer.
    #[error("key of a map is neither a string nor an integer")]
    Key,
    /// A MessagePack extension other than the timestamp.
    #[error("MessagePack extension {0}")]
    Extension(i8),
    /// A MessagePack timestamp of a wrong size or of a year that RFC 3339 cannot write.
    #[error("invalid MessagePack timestamp")]
    Timestamp,
}

/// Why a stateful reconnect cannot go on: messages would be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SequenceError {
    /// The peer acknowledges what was never sent.
    #[error("ack of {acked}, {sent} were sent")]
    AckAhead {
        /// What the peer acknowledged.
        acked: u64,
        /// The number of the last message sent.
        sent: u64,
    },
    /// The peer goes on at a message beyond the next one: those between are lost.
    #[error("sequence begins at {begins}, {received} were received")]
    Gap {
        /// Where the peer goes on.
        begins: u64,
        /// The number of the last message received.
        received: u64,
    },
    /// Messages are numbered from 1.
    #[error("sequence begins at 0")]
    Zero,
}
