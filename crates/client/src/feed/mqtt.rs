//! A feed as a tracked subscription of MQTT 5: `QoS` 0 for the newest states, 1 for every entry.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dovetail_api::decode::Frame;
use dovetail_model::{Filter, limits};
use dovetail_mqtt_proto::{
    Ack, ConnAck, Connect, Decoder, Delivery, Disconnect, Packet, PacketId, Properties, PropertiesBuf,
    Property, Publish, Qos, ReasonCode, Role, Secret, SubAck, Subscribe, SubscribeOptions, Subscription,
    Text, Version,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout};

use super::tracked::Tracked;
use super::transport::Transport;
use super::{Start, WatchOptions};
use crate::Client;
use crate::error::Error;
use crate::http::Http;
use crate::server::{Credentials, Server};
use crate::traffic::{Counted, Traffic};

/// The silence in seconds that the client promises not to exceed.
const KEEP_ALIVE_S: u16 = 30;
/// How often it makes sure.
const PING: Duration = Duration::from_secs(KEEP_ALIVE_S as u64 / 2);
/// Bytes of the largest packet: the largest payload and what is said about it.
const PACKET_BYTES: u32 = 2 * limits::PAYLOAD_BYTES_MAX as u32;
/// Bytes that are read at once.
const READ_BYTES: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Mqtt {
    server: Server,
    traffic: Arc<Traffic>,
    credentials: Option<Credentials>,
    filter: Filter,
    every: bool,
    silence: Duration,
    link: Option<Link>,
}

/// One connection.
#[derive(Debug)]
struct Link {
    server: Server,
    socket: Counted,
    decoder: Decoder,
    input: Vec<u8>,
    /// What is to be sent, and how much of it has been.
    output: Vec<u8>,
    sent: usize,
    tracked: Tracked,
    heard_at: Instant,
    ping_at: Instant,
    silence: Duration,
}

impl Mqtt {
    pub(crate) fn new(client: &Client, server: Server, filter: Filter, options: &WatchOptions) -> Self {
        Self {
            server,
            traffic: client.traffic(),
            credentials: client.credentials.clone(),
            filter,
            every: options.every,
            silence: options.silence,
            link: None,
        }
    }

    async fn subscribed(&self, start: Start) -> Result<Link, Error> {
        let socket = Http::connect(&self.server, &self.traffic).await?;
        let mut link = Link {
            server: self.server.clone(),
            socket,
            decoder: Decoder::new(Role::Client(Version::V5), PACKET_BYTES),
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            tracked: Tracked::new(start),
            heard_at: Instant::now(),
            ping_at: Instant::now() + PING,
            silence: self.silence,
        };
        link.say(&Packet::Connect(Box::new(connect(self.credentials.as_ref())?)))?;
        match link.packet().await? {
            Packet::ConnAck(ConnAck { reason: ReasonCode::Success, .. }) => {}
            Packet::ConnAck(ConnAck { reason, properties, .. }) => return Err(refused(reason, &properties)),
            _ => return Err(Error::BadField("first packet")),
        }
        link.say(&Packet::Subscribe(self.subscribe(start)?))?;
        loop {
            match link.packet().await? {
                Packet::SubAck(SubAck { reasons, properties, .. }) => {
                    let reason = reasons.first().copied().unwrap_or(ReasonCode::UnspecifiedError);
                    return if reason.is_error() { Err(refused(reason, &properties)) } else { Ok(link) };
                }
                // Messages may come before the acknowledgement (§3.8.4).
                other => link.take(other)?,
            }
        }
    }

    fn subscribe(&self, start: Start) -> Result<Subscribe, Error> {
        let since = match start {
            Start::Baseline => String::new(),
            Start::After(position) => position.to_string(),
        };
        let mut properties = PropertiesBuf::new();
        properties.push(Property::User("since", &since))?;
        let qos = if self.every { Qos::AtLeastOnce } else { Qos::AtMostOnce };
        let subscription =
            Subscription { filter: Text::new(self.filter.as_str())?, options: SubscribeOptions::new(qos) };
        Ok(Subscribe {
            id: PacketId::FIRST,
            properties: properties.into(),
            subscriptions: vec![subscription],
        })
    }
}

impl Transport for Mqtt {
    async fn open(&mut self, start: Start) -> Result<(), Error> {
        self.link = None;
        let silent = Error::Silent { address: self.server.to_string().into(), waited: self.silence };
        self.link = Some(timeout(self.silence, self.subscribed(start)).await.unwrap_or(Err(silent))?);
        Ok(())
    }

    async fn next(&mut self) -> Result<Frame, Error> {
        let Some(link) = &mut self.link else {
            return Err(Error::Lost { address: self.server.to_string().into(), source: None });
        };
        loop {
            if let Some(frame) = link.tracked.next() {
                return Ok(frame);
            }
            let packet = link.packet().await?;
            link.take(packet)?;
        }
    }

    fn close(&mut self) {
        self.link = None;
    }
}

impl Link {
    fn say(&mut self, packet: &Packet) -> Result<(), Error> {
        Ok(packet.write(&mut self.output, Version::V5)?)
    }

    /// What a packet means for the feed, and its acknowledgement.
    fn take(&mut self, packet: Packet) -> Result<(), Error> {
        match packet {
            Packet::Publish(publish) => self.take_message(&publish),
            Packet::Disconnect(Disconnect { reason, properties }) => Err(refused(reason, &properties)),
            _ => Ok(()),
        }
    }

    fn take_message(&mut self, publish: &Publish) -> Result<(), Error> {
        self.tracked.take(publish)?;
        if let Delivery::AtLeastOnce(id) = publish.delivery {
            self.say(&Packet::PubAck(Ack::new(id, ReasonCode::Success)))?;
        }
        Ok(())
    }

    /// The next packet. Pings when it is time. Cancelling loses nothing.
    async fn packet(&mut self) -> Result<Packet, Error> {
        loop {
            let mut input = &self.input[..];
            let packet = self.decoder.next(&mut input)?;
            let taken = self.input.len() - input.len();
            self.input.drain(..taken);
            if let Some(packet) = packet {
                return Ok(packet);
            }
            self.exchange().await?;
        }
    }

    /// Sends what is to be sent, or reads something.
    async fn exchange(&mut self) -> Result<(), Error> {
        let Self { server, socket, input, output, sent, ping_at, .. } = self;
        let lost = |source: std::io::Error| Error::Lost {
            address: server.to_string().into(),
            source: Some(source.into()),
        };
        if *sent < output.len() {
            *sent += socket.write(&output[*sent..]).await.map_err(lost)?;
            if *sent == output.len() {
                output.clear();
                *sent = 0;
                *ping_at = Instant::now() + PING;
            }
            return Ok(());
        }
        input.reserve(READ_BYTES);
        let silent_at = self.heard_at + self.silence;
        tokio::select! {
            read = socket.read_buf(input) => {
                if read.map_err(lost)? == 0 {
                    return Err(Error::Lost { address: server.to_string().into(), source: None });
                }
                self.heard_at = Instant::now();
                Ok(())
            }
            () = sleep_until(*ping_at) => {
                *ping_at = Instant::now() + PING;
                self.say(&Packet::PingReq)
            }
            () = sleep_until(silent_at) => {
                Err(Error::Silent { address: server.to_string().into(), waited: self.silence })
            }
        }
    }
}

fn connect(credentials: Option<&Credentials>) -> Result<Connect, Error> {
    let (user_name, password) = match credentials {
        None => (None, None),
        Some(Credentials::Bearer(token)) => (None, Some(token)),
        Some(Credentials::Password { name, password }) => (Some(Text::new(name)?), Some(password)),
    };
    Ok(Connect {
        version: Version::V5,
        clean_start: true,
        keep_alive: KEEP_ALIVE_S,
        properties: Properties::NONE,
        client_id: Text::EMPTY,
        will: None,
        user_name,
        password: password.map(|secret| Secret(Bytes::copy_from_slice(secret.as_bytes()))),
    })
}

fn refused(code: ReasonCode, properties: &Properties) -> Error {
    Error::Refused { code, text: properties.reason_string().map(Into::into) }
}
