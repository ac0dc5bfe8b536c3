//! Calls: requests by name, as members of one JSON object or as positional arguments.
//!
//! | call | members | positional arguments | answer |
//! |---|---|---|---|
//! | `get` | `path` | path | `rev`, `resource` (an entry) |
//! | `list` | `filter`, `limit`, `after` | filter | a collection; `next` goes into `after` |
//! | `put` | a write | path, value | `rev`, `effect` |
//! | `patch` | a write without `ttl` and `metadata` | path, value | `rev`, `effect` |
//! | `delete` | `path`, conditions, `idempotencyKey` | path | `rev`, `effect` |
//! | `batch` | `writes`, `idempotencyKey` | writes | as [`batch`](crate::batch) |
//! | `publish` | `path`, payload, `contentType`, `metadata`, `ttl` | path, value | `rev` |
//! | `watch` | `filter`, `mode`, `since`, `events` | filter | frames |
//!
//! A write is one of a [`batch`](crate::batch), its `op` said by the name of the call, and may have an `idempotencyKey`.
//! Behind positional arguments an object may give the members that have no position. Members that a call does not
//! have are refused: a misspelt condition must not become an unconditional write. A member that is `null` is as
//! good as none, except `value`, which may be that.

use std::borrow::Cow;

use dovetail_model::{Filter, Representation, Resource, Revision, Topic};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::batch::{self, BatchError, Operation, WireTags, WireWrite, Write};
use crate::decode::{DecodeError, WireMetadata, any};
use crate::encode;

/// The name of a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    /// Read one resource.
    Get,
    /// Read all resources that match.
    List,
    /// Write one resource.
    Put,
    /// Change one resource.
    Patch,
    /// Remove one resource.
    Delete,
    /// Write several resources as one commit.
    Batch,
    /// Send an event.
    Publish,
    /// Follow what matches.
    Watch,
}

/// What is asked to be done, once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// Read one resource.
    Get {
        /// Its name.
        path: Topic,
    },
    /// Read all resources that match, a page at a time.
    List(List),
    /// Write one resource.
    Write {
        /// What to do.
        write: Box<Write>,
        /// Makes a repetition harmless.
        idempotency_key: Option<Box<str>>,
    },
    /// Write several resources as one commit, or nothing.
    Batch {
        /// What to do.
        writes: Vec<Write>,
        /// Makes a repetition harmless.
        idempotency_key: Option<Box<str>>,
    },
    /// Send an event.
    Publish {
        /// Where to.
        path: Topic,
        /// The contents.
        representation: Representation,
        /// Seconds after which it is no longer worth delivering.
        ttl_s: Option<u64>,
    },
}

/// A page of all resources that match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List {
    /// What to read.
    pub filter: Filter,
    /// The most resources on the page.
    pub limit: Option<usize>,
    /// The `next` of the page before.
    pub after: Option<Box<str>>,
}

/// What is asked to be followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watch {
    /// What to follow.
    pub filter: Filter,
    /// Each entry of the journal, not only newest states.
    pub every: bool,
    /// From where.
    pub since: Since,
    /// Whether events are wanted.
    pub events: bool,
}

/// Where a watch starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Since {
    /// With the current state.
    Baseline,
    /// With what comes after now (`"now"`).
    Now,
    /// With what came after this.
    After(Revision),
}

/// What a call by name turns out to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// To be done once and answered once.
    Call(Call),
    /// To be followed.
    Watch(Watch),
}

/// Why a call cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Its members are wrong.
    #[error("the call cannot be read")]
    Members(#[from] DecodeError),
    /// The writes of a batch are.
    #[error("the writes of the batch cannot be read")]
    Writes(#[from] BatchError),
    /// A member that the call does not have.
    #[error("`{method}` has no member `{member}`")]
    Unexpected {
        /// The name of the call.
        method: &'static str,
        /// The name of the member.
        member: &'static str,
    },
    /// More positional arguments than the call has.
    #[error("`{method}` has at most {most} arguments, the last one an object")]
    Arguments {
        /// The name of the call.
        method: &'static str,
        /// With the object.
        most: usize,
    },
    /// A member was given by position, too.
    #[error("`{0}` is given twice")]
    Twice(&'static str),
}

const WRITE: &[&str] = &[
    "path",
    "value",
    "text",
    "base64",
    "contentType",
    "metadata",
    "ttl",
    "ifMatch",
    "ifNoneMatch",
    "idempotencyKey",
];
const PATCH: &[&str] =
    &["path", "value", "text", "base64", "contentType", "ifMatch", "ifNoneMatch", "idempotencyKey"];

impl Method {
    /// Every method.
    pub const ALL: [Self; 8] = [
        Self::Get,
        Self::List,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Batch,
        Self::Publish,
        Self::Watch,
    ];

    /// The name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Batch => "batch",
            Self::Publish => "publish",
            Self::Watch => "watch",
        }
    }

    /// The method with this name, whatever its case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name().eq_ignore_ascii_case(name))
    }

    /// How many positional arguments stand before the object of members.
    pub fn positions(self) -> usize {
        match self {
            Self::Get | Self::List | Self::Delete | Self::Batch | Self::Watch => 1,
            Self::Put | Self::Patch | Self::Publish => 2,
        }
    }

    /// The members that the method has.
    fn members(self) -> &'static [&'static str] {
        match self {
            Self::Get => &["path"],
            Self::List => &["filter", "limit", "after"],
            Self::Put => WRITE,
            Self::Patch => PATCH,
            Self::Delete => &["path", "ifMatch", "ifNoneMatch", "idempotencyKey"],
            Self::Batch => &["writes", "idempotencyKey"],
            Self::Publish => &["path", "value", "text", "base64", "contentType", "metadata", "ttl"],
            Self::Watch => &["filter", "mode", "since", "events"],
        }
    }

    /// Reads a call from an object of its members.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn of_members(self, object: &str) -> Result<Ask, CallError> {
        self.ask(parse(object)?)
    }

    /// Reads a call from positional arguments, each one JSON value as text. The last one may be an object of further
    /// members.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn of_arguments<'a>(
        self,
        arguments: impl ExactSizeIterator<Item = &'a str>,
    ) -> Result<Ask, CallError> {
        let positions = self.positions();
        if arguments.len() > positions + 1 {
            return Err(CallError::Arguments { method: self.name(), most: positions + 1 });
        }
        let (mut first, mut second, mut members) = (None, None, Members::default());
        for (index, argument) in arguments.enumerate() {
            if index == positions {
                members = json::<Option<Members<'a>>>(argument)?.unwrap_or_default();
            } else if index == 0 {
                first = Some(argument);
            } else {
                second = Some(argument);
            }
        }
        if let Some(first) = first {
            match self {
                Self::Get | Self::Put | Self::Patch | Self::Delete | Self::Publish => {
                    once(&mut members.path, json(first)?, "path")?;
                }
                Self::List | Self::Watch => once(&mut members.filter, json(first)?, "filter")?,
                Self::Batch => once(&mut members.writes, json(first)?, "writes")?,
            }
        }
        // The place of the value has to be filled where the payload is `text` or `base64` of the object.
        let is_elsewhere = members.text.is_some() || members.base64.is_some();
        if let Some(value) = second
            && !(is_elsewhere && value.trim() == "null")
        {
            if is_elsewhere {
                return Err(CallError::Twice("value"));
            }
            once(&mut members.value, Some(json(value)?), "value")?;
        }
        self.ask(members)
    }

    pub(crate) fn ask(self, mut members: Members<'_>) -> Result<Ask, CallError> {
        let is_known = |name: &&str| self.members().contains(name);
        if let Some(member) = members.present().find(|name| !is_known(name)) {
            return Err(CallError::Unexpected { method: self.name(), member });
        }
        let idempotency_key = members.idempotency_key.take().map(|key| Box::from(&*key));
        let call = match self {
            Self::Get => Call::Get { path: members.path()? },
            Self::List => Call::List(List {
                filter: members.filter()?,
                limit: members.limit()?,
                after: members.after.map(|after| Box::from(&*after)),
            }),
            Self::Put | Self::Patch | Self::Delete => {
                Call::Write { write: Box::new(members.into_write(self.name())?), idempotency_key }
            }
            Self::Batch => {
                let writes = members.writes.ok_or(DecodeError::Missing("writes"))?;
                Call::Batch { writes: batch::decode_writes(writes.get().as_bytes())?, idempotency_key }
            }
            Self::Publish => {
                // An event is read like what a put stores, but may be empty.
                let write = members.into_write("put")?;
                let Operation::Put(representation) = write.operation else {
                    return Err(DecodeError::Missing("value").into());
                };
                Call::Publish { path: write.path, representation, ttl_s: write.ttl_s }
            }
            Self::Watch => return Ok(Ask::Watch(members.watch()?)),
        };
        Ok(Ask::Call(call))
    }
}

/// Every member of any call.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Members<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) id: Option<&'a RawValue>,
    /// Of `unwatch`: the id of a watch.
    #[serde(borrow)]
    pub(crate) watch: Option<&'a RawValue>,
    #[serde(borrow)]
    path: Option<Cow<'a, str>>,
    #[serde(borrow)]
    filter: Option<Cow<'a, str>>,
    limit: Option<u64>,
    #[serde(borrow)]
    after: Option<Cow<'a, str>>,
    #[serde(borrow)]
    mode: Option<Cow<'a, str>>,
    #[serde(borrow)]
    since: Option<Cow<'a, str>>,
    events: Option<bool>,
    ttl: Option<u64>,
    if_match: Option<WireTags>,
    if_none_match: Option<WireTags>,
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
    idempotency_key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    writes: Option<&'a RawValue>,
}

impl Members<'_> {
    /// The names of the members that are there.
    pub(crate) fn present(&self) -> impl Iterator<Item = &'static str> {
        [
            ("type", self.kind.is_some()),
            ("id", self.id.is_some()),
            ("watch", self.watch.is_some()),
            ("path", self.path.is_some()),
            ("filter", self.filter.is_some()),
            ("limit", self.limit.is_some()),
            ("after", self.after.is_some()),
            ("mode", self.mode.is_some()),
            ("since", self.since.is_some()),
            ("events", self.events.is_some()),
            ("ttl", self.ttl.is_some()),
            ("ifMatch", self.if_match.is_some()),
            ("ifNoneMatch", self.if_none_match.is_some()),
            ("contentType", self.content_type.is_some()),
            ("metadata", self.metadata.is_some()),
            ("value", self.value.is_some()),
            ("text", self.text.is_some()),
            ("base64", self.base64.is_some()),
            ("idempotencyKey", self.idempotency_key.is_some()),
            ("writes", self.writes.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, is_there)| is_there.then_some(name))
    }

    fn path(&self) -> Result<Topic, DecodeError> {
        let path = self.path.as_deref().ok_or(DecodeError::Missing("path"))?;
        Topic::new(path).map_err(DecodeError::Path)
    }

    fn filter(&self) -> Result<Filter, DecodeError> {
        let filter = self.filter.as_deref().ok_or(DecodeError::Missing("filter"))?;
        Filter::new(filter).map_err(DecodeError::Filter)
    }

    fn limit(&self) -> Result<Option<usize>, DecodeError> {
        match self.limit {
            Some(0) => Err(DecodeError::Invalid("limit")),
            limit => Ok(limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))),
        }
    }

    fn watch(&self) -> Result<Watch, DecodeError> {
        let every = match self.mode.as_deref() {
            None | Some("latest") => false,
            Some("every") => true,
            Some(_) => return Err(DecodeError::Invalid("mode")),
        };
        let since = match self.since.as_deref() {
            None => Since::Baseline,
            Some("now") => Since::Now,
            Some(token) => Since::After(token.parse().map_err(|_| DecodeError::Invalid("since"))?),
        };
        Ok(Watch { filter: self.filter()?, every, since, events: self.events.unwrap_or(true) })
    }

    fn into_write(self, op: &'static str) -> Result<Write, DecodeError> {
        WireWrite {
            op: op.into(),
            path: self.path.ok_or(DecodeError::Missing("path"))?,
            ttl: self.ttl,
            if_match: self.if_match,
            if_none_match: self.if_none_match,
            content_type: self.content_type,
            metadata: self.metadata,
            value: self.value,
            text: self.text,
            base64: self.base64,
        }
        .into_write()
    }
}

pub(crate) fn parse(text: &str) -> Result<Members<'_>, DecodeError> {
    json(text)
}

fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, DecodeError> {
    Ok(serde_json::from_str(text)?)
}

/// Gives a member its value, which must not have one.
fn once<T>(member: &mut Option<T>, value: Option<T>, name: &'static str) -> Result<(), CallError> {
    if member.is_some() {
        return Err(CallError::Twice(name));
    }
    *member = value;
    Ok(())
}

/// Appends the answer to `get`: `{"rev", "resource"}`. `rev` is the head at which it was read.
pub fn resource(out: &mut Vec<u8>, rev: Revision, resource: &Resource) {
    out.extend_from_slice(b"{\"rev\":");
    encode::token(out, rev);
    out.extend_from_slice(b",\"resource\":");
    encode::resource(out, rev.epoch, resource);
    out.push(b'}');
}

/// Appends the answer to a write: `{"rev", "effect"}`.
pub fn written(out: &mut Vec<u8>, rev: Revision, effect: &str) {
    out.extend_from_slice(b"{\"rev\":");
    encode::token(out, rev);
    out.extend_from_slice(b",\"effect\":");
    encode::string(out, effect);
    out.push(b'}');
}

/// Appends the answer to `publish`: `{"rev"}`.
pub fn published(out: &mut Vec<u8>, rev: Revision) {
    out.extend_from_slice(b"{\"rev\":");
    encode::token(out, rev);
    out.push(b'}');
}
