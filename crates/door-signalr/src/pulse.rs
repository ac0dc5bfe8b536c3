//! What wakes a connection besides its client: deadlines, and the end of the server.

use std::task::Context;
use std::time::Instant;

use dovetail_net::{StopNotice, Timer};

use crate::Local;
use crate::hub::Hub;

/// The deadlines of a connection and the end of the server. All calls are of one task.
pub(crate) struct Pulse {
    timer: Timer,
    stop: StopNotice,
}

impl Pulse {
    pub(crate) fn new(local: &Local) -> Self {
        Self { timer: Timer::default(), stop: local.stopping.join() }
    }

    /// Has the hub do what is due, and wakes the task when something else is, or at `other`.
    pub(crate) fn poll(&mut self, hub: &mut Hub, cx: &mut Context<'_>, now: Instant, other: Option<Instant>) {
        if self.stop.is_begun(cx) {
            hub.shut_down();
        }
        match [hub.keep_time(now), other].into_iter().flatten().min() {
            Some(due) => self.timer.arm(due, now, cx),
            None => self.timer.disarm(),
        }
    }

    /// As [`Self::poll`] without a hub. Whether the server is to stop.
    pub(crate) fn poll_alone(&mut self, cx: &mut Context<'_>, now: Instant, due: Instant) -> bool {
        self.timer.arm(due, now, cx);
        self.stop.is_begun(cx)
    }
}
