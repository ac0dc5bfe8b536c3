//! The properties of MQTT 5 (§2.2.2).
//!
//! A packet keeps its properties as the bytes that came, checked once: an unread property costs nothing more, and a
//! message passes through a server verbatim. [`Properties::iter`] and the getters read them.

use crate::error::{DecodeError, EncodeError};
use crate::text::check_text;
use crate::topic::check_topic;
use crate::wire::{self, Reader, put_binary, put_varint};
use bytes::Bytes;

/// Where properties stand; each place has its own set of them (table 2-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the packets' names")]
pub enum Place {
    Connect,
    Will,
    ConnAck,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    Subscribe,
    SubAck,
    Unsubscribe,
    UnsubAck,
    Disconnect,
    Auth,
}

const CONNECT: u16 = 1 << Place::Connect as u8;
const WILL: u16 = 1 << Place::Will as u8;
const CONNACK: u16 = 1 << Place::ConnAck as u8;
const PUBLISH: u16 = 1 << Place::Publish as u8;
const ACKS: u16 = 1 << Place::PubAck as u8
    | 1 << Place::PubRec as u8
    | 1 << Place::PubRel as u8
    | 1 << Place::PubComp as u8
    | 1 << Place::SubAck as u8
    | 1 << Place::UnsubAck as u8;
const SUBSCRIBE: u16 = 1 << Place::Subscribe as u8;
const DISCONNECT: u16 = 1 << Place::Disconnect as u8;
const AUTH: u16 = 1 << Place::Auth as u8;
const EVERYWHERE: u16 = u16::MAX;

/// How a kind of value is read, checked and written.
trait Value<'a>: Sized {
    fn read(reader: &mut Reader<'a>, id: u8) -> Result<Self, DecodeError>;
    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;
}

impl Value<'_> for bool {
    fn read(reader: &mut Reader<'_>, id: u8) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::PropertyValue(id)),
        }
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(u8::from(*self));
        Ok(())
    }
}

impl Value<'_> for u16 {
    fn read(reader: &mut Reader<'_>, id: u8) -> Result<Self, DecodeError> {
        match reader.u16()? {
            0 if id == id::RECEIVE_MAXIMUM => Err(DecodeError::PropertyValue(id)),
            0 if id == id::TOPIC_ALIAS => Err(DecodeError::TopicAlias),
            value => Ok(value),
        }
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&self.to_be_bytes());
        Ok(())
    }
}

impl Value<'_> for u32 {
    fn read(reader: &mut Reader<'_>, id: u8) -> Result<Self, DecodeError> {
        match reader.u32()? {
            0 if id == id::MAXIMUM_PACKET_SIZE => Err(DecodeError::PropertyValue(id)),
            value => Ok(value),
        }
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&self.to_be_bytes());
        Ok(())
    }
}

/// A subscription identifier, 1 to 268,435,455.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identifier(u32);

impl Value<'_> for Identifier {
    fn read(reader: &mut Reader<'_>, id: u8) -> Result<Self, DecodeError> {
        match reader.varint()? {
            0 => Err(DecodeError::PropertyValue(id)),
            value => Ok(Self(value)),
        }
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_varint(out, wire::check_varint(self.0 as usize)?);
        Ok(())
    }
}

impl<'a> Value<'a> for &'a str {
    fn read(reader: &mut Reader<'a>, id: u8) -> Result<Self, DecodeError> {
        let text = reader.text()?;
        if id == id::RESPONSE_TOPIC && check_topic(text).is_err() {
            return Err(DecodeError::ResponseTopic);
        }
        Ok(text)
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        check_text(self)?;
        put_binary(out, self.as_bytes())
    }
}

impl<'a> Value<'a> for &'a [u8] {
    fn read(reader: &mut Reader<'a>, _id: u8) -> Result<Self, DecodeError> {
        reader.binary()
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_binary(out, self)
    }
}

/// One row a property: its name, value, number, places, and whether it may come more than once.
macro_rules! properties {
    ($($(#[$doc:meta])* $name:ident($value:ty) $getter:ident $constant:ident = $id:literal in $places:expr;)*) => {
        mod id {
            $(pub(super) const $constant: u8 = $id;)*
            pub(super) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
            pub(super) const USER_PROPERTY: u8 = 0x26;
        }

        /// One property.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Property<'a> {
            $($(#[$doc])* $name($value),)*
            /// The identifier of a subscription, 1 to 268,435,455 (§3.8.2.1.2).
            SubscriptionIdentifier(u32),
            /// A name and a value of the application's own.
            User(&'a str, &'a str),
        }

        impl<'a> Property<'a> {
            /// The number of this property on the wire.
            pub fn id(&self) -> u8 {
                match self {
                    $(Self::$name(_) => id::$constant,)*
                    Self::SubscriptionIdentifier(_) => id::SUBSCRIPTION_IDENTIFIER,
                    Self::User(..) => id::USER_PROPERTY,
                }
            }

            fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
                let number = reader.varint()?;
                let unknown = DecodeError::UnknownProperty(number);
                let id = u8::try_from(number).map_err(|_| unknown)?;
                Ok(match id {
                    $(id::$constant => Self::$name(Value::read(reader, id)?),)*
                    id::SUBSCRIPTION_IDENTIFIER => Self::SubscriptionIdentifier(Identifier::read(reader, id)?.0),
                    id::USER_PROPERTY => Self::User(reader.text()?, reader.text()?),
                    _ => return Err(unknown),
                })
            }

            fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                out.push(self.id());
                match self {
                    $(Self::$name(value) => value.write(out),)*
                    Self::SubscriptionIdentifier(value) => Identifier(*value).write(out),
                    Self::User(name, value) => name.write(out).and_then(|()| value.write(out)),
                }
            }

            /// The places where it may stand, a bit each.
            fn places(&self) -> u16 {
                match self {
                    $(Self::$name(_) => $places,)*
                    Self::SubscriptionIdentifier(_) => PUBLISH | SUBSCRIBE,
                    Self::User(..) => EVERYWHERE,
                }
            }
        }

        #[expect(clippy::needless_lifetimes, reason = "the type of a row names the lifetime")]
        impl Properties {
            $($(#[$doc])* pub fn $getter<'a>(&'a self) -> Option<$value> {
                self.iter().find_map(|property| match property {
                    Property::$name(value) => Some(value),
                    _ => None,
                })
            })*
        }
    };
}

properties! {
    /// Whether the payload is UTF-8 (§3.3.2.3.2).
    PayloadFormat(bool) payload_format PAYLOAD_FORMAT = 0x01 in PUBLISH | WILL;
    /// Seconds after which the message is worth nothing (§3.3.2.3.3).
    MessageExpiry(u32) message_expiry MESSAGE_EXPIRY = 0x02 in PUBLISH | WILL;
    /// What the payload is (§3.3.2.3.9).
    ContentType(&'a str) content_type CONTENT_TYPE = 0x03 in PUBLISH | WILL;
    /// Where an answer is expected (§3.3.2.3.5).
    ResponseTopic(&'a str) response_topic RESPONSE_TOPIC = 0x08 in PUBLISH | WILL;
    /// By what the asker knows the answer (§3.3.2.3.6).
    CorrelationData(&'a [u8]) correlation_data CORRELATION_DATA = 0x09 in PUBLISH | WILL;
    /// Seconds that the session outlives its connection (§3.1.2.11.2).
    SessionExpiry(u32) session_expiry SESSION_EXPIRY = 0x11 in CONNECT | CONNACK | DISCONNECT;
    /// The client id that the server chose (§3.2.2.3.7).
    AssignedClientId(&'a str) assigned_client_id ASSIGNED_CLIENT_ID = 0x12 in CONNACK;
    /// The keep-alive in seconds that the server wants (§3.2.2.3.14).
    ServerKeepAlive(u16) server_keep_alive SERVER_KEEP_ALIVE = 0x13 in CONNACK;
    /// The name of the authentication method (§3.1.2.11.9).
    AuthenticationMethod(&'a str) authentication_method AUTHENTICATION_METHOD = 0x15 in CONNECT | CONNACK | AUTH;
    /// What the method exchanges (§3.1.2.11.10).
    AuthenticationData(&'a [u8]) authentication_data AUTHENTICATION_DATA = 0x16 in CONNECT | CONNACK | AUTH;
    /// Whether reason strings and user properties may come with any packet (§3.1.2.11.7).
    RequestProblemInformation(bool) request_problem_information REQUEST_PROBLEM_INFORMATION = 0x17 in CONNECT;
    /// Seconds between the end of a connection and its will (§3.1.3.2.2).
    WillDelay(u32) will_delay WILL_DELAY = 0x18 in WILL;
    /// Whether the client asks for response information (§3.1.2.11.6).
    RequestResponseInformation(bool) request_response_information REQUEST_RESPONSE_INFORMATION = 0x19 in CONNECT;
    /// What the client may build response topics from (§3.2.2.3.15).
    ResponseInformation(&'a str) response_information RESPONSE_INFORMATION = 0x1A in CONNACK;
    /// Another server (§3.2.2.3.16).
    ServerReference(&'a str) server_reference SERVER_REFERENCE = 0x1C in CONNACK | DISCONNECT;
    /// Words for people about the reason code (§3.2.2.3.9).
    ReasonString(&'a str) reason_string REASON_STRING = 0x1F in CONNACK | ACKS | DISCONNECT | AUTH;
    /// How many messages with `QoS` 1 and 2 may be unacknowledged, at least 1 (§3.1.2.11.3).
    ReceiveMaximum(u16) receive_maximum RECEIVE_MAXIMUM = 0x21 in CONNECT | CONNACK;
    /// The highest topic alias (§3.1.2.11.5).
    TopicAliasMaximum(u16) topic_alias_maximum TOPIC_ALIAS_MAXIMUM = 0x22 in CONNECT | CONNACK;
    /// A number for the topic, at least 1 (§3.3.2.3.4).
    TopicAlias(u16) topic_alias TOPIC_ALIAS = 0x23 in PUBLISH;
    /// The highest `QoS` of the server, when it is not 2: 0 or 1 (§3.2.2.3.4).
    MaximumQos(bool) maximum_qos MAXIMUM_QOS = 0x24 in CONNACK;
    /// Whether the server has retained messages (§3.2.2.3.5).
    RetainAvailable(bool) retain_available RETAIN_AVAILABLE = 0x25 in CONNACK;
    /// The largest packet in bytes that the sender of this property accepts, at least 1 (§3.1.2.11.4).
    MaximumPacketSize(u32) maximum_packet_size MAXIMUM_PACKET_SIZE = 0x27 in CONNECT | CONNACK;
    /// Whether the server has wildcards (§3.2.2.3.11).
    WildcardAvailable(bool) wildcard_available WILDCARD_AVAILABLE = 0x28 in CONNACK;
    /// Whether the server has subscription identifiers (§3.2.2.3.12).
    SubscriptionIdentifierAvailable(bool) subscription_identifier_available SUBSCRIPTION_IDENTIFIER_AVAILABLE = 0x29 in CONNACK;
    /// Whether the server has shared subscriptions (§3.2.2.3.13).
    SharedAvailable(bool) shared_available SHARED_AVAILABLE = 0x2A in CONNACK;
}

/// The checked properties of one packet, as the bytes that came. Older versions have none.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Properties(Bytes);

impl Properties {
    /// No properties.
    pub const NONE: Self = Self(Bytes::new());

    /// Reads a length and that many bytes of properties from `reader`, which reads in `packet`.
    pub(crate) fn read(reader: &mut Reader<'_>, packet: &Bytes, place: Place) -> Result<Self, DecodeError> {
        let length = reader.varint()? as usize;
        let block = reader.take(length)?;
        if block.is_empty() {
            return Ok(Self::NONE);
        }
        check_block(block, place)?;
        Ok(Self(packet.slice_ref(block)))
    }

    /// Writes length and properties.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_varint(out, wire::check_varint(self.0.len())?);
        out.extend_from_slice(&self.0);
        Ok(())
    }

    /// The properties in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = Property<'_>> {
        let mut reader = Reader::new(&self.0);
        std::iter::from_fn(move || {
            // A block was checked when it was read, or written by `PropertiesBuf`.
            if reader.is_empty() { None } else { Property::read(&mut reader).ok() }
        })
    }

    /// The user properties in their order `[MQTT-3.3.2-18]`.
    pub fn user(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter_map(|property| match property {
            Property::User(name, value) => Some((name, value)),
            _ => None,
        })
    }

    /// The subscription identifiers.
    pub fn subscription_identifiers(&self) -> impl Iterator<Item = u32> {
        self.iter().filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        })
    }

    /// The bytes of the properties, without their length.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Properties {
    /// Authentication data is not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.iter().filter(|property| property.id() != id::AUTHENTICATION_DATA))
            .finish()
    }
}

/// Properties in the making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PropertiesBuf(Vec<u8>);

impl PropertiesBuf {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one. Whether the packet may have it, and how often, is the caller's care.
    ///
    /// # Errors
    /// A string or binary value that is too long, a string with U+0000, an identifier that is too large; then nothing was
    /// added.
    pub fn push(&mut self, property: Property<'_>) -> Result<&mut Self, EncodeError> {
        let before = self.0.len();
        match property.write(&mut self.0) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.0.truncate(before);
                Err(error)
            }
        }
    }

    /// The bytes so far, as [`crate::Frame`] takes extra properties.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Forgets all, keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl From<PropertiesBuf> for Properties {
    fn from(buf: PropertiesBuf) -> Self {
        Self(buf.0.into())
    }
}

/// Checks a whole block: every property known, in its place, at most once unless it may be repeated.
fn check_block(block: &[u8], place: Place) -> Result<(), DecodeError> {
    let mut reader = Reader::new(block);
    let mut seen = 0_u64;
    let place_bit = 1 << place as u8;
    while !reader.is_empty() {
        let property = Property::read(&mut reader)?;
        if property.places() & place_bit == 0 {
            return Err(DecodeError::MisplacedProperty(property.id()));
        }
        let repeatable = match property {
            Property::User(..) => true,
            Property::SubscriptionIdentifier(_) => place == Place::Publish,
            _ => false,
        };
        let bit = 1_u64 << property.id();
        if seen & bit != 0 && !repeatable {
            return Err(DecodeError::RepeatedProperty(property.id()));
        }
        seen |= bit;
    }
    let data_without_method =
        seen & (1 << id::AUTHENTICATION_DATA) != 0 && seen & (1 << id::AUTHENTICATION_METHOD) == 0;
    if data_without_method { Err(DecodeError::AuthenticationMethod) } else { Ok(()) }
}
