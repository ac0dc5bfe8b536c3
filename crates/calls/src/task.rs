//! One call while it is done, and what comes of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use dovetail_api::batch;
use dovetail_api::calls;
use dovetail_api::document::CollectionWriter;
use dovetail_auth::Authorized;
use dovetail_engine::{Committed, Effect, Publish, Read, Shard, Ticket, WriteError};
use dovetail_model::{Filter, Resource, Revision, Topic};

use crate::pages::{Page, Pages};
use crate::refusal::Refusal;
use crate::write;

/// Resources on a page of a list unless asked otherwise.
const PAGE: usize = 1_000;
/// The most resources on a page of a list.
const PAGE_MAX: usize = 10_000;
/// Bytes after which a page of a list ends, however few resources it has.
const PAGE_BYTES: usize = 1 << 20;

/// What came of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// A resource, and the head at which it was read.
    Resource(Revision, Arc<Resource>),
    /// A page of a collection, as JSON.
    Page(Vec<u8>),
    /// What a write did.
    Written(Revision, Effect),
    /// What the writes of a batch did.
    Batch(batch::Answer),
    /// An event is on its way.
    Published(Revision),
}

/// What is left to do for a call.
pub(crate) enum Task {
    Get(Box<Authorized<Read>>),
    List(Box<(Authorized<Read>, Option<Page>, Option<usize>)>),
    Write(Ticket, Asked),
    Event(Box<Authorized<Publish>>),
    /// An event for which some shard has no room yet.
    Sending(Pin<Box<dyn Future<Output = ()>>>),
}

/// What a write was asked for.
pub(crate) enum Asked {
    One,
    Batch(Box<[(&'static str, Topic)]>),
    Event,
}

impl Task {
    pub(crate) fn poll(
        &mut self,
        shard: &Shard,
        pages: &Pages,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Reply, Refusal>> {
        if let Self::Event(_) = self {
            self.send(shard);
        }
        match self {
            Self::Get(read) => Poll::Ready(get(shard, read)),
            Self::List(list) => {
                let (read, page, limit) = &**list;
                Poll::Ready(read_page(shard, pages, read, page.as_ref(), *limit))
            }
            Self::Write(ticket, asked) => Pin::new(ticket).poll(cx).map(|outcome| written(outcome, asked)),
            Self::Sending(sending) => sending.as_mut().poll(cx).map(|()| Ok(Reply::Published(shard.head()))),
            // It has become the one before.
            Self::Event(_) => Poll::Pending,
        }
    }

    /// Sends an event at once, or waits for room.
    fn send(&mut self, shard: &Shard) {
        let done: Self = Self::Sending(Box::pin(std::future::ready(())));
        if let Self::Event(publish) = std::mem::replace(self, done)
            && let Err(publish) = shard.try_publish(*publish)
        {
            let shard = shard.clone();
            *self = Self::Sending(Box::pin(async move { shard.publish(publish).await }));
        }
    }
}

impl Reply {
    /// Appends the answer as one JSON object with at least one member.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Resource(rev, resource) => calls::resource(out, *rev, resource),
            Self::Page(page) => out.extend_from_slice(page),
            Self::Written(rev, effect) => calls::written(out, *rev, write::effect(*effect)),
            Self::Batch(answer) => answer.encode(out),
            Self::Published(rev) => calls::published(out, *rev),
        }
    }

    /// The revision of what was done, if it is a write.
    pub fn revision(&self) -> Option<Revision> {
        match self {
            Self::Written(rev, _) | Self::Published(rev) => Some(*rev),
            Self::Batch(answer) => Some(answer.rev),
            Self::Resource(..) | Self::Page(_) => None,
        }
    }
}

fn get(shard: &Shard, read: &Authorized<Read>) -> Result<Reply, Refusal> {
    let view = shard.read(again(shard, read)?);
    match (view.resource(), read.request()) {
        (Some(resource), _) => Ok(Reply::Resource(view.revision(), Arc::clone(resource))),
        (None, Read::Resource(path)) => Err(Refusal::not_found(path.as_str(), view.revision())),
        (None, Read::Select(filter)) => Err(Refusal::not_found(filter.as_str(), view.revision())),
    }
}

/// The right to read, asked for when the read has its turn: it may have been taken away.
fn again(shard: &Shard, read: &Authorized<Read>) -> Result<Authorized<Read>, Refusal> {
    Ok(shard.policy().authorize(read.principal(), read.request().clone())?)
}

fn read_page(
    shard: &Shard,
    pages: &Pages,
    read: &Authorized<Read>,
    page: Option<&Page>,
    limit: Option<usize>,
) -> Result<Reply, Refusal> {
    let now = Arc::new(shard.read(again(shard, read)?));
    let (view, at) = match (page, now.filter().cloned()) {
        (Some(page), Some(filter)) => (pages.pinned(now, &filter, page.at, read.principal())?, page.at),
        _ => (Arc::clone(&now), now.revision()),
    };
    let limit = limit.unwrap_or(PAGE).min(PAGE_MAX);
    let mut out = Vec::with_capacity(256);
    let mut writer = CollectionWriter::begin(&mut out, view.filter().map_or("", Filter::as_str), at);
    let mut last = None;
    let mut next = None;
    for (index, resource) in view.select(page.map(|page| &page.after)).enumerate() {
        if index == limit || out.len() >= PAGE_BYTES {
            next = last.map(|topic: &Topic| Page { at, after: topic.clone() }.to_string());
            break;
        }
        writer.item(&mut out, resource);
        last = Some(&resource.topic);
    }
    writer.end(&mut out, next.as_deref());
    if next.is_some() {
        pages.keep(&view, at, read.principal());
    }
    Ok(Reply::Page(out))
}

fn written(outcome: Result<Committed, WriteError>, asked: &Asked) -> Result<Reply, Refusal> {
    match (outcome, asked) {
        (Ok(committed), Asked::One) => {
            let effect = committed.effects.first().copied().unwrap_or(Effect::Unchanged);
            Ok(Reply::Written(committed.revision, effect))
        }
        (Ok(committed), Asked::Batch(writes)) => {
            let results = writes.iter().zip(&committed.effects).map(|((op, path), effect)| batch::Outcome {
                op: (*op).into(),
                path: path.as_str().into(),
                effect: write::effect(*effect).into(),
            });
            Ok(Reply::Batch(batch::Answer { rev: committed.revision, results: results.collect() }))
        }
        (Ok(committed), Asked::Event) => Ok(Reply::Published(committed.revision)),
        (Err(error), Asked::Batch(writes)) => {
            Err(Refusal::of_batch(error, writes.iter().map(|(_, topic)| topic)))
        }
        (Err(error), Asked::One | Asked::Event) => Err(error.into()),
    }
}
