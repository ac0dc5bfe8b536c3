//! The door and what its shards share.

use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dovetail_calls::pages::Pages;
use dovetail_engine::{Engine, Shard};
use dovetail_model::limits;
use dovetail_net::Draining;

use crate::mount::Mount;
use crate::origins::Origins;

/// What may be set of the HTTP door. The default is [`limits`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of one request body.
    pub body_bytes: usize,
    /// Bytes of request bodies that may be in memory at once, over all connections.
    pub receiving_bytes: usize,
    /// How long the headers of a request may take.
    pub headers_within: Duration,
    /// How long a request body may take, besides one second for each 64 KiB.
    pub body_within: Duration,
    /// How long a connection may idle between requests.
    pub keep_alive: Duration,
    /// How long a read waits for `Dovetail-Min-Revision`.
    pub min_revision_wait: Duration,
    /// The longest silence of an event stream.
    pub progress_every: Duration,
    /// Subprotocols of WebSocket that somebody serves, the preferred ones first; connections that speak them are given back
    /// ([`crate::Upgraded`]).
    pub subprotocols: &'static [&'static str],
    /// What is spoken at `/-/ws` by who offers no subprotocol there; one of `subprotocols`.
    pub usual_subprotocol: Option<&'static str>,
    /// Which web pages of other hosts may use the server.
    pub origins: Origins,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_bytes: limits::PAYLOAD_BYTES,
            receiving_bytes: 256 << 20,
            headers_within: limits::HTTP_HEADERS,
            body_within: limits::HTTP_BODY,
            keep_alive: limits::HTTP_KEEP_ALIVE,
            min_revision_wait: Duration::from_secs(5),
            progress_every: limits::PROGRESS,
            subprotocols: &[],
            usual_subprotocol: None,
            origins: Origins::default(),
        }
    }
}

/// Appends metrics of other parts of the server, in the text format of Prometheus.
type MoreMetrics = Box<dyn Fn(&mut String) + Send + Sync>;

/// What the doors of all shards share.
pub struct Shared {
    pub(crate) engine: Engine,
    pub(crate) settings: Settings,
    pub(crate) pages: Pages,
    pub(crate) receiving: AtomicUsize,
    more_metrics: Option<MoreMetrics>,
    requests: Mutex<Vec<Arc<Tally>>>,
}

/// Requests answered, counted per shard so that shards do not share a cache line.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    by_class: [AtomicU64; 5],
    streams: AtomicUsize,
}

/// Requests answered since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Requests {
    /// By the first digit of the status: 1xx to 5xx.
    pub by_class: [u64; 5],
    /// Event streams that are open now.
    pub streams: usize,
}

/// The HTTP door of one shard. Cheap to clone; not `Send`.
#[derive(Clone)]
pub struct Door(pub(crate) Rc<Inner>);

/// What a door holds.
pub(crate) struct Inner {
    pub(crate) shard: Shard,
    pub(crate) shared: Arc<Shared>,
    pub(crate) draining: Draining,
    pub(crate) tally: Arc<Tally>,
    pub(crate) mount: Option<Rc<dyn Mount>>,
}

impl Shared {
    /// What the doors of one server share. `more_metrics` appends the metrics of other parts of
    /// the server to the page of metrics.
    pub fn new(engine: Engine, settings: Settings, more_metrics: Option<MoreMetrics>) -> Arc<Self> {
        Arc::new(Self {
            engine,
            settings,
            pages: Pages::default(),
            receiving: AtomicUsize::new(0),
            more_metrics,
            requests: Mutex::default(),
        })
    }

    /// What was answered since the start, over all shards.
    pub fn requests(&self) -> Requests {
        let mut sum = Requests::default();
        for tally in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for (sum, count) in sum.by_class.iter_mut().zip(&tally.by_class) {
                *sum += count.load(Relaxed);
            }
            sum.streams += tally.streams.load(Relaxed);
        }
        sum
    }

    pub(crate) fn append_more_metrics(&self, text: &mut String) {
        if let Some(more) = &self.more_metrics {
            more(text);
        }
    }
}

impl Door {
    /// The door of the shard that `shard` is the engine's handle of. Its event streams end when
    /// draining begins.
    pub fn new(shard: Shard, shared: Arc<Shared>, draining: Draining) -> Self {
        Self::mounting(shard, shared, draining, None)
    }

    /// As [`Door::new`], and one of its pages is answered by another door.
    pub fn mounting(
        shard: Shard,
        shared: Arc<Shared>,
        draining: Draining,
        mount: Option<Rc<dyn Mount>>,
    ) -> Self {
        let tally = Arc::new(Tally::default());
        shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&tally));
        Self(Rc::new(Inner { shard, shared, draining, tally, mount }))
    }
}

impl Inner {
    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }
}

impl Tally {
    pub(crate) fn count(&self, status: http::StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(count) = self.by_class.get(class.wrapping_sub(1)) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn stream_opened(&self) {
        self.streams.fetch_add(1, Relaxed);
    }

    pub(crate) fn stream_closed(&self) {
        self.streams.fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}
