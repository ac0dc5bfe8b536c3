//! Why bytes are not a packet, why a packet cannot be written, and which rule a peer broke.

use crate::kind::Kind;
use crate::reason::ReasonCode;

/// Why bytes are not a valid packet. [`DecodeError::reason`] says which code MQTT 5 answers it with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A length or number of variable size takes more than four bytes, or more than it needs `[MQTT-1.5.5-1]`.
    #[error("malformed variable byte integer")]
    VariableInteger,
    /// The packet is larger than the receiver allows.
    #[error("packet of {size} bytes, limit {limit}")]
    TooLarge {
        /// Bytes of the whole packet.
        size: u64,
        /// The most that is accepted.
        limit: u32,
    },
    /// Packet type 0 is reserved.
    #[error("reserved packet type")]
    PacketType,
    /// The low bits of the first byte are not what the packet type wants `[MQTT-2.1.3-1]`.
    #[error("reserved flags of {0}")]
    Flags(Kind),
    /// The packet does not exist in this version, goes the other way, or comes too early.
    #[error("unexpected {0}")]
    Unexpected(Kind),
    /// The packet ends within a field.
    #[error("packet ends within a field")]
    Truncated,
    /// There are bytes after the last field.
    #[error("bytes after the last field")]
    Trailing,
    /// A string is not UTF-8 `[MQTT-1.5.4-1]`.
    #[error("string that is not UTF-8")]
    Utf8,
    /// A string contains U+0000 `[MQTT-1.5.4-2]`.
    #[error("string with U+0000")]
    Nul,
    /// The protocol name is not one of MQTT's `[MQTT-3.1.2-1]`.
    #[error("unknown protocol name")]
    ProtocolName,
    /// The protocol level is not spoken here `[MQTT-3.1.2-2]`.
    #[error("protocol level {0}")]
    ProtocolLevel(u8),
    /// CONNECT flags contradict each other or use the reserved bit `[MQTT-3.1.2-3]`, `[MQTT-3.1.2-11]` and following.
    #[error("contradictory connect flags")]
    ConnectFlags,
    /// A `QoS` of 3 `[MQTT-3.3.1-4]`.
    #[error("QoS 3")]
    Qos,
    /// DUP on a message with `QoS` 0 `[MQTT-3.3.1-2]`.
    #[error("DUP with QoS 0")]
    Dup,
    /// A packet id of zero `[MQTT-2.2.1-3]`.
    #[error("packet id 0")]
    PacketId,
    /// A topic with a wildcard `[MQTT-3.3.2-2]`, or empty where it may not be.
    #[error("invalid topic")]
    Topic,
    /// An empty topic without a topic alias (§3.3.2.1).
    #[error("neither topic nor topic alias")]
    NoTopic,
    /// A response topic with a wildcard `[MQTT-3.3.2-14]`.
    #[error("invalid response topic")]
    ResponseTopic,
    /// An ill-formed filter `[MQTT-4.7.1-1]`, `[MQTT-4.7.1-2]`, `[MQTT-4.8.2-1]`.
    #[error("invalid topic filter")]
    Filter,
    /// A number that is no property.
    #[error("unknown property {0:#04x}")]
    UnknownProperty(u32),
    /// A property that this packet does not have (§2.2.2.2).
    #[error("misplaced property {0:#04x}")]
    MisplacedProperty(u8),
    /// A property twice that may be there once.
    #[error("repeated property {0:#04x}")]
    RepeatedProperty(u8),
    /// A value that the property may not have.
    #[error("invalid value of property {0:#04x}")]
    PropertyValue(u8),
    /// A topic alias of zero `[MQTT-3.3.2-8]`.
    #[error("topic alias 0")]
    TopicAlias,
    /// Authentication data without a method (§3.1.2.11.10).
    #[error("authentication data without a method")]
    AuthenticationMethod,
    /// SUBSCRIBE or UNSUBSCRIBE without a filter `[MQTT-3.8.3-2]`, `[MQTT-3.10.3-2]`.
    #[error("no topic filter")]
    NoFilter,
    /// Reserved bits in the options of a subscription `[MQTT-3.8.3-5]`.
    #[error("reserved subscription options")]
    SubscribeOptions,
    /// A `QoS` of 3 or a retain handling of 3 in a subscription (§3.8.3.1).
    #[error("invalid subscription options")]
    SubscribeValue,
    /// No Local on a shared subscription `[MQTT-3.8.3-4]`.
    #[error("no local on a shared subscription")]
    SharedNoLocal,
    /// A reason code that is unknown or that this packet may not have.
    #[error("invalid reason code {0:#04x}")]
    Reason(u8),
    /// CONNACK flags that are reserved, or *session present* with a refusal `[MQTT-3.2.2-6]`.
    #[error("invalid acknowledge flags")]
    AckFlags,
}

impl DecodeError {
    /// The reason code with which MQTT 5 answers this error (§4.13).
    pub fn reason(self) -> ReasonCode {
        match self {
            Self::VariableInteger
            | Self::PacketType
            | Self::Flags(_)
            | Self::Truncated
            | Self::Trailing
            | Self::Utf8
            | Self::Nul
            | Self::ConnectFlags
            | Self::Qos
            | Self::Dup
            | Self::UnknownProperty(_)
            | Self::MisplacedProperty(_)
            | Self::SubscribeOptions
            | Self::Reason(_) => ReasonCode::MalformedPacket,
            Self::Unexpected(_)
            | Self::PacketId
            | Self::NoTopic
            | Self::ResponseTopic
            | Self::RepeatedProperty(_)
            | Self::PropertyValue(_)
            | Self::AuthenticationMethod
            | Self::NoFilter
            | Self::SubscribeValue
            | Self::SharedNoLocal
            | Self::AckFlags => ReasonCode::ProtocolError,
            Self::TooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::ProtocolName | Self::ProtocolLevel(_) => ReasonCode::UnsupportedProtocolVersion,
            Self::Topic => ReasonCode::TopicNameInvalid,
            Self::Filter => ReasonCode::TopicFilterInvalid,
            Self::TopicAlias => ReasonCode::TopicAliasInvalid,
        }
    }
}

/// Why a packet cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary field is longer than 65,535 bytes.
    #[error("field of {0} bytes, limit 65535")]
    Field(usize),
    /// A string contains U+0000 `[MQTT-1.5.4-2]`.
    #[error("string with U+0000")]
    Nul,
    /// A number does not fit in a variable byte integer, or the whole packet is longer than one can say.
    #[error("{0} is more than a variable byte integer holds")]
    VariableInteger(u64),
}

/// Which rule a peer broke with a packet that is well-formed in itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The bytes are not a packet.
    #[error("invalid packet")]
    Decode(#[from] DecodeError),
    /// A second CONNECT `[MQTT-3.1.0-2]`.
    #[error("second CONNECT")]
    SecondConnect,
    /// A client id of no bytes with a session to keep (3.1.1 `[MQTT-3.1.3-8]`).
    #[error("empty client id without clean session")]
    NoClientId,
    /// More unacknowledged messages than the receive maximum `[MQTT-3.3.4-7]`.
    #[error("receive maximum of {0} exceeded")]
    ReceiveMaximum(u16),
    /// A topic alias above the maximum `[MQTT-3.3.2-9]`, or one that was never given a topic.
    #[error("topic alias {0} unknown or above the maximum")]
    TopicAlias(u16),
    /// A new message with a packet id that is still in use `[MQTT-2.2.1-3]`.
    #[error("packet id {0} in use")]
    PacketIdInUse(u16),
    /// A subscription identifier on a message from a client `[MQTT-3.3.4-6]`.
    #[error("subscription identifier on a message from a client")]
    SubscriptionIdentifier,
    /// An acknowledgement of another kind than the message needs.
    #[error("wrong acknowledgement for packet id {0}")]
    WrongAck(u16),
    /// DISCONNECT that gives a session expiry to a session that had none (§3.14.2.2.2).
    #[error("session expiry raised from zero by DISCONNECT")]
    SessionExpiry,
    /// AUTH without an authentication method in CONNECT `[MQTT-4.12.0-7]`.
    #[error("AUTH without authentication method")]
    Auth,
}

impl Violation {
    /// The reason code with which MQTT 5 answers it.
    pub fn reason(self) -> ReasonCode {
        match self {
            Self::Decode(error) => error.reason(),
            Self::SecondConnect
            | Self::PacketIdInUse(_)
            | Self::SubscriptionIdentifier
            | Self::WrongAck(_)
            | Self::SessionExpiry
            | Self::Auth => ReasonCode::ProtocolError,
            Self::NoClientId => ReasonCode::ClientIdentifierNotValid,
            Self::ReceiveMaximum(_) => ReasonCode::ReceiveMaximumExceeded,
            Self::TopicAlias(_) => ReasonCode::TopicAliasInvalid,
        }
    }
}
