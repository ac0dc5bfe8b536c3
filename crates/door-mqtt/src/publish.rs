//! PUBLISH: a message with RETAIN changes a resource, one without is an event.
//!
//! Writes are submitted as they come, without waiting for one before the next, and answered in their order. An event goes
//! after its publisher's own writes: while it waits for them, or for subscribers that cannot keep up, nothing more is read.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dovetail_auth::Authorized;
use dovetail_engine::{
    Committed, Fingerprint, IdempotencyKey, Operation, Precondition, Publish as EventPublish, PublisherId,
    Verb, Write, WriteError,
};
use dovetail_model::limits::{
    CONTENT_TYPE_BYTES, IDEMPOTENCY_KEY_BYTES, RECEIVED_IDS, USER_PROPERTIES, USER_PROPERTIES_BYTES,
};
use dovetail_model::{Metadata, Representation, Revision, Topic};
use dovetail_mqtt_proto::{
    Connection, Delivery, Properties, PropertiesBuf, Property, Publish, ReasonCode, Receipt,
};

use crate::answer::{Outcome, Refusal, of_denied, of_write_error};
use crate::counters::count;
use crate::qos;
use crate::serving::Serving;
use crate::store;
use crate::writes::WaitingEvent;

/// User properties that tell the server something. They are not part of the resource.
const IF_MATCH: &str = "if-match";
const IF_NONE_MATCH: &str = "if-none-match";
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What a message asks for.
pub(crate) enum Request {
    Write(Write),
    Event(EventPublish),
}

impl Serving {
    /// A message came.
    pub(crate) fn on_publish(
        &mut self,
        connection: &mut Connection,
        publish: &Publish,
        receipt: Option<Receipt>,
    ) {
        self.local.traffic.publishes_received.add(1);
        let policy = self.local.shard.policy();
        let request = self.to_durable_request(connection, publish);
        let authorized = request.and_then(|request| match request {
            Request::Write(write) => {
                let write = policy.authorize(&self.principal, write).map_err(|denied| of_denied(&denied))?;
                Ok(Permitted::Write(write))
            }
            Request::Event(event) => {
                let event = policy.authorize(&self.principal, event).map_err(|denied| of_denied(&denied))?;
                Ok(Permitted::Event(event))
            }
        });
        match authorized {
            Ok(Permitted::Write(write)) => {
                self.writes.pending.push_back((self.local.shard.submit(write), receipt));
            }
            Ok(Permitted::Event(event)) => self.on_event_message(connection, event, receipt),
            Err(refusal) => self.refuse(connection, receipt, &refusal),
        }
    }

    /// What a message asks for, as durable as its sender and those who wait for it need.
    fn to_durable_request(&self, connection: &Connection, publish: &Publish) -> Result<Request, Refusal> {
        let limit = self.local.shared.options.payload_bytes;
        let request = to_request(publish, self.writes.publisher, limit)?;
        if let (Some(kept), Delivery::ExactlyOnce(id)) = (self.kept.as_deref(), publish.delivery) {
            // That it was taken is stored with it, so that it is not taken again after a crash [MQTT-4.3.3-10].
            let received = connection.session().map_or(0, |session| session.received().len());
            if received + self.writes.pending.len() >= RECEIVED_IDS {
                let text = format!("a client has at most {RECEIVED_IDS} messages that it has not released");
                return Err(Refusal::new(ReasonCode::QuotaExceeded, text));
            }
            let mut write = match request {
                Request::Write(write) => write,
                Request::Event(event) => event_to_write(event),
            };
            write.records.push(store::mark(kept.names.received(id)));
            return Ok(Request::Write(write));
        }
        Ok(match request {
            Request::Event(event)
                if publish.delivery != Delivery::AtMostOnce && self.local.shard.is_awaited(&event.topic) =>
            {
                Request::Write(event_to_write(event))
            }
            request => request,
        })
    }

    fn on_event_message(
        &mut self,
        connection: &mut Connection,
        event: Authorized<EventPublish>,
        receipt: Option<Receipt>,
    ) {
        if !self.writes.pending.is_empty() {
            self.writes.waiting = Some(Box::new(WaitingEvent::Held(event, receipt)));
            return;
        }
        match self.local.shard.try_publish(event) {
            Ok(()) => accept(connection, receipt),
            Err(event) => self.writes.waiting = Some(Box::new(self.sending(event, receipt))),
        }
    }

    fn sending(&self, event: Authorized<EventPublish>, receipt: Option<Receipt>) -> WaitingEvent {
        let shard = self.local.shard.clone();
        WaitingEvent::Sending(Box::pin(async move { shard.publish(event).await }), receipt)
    }

    /// Answers what is done, in order, and sends the event that waited for it.
    pub(crate) fn settle_writes(&mut self, connection: &mut Connection, cx: &mut Context<'_>) {
        while let Some((ticket, _)) = self.writes.pending.front_mut() {
            let Poll::Ready(done) = Pin::new(ticket).poll(cx) else { return };
            let receipt = self.writes.pending.pop_front().and_then(|(_, receipt)| receipt);
            self.answer(connection, receipt, &done);
        }
        match self.writes.waiting.take().map(|waiting| *waiting) {
            Some(WaitingEvent::Held(event, receipt)) => {
                self.on_event_message(connection, event, receipt);
                if self.writes.waiting.is_some() {
                    self.settle_writes(connection, cx);
                }
            }
            Some(WaitingEvent::Sending(mut sending, receipt)) => match sending.as_mut().poll(cx) {
                Poll::Ready(()) => accept(connection, receipt),
                Poll::Pending => {
                    self.writes.waiting = Some(Box::new(WaitingEvent::Sending(sending, receipt)));
                }
            },
            None => {}
        }
    }

    fn answer(
        &self,
        connection: &mut Connection,
        receipt: Option<Receipt>,
        done: &Result<Committed, WriteError>,
    ) {
        match done {
            Ok(_) => accept(connection, receipt),
            Err(error) => match of_write_error(error) {
                Outcome::Refused(refusal) => {
                    count(&self.local.shared.counters.writes_refused);
                    if let Some(receipt) = receipt {
                        connection.answer_publish(receipt, refusal.reason, &refusal.text);
                    }
                }
                Outcome::Unknown(text) => connection.disconnect(ReasonCode::UnspecifiedError, &text),
            },
        }
    }

    /// Refuses a message that the engine has not seen.
    fn refuse(&self, connection: &mut Connection, receipt: Option<Receipt>, refusal: &Refusal) {
        count(&self.local.shared.counters.writes_refused);
        match receipt {
            Some(receipt) => connection.answer_publish(receipt, refusal.reason, &refusal.text),
            None => connection.refuse_unacknowledged(refusal.reason),
        }
    }
}

/// A request that is permitted.
enum Permitted {
    Write(Authorized<Write>),
    Event(Authorized<EventPublish>),
}

fn accept(connection: &mut Connection, receipt: Option<Receipt>) {
    if let Some(receipt) = receipt {
        connection.answer_publish(receipt, ReasonCode::Success, "");
    }
}

/// An event that is kept until those who wait for it have it.
pub(crate) fn event_to_write(event: EventPublish) -> Write {
    let EventPublish { topic, representation, time_to_live, publisher } = event;
    Write { publisher, ..Write::one(topic, Verb::Publish { representation, time_to_live }) }
}

/// What a message asks for.
///
/// # Errors
/// Why no request can be made of it.
pub(crate) fn to_request(
    publish: &Publish,
    publisher: PublisherId,
    payload_limit: usize,
) -> Result<Request, Refusal> {
    let topic = Topic::new(publish.topic.as_str())
        .map_err(|error| Refusal::new(ReasonCode::TopicNameInvalid, error.to_string()))?;
    let control = if publish.retain { Control::read(&publish.properties)? } else { Control::default() };
    let message = Message::of(publish, payload_limit)?;
    if !publish.retain {
        let Message { representation, time_to_live } = message;
        let publisher = Some(publisher);
        return Ok(Request::Event(EventPublish { topic, representation, time_to_live, publisher }));
    }
    let idempotency_key = control.key.map(|key| IdempotencyKey { key, fingerprint: fingerprint(publish) });
    let operation = Operation { topic, verb: message.into_verb(), precondition: control.precondition };
    Ok(Request::Write(Write {
        operations: [operation].into_iter().collect(),
        records: Vec::new(),
        idempotency_key,
        publisher: Some(publisher),
    }))
}

/// What a message holds.
struct Message {
    representation: Representation,
    time_to_live: Option<Duration>,
}

impl Message {
    fn of(publish: &Publish, payload_limit: usize) -> Result<Self, Refusal> {
        let payload = &publish.payload;
        if payload.len() > payload_limit {
            let text = format!("a payload has at most {payload_limit} bytes, this one has {}", payload.len());
            return Err(Refusal::new(ReasonCode::QuotaExceeded, text));
        }
        let mut representation = Representation {
            payload: owned(payload, publish),
            qos: qos::published(publish.delivery.qos()),
            ..Representation::default()
        };
        if publish.properties.is_empty() {
            return Ok(Self { representation, time_to_live: None });
        }
        let mut metadata = Metadata::default();
        let mut time_to_live = None;
        let (mut user_count, mut user_bytes) = (0, 0);
        for property in publish.properties.iter() {
            match property {
                Property::PayloadFormat(is_text) => metadata.is_text = is_text,
                Property::MessageExpiry(seconds) => time_to_live = Some(Duration::from_secs(seconds.into())),
                Property::ContentType(text) => representation.content_type = content_type(text)?,
                Property::ResponseTopic(text) => metadata.response_topic = Some(response_topic(text)?),
                Property::CorrelationData(data) => {
                    metadata.correlation_data = Some(Bytes::copy_from_slice(data));
                }
                Property::User(name, _) if publish.retain && is_control(name) => {}
                Property::User(name, value) => {
                    user_count += 1;
                    user_bytes += name.len() + value.len();
                    if user_count > USER_PROPERTIES || user_bytes > USER_PROPERTIES_BYTES {
                        let text = format!(
                            "a message has at most {USER_PROPERTIES} user properties of {USER_PROPERTIES_BYTES} bytes"
                        );
                        return Err(Refusal::new(ReasonCode::QuotaExceeded, text));
                    }
                    metadata.user_properties.push((name.into(), value.into()));
                }
                // The topic alias has done its work; nothing else can be here.
                _ => {}
            }
        }
        if metadata.is_text && std::str::from_utf8(payload).is_err() {
            let text = "the payload is declared to be text and is not UTF-8";
            return Err(Refusal::new(ReasonCode::PayloadFormatInvalid, text));
        }
        representation.metadata = (!metadata.is_empty()).then(|| Arc::new(metadata));
        Ok(Self { representation, time_to_live })
    }

    fn into_verb(self) -> Verb {
        let Self { representation, time_to_live } = self;
        if representation.payload.is_empty() {
            return Verb::Delete { qos: representation.qos };
        }
        match media_type(&representation) {
            Some("application/merge-patch+json") => Verb::MergePatch(representation.payload),
            Some("application/json-patch+json") => Verb::JsonPatch(representation.payload),
            _ => Verb::Put { representation, time_to_live },
        }
    }
}

/// The payload as memory that keeps little else alive: the packet that it came in is shared when most of it is payload.
fn owned(payload: &Bytes, publish: &Publish) -> Bytes {
    let rest = publish.topic.len() + publish.properties.as_bytes().len();
    if payload.len() > rest { payload.clone() } else { Bytes::copy_from_slice(payload) }
}

fn content_type(text: &str) -> Result<Option<Arc<str>>, Refusal> {
    if text.len() > CONTENT_TYPE_BYTES {
        let text = format!("a content type has at most {CONTENT_TYPE_BYTES} bytes");
        return Err(Refusal::new(ReasonCode::QuotaExceeded, text));
    }
    Ok((!text.is_empty()).then(|| text.into()))
}

fn response_topic(text: &str) -> Result<Topic, Refusal> {
    Topic::new(text)
        .map_err(|error| Refusal::new(ReasonCode::TopicNameInvalid, format!("the response topic: {error}")))
}

/// The patch types, in whatever case and with whatever parameters they are written.
fn media_type(representation: &Representation) -> Option<&'static str> {
    let text = representation.content_type.as_deref()?;
    let essence = text.split(';').next().unwrap_or_default().trim();
    ["application/merge-patch+json", "application/json-patch+json"]
        .into_iter()
        .find(|known| essence.eq_ignore_ascii_case(known))
}

/// What user properties tell the server.
#[derive(Default)]
struct Control {
    precondition: Precondition,
    key: Option<Arc<str>>,
}

fn is_control(name: &str) -> bool {
    matches!(name, IF_MATCH | IF_NONE_MATCH | IDEMPOTENCY_KEY)
}

impl Control {
    fn read(properties: &Properties) -> Result<Self, Refusal> {
        let mut control = Self::default();
        for (name, value) in properties.user().filter(|(name, _)| is_control(name)) {
            if name == IDEMPOTENCY_KEY {
                control.key = Some(idempotency_key(value)?);
                continue;
            }
            if control.precondition != Precondition::None {
                return Err(malformed("one of if-match and if-none-match, once"));
            }
            control.precondition = match (name, value) {
                (IF_MATCH, "*") => Precondition::Exists,
                (IF_MATCH, tokens) => Precondition::AnyOf(revisions(tokens)?),
                (_, "*") => Precondition::Absent,
                (_, tokens) => Precondition::NoneOf(revisions(tokens)?),
            };
        }
        Ok(control)
    }
}

fn idempotency_key(value: &str) -> Result<Arc<str>, Refusal> {
    if value.is_empty() || value.len() > IDEMPOTENCY_KEY_BYTES {
        return Err(malformed(format!("an idempotency-key of 1 to {IDEMPOTENCY_KEY_BYTES} bytes")));
    }
    Ok(value.into())
}

/// Revisions, separated by commas, each bare or in the quotes of an entity tag.
fn revisions(tokens: &str) -> Result<Vec<Revision>, Refusal> {
    tokens
        .split(',')
        .map(|token| {
            let token = token.trim();
            let bare = token.strip_prefix('"').and_then(|token| token.strip_suffix('"')).unwrap_or(token);
            bare.parse().map_err(|error| malformed(format!("revisions or *: {error}")))
        })
        .collect()
}

fn malformed(wanted: impl std::fmt::Display) -> Refusal {
    Refusal::new(ReasonCode::ImplementationSpecificError, format!("expected {wanted}"))
}

/// A digest of everything that the message asks for. A topic alias is another spelling of the topic.
fn fingerprint(publish: &Publish) -> u64 {
    let mut asked = PropertiesBuf::new();
    for property in publish.properties.iter().filter(|property| !matches!(property, Property::TopicAlias(_)))
    {
        // What was read can be written.
        let _ = asked.push(property);
    }
    Fingerprint::new()
        .field(publish.topic.as_bytes())
        .field(&publish.payload)
        .field(asked.as_bytes())
        .finish()
}
