//! Messages from the client, their acknowledgement in order, and the answers to other requests.

use super::{Cause, Connected, Connection, Event, Limits, State, has_negative_answers, reason_string};
use crate::error::Violation;
use crate::output::Output;
use crate::packet::{Ack, Delivery, Packet, PacketId, Publish, SubAck, UnsubAck};
use crate::properties::Properties;
use crate::reason::ReasonCode;
use crate::text::Text;
use std::collections::VecDeque;

/// Under which a message is answered, once.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt(u64);

/// Messages that wait for the owner's answer or for an older one's, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// The number of the first one that waits.
    first: u64,
    waiting: VecDeque<Waiting>,
    /// Topics by alias, from 1 on.
    aliases: Vec<Option<Text>>,
}

#[derive(Debug)]
struct Waiting {
    delivery: Delivery,
    answer: Option<(ReasonCode, Properties)>,
}

impl Inbound {
    pub(super) fn unanswered(&self) -> usize {
        self.waiting.len()
    }

    fn begin(&mut self, delivery: Delivery) -> Receipt {
        self.waiting.push_back(Waiting { delivery, answer: None });
        Receipt(self.first + self.waiting.len() as u64 - 1)
    }

    fn find(&self, id: PacketId) -> Option<Delivery> {
        self.waiting.iter().map(|waiting| waiting.delivery).find(|delivery| delivery.id() == Some(id))
    }

    /// Resolves or learns a topic alias `[MQTT-3.3.2-8]` and following. Topics of 16 aliases are all that is kept.
    fn resolve(&mut self, publish: &mut Publish, maximum: u16) -> Result<(), Violation> {
        let Some(alias) = publish.properties.topic_alias() else {
            return Ok(());
        };
        if alias > maximum {
            return Err(Violation::TopicAlias(alias));
        }
        let index = usize::from(alias) - 1;
        if publish.topic.is_empty() {
            let known = self.aliases.get(index).cloned().flatten();
            publish.topic = known.ok_or(Violation::TopicAlias(alias))?;
        } else {
            if self.aliases.len() <= index {
                self.aliases.resize(index + 1, None);
            }
            // A copy, so that a topic does not pin the payload it came with.
            self.aliases[index] = Text::new(publish.topic.as_str()).ok();
        }
        Ok(())
    }
}

impl Connected {
    pub(super) fn on_publish(
        &mut self,
        mut publish: Publish,
        limits: &Limits,
        output: &mut Output,
    ) -> Result<Option<Event>, Violation> {
        if !publish.properties.is_empty() {
            if publish.properties.subscription_identifiers().next().is_some() {
                return Err(Violation::SubscriptionIdentifier);
            }
            self.inbound.resolve(&mut publish, limits.topic_alias_maximum)?;
        }
        let Some(id) = publish.delivery.id() else {
            return Ok(Some(Event::Publish(publish, None)));
        };
        if self.session.is_received(id) {
            // It was taken before; this is the same message, whatever its DUP flag says [MQTT-4.3.3-10].
            self.peer.write(output, &Packet::PubRec(Ack::new(id, ReasonCode::Success)));
            return Ok(None);
        }
        if let Some(waiting) = self.inbound.find(id) {
            let again = publish.dup && waiting == publish.delivery;
            return if again { Ok(None) } else { Err(Violation::PacketIdInUse(id.get())) };
        }
        let maximum = usize::from(limits.receive_maximum);
        let unacknowledged = self.inbound.unanswered() + self.session.received().len();
        if self.peer.version.is_v5() && unacknowledged >= maximum {
            return Err(Violation::ReceiveMaximum(limits.receive_maximum));
        }
        let receipt = self.inbound.begin(publish.delivery);
        Ok(Some(Event::Publish(publish, Some(receipt))))
    }

    pub(super) fn on_pubrel(&mut self, ack: &Ack, output: &mut Output) -> Option<Event> {
        let known = self.session.release(ack.id);
        let reason = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        self.peer.write(output, &Packet::PubComp(Ack::new(ack.id, reason)));
        (known && self.tells_steps).then_some(Event::Released(ack.id))
    }

    /// Sends the answers that no older one holds back `[MQTT-4.6.0-2]`, `[MQTT-4.6.0-3]`.
    fn flush_answers(&mut self, output: &mut Output) {
        while let Some(answered) = self.inbound.waiting.pop_front_if(|waiting| waiting.answer.is_some()) {
            self.inbound.first += 1;
            let (Some(id), Some((reason, properties))) = (answered.delivery.id(), answered.answer) else {
                continue;
            };
            let ack = Ack { id, reason, properties };
            let packet = if let Delivery::ExactlyOnce(_) = answered.delivery {
                if !reason.is_error() {
                    self.session.receive(id);
                }
                Packet::PubRec(ack)
            } else {
                Packet::PubAck(ack)
            };
            if !self.peer.write_if_fits(output, &packet) {
                let ack = Ack::new(id, reason);
                let bare = if matches!(packet, Packet::PubRec(_)) {
                    Packet::PubRec(ack)
                } else {
                    Packet::PubAck(ack)
                };
                self.peer.write(output, &bare);
            }
        }
    }

    /// A reason string, unless the client does not want any `[MQTT-3.1.2-29]`.
    fn reason_string(&self, text: &str) -> Properties {
        if self.peer.problem_information && self.peer.version.is_v5() {
            reason_string(text)
        } else {
            Properties::NONE
        }
    }
}

impl Connection {
    /// Answers a message with `QoS` 1 (PUBACK) or 2 (PUBREC). Answers leave in the order in which the messages came,
    /// whatever the order of the calls. `text` is words for people about a refusal, or empty.
    ///
    /// Before MQTT 5 there is no refusal: the connection is closed without the acknowledgement.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a receipt is used up, so that nothing is answered twice"
    )]
    pub fn answer_publish(&mut self, receipt: Receipt, reason: ReasonCode, text: &str) {
        let State::Connected(connected) = &mut self.state else {
            return;
        };
        if reason.is_error() && !has_negative_answers(connected.peer.version) {
            self.close(Cause::Refused(reason));
            return;
        }
        let properties = connected.reason_string(text);
        let Receipt(number) = receipt;
        let index = number.checked_sub(connected.inbound.first).map(|index| index as usize);
        if let Some(waiting) = index.and_then(|index| connected.inbound.waiting.get_mut(index)) {
            waiting.answer = Some((reason, properties));
            connected.flush_answers(&mut self.output);
        }
    }

    /// Refuses a message with `QoS` 0: nothing is said, and before MQTT 5 the connection is closed as it is for the other
    /// levels.
    pub fn refuse_unacknowledged(&mut self, reason: ReasonCode) {
        if let State::Connected(connected) = &self.state
            && !has_negative_answers(connected.peer.version)
        {
            self.close(Cause::Refused(reason));
        }
    }

    /// Answers SUBSCRIBE, one reason for each filter `[MQTT-3.8.4-6]`.
    pub fn answer_subscribe(&mut self, id: PacketId, reasons: Vec<ReasonCode>, text: &str) {
        let State::Connected(connected) = &mut self.state else {
            return;
        };
        let properties = connected.reason_string(text);
        let mut ack = SubAck { id, properties, reasons };
        if !connected.peer.write_if_fits(&mut self.output, &Packet::SubAck(ack.clone())) {
            ack.properties = Properties::NONE;
            self.answer_or_end(&Packet::SubAck(ack));
        }
    }

    /// Answers UNSUBSCRIBE, one reason for each filter `[MQTT-3.11.3-1]`.
    pub fn answer_unsubscribe(&mut self, id: PacketId, reasons: Vec<ReasonCode>) {
        self.answer_or_end(&Packet::UnsubAck(UnsubAck { id, properties: Properties::NONE, reasons }));
    }

    /// Writes an answer. A client that does not take packets of its size cannot be served, and would wait for ever.
    fn answer_or_end(&mut self, answer: &Packet) {
        let State::Connected(connected) = &self.state else {
            return;
        };
        if !connected.peer.write_if_fits(&mut self.output, answer) {
            let (reason, text) = (ReasonCode::PacketTooLarge, "the answer is larger than the client takes");
            self.end(reason, text, Cause::Server(reason));
        }
    }
}
