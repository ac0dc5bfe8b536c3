//! What a resource holds.

use std::sync::Arc;

use bytes::Bytes;

use crate::Topic;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type UnixMillis = u64;

/// The bytes of a resource or an event, and what is said about them.
///
/// The payload owns its bytes: it is never a slice that keeps a larger buffer alive. Whoever makes
/// a representation out of a receive buffer copies ([`Representation::copied`]).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Representation {
    /// The bytes, at most [`crate::limits::PAYLOAD_BYTES_MAX`]. Empty only in events.
    pub payload: Bytes,
    /// The media type, as the writer said it; `None` where it said none.
    pub content_type: Option<Arc<str>>,
    /// What else the writer said, where it did.
    pub metadata: Option<Arc<Metadata>>,
    /// How surely the writer wants it delivered: no MQTT client gets it with more than this.
    pub qos: Qos,
}

/// How surely a message is delivered over MQTT, from the least to the most (§4.3 of MQTT 5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Qos {
    /// At most once: `QoS` 0.
    AtMostOnce,
    /// At least once: `QoS` 1.
    AtLeastOnce,
    /// Exactly once: `QoS` 2. What says nothing about it lowers nothing, so this is the default.
    #[default]
    ExactlyOnce,
}

/// What a message says beyond bytes and media type. It is carried through unchanged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metadata {
    /// The payload is declared to be UTF-8 text (payload format indicator 1).
    pub is_text: bool,
    /// Where an answer is wanted.
    pub response_topic: Option<Topic>,
    /// What ties an answer to its question.
    pub correlation_data: Option<Bytes>,
    /// Names and values, in the order given; names may repeat.
    pub user_properties: Vec<(Box<str>, Box<str>)>,
}

impl Representation {
    /// A representation whose payload is a copy of `payload`, so that it keeps nothing else alive.
    pub fn copied(payload: &[u8], content_type: Option<Arc<str>>) -> Self {
        Self { payload: Bytes::copy_from_slice(payload), content_type, ..Self::default() }
    }

    /// The bytes that the representation takes, for admission and limits.
    pub fn weight(&self) -> usize {
        self.payload.len()
            + self.content_type.as_ref().map_or(0, |text| text.len())
            + self.metadata.as_ref().map_or(0, |metadata| metadata.weight())
    }
}

impl Metadata {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn weight(&self) -> usize {
        self.response_topic.as_ref().map_or(0, |topic| topic.as_str().len())
            + self.correlation_data.as_ref().map_or(0, Bytes::len)
            + self.user_properties.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}
