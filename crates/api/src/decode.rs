//! Reads frames and entries back into the types of `dovetail-model`.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dovetail_model::{
    Change, DeleteCause, Epoch, Event, FilterError, Metadata, Qos, Representation, Resource, Revision,
    Tombstone, Topic, TopicError, UnixMillis,
};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{payload, time};

/// One frame of a feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// The state at `rev` follows.
    BaselineBegin {
        /// The revision of the state.
        rev: Revision,
    },
    /// One resource of the baseline.
    Item {
        /// The epoch that the resource's revision counts in.
        epoch: Epoch,
        /// The resource.
        resource: Arc<Resource>,
    },
    /// The baseline is complete.
    BaselineEnd {
        /// The revision of the state, and the position to resume from.
        rev: Revision,
    },
    /// All that happened in `(after, rev]`.
    Change {
        /// The position that the frame continues from.
        after: Revision,
        /// The position that the frame leads to.
        rev: Revision,
        /// The changes, in order.
        changes: Vec<Entry>,
    },
    /// Nothing happened in `(after, rev]`.
    Progress {
        /// The position that the frame continues from.
        after: Revision,
        /// The position that the frame leads to.
        rev: Revision,
    },
    /// The position cannot be resumed; a baseline follows.
    Reset {
        /// The head at that moment.
        rev: Revision,
        /// Why, as a word of the contract.
        reason: Box<str>,
    },
    /// The feed is over.
    End {
        /// Why, as a word of the contract.
        reason: Box<str>,
    },
}

/// A change and the number of the commit that it belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The number of the commit.
    pub number: u64,
    /// What it did to one name.
    pub change: Change,
}

/// Why a text is not what the contract says.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or members of the wrong type.
    #[error("the text is not JSON of the expected shape")]
    Json(#[from] serde_json::Error),
    /// A member that has to be there is not.
    #[error("member `{0}` is missing")]
    Missing(&'static str),
    /// A member has a value that it cannot have.
    #[error("member `{0}` has a value that it cannot have")]
    Invalid(&'static str),
    /// A path that is no name of a resource.
    #[error("member `path` is no name")]
    Path(#[source] TopicError),
    /// A filter that is none.
    #[error("member `filter` is no filter")]
    Filter(#[source] FilterError),
    /// A `type` that this version does not know. A reader may skip such a frame.
    #[error("frame type `{0}` is unknown")]
    UnknownType(Box<str>),
}

/// Reads one frame.
///
/// # Errors
/// See [`DecodeError`].
pub fn frame(line: &[u8]) -> Result<Frame, DecodeError> {
    let mut wire: Wire<'_> = serde_json::from_slice(line)?;
    let kind = wire.kind.take().ok_or(DecodeError::Missing("type"))?;
    let reason = wire.reason.take().unwrap_or_default().into();
    match &*kind {
        "baseline-begin" => Ok(Frame::BaselineBegin { rev: wire.rev()? }),
        "item" => {
            let (epoch, resource) = wire.into_resource()?;
            Ok(Frame::Item { epoch, resource: Arc::new(resource) })
        }
        "baseline-end" => Ok(Frame::BaselineEnd { rev: wire.rev()? }),
        "change" => {
            let (after, rev) = (wire.after()?, wire.rev()?);
            let changes = wire.changes.ok_or(DecodeError::Missing("changes"))?;
            Ok(Frame::Change { after, rev, changes: entries(changes, rev.epoch)? })
        }
        "progress" => Ok(Frame::Progress { after: wire.after()?, rev: wire.rev()? }),
        "reset" => Ok(Frame::Reset { rev: wire.rev()?, reason }),
        "end" => Ok(Frame::End { reason }),
        other => Err(DecodeError::UnknownType(other.into())),
    }
}

/// The members of every frame and entry. One type, because borrowed raw values cannot stand behind
/// a flattened or tagged type of serde.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Wire<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    op: Option<Cow<'a, str>>,
    #[serde(borrow)]
    after: Option<Cow<'a, str>>,
    #[serde(borrow)]
    rev: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    path: Option<Cow<'a, str>>,
    #[serde(borrow)]
    modified: Option<Cow<'a, str>>,
    #[serde(borrow)]
    expires: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cause: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content_type: Option<Cow<'a, str>>,
    metadata: Option<WireMetadata>,
    #[serde(borrow, deserialize_with = "any")]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    base64: Option<Cow<'a, str>>,
    #[serde(borrow)]
    changes: Option<Vec<Wire<'a>>>,
}

/// A value that is there, be it `null`.
pub(crate) fn any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WireMetadata {
    #[serde(default)]
    is_text: bool,
    response_topic: Option<String>,
    correlation_data: Option<String>,
    #[serde(default)]
    user_properties: Vec<(Box<str>, Box<str>)>,
}

impl Wire<'_> {
    pub(crate) fn rev(&self) -> Result<Revision, DecodeError> {
        revision(self.rev.as_deref(), "rev")
    }

    fn after(&self) -> Result<Revision, DecodeError> {
        revision(self.after.as_deref(), "after")
    }

    fn topic(&self) -> Result<Topic, DecodeError> {
        let path = self.path.as_deref().ok_or(DecodeError::Missing("path"))?;
        Topic::new(path).map_err(DecodeError::Path)
    }

    fn modified_at(&self) -> Result<UnixMillis, DecodeError> {
        let text = self.modified.as_deref().ok_or(DecodeError::Missing("modified"))?;
        time::parse(text).ok_or(DecodeError::Invalid("modified"))
    }

    fn expires_at(&self) -> Result<Option<UnixMillis>, DecodeError> {
        match self.expires.as_deref() {
            None => Ok(None),
            Some(text) => time::parse(text).map(Some).ok_or(DecodeError::Invalid("expires")),
        }
    }

    fn representation(self) -> Result<Representation, DecodeError> {
        let metadata = self.metadata.map(WireMetadata::into_metadata).transpose()?.map(Arc::new);
        let payload = payload::read(self.value, self.text, self.base64.as_deref())
            .ok_or(DecodeError::Invalid("base64"))?;
        Ok(Representation {
            payload,
            content_type: self.content_type.map(|text| Arc::from(&*text)),
            metadata,
            ..Representation::default()
        })
    }

    /// The resource that a put or a member of a collection describes, and its epoch.
    pub(crate) fn into_resource(self) -> Result<(Epoch, Resource), DecodeError> {
        let rev = self.rev()?;
        let resource = Resource {
            topic: self.topic()?,
            revision: rev.number,
            modified_at: self.modified_at()?,
            expires_at: self.expires_at()?,
            representation: self.representation()?,
        };
        Ok((rev.epoch, resource))
    }

    fn into_entry(self) -> Result<(Epoch, Entry), DecodeError> {
        let rev = self.rev()?;
        let op = self.op.as_deref().ok_or(DecodeError::Missing("op"))?;
        let change = match op {
            "put" => Change::Put(Arc::new(self.into_resource()?.1)),
            "delete" => Change::Delete(Arc::new(Tombstone {
                topic: self.topic()?,
                revision: rev.number,
                deleted_at: self.modified_at()?,
                cause: match self.cause.as_deref() {
                    Some("request") => DeleteCause::Request,
                    Some("expiry") => DeleteCause::Expiry,
                    Some(_) => return Err(DecodeError::Invalid("cause")),
                    None => return Err(DecodeError::Missing("cause")),
                },
                qos: Qos::default(),
            })),
            "event" => Change::Event(Arc::new(Event {
                topic: self.topic()?,
                published_at: self.modified_at()?,
                expires_at: self.expires_at()?,
                representation: self.representation()?,
            })),
            _ => return Err(DecodeError::Invalid("op")),
        };
        Ok((rev.epoch, Entry { number: rev.number, change }))
    }
}

impl WireMetadata {
    pub(crate) fn into_metadata(self) -> Result<Metadata, DecodeError> {
        let response_topic = match self.response_topic {
            None => None,
            Some(text) => Some(Topic::new(&text).map_err(|_| DecodeError::Invalid("responseTopic"))?),
        };
        let correlation_data = match self.correlation_data {
            None => None,
            Some(text) => {
                let data = STANDARD.decode(text).map_err(|_| DecodeError::Invalid("correlationData"))?;
                Some(Bytes::from(data))
            }
        };
        let user_properties = self.user_properties;
        Ok(Metadata { is_text: self.is_text, response_topic, correlation_data, user_properties })
    }
}

/// The entries of a change, which all count in `epoch`.
pub(crate) fn entries(wires: Vec<Wire<'_>>, epoch: Epoch) -> Result<Vec<Entry>, DecodeError> {
    wires
        .into_iter()
        .map(|wire| match wire.into_entry()? {
            (of, entry) if of == epoch => Ok(entry),
            _ => Err(DecodeError::Invalid("rev")),
        })
        .collect()
}

pub(crate) fn revision(text: Option<&str>, member: &'static str) -> Result<Revision, DecodeError> {
    let text = text.ok_or(DecodeError::Missing(member))?;
    text.parse().map_err(|_| DecodeError::Invalid(member))
}
