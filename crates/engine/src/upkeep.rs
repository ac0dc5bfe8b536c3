//! What the owner does between groups: snapshots, history, tombstones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dovetail_journal::{Journal, SnapshotError};
use dovetail_model::{Change, Commit, UnixMillis};
use dovetail_tree::Tree;

use crate::{Core, History};

/// How often a snapshot is thought of.
const GLANCE_MILLIS: u64 = 500;
/// How often history and tombstones are looked at.
const LOOK_MILLIS: u64 = 10_000;
/// How many tombstones are forgotten at once, so that no group waits for it.
const FORGET_AT_ONCE: usize = 10_000;

/// The state of the upkeep.
pub(crate) struct Upkeep {
    history: History,
    /// Revisions and when they were made, at most one a minute, oldest first.
    marks: VecDeque<(UnixMillis, u64)>,
    next_glance: UnixMillis,
    next_look: UnixMillis,
    snapshot: Option<Snapshot>,
}

/// A snapshot on its way to the disk.
struct Snapshot {
    writing: JoinHandle<()>,
    is_done: Arc<AtomicBool>,
}

impl Upkeep {
    /// The newest revision is `tail`, made at `last_at`.
    pub(crate) fn new(history: History, tail: u64, last_at: UnixMillis) -> Self {
        Self {
            history,
            marks: VecDeque::from([(last_at, tail)]),
            next_glance: 0,
            next_look: 0,
            snapshot: None,
        }
    }

    /// Takes note of when a group was made.
    pub(crate) fn committed(&mut self, group: &[Commit]) {
        const MINUTE: u64 = 60_000;
        let Some(last) = group.last() else { return };
        if self.marks.back().is_none_or(|(at, _)| last.at >= at + MINUTE) {
            self.marks.push_back((last.at, last.number));
        }
    }

    /// Does what is due; costs nothing when nothing is. Called between any two groups, so that a server
    /// that is never idle is looked after, too. Never waits for the disk, except to unlink old segments.
    pub(crate) fn look_after(
        &mut self,
        journal: &mut Journal,
        tree: &mut Tree,
        now: UnixMillis,
        core: &Core,
    ) {
        if now < self.next_glance {
            return;
        }
        self.next_glance = now + GLANCE_MILLIS;
        self.mind_snapshot(journal, tree);
        core.blocks.forget_unused();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_MILLIS;
        let too_old = now.saturating_sub(millis(self.history.tombstone_age));
        if tree.forget_before(too_old, FORGET_AT_ONCE) > 0 {
            core.published.publish(tree);
        }
        self.trim(journal, now);
    }

    /// Waits for a snapshot that is being written.
    pub(crate) fn finish(&mut self) {
        if let Some(snapshot) = self.snapshot.take() {
            let _ = snapshot.writing.join();
        }
    }

    fn mind_snapshot(&mut self, journal: &Journal, tree: &Tree) {
        if self.snapshot.as_ref().is_some_and(|snapshot| snapshot.is_done.load(Ordering::Acquire)) {
            self.finish();
        }
        if self.snapshot.is_some() || !journal.should_snapshot() {
            return;
        }
        let (writer, tree, is_done) = (journal.snapshots(), tree.clone(), Arc::new(AtomicBool::new(false)));
        let signal = Arc::clone(&is_done);
        let writing = std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || {
            let mut entries = tree
                .resources()
                .map(|resource| Change::Put(Arc::clone(resource)))
                .chain(tree.tombstones().map(|tombstone| Change::Delete(Arc::clone(tombstone))));
            match writer.write(tree.revision(), tree.floor(), &mut entries) {
                Ok(()) => tracing::info!(at = tree.revision(), resources = tree.len(), "snapshot written"),
                Err(SnapshotError::NotNewer { .. }) => {}
                Err(error) => tracing::error!(error = crate::describe(&error), "no snapshot was written"),
            }
            signal.store(true, Ordering::Release);
        });
        match writing {
            Ok(writing) => self.snapshot = Some(Snapshot { writing, is_done }),
            Err(error) => tracing::error!(%error, "no thread for a snapshot; it is tried again"),
        }
    }

    fn trim(&mut self, journal: &mut Journal, now: UnixMillis) {
        let too_old = now.saturating_sub(millis(self.history.age));
        while self.marks.get(1).is_some_and(|(at, _)| *at < too_old) {
            self.marks.pop_front();
        }
        let Some((_, number)) = self.marks.front().filter(|(at, _)| *at < too_old) else { return };
        let before = (*number).min((journal.tail() + 1).saturating_sub(self.history.revisions));
        if before > journal.first()
            && let Err(error) = journal.trim(before)
        {
            tracing::error!(error = crate::describe(&error), "history was not trimmed");
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
