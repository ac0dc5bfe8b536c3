//! What wakes a connection besides its client: deadlines, and the end of the server.

use std::pin::Pin;
use std::task::Context;
use std::time::Instant;

use dovetail_net::{Draining, Timer};

use crate::hub::Hub;

/// The deadlines of a connection and the end of the server. All calls are of one task.
pub(crate) struct Pulse {
    timer: Timer,
    draining: Draining,
    /// Wakes the task when the server is to stop; asked now and then, for the task stays the same.
    begun: Option<Pin<Box<dyn Future<Output = ()>>>>,
    is_set: bool,
}

impl Pulse {
    pub(crate) fn new(draining: &Draining) -> Self {
        let begun = draining.clone();
        Self {
            timer: Timer::default(),
            draining: draining.clone(),
            begun: Some(Box::pin(async move { begun.begun().await })),
            is_set: false,
        }
    }

    /// Has the hub do what is due, and wakes the task when something else is, or at `other`.
    pub(crate) fn poll(&mut self, hub: &mut Hub, cx: &mut Context<'_>, now: Instant, other: Option<Instant>) {
        self.mind_drain(cx, now);
        if self.draining.is_begun() {
            hub.shut_down();
        }
        let due = [hub.keep_time(now), other].into_iter().flatten().min();
        self.arm(due, cx, now);
    }

    /// As [`Self::poll`] without a hub. Whether the server is to stop.
    pub(crate) fn poll_alone(&mut self, cx: &mut Context<'_>, now: Instant, due: Instant) -> bool {
        self.mind_drain(cx, now);
        self.arm(Some(due), cx, now);
        self.draining.is_begun()
    }

    fn mind_drain(&mut self, cx: &mut Context<'_>, now: Instant) {
        if (!self.is_set || self.timer.is_due(now))
            && let Some(begun) = &mut self.begun
            && begun.as_mut().poll(cx).is_ready()
        {
            self.begun = None;
        }
        self.is_set = true;
    }

    fn arm(&mut self, due: Option<Instant>, cx: &mut Context<'_>, now: Instant) {
        match due {
            Some(due) => self.timer.arm(due, now, cx),
            None => self.timer.disarm(),
        }
    }
}
