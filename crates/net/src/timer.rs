//! One timer for all deadlines of a connection.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// A timer that a connection's loop sets in each turn. It is moved when it fires too early, not each time that a deadline
/// moves.
#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// What it is set to. It is looked at in every round, which the sleep itself need not be.
    set_to: Option<Instant>,
}

impl Timer {
    /// Whether what it was set to has come.
    pub fn is_due(&self, now: Instant) -> bool {
        self.set_to.is_some_and(|set_to| set_to <= now)
    }

    /// Wakes the task at `deadline`, or somewhat earlier. All calls are of one task.
    pub fn arm(&mut self, deadline: Instant, now: Instant, cx: &mut Context<'_>) {
        let deadline = deadline.max(now + Duration::from_millis(1));
        if self.set_to.is_some_and(|set_to| now < set_to && set_to <= deadline) {
            // It is set already, and its waker is that of this task.
            return;
        }
        self.set_to = Some(deadline);
        let deadline = tokio::time::Instant::from_std(deadline);
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                sleep.as_mut().reset(deadline);
                sleep
            }
            none => none.insert(Box::pin(tokio::time::sleep_until(deadline))),
        };
        if sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    /// Sets it to nothing. It may still wake the task once.
    pub fn disarm(&mut self) {
        self.set_to = None;
    }
}
