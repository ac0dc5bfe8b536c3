//! Clients whose sessions outlive connections and servers: what they remember of messages that are not acknowledged is
//! what the standard asks of a client, and no more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Connect, Mqtt, PATIENCE, Packet, Publish, Version, wire};

/// Messages that a sender has on their way.
const WINDOW: usize = 8;

/// Sends numbers, each with a QoS that brings it at least, or exactly, once.
#[derive(Debug)]
pub struct Sender {
    connect: Connect,
    patience: Duration,
    topic: String,
    qos: u8,
    next: u64,
    /// In the order of sending.
    on_their_way: VecDeque<Sent>,
    /// What the server has confirmed for good, in order.
    confirmed: Vec<u64>,
}

#[derive(Debug)]
struct Sent {
    id: u16,
    number: u64,
    /// PUBREC has come.
    is_received: bool,
}

/// Receives whatever its session subscribes to.
#[derive(Debug)]
pub struct Receiver {
    connect: Connect,
    patience: Duration,
    filter: String,
    qos: u8,
    is_subscribed: bool,
    /// Ids of QoS 2 that the server has not released.
    held: BTreeSet<u16>,
    /// Topics and payloads.
    got: Vec<(String, String)>,
    /// The highest number by topic.
    highest: BTreeMap<String, u64>,
}

impl Sender {
    /// A sender of this name to one topic, with QoS 1 or 2.
    pub fn new(version: Version, name: &str, topic: &str, qos: u8) -> Self {
        let connect = Connect { keep_alive: 0, ..Connect::persistent(version, name) };
        let (on_their_way, confirmed) = (VecDeque::new(), Vec::new());
        Self { connect, patience: PATIENCE, topic: topic.to_owned(), qos, next: 0, on_their_way, confirmed }
    }

    /// Takes silence of so long for a broken connection.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The QoS that it sends with.
    pub fn qos(&self) -> u8 {
        self.qos
    }

    /// Where it sends to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The last number that it has sent.
    pub fn sent(&self) -> u64 {
        self.next
    }

    /// What the server has confirmed for good.
    pub fn confirmed(&self) -> &[u64] {
        &self.confirmed
    }

    /// Sends until the connection breaks, or until `last` is confirmed.
    ///
    /// # Errors
    /// Why the connection broke.
    ///
    /// # Panics
    /// When the server has forgotten a session.
    pub fn run(&mut self, address: SocketAddr, last: Option<u64>) -> io::Result<()> {
        let mut mqtt = Mqtt::connect_within(address, &self.connect, self.patience)?;
        assert!(mqtt.session_present || self.on_their_way.is_empty(), "a session is forgotten");
        for sent in &self.on_their_way {
            let again = if sent.is_received { wire::pubrel(sent.id) } else { self.publish(sent, true) };
            mqtt.send(&again)?;
        }
        while last.is_none_or(|last| self.confirmed.last() != Some(&last)) {
            while self.on_their_way.len() < WINDOW && last.is_none_or(|last| self.next < last) {
                self.next += 1;
                // Ids come again long after they are free.
                let id = (self.next % 60_000) as u16 + 1;
                let sent = Sent { id, number: self.next, is_received: false };
                let bytes = self.publish(&sent, false);
                // Before it is sent: what breaks in the middle of it is sent again.
                self.on_their_way.push_back(sent);
                mqtt.send(&bytes)?;
            }
            let packet = mqtt.packet()?;
            self.take(&mut mqtt, packet)?;
        }
        Ok(())
    }

    fn take(&mut self, mqtt: &mut Mqtt, packet: Packet) -> io::Result<()> {
        match packet {
            Packet::Puback { id, reason: 0x00 | 0x10, .. } | Packet::Pubcomp { id } => self.confirm(id),
            Packet::Pubrec { id, reason: 0x00 | 0x10, .. } => {
                if let Some(sent) = self.on_their_way.iter_mut().find(|sent| sent.id == id) {
                    sent.is_received = true;
                }
                mqtt.send(&wire::pubrel(id))?;
            }
            other => return Err(super::unexpected(&other)),
        }
        Ok(())
    }

    /// They are confirmed in the order in which they were sent.
    fn confirm(&mut self, id: u16) {
        if let Some(sent) = self.on_their_way.pop_front_if(|sent| sent.id == id) {
            self.confirmed.push(sent.number);
        }
    }

    /// Every second one is a resource, the others are events.
    fn publish(&self, sent: &Sent, dup: bool) -> Vec<u8> {
        let message = Publish {
            topic: self.topic.clone(),
            payload: sent.number.to_string().into_bytes(),
            qos: self.qos,
            retain: sent.number.is_multiple_of(2),
            dup,
            id: Some(sent.id),
            properties: Vec::new(),
        };
        wire::publish(&message, self.connect.version)
    }
}

impl Receiver {
    /// A receiver of this name.
    pub fn new(version: Version, name: &str, filter: &str, qos: u8) -> Self {
        let connect = Connect { keep_alive: 0, ..Connect::persistent(version, name) };
        let (held, got, highest) = (BTreeSet::new(), Vec::new(), BTreeMap::new());
        Self {
            connect,
            patience: PATIENCE,
            filter: filter.to_owned(),
            qos,
            is_subscribed: false,
            held,
            got,
            highest,
        }
    }

    /// Takes silence of so long for a broken connection.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Which MQTT it speaks.
    pub fn version(&self) -> Version {
        self.connect.version
    }

    /// The QoS of its subscription.
    pub fn qos(&self) -> u8 {
        self.qos
    }

    /// The payloads that came on one topic, as numbers.
    pub fn got(&self, topic: &str) -> Vec<u64> {
        let on_topic = self.got.iter().filter(|(known, _)| known == topic);
        on_topic.filter_map(|(_, payload)| payload.parse().ok()).collect()
    }

    /// Whether this number or a higher one has come on a topic.
    pub fn has(&self, topic: &str, number: u64) -> bool {
        self.highest.get(topic).is_some_and(|highest| *highest >= number)
    }

    /// Subscribes, once.
    ///
    /// # Errors
    /// Why the connection broke.
    pub fn subscribe(&mut self, address: SocketAddr) -> io::Result<()> {
        let mut mqtt = Mqtt::connect(address, &self.connect)?;
        mqtt.subscribe(&[(&self.filter, self.qos)], &[])?;
        self.is_subscribed = true;
        mqtt.disconnect()
    }

    /// Receives until the connection breaks, or until `is_enough`.
    ///
    /// # Errors
    /// Why the connection broke.
    ///
    /// # Panics
    /// When the server has forgotten the session.
    pub fn run(&mut self, address: SocketAddr, is_enough: impl Fn(&Self) -> bool) -> io::Result<()> {
        let mut mqtt = Mqtt::connect_within(address, &self.connect, self.patience)?;
        assert!(mqtt.session_present || !self.is_subscribed, "a session is forgotten");
        while !is_enough(self) {
            match mqtt.packet()? {
                Packet::Publish(message) => self.take(&mut mqtt, message)?,
                Packet::Pubrel { id } => {
                    self.held.remove(&id);
                    mqtt.send(&wire::pubcomp(id))?;
                }
                other => return Err(super::unexpected(&other)),
            }
        }
        Ok(())
    }

    fn take(&mut self, mqtt: &mut Mqtt, message: Publish) -> io::Result<()> {
        let Publish { topic, payload, qos, id, retain, .. } = message;
        let is_new = match (qos, id) {
            (1, Some(id)) => {
                mqtt.send(&wire::puback(id))?;
                true
            }
            (2, Some(id)) => {
                mqtt.send(&wire::pubrec(id))?;
                self.held.insert(id)
            }
            _ => true,
        };
        // What is retained when a subscription begins comes besides what is published from then on.
        if is_new && !retain {
            let payload = String::from_utf8_lossy(&payload).into_owned();
            let number: u64 = payload.parse().unwrap_or_default();
            let highest = self.highest.entry(topic.clone()).or_default();
            *highest = number.max(*highest);
            self.got.push((topic, payload));
        }
        Ok(())
    }
}
