//! A small blocking MQTT client, 3.1.1 and 5, with a codec of its own.
//!
//! It acknowledges what it receives, and keeps what came while it waited for something else.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub mod session;
mod wire;

pub use wire::{Packet, Property, Publish, Value, pair, user};

/// How long an answer may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1
    V311,
    /// 5
    V5,
}

/// What to connect with.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Which MQTT.
    pub version: Version,
    /// The client identifier; may be empty.
    pub client_id: String,
    /// Clean session, or clean start.
    pub clean: bool,
    /// Seconds that a session outlives its connection, in 5.
    pub session_expiry: Option<u32>,
    /// Seconds; 0 is off.
    pub keep_alive: u16,
    /// A message for the case that the connection breaks: topic, payload, QoS, retain.
    pub will: Option<(String, Vec<u8>, u8, bool)>,
    /// Seconds that the will waits for the client to return, in 5.
    pub will_delay: Option<u32>,
}

/// One connection.
#[derive(Debug)]
pub struct Mqtt {
    stream: TcpStream,
    version: Version,
    /// Bytes that do not make a packet yet.
    waiting: Vec<u8>,
    inbox: VecDeque<Publish>,
    next_id: u16,
    /// Whether the server had kept the session.
    pub session_present: bool,
    /// Of CONNACK.
    pub properties: Vec<Property>,
}

/// How a publish ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// 0x80 and above are refusals.
    pub reason: u8,
    /// Of PUBACK or PUBREC.
    pub properties: Vec<Property>,
}

impl Connect {
    /// A clean session without a name.
    pub fn new(version: Version) -> Self {
        Self {
            version,
            client_id: String::new(),
            clean: true,
            session_expiry: None,
            keep_alive: 60,
            will: None,
            will_delay: None,
        }
    }

    /// A session with a name that stays.
    pub fn persistent(version: Version, client_id: &str) -> Self {
        let expiry = (version == Version::V5).then_some(3600);
        Self { client_id: client_id.to_owned(), clean: false, session_expiry: expiry, ..Self::new(version) }
    }

    /// With a name.
    #[must_use]
    pub fn named(mut self, client_id: &str) -> Self {
        client_id.clone_into(&mut self.client_id);
        self
    }
}

impl Mqtt {
    /// Connects.
    ///
    /// # Errors
    /// `ConnectionRefused` with the code when the server refuses.
    pub fn connect(address: SocketAddr, connect: &Connect) -> io::Result<Self> {
        Self::connect_within(address, connect, PATIENCE)
    }

    /// Connects; this and every later answer may take so long.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn connect_within(address: SocketAddr, connect: &Connect, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let mut client = Self {
            stream,
            version: connect.version,
            waiting: Vec::new(),
            inbox: VecDeque::new(),
            next_id: 0,
            session_present: false,
            properties: Vec::new(),
        };
        client.send(&wire::connect(connect))?;
        match client.packet()? {
            Packet::Connack { session_present, reason: 0, properties } => {
                client.session_present = session_present;
                client.properties = properties;
                Ok(client)
            }
            Packet::Connack { reason, .. } => {
                Err(io::Error::new(io::ErrorKind::ConnectionRefused, format!("CONNACK 0x{reason:02x}")))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The connection itself, for whoever wants to misbehave on it or end it from another thread.
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Publishes and waits for the acknowledgement of its QoS. A QoS 0 message is answered with reason 0 at once.
    pub fn publish(&mut self, message: &Publish) -> io::Result<Published> {
        let mut message = message.clone();
        let id = self.id();
        message.id = (message.qos > 0).then_some(id);
        self.send(&wire::publish(&message, self.version))?;
        if message.qos == 0 {
            return Ok(Published { reason: 0, properties: Vec::new() });
        }
        let outcome = loop {
            match self.packet()? {
                Packet::Puback { id: answered, reason, properties }
                | Packet::Pubrec { id: answered, reason, properties }
                    if answered == id =>
                {
                    break Published { reason, properties };
                }
                other => self.keep(other)?,
            }
        };
        if message.qos == 2 && outcome.reason < 0x80 {
            self.send(&wire::pubrel(id))?;
            loop {
                match self.packet()? {
                    Packet::Pubcomp { id: answered } if answered == id => break,
                    other => self.keep(other)?,
                }
            }
        }
        Ok(outcome)
    }

    /// Subscribes and gives the reason codes, one a filter.
    pub fn subscribe(&mut self, filters: &[(&str, u8)], properties: &[Property]) -> io::Result<Vec<u8>> {
        let id = self.id();
        self.send(&wire::subscribe(id, filters, properties, self.version))?;
        loop {
            match self.packet()? {
                Packet::Suback { id: answered, reasons } if answered == id => return Ok(reasons),
                other => self.keep(other)?,
            }
        }
    }

    /// Ends subscriptions.
    pub fn unsubscribe(&mut self, filters: &[&str]) -> io::Result<()> {
        let id = self.id();
        self.send(&wire::unsubscribe(id, filters, self.version))?;
        loop {
            match self.packet()? {
                Packet::Unsuback { id: answered } if answered == id => return Ok(()),
                other => self.keep(other)?,
            }
        }
    }

    /// The next message, acknowledged.
    ///
    /// # Errors
    /// `WouldBlock` or `TimedOut` when none comes in time, `UnexpectedEof` when the server ended the connection.
    pub fn receive(&mut self) -> io::Result<Publish> {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(message);
            }
            let packet = self.packet()?;
            self.keep(packet)?;
        }
    }

    /// Asks whether the server is there, and waits for the answer. All that it had sent before is then in the inbox.
    pub fn ping(&mut self) -> io::Result<()> {
        self.send(&[0xc0, 0])?;
        loop {
            match self.packet()? {
                Packet::Pingresp => return Ok(()),
                other => self.keep(other)?,
            }
        }
    }

    /// What came and was not yet received.
    pub fn take_inbox(&mut self) -> Vec<Publish> {
        self.inbox.drain(..).collect()
    }

    /// Puts a message behind those that were not yet received.
    pub fn put_back(&mut self, message: Publish) {
        self.inbox.push_back(message);
    }

    /// Sets how long [`Self::receive`] waits.
    pub fn patience(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))
    }

    /// Says good-bye.
    pub fn disconnect(mut self) -> io::Result<()> {
        self.send(&[0xe0, 0])
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next packet, whatever it is.
    pub fn packet(&mut self) -> io::Result<Packet> {
        loop {
            if let Some((length, packet)) = wire::packet(&self.waiting, self.version)? {
                self.waiting.drain(..length);
                return Ok(packet);
            }
            let mut bytes = [0; 16 * 1024];
            let count = self.stream.read(&mut bytes)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.waiting.extend_from_slice(&bytes[..count]);
        }
    }

    /// Acknowledges what has to be, and keeps messages for [`Self::receive`].
    fn keep(&mut self, packet: Packet) -> io::Result<()> {
        match packet {
            Packet::Publish(message) => {
                match (message.qos, message.id) {
                    (1, Some(id)) => self.send(&wire::puback(id))?,
                    (2, Some(id)) => self.send(&wire::pubrec(id))?,
                    _ => {}
                }
                self.inbox.push_back(message);
                Ok(())
            }
            Packet::Pubrel { id } => self.send(&wire::pubcomp(id)),
            Packet::Disconnect { reason } => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("DISCONNECT 0x{reason:02x}")))
            }
            Packet::Pingresp => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn id(&mut self) -> u16 {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        self.next_id
    }
}

fn unexpected(packet: &Packet) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected {packet:?}"))
}
