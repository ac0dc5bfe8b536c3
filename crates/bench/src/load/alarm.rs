//! A clock that wakes up in time: tokio's timers are as coarse as a millisecond, which is more than a push takes.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use anyhow::Result;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Wakes one task at a time.
pub(crate) struct Alarm {
    timer: AsyncFd<OwnedFd>,
}

impl Alarm {
    /// One that is not set.
    pub(crate) fn new() -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an `OwnedFd` owns its descriptor, as that asks for"
        )]
        Ok(Self { timer: AsyncFd::new(timer)? })
    }

    /// Waits until `when`. Dropped before, it can be asked again.
    pub(crate) async fn until(&self, when: Instant) -> Result<()> {
        let left = when.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() },
        };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.timer.readable().await?;
            let read = ready.try_io(|timer| {
                let mut count = [0; 8];
                rustix::io::read(timer.get_ref(), &mut count).map_err(io::Error::from)
            });
            // Ready may still be from a time before; then there is nothing to read.
            if let Ok(read) = read {
                read?;
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::local_runtime;

    #[test]
    fn it_never_rings_early_also_when_it_was_set_before() {
        local_runtime().unwrap().block_on(async {
            let alarm = Alarm::new().unwrap();
            alarm.until(Instant::now()).await.unwrap();
            for ms in [1, 3] {
                let when = Instant::now() + Duration::from_millis(ms);
                // Asked, given up, and asked for another time.
                tokio::select! {
                    biased;
                    rung = alarm.until(Instant::now() + Duration::from_micros(100)) => rung.unwrap(),
                    () = tokio::task::yield_now() => {}
                }
                alarm.until(when).await.unwrap();
                assert!(Instant::now() >= when);
            }
        });
    }
}
