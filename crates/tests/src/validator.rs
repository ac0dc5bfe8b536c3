//! Whether a recorded feed tells what happened: in order, once, without a gap, complete, with the right bytes.
//!
//! The rules, for a feed with a filter:
//!
//! * Before anything else comes a baseline, or the feed resumes where it ended. A reset is followed by a baseline.
//! * A baseline at `R` is the log folded up to `R`, and each item says when it was last changed.
//! * `after` is where the frame before ended, and `rev` is not less.
//! * Mode [`Mode::Every`]: a change frame holds each matching entry of `(after, rev]`, in order, and nothing else.
//! * Mode [`Mode::Latest`]: it holds for each path that changed in `(after, rev]` its last change in it; a path whose
//!   newest change lies beyond `rev` may be left out, and is owed until a later frame tells it. Whatever it holds is an
//!   entry of the log.
//! * Progress says that nothing matching happened.
//! * At the end the position is the head, nothing is owed, and the replica built from the frames is the log folded.

use std::collections::BTreeMap;

use crate::frame::{Change, Effect, Frame, Position};
use crate::log::{Log, Resource, apply};

/// Whether each entry is told, or the newest of each path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The newest state of each changed path.
    Latest,
    /// Each entry of the journal.
    Every,
}

/// A rule that a frame broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A change or progress although the subscriber has no state yet.
    #[error("a change before the baseline")]
    NoBaseline,
    /// A baseline began or ended, or an item came, where it may not.
    #[error("a part of a baseline out of its place")]
    Misplaced,
    /// The frame's epoch is not that of the log.
    #[error("epoch {0}, which is not that of the log")]
    Epoch(String),
    /// `after` is not where the frame before ended.
    #[error("a gap: at {position}, but the frame continues after {after}")]
    Gap {
        /// Where the frame before ended.
        position: u64,
        /// What the frame said.
        after: u64,
    },
    /// `rev` is less than `after`, or more than ever happened.
    #[error("the frame ends at {rev}, after {after}, of a log up to {head}")]
    Range {
        /// Of the frame.
        after: u64,
        /// Of the frame.
        rev: u64,
        /// Of the log.
        head: u64,
    },
    /// Something that happened was not told.
    #[error("not told: {path} at {number}")]
    Missing {
        /// The path that changed.
        path: String,
        /// The commit that changed it.
        number: u64,
    },
    /// Something was told that did not happen, does not match, or is out of its order.
    #[error("told, but not so in the log: {path} at {number}")]
    Untrue {
        /// The path.
        path: String,
        /// The commit that it was told of.
        number: u64,
    },
    /// Progress overtook something that it should have waited for.
    #[error("progress to {rev} passes {path} at {number}")]
    Overtaken {
        /// Where progress went.
        rev: u64,
        /// The path that changed.
        path: String,
        /// The commit that changed it.
        number: u64,
    },
    /// At the end the feed is not at the head.
    #[error("ended at {position:?} of {head}")]
    Behind {
        /// Where the feed is.
        position: Option<u64>,
        /// The head.
        head: u64,
    },
    /// At the end the replica is not the state.
    #[error("the replica differs from the state at {0}")]
    Replica(String),
    /// A frame after the end.
    #[error("a frame after the end")]
    AfterEnd,
}

/// Where a feed is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was told yet, or it was taken back by a reset.
    Fresh,
    /// Items are coming.
    Baseline { at: u64, items: BTreeMap<String, Resource> },
    /// Everything up to `position` was told.
    Live { position: u64 },
}

/// Follows one subscription, over as many connections as it takes.
#[derive(Clone, Debug)]
pub struct Validator {
    filter: String,
    mode: Mode,
    state: State,
    ended: bool,
    replica: BTreeMap<String, Resource>,
    /// Paths whose last change up to the position was left out, because a newer one was on its way.
    owed: BTreeMap<String, u64>,
    /// What was seen, so that a test can ask whether it tested what it meant to.
    pub seen: Seen,
}

/// How often each kind of thing happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Complete baselines.
    pub baselines: u64,
    /// Change frames.
    pub changes: u64,
    /// Progress frames.
    pub progress: u64,
    /// Resets.
    pub resets: u64,
    /// Entries left out because a newer one of the same path came.
    pub conflated: u64,
}

impl Validator {
    /// A subscription that starts with a baseline.
    pub fn new(filter: &str, mode: Mode) -> Self {
        Self {
            filter: filter.to_owned(),
            mode,
            state: State::Fresh,
            ended: false,
            replica: BTreeMap::new(),
            owed: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    /// A subscription that starts after `position`, knowing the state there.
    pub fn resumed(log: &Log, filter: &str, mode: Mode, position: u64) -> Self {
        let mut validator = Self::new(filter, mode);
        validator.state = State::Live { position };
        validator.replica = log.fold(position, filter);
        validator
    }

    /// Up to where everything was told; `None` before the first baseline is complete and after a reset.
    pub fn position(&self) -> Option<u64> {
        match self.state {
            State::Live { position } => Some(position),
            State::Fresh | State::Baseline { .. } => None,
        }
    }

    /// The subscriber connected again, and resumed at its position if it had one. Half a baseline is forgotten.
    pub fn reconnected(&mut self) {
        self.ended = false;
        if !matches!(self.state, State::Live { .. }) {
            self.state = State::Fresh;
        }
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// Names the rule that it breaks.
    pub fn frame(&mut self, log: &Log, frame: &Frame) -> Result<(), Violation> {
        if self.ended {
            return Err(Violation::AfterEnd);
        }
        match frame {
            Frame::BaselineBegin { rev } => self.begin(log, rev),
            Frame::Item { path, rev, bytes } => self.item(log, path, rev, bytes),
            Frame::BaselineEnd { rev } => self.complete(log, rev),
            Frame::Change { after, rev, changes } => {
                let (after, rev) = self.advance(log, after, rev)?;
                self.seen.changes += 1;
                match self.mode {
                    Mode::Every => self.every(log, after, rev, changes),
                    Mode::Latest => self.latest(log, after, rev, changes),
                }
            }
            Frame::Progress { after, rev } => {
                let (after, rev) = self.advance(log, after, rev)?;
                self.seen.progress += 1;
                self.nothing_between(log, after, rev)
            }
            Frame::Reset => {
                self.seen.resets += 1;
                self.state = State::Fresh;
                Ok(())
            }
            Frame::End => {
                self.ended = true;
                Ok(())
            }
        }
    }

    /// Checks the end of a feed on a server that has come to rest.
    ///
    /// # Errors
    /// When the feed did not get to the head, or not to its state.
    pub fn finish(&self, log: &Log) -> Result<(), Violation> {
        let head = log.head();
        if let Some((path, number)) = self.owed.first_key_value() {
            return Err(Violation::Missing { path: path.clone(), number: *number });
        }
        let position = self.position();
        // What follows the position may be of no concern to this filter, and its progress not yet due.
        let Some(at) = position.filter(|at| log.changes(at + 1..=head, &self.filter).next().is_none()) else {
            return Err(Violation::Behind { position, head });
        };
        compare(&log.fold(at, &self.filter), &self.replica)
    }

    fn begin(&mut self, log: &Log, rev: &Position) -> Result<(), Violation> {
        let at = number(log, rev)?;
        if self.state != State::Fresh {
            return Err(Violation::Misplaced);
        }
        self.state = State::Baseline { at, items: BTreeMap::new() };
        Ok(())
    }

    fn item(&mut self, log: &Log, path: &str, rev: &Position, bytes: &[u8]) -> Result<(), Violation> {
        let changed = number(log, rev)?;
        let State::Baseline { items, .. } = &mut self.state else {
            return Err(Violation::Misplaced);
        };
        match items.insert(path.to_owned(), (changed, bytes.to_vec())) {
            None => Ok(()),
            Some(_) => Err(Violation::Untrue { path: path.to_owned(), number: changed }),
        }
    }

    fn complete(&mut self, log: &Log, rev: &Position) -> Result<(), Violation> {
        let end = number(log, rev)?;
        let State::Baseline { at, items } = &mut self.state else {
            return Err(Violation::Misplaced);
        };
        let (at, items) = (*at, std::mem::take(items));
        if end != at {
            return Err(Violation::Gap { position: at, after: end });
        }
        compare(&log.fold(at, &self.filter), &items)?;
        self.replica = items;
        self.owed.clear();
        self.state = State::Live { position: at };
        self.seen.baselines += 1;
        Ok(())
    }

    /// Checks that a frame continues where the one before ended.
    fn advance(&mut self, log: &Log, after: &Position, rev: &Position) -> Result<(u64, u64), Violation> {
        let (after, rev) = (number(log, after)?, number(log, rev)?);
        let State::Live { position } = &mut self.state else {
            return Err(Violation::NoBaseline);
        };
        if after != *position {
            return Err(Violation::Gap { position: *position, after });
        }
        if rev < after || rev > log.head() {
            return Err(Violation::Range { after, rev, head: log.head() });
        }
        *position = rev;
        Ok((after, rev))
    }

    fn every(&mut self, log: &Log, after: u64, rev: u64, told: &[Change]) -> Result<(), Violation> {
        let mut happened = log.changes(after + 1..=rev, &self.filter);
        for change in told {
            match happened.next() {
                Some(expected) if expected == change => apply(&mut self.replica, change),
                Some(expected) if expected.number < change.number => return Err(missing(expected)),
                _ => return Err(untrue(change)),
            }
        }
        happened.next().map_or(Ok(()), |expected| Err(missing(expected)))
    }

    fn latest(&mut self, log: &Log, after: u64, rev: u64, told: &[Change]) -> Result<(), Violation> {
        let mut newest_told = BTreeMap::new();
        let mut before = 0;
        for change in told {
            let real = change.number > after
                && change.number <= rev
                && change.number >= before
                && log.changes(change.number..=change.number, &self.filter).any(|real| real == change);
            if !real || newest_told.insert(change.path.clone(), change.number) == Some(change.number) {
                return Err(untrue(change));
            }
            before = change.number;
            apply(&mut self.replica, change);
            self.owed.remove(&change.path);
        }
        let mut last = BTreeMap::new();
        for change in log.changes(after + 1..=rev, &self.filter).filter(|change| is_state(change)) {
            let earlier = last.insert(change.path.as_str(), change.number);
            self.seen.conflated += u64::from(earlier.is_some());
        }
        for (path, number) in last {
            if newest_told.get(path).is_some_and(|told| *told >= number) {
                continue;
            }
            let newer = log.changes(rev + 1..=log.head(), path).any(is_state);
            if !newer {
                return Err(Violation::Missing { path: path.to_owned(), number });
            }
            self.owed.insert(path.to_owned(), number);
        }
        Ok(())
    }

    /// Progress is a change frame without a change.
    fn nothing_between(&mut self, log: &Log, after: u64, rev: u64) -> Result<(), Violation> {
        let nothing = match self.mode {
            Mode::Every => self.every(log, after, rev, &[]),
            Mode::Latest => self.latest(log, after, rev, &[]),
        };
        nothing.map_err(|violation| match violation {
            Violation::Missing { path, number } => Violation::Overtaken { rev, path, number },
            other => other,
        })
    }
}

fn is_state(change: &Change) -> bool {
    !matches!(change.effect, Effect::Event(_))
}

fn number(log: &Log, position: &Position) -> Result<u64, Violation> {
    if position.epoch == log.epoch() {
        Ok(position.number)
    } else {
        Err(Violation::Epoch(position.epoch.clone()))
    }
}

fn missing(change: &Change) -> Violation {
    Violation::Missing { path: change.path.clone(), number: change.number }
}

fn untrue(change: &Change) -> Violation {
    Violation::Untrue { path: change.path.clone(), number: change.number }
}

/// Compares two states and names the first path at which they differ.
fn compare(
    expected: &BTreeMap<String, Resource>,
    found: &BTreeMap<String, Resource>,
) -> Result<(), Violation> {
    let differs = |path: &&String| expected.get(*path) != found.get(*path);
    expected
        .keys()
        .chain(found.keys())
        .find(differs)
        .map_or(Ok(()), |path| Err(Violation::Replica(path.clone())))
}

#[cfg(test)]
mod tests;
