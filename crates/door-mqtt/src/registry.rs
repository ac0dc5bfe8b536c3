//! Who is connected, over all shards, and how a connection is told to go.
//!
//! A client id belongs to one connection at a time `[MQTT-3.1.4-3]`; whoever claims it next tells the holder to go and
//! waits until it has gone, its will included. Ids of different principals are different ids, so that nobody can end the
//! connection of somebody else.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use dovetail_engine::{Fingerprint, PublisherId};
use dovetail_mqtt_proto::ReasonCode;
use futures_util::task::AtomicWaker;

use crate::Shared;

/// A client id and whose it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Name {
    pub(crate) principal: Box<str>,
    pub(crate) client_id: Box<str>,
}

/// More orders than there will be.
const NEVER: u64 = u64::MAX;

/// The holders of all client ids.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    holders: Mutex<Holders>,
    /// How many orders were given. A connection looks at its own only when there were more: this number lies in the cache
    /// of every core, its own order does not.
    orders: AtomicU64,
}

#[derive(Debug, Default)]
struct Holders {
    by_name: HashSet<ByName>,
    stopping: bool,
}

/// What a holder and its successor know of each other.
#[derive(Debug)]
struct Holder {
    name: Name,
    /// The reason code with which the holder is to go; 0 for none yet.
    order: AtomicU8,
    ordered: AtomicWaker,
    gone: AtomicBool,
    successor: AtomicWaker,
}

/// A holder among the others, which its name tells it from.
#[derive(Debug)]
struct ByName(Arc<Holder>);

/// A client id that is held. Dropping it lets the successor go on, so a claim that does not hold yet is kept until it
/// does.
#[derive(Debug)]
pub(crate) struct Claim {
    shared: Arc<Shared>,
    holder: Arc<Holder>,
    /// Who held it before and has not gone yet.
    predecessor: Option<Arc<Holder>>,
    /// Who is woken by an order. Kept so that the same waker is not registered in every round.
    listener: Option<Waker>,
    /// How many orders there were when this one's was last looked at; [`NEVER`] before.
    orders_seen: u64,
}

impl Name {
    /// Who publishes by this id, as the journal knows it: the same after a reconnection and a restart.
    pub(crate) fn publisher(&self) -> PublisherId {
        let Self { principal, client_id } = self;
        PublisherId(Fingerprint::new().field(principal.as_bytes()).field(client_id.as_bytes()).finish())
    }
}

impl Registry {
    /// Tells everybody to go, now and from now on.
    pub(crate) fn shut_down(&self) {
        let mut holders = self.lock();
        holders.stopping = true;
        for ByName(holder) in &holders.by_name {
            self.tell(holder, ReasonCode::ServerShuttingDown);
        }
    }

    /// How many ids are held.
    pub(crate) fn len(&self) -> usize {
        self.lock().by_name.len()
    }

    /// Tells one to go. The first order stands.
    fn tell(&self, holder: &Holder, reason: ReasonCode) {
        let _ = holder.order.compare_exchange(0, reason.code(), Ordering::SeqCst, Ordering::SeqCst);
        self.orders.fetch_add(1, Ordering::SeqCst);
        holder.ordered.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Claims `name`; `None` while the server stops. The claim holds once [`Claim::poll_held`] is ready.
    pub(crate) fn new(shared: &Arc<Shared>, name: Name) -> Option<Self> {
        let holder = Arc::new(Holder::new(name));
        let mut holders = shared.registry.lock();
        if holders.stopping {
            return None;
        }
        let predecessor = holders.by_name.replace(ByName(Arc::clone(&holder))).map(|ByName(holder)| holder);
        if let Some(predecessor) = &predecessor {
            shared.registry.tell(predecessor, ReasonCode::SessionTakenOver);
        }
        drop(holders);
        let shared = Arc::clone(shared);
        Some(Self { shared, holder, predecessor, listener: None, orders_seen: NEVER })
    }

    /// Claims `name` if nobody holds it or waits for it, for the server's own work; it holds at once.
    pub(crate) fn vacant(shared: &Arc<Shared>, name: &Name) -> Option<Self> {
        let mut holders = shared.registry.lock();
        if holders.stopping || holders.by_name.contains(name) {
            return None;
        }
        let holder = Arc::new(Holder::new(name.clone()));
        holders.by_name.insert(ByName(Arc::clone(&holder)));
        drop(holders);
        let shared = Arc::clone(shared);
        Some(Self { shared, holder, predecessor: None, listener: None, orders_seen: NEVER })
    }

    /// What is held.
    pub(crate) fn name(&self) -> &Name {
        &self.holder.name
    }

    /// Ready when the predecessor has gone.
    pub(crate) fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(predecessor) = &self.predecessor {
            predecessor.successor.register(cx.waker());
            if !predecessor.gone.load(Ordering::SeqCst) {
                return Poll::Pending;
            }
            self.predecessor = None;
        }
        Poll::Ready(())
    }

    /// The reason with which the holder is to go, if it is.
    pub(crate) fn order(&mut self, cx: &Context<'_>) -> Option<ReasonCode> {
        if !self.listener.as_ref().is_some_and(|listener| listener.will_wake(cx.waker())) {
            self.holder.ordered.register(cx.waker());
            self.listener = Some(cx.waker().clone());
        }
        // Looked at after the registration, so that no order falls between the two.
        let orders = self.shared.registry.orders.load(Ordering::SeqCst);
        if self.orders_seen == orders {
            return None;
        }
        self.orders_seen = orders;
        ReasonCode::from_u8(self.holder.order.load(Ordering::SeqCst)).filter(|reason| reason.is_error())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut holders = self.shared.registry.lock();
        let name = &self.holder.name;
        if holders.by_name.get(name).is_some_and(|ByName(current)| Arc::ptr_eq(current, &self.holder)) {
            holders.by_name.remove(name);
        }
        drop(holders);
        self.holder.leave();
    }
}

impl Borrow<Name> for ByName {
    fn borrow(&self) -> &Name {
        &self.0.name
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}

impl Holder {
    fn new(name: Name) -> Self {
        let (order, gone) = (AtomicU8::new(0), AtomicBool::new(false));
        Self { name, order, ordered: AtomicWaker::new(), gone, successor: AtomicWaker::new() }
    }

    fn leave(&self) {
        self.gone.store(true, Ordering::SeqCst);
        self.successor.wake();
    }
}
