//! The bytes of MQTT, as much of them as a client needs.

use std::io;

use super::{Connect, Version};

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// A write when sent, part of a baseline when received.
    pub retain: bool,
    /// Sent before.
    pub dup: bool,
    /// With QoS 1 and 2.
    pub id: Option<u16>,
    /// With 5.
    pub properties: Vec<Property>,
}

/// A property of MQTT 5: its identifier and value.
pub type Property = (u8, Value);

/// The value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One, two and four bytes, and variable numbers.
    Number(u32),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Name and value.
    Pair(String, String),
}

/// The packets that a client receives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the members are those of the standard")]
pub enum Packet {
    /// 3.2
    Connack { session_present: bool, reason: u8, properties: Vec<Property> },
    /// 3.3
    Publish(Publish),
    /// 3.4
    Puback { id: u16, reason: u8, properties: Vec<Property> },
    /// 3.5
    Pubrec { id: u16, reason: u8, properties: Vec<Property> },
    /// 3.6
    Pubrel { id: u16 },
    /// 3.7
    Pubcomp { id: u16 },
    /// 3.9
    Suback { id: u16, reasons: Vec<u8> },
    /// 3.11
    Unsuback { id: u16 },
    /// 3.13
    Pingresp,
    /// 3.14
    Disconnect { reason: u8 },
}

/// The identifier of a user property (2.2.2.2).
const USER_PROPERTY: u8 = 0x26;

impl Publish {
    /// A write: retained, with this QoS.
    pub fn put(topic: &str, payload: &[u8], qos: u8) -> Self {
        Self { topic: topic.to_owned(), payload: payload.to_vec(), qos, retain: true, ..Self::default() }
    }

    /// The value of a user property.
    pub fn user(&self, name: &str) -> Option<&str> {
        user(&self.properties, name)
    }
}

/// The value of the first user property with this name.
pub fn user<'a>(properties: &'a [Property], name: &str) -> Option<&'a str> {
    properties.iter().find_map(|(_, value)| match value {
        Value::Pair(known, value) if known == name => Some(value.as_str()),
        _ => None,
    })
}

/// A user property.
pub fn pair(name: &str, value: &str) -> Property {
    (USER_PROPERTY, Value::Pair(name.to_owned(), value.to_owned()))
}

pub(super) fn connect(connect: &Connect) -> Vec<u8> {
    let v5 = connect.version == Version::V5;
    let mut body = Vec::new();
    text(&mut body, "MQTT");
    body.push(if v5 { 5 } else { 4 });
    let will =
        connect.will.as_ref().map_or(0, |(_, _, qos, retain)| 0x04 | qos << 3 | u8::from(*retain) << 5);
    body.push(u8::from(connect.clean) << 1 | will);
    body.extend(connect.keep_alive.to_be_bytes());
    if v5 {
        let expiry = connect.session_expiry.map(|seconds| (0x11, Value::Number(seconds)));
        properties(&mut body, expiry.as_slice());
    }
    text(&mut body, &connect.client_id);
    if let Some((topic, payload, _, _)) = &connect.will {
        if v5 {
            let delay = connect.will_delay.map(|seconds| (0x18, Value::Number(seconds)));
            properties(&mut body, delay.as_slice());
        }
        text(&mut body, topic);
        binary(&mut body, payload);
    }
    framed(0x10, &body)
}

pub(super) fn publish(message: &Publish, version: Version) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, &message.topic);
    if let Some(id) = message.id {
        body.extend(id.to_be_bytes());
    }
    if version == Version::V5 {
        properties(&mut body, &message.properties);
    }
    body.extend_from_slice(&message.payload);
    let flags = u8::from(message.dup) << 3 | message.qos << 1 | u8::from(message.retain);
    framed(0x30 | flags, &body)
}

pub(super) fn subscribe(id: u16, filters: &[(&str, u8)], with: &[Property], version: Version) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        properties(&mut body, with);
    }
    for (filter, qos) in filters {
        text(&mut body, filter);
        body.push(*qos);
    }
    framed(0x82, &body)
}

pub(super) fn unsubscribe(id: u16, filters: &[&str], version: Version) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        properties(&mut body, &[]);
    }
    for filter in filters {
        text(&mut body, filter);
    }
    framed(0xa2, &body)
}

pub(super) fn puback(id: u16) -> Vec<u8> {
    framed(0x40, &id.to_be_bytes())
}

pub(super) fn pubrec(id: u16) -> Vec<u8> {
    framed(0x50, &id.to_be_bytes())
}

pub(super) fn pubrel(id: u16) -> Vec<u8> {
    framed(0x62, &id.to_be_bytes())
}

pub(super) fn pubcomp(id: u16) -> Vec<u8> {
    framed(0x70, &id.to_be_bytes())
}

/// The first packet of `bytes` and its length; `None` while it is not complete.
pub(super) fn packet(bytes: &[u8], version: Version) -> io::Result<Option<(usize, Packet)>> {
    let mut length = 0;
    let mut shift = 0;
    let mut at = 1;
    loop {
        let Some(byte) = bytes.get(at) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7f) << shift;
        at += 1;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
        if at > 4 {
            return Err(malformed("length"));
        }
    }
    let Some(body) = bytes.get(at..at + length) else {
        return Ok(None);
    };
    let mut reader = Reader { rest: body, v5: version == Version::V5 };
    Ok(Some((at + length, reader.packet(bytes[0])?)))
}

/// Reads the body of a packet.
struct Reader<'a> {
    rest: &'a [u8],
    v5: bool,
}

impl<'a> Reader<'a> {
    fn packet(&mut self, first: u8) -> io::Result<Packet> {
        match first >> 4 {
            2 => {
                let session_present = self.byte()? & 1 == 1;
                let reason = self.byte()?;
                Ok(Packet::Connack { session_present, reason, properties: self.trailing_properties()? })
            }
            3 => self.publish(first).map(Packet::Publish),
            4 => {
                let (id, reason, properties) = self.acknowledgement()?;
                Ok(Packet::Puback { id, reason, properties })
            }
            5 => {
                let (id, reason, properties) = self.acknowledgement()?;
                Ok(Packet::Pubrec { id, reason, properties })
            }
            6 => Ok(Packet::Pubrel { id: self.number()? }),
            7 => Ok(Packet::Pubcomp { id: self.number()? }),
            9 => {
                let id = self.number()?;
                self.trailing_properties()?;
                Ok(Packet::Suback { id, reasons: self.rest.to_vec() })
            }
            11 => Ok(Packet::Unsuback { id: self.number()? }),
            13 => Ok(Packet::Pingresp),
            14 => Ok(Packet::Disconnect { reason: self.byte().unwrap_or(0) }),
            _ => Err(malformed("type")),
        }
    }

    fn publish(&mut self, first: u8) -> io::Result<Publish> {
        let qos = first >> 1 & 3;
        let topic = self.text()?;
        let id = if qos > 0 { Some(self.number()?) } else { None };
        let properties = self.trailing_properties()?;
        Ok(Publish {
            topic,
            payload: self.rest.to_vec(),
            qos,
            retain: first & 1 == 1,
            dup: first & 8 == 8,
            id,
            properties,
        })
    }

    fn acknowledgement(&mut self) -> io::Result<(u16, u8, Vec<Property>)> {
        let id = self.number()?;
        let reason = if self.rest.is_empty() { 0 } else { self.byte()? };
        let properties = if self.rest.is_empty() { Vec::new() } else { self.trailing_properties()? };
        Ok((id, reason, properties))
    }

    /// The properties of 5; none in 3.1.1.
    fn trailing_properties(&mut self) -> io::Result<Vec<Property>> {
        let mut found = Vec::new();
        if !self.v5 {
            return Ok(found);
        }
        let length = self.variable()? as usize;
        let mut inner = Reader { rest: self.take(length)?, v5: true };
        while !inner.rest.is_empty() {
            let identifier = inner.byte()?;
            let value = match identifier {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => Value::Number(inner.byte()?.into()),
                0x13 | 0x21 | 0x22 | 0x23 => Value::Number(inner.number()?.into()),
                0x02 | 0x11 | 0x18 | 0x27 => Value::Number(u32::from_be_bytes(inner.array()?)),
                0x0b => Value::Number(inner.variable()?),
                0x03 | 0x08 | 0x12 | 0x15 | 0x1a | 0x1c | 0x1f => Value::Text(inner.text()?),
                0x09 | 0x16 => Value::Bytes(inner.binary()?.to_vec()),
                USER_PROPERTY => Value::Pair(inner.text()?, inner.text()?),
                _ => return Err(malformed("property")),
            };
            found.push((identifier, value));
        }
        Ok(found)
    }

    fn variable(&mut self) -> io::Result<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed("number"))
    }

    fn text(&mut self) -> io::Result<String> {
        String::from_utf8(self.binary()?.to_vec()).map_err(|_| malformed("text"))
    }

    fn binary(&mut self) -> io::Result<&'a [u8]> {
        let length = self.number()?;
        self.take(length.into())
    }

    fn number(&mut self) -> io::Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| malformed("packet"))
    }

    fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| malformed("packet"))?;
        self.rest = rest;
        Ok(taken)
    }
}

fn properties(out: &mut Vec<u8>, with: &[Property]) {
    let mut body = Vec::new();
    for (identifier, value) in with {
        body.push(*identifier);
        match (identifier, value) {
            (0x01 | 0x17 | 0x19, Value::Number(number)) => body.push(*number as u8),
            (0x21..=0x23, Value::Number(number)) => body.extend((*number as u16).to_be_bytes()),
            (0x0b, Value::Number(number)) => variable(&mut body, *number as usize),
            (_, Value::Number(number)) => body.extend(number.to_be_bytes()),
            (_, Value::Text(value)) => text(&mut body, value),
            (_, Value::Bytes(value)) => binary(&mut body, value),
            (_, Value::Pair(name, value)) => {
                text(&mut body, name);
                text(&mut body, value);
            }
        }
    }
    variable(out, body.len());
    out.extend_from_slice(&body);
}

fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    variable(&mut out, body.len());
    out.extend_from_slice(body);
    out
}

fn variable(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        out.push(byte | if value > 0 { 0x80 } else { 0 });
        if value == 0 {
            return;
        }
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    binary(out, text.as_bytes());
}

fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed {what} of an MQTT packet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let message = Publish {
            topic: "a/b".to_owned(),
            payload: vec![7; 300],
            qos: 1,
            retain: true,
            dup: false,
            id: Some(258),
            properties: vec![
                pair("rev", "e.1"),
                (0x02, Value::Number(70_000)),
                (0x03, Value::Text("text/plain".to_owned())),
            ],
        };
        for version in [Version::V311, Version::V5] {
            let bytes = publish(&message, version);
            for cut in 0..bytes.len() {
                assert_eq!(packet(&bytes[..cut], version).unwrap(), None);
            }
            let (length, read) = packet(&bytes, version).unwrap().unwrap();
            let properties = if version == Version::V5 { message.properties.clone() } else { Vec::new() };
            assert_eq!(length, bytes.len());
            assert_eq!(read, Packet::Publish(Publish { properties, ..message.clone() }));
        }
        assert_eq!(message.user("rev"), Some("e.1"));
    }

    #[test]
    fn connect_is_as_in_the_standard() {
        let client = Connect::new(Version::V311).named("a");
        assert_eq!(connect(&client), b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a");
        let mut client = Connect::persistent(Version::V5, "a");
        client.will = Some(("w".to_owned(), b"x".to_vec(), 1, true));
        assert_eq!(
            connect(&client),
            b"\x10\x1a\x00\x04MQTT\x05\x2c\x00\x3c\x05\x11\x00\x00\x0e\x10\x00\x01a\x00\x00\x01w\x00\x01x"
        );
    }

    #[test]
    fn short_acknowledgements_are_success() {
        let expected = Packet::Puback { id: 9, reason: 0, properties: Vec::new() };
        assert_eq!(packet(&[0x40, 2, 0, 9], Version::V5).unwrap(), Some((4, expected)));
        let refused = Packet::Puback { id: 9, reason: 0x87, properties: Vec::new() };
        assert_eq!(packet(&[0x40, 3, 0, 9, 0x87], Version::V5).unwrap(), Some((5, refused)));
        assert!(packet(&[0x30, 1, 0], Version::V5).is_err());
    }
}
