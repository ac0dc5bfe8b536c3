//! A real engine over the memory journal, the door, and clients that speak packets over a pipe.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses its part")]

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use dovetail_auth::{Policy, Principal};
use dovetail_door_mqtt::{Door, LocalDoor, Options};
use dovetail_engine::{
    Clock, Engine, Operation, Precondition, Read, Recovery, Running, Shard, Verb, View, Write,
};
use dovetail_journal::Journal;
use dovetail_journal::memory::{MemoryControl, MemoryJournal, MemoryOptions};
use dovetail_model::{Epoch, Filter, Representation, Revision, Topic};
use dovetail_mqtt_proto::{
    Ack, ConnAck, Connect, Decoder, Delivery, Disconnect, Packet, PacketId, Properties, PropertiesBuf,
    Property, Publish, Qos, ReasonCode, Role, SubAck, Subscribe, SubscribeOptions, Subscription, Text,
    Version,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf};

pub const V3: Version = Version::V311;
pub const V5: Version = Version::V5;

/// Bytes that a pipe holds.
const PIPE: usize = 64 << 10;
/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub engine: Engine,
    pub shard: Shard,
    pub door: Door,
    pub local: LocalDoor,
    pub journal: MemoryControl,
    pub hand: Arc<AtomicU64>,
    pub running: Running,
    options: Options,
}

/// Runs `script` with a fresh engine and door on a runtime like a shard's.
pub fn with_door<F: Future<Output = ()>>(options: Options, script: impl FnOnce(World) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let journal = MemoryJournal::new(journal_options()).unwrap();
        script(World::start(journal, Recovery::new(), 1_800_000_000_000, options)).await;
    });
}

/// Like [`with_door`], with a journal that keeps so many bytes of history.
pub fn with_short_history<F: Future<Output = ()>>(bytes: usize, script: impl FnOnce(World) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let journal = MemoryOptions { history_bytes_max: bytes, ..journal_options() };
        let journal = MemoryJournal::new(journal).unwrap();
        script(World::start(journal, Recovery::new(), 1_800_000_000_000, Options::default())).await;
    });
}

fn journal_options() -> MemoryOptions {
    MemoryOptions { epoch: Some(Epoch::from_random(7)), ..MemoryOptions::default() }
}

/// A CONNECT that goes on with a session, or begins one, which outlives the connection by `expiry` seconds. Before MQTT 5 it
/// is as long as the server likes.
pub fn session(version: Version, client_id: &str, expiry: u32) -> Connect {
    let properties = match version {
        V5 => properties(&[Property::SessionExpiry(expiry)]),
        _ => Properties::NONE,
    };
    Connect { clean_start: false, keep_alive: 0, properties, ..connect(version, client_id) }
}

/// Like [`with_door`], with the options that a server has.
pub fn with_plain_door<F: Future<Output = ()>>(script: impl FnOnce(World) -> F) {
    with_door(Options::default(), script);
}

pub fn who() -> Principal {
    Principal::anonymous(IpAddr::from([127, 0, 0, 1]))
}

pub fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

pub fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

pub fn properties(list: &[Property<'_>]) -> Properties {
    let mut buf = PropertiesBuf::new();
    for property in list {
        buf.push(*property).unwrap();
    }
    buf.into()
}

pub fn connect(version: Version, client_id: &str) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        properties: Properties::NONE,
        client_id: text(client_id),
        will: None,
        user_name: None,
        password: None,
    }
}

pub fn publish(topic: &str, payload: &str, delivery: Delivery) -> Publish {
    Publish {
        dup: false,
        retain: false,
        delivery,
        topic: text(topic),
        properties: Properties::NONE,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

pub fn retained(topic: &str, payload: &str, delivery: Delivery) -> Publish {
    Publish { retain: true, ..publish(topic, payload, delivery) }
}

impl World {
    fn start(journal: MemoryJournal, recovery: Recovery, now: u64, options: Options) -> Self {
        let control = journal.control();
        let (clock, hand) = Clock::manual(now);
        let recovered = recovery.finish().unwrap();
        let engine_options = dovetail_engine::Options::default();
        let (engine, running) =
            Engine::start(Journal::from(journal), recovered, Policy::loopback(), clock, engine_options)
                .unwrap();
        let shard = engine.shard();
        let door = Door::new(options.clone());
        door.recover(&engine);
        let local = door.local(shard.clone());
        let keeper = local.clone();
        tokio::task::spawn_local(async move { keeper.keep().await });
        Self { engine, shard, door, local, journal: control, hand, running, options }
    }

    /// The server that finds what this one has on its disk now: this one was killed at this moment. It goes on, but nobody
    /// can tell: what it does from now on is not on that disk.
    pub fn killed(&self) -> Self {
        let mut recovery = Recovery::new();
        let journal = MemoryJournal::open(self.journal.image(), journal_options(), &mut recovery).unwrap();
        Self::start(journal, recovery, self.hand.load(Ordering::SeqCst), self.options.clone())
    }

    /// Lets time pass, for the server and on the wall.
    pub async fn pass(&self, time: Duration) {
        self.hand.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    /// Names of the records that the door keeps, below its area.
    pub fn records(&self) -> Vec<String> {
        let read = Read::Select(Filter::new("$dovetail/mqtt/#").unwrap());
        let view = self.shard.read(self.shard.policy().authorize(&Principal::server(), read).unwrap());
        view.select(None).map(|record| record.topic.as_str()["$dovetail/mqtt/".len()..].to_owned()).collect()
    }

    /// A client that has sent nothing yet.
    pub fn open(&self, version: Version) -> Client {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let local = self.local.clone();
        tokio::task::spawn_local(async move { local.serve(theirs, who()).await });
        Client {
            version,
            stream: Some(ours),
            decoder: Decoder::new(Role::Client(version), u32::MAX),
            packets: VecDeque::new(),
            next_id: 0,
        }
    }

    /// A client that is accepted.
    pub async fn client(&self, version: Version, client_id: &str) -> Client {
        self.connected(connect(version, client_id)).await.0
    }

    /// A client that is accepted, and its CONNACK.
    pub async fn connected(&self, connect: Connect) -> (Client, ConnAck) {
        let mut client = self.open(connect.version);
        client.send(&Packet::Connect(Box::new(connect))).await;
        let Packet::ConnAck(ack) = client.next().await else { panic!("no CONNACK") };
        assert_eq!(ack.reason, ReasonCode::Success, "{ack:?}");
        (client, ack)
    }

    pub async fn put(&self, topic: &str, payload: &str) -> Revision {
        let representation = Representation::copied(payload.as_bytes(), None);
        self.write(&[(topic, Verb::Put { representation, time_to_live: None })]).await
    }

    pub async fn delete(&self, topic: &str) -> Revision {
        self.write(&[(topic, Verb::DELETE)]).await
    }

    pub async fn write(&self, operations: &[(&str, Verb)]) -> Revision {
        let operations = operations
            .iter()
            .map(|(topic, verb)| Operation {
                topic: Topic::new(topic).unwrap(),
                verb: verb.clone(),
                precondition: Precondition::None,
            })
            .collect();
        let write = Write { operations, records: Vec::new(), idempotency_key: None, publisher: None };
        self.shard.submit(self.shard.policy().authorize(&who(), write).unwrap()).await.unwrap().revision
    }

    pub fn view(&self, filter: &str) -> View {
        let read = Read::Select(Filter::new(filter).unwrap());
        self.shard.read(self.shard.policy().authorize(&who(), read).unwrap())
    }

    /// Waits until the held journal has a batch to append, while the connections go on.
    pub async fn held(&self) {
        let journal = self.journal.clone();
        tokio::task::spawn_blocking(move || journal.wait_until_held()).await.unwrap();
    }

    /// What matches, as pairs of name and payload.
    pub fn state(&self, filter: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.view(filter)
            .select(None)
            .map(|resource| (resource.topic.to_string(), text(&resource.representation.payload)))
            .collect()
    }
}

/// A client that goes on with its session.
pub async fn again(world: &World, connect: Connect) -> Client {
    let (client, ack) = world.connected(connect).await;
    assert!(ack.session_present, "{ack:?}");
    client
}

/// Waits until the server has noticed that every connection is gone.
pub async fn gone(world: &World) {
    while world.door.connected() > 0 {
        tokio::task::yield_now().await;
    }
}

/// A client that speaks packets.
pub struct Client {
    pub version: Version,
    stream: Option<DuplexStream>,
    decoder: Decoder,
    packets: VecDeque<Packet>,
    next_id: u16,
}

impl Client {
    pub async fn send(&mut self, packet: &Packet) {
        self.send_all(std::slice::from_ref(packet)).await;
    }

    /// Sends packets in one piece.
    pub async fn send_all(&mut self, packets: &[Packet]) {
        let mut bytes = Vec::new();
        for packet in packets {
            packet.write(&mut bytes, self.version).unwrap();
        }
        self.send_bytes(&bytes).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        let stream = self.stream.as_mut().unwrap();
        tokio::time::timeout(PATIENCE, stream.write_all(bytes)).await.expect("the server reads").unwrap();
    }

    /// Like [`Client::send_bytes`], to a server that may have closed the connection.
    pub async fn try_send_bytes(&mut self, bytes: &[u8]) {
        let stream = self.stream.as_mut().unwrap();
        let written =
            tokio::time::timeout(PATIENCE, stream.write_all(bytes)).await.expect("the server reads");
        if let Err(error) = written {
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        }
    }

    /// The next packet; `None` when the server has closed the connection.
    pub async fn next_or_end(&mut self) -> Option<Packet> {
        let mut buffer = [0; 4096];
        while self.packets.is_empty() {
            let reading = self.stream.as_mut()?.read(&mut buffer);
            let count =
                tokio::time::timeout(PATIENCE, reading).await.expect("something comes").unwrap_or_default();
            if count == 0 {
                self.stream = None;
                return None;
            }
            let mut input = &buffer[..count];
            while let Some(packet) = self.decoder.next(&mut input).unwrap() {
                self.packets.push_back(packet);
            }
        }
        self.packets.pop_front()
    }

    /// A packet that has come already.
    pub async fn next_now(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = self.packets.pop_front() {
                return Some(packet);
            }
            let stream = self.stream.as_mut()?;
            let mut bytes = [0; 4096];
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_read(cx, &mut buffer))).await;
            if read.is_pending() || buffer.filled().is_empty() {
                return None;
            }
            let mut input = buffer.filled();
            while let Some(packet) = self.decoder.next(&mut input).unwrap() {
                self.packets.push_back(packet);
            }
        }
    }

    pub async fn next(&mut self) -> Packet {
        self.next_or_end().await.expect("the connection goes on")
    }

    /// The next packet, which is a message.
    pub async fn message(&mut self) -> Publish {
        match self.next().await {
            Packet::Publish(publish) => publish,
            other => panic!("no message: {other:?}"),
        }
    }

    /// The next packet, which is a message with `QoS` 1, acknowledged.
    pub async fn acknowledged(&mut self) -> Publish {
        let message = self.message().await;
        self.send(&Packet::PubAck(Ack::new(message.delivery.id().unwrap(), ReasonCode::Success))).await;
        message
    }

    /// The next packet, which ends the connection, and its reason.
    pub async fn end(&mut self) -> ReasonCode {
        let reason = match self.next().await {
            Packet::Disconnect(bye) => bye.reason,
            other => panic!("no DISCONNECT: {other:?}"),
        };
        assert_eq!(self.next_or_end().await, None);
        reason
    }

    /// The next packets until the answer to a ping, which are messages. They are not acknowledged.
    pub async fn messages(&mut self) -> Vec<Publish> {
        self.send(&Packet::PingReq).await;
        let mut messages = Vec::new();
        loop {
            match self.next().await {
                Packet::Publish(publish) => messages.push(publish),
                Packet::PingResp => return messages,
                other => panic!("no message: {other:?}"),
            }
        }
    }

    /// The next messages, exactly so many. They are not acknowledged.
    pub async fn take(&mut self, count: usize) -> Vec<Publish> {
        let mut messages = Vec::new();
        for _ in 0..count {
            messages.push(self.message().await);
        }
        assert_eq!(self.messages().await, []);
        messages
    }

    pub async fn puback(&mut self, message: &Publish) {
        let id = message.delivery.id().unwrap();
        self.send(&Packet::PubAck(Ack::new(id, ReasonCode::Success))).await;
    }

    /// Closes the pipe without a word.
    pub fn vanish(&mut self) {
        self.stream = None;
    }

    pub async fn disconnect(&mut self, reason: ReasonCode) {
        self.send(&Packet::Disconnect(Disconnect::new(reason))).await;
        assert_eq!(self.next_or_end().await, None);
    }

    /// Waits until the server has answered everything so far.
    pub async fn ping(&mut self) {
        self.send(&Packet::PingReq).await;
        assert_eq!(self.next().await, Packet::PingResp);
    }

    /// Takes and acknowledges what the server says of a tracked subscription that begins.
    pub async fn ping_after_control(&mut self) {
        for message in self.messages().await {
            assert!(message.topic.as_str().starts_with("$feed/"), "{message:?}");
            self.puback(&message).await;
        }
        self.ping().await;
    }

    pub fn id(&mut self) -> PacketId {
        self.next_id += 1;
        id(self.next_id)
    }

    /// Publishes with `QoS` 1 and gives the answer.
    pub async fn publish(&mut self, publish: Publish) -> Ack {
        let id = self.id();
        self.send(&Packet::Publish(Publish { delivery: Delivery::AtLeastOnce(id), ..publish })).await;
        match self.next().await {
            Packet::PubAck(ack) => {
                assert_eq!(ack.id, id);
                ack
            }
            other => panic!("no PUBACK: {other:?}"),
        }
    }

    /// Publishes a retained message, which is accepted.
    pub async fn put(&mut self, topic: &str, payload: &str) {
        let ack = self.publish(retained(topic, payload, Delivery::AtMostOnce)).await;
        assert_eq!(ack.reason, ReasonCode::Success, "{ack:?}");
    }

    /// Subscribes to one filter and gives the answer.
    pub async fn subscribe_with(
        &mut self,
        filter: &str,
        options: SubscribeOptions,
        properties: Properties,
    ) -> SubAck {
        let id = self.id();
        let subscriptions = vec![Subscription { filter: text(filter), options }];
        self.send(&Packet::Subscribe(Subscribe { id, properties, subscriptions })).await;
        match self.next().await {
            Packet::SubAck(ack) => {
                assert_eq!(ack.id, id);
                ack
            }
            other => panic!("no SUBACK: {other:?}"),
        }
    }

    /// Subscribes to one filter, which is granted.
    pub async fn subscribe(&mut self, filter: &str, qos: Qos) {
        let ack = self.subscribe_with(filter, SubscribeOptions::new(qos), Properties::NONE).await;
        assert_eq!(ack.reasons[0].code(), qos.bits());
    }

    /// Subscribes to one filter, tracked from `since` on.
    pub async fn track(&mut self, filter: &str, qos: Qos, since: &str) -> SubAck {
        let since = properties(&[Property::User("since", since)]);
        self.subscribe_with(filter, SubscribeOptions::new(qos), since).await
    }
}

/// A message in short: topic, payload, RETAIN.
pub fn short(publish: &Publish) -> (String, String, bool) {
    let payload = String::from_utf8_lossy(&publish.payload).into_owned();
    (publish.topic.to_string(), payload, publish.retain)
}

pub fn is(topic: &str, payload: &str, retain: bool) -> (String, String, bool) {
    (topic.to_owned(), payload.to_owned(), retain)
}

/// The value of a user property.
pub fn user<'a>(publish: &'a Publish, name: &str) -> Option<&'a str> {
    publish.properties.user().find(|(other, _)| *other == name).map(|(_, value)| value)
}
