//! The client that follows the pattern: baseline, live, fallback.

use std::cell::RefCell;
use std::rc::Rc;

use dovetail_client::{Client, Entry, Item, Replica, Server as Address, Via, Watch, WatchOptions};
use dovetail_model::{Filter, Revision};
use tokio::sync::watch;

use super::staleness::{Staleness, Summary};

/// The follower at work. It runs while it or something else on its thread is awaited.
pub(super) struct Follower {
    staleness: Staleness,
    position: watch::Receiver<Option<Revision>>,
    state: Rc<RefCell<State>>,
    following: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    replica: Replica,
    interruptions: u64,
    baselines: u64,
    failure: Option<String>,
}

/// What came of it.
pub(super) struct Followed {
    pub(super) replica: Replica,
    pub(super) staleness: Summary,
    /// Connections lost and made up for.
    pub(super) catch_ups: u64,
    pub(super) baselines: u64,
}

impl Follower {
    /// Begins to follow `filter` over MQTT. Call it inside a `LocalSet`.
    pub(super) fn start(client: &Client, via: Address, filter: Filter, staleness: Staleness) -> Self {
        let state = Rc::<RefCell<State>>::default();
        let (told, position) = watch::channel(None);
        let watch = client.watch(filter, Via::Mqtt(via), WatchOptions::default());
        let following = tokio::task::spawn_local(follow(watch, Rc::clone(&state), staleness.clone(), told));
        Self { staleness, position, state, following }
    }

    /// Waits until everything up to `head` was told, then stops.
    pub(super) async fn finish(mut self, head: Revision) -> Result<Followed, String> {
        const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
        let is_there = |position: &Option<Revision>| position.is_some_and(|at| at.number >= head.number);
        let reached = tokio::time::timeout(PATIENCE, self.position.wait_for(is_there)).await;
        let is_reached = matches!(reached, Ok(Ok(_)));
        self.following.abort();
        let mut state = self.state.take();
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        if !is_reached {
            return Err(format!("the follower did not reach {head} in 30 s"));
        }
        let State { replica, interruptions, baselines, .. } = state;
        Ok(Followed { replica, staleness: self.staleness.summary(), catch_ups: interruptions, baselines })
    }
}

async fn follow(
    mut watch: Watch,
    state: Rc<RefCell<State>>,
    staleness: Staleness,
    told: watch::Sender<Option<Revision>>,
) {
    loop {
        let item = match watch.next().await {
            Ok(item) => item,
            Err(error) => {
                state.borrow_mut().failure = Some(crate::describe(&error));
                return;
            }
        };
        let mut state = state.borrow_mut();
        match &item {
            Item::Change { changes, .. } => {
                for Entry { change, .. } in changes {
                    let value = change.representation().map_or(&[][..], |held| &held.payload);
                    staleness.arrived(change.topic(), value);
                }
            }
            Item::BaselineBegin(_) => state.baselines += 1,
            // Attempts that fail before one succeeds are one interruption.
            Item::Interrupted(interruption) if interruption.attempt <= 1 => state.interruptions += 1,
            _ => {}
        }
        if let Err(error) = state.replica.apply(&item) {
            state.failure = Some(crate::describe(&error));
            return;
        }
        told.send_replace(watch.position());
    }
}
