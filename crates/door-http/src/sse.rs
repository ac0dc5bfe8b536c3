//! GET as an event stream: a feed, for as long as the client stays.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dovetail_api::EVENT_STREAM;
use dovetail_api::encode;
use dovetail_api::sse::{self, Position, name};
use dovetail_calls::frame;
use dovetail_engine::{Events, FeedId, Item, Mode, Start, Subscribe, Subscriber};
use dovetail_model::{Epoch, Filter, limits};
use http::{HeaderValue, Response, header};
use tokio::time::{Instant, Sleep};

use crate::call::Call;
use crate::door::Tally;
use crate::headers;
use crate::payload::{Chunks, Payload};
use crate::problem::Answer;
use crate::query::Query;
use crate::read::min_revision;

/// Bytes after which a gathered write goes out although more is ready.
const GATHER_BYTES: usize = 64 << 10;

/// Answers with the feed of `filter`.
pub(crate) async fn answer(call: &Call<'_>, filter: Filter) -> Answer<Response<Payload>> {
    let query = Query::parse(call.head.uri.query())?;
    let mode = if query.every { Mode::Every } else { Mode::Latest };
    // Who asks for every entry would rather lose the stream than an event without knowing it.
    let events = if query.every { Events::End } else { Events::Drop };
    let shard = &call.door.shard;
    let (start, is_unreadable) = start(call, &query);
    let subscribe = call.authorize(Subscribe { filter, start, mode, events, no_local: None })?;
    min_revision(call).await?;
    let mut response = Response::new(Payload::Empty);
    let fields = response.headers_mut();
    fields.insert(headers::REVISION, headers::revision(shard.head()));
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::VARY, HeaderValue::from_static("accept"));
    if call.is_head() {
        return Ok(response);
    }
    let mut subscriber = shard.subscriber(call.principal.clone());
    let feed = subscriber.subscribe(subscribe);
    let mut preface = Vec::new();
    // Each after a time of its own, or all would come back to a server that starts again at once.
    let [least, most] = limits::RECONNECT.map(|delay| delay.as_millis() as u64);
    sse::retry(&mut preface, fastrand::u64(least..=most));
    if is_unreadable {
        sse::event(&mut preface, name::RESET, Position::None, |out| {
            encode::reset(out, shard.head(), "invalid");
        });
    }
    let draining = call.door.draining.clone();
    let progress_every = call.door.settings().progress_every;
    call.door.tally.stream_opened();
    *response.body_mut() = Payload::Feed(Box::new(Stream {
        subscriber,
        feed,
        epoch: shard.head().epoch,
        preface: Some(preface),
        draining: Box::pin(async move { draining.begun().await }),
        timer: Box::pin(tokio::time::sleep(progress_every)),
        last_said: Instant::now(),
        progress_every,
        is_done: false,
        tally: Arc::clone(&call.door.tally),
    }));
    Ok(response)
}

/// Where the feed starts: after `Last-Event-ID`, which a browser sends when it comes back, else
/// after `?since=`, else with a baseline. The flag says that there was an id and it is none of
/// ours: the client has to hear that it does not continue.
fn start(call: &Call<'_>, query: &Query) -> (Start, bool) {
    let id = call.head.headers.get(&headers::LAST_EVENT_ID).map(HeaderValue::as_bytes).unwrap_or_default();
    if id.is_empty() {
        return (query.since.map_or(Start::Baseline, Start::After), false);
    }
    match std::str::from_utf8(id).ok().and_then(|text| text.parse().ok()) {
        Some(position) => (Start::After(position), false),
        None => (Start::Baseline, true),
    }
}

/// A feed on its way to one client.
struct Stream {
    subscriber: Subscriber,
    feed: FeedId,
    epoch: Epoch,
    /// What is said before the first item.
    preface: Option<Vec<u8>>,
    draining: Pin<Box<dyn Future<Output = ()>>>,
    /// Set back only when it fires, so that a busy stream does not touch it.
    timer: Pin<Box<Sleep>>,
    last_said: Instant,
    progress_every: Duration,
    is_done: bool,
    tally: Arc<Tally>,
}

impl Chunks for Stream {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        if self.is_done {
            return Poll::Ready(None);
        }
        let mut out = self.preface.take().unwrap_or_default();
        if self.draining.as_mut().poll(cx).is_ready() {
            self.end(&mut out, "shutdown");
            return Poll::Ready(Some(out));
        }
        while out.len() < GATHER_BYTES && !self.is_done {
            match self.subscriber.poll_next(cx) {
                Poll::Ready((_, item)) => self.say(&mut out, &item),
                Poll::Pending => break,
            }
        }
        if out.is_empty() {
            self.say_progress(&mut out, cx);
        }
        if out.is_empty() {
            return Poll::Pending;
        }
        self.last_said = Instant::now();
        Poll::Ready(Some(out))
    }
}

impl Stream {
    fn say(&mut self, out: &mut Vec<u8>, item: &Item) {
        let (name, position) = frame::kind(item);
        sse::event(out, name, position, |out| frame::write(out, item, self.epoch));
        self.is_done |= matches!(item, Item::End(_));
    }

    /// The last event. The position stays: whoever comes back goes on from there.
    fn end(&mut self, out: &mut Vec<u8>, reason: &str) {
        sse::event(out, name::END, Position::Unchanged, |out| encode::end(out, reason));
        self.is_done = true;
    }

    /// Says how far everything was told, when the stream has long been silent.
    fn say_progress(&mut self, out: &mut Vec<u8>, cx: &mut Context<'_>) {
        while self.timer.as_mut().poll(cx).is_ready() {
            let due = self.last_said + self.progress_every;
            if Instant::now() < due {
                self.timer.as_mut().reset(due);
                continue;
            }
            self.timer.as_mut().reset(Instant::now() + self.progress_every);
            match self.subscriber.progress(self.feed) {
                Some(item) => self.say(out, &item),
                // The feed is not live yet; a comment shows that the connection is.
                None => out.extend_from_slice(b":\n\n"),
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.tally.stream_closed();
    }
}
