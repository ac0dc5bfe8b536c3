//! A PUBLISH encoded once for many subscribers.

use crate::error::EncodeError;
use crate::output::{Output, SHARE_FROM};
use crate::packet::{Delivery, PacketId, PublishParts, Qos, put_publish_head};
use crate::properties::Properties;
use crate::text::check_text;
use crate::version::Version;
use crate::wire::{read_varint, varint_size};
use bytes::Bytes;

/// A message encoded once for one protocol version. Each subscriber's copy is composed from it: first byte, length and
/// packet id are fresh, extra properties go before the message's own, all else is copied or, when it is large, shared.
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
        (tail + properties.unwrap_or(0) <= bytes.len()).then_some(Self { bytes, topic, tail, properties })
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
        if qos == Qos::AtMostOnce && extra == 0 {
            return Ok(self.bytes.len() as u32);
        }
        let delivery = match qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            // Any id takes two bytes.
            Qos::AtLeastOnce | Qos::ExactlyOnce => Delivery::AtLeastOnce(PacketId::FIRST),
        };
        let remaining = self.parts(delivery, false, false, extra).remaining_length()?;
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
        let extra = if self.properties.is_some() { extra } else { &[] };
        let parts = self.parts(delivery, dup, retain, extra.len());
        let copied = out.copied();
        if delivery == Delivery::AtMostOnce && extra.is_empty() && self.bytes.len() < SHARE_FROM {
            let start = copied.len();
            copied.extend_from_slice(self.bytes);
            copied[start] = parts.first_byte();
            return Ok(());
        }
        put_publish_head(copied, &parts)?;
        copied.extend_from_slice(extra);
        out.push_part(self.bytes, self.tail);
        Ok(())
    }

    fn parts(&self, delivery: Delivery, dup: bool, retain: bool, extra: usize) -> PublishParts<'a> {
        PublishParts {
            topic: self.topic,
            delivery,
            dup,
            retain,
            properties: self.properties.map(|own| own + extra),
            payload: self.bytes.len() - self.tail - self.properties.unwrap_or(0),
        }
    }
}
