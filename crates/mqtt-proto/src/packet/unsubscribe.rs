//! UNSUBSCRIBE (§3.10) and UNSUBACK (§3.11).

use super::connect::{read_properties, write_properties};
use super::disconnect::read_reason;
use super::{Kind, PacketId};
use crate::error::{DecodeError, EncodeError};
use crate::properties::{Place, Properties};
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::topic::check_filter;
use crate::version::Version;
use crate::wire::{Reader, put_binary, put_packet};
use bytes::Bytes;

/// A request to end subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// By what UNSUBACK names it.
    pub id: PacketId,
    /// User properties.
    pub properties: Properties,
    /// At least one.
    pub filters: Vec<Text>,
}

/// The answer to UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsubAck {
    /// The request.
    pub id: PacketId,
    /// Reason string and user properties.
    pub properties: Properties,
    /// One code for each filter, in order `[MQTT-3.11.3-1]`; older versions have none.
    pub reasons: Vec<ReasonCode>,
}

impl Unsubscribe {
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        packet: &Bytes,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let id = reader.packet_id()?;
        let properties = read_properties(reader, packet, version, Place::Unsubscribe)?;
        let mut filters = Vec::new();
        while !reader.is_empty() {
            let filter = reader.text()?;
            check_filter(filter)?;
            filters.push(Text::shared(packet, filter));
        }
        if filters.is_empty() { Err(DecodeError::NoFilter) } else { Ok(Self { id, properties, filters }) }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>, version: Version) -> Result<(), EncodeError> {
        put_packet(out, Kind::Unsubscribe.first_byte(), |out| {
            out.extend_from_slice(&self.id.get().to_be_bytes());
            write_properties(out, &self.properties, version)?;
            self.filters.iter().try_for_each(|filter| put_binary(out, filter.as_bytes()))
        })
    }
}

impl UnsubAck {
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        packet: &Bytes,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let id = reader.packet_id()?;
        let mut reasons = Vec::new();
        if !version.is_v5() {
            reader.finish()?;
            return Ok(Self { id, properties: Properties::NONE, reasons });
        }
        let properties = Properties::read(reader, packet, Place::UnsubAck)?;
        while !reader.is_empty() {
            reasons.push(read_reason(reader, Kind::UnsubAck)?);
        }
        if reasons.is_empty() { Err(DecodeError::NoFilter) } else { Ok(Self { id, properties, reasons }) }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>, version: Version) -> Result<(), EncodeError> {
        put_packet(out, Kind::UnsubAck.first_byte(), |out| {
            out.extend_from_slice(&self.id.get().to_be_bytes());
            if version.is_v5() {
                self.properties.write(out)?;
                out.extend(self.reasons.iter().map(|reason| reason.code()));
            }
            Ok(())
        })
    }
}
