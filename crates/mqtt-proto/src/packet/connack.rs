//! CONNACK (§3.2).

use super::Kind;
use super::connect::{read_properties, write_properties};
use crate::error::{DecodeError, EncodeError};
use crate::properties::{Place, Properties};
use crate::reason::ReasonCode;
use crate::version::Version;
use crate::wire::{Reader, put_packet};
use bytes::Bytes;

/// A server's answer to CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the server continues an earlier session.
    pub session_present: bool,
    /// Success, or why not. Older versions have five refusals, which are read as the codes that MQTT 5 has for them.
    pub reason: ReasonCode,
    /// What the server allows.
    pub properties: Properties,
}

impl ConnAck {
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        packet: &Bytes,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        let code = reader.u8()?;
        let reason = if version.is_v5() {
            ReasonCode::from_u8(code).filter(|reason| reason.fits(Kind::ConnAck))
        } else {
            ReasonCode::from_v3_connect_code(code)
        };
        let reason = reason.ok_or(DecodeError::Reason(code))?;
        // Reserved bits [MQTT-3.2.2-1]; no session with a refusal [MQTT-3.2.2-6].
        if flags > 1 || (flags == 1 && reason != ReasonCode::Success) {
            return Err(DecodeError::AckFlags);
        }
        let properties = read_properties(reader, packet, version, Place::ConnAck)?;
        reader.finish()?;
        Ok(Self { session_present: flags == 1, reason, properties })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>, version: Version) -> Result<(), EncodeError> {
        let code = if version.is_v5() { self.reason.code() } else { self.reason.to_v3_connect_code() };
        put_packet(out, Kind::ConnAck.first_byte(), |out| {
            out.extend_from_slice(&[u8::from(self.session_present), code]);
            write_properties(out, &self.properties, version)
        })
    }
}
