//! DISCONNECT (§3.14) and AUTH (§3.15).

use super::Kind;
use crate::error::{DecodeError, EncodeError};
use crate::properties::{Place, Properties};
use crate::reason::ReasonCode;
use crate::version::Version;
use crate::wire::{Reader, put_packet};
use bytes::Bytes;

/// The last packet of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// Why; older versions know only the normal end.
    pub reason: ReasonCode,
    /// Session expiry, reason string, another server, user properties.
    pub properties: Properties,
}

/// A step of an extended authentication; MQTT 5 only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Success, continue, or start again.
    pub reason: ReasonCode,
    /// Method, data, reason string, user properties.
    pub properties: Properties,
}

impl Disconnect {
    /// A DISCONNECT without properties.
    pub fn new(reason: ReasonCode) -> Self {
        Self { reason, properties: Properties::NONE }
    }

    pub(crate) fn read(
        reader: &mut Reader<'_>,
        packet: &Bytes,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let mut disconnect = Self::new(ReasonCode::Success);
        // Reason code (§3.14.2.1) and properties (§3.14.2.2.1) may be left out; `E0 00` is the normal end.
        if version.is_v5() && !reader.is_empty() {
            disconnect.reason = read_reason(reader, Kind::Disconnect)?;
            if !reader.is_empty() {
                disconnect.properties = Properties::read(reader, packet, Place::Disconnect)?;
            }
        }
        reader.finish()?;
        Ok(disconnect)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>, version: Version) -> Result<(), EncodeError> {
        put_packet(out, Kind::Disconnect.first_byte(), |out| {
            if version.is_v5() && (self.reason != ReasonCode::Success || !self.properties.is_empty()) {
                out.push(self.reason.code());
                if !self.properties.is_empty() {
                    self.properties.write(out)?;
                }
            }
            Ok(())
        })
    }
}

impl Auth {
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        packet: &Bytes,
        version: Version,
    ) -> Result<Self, DecodeError> {
        if !version.is_v5() {
            return Err(DecodeError::Unexpected(Kind::Auth));
        }
        // Both may be left out together (§3.15.2.1).
        if reader.is_empty() {
            return Ok(Self { reason: ReasonCode::Success, properties: Properties::NONE });
        }
        let reason = read_reason(reader, Kind::Auth)?;
        let properties = Properties::read(reader, packet, Place::Auth)?;
        reader.finish()?;
        if properties.authentication_method().is_none() {
            return Err(DecodeError::AuthenticationMethod);
        }
        Ok(Self { reason, properties })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_packet(out, Kind::Auth.first_byte(), |out| {
            if self.reason != ReasonCode::Success || !self.properties.is_empty() {
                out.push(self.reason.code());
                self.properties.write(out)?;
            }
            Ok(())
        })
    }
}

pub(super) fn read_reason(reader: &mut Reader<'_>, kind: Kind) -> Result<ReasonCode, DecodeError> {
    let code = reader.u8()?;
    ReasonCode::from_u8(code).filter(|reason| reason.fits(kind)).ok_or(DecodeError::Reason(code))
}
