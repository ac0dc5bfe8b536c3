//! GET of a collection: one JSON document, or NDJSON, exact at one revision.

use std::sync::Arc;
use std::task::{Context, Poll};

use dovetail_api::document::CollectionWriter;
use dovetail_api::{JSON, NDJSON, encode, names};
use dovetail_calls::pages::{LOOK_AT, Page};
use dovetail_engine::{Read, View};
use dovetail_model::{Filter, Revision, Topic};
use http::{HeaderValue, Response, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::call::Call;
use crate::conditions::{Conditions, Tags, Verdict};
use crate::negotiate::{Wanted, wanted};
use crate::payload::{Chunks, Payload};
use crate::problem::{Answer, Failure};
use crate::query::Query;
use crate::read::{read, validators};
use crate::{headers, own, since, sse};

/// Bytes after which a chunk of a document is sent.
const CHUNK_BYTES: usize = 32 << 10;

/// Answers with the collection, or with what the query and `Accept` ask for instead. `stands_for`
/// is the resource that was asked for, where the collection is given in its place.
pub(crate) async fn answer(
    call: &Call<'_>,
    filter: Filter,
    stands_for: Option<&Topic>,
) -> Answer<Response<Payload>> {
    let wanted = wanted(&call.head.headers);
    if wanted == Wanted::EventStream {
        return sse::answer(call, filter).await;
    }
    if wanted == Wanted::Html && call.head.uri.path() == "/" {
        return Ok(own::to_console());
    }
    let query = Query::parse(call.head.uri.query())?;
    if let Some(position) = query.since {
        return Box::pin(since::answer(call, filter, position, &query)).await;
    }
    let view = Arc::new(read(call, Read::Select(filter.clone())).await?);
    let (view, at) = match &query.page {
        None => (Arc::clone(&view), view.revision()),
        Some(page) => (call.door.shared.pages.pinned(view, &filter, page.at, call.principal)?, page.at),
    };
    let form = if wanted == Wanted::Ndjson { Form::Ndjson } else { Form::Json };
    if let Some(unchanged) = not_modified(call, &view, form)? {
        return Ok(unchanged);
    }
    let path = names::path_of_filter(&filter).map(|path| names::reference(&path));
    let after = query.page.map(|page| page.after);
    let next = query.limit.and_then(|limit| next_page(&view, at, after.as_ref(), limit, path.as_deref()));
    if next.is_some() {
        call.door.shared.pages.keep(&view, at, call.principal);
    }
    let mut response = Response::new(Payload::Empty);
    let fields = response.headers_mut();
    fields.insert(header::ETAG, form.etag(at));
    validators(fields, at);
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    if stands_for.is_some()
        && let Some(location) = path.and_then(|path| HeaderValue::try_from(path).ok())
    {
        fields.insert(header::CONTENT_LOCATION, location);
    }
    if let Some(next) =
        next.as_ref().and_then(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok())
    {
        fields.insert(header::LINK, next);
    }
    if !call.is_head() {
        let left = query.limit.unwrap_or(usize::MAX);
        *response.body_mut() =
            Document { view, at, form, after, left, next, stage: Stage::Begin }.into_payload();
    }
    Ok(response)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Json,
    Ndjson,
}

impl Form {
    fn media_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Ndjson => NDJSON,
        }
    }

    /// The two forms share a URL, so only one of them can have the strong tag.
    fn etag(self, revision: Revision) -> HeaderValue {
        match self {
            Self::Json => headers::etag(revision),
            Self::Ndjson => headers::weak_etag(revision),
        }
    }
}

/// 304 where the client has the current state, 412 where a precondition fails.
///
/// A collection has no state that a write could be made conditional on, so `If-Match` holds only
/// for `*` and for the very revision that is read.
fn not_modified(call: &Call<'_>, view: &View, form: Form) -> Answer<Option<Response<Payload>>> {
    let conditions = Conditions::of(&call.head.headers)?;
    if conditions.is_empty() {
        return Ok(None);
    }
    let state = crate::conditions::State { revision: view.revision(), modified_s: None };
    let verdict = conditions.evaluate(Some(state));
    if verdict == Verdict::Failed {
        let filter = view.filter().map_or("", Filter::as_str);
        return Err(Failure::precondition_failed(filter, Some(view.revision())));
    }
    let known = match conditions.if_none_match() {
        _ if verdict == Verdict::NotModified => Some(view.revision()),
        Some(tags @ Tags::List(_)) => {
            tags.revisions().find(|revision| view.changed_since(*revision, LOOK_AT) == Some(false))
        }
        _ => None,
    };
    Ok(known.map(|known| {
        let mut response = Response::new(Payload::Empty);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        // The tag of what the client has: it is what it said, and it is still true.
        response.headers_mut().insert(header::ETAG, form.etag(known));
        validators(response.headers_mut(), view.revision());
        response
    }))
}

/// The reference of the page after this one, if there is one.
fn next_page(
    view: &View,
    at: Revision,
    after: Option<&Topic>,
    limit: usize,
    path: Option<&str>,
) -> Option<String> {
    let mut beyond = view.select(after).skip(limit - 1);
    let last = beyond.next()?;
    beyond.next()?;
    let page = Page { at, after: last.topic.clone() }.to_string();
    Some(format!("{}?limit={limit}&page={}", path?, utf8_percent_encode(&page, NON_ALPHANUMERIC)))
}

/// A collection that is written while it is sent: it holds a frozen state and a place in it.
struct Document {
    view: Arc<View>,
    at: Revision,
    form: Form,
    after: Option<Topic>,
    left: usize,
    next: Option<String>,
    stage: Stage,
}

enum Stage {
    Begin,
    Json(CollectionWriter),
    Ndjson,
    Done,
}

impl Document {
    /// The document as one piece if it is small, else as a stream.
    fn into_payload(mut self) -> Payload {
        let first = self.chunk();
        match (first, &self.stage) {
            (None, _) => Payload::Empty,
            (Some(chunk), Stage::Done) => Payload::Whole(chunk.into()),
            (Some(chunk), _) => Payload::Stream(Box::new(Pieces { first: Some(chunk), document: self })),
        }
    }

    fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(CHUNK_BYTES / 8);
        let filter = self.view.filter().map_or("", Filter::as_str);
        match (&self.stage, self.form) {
            (Stage::Done, _) => return None,
            (Stage::Begin, Form::Json) => {
                self.stage = Stage::Json(CollectionWriter::begin(&mut out, filter, self.at));
            }
            (Stage::Begin, Form::Ndjson) => {
                // Only the first page begins the baseline and only the last ends it, so that pages
                // put together are the one stream.
                if self.after.is_none() {
                    encode::baseline_begin(&mut out, self.at);
                    out.push(b'\n');
                }
                self.stage = Stage::Ndjson;
            }
            _ => {}
        }
        for resource in self.view.select(self.after.as_ref()).take(self.left) {
            if let Stage::Json(writer) = &mut self.stage {
                writer.item(&mut out, resource);
            } else {
                encode::item(&mut out, self.at.epoch, resource);
                out.push(b'\n');
            }
            self.left -= 1;
            if out.len() >= CHUNK_BYTES {
                self.after = Some(resource.topic.clone());
                return Some(out);
            }
        }
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Json(writer) => writer.end(&mut out, self.next.as_deref()),
            _ if self.next.is_none() => {
                encode::baseline_end(&mut out, self.at);
                out.push(b'\n');
            }
            _ => {}
        }
        (!out.is_empty()).then_some(out)
    }
}

struct Pieces {
    first: Option<Vec<u8>>,
    document: Document,
}

impl Chunks for Pieces {
    fn poll_chunk(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        Poll::Ready(self.first.take().or_else(|| self.document.chunk()))
    }
}
