//! How to stop: a token that says *begin*, and a gate that says *done* and knows who holds it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};

/// The side that stops things.
#[derive(Debug)]
pub struct Drain {
    begun: watch::Sender<bool>,
    gate: Arc<Gate>,
}

/// The side of those that are stopped. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Draining {
    begun: watch::Receiver<bool>,
    gate: Arc<Gate>,
}

/// Keeps the gate open while it lives.
#[derive(Debug)]
pub struct Hold {
    who: &'static str,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    holders: Mutex<BTreeMap<&'static str, usize>>,
    emptied: Notify,
}

impl Drain {
    /// Nothing is stopping yet, and nobody holds the gate.
    pub fn new() -> Self {
        Self { begun: watch::Sender::new(false), gate: Arc::default() }
    }

    /// What everything that has to stop is given.
    pub fn draining(&self) -> Draining {
        Draining { begun: self.begun.subscribe(), gate: Arc::clone(&self.gate) }
    }

    /// Says *begin*. Saying it again changes nothing.
    pub fn begin(&self) {
        self.begun.send_replace(true);
    }

    /// Waits until nobody holds the gate. Bound it with a timeout, and ask [`Self::holders`] then.
    pub async fn done(&self) {
        loop {
            let emptied = self.gate.emptied.notified();
            tokio::pin!(emptied);
            // Registered before the look, so that no emptying falls between the two.
            emptied.as_mut().enable();
            if self.holders().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Who holds the gate, and how often.
    pub fn holders(&self) -> Vec<(&'static str, usize)> {
        let holders = self.gate.holders.lock().unwrap_or_else(PoisonError::into_inner);
        holders.iter().map(|(&who, &count)| (who, count)).collect()
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Draining {
    /// Whether *begin* was said.
    pub fn is_begun(&self) -> bool {
        *self.begun.borrow()
    }

    /// Waits for *begin*; returns at once if it was said, or if nobody can say it any more.
    pub async fn begun(&self) {
        let mut begun = self.begun.clone();
        // An error means that the drain is gone, which is as good as begun.
        let _ = begun.wait_for(|&begun| begun).await;
    }

    /// Keeps the gate open until the hold is dropped. `who` names the holder in logs.
    pub fn hold(&self, who: &'static str) -> Hold {
        let mut holders = self.gate.holders.lock().unwrap_or_else(PoisonError::into_inner);
        *holders.entry(who).or_default() += 1;
        Hold { who, gate: Arc::clone(&self.gate) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut holders = self.gate.holders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = holders.get_mut(self.who) {
            *count -= 1;
            if *count == 0 {
                holders.remove(self.who);
            }
        }
        if holders.is_empty() {
            self.gate.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn begin_reaches_those_who_wait_and_those_who_come_later() {
        let drain = Drain::new();
        let draining = drain.draining();
        assert!(!draining.is_begun());
        let waiting = draining.clone();
        let waiter = async move { waiting.begun().await };
        let ((), ()) = tokio::join!(waiter, async { drain.begin() });
        drain.draining().begun().await;
        assert!(draining.is_begun());
    }

    #[tokio::test]
    async fn done_waits_for_every_hold_and_knows_who_it_is() {
        let drain = Drain::new();
        drain.done().await;
        let draining = drain.draining();
        let (first, second, other) = (draining.hold("http"), draining.hold("http"), draining.hold("mqtt"));
        assert_eq!(drain.holders(), [("http", 2), ("mqtt", 1)]);
        drop((first, other));
        assert_eq!(drain.holders(), [("http", 1)]);
        let ((), ()) = tokio::join!(drain.done(), async move {
            tokio::task::yield_now().await;
            drop(second);
        });
        assert!(drain.holders().is_empty());
    }
}
