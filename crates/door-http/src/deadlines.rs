//! The deadlines of a connection that hyper runs.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::activity::Activity;
use crate::door::Settings;

/// How long a connection that was asked to end may take for it while nothing is in flight.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long an HTTP/1.1 connection idles before its buffers are given back.
const PARK_AFTER: Duration = Duration::from_secs(1);

/// The deadlines of one connection. One timer serves all of them; it is set back only when the next
/// deadline is before the one it is set to, so that a busy connection does not touch it.
pub(crate) struct Deadlines {
    activity: Rc<Activity>,
    idle: Idle,
    /// How long a client may take nothing of what is being sent to it.
    stalled_within: Duration,
    /// The connection was asked to end at this time.
    ending_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What is asked of a connection without a request in flight.
#[derive(Clone, Copy, Debug)]
enum Idle {
    /// A request that has begun has to have its headers in time. Without one the buffers are given
    /// back, and whoever has the socket then minds the rest of the keep-alive.
    Http1 { headers_within: Duration },
    /// Bytes that are no request come all the time, so the first request and then each further one
    /// has to come within the keep-alive.
    Http2 { keep_alive: Duration },
}

/// What a deadline asks for.
pub(crate) enum Due {
    /// The connection idles: give its buffers back.
    Park,
    /// The connection has been idle long enough: let it end in order.
    WindDown,
    /// The client is too slow: close.
    Close,
}

impl Deadlines {
    pub(crate) fn for_http1(settings: &Settings, activity: Rc<Activity>) -> Self {
        Self::new(Idle::Http1 { headers_within: settings.headers_within }, settings, activity)
    }

    pub(crate) fn for_http2(settings: &Settings, activity: Rc<Activity>) -> Self {
        Self::new(Idle::Http2 { keep_alive: settings.keep_alive }, settings, activity)
    }

    /// How long a parked connection may go on idling.
    pub(crate) fn left_when_parked(settings: &Settings) -> Duration {
        settings.keep_alive.saturating_sub(PARK_AFTER)
    }

    fn new(idle: Idle, settings: &Settings, activity: Rc<Activity>) -> Self {
        Self { activity, idle, stalled_within: settings.keep_alive, ending_since: None, timer: None }
    }

    /// The connection was asked to end.
    pub(crate) fn end(&mut self) {
        self.ending_since = Some(Instant::now());
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending_since.is_some()
    }

    /// What is due now; else it is looked at again when something may be.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        loop {
            let Some((at, due)) = self.next() else { return Poll::Pending };
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            if timer.deadline() > at {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= at {
                return Poll::Ready(due);
            }
            timer.as_mut().reset(at);
        }
    }

    /// The next deadline, if nothing changes before it.
    fn next(&self) -> Option<(Instant, Due)> {
        if let Some(since) = self.activity.blocked_since() {
            return Some((since + self.stalled_within, Due::Close));
        }
        if self.activity.is_busy() {
            return None;
        }
        let idle_since = self.activity.idle_since();
        let idle = match (self.ending_since, self.idle) {
            (Some(since), _) => (since.max(idle_since) + FAREWELL, Due::Close),
            (None, Idle::Http2 { keep_alive }) => (idle_since + keep_alive, Due::WindDown),
            (None, Idle::Http1 { headers_within }) => match self.activity.reading_since() {
                Some(since) => (since + headers_within, Due::Close),
                None => (idle_since + PARK_AFTER, Due::Park),
            },
        };
        Some(idle)
    }
}
