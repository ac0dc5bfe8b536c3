//! CONNECT and its answer.

use super::aliases::Aliases;
use super::inbound::Inbound;
use super::{Cause, Connected, Connection, Deciding, Event, State, reason_string};
use crate::error::{DecodeError, Violation};
use crate::output::Output;
use crate::packet::{Ack, ConnAck, Connect, Packet};
use crate::properties::{Properties, PropertiesBuf, Property};
use crate::reason::ReasonCode;
use crate::session::{Session, Stage};
use crate::text::Text;
use crate::version::Version;
use std::time::Instant;

/// What the client's CONNECT said about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The version it speaks.
    pub version: Version,
    /// How many messages with `QoS` 1 and 2 it takes without acknowledging.
    pub receive_maximum: u16,
    /// The largest packet in bytes that it takes.
    pub maximum_packet_size: u32,
    /// The highest topic alias that it takes.
    pub topic_alias_maximum: u16,
    /// Whether it wants reason strings and user properties on packets other than PUBLISH, CONNACK and DISCONNECT.
    pub problem_information: bool,
    /// Whether it asks for response information.
    pub response_information: bool,
    /// The keep-alive in seconds that holds; 0 for none.
    pub keep_alive: u16,
    /// The session expiry in seconds that holds; older versions say 0 or for ever, by `CleanSession`.
    pub session_expiry: u32,
}

/// How a connection is accepted.
#[derive(Debug, Default)]
pub struct Accept {
    /// The session to continue, or a new one.
    pub session: Session,
    /// Whether it is continued `[MQTT-3.2.2-3]`.
    pub session_present: bool,
    /// The id that the server chose for a client without one `[MQTT-3.2.2-16]`.
    pub assigned_client_id: Option<Text>,
    /// The keep-alive in seconds that holds instead of the client's `[MQTT-3.2.2-21]`; MQTT 5 only.
    pub server_keep_alive: Option<u16>,
    /// The session expiry in seconds, if it is not what the client asked for; MQTT 5 only.
    pub session_expiry: Option<u32>,
    /// Below which topics the client may expect answers, said if it asks (§3.2.2.3.15).
    pub response_information: Option<Text>,
    /// Words for people, or none; MQTT 5 only.
    pub text: &'static str,
    /// Whether shared subscriptions are served.
    pub shared_subscriptions: bool,
    /// Whether [`Event::Received`] and [`Event::Released`] are told: for a session that outlives the server, which notes
    /// each step of `QoS` 2 before its answer leaves.
    pub tell_steps: bool,
}

impl Peer {
    fn new(connect: &Connect) -> Self {
        let properties = &connect.properties;
        Self {
            version: connect.version,
            receive_maximum: properties.receive_maximum().unwrap_or(u16::MAX),
            maximum_packet_size: properties.maximum_packet_size().unwrap_or(u32::MAX),
            topic_alias_maximum: properties.topic_alias_maximum().unwrap_or(0),
            problem_information: properties.request_problem_information().unwrap_or(true),
            response_information: properties.request_response_information().unwrap_or(false),
            keep_alive: connect.keep_alive,
            session_expiry: connect.session_expiry(),
        }
    }

    /// Writes a packet of which the server knows that it is short and well-formed. One that the client cannot take is left
    /// out `[MQTT-3.1.2-24]`.
    pub(super) fn write(&self, output: &mut Output, packet: &Packet) {
        self.write_if_fits(output, packet);
    }

    /// Whether the packet was written.
    pub(super) fn write_if_fits(&self, output: &mut Output, packet: &Packet) -> bool {
        let out = output.copied();
        let before = out.len();
        if packet.write(out, self.version).is_err() {
            return false;
        }
        let fits = (out.len() - before) as u64 <= u64::from(self.maximum_packet_size);
        if fits {
            output.count_packet();
        } else {
            out.truncate(before);
        }
        fits
    }
}

impl Connection {
    pub(super) fn on_connect(&mut self, mut connect: Box<Connect>) -> Result<Event, Violation> {
        let will = connect.will.take().map(Box::new);
        let peer = Peer::new(&connect);
        let nameless = connect.client_id.is_empty() && !connect.clean_start && !connect.version.is_v5();
        self.state = State::Deciding(Box::new(Deciding { peer, will: will.clone() }));
        if nameless {
            return Err(Violation::NoClientId);
        }
        // The owner sees the will too: whether it may be published is decided with the connection.
        connect.will = will.map(|will| *will);
        Ok(Event::Connect(connect))
    }

    /// Accepts the CONNECT that was asked about: answers with the server's limits, and continues what `accept.session` holds in
    /// flight as far as no payload is needed (PUBREL); messages are [resent](Connection::resend) by the owner. Does
    /// nothing unless a CONNECT waits. A client whose packet size is too small for the answer is refused.
    pub fn accept(&mut self, accept: Accept, now: Instant) {
        let (mut peer, will) = match &mut self.state {
            State::Deciding(deciding) => (deciding.peer.clone(), deciding.will.take()),
            _ => return,
        };
        if let (Some(keep_alive), true) = (accept.server_keep_alive, peer.version.is_v5()) {
            peer.keep_alive = keep_alive;
        }
        if let Some(expiry) = accept.session_expiry {
            peer.session_expiry = expiry;
        }
        if !self.write_connack(&peer, &accept) {
            let reason = ReasonCode::PacketTooLarge;
            self.refuse(reason, "");
            if let State::Closed(closed) = &mut self.state {
                closed.session = Some(accept.session);
            }
            return;
        }
        self.decoder.set_limit(self.limits.packet_size);
        for message in accept.session.outgoing().filter(|message| message.stage == Stage::PubComp) {
            // [MQTT-4.4.0-1]
            peer.write(&mut self.output, &Packet::PubRel(Ack::new(message.id, ReasonCode::Success)));
        }
        let aliases = Aliases::new(peer.topic_alias_maximum.min(self.limits.send_topic_aliases));
        self.state = State::Connected(Box::new(Connected {
            peer,
            session: accept.session,
            will,
            inbound: Inbound::default(),
            aliases,
            tells_steps: accept.tell_steps,
            heard: now,
        }));
    }

    /// Whether the CONNACK was written. All that it says but the response information the client must know.
    fn write_connack(&mut self, peer: &Peer, accept: &Accept) -> bool {
        [true, false].into_iter().any(|with_information| {
            let connack = ConnAck {
                session_present: accept.session_present,
                reason: ReasonCode::Success,
                properties: self.connack_properties(peer, accept, with_information).into(),
            };
            peer.write_if_fits(&mut self.output, &Packet::ConnAck(connack))
        })
    }

    /// Refuses the CONNECT that was asked about, with words for people in `text` or an empty one, and closes
    /// `[MQTT-3.2.2-7]`.
    pub fn refuse(&mut self, reason: ReasonCode, text: &str) {
        self.refuse_with(reason, text, Cause::Refused(reason));
    }

    pub(super) fn refuse_with(&mut self, reason: ReasonCode, text: &str, cause: Cause) {
        if let State::Deciding(deciding) = &mut self.state {
            let reason =
                if reason.fits(crate::Kind::ConnAck) { reason } else { ReasonCode::UnspecifiedError };
            let mut connack = ConnAck { session_present: false, reason, properties: reason_string(text) };
            if !deciding.peer.write_if_fits(&mut self.output, &Packet::ConnAck(connack.clone())) {
                connack.properties = Properties::NONE;
                deciding.peer.write(&mut self.output, &Packet::ConnAck(connack));
            }
        }
        self.close(cause);
    }

    /// Bytes that are no CONNECT are not answered `[MQTT-3.1.4-1]`, but for a version that is not spoken: that is said in
    /// the form that every version reads `[MQTT-3.1.2-2]`.
    pub(super) fn refuse_undecodable(&mut self, error: DecodeError) {
        if let DecodeError::ProtocolLevel(level) = error {
            let code = if level > Version::V5.level() {
                ReasonCode::UnsupportedProtocolVersion.code()
            } else {
                ReasonCode::UnsupportedProtocolVersion.to_v3_connect_code()
            };
            // In MQTT 5 the length of the properties follows, in older versions nothing does.
            let answer: &[u8] =
                if level >= Version::V5.level() { &[0x20, 3, 0, code, 0] } else { &[0x20, 2, 0, code] };
            self.output.copied().extend_from_slice(answer);
        }
        self.close(Cause::Violation(error.into()));
    }

    fn connack_properties(&self, peer: &Peer, accept: &Accept, with_information: bool) -> PropertiesBuf {
        let mut buf = PropertiesBuf::new();
        let assigned = accept.assigned_client_id.as_ref();
        let information = accept.response_information.as_ref();
        // Not unless the client asked [MQTT-3.1.2-28].
        let information = information.filter(|_| with_information && peer.response_information);
        let properties = [
            accept.session_expiry.map(Property::SessionExpiry),
            Some(Property::ReceiveMaximum(self.limits.receive_maximum)),
            Some(Property::MaximumPacketSize(self.limits.packet_size)),
            assigned.map(|id| Property::AssignedClientId(id.as_str())),
            Some(Property::TopicAliasMaximum(self.limits.topic_alias_maximum)),
            (!accept.shared_subscriptions).then_some(Property::SharedAvailable(false)),
            accept.server_keep_alive.map(Property::ServerKeepAlive),
            information.map(|information| Property::ResponseInformation(information.as_str())),
            Some(Property::ReasonString(accept.text)).filter(|_| !accept.text.is_empty()),
        ];
        for property in properties.into_iter().flatten() {
            // Numbers, and an id that is a text already: nothing here can be too long.
            let _ = buf.push(property);
        }
        buf
    }
}
