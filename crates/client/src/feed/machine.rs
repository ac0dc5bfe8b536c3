//! What a watch knows, and what the next frame may therefore be.

use dovetail_api::decode::{Entry, Frame};
use dovetail_model::{Change, Revision};

use super::{Item, Start};
use crate::error::Error;

/// What is known of the server's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Nothing that could be continued from. The next connection asks for a baseline.
    Empty,
    /// The baseline of `rev` is arriving. A part of it stands for nothing: an interruption leads to
    /// [`State::Empty`].
    Baseline {
        /// The revision of the state that is arriving.
        rev: Revision,
    },
    /// Everything up to `position` has been told, and nothing after it. An interruption changes nothing: the
    /// next connection continues after it.
    Told {
        /// How far.
        position: Revision,
    },
}

/// Takes frames in and decides what they mean. It never tells anything twice or skips anything: what does
/// not continue from the state is an error, after which a new connection continues from the state.
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
}

impl Machine {
    pub(crate) fn new(start: Start) -> Self {
        let state = match start {
            Start::Baseline => State::Empty,
            Start::After(position) => State::Told { position },
        };
        Self { state }
    }

    /// How far everything has been told, if anything has.
    pub(crate) fn position(&self) -> Option<Revision> {
        match self.state {
            State::Told { position } => Some(position),
            State::Empty | State::Baseline { .. } => None,
        }
    }

    /// What the next connection asks for.
    pub(crate) fn start(&self) -> Start {
        self.position().map_or(Start::Baseline, Start::After)
    }

    /// The connection is gone.
    pub(crate) fn interrupted(&mut self) {
        if let State::Baseline { .. } = self.state {
            self.state = State::Empty;
        }
    }

    /// The server cannot continue from the position: what is known is worth nothing.
    pub(crate) fn reset(&mut self) {
        self.state = State::Empty;
    }

    /// Takes the next frame of the connection in.
    ///
    /// # Errors
    /// If the frame does not continue from the state, or says that the connection is over. The connection is
    /// of no further use.
    pub(crate) fn take(&mut self, frame: Frame) -> Result<Item, Error> {
        match frame {
            Frame::BaselineBegin { rev } => {
                self.state = State::Baseline { rev };
                Ok(Item::BaselineBegin(rev))
            }
            Frame::Item { epoch, resource } => match self.state {
                State::Baseline { rev } if rev.epoch == epoch && resource.revision <= rev.number => {
                    Ok(Item::Resource(resource))
                }
                State::Baseline { .. } => Err(Error::Broken("a resource is newer than its baseline")),
                State::Empty | State::Told { .. } => Err(Error::Broken("a resource outside a baseline")),
            },
            Frame::BaselineEnd { rev } => {
                if self.state != (State::Baseline { rev }) {
                    return Err(Error::Broken("the end of another baseline"));
                }
                self.state = State::Told { position: rev };
                Ok(Item::BaselineEnd(rev))
            }
            Frame::Change { after, rev, changes } => {
                let is_forward = after.epoch == rev.epoch && after.number <= rev.number;
                if !is_forward || !are_within(&changes, after, rev) {
                    return Err(Error::Broken("a change whose revisions contradict each other"));
                }
                self.advance(after, rev)?;
                Ok(Item::Change { after, rev, changes })
            }
            Frame::Progress { after, rev } => {
                if after.epoch != rev.epoch || after.number > rev.number {
                    return Err(Error::Broken("progress whose revisions contradict each other"));
                }
                self.advance(after, rev)?;
                Ok(Item::Progress { after, rev })
            }
            Frame::Reset { rev, reason } => {
                self.reset();
                Ok(Item::Reset { reason, rev })
            }
            Frame::End { reason } => Err(Error::Ended(reason)),
        }
    }

    fn advance(&mut self, after: Revision, rev: Revision) -> Result<(), Error> {
        if self.state != (State::Told { position: after }) {
            return Err(Error::Broken("a change that does not continue from the one before"));
        }
        self.state = State::Told { position: rev };
        Ok(())
    }
}

/// Whether the changes are in the order of their commits, and all in `(after, rev]`. An event that no commit
/// holds is told at the position where it passed, and moves nothing.
fn are_within(changes: &[Entry], after: Revision, rev: Revision) -> bool {
    let is_within = |entry: &Entry| match entry.change {
        Change::Event(_) => (after.number..=rev.number).contains(&entry.number),
        Change::Put(_) | Change::Delete(_) => after.number < entry.number && entry.number <= rev.number,
    };
    changes.is_sorted_by_key(|entry| entry.number) && changes.iter().all(is_within)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use std::sync::Arc;

    use dovetail_model::{Epoch, Event, Representation, Resource, Topic};

    use super::*;

    fn at(number: u64) -> Revision {
        Epoch::from_random(7).at(number)
    }

    fn elsewhere(number: u64) -> Revision {
        Epoch::from_random(8).at(number)
    }

    fn resource(revision: u64) -> Arc<Resource> {
        Arc::new(Resource {
            topic: Topic::new("a").unwrap(),
            revision,
            modified_at: 0,
            expires_at: None,
            representation: Representation::copied(b"1", None),
        })
    }

    fn item(rev: Revision) -> Frame {
        Frame::Item { epoch: rev.epoch, resource: resource(rev.number) }
    }

    fn change(after: Revision, rev: Revision, numbers: &[u64]) -> Frame {
        let entry = |&number: &u64| Entry { number, change: Change::Put(resource(number)) };
        Frame::Change { after, rev, changes: numbers.iter().map(entry).collect() }
    }

    /// A frame with an event that no commit holds.
    fn event(after: Revision, rev: Revision) -> Frame {
        let topic = Topic::new("a").unwrap();
        let event =
            Event { topic, published_at: 0, expires_at: None, representation: Representation::default() };
        let change = Change::Event(Arc::new(event));
        Frame::Change { after, rev, changes: vec![Entry { number: rev.number, change }] }
    }

    const EMPTY: State = State::Empty;

    fn baseline(number: u64) -> State {
        State::Baseline { rev: at(number) }
    }

    fn told(number: u64) -> State {
        State::Told { position: at(number) }
    }

    /// State, frame, and the state after it, or what is wrong with it.
    #[test]
    fn every_arrow() {
        let begin = |rev| Frame::BaselineBegin { rev };
        let end = |rev| Frame::BaselineEnd { rev };
        let progress = |after, rev| Frame::Progress { after, rev };
        let reset = || Frame::Reset { rev: at(9), reason: "expired".into() };
        let table = [
            (EMPTY, begin(at(5)), Ok(baseline(5))),
            (EMPTY, item(at(5)), Err("a resource outside a baseline")),
            (EMPTY, end(at(5)), Err("the end of another baseline")),
            (EMPTY, change(at(5), at(6), &[6]), Err("a change that does not continue from the one before")),
            (EMPTY, progress(at(5), at(6)), Err("a change that does not continue from the one before")),
            (EMPTY, reset(), Ok(EMPTY)),
            (baseline(5), item(at(5)), Ok(baseline(5))),
            (baseline(5), item(at(6)), Err("a resource is newer than its baseline")),
            (baseline(5), item(elsewhere(5)), Err("a resource is newer than its baseline")),
            (baseline(5), end(at(5)), Ok(told(5))),
            (baseline(5), end(at(6)), Err("the end of another baseline")),
            (baseline(5), end(elsewhere(5)), Err("the end of another baseline")),
            (baseline(5), begin(at(7)), Ok(baseline(7))),
            (
                baseline(5),
                change(at(5), at(6), &[6]),
                Err("a change that does not continue from the one before"),
            ),
            (baseline(5), reset(), Ok(EMPTY)),
            (told(5), change(at(5), at(6), &[6]), Ok(told(6))),
            (told(5), change(at(5), at(9), &[6, 6, 9]), Ok(told(9))),
            (told(5), change(at(5), at(9), &[]), Ok(told(9))),
            (told(5), change(at(4), at(6), &[6]), Err("a change that does not continue from the one before")),
            (told(5), change(at(6), at(7), &[7]), Err("a change that does not continue from the one before")),
            (
                told(5),
                change(elsewhere(5), elsewhere(6), &[6]),
                Err("a change that does not continue from the one before"),
            ),
            (
                told(5),
                change(at(5), elsewhere(6), &[6]),
                Err("a change whose revisions contradict each other"),
            ),
            (told(5), event(at(5), at(5)), Ok(told(5))),
            (told(5), event(at(5), at(7)), Ok(told(7))),
            (told(5), event(at(6), at(6)), Err("a change that does not continue from the one before")),
            (told(5), change(at(5), at(5), &[]), Ok(told(5))),
            (told(5), change(at(5), at(5), &[5]), Err("a change whose revisions contradict each other")),
            (told(5), change(at(5), at(4), &[]), Err("a change whose revisions contradict each other")),
            (told(5), change(at(5), at(7), &[5]), Err("a change whose revisions contradict each other")),
            (told(5), change(at(5), at(7), &[8]), Err("a change whose revisions contradict each other")),
            (told(5), change(at(5), at(7), &[7, 6]), Err("a change whose revisions contradict each other")),
            (told(5), progress(at(5), at(9)), Ok(told(9))),
            (told(5), progress(at(5), at(5)), Ok(told(5))),
            (told(5), progress(at(6), at(9)), Err("a change that does not continue from the one before")),
            (told(5), progress(at(5), at(4)), Err("progress whose revisions contradict each other")),
            (told(5), item(at(5)), Err("a resource outside a baseline")),
            (told(5), reset(), Ok(EMPTY)),
            (told(5), begin(at(7)), Ok(baseline(7))),
        ];
        for (state, frame, expected) in table {
            let described = format!("{state:?} and {frame:?}");
            let mut machine = Machine { state };
            match (machine.take(frame), expected) {
                (Ok(_), Ok(after)) => assert_eq!(machine.state, after, "{described}"),
                (Err(Error::Broken(text)), Err(expected)) => {
                    assert_eq!(text, expected, "{described}");
                    assert_eq!(machine.state, state, "an error changed the state: {described}");
                }
                (result, expected) => panic!("{described}: {result:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn interruptions_keep_only_what_is_complete() {
        for (state, after) in [(EMPTY, EMPTY), (baseline(5), EMPTY), (told(5), told(5))] {
            let mut machine = Machine { state };
            machine.interrupted();
            assert_eq!(machine.state, after);
        }
        assert_eq!(Machine { state: told(5) }.start(), Start::After(at(5)));
        assert_eq!(Machine { state: baseline(5) }.start(), Start::Baseline);
    }
}
