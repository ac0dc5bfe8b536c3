//! A PUBLISH encoded once for many subscribers.

use crate::error::EncodeError;
use crate::output::{Output, SHARE_FROM};
use crate::packet::{ALIAS_BYTES, Delivery, PacketId, PublishParts, Qos, put_publish_head};
use crate::properties::Properties;
use crate::text::check_text;
use crate::version::Version;
use crate::wire::{read_varint, varint_size};
use bytes::Bytes;

/// Bytes of a message expiry among the properties: its number and the seconds.
const EXPIRY_BYTES: usize = 5;
/// The number of the message expiry.
const EXPIRY: u8 = 0x02;

/// A message encoded once for one protocol version. Each subscriber's copy is composed from it: first byte, length and
/// packet id are fresh, a topic alias stands for the topic or goes with it, extra properties go before the message's own,
/// a message expiry is counted down, all else is copied or, when it is large, shared.
///
/// A frame borrows its bytes, so that they can lie in whatever cache the owner has.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The packet as `QoS` 0 without flags.
    bytes: &'a Bytes,
    topic: &'a [u8],
    /// Where properties (without their length) and payload begin.
    tail: usize,
    /// Bytes of the message's own properties; `None` before MQTT 5.
    properties: Option<usize>,
    /// What the copies say instead of the message expiry with which the properties begin.
    expiry: Option<u32>,
}

/// How a copy says its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// The topic.
    Topic,
    /// The topic, and the alias that stands for it from now on.
    Both(u16),
    /// The alias alone.
    Alias(u16),
}

/// How one subscriber's copy of a frame is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'a> {
    pub(crate) delivery: Delivery,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    /// Further properties as [`crate::PropertiesBuf`] writes them.
    pub(crate) extra: &'a [u8],
    /// Only the topic before MQTT 5.
    pub(crate) naming: Naming,
}

impl<'a> Frame<'a> {
    /// Encodes a message for this version, to be read with [`Frame::new`]. `properties` are left out before MQTT 5.
    ///
    /// # Errors
    /// The topic is longer than a string can be or contains U+0000, or all together is longer than a packet can be.
    pub fn encode(
        version: Version,
        topic: &str,
        properties: &Properties,
        payload: &[u8],
    ) -> Result<Bytes, EncodeError> {
        check_text(topic)?;
        let properties = if version.is_v5() { properties.as_bytes() } else { &Bytes::new() };
        let parts = PublishParts {
            topic: topic.as_bytes(),
            delivery: Delivery::AtMostOnce,
            dup: false,
            retain: false,
            properties: version.is_v5().then_some(properties.len()),
            payload: payload.len(),
            alias: None,
        };
        let remaining = parts.remaining_length()?;
        let mut bytes = Vec::with_capacity(1 + varint_size(remaining) + remaining as usize);
        put_publish_head(&mut bytes, &parts)?;
        bytes.extend_from_slice(properties);
        bytes.extend_from_slice(payload);
        Ok(bytes.into())
    }

    /// The frame of bytes that [`Frame::encode`] made for this version; `None` for others.
    #[inline]
    pub fn new(version: Version, bytes: &'a Bytes) -> Option<Self> {
        let (_, length) = read_varint(bytes.get(1..)?).ok()??;
        let topic_start = 1 + length + 2;
        let (high, low) = (*bytes.get(topic_start - 2)?, *bytes.get(topic_start - 1)?);
        let topic_end = topic_start + usize::from(u16::from_be_bytes([high, low]));
        let topic = bytes.get(topic_start..topic_end)?;
        let (properties, tail) = if version.is_v5() {
            let (properties, length) = read_varint(&bytes[topic_end..]).ok()??;
            (Some(properties as usize), topic_end + length)
        } else {
            (None, topic_end)
        };
        let expiry = None;
        (tail + properties.unwrap_or(0) <= bytes.len()).then_some(Self {
            bytes,
            topic,
            tail,
            properties,
            expiry,
        })
    }

    /// The message expiry in seconds with which it was encoded, if its properties begin with one.
    #[inline]
    pub fn message_expiry(&self) -> Option<u32> {
        if self.properties? < EXPIRY_BYTES {
            return None;
        }
        match *self.bytes.get(self.tail..)?.first_chunk::<EXPIRY_BYTES>()? {
            [EXPIRY, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
            _ => None,
        }
    }

    /// The same message, of whose life so many seconds are left `[MQTT-3.3.2-6]`. The message itself if it has no
    /// [message expiry](Self::message_expiry).
    #[inline]
    #[must_use]
    pub fn with_message_expiry(self, seconds: u32) -> Self {
        let expiry = self.message_expiry().filter(|&encoded| encoded != seconds).map(|_| seconds);
        Self { expiry, ..self }
    }

    /// The topic's bytes.
    pub fn topic(&self) -> &'a [u8] {
        self.topic
    }

    /// Bytes of the packet with this `QoS` and `extra` bytes of further properties, for comparison with a client's
    /// Maximum Packet Size.
    ///
    /// # Errors
    /// The packet would be longer than a packet can be.
    #[inline]
    pub fn size(&self, qos: Qos, extra: usize) -> Result<u32, EncodeError> {
        self.size_named(qos, extra, Naming::Topic)
    }

    /// [`Self::size`] with an alias.
    #[inline]
    pub(crate) fn size_named(&self, qos: Qos, extra: usize, naming: Naming) -> Result<u32, EncodeError> {
        if qos == Qos::AtMostOnce && extra == 0 && naming == Naming::Topic {
            return Ok(self.bytes.len() as u32);
        }
        let delivery = match qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            // Any id takes two bytes.
            Qos::AtLeastOnce | Qos::ExactlyOnce => Delivery::AtLeastOnce(PacketId::FIRST),
        };
        let shape = Shape { delivery, dup: false, retain: false, extra: &[], naming };
        let remaining = self.parts(&shape, extra).remaining_length()?;
        Ok(1 + varint_size(remaining) as u32 + remaining)
    }

    /// Writes one subscriber's copy. `extra` are further properties as [`crate::PropertiesBuf`] writes them; before
    /// MQTT 5 they are left out.
    ///
    /// # Errors
    /// The packet would be longer than a packet can be; then nothing is written.
    #[inline]
    pub fn write(
        &self,
        out: &mut Output,
        delivery: Delivery,
        dup: bool,
        retain: bool,
        extra: &[u8],
    ) -> Result<(), EncodeError> {
        self.compose(out, &Shape { delivery, dup, retain, extra, naming: Naming::Topic })
    }

    /// Like [`Self::write`], with an alias.
    #[inline]
    pub(crate) fn compose(&self, out: &mut Output, shape: &Shape<'_>) -> Result<(), EncodeError> {
        let extra = if self.properties.is_some() { shape.extra } else { &[] };
        let parts = self.parts(shape, extra.len());
        out.count_packet();
        let copied = out.copied();
        let is_as_encoded = parts.delivery == Delivery::AtMostOnce
            && extra.is_empty()
            && shape.naming == Naming::Topic
            && self.expiry.is_none();
        if is_as_encoded && self.bytes.len() < SHARE_FROM {
            let start = copied.len();
            copied.extend_from_slice(self.bytes);
            copied[start] = parts.first_byte();
            return Ok(());
        }
        put_publish_head(copied, &parts)?;
        copied.extend_from_slice(extra);
        let mut from = self.tail;
        if let Some(seconds) = self.expiry {
            copied.push(EXPIRY);
            copied.extend_from_slice(&seconds.to_be_bytes());
            from += EXPIRY_BYTES;
        }
        out.push_part(self.bytes, from);
        Ok(())
    }

    fn parts(&self, shape: &Shape<'_>, extra: usize) -> PublishParts<'a> {
        let (topic, alias) = match shape.naming {
            Naming::Topic => (self.topic, None),
            Naming::Both(alias) => (self.topic, Some(alias)),
            Naming::Alias(alias) => (&[][..], Some(alias)),
        };
        let alias_bytes = if alias.is_some() { ALIAS_BYTES } else { 0 };
        PublishParts {
            topic,
            delivery: shape.delivery,
            dup: shape.dup,
            retain: shape.retain,
            properties: self.properties.map(|own| own + extra + alias_bytes),
            payload: self.bytes.len() - self.tail - self.properties.unwrap_or(0),
            alias,
        }
    }
}
