//! UNSUBSCRIBE (§3.10) and UNSUBACK (§3.11).

use super::subscribe::{put_with_id, read_filters, read_reasons};
use super::{Kind, PacketId};
use crate::error::{DecodeError, EncodeError};
use crate::properties::{Place, Properties};
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::version::Version;
use crate::wire::{Reader, put_binary};
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
        let place = Place::Unsubscribe;
        let (id, properties, filters) =
            read_filters(reader, packet, version, place, |_, filter| Ok(Text::shared(packet, filter)))?;
        Ok(Self { id, properties, filters })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>, version: Version) -> Result<(), EncodeError> {
        put_with_id(out, Kind::Unsubscribe, version, (self.id, &self.properties), |out| {
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
        if !version.is_v5() {
            let id = reader.packet_id()?;
            reader.finish()?;
            return Ok(Self { id, properties: Properties::NONE, reasons: Vec::new() });
        }
        let (id, properties, reasons) =
            read_reasons(reader, packet, version, Kind::UnsubAck, Place::UnsubAck)?;
        Ok(Self { id, properties, reasons })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>, version: Version) -> Result<(), EncodeError> {
        put_with_id(out, Kind::UnsubAck, version, (self.id, &self.properties), |out| {
            if version.is_v5() {
                out.extend(self.reasons.iter().map(|reason| reason.code()));
            }
            Ok(())
        })
    }
}
