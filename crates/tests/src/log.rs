//! What happened: every commit of an epoch, in order, as the server told it when asked for its history.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::frame::{Change, Effect, Position};

/// The commits 1 to [`Log::head`] of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    epoch: String,
    /// The changes of commit `index + 1`.
    commits: Vec<Vec<Change>>,
    /// Commits that the history does not show are of what the server keeps for itself.
    has_records: bool,
}

/// A resource of a folded log: when it was last changed, and its bytes.
pub type Resource = (u64, Vec<u8>);

/// Why a piece of history does not continue a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotContiguous {
    /// It is of another epoch.
    #[error("epoch {found} where the log is of {expected}")]
    Epoch {
        /// Of the log.
        expected: String,
        /// Of the piece.
        found: String,
    },
    /// A revision is missing, or comes twice.
    #[error("commit {found} follows {head}")]
    Number {
        /// The last commit of the log.
        head: u64,
        /// The one that came.
        found: u64,
    },
    /// The head went back.
    #[error("the head was {head} and is {found}")]
    Head {
        /// The last commit of the log.
        head: u64,
        /// What the server says is its last.
        found: u64,
    },
}

impl Log {
    /// The empty log of `epoch`.
    pub fn new(epoch: &str) -> Self {
        Self { epoch: epoch.to_owned(), ..Self::default() }
    }

    /// A log of `epoch` with these commits, from 1 on.
    pub fn of(epoch: &str, commits: Vec<Vec<Change>>) -> Self {
        Self { epoch: epoch.to_owned(), commits, has_records: false }
    }

    /// The same log, whose commits that the history does not show are of what the server keeps for itself, such as sessions.
    #[must_use]
    pub fn among_records(self) -> Self {
        Self { has_records: true, ..self }
    }

    /// The epoch.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The number of the last commit.
    pub fn head(&self) -> u64 {
        self.commits.len() as u64
    }

    /// Adds what the server says happened after the log's head, up to `head`.
    ///
    /// # Errors
    /// When a revision is missing: every commit of these tests changes at least one path that the history shows, unless the
    /// log is [among records](Self::among_records).
    pub fn extend(&mut self, head: &Position, changes: Vec<Change>) -> Result<(), NotContiguous> {
        if head.epoch != self.epoch {
            return Err(NotContiguous::Epoch { expected: self.epoch.clone(), found: head.epoch.clone() });
        }
        for change in changes {
            let found = change.number;
            self.pass_records(found - 1);
            let head = self.head();
            if found == head + 1 {
                self.commits.push(vec![change]);
            } else if let Some(last) = self.commits.last_mut().filter(|_| found == head) {
                last.push(change);
            } else {
                return Err(NotContiguous::Number { head, found });
            }
        }
        self.pass_records(head.number);
        if head.number == self.head() {
            Ok(())
        } else {
            Err(NotContiguous::Head { head: self.head(), found: head.number })
        }
    }

    fn pass_records(&mut self, to: u64) {
        if self.has_records {
            self.commits.resize_with((to as usize).max(self.commits.len()), Vec::new);
        }
    }

    /// The changes of these commits that `filter` matches, in order.
    pub fn changes<'a>(
        &'a self,
        commits: RangeInclusive<u64>,
        filter: &'a str,
    ) -> impl Iterator<Item = &'a Change> {
        let start = (commits.start().saturating_sub(1) as usize).min(self.commits.len());
        let end = (*commits.end() as usize).clamp(start, self.commits.len());
        self.commits[start..end].iter().flatten().filter(move |change| matches(filter, &change.path))
    }

    /// The state at commit `at`: every resource that `filter` matches.
    pub fn fold(&self, at: u64, filter: &str) -> BTreeMap<String, Resource> {
        let mut state = BTreeMap::new();
        for change in self.changes(1..=at, filter) {
            apply(&mut state, change);
        }
        state
    }
}

/// Applies one change to a state.
pub fn apply(state: &mut BTreeMap<String, Resource>, change: &Change) {
    match &change.effect {
        Effect::Put(bytes) => {
            state.insert(change.path.clone(), (change.number, bytes.clone()));
        }
        Effect::Delete => {
            state.remove(&change.path);
        }
        Effect::Event(_) => {}
    }
}

/// Whether an MQTT filter matches a topic, by the words of the standard (4.7) and nothing cleverer.
pub fn matches(filter: &str, topic: &str) -> bool {
    if filter.starts_with(['+', '#']) && topic.starts_with('$') {
        return false;
    }
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    levels_match(&filter, &topic)
}

fn levels_match(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        // Also when no level is left: "a/#" matches "a".
        (["#"], _) | ([], []) => true,
        ([level, filter @ ..], [name, topic @ ..]) => {
            (*level == "+" || level == name) && levels_match(filter, topic)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &str, number: u64) -> Change {
        Change { path: path.to_owned(), number, effect: Effect::Put(format!("{path}@{number}").into_bytes()) }
    }

    #[test]
    fn filters_match_as_the_standard_says() {
        for (filter, topic) in [
            ("a/b", "a/b"),
            ("#", "a/b"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("+/b", "a/b"),
            ("+", "a"),
            ("a/+", "a/"),
            ("/+", "/a"),
            ("+/+", "/a"),
            ("$x/#", "$x/y"),
            ("+/#", "a"),
            ("a/+/#", "a/b"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("a", "a/b"),
            ("a/b", "a"),
            ("+", "a/b"),
            ("a/+", "a"),
            ("a/#", "ab"),
            ("#", "$x"),
            ("+/y", "$x/y"),
            ("+", "/a"),
            ("A", "a"),
            ("a/+/#", "a"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    #[test]
    fn history_is_taken_only_without_a_gap() {
        let mut log = Log::new("e");
        let head = |number| Position::new("e", number);
        assert_eq!(log.extend(&head(2), vec![put("a", 1), put("b", 1), put("a", 2)]), Ok(()));
        assert_eq!(log.head(), 2);
        assert_eq!(log.fold(1, "#").len(), 2);
        assert_eq!(log.fold(2, "a")["a"].0, 2);
        let gap = log.clone().extend(&head(4), vec![put("a", 4)]);
        assert_eq!(gap, Err(NotContiguous::Number { head: 2, found: 4 }));
        let mut among = log.clone().among_records();
        assert_eq!(among.extend(&head(6), vec![put("a", 4)]), Ok(()));
        assert_eq!((among.head(), among.changes(3..=6, "#").count()), (6, 1));
        assert_eq!(log.clone().extend(&head(1), vec![]), Err(NotContiguous::Head { head: 2, found: 1 }));
        assert!(log.extend(&Position::new("f", 3), vec![]).is_err());
    }
}
