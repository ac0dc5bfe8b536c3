//! What the tasks of one measurement share, all of them on one thread.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep_until;

use super::copies::Ledger;
use crate::load::run::Run;

/// Where the server is, and what it is told about who asks.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) addr: SocketAddr,
    /// Lines of the head of HTTP requests.
    pub(super) fields: String,
    pub(super) token: Option<String>,
}

/// The course of one measurement.
pub(super) struct Course {
    /// Lends the buffer that all connections read into.
    pub(super) run: Rc<Run>,
    pub(super) spot: Spot,
    /// What all resources are below: two levels.
    pub(super) collection: String,
    /// Bytes of a payload.
    pub(super) payload: usize,
    pub(super) ledger: RefCell<Ledger>,
    pub(super) polls: RefCell<Polls>,
    began: watch::Sender<Option<Instant>>,
    is_measuring: Cell<bool>,
}

/// Polls that were made while it was measured.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Polls {
    /// Those that brought something, and their bytes in both directions.
    pub(super) changed: (u64, u64),
    /// Those that did not.
    pub(super) unchanged: (u64, u64),
}

impl Course {
    /// One that has not begun.
    pub(super) fn new(spot: Spot, collection: String, payload: usize, ledger: Ledger) -> Rc<Self> {
        Rc::new(Self {
            run: Run::new(),
            spot,
            collection,
            payload,
            ledger: RefCell::new(ledger),
            polls: RefCell::default(),
            began: watch::Sender::new(None),
            is_measuring: Cell::new(false),
        })
    }

    /// The topic of a resource, which is its path too.
    pub(super) fn topic(&self, resource: usize) -> String {
        format!("{}/r-{resource:04}", self.collection)
    }

    /// All resources, as a filter.
    pub(super) fn filter(&self) -> String {
        format!("{}/#", self.collection)
    }

    /// The client id of a watcher.
    pub(super) fn client_id(&self, name: &str) -> String {
        format!("{}-{name}", self.collection.replace('/', "-"))
    }

    /// The time that is measured begins.
    pub(super) fn begin(&self) -> Instant {
        let now = Instant::now();
        self.began.send_replace(Some(now));
        self.is_measuring.set(true);
        now
    }

    /// The time that is measured is over.
    pub(super) fn end(&self) {
        self.is_measuring.set(false);
    }

    /// Whether what happens now is measured.
    pub(super) fn is_measuring(&self) -> bool {
        self.is_measuring.get()
    }

    /// Nanoseconds since it began, 0 before that.
    pub(super) fn now_ns(&self) -> u64 {
        self.began.borrow().map_or(0, |began| began.elapsed().as_nanos() as u64)
    }

    /// Waits until it begins.
    pub(super) async fn begun(&self) -> Instant {
        let mut began = self.began.subscribe();
        loop {
            if let Some(began) = *began.borrow_and_update() {
                return began;
            }
            // The sender lives as long as `self`.
            drop(began.changed().await);
        }
    }

    /// Waits until so long after it began.
    pub(super) async fn reaches(&self, time: Duration) {
        let began = self.begun().await;
        sleep_until((began + time).into()).await;
    }
}

impl Polls {
    /// All of them.
    pub(super) fn count(&self) -> u64 {
        self.changed.0 + self.unchanged.0
    }

    /// Adds a poll of so many bytes.
    pub(super) fn add(&mut self, brought_something: bool, bytes: u64) {
        let kind = if brought_something { &mut self.changed } else { &mut self.unchanged };
        kind.0 += 1;
        kind.1 += bytes;
    }
}
