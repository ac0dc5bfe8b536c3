//! How old news is when it arrives.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dovetail_model::Topic;

/// Versions of one resource that the log remembers.
const REMEMBERED: usize = 16;

/// What was published when, so that whoever gets it can tell its age.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<Mutex<HashMap<String, Versions>>>);

/// The last values of one resource, and when each was published.
type Versions = VecDeque<(String, Instant)>;

/// Ages of updates at their arrival. Clones share the record.
#[derive(Clone, Debug, Default)]
pub(super) struct Staleness {
    log: Log,
    ages: Rc<RefCell<Vec<Duration>>>,
}

/// Staleness in short.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Summary {
    pub(super) updates: usize,
    pub(super) mean: Duration,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl Log {
    /// `value` is being published to `topic`; nothing means that it is deleted.
    pub(super) fn published(&self, topic: &str, value: &str) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = log.entry(topic.to_owned()).or_default();
        versions.push_back((value.to_owned(), Instant::now()));
        if versions.len() > REMEMBERED {
            versions.pop_front();
        }
    }

    /// How long ago `value` was last published to `topic`.
    fn age(&self, topic: &Topic, value: &[u8]) -> Option<Duration> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = log.get(topic.as_str())?;
        let (_, at) = versions.iter().rev().find(|(published, _)| published.as_bytes() == value)?;
        Some(at.elapsed())
    }
}

impl Staleness {
    pub(super) fn new(log: Log) -> Self {
        Self { log, ages: Rc::default() }
    }

    /// A record of its own about the same publications.
    pub(super) fn beside(&self) -> Self {
        Self::new(self.log.clone())
    }

    /// `value`, or a delete, of `topic` has arrived now.
    pub(super) fn arrived(&self, topic: &Topic, value: &[u8]) {
        self.ages.borrow_mut().extend(self.log.age(topic, value));
    }

    /// The mean of the last few hundred, if there are any.
    pub(super) fn recent_mean(&self) -> Option<Duration> {
        const RECENT: usize = 500;
        let ages = self.ages.borrow();
        mean(&ages[ages.len().saturating_sub(RECENT)..])
    }

    pub(super) fn summary(&self) -> Summary {
        let mut ages = self.ages.borrow().clone();
        ages.sort_unstable();
        let at = |share: f64| ages.get((ages.len() as f64 * share) as usize).copied().unwrap_or_default();
        Summary { updates: ages.len(), mean: mean(&ages).unwrap_or_default(), p50: at(0.5), p99: at(0.99) }
    }
}

fn mean(ages: &[Duration]) -> Option<Duration> {
    let count = u32::try_from(ages.len()).ok().filter(|count| *count > 0)?;
    Some(ages.iter().sum::<Duration>() / count)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;

    #[test]
    fn an_age_is_that_of_the_version_that_arrived() {
        let (log, topic) = (Log::default(), Topic::new("a").unwrap());
        log.published("a", "1");
        let first = log.age(&topic, b"1").unwrap();
        log.published("a", "2");
        assert!(log.age(&topic, b"1").unwrap() >= first, "the older version keeps its time");
        assert!(log.age(&topic, b"2").unwrap() <= log.age(&topic, b"1").unwrap());
        assert_eq!(log.age(&topic, b"3"), None, "nobody published this");
        let staleness = Staleness::new(log);
        staleness.arrived(&topic, b"2");
        staleness.arrived(&topic, b"3");
        assert_eq!(staleness.summary().updates, 1);
    }
}
