//! Levels as small numbers, so that the trie compares and stores numbers instead of texts.

use std::collections::HashMap;

use compact_str::CompactString;
use foldhash::quality::RandomState;

use crate::{NOWHERE, NodeId};

/// The number of a level that some filter names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Name(u32);

/// What is known of a level: its number, and one of the edges that it stands on.
///
/// Most levels that are many, such as the number of a device, stand in one place. For them the edge is found with the
/// name, and costs no look of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Level {
    pub(crate) name: Name,
    /// From where an edge with this level leads.
    pub(crate) from: NodeId,
    /// Where to; nowhere if there is none.
    pub(crate) to: NodeId,
}

impl Level {
    /// A level that no filter names.
    pub(crate) const UNKNOWN: Self = Self { name: Name::NONE, from: NOWHERE, to: NOWHERE };
}

impl Name {
    /// The number of no level: nothing in the trie is called this.
    pub(crate) const NONE: Self = Self(u32::MAX);
}

/// The levels in use, with how often each is.
///
/// The hash is seeded at random: clients choose these texts. Short ones lie in the table itself.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: HashMap<CompactString, Use, RandomState>,
    unused: Vec<u32>,
}

#[derive(Debug)]
struct Use {
    level: Level,
    count: u32,
}

impl Names {
    pub(crate) fn find(&self, level: &str) -> Level {
        self.known.get(level).map_or(Level::UNKNOWN, |used| used.level)
    }

    /// The name of `level`, counted as used once more.
    pub(crate) fn acquire(&mut self, level: &str) -> Name {
        if let Some(used) = self.known.get_mut(level) {
            used.count += 1;
            return used.level.name;
        }
        let name = Name(self.unused.pop().unwrap_or(self.known.len() as u32));
        let level = (level.into(), Use { level: Level { name, ..Level::UNKNOWN }, count: 1 });
        self.known.extend([level]);
        name
    }

    /// Keeps the edge of `level` with its name, unless there is one already. Whether it does.
    pub(crate) fn keep_edge(&mut self, level: &str, from: NodeId, to: NodeId) -> bool {
        let free = self.known.get_mut(level).map(|used| &mut used.level).filter(|level| level.to == NOWHERE);
        if let Some(level) = free {
            (level.from, level.to) = (from, to);
            return true;
        }
        false
    }

    /// Undoes [`Self::keep_edge`] for the edge that leads to `to`. Whether it was kept.
    pub(crate) fn drop_edge(&mut self, level: &str, to: NodeId) -> bool {
        let kept = self.known.get_mut(level).map(|used| &mut used.level).filter(|level| level.to == to);
        if let Some(level) = kept {
            (level.from, level.to) = (NOWHERE, NOWHERE);
            return true;
        }
        false
    }

    /// Undoes one [`Self::acquire`]; a level that nobody uses any more is forgotten.
    pub(crate) fn release(&mut self, level: &str) {
        let Some(used) = self.known.get_mut(level) else { return };
        used.count -= 1;
        if used.count > 0 {
            return;
        }
        self.unused.push(used.level.name.0);
        self.known.remove(level);
        if self.known.is_empty() {
            *self = Self::default();
        } else if self.known.capacity() > 4 * self.known.len() {
            self.known.shrink_to(2 * self.known.len());
        }
    }
}
