//! The one owner of the journal: sequences, commits, applies and fans out, a group at a time.
//!
//! A group is whatever waited while the group before was on its way to the disk. One thread does
//! all stages one after the other, so that *committed*, *applied*, *visible* and *delivered* happen in that
//! order without a lock between them.

use std::sync::Arc;
use std::time::Duration;

use dovetail_journal::{Journal, Space};
use dovetail_model::{Commit, UnixMillis};
use dovetail_tree::Tree;

use crate::Core;
use crate::admit::{Found, ReplyTo, Submission};
use crate::commit::commit;
use crate::entry::Entry;
use crate::mailbox::{Mailbox, Reply, ReplySlot};
use crate::recover::Recovered;
use crate::sequence::{Moment, sequence, sequence_expiry};
use crate::upkeep::Upkeep;

/// The most bytes of writes in one group. A group is one record of the journal.
const GROUP_BYTES: usize = 4 << 20;
/// What is kept free for deletes when the disk has no space for more.
const DELETES_BYTES: u64 = 1 << 20;
/// The most resources that expire in one commit.
const EXPIRE_AT_ONCE: usize = 256;
/// How long the owner sleeps at most before it looks after the house.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Owner {
    core: Arc<Core>,
    journal: Journal,
    /// The tree as published.
    tree: Tree,
    last_at: UnixMillis,
    /// Before this no expiry is tried: the last one could not be committed.
    expire_again_at: UnixMillis,
    upkeep: Upkeep,
    waiting: std::vec::IntoIter<Submission>,
    buffer: Vec<Submission>,
}

/// A group on its way.
struct Group {
    tree: Tree,
    commits: Vec<Commit>,
    replies: Vec<(ReplyTo, Reply)>,
    submissions_weight: usize,
}

impl Owner {
    pub(crate) fn new(core: Arc<Core>, journal: Journal, recovered: Recovered, upkeep: Upkeep) -> Self {
        let Recovered { tree, last_at } = recovered;
        let (waiting, buffer) = (Vec::new().into_iter(), Vec::new());
        Self { core, journal, tree, last_at, expire_again_at: 0, upkeep, waiting, buffer }
    }

    /// Works until the queue is stopped and empty; then closes the journal.
    pub(crate) fn run(mut self) {
        loop {
            self.expire();
            self.upkeep.look_after(&mut self.journal, &mut self.tree, self.core.clock.now(), &self.core);
            if self.waiting.len() > 0 {
                self.group();
                continue;
            }
            let mut batch = std::mem::take(&mut self.buffer);
            match self.core.queue.take(&mut batch) {
                Found::Work => {
                    self.waiting = batch.into_iter();
                    self.group();
                }
                Found::Nothing => {
                    self.buffer = batch;
                    self.core.queue.sleep(self.until_next_expiry());
                }
                Found::Stop => break,
            }
        }
        self.upkeep.finish();
        if let Err(error) = self.journal.close() {
            tracing::error!(error = crate::describe(&error), "the journal did not close cleanly");
        }
    }

    /// Sequences and commits what waits, up to the size of a group.
    fn group(&mut self) {
        let moment = self.moment();
        let mut group = Group::new(&self.tree);
        let mut weight = 0;
        let group_bytes = GROUP_BYTES.min(self.journal.batch_bytes_max() / 2);
        while weight < group_bytes {
            let Some(submission) = self.waiting.next() else { break };
            weight += submission.weight;
            group.take(submission, moment);
        }
        self.finish(group);
    }

    /// Deletes what has outlived its time.
    fn expire(&mut self) {
        while self.next_expiry().is_some_and(|at| at <= self.core.clock.now()) {
            let moment = self.moment();
            let mut group = Group::new(&self.tree);
            let Some(expiry) = sequence_expiry(&self.tree, moment.at, EXPIRE_AT_ONCE) else { return };
            group.push(expiry);
            if !self.finish(group) {
                // A full disk is asked again after a while, a journal that failed never.
                let is_over = self.core.queue.refusal().is_some();
                let pause = UPKEEP_INTERVAL.as_millis() as u64;
                self.expire_again_at = if is_over { UnixMillis::MAX } else { moment.at + pause };
                return;
            }
        }
    }

    /// When the next resource is to be deleted because its time is over.
    fn next_expiry(&self) -> Option<UnixMillis> {
        self.tree.next_expiry().map(|at| at.max(self.expire_again_at))
    }

    /// Commits, applies, fans out and answers. Whether the group is durable.
    fn finish(&mut self, mut group: Group) -> bool {
        let outcome = commit(&mut self.journal, &group.commits);
        match &outcome {
            Ok(()) if group.commits.is_empty() => {}
            Ok(()) => {
                self.tree = group.tree;
                self.core.published.publish(&self.tree);
                self.core.counters.committed(&group.commits);
                self.upkeep.committed(&group.commits);
                fan_out(&self.core, group.commits);
            }
            Err(failure) => {
                if let Some(refusal) = &failure.from_now_on {
                    self.core.queue.refuse_from_now(refusal.clone());
                }
                for (_, reply) in &mut group.replies {
                    *reply = Err(failure.answer.clone());
                }
            }
        }
        self.core.queue.release(group.submissions_weight);
        answer(group.replies);
        outcome.is_ok()
    }

    fn moment(&mut self) -> Moment {
        self.last_at = self.last_at.max(self.core.clock.now());
        Moment {
            epoch: self.core.published.epoch(),
            at: self.last_at,
            payload_limit: self.core.options.payload_bytes,
            only_deletes: matches!(self.journal.space(), Space::Low { bytes_left } if bytes_left < DELETES_BYTES),
        }
    }

    fn until_next_expiry(&self) -> Duration {
        self.next_expiry().map_or(UPKEEP_INTERVAL, |at| {
            Duration::from_millis(at.saturating_sub(self.core.clock.now())).min(UPKEEP_INTERVAL)
        })
    }
}

impl Group {
    fn new(tree: &Tree) -> Self {
        Self { tree: tree.clone(), commits: Vec::new(), replies: Vec::new(), submissions_weight: 0 }
    }

    fn take(&mut self, submission: Submission, moment: Moment) {
        self.submissions_weight += submission.weight;
        let (principal, write) = submission.write.into_parts();
        let reply = sequence(write, &principal, &self.tree, moment).map(|sequenced| {
            if let Some(commit) = sequenced.commit {
                self.push(commit);
            }
            sequenced.committed
        });
        self.replies.push((submission.reply, reply));
    }

    fn push(&mut self, commit: Commit) {
        self.tree.apply(&commit);
        self.commits.push(commit);
    }
}

/// Stage 5. The head is published already: see the join in [`crate::fanout`].
fn fan_out(core: &Core, commits: Vec<Commit>) {
    let mut anybody = false;
    core.shards.for_each(|mailbox| anybody |= mailbox.wants_commits());
    if !anybody {
        core.tail.skip_to(commits.last().map_or(0, |commit| commit.number));
        return;
    }
    core.tail.push(commits.into_iter().map(|commit| Arc::new(Entry::of(commit))));
    core.shards.for_each(|mailbox| {
        if mailbox.wants_commits() {
            mailbox.signal();
        }
    });
}

/// Leaves each shard its answers, with one wake-up.
fn answer(replies: Vec<(ReplyTo, Reply)>) {
    type Answers = Vec<(ReplySlot, Reply)>;
    let mut by_shard: Vec<(Arc<Mailbox>, Answers)> = Vec::new();
    for (ReplyTo { mailbox, slot }, reply) in replies {
        match by_shard.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &mailbox)) {
            Some((_, replies)) => replies.push((slot, reply)),
            None => by_shard.push((mailbox, vec![(slot, reply)])),
        }
    }
    for (mailbox, mut replies) in by_shard {
        mailbox.leave_replies(&mut replies);
        mailbox.signal();
    }
}
