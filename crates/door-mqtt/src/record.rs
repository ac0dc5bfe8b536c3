//! What is stored of a session, as bytes.
//!
//! Each record starts with the version of its form, so that a later server can read what an earlier one wrote. Numbers are
//! in base 128, low bits first; texts are preceded by their length. What cannot be read is no record: a session of which one is
//! damaged is given up as a whole, which its client is told by *session present* 0.

use dovetail_engine::Fingerprint;
use dovetail_model::{Epoch, Topic, UnixMillis};
use dovetail_mqtt_proto::{
    Connect, Decoder, Packet, PacketId, Properties, PropertiesBuf, Property, Qos, RetainHandling, Role,
    Stage, SubscribeOptions, Text, Version, Will,
};

use crate::tracked::Kind;

/// The form that is written.
const VERSION: u8 = 1;

/// A session as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Root {
    /// How long in seconds the session outlives its connection; never 0.
    pub(crate) expiry: u32,
    /// When its connection ended; `None` while there is one, or when the server ended with it.
    pub(crate) ended_at: Option<UnixMillis>,
}

/// A subscription, as it was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Subscribed {
    pub(crate) filter: Box<str>,
    pub(crate) options: SubscribeOptions,
    /// The subscription identifier.
    pub(crate) identifier: Option<u32>,
    pub(crate) kind: Kind,
    /// Where it stood when this was written. The flow of the session knows better, once it knows the subscription.
    pub(crate) place: Place,
    /// In which epoch.
    pub(crate) epoch: Epoch,
}

/// How far a subscription is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Place {
    /// Everything up to this revision; `None` for nothing, so that the state is told first.
    pub(crate) told: Option<u64>,
    /// Of a later revision, so many changes.
    pub(crate) within: Option<(u64, u16)>,
    /// The state is to be told besides.
    pub(crate) refresh: bool,
}

impl Place {
    /// Nothing is told.
    pub(crate) const BASELINE: Self = Self { told: None, within: None, refresh: false };

    /// The state is to be told, and everything after it. Of a tracked subscription the state is where its client begins; any
    /// other gets what came after the revision at which it was made besides, since a state holds no events.
    pub(crate) fn with_state(number: u64, kind: Kind) -> Self {
        match kind {
            Kind::Plain => Self { told: Some(number), refresh: true, within: None },
            Kind::Tracked | Kind::Frames => Self::BASELINE,
        }
    }

    /// Everything up to a revision is told.
    pub(crate) fn up_to(number: u64) -> Self {
        Self { told: Some(number), ..Self::BASELINE }
    }
}

/// How far a session is: the places of its subscriptions, and what is in flight.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Flow {
    /// In which all numbers count.
    pub(crate) epoch: Epoch,
    /// The number of the next subscription. Those from here on are not known to this record.
    pub(crate) next: u32,
    /// Where most subscriptions are.
    pub(crate) base: u64,
    /// Where the others are.
    pub(crate) others: Vec<(u32, Place)>,
    /// In the order of sending.
    pub(crate) flights: Vec<Flight>,
}

/// A message that the client has not acknowledged to the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Flight {
    pub(crate) id: PacketId,
    pub(crate) stage: Stage,
    /// The number of the subscription that it was sent for.
    pub(crate) subscription: u32,
    pub(crate) retain: bool,
    pub(crate) what: What,
}

/// By what the contents of a message are found again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// A change: the commit, and a digest of the topic.
    Change {
        /// What had been told before.
        after: u64,
        /// The number of the commit.
        rev: u64,
        /// Which of its changes; any of them where all are one message.
        digest: u64,
    },
    /// A resource of a state that was told, as long as it is at this revision.
    Resource {
        /// The number of its last change.
        rev: u64,
        /// Its name.
        topic: Topic,
    },
    /// A state begins.
    Begin(u64),
    /// A state is complete.
    Synced(u64),
    /// Nothing happened.
    Progress {
        /// What had been told before.
        after: u64,
        /// What was told then.
        rev: u64,
    },
    /// It is nowhere: an event that was not kept, or a word that makes no sense later.
    Nowhere,
}

/// A will, and how long it is held back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LastWill {
    pub(crate) will: Will,
}

impl LastWill {
    /// How long in seconds after the end of the connection it is due `[MQTT-3.1.3-9]`.
    pub(crate) fn delay(&self) -> u32 {
        self.will.properties.will_delay().unwrap_or(0)
    }
}

/// By what a change is found again within its commit, which names no topic twice.
pub(crate) fn digest(topic: &Topic) -> u64 {
    Fingerprint::new().field(topic.as_str().as_bytes()).finish()
}

/// What is not a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Damaged;

impl Root {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.number(self.expiry.into());
        match self.ended_at {
            None => out.byte(0),
            Some(at) => {
                out.byte(1);
                out.number(at);
            }
        }
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes)?;
        let expiry = reader.small()?;
        let ended_at = if reader.flag()? { Some(reader.number()?) } else { None };
        reader.finish(Self { expiry, ended_at })
    }
}

impl Subscribed {
    /// The subscription identifier as a property of each message.
    pub(crate) fn identifier_properties(&self) -> PropertiesBuf {
        let mut encoded = PropertiesBuf::new();
        if let Some(identifier) = self.identifier {
            // It was read from a SUBSCRIBE.
            let _ = encoded.push(Property::SubscriptionIdentifier(identifier));
        }
        encoded
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.text(&self.filter);
        out.byte(options_to_byte(self.options));
        out.byte(match self.kind {
            Kind::Plain => 0,
            Kind::Tracked => 1,
            Kind::Frames => 2,
        });
        out.number(self.identifier.unwrap_or(0).into());
        out.number(self.epoch.to_bits());
        out.place(self.place);
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes)?;
        let subscribed = Self {
            filter: reader.text()?.into(),
            options: options_from_byte(reader.byte()?)?,
            kind: match reader.byte()? {
                0 => Kind::Plain,
                1 => Kind::Tracked,
                2 => Kind::Frames,
                _ => return Err(Damaged),
            },
            // 0 is no identifier (§3.8.2.1.2).
            identifier: Some(reader.small()?).filter(|id| *id != 0),
            epoch: reader.epoch()?,
            place: reader.place()?,
        };
        reader.finish(subscribed)
    }
}

impl Flow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.number(self.epoch.to_bits());
        out.number(self.next.into());
        out.number(self.base);
        out.number(self.others.len() as u64);
        for (number, place) in &self.others {
            out.number((*number).into());
            out.place(*place);
        }
        out.number(self.flights.len() as u64);
        for flight in &self.flights {
            out.flight(flight);
        }
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes)?;
        let epoch = reader.epoch()?;
        let next = reader.small()?;
        let base = reader.number()?;
        let others = reader.list(|reader| Ok((reader.small()?, reader.place()?)))?;
        let flights = reader.list(Reader::flight)?;
        reader.finish(Self { epoch, next, base, others, flights })
    }

    /// Where a subscription stands; `None` if it is newer than this record.
    pub(crate) fn place(&self, number: u32) -> Option<Place> {
        let known = self.others.binary_search_by_key(&number, |(number, _)| *number);
        match known {
            Ok(index) => Some(self.others[index].1),
            Err(_) => (number < self.next).then_some(Place::up_to(self.base)),
        }
    }
}

impl LastWill {
    /// MQTT has a form for wills already: that of CONNECT.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        let connect = Connect {
            version: Version::V5,
            clean_start: true,
            keep_alive: 0,
            properties: Properties::NONE,
            client_id: Text::EMPTY,
            will: Some(self.will.clone()),
            user_name: None,
            password: None,
        };
        // It was part of a CONNECT with more in it.
        let written = Packet::Connect(Box::new(connect)).write(&mut out, Version::V5);
        debug_assert!(written.is_ok(), "what was read can be written");
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let (version, mut rest) = bytes.split_first().ok_or(Damaged)?;
        if *version != VERSION {
            return Err(Damaged);
        }
        let mut decoder = Decoder::new(Role::Server, u32::MAX);
        match decoder.next(&mut rest) {
            Ok(Some(Packet::Connect(connect))) if rest.is_empty() => {
                connect.will.map(|will| Self { will }).ok_or(Damaged)
            }
            _ => Err(Damaged),
        }
    }
}

/// The byte that SUBSCRIBE has for it (§3.8.3.1).
fn options_to_byte(options: SubscribeOptions) -> u8 {
    options.qos.bits()
        | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | (options.retain_handling as u8) << 4
}

fn options_from_byte(byte: u8) -> Result<SubscribeOptions, Damaged> {
    let retain_handling = match byte >> 4 {
        0 => RetainHandling::Send,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::DoNotSend,
        _ => return Err(Damaged),
    };
    Ok(SubscribeOptions {
        qos: Qos::from_bits(byte & 3).ok_or(Damaged)?,
        no_local: byte & 4 != 0,
        retain_as_published: byte & 8 != 0,
        retain_handling,
    })
}

struct Writer(Vec<u8>);

impl Writer {
    fn new() -> Self {
        Self(vec![VERSION])
    }

    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn place(&mut self, place: Place) {
        let Place { told, within, refresh } = place;
        self.byte(u8::from(told.is_some()) | u8::from(within.is_some()) << 1 | u8::from(refresh) << 2);
        if let Some(told) = told {
            self.number(told);
        }
        if let Some((rev, changes)) = within {
            self.number(rev);
            self.number(changes.into());
        }
    }

    fn flight(&mut self, flight: &Flight) {
        let stage = match flight.stage {
            Stage::PubAck => 0,
            Stage::PubRec => 1,
            Stage::PubComp => 2,
        };
        let what = match flight.what {
            What::Change { .. } => 0,
            What::Resource { .. } => 1,
            What::Begin(_) => 2,
            What::Synced(_) => 3,
            What::Progress { .. } => 4,
            What::Nowhere => 5,
        };
        self.byte(stage | u8::from(flight.retain) << 2 | what << 3);
        self.number(flight.id.get().into());
        self.number(flight.subscription.into());
        match &flight.what {
            What::Change { after, rev, digest } => {
                self.number(*after);
                self.number(*rev);
                self.0.extend_from_slice(&digest.to_le_bytes());
            }
            What::Resource { rev, topic } => {
                self.number(*rev);
                self.text(topic.as_str());
            }
            What::Begin(rev) | What::Synced(rev) => self.number(*rev),
            What::Progress { after, rev } => {
                self.number(*after);
                self.number(*rev);
            }
            What::Nowhere => {}
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Damaged> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => Ok(Self(rest)),
            _ => Err(Damaged),
        }
    }

    fn byte(&mut self) -> Result<u8, Damaged> {
        let (byte, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn flag(&mut self) -> Result<bool, Damaged> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damaged),
        }
    }

    fn number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Damaged);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Damaged> {
        T::try_from(self.number()?).map_err(|_| Damaged)
    }

    fn epoch(&mut self) -> Result<Epoch, Damaged> {
        Epoch::from_bits(self.number()?).ok_or(Damaged)
    }

    fn text(&mut self) -> Result<&'a str, Damaged> {
        let length = self.small::<usize>()?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| Damaged)
    }

    fn place(&mut self) -> Result<Place, Damaged> {
        let parts = self.byte()?;
        if parts > 7 {
            return Err(Damaged);
        }
        let told = if parts & 1 != 0 { Some(self.number()?) } else { None };
        let within = if parts & 2 != 0 { Some((self.number()?, self.small()?)) } else { None };
        Ok(Place { told, within, refresh: parts & 4 != 0 })
    }

    fn flight(&mut self) -> Result<Flight, Damaged> {
        let kinds = self.byte()?;
        let id = PacketId::new(self.small()?).ok_or(Damaged)?;
        let subscription = self.small()?;
        let stage = match kinds & 3 {
            0 => Stage::PubAck,
            1 => Stage::PubRec,
            2 => Stage::PubComp,
            _ => return Err(Damaged),
        };
        let what = match kinds >> 3 {
            0 => What::Change { after: self.number()?, rev: self.number()?, digest: self.digest()? },
            1 => {
                What::Resource { rev: self.number()?, topic: Topic::new(self.text()?).map_err(|_| Damaged)? }
            }
            2 => What::Begin(self.number()?),
            3 => What::Synced(self.number()?),
            4 => What::Progress { after: self.number()?, rev: self.number()? },
            5 => What::Nowhere,
            _ => return Err(Damaged),
        };
        Ok(Flight { id, stage, subscription, retain: kinds & 4 != 0, what })
    }

    fn digest(&mut self) -> Result<u64, Damaged> {
        let (digest, rest) = self.0.split_first_chunk::<8>().ok_or(Damaged)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*digest))
    }

    /// A list. Nothing is allocated ahead of what is there.
    fn list<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T, Damaged>,
    ) -> Result<Vec<T>, Damaged> {
        let count = self.number()?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(element(self)?);
        }
        Ok(list)
    }

    fn finish<T>(self, value: T) -> Result<T, Damaged> {
        if self.0.is_empty() { Ok(value) } else { Err(Damaged) }
    }
}

#[cfg(test)]
mod tests;
