//! Telling all connections of a shard that the server stops.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use dovetail_net::Draining;
use slab::Slab;

/// Whether the server stops, and who wants to be woken then. Each connection could wait for that itself; but then each would look at what
/// all threads share, every time that it has something to say.
#[derive(Default)]
pub(crate) struct Stopping {
    is_begun: Cell<bool>,
    connections: RefCell<Slab<Option<Waker>>>,
}

/// A connection's place among those that are told.
pub(crate) struct Told {
    stopping: Rc<Stopping>,
    key: usize,
    is_registered: bool,
}

impl Stopping {
    /// Waits for `draining` as a local task of the shard.
    pub(crate) fn after(draining: Draining) -> Rc<Self> {
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

    pub(crate) fn join(self: &Rc<Self>) -> Told {
        let key = self.connections.borrow_mut().insert(None);
        Told { stopping: Rc::clone(self), key, is_registered: false }
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

impl Told {
    /// Whether the server stops; if not yet, the task is woken when it does. All calls are of one task.
    pub(crate) fn is_begun(&mut self, cx: &Context<'_>) -> bool {
        if !self.is_registered {
            self.stopping.connections.borrow_mut()[self.key] = Some(cx.waker().clone());
            self.is_registered = true;
        }
        self.stopping.is_begun.get()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.stopping.connections.borrow_mut().remove(self.key);
    }
}
