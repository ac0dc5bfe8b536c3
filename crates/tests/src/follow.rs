//! A tracked subscription that is followed over connections: every message has to continue where the one before ended.

use crate::frame::{Change, Frame, Position};
use crate::mqtt::Publish;
use crate::watch::Messages;

/// Where a tracked subscription is.
#[derive(Debug, Default)]
pub struct Follower {
    messages: Messages,
    position: Option<Position>,
}

impl Follower {
    /// One that knows everything up to `position`.
    pub fn at(position: Position) -> Self {
        Self { position: Some(position), ..Self::default() }
    }

    /// The position to resume from, as the value of `since`: empty for a baseline.
    pub fn since(&self) -> String {
        self.position.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// The number of the last commit that it knows of.
    pub fn number(&self) -> u64 {
        self.position.as_ref().map_or(0, |position| position.number)
    }

    /// The connection broke: what is not complete will be told again.
    pub fn broke(&mut self) {
        self.messages = Messages::default();
    }

    /// Takes a message of the subscription; gives the changes that are complete with it.
    ///
    /// # Errors
    /// What is wrong with it, above all a gap before it.
    pub fn take(&mut self, message: Publish) -> Result<Vec<Change>, String> {
        let mut told = Vec::new();
        for frame in self.messages.next(message)? {
            match frame {
                Frame::BaselineBegin { .. } | Frame::Item { .. } => {}
                Frame::BaselineEnd { rev } if self.position.is_none() => self.position = Some(rev),
                Frame::Change { after, rev, changes } => {
                    self.step(&after, rev)?;
                    told.extend(changes);
                }
                Frame::Progress { after, rev } => self.step(&after, rev)?,
                other => return Err(format!("{other:?} at {:?}", self.position)),
            }
        }
        Ok(told)
    }

    fn step(&mut self, after: &Position, rev: Position) -> Result<(), String> {
        if self.position.as_ref() != Some(after) {
            return Err(format!("({after}, {rev}] where {:?} was reached", self.position));
        }
        self.position = Some(rev);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::pair;

    fn message(topic: &str, payload: &str, properties: &[(&str, &str)]) -> Publish {
        let properties = properties.iter().map(|(name, value)| pair(name, value)).collect();
        let payload = payload.as_bytes().to_vec();
        Publish { topic: topic.to_owned(), payload, properties, ..Publish::default() }
    }

    #[test]
    fn a_gap_and_a_second_baseline_are_found() {
        let mut follower = Follower::default();
        let change =
            |after: &str, rev: &str| message("a", "1", &[("rev", rev), ("after", after), ("op", "put")]);
        let sync = || message("$feed/sync", "{\"rev\":\"e.4\"}", &[]);
        assert!(follower.take(change("e.3", "e.4")).is_err(), "nothing is known yet");
        assert_eq!(follower.take(sync()), Ok(vec![]));
        assert_eq!(follower.take(change("e.4", "e.6")).unwrap().len(), 1);
        assert_eq!((follower.since().as_str(), follower.number()), ("e.6", 6));
        assert!(follower.take(change("e.4", "e.7")).is_err());
        assert!(follower.take(change("e.7", "e.8")).is_err());
        assert!(follower.take(sync()).is_err());
    }
}
