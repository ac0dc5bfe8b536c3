//! Contents to messages. A message expiry is encoded as a whole, and as the first property: what is left of it is said
//! when the message is written (`expiry`).

use bytes::Bytes;
use dovetail_model::{Change, Representation, Resource, Topic};
use dovetail_mqtt_proto::{EncodeError, Frame, Properties, PropertiesBuf, Property, Version};

use crate::expiry::Lifespan;

/// A change as a message: what a resource holds now, nothing for a delete, or an event. No bytes at all if it is more than
/// a packet can hold, which the limits of the server exclude.
pub(crate) fn change(version: Version, change: &Change) -> Bytes {
    match change {
        Change::Put(resource) => contents(version, resource),
        Change::Delete(tombstone) => message(version, &tombstone.topic, &Representation::default(), None),
        Change::Event(event) => {
            message(version, &event.topic, &event.representation, Lifespan::of_change(change))
        }
    }
}

/// A resource as a message.
pub(crate) fn contents(version: Version, resource: &Resource) -> Bytes {
    message(version, &resource.topic, &resource.representation, Lifespan::of_resource(resource))
}

/// A message of the server's own, in JSON.
pub(crate) fn json(version: Version, topic: &str, payload: &[u8]) -> Bytes {
    let mut buf = PropertiesBuf::new();
    let properties = [Property::PayloadFormat(true), Property::ContentType("application/json")];
    let properties = match properties.iter().try_for_each(|property| buf.push(*property).map(drop)) {
        Ok(()) => buf.into(),
        Err(_) => Properties::NONE,
    };
    Frame::encode(version, topic, &properties, payload).unwrap_or_default()
}

fn message(
    version: Version,
    topic: &Topic,
    representation: &Representation,
    life: Option<Lifespan>,
) -> Bytes {
    let properties = if version.is_v5() { properties(representation, life) } else { Ok(Properties::NONE) };
    properties
        .and_then(|properties| Frame::encode(version, topic.as_str(), &properties, &representation.payload))
        .unwrap_or_default()
}

fn properties(representation: &Representation, life: Option<Lifespan>) -> Result<Properties, EncodeError> {
    let mut buf = PropertiesBuf::new();
    if let Some(life) = life {
        buf.push(Property::MessageExpiry(life.seconds()))?;
    }
    if let Some(content_type) = &representation.content_type {
        buf.push(Property::ContentType(content_type))?;
    }
    if let Some(metadata) = &representation.metadata {
        if metadata.is_text {
            buf.push(Property::PayloadFormat(true))?;
        }
        if let Some(topic) = &metadata.response_topic {
            buf.push(Property::ResponseTopic(topic.as_str()))?;
        }
        if let Some(data) = &metadata.correlation_data {
            buf.push(Property::CorrelationData(data))?;
        }
        for (name, value) in &metadata.user_properties {
            buf.push(Property::User(name, value))?;
        }
    }
    Ok(buf.into())
}
