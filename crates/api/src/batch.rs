//! The batch document: several writes that become one commit or nothing.
//!
//! Request: `{"writes": [{"op", "path", contentType, value|text|base64, "ttl", "ifMatch",
//! "ifNoneMatch"}, …]}`. `op` is `put`, `patch` or `delete`; `ttl` is in seconds; the conditions are
//! `"*"`, a token or a list of tokens. Where no content type is given, that of a `put` with a
//! `value` is `application/json`, and that of a `patch` is `application/merge-patch+json`.
//!
//! Answer: `{"rev": …, "results": [{"op", "path", "effect"}, …]}`, in the order of the request; the
//! effects are `created`, `replaced`, `deleted` and `unchanged`.

use std::borrow::Cow;
use std::sync::Arc;

use dovetail_model::{Representation, Revision, Topic};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::decode::{DecodeError, WireMetadata, any, revision};
use crate::{MERGE_PATCH, encode, payload};

/// What one write of a batch does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// The resource becomes this.
    Put(Representation),
    /// The resource is changed by this patch document, whose content type says its kind.
    Patch(Representation),
    /// The resource goes.
    Delete,
}

/// A condition on the revision of the last change of a resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tags {
    /// `*`: any representation.
    Any,
    /// One of these.
    List(Vec<Revision>),
}

/// One write of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// The name that is written.
    pub path: Topic,
    /// What happens to it.
    pub operation: Operation,
    /// Seconds until the resource expires.
    pub ttl_s: Option<u64>,
    /// The write happens only if this matches.
    pub if_match: Option<Tags>,
    /// The write happens only if this does not match.
    pub if_none_match: Option<Tags>,
}

/// Why a batch cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The document as a whole is wrong.
    #[error("the document is not a batch")]
    Document(#[source] serde_json::Error),
    /// One of its writes is.
    #[error("write {index} of the batch is wrong")]
    Write {
        /// Which, counted from 0.
        index: usize,
        /// Why.
        source: DecodeError,
    },
}

/// Reads a batch request.
///
/// # Errors
/// See [`BatchError`].
pub fn decode(text: &[u8]) -> Result<Vec<Write>, BatchError> {
    let wire: WireBatch<'_> = serde_json::from_slice(text).map_err(BatchError::Document)?;
    read(wire.writes)
}

/// Reads the `writes` of a batch alone.
pub(crate) fn decode_writes(text: &[u8]) -> Result<Vec<Write>, BatchError> {
    read(serde_json::from_slice(text).map_err(BatchError::Document)?)
}

fn read(writes: Vec<WireWrite<'_>>) -> Result<Vec<Write>, BatchError> {
    let read = |(index, write): (usize, WireWrite<'_>)| {
        write.into_write().map_err(|source| BatchError::Write { index, source })
    };
    writes.into_iter().enumerate().map(read).collect()
}

/// Appends a batch request, for clients.
pub fn encode(out: &mut Vec<u8>, writes: &[Write]) {
    out.extend_from_slice(b"{\"writes\":[");
    for (index, write) in writes.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"op\":\"" } else { b",{\"op\":\"" });
        let (op, representation) = match &write.operation {
            Operation::Put(representation) => ("put", Some(representation)),
            Operation::Patch(patch) => ("patch", Some(patch)),
            Operation::Delete => ("delete", None),
        };
        out.extend_from_slice(op.as_bytes());
        out.extend_from_slice(b"\",\"path\":");
        encode::string(out, write.path.as_str());
        if let Some(seconds) = write.ttl_s {
            out.extend_from_slice(format!(",\"ttl\":{seconds}").as_bytes());
        }
        encode_tags(out, "ifMatch", write.if_match.as_ref());
        encode_tags(out, "ifNoneMatch", write.if_none_match.as_ref());
        if let Some(representation) = representation {
            encode::representation_members(out, representation);
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
}

fn encode_tags(out: &mut Vec<u8>, member: &str, tags: Option<&Tags>) {
    let Some(tags) = tags else { return };
    out.push(b',');
    encode::string(out, member);
    out.push(b':');
    match tags {
        Tags::Any => out.extend_from_slice(b"\"*\""),
        Tags::List(revisions) => {
            out.push(b'[');
            for (index, &one) in revisions.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                encode::token(out, one);
            }
            out.push(b']');
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireBatch<'a> {
    #[serde(borrow)]
    writes: Vec<WireWrite<'a>>,
}

/// Unknown members are refused: a misspelt condition must not become an unconditional write.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WireWrite<'a> {
    #[serde(borrow)]
    pub(crate) op: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) path: Cow<'a, str>,
    pub(crate) ttl: Option<u64>,
    pub(crate) if_match: Option<WireTags>,
    pub(crate) if_none_match: Option<WireTags>,
    #[serde(borrow)]
    pub(crate) content_type: Option<Cow<'a, str>>,
    pub(crate) metadata: Option<WireMetadata>,
    #[serde(borrow, default, deserialize_with = "any")]
    pub(crate) value: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) base64: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum WireTags {
    One(String),
    List(Vec<String>),
}

impl WireWrite<'_> {
    pub(crate) fn into_write(mut self) -> Result<Write, DecodeError> {
        let path = Topic::new(&self.path).map_err(DecodeError::Path)?;
        let if_match = self.if_match.take().map(|tags| tags.into_tags("ifMatch")).transpose()?;
        let if_none_match =
            self.if_none_match.take().map(|tags| tags.into_tags("ifNoneMatch")).transpose()?;
        let has_payload = self.value.is_some() || self.text.is_some() || self.base64.is_some();
        let (op, ttl_s) = (self.op.clone(), self.ttl);
        let operation = match &*op {
            "delete" if has_payload => return Err(DecodeError::Invalid("op")),
            "delete" => Operation::Delete,
            "put" | "patch" if !has_payload => return Err(DecodeError::Missing("value")),
            "put" => {
                let implied = self.value.is_some().then_some("application/json");
                Operation::Put(self.into_representation(implied)?)
            }
            "patch" => Operation::Patch(self.into_representation(Some(MERGE_PATCH))?),
            _ => return Err(DecodeError::Invalid("op")),
        };
        Ok(Write { path, operation, ttl_s, if_match, if_none_match })
    }

    fn into_representation(self, implied: Option<&str>) -> Result<Representation, DecodeError> {
        let metadata = self.metadata.map(WireMetadata::into_metadata).transpose()?;
        Ok(Representation {
            content_type: self.content_type.as_deref().or(implied).map(Arc::from),
            metadata: metadata.map(Arc::new),
            payload: payload::read(self.value, self.text, self.base64.as_deref())
                .ok_or(DecodeError::Invalid("base64"))?,
            ..Representation::default()
        })
    }
}

impl WireTags {
    fn into_tags(self, member: &'static str) -> Result<Tags, DecodeError> {
        let list = match self {
            Self::One(text) if text == "*" => return Ok(Tags::Any),
            Self::One(text) => vec![text],
            Self::List(list) => list,
        };
        Ok(Tags::List(list.iter().map(|text| revision(Some(text), member)).collect::<Result<_, _>>()?))
    }
}

/// What became of one write of a batch.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Outcome {
    /// `put`, `patch` or `delete`, as asked.
    pub op: Box<str>,
    /// The name that was written.
    pub path: Box<str>,
    /// `created`, `replaced`, `deleted` or `unchanged`.
    pub effect: Box<str>,
}

/// The answer to a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The revision of the one commit.
    pub rev: Revision,
    /// One result for each write, in the order of the request.
    pub results: Vec<Outcome>,
}

impl Answer {
    /// Appends the answer.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"rev\":");
        encode::token(out, self.rev);
        out.extend_from_slice(b",\"results\":[");
        for (index, result) in self.results.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"{\"op\":" } else { b",{\"op\":" });
            encode::string(out, &result.op);
            out.extend_from_slice(b",\"path\":");
            encode::string(out, &result.path);
            out.extend_from_slice(b",\"effect\":");
            encode::string(out, &result.effect);
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(text: &[u8]) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct WireAnswer {
            rev: String,
            results: Vec<Outcome>,
        }
        let wire: WireAnswer = serde_json::from_slice(text)?;
        Ok(Self { rev: revision(Some(&wire.rev), "rev")?, results: wire.results })
    }
}
