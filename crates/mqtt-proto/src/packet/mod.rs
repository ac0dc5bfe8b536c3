//! The control packets (§3), one file each or for each family.

mod ack;
mod connack;
mod connect;
mod disconnect;
mod publish;
mod subscribe;
mod unsubscribe;

pub use crate::kind::Kind;
pub use crate::packet_id::PacketId;
pub use ack::Ack;
pub use connack::ConnAck;
pub use connect::{Connect, Secret, Will};
pub use disconnect::{Auth, Disconnect};
pub use publish::{Delivery, Publish};
pub use subscribe::{RetainHandling, SubAck, Subscribe, SubscribeOptions, Subscription};
pub use unsubscribe::{UnsubAck, Unsubscribe};

pub(crate) use publish::{ALIAS_BYTES, PublishParts, put_publish_head};

use crate::error::{DecodeError, EncodeError};
use crate::version::Version;
use crate::wire::Reader;
use bytes::Bytes;

/// How often a message may arrive (§4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Qos {
    /// At most once.
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl Qos {
    /// From its two bits; 3 is none `[MQTT-3.3.1-4]`.
    pub fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::AtMostOnce,
            1 => Self::AtLeastOnce,
            2 => Self::ExactlyOnce,
            _ => return None,
        })
    }

    /// Its two bits.
    pub fn bits(self) -> u8 {
        self as u8
    }
}

impl Kind {
    /// The type in the upper half of a packet's first byte.
    ///
    /// # Errors
    /// Type 0, and reserved flags in the lower half `[MQTT-2.1.3-1]`; those of PUBLISH mean something and are checked with
    /// the packet.
    pub fn from_first_byte(first: u8) -> Result<Self, DecodeError> {
        let kind = match first >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return Err(DecodeError::PacketType),
        };
        if kind != Self::Publish && first != kind.first_byte() {
            return Err(DecodeError::Flags(kind));
        }
        Ok(kind)
    }
}

/// Any control packet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the packets' names")]
pub enum Packet {
    Connect(Box<Connect>),
    ConnAck(ConnAck),
    Publish(Publish),
    PubAck(Ack),
    PubRec(Ack),
    PubRel(Ack),
    PubComp(Ack),
    Subscribe(Subscribe),
    SubAck(SubAck),
    Unsubscribe(Unsubscribe),
    UnsubAck(UnsubAck),
    PingReq,
    PingResp,
    Disconnect(Disconnect),
    Auth(Auth),
}

impl Packet {
    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Connect(_) => Kind::Connect,
            Self::ConnAck(_) => Kind::ConnAck,
            Self::Publish(_) => Kind::Publish,
            Self::PubAck(_) => Kind::PubAck,
            Self::PubRec(_) => Kind::PubRec,
            Self::PubRel(_) => Kind::PubRel,
            Self::PubComp(_) => Kind::PubComp,
            Self::Subscribe(_) => Kind::Subscribe,
            Self::SubAck(_) => Kind::SubAck,
            Self::Unsubscribe(_) => Kind::Unsubscribe,
            Self::UnsubAck(_) => Kind::UnsubAck,
            Self::PingReq => Kind::PingReq,
            Self::PingResp => Kind::PingResp,
            Self::Disconnect(_) => Kind::Disconnect,
            Self::Auth(_) => Kind::Auth,
        }
    }

    /// Reads one whole packet, of which `head` bytes are its fixed header. Its parts share `packet`, which holds the same
    /// bytes, or nothing if the packet is too short to have parts. CONNECT says its own version.
    pub(crate) fn read(
        bytes: &[u8],
        packet: &Bytes,
        head: usize,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let first = *bytes.first().ok_or(DecodeError::Truncated)?;
        let kind = Kind::from_first_byte(first)?;
        let mut reader = Reader::new(bytes.get(head..).ok_or(DecodeError::Truncated)?);
        let reader = &mut reader;
        Ok(match kind {
            Kind::Publish => Self::Publish(Publish::read(reader, packet, first, version)?),
            Kind::PubAck => Self::PubAck(Ack::read(reader, packet, kind, version)?),
            Kind::PubRec => Self::PubRec(Ack::read(reader, packet, kind, version)?),
            Kind::PubRel => Self::PubRel(Ack::read(reader, packet, kind, version)?),
            Kind::PubComp => Self::PubComp(Ack::read(reader, packet, kind, version)?),
            Kind::Connect => Self::Connect(Box::new(Connect::read(reader, packet)?)),
            Kind::ConnAck => Self::ConnAck(ConnAck::read(reader, packet, version)?),
            Kind::Subscribe => Self::Subscribe(Subscribe::read(reader, packet, version)?),
            Kind::SubAck => Self::SubAck(SubAck::read(reader, packet, version)?),
            Kind::Unsubscribe => Self::Unsubscribe(Unsubscribe::read(reader, packet, version)?),
            Kind::UnsubAck => Self::UnsubAck(UnsubAck::read(reader, packet, version)?),
            Kind::PingReq => reader.finish().map(|()| Self::PingReq)?,
            Kind::PingResp => reader.finish().map(|()| Self::PingResp)?,
            Kind::Disconnect => Self::Disconnect(Disconnect::read(reader, packet, version)?),
            Kind::Auth => Self::Auth(Auth::read(reader, packet, version)?),
        })
    }

    /// Appends the packet to `out`. What `version` does not have (properties, reason codes) is left out; CONNECT is written
    /// in its own version.
    ///
    /// # Errors
    /// A field or the packet is too long; then `out` is as it was.
    pub fn write(&self, out: &mut Vec<u8>, version: Version) -> Result<(), EncodeError> {
        match self {
            Self::Connect(packet) => packet.write(out),
            Self::ConnAck(packet) => packet.write(out, version),
            Self::Publish(packet) => packet.write(out, version),
            Self::PubAck(packet) | Self::PubRec(packet) | Self::PubRel(packet) | Self::PubComp(packet) => {
                packet.write(out, self.kind(), version)
            }
            Self::Subscribe(packet) => packet.write(out, version),
            Self::SubAck(packet) => packet.write(out, version),
            Self::Unsubscribe(packet) => packet.write(out, version),
            Self::UnsubAck(packet) => packet.write(out, version),
            Self::PingReq | Self::PingResp => {
                out.extend_from_slice(&[self.kind().first_byte(), 0]);
                Ok(())
            }
            Self::Disconnect(packet) => packet.write(out, version),
            Self::Auth(packet) => packet.write(out),
        }
    }
}
