//! PUBACK, PUBREC, PUBREL, PUBCOMP (§3.4 to §3.7): one shape, four types.

use super::{Kind, PacketId};
use crate::error::{DecodeError, EncodeError};
use crate::properties::{Place, Properties};
use crate::reason::ReasonCode;
use crate::version::Version;
use crate::wire::{Reader, put_packet};
use bytes::Bytes;

/// One step of the acknowledgement of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The message.
    pub id: PacketId,
    /// What became of it; older versions know only success.
    pub reason: ReasonCode,
    /// Reason string and user properties.
    pub properties: Properties,
}

impl Ack {
    /// An acknowledgement without properties.
    pub fn new(id: PacketId, reason: ReasonCode) -> Self {
        Self { id, reason, properties: Properties::NONE }
    }

    pub(crate) fn read(
        reader: &mut Reader<'_>,
        packet: &Bytes,
        kind: Kind,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let id = reader.packet_id()?;
        let mut ack = Self::new(id, ReasonCode::Success);
        if !version.is_v5() {
            reader.finish()?;
            return Ok(ack);
        }
        // Reason code and properties may be left out (§3.4.2.1, §3.4.2.2).
        if !reader.is_empty() {
            let code = reader.u8()?;
            ack.reason = ReasonCode::from_u8(code)
                .filter(|reason| reason.fits(kind))
                .ok_or(DecodeError::Reason(code))?;
        }
        if !reader.is_empty() {
            ack.properties = Properties::read(reader, packet, place(kind))?;
        }
        reader.finish()?;
        Ok(ack)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>, kind: Kind, version: Version) -> Result<(), EncodeError> {
        if self.properties.is_empty() {
            let [high, low] = self.id.get().to_be_bytes();
            if !version.is_v5() || self.reason == ReasonCode::Success {
                out.extend_from_slice(&[kind.first_byte(), 2, high, low]);
            } else {
                out.extend_from_slice(&[kind.first_byte(), 3, high, low, self.reason.code()]);
            }
            return Ok(());
        }
        put_packet(out, kind.first_byte(), |out| {
            out.extend_from_slice(&self.id.get().to_be_bytes());
            if version.is_v5() {
                out.push(self.reason.code());
                self.properties.write(out)?;
            }
            Ok(())
        })
    }
}

fn place(kind: Kind) -> Place {
    match kind {
        Kind::PubRec => Place::PubRec,
        Kind::PubRel => Place::PubRel,
        Kind::PubComp => Place::PubComp,
        _ => Place::PubAck,
    }
}
