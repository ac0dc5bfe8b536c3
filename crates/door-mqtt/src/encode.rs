//! Contents to messages.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dovetail_model::{Change, Representation, Resource, Topic, UnixMillis};
use dovetail_mqtt_proto::{EncodeError, Frame, Properties, PropertiesBuf, Property, Version};

/// A change as a message: what a resource holds now, nothing for a delete, or an event. No bytes at all if it is more than
/// a packet can hold, which the limits of the server exclude.
pub(crate) fn change(version: Version, change: &Change) -> Bytes {
    match change {
        Change::Put(resource) => contents(version, resource),
        Change::Delete(tombstone) => message(version, &tombstone.topic, &Representation::default(), None),
        Change::Event(event) => {
            let life = event.expires_at.map(|end| (event.published_at, end));
            message(version, &event.topic, &event.representation, life)
        }
    }
}

/// A resource as a message.
pub(crate) fn contents(version: Version, resource: &Resource) -> Bytes {
    let life = resource.expires_at.map(|end| (resource.modified_at, end));
    message(version, &resource.topic, &resource.representation, life)
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
    life: Option<(UnixMillis, UnixMillis)>,
) -> Bytes {
    let properties = if version.is_v5() { properties(representation, life) } else { Ok(Properties::NONE) };
    properties
        .and_then(|properties| Frame::encode(version, topic.as_str(), &properties, &representation.payload))
        .unwrap_or_default()
}

fn properties(
    representation: &Representation,
    life: Option<(UnixMillis, UnixMillis)>,
) -> Result<Properties, EncodeError> {
    let mut buf = PropertiesBuf::new();
    if let Some((begin, end)) = life {
        buf.push(Property::MessageExpiry(remaining_seconds(begin, end, wall_clock())))?;
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

/// What is left of a life `[MQTT-3.3.2-6]`, begun seconds counted: never more than the whole, and nothing once it is over.
fn remaining_seconds(begin: UnixMillis, end: UnixMillis, now: UnixMillis) -> u32 {
    let left = end.saturating_sub(now.max(begin));
    u32::try_from(left.div_ceil(1000)).unwrap_or(u32::MAX)
}

fn wall_clock() -> UnixMillis {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_life_is_counted_in_begun_seconds() {
        let table = [(1_000, 61_000, 1_000, 60), (1_000, 61_000, 1_001, 60), (1_000, 61_000, 2_000, 59)];
        for (begin, end, now, expected) in table {
            assert_eq!(remaining_seconds(begin, end, now), expected, "{begin} {end} {now}");
        }
        assert_eq!(remaining_seconds(1_000, 61_000, 90_000), 0, "over");
        assert_eq!(remaining_seconds(1_000, 61_000, 0), 60, "another clock");
        assert_eq!(remaining_seconds(0, u64::MAX, 0), u32::MAX);
    }
}
