//! GET with `?since=`: what changed after a position, at once or as soon as there is something.

use std::task::{Context, Poll};
use std::time::Duration;

use dovetail_api::document::write_changes;
use dovetail_api::{JSON, NDJSON, encode};
use dovetail_engine::{ChangePage, Changes, Events, Item, Mode, Start, Subscribe};
use dovetail_model::{Filter, Revision};
use http::{HeaderValue, Response, StatusCode, header};

use crate::call::Call;
use crate::conditions::{Conditions, State, Verdict};
use crate::headers;
use crate::negotiate::{Wanted, wanted};
use crate::payload::{Chunks, Payload};
use crate::problem::{Answer, Failure};
use crate::query::Query;
use crate::read::min_revision;

/// Bytes after which a chunk of NDJSON is sent.
const CHUNK_BYTES: usize = 32 << 10;

/// How caches may use what happened after a position: it stays true, so whoever asks the same meanwhile can be given it
/// and goes on from where it ends. Thousands of long polls of one position cost one answer behind a cache.
const FRESH: &str = "max-age=5";

/// Answers with what changed under `filter` after `position`.
pub(crate) async fn answer(
    call: &Call<'_>,
    filter: Filter,
    position: Revision,
    query: &Query,
) -> Answer<Response<Payload>> {
    let mode = if query.every { Mode::Every } else { Mode::Latest };
    let ask = || Changes { filter: filter.clone(), since: position, mode, limit: query.changes_limit() };
    let asked = call.authorize(ask())?;
    min_revision(call).await?;
    let mut page = call.door.shard.changes(asked).await?;
    if let Some(wait) = query.wait.filter(|_| page.deliveries.is_empty() && page.rev == page.head) {
        something_new(call, &filter, page.rev, mode, wait).await?;
        page = call.door.shard.changes(call.authorize(ask())?).await?;
    }
    let is_ndjson = wanted(&call.head.headers) == Wanted::Ndjson;
    let state = State { revision: page.rev, modified_s: None };
    let verdict = Conditions::of(&call.head.headers)?.evaluate(Some(state));
    if verdict == Verdict::Failed {
        return Err(Failure::precondition_failed(filter.as_str(), Some(page.rev)));
    }
    let mut response = Response::new(Payload::Empty);
    let fields = response.headers_mut();
    fields.insert(headers::REVISION, headers::revision(page.head));
    // The two forms share a URL, so only one of them can have the strong tag.
    let etag = if is_ndjson { headers::weak_etag(page.rev) } else { headers::etag(page.rev) };
    fields.insert(header::ETAG, etag);
    // That nothing happened yet is not true for long, and who got it again at once would ask without end.
    let freshness = if page.deliveries.is_empty() { "no-store" } else { FRESH };
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(freshness));
    fields.insert(header::VARY, HeaderValue::from_static("accept, dovetail-min-revision"));
    if verdict == Verdict::NotModified {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(if is_ndjson { NDJSON } else { JSON }));
    if !call.is_head() {
        *response.body_mut() = if is_ndjson {
            Payload::Stream(Box::new(Lines { page, position, told: 0, is_done: false }))
        } else {
            Payload::Whole(document(&filter, position, &page).into())
        };
    }
    Ok(response)
}

/// Waits until something that matches changes after `position`, for at most `wait`, or until the
/// server is about to stop.
async fn something_new(
    call: &Call<'_>,
    filter: &Filter,
    position: Revision,
    mode: Mode,
    wait: Duration,
) -> Answer<()> {
    let subscribe = call.authorize(Subscribe {
        filter: filter.clone(),
        start: Start::After(position),
        mode,
        events: Events::Ignore,
        no_local: None,
    })?;
    let mut subscriber = call.door.shard.subscriber(call.principal.clone());
    subscriber.subscribe(subscribe);
    let news = async {
        // Anything but progress is news: a change, or a reset that the next reading will report.
        while matches!(subscriber.next().await, (_, Item::Progress { .. })) {}
    };
    tokio::select! {
        () = news => {}
        () = tokio::time::sleep(wait) => {}
        () = call.door.draining.begun() => {}
    }
    Ok(())
}

fn document(filter: &Filter, position: Revision, page: &ChangePage) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let changes = page.deliveries.iter().flat_map(|delivery| {
        let number = delivery.rev.number;
        delivery.changes().map(move |change| (number, change))
    });
    write_changes(&mut out, filter.as_str(), (position, page.rev), page.rev != page.head, changes);
    out
}

/// A page as frames: a `change` for each revision, and `progress` for what is left of the page.
struct Lines {
    page: ChangePage,
    position: Revision,
    told: usize,
    is_done: bool,
}

impl Chunks for Lines {
    fn poll_chunk(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        if self.is_done {
            return Poll::Ready(None);
        }
        let mut out = Vec::with_capacity(CHUNK_BYTES / 8);
        while let Some(delivery) = self.page.deliveries.get(self.told) {
            let number = delivery.rev.number;
            let changes = delivery.changes().map(|change| (number, change));
            encode::change(&mut out, self.position, delivery.rev, changes);
            out.push(b'\n');
            self.position = delivery.rev;
            self.told += 1;
            if out.len() >= CHUNK_BYTES {
                return Poll::Ready(Some(out));
            }
        }
        encode::progress(&mut out, self.position, self.page.rev);
        out.push(b'\n');
        self.is_done = true;
        Poll::Ready(Some(out))
    }
}
