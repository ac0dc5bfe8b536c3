//! The client that asks again and again, as often as the other one's freshness takes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dovetail_client::{Client, Collection};
use dovetail_model::{Filter, Resource, Topic};
use tokio::time::Instant;

use super::staleness::{Staleness, Summary};

/// Before anything is known of the other client's freshness.
const FIRST_INTERVAL: Duration = Duration::from_millis(100);
/// No client asks more often than this.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(5);

/// What a copy holds.
pub(super) type Resources = BTreeMap<Topic, Arc<Resource>>;

/// The poller at work.
pub(super) struct Poller {
    client: Client,
    filter: Filter,
    state: Rc<RefCell<State>>,
    polling: tokio::task::JoinHandle<()>,
}

struct State {
    copy: Resources,
    requests: u64,
    waited: Duration,
    staleness: Staleness,
    failure: Option<String>,
}

/// What came of it.
pub(super) struct Polled {
    pub(super) copy: Resources,
    pub(super) requests: u64,
    pub(super) staleness: Summary,
    /// The mean time between two requests.
    pub(super) interval: Duration,
}

impl Poller {
    /// Begins to poll `filter`, as fresh as `target` says. Call it inside a `LocalSet`.
    pub(super) fn start(client: Client, filter: Filter, target: Staleness) -> Self {
        let state = Rc::new(RefCell::new(State::new(target.beside())));
        let polling =
            tokio::task::spawn_local(poll(client.clone(), filter.clone(), target, Rc::clone(&state)));
        Self { client, filter, state, polling }
    }

    /// Polls once more and stops.
    pub(super) async fn finish(self) -> Result<Polled, String> {
        self.polling.abort();
        let last = self.client.list(&self.filter).await.map_err(|error| crate::describe(&error))?;
        let mut state = self.state.borrow_mut();
        state.take(last);
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        let interval = state.waited / u32::try_from(state.requests.max(1)).unwrap_or(u32::MAX);
        Ok(Polled {
            copy: std::mem::take(&mut state.copy),
            requests: state.requests,
            staleness: state.staleness.summary(),
            interval,
        })
    }
}

impl State {
    fn new(staleness: Staleness) -> Self {
        Self { copy: Resources::new(), requests: 0, waited: Duration::ZERO, staleness, failure: None }
    }

    /// Replaces the copy, and notes how old is what is new in it.
    fn take(&mut self, collection: Collection) {
        self.requests += 1;
        let is_first = self.copy.is_empty();
        let next: Resources =
            collection.items.into_iter().map(|resource| (resource.topic.clone(), resource)).collect();
        for (topic, resource) in &next {
            let is_known = self.copy.get(topic).is_some_and(|known| known.revision == resource.revision);
            if !is_known && !is_first {
                self.staleness.arrived(topic, &resource.representation.payload);
            }
        }
        for topic in self.copy.keys().filter(|topic| !next.contains_key(*topic)) {
            self.staleness.arrived(topic, &[]);
        }
        self.copy = next;
    }
}

async fn poll(client: Client, filter: Filter, target: Staleness, state: Rc<RefCell<State>>) {
    loop {
        let began = Instant::now();
        match client.list(&filter).await {
            Ok(collection) => state.borrow_mut().take(collection),
            Err(error) => {
                state.borrow_mut().failure = Some(crate::describe(&error));
                return;
            }
        }
        // News waits half an interval on average, and then for the answer.
        let interval = target.recent_mean().map_or(FIRST_INTERVAL, |mean| {
            (2 * mean.saturating_sub(began.elapsed() / 2)).max(SHORTEST_INTERVAL)
        });
        tokio::time::sleep_until(began + interval).await;
        state.borrow_mut().waited += began.elapsed();
    }
}
