//! The helper: makes the next segment before it is needed and removes trimmed ones, so that no
//! commit waits for either.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::disk::is_full;
use crate::error::Poison;
use crate::segment::Segment;
use crate::shared::Shared;

/// How long after a failure for lack of space the helper tries again.
const RETRY: Duration = Duration::from_secs(1);

/// Owns the helper thread, or does its work on the spot where no thread is wanted.
#[derive(Debug)]
pub(crate) struct Helper {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

/// Why there is no segment.
#[derive(Debug)]
pub(crate) enum NoSegment {
    Full,
    Poisoned(Poison),
}

#[derive(Debug)]
struct Desk {
    shared: Arc<Shared>,
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Debug)]
struct Work {
    next: Next,
    /// Names to remove, oldest segment first: a gap in the middle would be damage.
    remove: VecDeque<String>,
    /// Something failed that is worth another try later.
    retry: bool,
    stop: bool,
}

/// The segment after the active one.
#[derive(Debug)]
enum Next {
    /// Taken, and its successor not yet ordered.
    Nothing,
    Ordered {
        sequence: u64,
        bytes: u64,
    },
    Ready(Segment),
    Failed {
        sequence: u64,
        bytes: u64,
    },
}

impl Helper {
    /// A helper that has `ready`, the segment after the active one, if recovery found it.
    /// `threaded` says whether it works on its own thread.
    pub(crate) fn start(
        shared: Arc<Shared>,
        ready: Option<Segment>,
        threaded: bool,
    ) -> std::io::Result<Self> {
        let next = ready.map_or(Next::Nothing, Next::Ready);
        let work = Work { next, remove: VecDeque::new(), retry: false, stop: false };
        let desk = Arc::new(Desk { shared, work: Mutex::new(work), changed: Condvar::new() });
        let thread = if threaded {
            let desk = Arc::clone(&desk);
            Some(std::thread::Builder::new().name("journal-helper".into()).spawn(move || desk.run())?)
        } else {
            None
        };
        Ok(Self { desk, thread })
    }

    /// Orders segment `sequence`, unless it is there or on its way.
    pub(crate) fn order(&self, sequence: u64, bytes: u64) {
        let mut work = self.desk.lock();
        if matches!(work.next, Next::Nothing) {
            work.next = Next::Ordered { sequence, bytes };
            drop(self.go(work));
        }
    }

    /// Takes the next segment, and waits for it if it is on its way. Does not wait for space.
    pub(crate) fn take(&self) -> Result<Segment, NoSegment> {
        let mut work = self.desk.lock();
        if self.thread.is_none() {
            work.revive();
            work = self.go(work);
        }
        loop {
            if let Some(poison) = self.desk.shared.poison() {
                return Err(NoSegment::Poisoned(poison));
            }
            match &work.next {
                Next::Failed { .. } => return Err(NoSegment::Full),
                Next::Ordered { .. } => {
                    work = self.desk.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
                }
                Next::Ready(_) | Next::Nothing => {
                    let Next::Ready(segment) = std::mem::replace(&mut work.next, Next::Nothing) else {
                        unreachable!("the segment after the active one is always ordered");
                    };
                    return Ok(segment);
                }
            }
        }
    }

    /// Removes the files `names`, in this order.
    pub(crate) fn remove(&self, names: impl Iterator<Item = String>) {
        let mut work = self.desk.lock();
        work.remove.extend(names);
        // What is removed may be the space that was missing.
        work.revive();
        drop(self.go(work));
    }

    /// Whether there was no space for the next segment.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self.desk.lock().next, Next::Failed { .. })
    }

    /// Ends the helper when it has removed what it can.
    pub(crate) fn stop(&mut self) {
        let mut work = self.desk.lock();
        work.stop = true;
        drop(self.go(work));
        if let Some(thread) = self.thread.take() {
            // The thread catches its panics; there is nothing left to learn from it.
            let _ = thread.join();
        }
    }

    fn go<'a>(&'a self, work: MutexGuard<'a, Work>) -> MutexGuard<'a, Work> {
        self.desk.changed.notify_all();
        if self.thread.is_some() { work } else { self.desk.work_off(work) }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Work> {
        // The work is only changed between the disk's calls, in single assignments.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        if catch_unwind(AssertUnwindSafe(|| self.serve())).is_err() {
            self.shared.set_poison(Poison::panicked("prepare a segment of"));
            self.changed.notify_all();
        }
    }

    fn serve(&self) {
        let mut work = self.lock();
        loop {
            work = self.work_off(work);
            if work.stop {
                return;
            }
            if work.retry {
                let waited = self.changed.wait_timeout(work, RETRY);
                work = waited.unwrap_or_else(PoisonError::into_inner).0;
                work.revive();
            } else {
                work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Does what can be done now. Unlocks the work while the disk is busy.
    fn work_off<'a>(&'a self, mut work: MutexGuard<'a, Work>) -> MutexGuard<'a, Work> {
        loop {
            if let (Some(name), false) = (work.remove.front().cloned(), work.retry) {
                drop(work);
                let removed = self.remove(&name);
                work = self.lock();
                match removed {
                    Ok(()) => drop(work.remove.pop_front()),
                    Err(_) => work.retry = true,
                }
            } else if let (Next::Ordered { sequence, bytes }, false) = (&work.next, work.stop) {
                let (sequence, bytes) = (*sequence, *bytes);
                drop(work);
                let made = self.prepare(sequence, bytes);
                work = self.lock();
                work.retry |= matches!(made, Next::Failed { .. });
                work.next = made;
                self.changed.notify_all();
            } else {
                return work;
            }
        }
    }

    fn prepare(&self, sequence: u64, bytes: u64) -> Next {
        match Segment::create(&*self.shared.disk, self.shared.epoch, sequence, bytes) {
            Ok(segment) => Next::Ready(segment),
            Err(error) => {
                if !is_full(&error) {
                    let name = crate::segment::segment_name(sequence);
                    self.shared.set_poison(Poison::failed("prepare", name, error));
                }
                Next::Failed { sequence, bytes }
            }
        }
    }

    fn remove(&self, name: &str) -> std::io::Result<()> {
        match self.shared.disk.remove(name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            // Synced one by one, so that a crash never finds a younger one gone and an older there.
            _ => self.shared.disk.sync_dir(),
        }
    }
}

impl Work {
    /// Makes another try of what failed.
    fn revive(&mut self) {
        self.retry = false;
        if let Next::Failed { sequence, bytes } = self.next {
            self.next = Next::Ordered { sequence, bytes };
        }
    }
}
