//! CONNECT (§3.1).

use super::{Kind, Qos};
use crate::error::{DecodeError, EncodeError};
use crate::properties::{Place, Properties};
use crate::text::Text;
use crate::topic::check_topic;
use crate::version::Version;
use crate::wire::{Reader, put_binary, put_packet};
use bytes::Bytes;

const CLEAN_START: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;

/// A client's first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The version in which the client speaks.
    pub version: Version,
    /// Whether an earlier session is to be forgotten; `CleanSession` in older versions.
    pub clean_start: bool,
    /// The longest silence that the client promises, in seconds; 0 for no promise.
    pub keep_alive: u16,
    /// What the client asks for.
    pub properties: Properties,
    /// Who the session belongs to; may be empty.
    pub client_id: Text,
    /// What to publish if the connection ends abnormally.
    pub will: Option<Will>,
    /// The user name.
    pub user_name: Option<Text>,
    /// The password or token.
    pub password: Option<Secret>,
}

/// What a server publishes for a client that went away without a word (§3.1.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// With which `QoS`.
    pub qos: Qos,
    /// Whether as a retained message.
    pub retain: bool,
    /// Properties of the message, and the will delay.
    pub properties: Properties,
    /// Where to.
    pub topic: Text,
    /// What.
    pub payload: Bytes,
}

/// Bytes that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Bytes);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl Connect {
    /// How long in seconds the client wants its session to outlive the connection. Before MQTT 5 `CleanSession` says: not
    /// at all, or for ever, which is [`u32::MAX`].
    pub fn session_expiry(&self) -> u32 {
        if self.version.is_v5() {
            self.properties.session_expiry().unwrap_or(0)
        } else if self.clean_start {
            0
        } else {
            u32::MAX
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>, packet: &Bytes) -> Result<Self, DecodeError> {
        let version = read_version(reader)?;
        let flags = Flags(reader.u8()?);
        flags.check(version)?;
        let keep_alive = reader.u16()?;
        let properties = read_properties(reader, packet, version, Place::Connect)?;
        let client_id = Text::shared(packet, reader.text()?);
        let will = if flags.has(WILL) { Some(Will::read(reader, packet, flags, version)?) } else { None };
        let user_name = if flags.has(USER_NAME) { Some(Text::shared(packet, reader.text()?)) } else { None };
        let password =
            if flags.has(PASSWORD) { Some(Secret(packet.slice_ref(reader.binary()?))) } else { None };
        reader.finish()?;
        Ok(Self {
            version,
            clean_start: flags.has(CLEAN_START),
            keep_alive,
            properties,
            client_id,
            will,
            user_name,
            password,
        })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_packet(out, Kind::Connect.first_byte(), |out| {
            put_binary(out, self.version.name().as_bytes())?;
            out.push(self.version.level());
            out.push(Flags::of(self).0);
            out.extend_from_slice(&self.keep_alive.to_be_bytes());
            write_properties(out, &self.properties, self.version)?;
            put_binary(out, self.client_id.as_bytes())?;
            if let Some(will) = &self.will {
                write_properties(out, &will.properties, self.version)?;
                put_binary(out, will.topic.as_bytes())?;
                put_binary(out, &will.payload)?;
            }
            if let Some(name) = &self.user_name {
                put_binary(out, name.as_bytes())?;
            }
            if let Some(Secret(password)) = &self.password {
                put_binary(out, password)?;
            }
            Ok(())
        })
    }
}

impl Will {
    fn read(
        reader: &mut Reader<'_>,
        packet: &Bytes,
        flags: Flags,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let properties = read_properties(reader, packet, version, Place::Will)?;
        let topic = reader.text()?;
        check_topic(topic)?;
        Ok(Self {
            qos: Qos::from_bits(flags.will_qos_bits()).ok_or(DecodeError::Qos)?,
            retain: flags.has(WILL_RETAIN),
            properties,
            topic: Text::shared(packet, topic),
            payload: packet.slice_ref(reader.binary()?),
        })
    }
}

/// The connect flags (§3.1.2.3).
#[derive(Clone, Copy)]
struct Flags(u8);

impl Flags {
    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn will_qos_bits(self) -> u8 {
        (self.0 >> WILL_QOS_SHIFT) & 3
    }

    /// The reserved bit `[MQTT-3.1.2-3]`, will flags without a will `[MQTT-3.1.2-11]`, `[MQTT-3.1.2-13]`, and in older
    /// versions a password without a user name (3.1.1 `[MQTT-3.1.2-22]`).
    fn check(self, version: Version) -> Result<(), DecodeError> {
        let will_flags_alone = !self.has(WILL) && (self.has(WILL_RETAIN) || self.will_qos_bits() != 0);
        let password_alone = !version.is_v5() && self.has(PASSWORD) && !self.has(USER_NAME);
        if self.has(1) || will_flags_alone || password_alone {
            return Err(DecodeError::ConnectFlags);
        }
        Ok(())
    }

    fn of(connect: &Connect) -> Self {
        let flag = |condition, flag| if condition { flag } else { 0 };
        let will = connect
            .will
            .as_ref()
            .map_or(0, |will| WILL | will.qos.bits() << WILL_QOS_SHIFT | flag(will.retain, WILL_RETAIN));
        Self(
            will | flag(connect.clean_start, CLEAN_START)
                | flag(connect.user_name.is_some(), USER_NAME)
                | flag(connect.password.is_some(), PASSWORD),
        )
    }
}

fn read_version(reader: &mut Reader<'_>) -> Result<Version, DecodeError> {
    let name = reader.binary()?;
    let known: &[Version] = match name {
        b"MQTT" => &[Version::V311, Version::V5],
        b"MQIsdp" => &[Version::V31],
        _ => return Err(DecodeError::ProtocolName),
    };
    let level = reader.u8()?;
    known.iter().copied().find(|version| version.level() == level).ok_or(DecodeError::ProtocolLevel(level))
}

/// The properties of `place`, which older versions do not have.
pub(super) fn read_properties(
    reader: &mut Reader<'_>,
    packet: &Bytes,
    version: Version,
    place: Place,
) -> Result<Properties, DecodeError> {
    if version.is_v5() { Properties::read(reader, packet, place) } else { Ok(Properties::NONE) }
}

pub(super) fn write_properties(
    out: &mut Vec<u8>,
    properties: &Properties,
    version: Version,
) -> Result<(), EncodeError> {
    if version.is_v5() { properties.write(out) } else { Ok(()) }
}
