//! Telling all connections of a shard that the server stops.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use slab::Slab;

use crate::Draining;

/// Whether the server stops, and who wants to be woken then. Not `Send`.
///
/// Each connection could wait for that itself; but then each would look at what all threads share, every time that it has
/// something to say.
#[derive(Debug, Default)]
pub struct Stopping {
    is_begun: Cell<bool>,
    connections: RefCell<Slab<Option<Waker>>>,
}

/// A connection's place among those that are told.
#[derive(Debug)]
pub struct StopNotice {
    stopping: Rc<Stopping>,
    key: usize,
    is_registered: bool,
}

impl Stopping {
    /// Waits for `draining` as a local task of the shard.
    pub fn after(draining: Draining) -> Rc<Self> {
        let stopping = Rc::<Self>::default();
        let told = Rc::downgrade(&stopping);
        tokio::task::spawn_local(async move {
            draining.begun().await;
            if let Some(stopping) = told.upgrade() {
                stopping.begin();
            }
        });
        stopping
    }

    /// A place for another connection.
    pub fn join(self: &Rc<Self>) -> StopNotice {
        let key = self.connections.borrow_mut().insert(None);
        StopNotice { stopping: Rc::clone(self), key, is_registered: false }
    }

    /// Whether the server stops.
    pub fn is_begun(&self) -> bool {
        self.is_begun.get()
    }

    fn begin(&self) {
        self.is_begun.set(true);
        for (_, waker) in self.connections.borrow_mut().iter_mut() {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }
}

impl StopNotice {
    /// Whether the server stops; if not yet, the task is woken when it does. All calls are of one task.
    pub fn is_begun(&mut self, cx: &Context<'_>) -> bool {
        if !self.is_registered {
            self.stopping.connections.borrow_mut()[self.key] = Some(cx.waker().clone());
            self.is_registered = true;
        }
        self.stopping.is_begun()
    }
}

impl Drop for StopNotice {
    fn drop(&mut self) {
        self.stopping.connections.borrow_mut().remove(self.key);
    }
}
