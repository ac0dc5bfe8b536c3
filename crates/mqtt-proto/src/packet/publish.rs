//! PUBLISH (§3.3).

use super::{Kind, PacketId, Qos};
use crate::error::{DecodeError, EncodeError};
use crate::properties::{Place, Properties};
use crate::text::Text;
use crate::topic::has_wildcard;
use crate::version::Version;
use crate::wire::{Reader, check_varint, put_varint, varint_size};
use bytes::Bytes;

const RETAIN: u8 = 0x01;
const DUP: u8 = 0x08;

/// The number of the topic alias.
const ALIAS: u8 = 0x23;
/// Bytes of a topic alias among the properties: its number and its value.
pub(crate) const ALIAS_BYTES: usize = 3;

/// The `QoS` of a message, with the packet id that comes with it `[MQTT-2.2.1-2]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// `QoS` 0.
    AtMostOnce,
    /// `QoS` 1.
    AtLeastOnce(PacketId),
    /// `QoS` 2.
    ExactlyOnce(PacketId),
}

impl Delivery {
    /// The `QoS` alone.
    pub fn qos(self) -> Qos {
        match self {
            Self::AtMostOnce => Qos::AtMostOnce,
            Self::AtLeastOnce(_) => Qos::AtLeastOnce,
            Self::ExactlyOnce(_) => Qos::ExactlyOnce,
        }
    }

    /// The packet id, which `QoS` 0 does not have.
    pub fn id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce(id) | Self::ExactlyOnce(id) => Some(id),
        }
    }
}

/// A message. All parts share the bytes of its packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Whether it may have been sent before.
    pub dup: bool,
    /// Whether it is, or was, retained.
    pub retain: bool,
    /// `QoS` and packet id.
    pub delivery: Delivery,
    /// Where to. Empty if a topic alias stands for it.
    pub topic: Text,
    /// Its properties.
    pub properties: Properties,
    /// What.
    pub payload: Bytes,
}

impl Publish {
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        packet: &Bytes,
        first: u8,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let qos = Qos::from_bits((first >> 1) & 3).ok_or(DecodeError::Qos)?;
        let dup = first & DUP != 0;
        if dup && qos == Qos::AtMostOnce {
            return Err(DecodeError::Dup);
        }
        let topic = reader.text()?;
        if has_wildcard(topic) || (topic.is_empty() && !version.is_v5()) {
            return Err(DecodeError::Topic);
        }
        let delivery = match qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            Qos::AtLeastOnce => Delivery::AtLeastOnce(reader.packet_id()?),
            Qos::ExactlyOnce => Delivery::ExactlyOnce(reader.packet_id()?),
        };
        let properties = if version.is_v5() {
            Properties::read(reader, packet, Place::Publish)?
        } else {
            Properties::NONE
        };
        if topic.is_empty() && properties.topic_alias().is_none() {
            return Err(DecodeError::NoTopic);
        }
        Ok(Self {
            dup,
            retain: first & RETAIN != 0,
            delivery,
            topic: Text::shared(packet, topic),
            properties,
            payload: packet.slice_ref(reader.rest()),
        })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>, version: Version) -> Result<(), EncodeError> {
        let parts = PublishParts {
            topic: self.topic.as_bytes(),
            delivery: self.delivery,
            dup: self.dup,
            retain: self.retain,
            properties: version.is_v5().then(|| self.properties.as_bytes().len()),
            payload: self.payload.len(),
            // It is among the properties, if there is one.
            alias: None,
        };
        parts.remaining_length()?;
        put_publish_head(out, &parts)?;
        if version.is_v5() {
            out.extend_from_slice(self.properties.as_bytes());
        }
        out.extend_from_slice(&self.payload);
        Ok(())
    }
}

/// What determines a PUBLISH up to its properties.
#[derive(Clone, Copy)]
pub(crate) struct PublishParts<'a> {
    pub(crate) topic: &'a [u8],
    pub(crate) delivery: Delivery,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    /// Bytes of properties without their length, a topic alias included; `None` where the version has none.
    pub(crate) properties: Option<usize>,
    pub(crate) payload: usize,
    /// A topic alias, written as the first property.
    pub(crate) alias: Option<u16>,
}

impl PublishParts<'_> {
    /// The packet's remaining length.
    #[inline]
    pub(crate) fn remaining_length(&self) -> Result<u32, EncodeError> {
        let id = if self.delivery.id().is_some() { 2 } else { 0 };
        let properties = match self.properties {
            Some(length) => varint_size(check_varint(length)?) + length,
            None => 0,
        };
        check_varint(2 + self.topic.len() + id + properties + self.payload)
    }

    #[inline]
    pub(crate) fn first_byte(&self) -> u8 {
        Kind::Publish.first_byte()
            | self.delivery.qos().bits() << 1
            | if self.retain { RETAIN } else { 0 }
            | if self.dup { DUP } else { 0 }
    }
}

/// Writes everything up to the properties, their length and the topic alias included. Nothing is written on an error.
#[inline]
pub(crate) fn put_publish_head(out: &mut Vec<u8>, parts: &PublishParts<'_>) -> Result<(), EncodeError> {
    let remaining = parts.remaining_length()?;
    let topic = u16::try_from(parts.topic.len()).map_err(|_| EncodeError::Field(parts.topic.len()))?;
    out.push(parts.first_byte());
    put_varint(out, remaining);
    out.extend_from_slice(&topic.to_be_bytes());
    out.extend_from_slice(parts.topic);
    if let Some(id) = parts.delivery.id() {
        out.extend_from_slice(&id.get().to_be_bytes());
    }
    if let Some(length) = parts.properties {
        put_varint(out, length as u32);
    }
    if let Some(alias) = parts.alias {
        let [high, low] = alias.to_be_bytes();
        out.extend_from_slice(&[ALIAS, high, low]);
    }
    Ok(())
}
