//! Levels as small numbers, so that the trie compares and stores numbers instead of texts.

use std::collections::HashMap;

use foldhash::quality::RandomState;

/// The number of a level that some filter names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Name(pub(crate) u32);

impl Name {
    /// The number of no level: nothing in the trie is called this.
    pub(crate) const UNKNOWN: Self = Self(u32::MAX);
}

/// The levels in use, with how often each is.
///
/// The hash is seeded at random: clients choose these texts.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: HashMap<Box<str>, Use, RandomState>,
    unused: Vec<u32>,
}

#[derive(Debug)]
struct Use {
    name: Name,
    count: u32,
}

impl Names {
    pub(crate) fn find(&self, level: &str) -> Name {
        self.known.get(level).map_or(Name::UNKNOWN, |used| used.name)
    }

    /// The name of `level`, counted as used once more.
    pub(crate) fn acquire(&mut self, level: &str) -> Name {
        if let Some(used) = self.known.get_mut(level) {
            used.count += 1;
            return used.name;
        }
        let name = Name(self.unused.pop().unwrap_or(self.known.len() as u32));
        self.known.insert(level.into(), Use { name, count: 1 });
        name
    }

    /// Undoes one [`Self::acquire`]; a level that nobody uses any more is forgotten.
    pub(crate) fn release(&mut self, level: &str) {
        let Some(used) = self.known.get_mut(level) else { return };
        used.count -= 1;
        if used.count > 0 {
            return;
        }
        self.unused.push(used.name.0);
        self.known.remove(level);
        if self.known.is_empty() {
            *self = Self::default();
        } else if self.known.capacity() > 4 * self.known.len() {
            self.known.shrink_to(2 * self.known.len());
        }
    }
}
