//! The tree from the journal, at start-up.

use dovetail_journal::RecoverySink;
use dovetail_model::{Change, Commit, UnixMillis};
use dovetail_tree::{BuildError, Builder, Tree};

/// Builds the tree while the journal opens: pass it as the sink, then take the tree.
#[derive(Debug, Default)]
pub struct Recovery {
    state: State,
    last_at: UnixMillis,
}

#[derive(Debug)]
enum State {
    Snapshot(Builder),
    Tail(Tree),
    Failed(BuildError),
}

/// The state that the journal holds.
#[derive(Debug)]
pub struct Recovered {
    pub(crate) tree: Tree,
    pub(crate) last_at: UnixMillis,
}

impl Default for State {
    fn default() -> Self {
        Self::Tail(Tree::new())
    }
}

impl Recovery {
    /// A recovery that has seen nothing: the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The recovered state.
    ///
    /// # Errors
    /// When the snapshot does not hold what a tree can be built from.
    pub fn finish(self) -> Result<Recovered, BuildError> {
        match self.state.into_tail() {
            State::Tail(tree) => Ok(Recovered { tree, last_at: self.last_at }),
            State::Snapshot(builder) => Ok(Recovered { tree: builder.build()?, last_at: self.last_at }),
            State::Failed(error) => Err(error),
        }
    }
}

impl State {
    /// The snapshot is over, if there was one.
    fn into_tail(self) -> Self {
        match self {
            Self::Snapshot(builder) => builder.build().map_or_else(Self::Failed, Self::Tail),
            other => other,
        }
    }
}

impl RecoverySink for Recovery {
    fn snapshot(&mut self, at: u64, floor: u64, _entries_hint: u64) {
        self.state = Builder::new(at, floor).map_or_else(State::Failed, State::Snapshot);
    }

    fn entry(&mut self, change: Change) {
        let State::Snapshot(builder) = &mut self.state else { return };
        let added = match change {
            Change::Put(resource) => {
                self.last_at = self.last_at.max(resource.modified_at);
                builder.resource(resource)
            }
            Change::Delete(tombstone) => {
                self.last_at = self.last_at.max(tombstone.deleted_at);
                builder.tombstone(tombstone)
            }
            Change::Event(_) => Ok(()),
        };
        if let Err(error) = added {
            self.state = State::Failed(error);
        }
    }

    fn commit(&mut self, commit: Commit) {
        if matches!(self.state, State::Snapshot(_)) {
            self.state = std::mem::take(&mut self.state).into_tail();
        }
        self.last_at = self.last_at.max(commit.at);
        if let State::Tail(tree) = &mut self.state {
            tree.apply(&commit);
        }
    }
}
