//! The time, as the engine sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use dovetail_model::UnixMillis;

/// Tells the time. Cheap to clone; all clones tell the same time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The wall clock read once, and the time that has passed since. When somebody sets the wall
    /// clock, times to live neither end early nor late; the dates follow at the next start.
    System {
        /// The wall clock at the start.
        started_at: UnixMillis,
        /// The same moment.
        started: Instant,
    },
    /// A clock that a test sets.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The clock of the machine.
    pub fn system() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self::System { started_at: since_epoch.as_millis() as u64, started: Instant::now() }
    }

    /// A clock that shows `now` until it is set otherwise.
    pub fn manual(now: UnixMillis) -> (Self, Arc<AtomicU64>) {
        let hand = Arc::new(AtomicU64::new(now));
        (Self::Manual(Arc::clone(&hand)), hand)
    }

    /// The time now.
    pub fn now(&self) -> UnixMillis {
        match self {
            Self::System { started_at, started } => started_at + started.elapsed().as_millis() as u64,
            Self::Manual(hand) => hand.load(Ordering::SeqCst),
        }
    }
}
