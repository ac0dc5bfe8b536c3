//! The server's side of one connection.
//!
//! ```text
//! AwaitingConnect --CONNECT--> Deciding --accept--> Connected --DISCONNECT, violation, timeout, loss--> Closed
//!        |                        |
//!        +--deadline, not MQTT    +--refuse--> Closed
//! ```
//! The owner reads bytes and gives them to [`Connection::next_event`] until it answers `None`; writes what
//! [`Connection::output`] holds; calls [`Connection::handle_timeout`] at [`Connection::next_timeout`]; and looks at
//! [`Connection::is_closed`] after each of these. A closed connection may still owe output.

mod aliases;
mod connect;
mod inbound;
mod outbound;

pub use connect::{Accept, Peer};
pub use inbound::Receipt;
pub use outbound::{Outgoing, Sent};

use crate::decoder::{Decoder, Role};
use crate::error::{DecodeError, Violation};
use crate::output::Output;
use crate::packet::{Connect, Disconnect, Packet, PacketId, Publish, Subscribe, Unsubscribe, Will};
use crate::properties::{Properties, PropertiesBuf, Property};
use crate::reason::ReasonCode;
use crate::session::Session;
use crate::version::Version;
use aliases::Aliases;
use inbound::Inbound;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the server allows to every connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Time from the start of the connection to the end of CONNECT.
    pub connect_timeout: Duration,
    /// Bytes of CONNECT.
    pub connect_size: u32,
    /// Bytes of any later packet.
    pub packet_size: u32,
    /// Messages with `QoS` 1 and 2 from the client that are not acknowledged; at least 1.
    pub receive_maximum: u16,
    /// Messages with `QoS` 1 and 2 to the client that are not acknowledged, if the client allows as many.
    pub send_maximum: u16,
    /// The highest topic alias from the client.
    pub topic_alias_maximum: u16,
    /// The highest topic alias to the client, if the client allows as many.
    pub send_topic_aliases: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            connect_size: 64 * 1024,
            packet_size: 1024 * 1024 + 16 * 1024,
            receive_maximum: 64,
            send_maximum: 256,
            topic_alias_maximum: 16,
            send_topic_aliases: 16,
        }
    }
}

/// What a client wants of the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Answer with [`Connection::accept`] or [`Connection::refuse`]; no further event comes before. The will stays with the
    /// connection.
    Connect(Box<Connect>),
    /// A message, its topic alias resolved. With a receipt, answer with [`Connection::answer_publish`].
    Publish(Publish, Option<Receipt>),
    /// Answer with [`Connection::answer_subscribe`].
    Subscribe(Subscribe),
    /// Answer with [`Connection::answer_unsubscribe`].
    Unsubscribe(Unsubscribe),
    /// The client has, or has refused, the message with this tag.
    Delivered {
        /// The packet id, which is free again.
        id: PacketId,
        /// The tag with which it was sent.
        tag: u64,
        /// What the client said.
        reason: ReasonCode,
    },
    /// The client has the message with this tag and `QoS` 2 (PUBREC); PUBREL is in the output. Only told where
    /// [`Accept::tell_steps`] asked for it.
    Received {
        /// The tag with which it was sent.
        tag: u64,
    },
    /// The client has released the id of a message with `QoS` 2 (PUBREL); PUBCOMP is in the output. Only told where
    /// [`Accept::tell_steps`] asked for it.
    Released(PacketId),
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The client said DISCONNECT, with this reason.
    Client(ReasonCode),
    /// The client broke a rule.
    Violation(Violation),
    /// Nothing came for 1.5 times the keep-alive.
    KeepAlive,
    /// CONNECT did not come in time.
    ConnectTimeout,
    /// The owner refused the connection.
    Refused(ReasonCode),
    /// The owner ended the connection.
    Server(ReasonCode),
    /// The network connection broke or was closed without DISCONNECT.
    Lost,
}

/// What a connection leaves behind.
#[derive(Debug)]
pub struct Closed {
    /// Why it ended.
    pub cause: Cause,
    /// What is to be published now, or after the will delay in its properties.
    pub will: Option<Box<Will>>,
    /// The session, if the connection was accepted.
    pub session: Option<Session>,
    /// The session expiry in seconds that DISCONNECT set.
    pub session_expiry: Option<u32>,
}

/// The server's side of one connection, without I/O.
#[derive(Debug)]
pub struct Connection {
    limits: Arc<Limits>,
    decoder: Decoder,
    output: Output,
    /// Packets that came since they were last counted.
    received: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Only CONNECT may come `[MQTT-3.1.0-1]`, before the deadline.
    AwaitingConnect { deadline: Instant },
    /// The owner decides about a CONNECT.
    Deciding(Box<Deciding>),
    /// Packets flow.
    Connected(Box<Connected>),
    /// Nothing is read or answered any more.
    Closed(Box<Closed>),
}

#[derive(Debug)]
struct Deciding {
    peer: Peer,
    will: Option<Box<Will>>,
}

#[derive(Debug)]
struct Connected {
    peer: Peer,
    session: Session,
    will: Option<Box<Will>>,
    inbound: Inbound,
    /// For a client that takes topic aliases.
    aliases: Option<Box<Aliases>>,
    /// The owner wants to know each step of `QoS` 2.
    tells_steps: bool,
    /// When bytes came last.
    heard: Instant,
}

impl Connection {
    /// A connection that began now.
    pub fn new(limits: impl Into<Arc<Limits>>, now: Instant) -> Self {
        let limits = limits.into();
        Self {
            decoder: Decoder::new(Role::Server, limits.connect_size),
            output: Output::new(),
            received: 0,
            state: State::AwaitingConnect { deadline: now + limits.connect_timeout },
            limits,
        }
    }

    /// Takes bytes off the front of `input` until something happens that the owner must know. `None` when the rest of
    /// `input` cannot be used now: it is empty, or the connection [pauses](Self::wants_input), or it is closed.
    pub fn next_event(&mut self, input: &mut &[u8], now: Instant) -> Option<Event> {
        if let (State::Connected(connected), false) = (&mut self.state, input.is_empty()) {
            connected.heard = now;
        }
        loop {
            if !self.wants_input() {
                return None;
            }
            let packet = match self.decoder.next(input) {
                Ok(packet) => {
                    let packet = packet?;
                    self.received = self.received.wrapping_add(1);
                    packet
                }
                Err(error) => {
                    self.invalid(error);
                    return None;
                }
            };
            let event = match self.on_packet(packet, now) {
                Ok(event) => event,
                Err(violation) => {
                    self.violated(violation);
                    return None;
                }
            };
            if event.is_some() {
                return event;
            }
        }
    }

    /// Keeps what [`Self::next_event`] left of the input while the connection pauses.
    pub fn keep(&mut self, input: &[u8]) {
        if !self.is_closed() {
            self.decoder.keep(input);
        }
    }

    /// Whether more input can be used: not while the owner decides about CONNECT, not while a client without flow control
    /// (before MQTT 5) has as many unanswered messages as the receive maximum allows, and not after the end.
    pub fn wants_input(&self) -> bool {
        match &self.state {
            State::AwaitingConnect { .. } => true,
            State::Connected(connected) => {
                connected.peer.version.is_v5()
                    || connected.inbound.unanswered() < usize::from(self.limits.receive_maximum)
            }
            State::Deciding(_) | State::Closed(_) => false,
        }
    }

    /// Whether bytes of an unfinished packet, or bytes that were kept, are inside.
    pub fn has_partial_input(&self) -> bool {
        !self.decoder.is_empty()
    }

    /// What is to be written.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// How many packets came from the client and how many were written for it since this was last asked.
    pub fn take_packets(&mut self) -> (u32, u32) {
        (std::mem::take(&mut self.received), self.output.take_packets())
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::AwaitingConnect { deadline } => Some(*deadline),
            State::Connected(connected) => connected.silent_until(),
            State::Deciding(_) | State::Closed(_) => None,
        }
    }

    /// Ends a connection whose time is over `[MQTT-3.1.2-22]`; else does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_timeout().is_none_or(|timeout| now < timeout) {
            return;
        }
        match &self.state {
            State::AwaitingConnect { .. } => self.close(Cause::ConnectTimeout),
            _ => self.end(
                ReasonCode::KeepAliveTimeout,
                "nothing came within 1.5 times the keep-alive",
                Cause::KeepAlive,
            ),
        }
    }

    /// Ends the connection with this reason, which only MQTT 5 sees. `text` is words for people, or empty.
    pub fn disconnect(&mut self, reason: ReasonCode, text: &str) {
        self.end(reason, text, Cause::Server(reason));
    }

    /// The network connection is gone.
    pub fn lost(&mut self) {
        self.output.clear();
        self.close(Cause::Lost);
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }

    /// What a closed connection leaves behind.
    pub fn into_closed(self) -> Option<Closed> {
        match self.state {
            State::Closed(closed) => Some(*closed),
            _ => None,
        }
    }

    /// The client's side, once it is accepted.
    pub fn peer(&self) -> Option<&Peer> {
        match &self.state {
            State::Connected(connected) => Some(&connected.peer),
            _ => None,
        }
    }

    /// The session of an accepted connection.
    pub fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Connected(connected) => Some(&connected.session),
            _ => None,
        }
    }

    fn on_packet(&mut self, packet: Packet, now: Instant) -> Result<Option<Event>, Violation> {
        let State::Connected(connected) = &mut self.state else {
            // The decoder lets nothing but CONNECT come first.
            return match packet {
                Packet::Connect(connect) => self.on_connect(connect).map(Some),
                other => Err(DecodeError::Unexpected(other.kind()).into()),
            };
        };
        connected.heard = now;
        let output = &mut self.output;
        match packet {
            Packet::Publish(publish) => connected.on_publish(publish, &self.limits, output),
            Packet::PubRel(ack) => Ok(connected.on_pubrel(&ack, output)),
            Packet::PubAck(ack) => connected.on_puback(&ack),
            Packet::PubRec(ack) => connected.on_pubrec(&ack, output),
            Packet::PubComp(ack) => connected.on_pubcomp(&ack),
            Packet::Subscribe(subscribe) => Ok(Some(Event::Subscribe(subscribe))),
            Packet::Unsubscribe(unsubscribe) => Ok(Some(Event::Unsubscribe(unsubscribe))),
            Packet::PingReq => {
                connected.peer.write(output, &Packet::PingResp);
                Ok(None)
            }
            Packet::Disconnect(disconnect) => self.on_disconnect(&disconnect).map(|()| None),
            Packet::Connect(_) => Err(Violation::SecondConnect),
            Packet::Auth(_) => Err(Violation::Auth),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                Err(DecodeError::Unexpected(packet.kind()).into())
            }
        }
    }

    fn on_disconnect(&mut self, disconnect: &Disconnect) -> Result<(), Violation> {
        let State::Connected(connected) = &mut self.state else {
            return Ok(());
        };
        let expiry = disconnect.properties.session_expiry();
        if connected.peer.session_expiry == 0 && expiry.is_some_and(|expiry| expiry != 0) {
            return Err(Violation::SessionExpiry);
        }
        // The will is forgotten on a normal end only [MQTT-3.14.4-3].
        if disconnect.reason == ReasonCode::Success {
            connected.will = None;
        }
        self.close(Cause::Client(disconnect.reason));
        if let State::Closed(closed) = &mut self.state {
            closed.session_expiry = expiry;
        }
        Ok(())
    }

    fn invalid(&mut self, error: DecodeError) {
        match &self.state {
            State::AwaitingConnect { .. } => self.refuse_undecodable(error),
            _ => self.violated(error.into()),
        }
    }

    fn violated(&mut self, violation: Violation) {
        let cause = Cause::Violation(violation);
        match &self.state {
            State::Connected(_) => self.end(violation.reason(), &violation.to_text(), cause),
            State::AwaitingConnect { .. } | State::Deciding(_) => {
                self.refuse_with(violation.reason(), "", cause);
            }
            State::Closed(_) => {}
        }
    }

    /// Says DISCONNECT where the version has it `[MQTT-3.14.0-1]`, and closes.
    fn end(&mut self, reason: ReasonCode, text: &str, cause: Cause) {
        if let State::Connected(connected) = &self.state
            && connected.peer.version.is_v5()
        {
            let mut disconnect = Disconnect::new(reason);
            disconnect.properties = reason_string(text);
            let with_text = Packet::Disconnect(disconnect);
            if !connected.peer.write_if_fits(&mut self.output, &with_text) {
                connected.peer.write(&mut self.output, &Packet::Disconnect(Disconnect::new(reason)));
            }
        }
        self.close(cause);
    }

    fn close(&mut self, cause: Cause) {
        if self.is_closed() {
            return;
        }
        let closed = Closed { cause, will: None, session: None, session_expiry: None };
        let before = std::mem::replace(&mut self.state, State::Closed(Box::new(closed)));
        if let (State::Connected(connected), State::Closed(closed)) = (before, &mut self.state) {
            closed.will = connected.will;
            closed.session = Some(connected.session);
        }
    }
}

impl Connected {
    fn silent_until(&self) -> Option<Instant> {
        let keep_alive = u64::from(self.peer.keep_alive);
        (keep_alive != 0).then(|| self.heard + Duration::from_millis(keep_alive * 1500))
    }
}

impl Violation {
    fn to_text(self) -> String {
        match self {
            Self::Decode(error) => error.to_string(),
            other => other.to_string(),
        }
    }
}

/// Properties with a reason string, or none for an empty or unsuitable text.
fn reason_string(text: &str) -> Properties {
    let mut buf = PropertiesBuf::new();
    if !text.is_empty() {
        // A text that cannot be a string is left out: it is only for people.
        let _ = buf.push(Property::ReasonString(text));
    }
    buf.into()
}

/// Whether this version has reason codes for what a server refuses after CONNECT.
fn has_negative_answers(version: Version) -> bool {
    version.is_v5()
}
