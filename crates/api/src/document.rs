//! The collection document and the catch-up document.

use std::borrow::Cow;
use std::sync::Arc;

use dovetail_model::{Change, Epoch, Resource, Revision};
use serde::Deserialize;

use crate::decode::{DecodeError, Entry, Wire, entries, revision};
use crate::encode;

/// Writes a collection document piece by piece, so that nothing has to hold all of it:
/// `{"filter": …, "rev": …, "items": [entry, …], "next": …}`.
#[derive(Debug)]
pub struct CollectionWriter {
    epoch: Epoch,
    is_first: bool,
}

impl CollectionWriter {
    /// Appends the start of the document: the state under `filter` at `rev`.
    pub fn begin(out: &mut Vec<u8>, filter: &str, rev: Revision) -> Self {
        out.extend_from_slice(b"{\"filter\":");
        encode::string(out, filter);
        out.extend_from_slice(b",\"rev\":");
        encode::token(out, rev);
        out.extend_from_slice(b",\"items\":[");
        Self { epoch: rev.epoch, is_first: true }
    }

    /// Appends one resource.
    pub fn item(&mut self, out: &mut Vec<u8>, resource: &Resource) {
        if !std::mem::take(&mut self.is_first) {
            out.push(b',');
        }
        encode::resource(out, self.epoch, resource);
    }

    /// Appends the end. `next` is the reference of the next page, where there is one.
    pub fn end(self, out: &mut Vec<u8>, next: Option<&str>) {
        out.push(b']');
        if let Some(next) = next {
            out.extend_from_slice(b",\"next\":");
            encode::string(out, next);
        }
        out.push(b'}');
    }
}

/// A collection as a client reads it: exact at one revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Collection {
    /// The filter that was read.
    pub filter: Box<str>,
    /// The revision that the state is true at.
    pub rev: Revision,
    /// The resources of this page, in tree order.
    pub items: Vec<Arc<Resource>>,
    /// The reference of the next page, read at the same revision.
    pub next: Option<Box<str>>,
}

impl Collection {
    /// Reads a collection document.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(text: &[u8]) -> Result<Self, DecodeError> {
        let wire: WireCollection<'_> = serde_json::from_slice(text)?;
        let rev = revision(Some(&wire.rev), "rev")?;
        let items = wire.items.into_iter().map(|item| match item.into_resource()? {
            (epoch, resource) if epoch == rev.epoch => Ok(Arc::new(resource)),
            _ => Err(DecodeError::Invalid("rev")),
        });
        Ok(Self {
            filter: wire.filter.into(),
            rev,
            items: items.collect::<Result<_, _>>()?,
            next: wire.next.map(Into::into),
        })
    }
}

#[derive(Deserialize)]
struct WireCollection<'a> {
    #[serde(borrow)]
    filter: Cow<'a, str>,
    #[serde(borrow)]
    rev: Cow<'a, str>,
    #[serde(borrow)]
    items: Vec<Wire<'a>>,
    #[serde(borrow)]
    next: Option<Cow<'a, str>>,
}

/// Appends a catch-up document: what changed under `filter` in `(after, rev]`.
///
/// `more` says that the head is further on, and that asking again after `rev` gives more at once.
/// The changes of one commit are never split over two documents.
pub fn write_changes<'a>(
    out: &mut Vec<u8>,
    filter: &str,
    (after, rev): (Revision, Revision),
    more: bool,
    changes: impl IntoIterator<Item = (u64, &'a Change)>,
) {
    out.extend_from_slice(b"{\"filter\":");
    encode::string(out, filter);
    out.extend_from_slice(b",\"after\":");
    encode::token(out, after);
    out.extend_from_slice(b",\"rev\":");
    encode::token(out, rev);
    out.extend_from_slice(if more { b",\"more\":true" } else { b",\"more\":false" });
    out.extend_from_slice(b",\"changes\":[");
    for (index, (number, change)) in changes.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        encode::entry(out, rev.epoch, number, change);
    }
    out.extend_from_slice(b"]}");
}

/// A catch-up document as a client reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changes {
    /// The filter that was read.
    pub filter: Box<str>,
    /// The position that was asked for.
    pub after: Revision,
    /// The position that the document leads to: ask for what came after it next.
    pub rev: Revision,
    /// Whether asking again gives more at once.
    pub more: bool,
    /// The changes, in the order of their commits.
    pub changes: Vec<Entry>,
}

impl Changes {
    /// Reads a catch-up document.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(text: &[u8]) -> Result<Self, DecodeError> {
        let wire: WireChanges<'_> = serde_json::from_slice(text)?;
        let rev = revision(Some(&wire.rev), "rev")?;
        Ok(Self {
            filter: wire.filter.into(),
            after: revision(Some(&wire.after), "after")?,
            rev,
            more: wire.more,
            changes: entries(wire.changes, rev.epoch)?,
        })
    }
}

#[derive(Deserialize)]
struct WireChanges<'a> {
    #[serde(borrow)]
    filter: Cow<'a, str>,
    #[serde(borrow)]
    after: Cow<'a, str>,
    #[serde(borrow)]
    rev: Cow<'a, str>,
    more: bool,
    #[serde(borrow)]
    changes: Vec<Wire<'a>>,
}
