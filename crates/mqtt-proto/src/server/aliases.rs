//! Topic aliases towards the client (§3.3.2.3.4): which topics are worth one.
//!
//! An alias costs three bytes when it is given and saves the topic, but for three bytes, each time that it is used. So the
//! first topics get one at once, as it may pay soon; later ones only when they come for the second time within a short
//! while, and not while the alias that is next in turn was used since its last turn. A rotation of more topics than
//! aliases, in which the least recently used one is always the next that is needed, therefore keeps the aliases that it
//! has, and a baseline of a thousand topics replaces none.
//!
//! Nothing is allocated until the first message, and nothing for a message whose topic has an alias or gets none.

use crate::frame::Naming;
use crate::packet::ALIAS_BYTES;

/// The longest topic in bytes that gets an alias. The topics are kept, so that this bounds the memory of a connection.
const LONGEST: usize = 512;
/// How many topics without an alias are remembered, as hashes.
const SEEN: usize = 16;

/// The aliases of one connection.
#[derive(Debug)]
pub(super) struct Aliases {
    /// The client takes this many.
    maximum: u16,
    /// Hashes of the topics, by alias from 1 on, to be looked through quickly.
    hashes: Vec<u32>,
    entries: Vec<Entry>,
    /// Which entry is replaced next, unless it was used.
    turn: usize,
    /// The last topics that came without an alias.
    seen: [u32; SEEN],
    /// Which of them is the oldest.
    oldest: usize,
}

#[derive(Debug)]
struct Entry {
    topic: Vec<u8>,
    /// Since its last turn.
    was_used: bool,
}

/// What is to be done about the topic of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// It goes out as it is, and nothing is to be remembered.
    Plain,
    /// It has the alias at this index.
    Use(usize),
    /// It gets the alias at this index.
    Give(usize, u32),
    /// It may get one when it comes again.
    Remember(u32),
    /// It would get the alias whose turn it is, but that one was used.
    Pass,
}

impl Aliases {
    /// For a client that takes aliases up to `maximum`; `None` if it takes none.
    pub(super) fn new(maximum: u16) -> Option<Box<Self>> {
        (maximum > 0).then(|| {
            let (hashes, entries) = (Vec::new(), Vec::new());
            Box::new(Self { maximum, hashes, entries, turn: 0, seen: [0; SEEN], oldest: 0 })
        })
    }

    /// What to do about `topic`. Nothing changes before [`Self::written`].
    pub(super) fn plan(&self, topic: &[u8]) -> Plan {
        if topic.len() <= ALIAS_BYTES || topic.len() > LONGEST {
            return Plan::Plain;
        }
        let hash = hash(topic);
        for (index, _) in self.hashes.iter().enumerate().filter(|&(_, other)| *other == hash) {
            if self.entries[index].topic == topic {
                return Plan::Use(index);
            }
        }
        if self.entries.len() < usize::from(self.maximum) {
            Plan::Give(self.entries.len(), hash)
        } else if !self.seen.contains(&hash) {
            Plan::Remember(hash)
        } else if self.entries[self.turn].was_used {
            Plan::Pass
        } else {
            Plan::Give(self.turn, hash)
        }
    }

    /// A message with `topic` was written as it was planned.
    pub(super) fn written(&mut self, plan: Plan, topic: &[u8]) {
        match plan {
            Plan::Plain => {}
            Plan::Use(index) => self.entries[index].was_used = true,
            Plan::Remember(hash) => {
                self.seen[self.oldest] = hash;
                self.oldest = (self.oldest + 1) % SEEN;
            }
            Plan::Pass => {
                self.entries[self.turn].was_used = false;
                self.next_turn();
            }
            Plan::Give(index, hash) if index == self.entries.len() => {
                self.hashes.push(hash);
                self.entries.push(Entry { topic: topic.to_vec(), was_used: false });
            }
            Plan::Give(index, hash) => {
                self.hashes[index] = hash;
                let entry = &mut self.entries[index];
                entry.topic.clear();
                entry.topic.extend_from_slice(topic);
                self.next_turn();
            }
        }
    }

    fn next_turn(&mut self) {
        self.turn = (self.turn + 1) % self.entries.len();
    }
}

impl Plan {
    /// How the topic is said.
    pub(super) fn naming(self) -> Naming {
        // An index is below the maximum, which is a u16.
        match self {
            Self::Use(index) => Naming::Alias(index as u16 + 1),
            Self::Give(index, _) => Naming::Both(index as u16 + 1),
            Self::Plain | Self::Remember(_) | Self::Pass => Naming::Topic,
        }
    }
}

/// Eight bytes at a time; equal hashes are told apart by the topics.
fn hash(topic: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut hash = topic.len() as u64;
    let (words, rest) = topic.as_chunks::<8>();
    for word in words {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR).rotate_left(23);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    (hash ^ u64::from_le_bytes(last)).wrapping_mul(FACTOR).wrapping_shr(32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of topics and aliases that `messages` cost with 16 aliases, as a share of those without.
    fn cost(messages: impl Iterator<Item = usize>) -> f64 {
        let mut aliases = Aliases::new(16).expect("some");
        let (mut with, mut without) = (0, 0);
        for number in messages {
            let topic = format!("plant/7/line/3/machine/{number:04}");
            let plan = aliases.plan(topic.as_bytes());
            with += match plan.naming() {
                Naming::Topic => topic.len(),
                Naming::Alias(_) => ALIAS_BYTES,
                Naming::Both(_) => topic.len() + ALIAS_BYTES,
            };
            without += topic.len();
            aliases.written(plan, topic.as_bytes());
        }
        f64::from(with as u32) / f64::from(without as u32)
    }

    /// Numbers below `count`, the n-th drawn with a weight of 1/n.
    fn zipf(count: usize) -> impl Iterator<Item = usize> {
        let weights: Vec<f64> = (1..=count).map(|n| 1.0 / f64::from(n as u32)).collect();
        let all: f64 = weights.iter().sum();
        let mut state = 1_u64;
        (0..20_000).map(move |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut at = f64::from((state >> 33) as u32) / f64::from(1_u32 << 31) * all;
            weights
                .iter()
                .position(|weight| {
                    at -= weight;
                    at <= 0.0
                })
                .unwrap_or(0)
        })
    }

    #[test]
    fn what_repeats_is_saved_and_what_does_not_costs_next_to_nothing() {
        let rotation = |topics: usize| cost((0..20_000).map(move |n| n % topics));
        assert!(rotation(1) < 0.12);
        assert!(rotation(16) < 0.12);
        // The least recently used one would be replaced for each message, and save nothing.
        assert!(rotation(17) < 0.18, "{}", rotation(17));
        assert!(rotation(100) < 0.9, "{}", rotation(100));
        assert!(rotation(1_000) < 1.0, "{}", rotation(1_000));
        assert!(cost(0..20_000) < 1.001, "topics that come once");
        assert!(cost(zipf(1_000)) < 0.66, "{}", cost(zipf(1_000)));
        assert!(
            cost((0..20_000).map(|n| n / 20)) < 0.3,
            "runs of one topic: {}",
            cost((0..20_000).map(|n| n / 20))
        );
        let moving = || (0..20_000).map(|n| n / 2_000 * 12 + n * 7 % 12);
        assert!(cost(moving()) < 0.15, "a set of twelve that moves on: {}", cost(moving()));
    }

    #[test]
    fn short_and_very_long_topics_get_none() {
        let aliases = Aliases::new(16).expect("some");
        assert_eq!(aliases.plan(b"a/b"), Plan::Plain);
        assert!(matches!(aliases.plan(b"a/bc"), Plan::Give(0, _)));
        assert!(matches!(aliases.plan(&[b'x'; LONGEST]), Plan::Give(0, _)));
        assert_eq!(aliases.plan(&[b'x'; LONGEST + 1]), Plan::Plain);
        assert!(Aliases::new(0).is_none());
    }

    #[test]
    fn equal_hashes_are_told_apart() {
        let mut aliases = Aliases::new(16).expect("some");
        aliases.written(Plan::Give(0, hash(b"second")), b"first!");
        assert!(matches!(aliases.plan(b"second"), Plan::Give(1, _)));
        aliases.written(aliases.plan(b"second"), b"second");
        assert_eq!(aliases.plan(b"second"), Plan::Use(1));
    }
}
