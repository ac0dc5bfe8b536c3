//! SUBSCRIBE (§3.8) and SUBACK (§3.9).

use super::connect::{read_properties, write_properties};
use super::disconnect::read_reason;
use super::{Kind, PacketId, Qos};
use crate::error::{DecodeError, EncodeError};
use crate::properties::{Place, Properties};
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::topic::{check_filter, split_shared};
use crate::version::Version;
use crate::wire::{Reader, put_binary, put_packet};
use bytes::Bytes;

const NO_LOCAL: u8 = 0x04;
const RETAIN_AS_PUBLISHED: u8 = 0x08;
const RETAIN_HANDLING_SHIFT: u8 = 4;

/// A request for subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// By what SUBACK names it.
    pub id: PacketId,
    /// A subscription identifier, user properties.
    pub properties: Properties,
    /// At least one.
    pub subscriptions: Vec<Subscription>,
}

/// One filter and how to serve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The filter, well-formed.
    pub filter: Text,
    /// How to serve it.
    pub options: SubscribeOptions,
}

/// How to serve a subscription (§3.8.3.1). Older versions have only the `QoS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// The highest `QoS` wanted.
    pub qos: Qos,
    /// Whether the client's own messages stay away.
    pub no_local: bool,
    /// Whether messages keep the RETAIN flag with which they were published.
    pub retain_as_published: bool,
    /// Which retained messages come when the subscription is made.
    pub retain_handling: RetainHandling,
}

/// Which retained messages come when a subscription is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// All that match.
    Send = 0,
    /// All that match, if the subscription is new.
    SendIfNew = 1,
    /// None.
    DoNotSend = 2,
}

impl SubscribeOptions {
    /// What an older version's subscription with this `QoS` is.
    pub fn new(qos: Qos) -> Self {
        Self { qos, no_local: false, retain_as_published: false, retain_handling: RetainHandling::Send }
    }

    fn read(byte: u8, version: Version) -> Result<Self, DecodeError> {
        let reserved = if version.is_v5() { 0xC0 } else { 0xFC };
        if byte & reserved != 0 {
            return Err(DecodeError::SubscribeOptions);
        }
        Ok(Self {
            qos: Qos::from_bits(byte & 3).ok_or(DecodeError::SubscribeValue)?,
            no_local: byte & NO_LOCAL != 0,
            retain_as_published: byte & RETAIN_AS_PUBLISHED != 0,
            retain_handling: match byte >> RETAIN_HANDLING_SHIFT {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return Err(DecodeError::SubscribeValue),
            },
        })
    }

    fn to_byte(self, version: Version) -> u8 {
        if !version.is_v5() {
            return self.qos.bits();
        }
        self.qos.bits()
            | if self.no_local { NO_LOCAL } else { 0 }
            | if self.retain_as_published { RETAIN_AS_PUBLISHED } else { 0 }
            | (self.retain_handling as u8) << RETAIN_HANDLING_SHIFT
    }
}

impl Subscribe {
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        packet: &Bytes,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let place = Place::Subscribe;
        let (id, properties, subscriptions) =
            read_filters(reader, packet, version, place, |reader, filter| {
                let options = SubscribeOptions::read(reader.u8()?, version)?;
                if options.no_local && split_shared(filter).is_some() {
                    return Err(DecodeError::SharedNoLocal);
                }
                Ok(Subscription { filter: Text::shared(packet, filter), options })
            })?;
        Ok(Self { id, properties, subscriptions })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>, version: Version) -> Result<(), EncodeError> {
        put_with_id(out, Kind::Subscribe, version, (self.id, &self.properties), |out| {
            self.subscriptions.iter().try_for_each(|subscription| {
                put_binary(out, subscription.filter.as_bytes())?;
                out.push(subscription.options.to_byte(version));
                Ok(())
            })
        })
    }
}

/// The answer to SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubAck {
    /// The request.
    pub id: PacketId,
    /// Reason string and user properties.
    pub properties: Properties,
    /// One code for each filter, in order `[MQTT-3.9.3-1]`; older versions have one for all refusals.
    pub reasons: Vec<ReasonCode>,
}

impl SubAck {
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        packet: &Bytes,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let (id, properties, reasons) = read_reasons(reader, packet, version, Kind::SubAck, Place::SubAck)?;
        match reasons.iter().find(|reason| !version.is_v5() && reason.code() > 0x80) {
            Some(reason) => Err(DecodeError::Reason(reason.code())),
            None => Ok(Self { id, properties, reasons }),
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>, version: Version) -> Result<(), EncodeError> {
        put_with_id(out, Kind::SubAck, version, (self.id, &self.properties), |out| {
            let highest = if version.is_v5() { u8::MAX } else { 0x80 };
            out.extend(self.reasons.iter().map(|reason| reason.code().min(highest)));
            Ok(())
        })
    }
}

/// Reads what SUBSCRIBE and UNSUBSCRIBE have in common: an id, properties, and at least one filter, of which `item` makes
/// what is kept.
pub(super) fn read_filters<'a, T>(
    reader: &mut Reader<'a>,
    packet: &Bytes,
    version: Version,
    place: Place,
    item: impl Fn(&mut Reader<'a>, &'a str) -> Result<T, DecodeError>,
) -> Result<(PacketId, Properties, Vec<T>), DecodeError> {
    let id = reader.packet_id()?;
    let properties = read_properties(reader, packet, version, place)?;
    let mut items = Vec::new();
    while !reader.is_empty() {
        let filter = reader.text()?;
        check_filter(filter)?;
        items.push(item(reader, filter)?);
    }
    if items.is_empty() { Err(DecodeError::NoFilter) } else { Ok((id, properties, items)) }
}

/// Reads what SUBACK and UNSUBACK have in common: an id, properties, and at least one reason.
pub(super) fn read_reasons(
    reader: &mut Reader<'_>,
    packet: &Bytes,
    version: Version,
    kind: Kind,
    place: Place,
) -> Result<(PacketId, Properties, Vec<ReasonCode>), DecodeError> {
    let id = reader.packet_id()?;
    let properties = read_properties(reader, packet, version, place)?;
    let mut reasons = Vec::new();
    while !reader.is_empty() {
        reasons.push(read_reason(reader, kind)?);
    }
    if reasons.is_empty() { Err(DecodeError::NoFilter) } else { Ok((id, properties, reasons)) }
}

/// Writes a packet that begins with an id and properties.
pub(super) fn put_with_id(
    out: &mut Vec<u8>,
    kind: Kind,
    version: Version,
    (id, properties): (PacketId, &Properties),
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    put_packet(out, kind.first_byte(), |out| {
        out.extend_from_slice(&id.get().to_be_bytes());
        write_properties(out, properties, version)?;
        body(out)
    })
}
