//! The fallback: what changed after a position.

use dovetail_auth::{Authorized, Demand};
use dovetail_journal::ReadError;
use dovetail_model::{Change, Revision, Topic};
use dovetail_tree::Tree;
use smallvec::SmallVec;

use crate::feed::into_change;
use crate::item::{Body, Delivery, ResetReason};
use crate::request::{Changes, Mode};
use crate::shard::Shard;
use crate::shard::is_too_old;

/// How many bytes of history are read at once.
const HISTORY_BYTES: usize = 1 << 20;

/// What changed after a position, in revision order. The answer tells everything in `(since, rev]`.
#[derive(Debug)]
pub struct ChangePage {
    /// The changes, chained by `after`.
    pub deliveries: Vec<Delivery>,
    /// How far the page tells everything: where the next one starts.
    pub rev: Revision,
    /// The head when the page was read. Equal to `rev` when nothing is left to ask for.
    pub head: Revision,
}

/// Why what changed cannot be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChangesError {
    /// The position cannot be continued from: start again from a baseline.
    #[error("what came after this position cannot be told any more")]
    Gone {
        /// Why.
        reason: ResetReason,
        /// The head now.
        head: Revision,
    },
    /// The journal cannot be read.
    #[error("the history cannot be read")]
    Failed,
}

impl Shard {
    /// Reads what changed after a position.
    ///
    /// # Errors
    /// [`ChangesError::Gone`] when the position is of another epoch, older than what is
    /// remembered, or has not happened.
    pub async fn changes(&self, changes: Authorized<Changes>) -> Result<ChangePage, ChangesError> {
        let core = &self.inner().core;
        let (epoch, tree) = (core.published.epoch(), core.published.tree());
        let (since, mode) = (changes.request().since, changes.request().mode);
        let gone = |reason| Err(ChangesError::Gone { reason, head: epoch.at(tree.revision()) });
        if since.epoch != epoch {
            return gone(ResetReason::OtherEpoch);
        }
        if since.number > tree.revision() {
            return gone(ResetReason::InTheFuture);
        }
        if is_too_old(since.number, mode, &tree, self.inner()) {
            return gone(ResetReason::TooOld);
        }
        match mode {
            Mode::Latest => Ok(self.newest_states(&changes, &tree)),
            // Which events are in the journal depends on who waits for them: they are not what changed.
            Mode::Every => self.every_entry(&changes, &tree, tree.revision(), false).await,
        }
    }

    /// Reads the entries of the journal after a position and up to the number `until`, the events that were kept included:
    /// what a feed with [`Mode::Every`] told, whatever the mode of the request says.
    ///
    /// # Errors
    /// As [`Shard::changes`].
    pub async fn entries(
        &self,
        changes: Authorized<Changes>,
        until: u64,
    ) -> Result<ChangePage, ChangesError> {
        let tree = self.inner().core.published.tree();
        let since = changes.request().since;
        let head = self.head().epoch.at(tree.revision());
        if since.epoch != head.epoch {
            return Err(ChangesError::Gone { reason: ResetReason::OtherEpoch, head });
        }
        if is_too_old(since.number, Mode::Every, &tree, self.inner()) {
            return Err(ChangesError::Gone { reason: ResetReason::TooOld, head });
        }
        self.every_entry(&changes, &tree, until.min(tree.revision()), true).await
    }

    fn newest_states(&self, changes: &Authorized<Changes>, tree: &Tree) -> ChangePage {
        let mut page = Page::new(self, changes, tree);
        let mut states =
            tree.changes_matching(&changes.request().filter, changes.request().since.number).peekable();
        while let Some(state) = states.next() {
            let revision = state.revision();
            let mut of_revision = SmallVec::new();
            of_revision.extend(page.sees(state.topic()).then(|| into_change(state)));
            while let Some(state) = states.next_if(|next| next.revision() == revision) {
                of_revision.extend(page.sees(state.topic()).then(|| into_change(state)));
            }
            if !page.add(revision, of_revision) {
                return page.finish(revision);
            }
        }
        page.finish(tree.revision())
    }

    async fn every_entry(
        &self,
        changes: &Authorized<Changes>,
        tree: &Tree,
        until: u64,
        with_events: bool,
    ) -> Result<ChangePage, ChangesError> {
        let mut page = Page::new(self, changes, tree);
        let mut read_to = changes.request().since.number;
        while read_to < until {
            let reader = self.inner().core.history.clone();
            let read = tokio::task::spawn_blocking(move || reader.read(read_to, HISTORY_BYTES)).await;
            let commits = match read {
                Ok(Ok(commits)) => commits,
                Ok(Err(ReadError::Trimmed { .. })) => {
                    let head = self.head();
                    return Err(ChangesError::Gone { reason: ResetReason::TooOld, head });
                }
                Ok(Err(error)) => {
                    tracing::error!(
                        error = crate::describe(&error),
                        after = read_to,
                        "history cannot be read"
                    );
                    return Err(ChangesError::Failed);
                }
                Err(_) => return Err(ChangesError::Failed),
            };
            for commit in commits {
                if commit.number > until {
                    return Ok(page.finish(until));
                }
                read_to = commit.number;
                let changes = commit.changes.into_iter();
                let wanted = changes.filter(|change| with_events || !matches!(change, Change::Event(_)));
                let visible = wanted.filter(|change| page.sees(change.topic())).collect();
                if !page.add(read_to, visible) {
                    return Ok(page.finish(read_to));
                }
            }
        }
        Ok(page.finish(until))
    }
}

/// A page in the making.
struct Page<'a> {
    shard: &'a Shard,
    changes: &'a Authorized<Changes>,
    head: u64,
    told: u64,
    room: usize,
    deliveries: Vec<Delivery>,
}

impl<'a> Page<'a> {
    fn new(shard: &'a Shard, changes: &'a Authorized<Changes>, tree: &Tree) -> Self {
        let Changes { since, limit, .. } = *changes.request();
        let (head, told) = (tree.revision(), since.number);
        Self { shard, changes, head, told, room: limit.max(1), deliveries: Vec::new() }
    }

    fn sees(&self, topic: &Topic) -> bool {
        self.changes.request().filter.matches(topic)
            && self.shard.policy().permits(self.changes.principal(), Demand::Read, topic)
    }

    /// Adds the changes of one revision. Whether there is room for more.
    fn add(&mut self, revision: u64, changes: SmallVec<[Change; 1]>) -> bool {
        if changes.is_empty() {
            return true;
        }
        self.room = self.room.saturating_sub(changes.len());
        let epoch = self.changes.request().since.epoch;
        let after = std::mem::replace(&mut self.told, revision);
        self.deliveries.push(Delivery {
            after: epoch.at(after),
            rev: epoch.at(revision),
            body: Body::Past(changes),
        });
        self.room > 0
    }

    fn finish(self, rev: u64) -> ChangePage {
        let epoch = self.changes.request().since.epoch;
        ChangePage { deliveries: self.deliveries, rev: epoch.at(rev), head: epoch.at(self.head) }
    }
}
