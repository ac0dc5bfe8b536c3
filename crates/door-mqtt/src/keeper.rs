//! Sessions without a connection: their ends and their wills, each at its time.
//!
//! There is one agenda for the server, and one task, on one shard, that goes through it. It takes hold of a client id like
//! a connection does, but only if nobody has it: a session with a connection is that connection's own. What cannot be
//! committed now is tried again later.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dovetail_auth::Principal;
use dovetail_engine::{Engine, PublisherId, Record, Write, WriteError};
use dovetail_model::UnixMillis;
use dovetail_model::limits::BATCH_CHANGES;
use futures_util::future::join_all;
use tokio::sync::Notify;

use crate::answer::Refusal;
use crate::counters::count;
use crate::lifecycle::{Occasion, Plan, plan};
use crate::record::{LastWill, Root};
use crate::registry::{Claim, Name};
use crate::store::{self, Names, Stored};
use crate::will;
use crate::{Local, Shared};

/// After which time something is tried again that could not be committed.
const RETRY: Duration = Duration::from_secs(5);
/// How many sessions are looked at together, so that their commits share a write to the disk.
const TOGETHER: usize = 64;

/// What is to be done about sessions without a connection, and when.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    agenda: Mutex<Agenda>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Agenda {
    by_name: HashMap<Arc<Name>, (Instant, u64, Ended)>,
    by_time: BTreeMap<(Instant, u64), Arc<Name>>,
    next_serial: u64,
    /// Sessions that are stored.
    sessions: usize,
}

/// How a connection ended, as far as it is not stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ended {
    pub(crate) at: UnixMillis,
    /// How long in seconds the session outlives it, where its connection changed that.
    pub(crate) expiry: Option<u32>,
    /// The client took its will back.
    pub(crate) without_will: bool,
}

impl Ended {
    /// It ended then, and nothing more is known.
    pub(crate) fn at(at: UnixMillis) -> Self {
        Self { at, expiry: None, without_will: false }
    }

    /// Puts what is known into what is stored.
    pub(crate) fn apply(&self, stored: &mut Stored) {
        if let (Some(root), Some(expiry)) = (&mut stored.root, self.expiry) {
            *root = Root { expiry, ended_at: None };
        }
        if self.without_will {
            stored.will = None;
        }
    }
}

impl Keeper {
    /// Puts a session on the agenda, instead of what was there about it.
    pub(crate) fn schedule(&self, name: Name, at: Instant, ended: Ended) {
        let mut agenda = self.lock();
        agenda.remove(&name);
        let (name, serial) = (Arc::new(name), agenda.next_serial);
        agenda.next_serial += 1;
        agenda.by_time.insert((at, serial), Arc::clone(&name));
        agenda.by_name.insert(name, (at, serial, ended));
        drop(agenda);
        self.changed.notify_one();
    }

    /// Remembers what is known of a session's end for whoever opens it. Nothing is done about it at any time.
    fn park(&self, name: Name, ended: Ended) {
        let mut agenda = self.lock();
        let serial = agenda.next_serial;
        agenda.next_serial += 1;
        agenda.by_name.entry(Arc::new(name)).or_insert((crate::now(), serial, ended));
    }

    /// As [`Keeper::schedule`], in so many milliseconds.
    pub(crate) fn schedule_in(&self, name: Name, millis: u64, ended: Ended) {
        self.schedule(name, crate::now() + Duration::from_millis(millis.max(1)), ended);
    }

    /// Takes a session off the agenda; what was known of its end.
    pub(crate) fn cancel(&self, name: &Name) -> Option<Ended> {
        self.lock().remove(name)
    }

    /// Sessions that are without a connection.
    pub(crate) fn away(&self) -> usize {
        self.lock().by_name.len()
    }

    /// Sessions that are stored.
    pub(crate) fn sessions(&self) -> usize {
        self.lock().sessions
    }

    /// A session was stored.
    pub(crate) fn added(&self) {
        self.lock().sessions += 1;
    }

    /// A session was deleted.
    pub(crate) fn removed(&self) {
        let mut agenda = self.lock();
        agenda.sessions = agenda.sessions.saturating_sub(1);
    }

    fn take_due(&self, now: Instant) -> Result<Vec<(Name, Ended)>, Option<Instant>> {
        let mut agenda = self.lock();
        let mut due = Vec::new();
        while let Some(first) = agenda.by_time.first_entry() {
            let at = first.key().0;
            if at > now && due.is_empty() {
                return Err(Some(at));
            }
            if at > now || due.len() == TOGETHER {
                break;
            }
            let name = first.remove();
            if let Some((.., ended)) = agenda.by_name.remove(&name) {
                due.push((Name::clone(&name), ended));
            }
        }
        if due.is_empty() { Err(None) } else { Ok(due) }
    }

    fn lock(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agenda {
    fn remove(&mut self, name: &Name) -> Option<Ended> {
        let (at, serial, ended) = self.by_name.remove(name)?;
        self.by_time.remove(&(at, serial));
        Some(ended)
    }
}

/// Takes in what an earlier server left: what its sessions wait for, and when they end. Their connections ended with it, which
/// counts as now.
pub(crate) fn recover(shared: &Shared, engine: &Engine) {
    let keeper = &shared.keeper;
    let (now, instant) = (engine.now(), crate::now());
    store::load_all(engine, |name, stored| {
        if stored.root.is_some() && !stored.is_damaged {
            keeper.added();
            stored.awaited().for_each(|awaited| awaited.restore(engine, &shared.groups));
            stored.of_groups(engine.head().epoch, |key, number, digest| {
                shared.groups.take(key, number, digest);
            });
        }
        // Whatever there is to do is found out there.
        keeper.schedule(name, instant, Ended::at(now));
    });
}

/// Goes through the agenda, for ever.
pub(crate) async fn keep(local: Rc<Local>) {
    let keeper = &local.shared.keeper;
    loop {
        match keeper.take_due(crate::now()) {
            Ok(due) => {
                join_all(due.into_iter().map(|(name, ended)| look_after(&local, name, ended))).await;
            }
            Err(None) => keeper.changed.notified().await,
            Err(Some(next)) => {
                let sleep = tokio::time::sleep_until(next.into());
                tokio::select! {
                    () = sleep => {}
                    () = keeper.changed.notified() => {}
                }
            }
        }
    }
}

/// Does what is due for a session, unless it has a connection.
async fn look_after(local: &Local, name: Name, ended: Ended) {
    let Some(claim) = Claim::vacant(&local.shared, &name) else {
        // Somebody opens it, who asks what is known of its end.
        local.shared.keeper.park(name, ended);
        return;
    };
    let Some(names) = Names::of(&name) else { return };
    let mut stored = store::load(&local.shard.engine(), &names);
    ended.apply(&mut stored);
    let now = local.shard.now();
    let mut plan = plan(&stored, &names, ended.at, now, Occasion::Away);
    if ended.without_will && !plan.is_over && !plan.records.iter().any(|record| record.name == names.will()) {
        plan.records.push(Record::delete(names.will()));
    }
    let (is_over, due) = (plan.is_over, plan.due);
    let publisher = name.publisher();
    match carry_out(local, &Principal::server(), publisher, plan, Vec::new()).await {
        Ok(()) if is_over => {
            count(&local.shared.counters.sessions_expired);
            is_gone(local, &stored);
        }
        Ok(()) => {
            if let Some(due) = due {
                local.shared.keeper.schedule_in(name, due.saturating_sub(now), Ended::at(ended.at));
            }
        }
        Err(error) => {
            tracing::warn!(client_id = &*name.client_id, %error, "a session is looked after later");
            try_later(local, name, ended);
        }
    }
    drop(claim);
}

/// Nothing of a session is stored any more.
pub(crate) fn is_gone(local: &Local, stored: &Stored) {
    if stored.root.is_some() && !stored.is_damaged {
        stored.awaited().for_each(|awaited| awaited.end(&local.shard, &local.shared.groups));
        local.shared.keeper.removed();
    }
}

/// What is to be done about a session could not be committed.
pub(crate) fn try_later(local: &Local, name: Name, ended: Ended) {
    local.shared.keeper.schedule(name, crate::now() + RETRY, ended);
}

/// Commits a plan, and what is put besides: all of it in one commit, but for sessions with more records than a commit can
/// hold. Of those the root goes first, with the will, so that nothing looks like a session that is none; and what is put comes
/// last.
///
/// # Errors
/// It is not committed, or not all of it. It can be tried again.
pub(crate) async fn carry_out(
    local: &Local,
    principal: &Principal,
    publisher: PublisherId,
    plan: Plan,
    puts: Vec<Record>,
) -> Result<(), WriteError> {
    let Plan { will, records: mut deletes, .. } = plan;
    if deletes.len() + puts.len() < BATCH_CHANGES {
        deletes.retain(|record| puts.iter().all(|put| put.name != record.name));
        deletes.extend(puts);
        return commit(local, principal, publisher, will, deletes).await;
    }
    let mut will = will;
    for chunk in deletes.chunks(BATCH_CHANGES - 1).chain(puts.chunks(BATCH_CHANGES - 1)) {
        commit(local, principal, publisher, will.take(), chunk.to_vec()).await?;
    }
    Ok(())
}

async fn commit(
    local: &Local,
    principal: &Principal,
    publisher: PublisherId,
    will: Option<LastWill>,
    records: Vec<Record>,
) -> Result<(), WriteError> {
    if let Some(last) = will {
        match will::to_write(local, &last.will, publisher) {
            Ok(mut write) => {
                write.records.clone_from(&records);
                match submit(local, principal, write).await {
                    Ok(()) => {
                        count(&local.shared.counters.wills);
                        return Ok(());
                    }
                    Err(NotDone::Later(error)) => return Err(error),
                    Err(NotDone::Never(refusal)) => never(local, &last, &refusal),
                }
            }
            Err(refusal) => never(local, &last, &refusal),
        }
    }
    if records.is_empty() {
        return Ok(());
    }
    match submit(local, principal, Write::of_records(records)).await {
        Ok(()) => Ok(()),
        Err(NotDone::Later(error)) => Err(error),
        Err(NotDone::Never(refusal)) => {
            tracing::error!(reason = refusal.text, "records of a session are refused");
            Ok(())
        }
    }
}

/// Why something was not committed.
enum NotDone {
    /// It can be tried again.
    Later(WriteError),
    /// It will always be refused.
    Never(Refusal),
}

async fn submit(local: &Local, principal: &Principal, write: Write) -> Result<(), NotDone> {
    let policy = local.shard.policy();
    let write = policy
        .authorize(principal, write)
        .map_err(|denied| NotDone::Never(crate::answer::of_denied(&denied)))?;
    match local.shard.submit(write).await {
        Ok(_) => Ok(()),
        Err(
            error @ (WriteError::Overloaded { .. }
            | WriteError::DiskFull
            | WriteError::ReadOnly(_)
            | WriteError::Stopping
            | WriteError::Unknown(_)),
        ) => Err(NotDone::Later(error)),
        Err(error) => {
            let reason = dovetail_mqtt_proto::ReasonCode::UnspecifiedError;
            Err(NotDone::Never(Refusal::new(reason, error.to_string())))
        }
    }
}

/// A will that nobody can publish is given up.
fn never(local: &Local, last: &LastWill, refusal: &Refusal) {
    count(&local.shared.counters.writes_refused);
    let (topic, reason) = (last.will.topic.as_str(), refusal.reason);
    tracing::warn!(topic, %reason, refusal.text, "a will is not published");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;

    fn name(client_id: &str) -> Name {
        Name { principal: "a".into(), client_id: client_id.into() }
    }

    #[test]
    fn the_agenda_is_kept_in_the_order_of_time() {
        let keeper = Keeper::default();
        let now = Instant::now();
        let in_seconds = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(keeper.take_due(now), Err(None));
        for (client_id, seconds) in [("b", 20), ("a", 10), ("c", 30), ("a", 25)] {
            keeper.schedule(name(client_id), in_seconds(seconds), Ended::at(seconds));
        }
        assert_eq!(keeper.take_due(in_seconds(19)), Err(Some(in_seconds(20))));
        assert_eq!(keeper.cancel(&name("c")), Some(Ended::at(30)));
        let due = keeper.take_due(in_seconds(40)).unwrap();
        assert_eq!(due, [(name("b"), Ended::at(20)), (name("a"), Ended::at(25))]);
        assert_eq!(keeper.take_due(in_seconds(40)), Err(None));
        assert_eq!(keeper.cancel(&name("a")), None);
    }

    #[test]
    fn what_is_parked_is_found_and_not_done() {
        let keeper = Keeper::default();
        let now = Instant::now();
        keeper.park(name("a"), Ended::at(1));
        assert_eq!(keeper.take_due(now + Duration::from_secs(1)), Err(None));
        assert_eq!(keeper.cancel(&name("a")), Some(Ended::at(1)));
        keeper.park(name("a"), Ended::at(1));
        keeper.schedule(name("a"), now, Ended::at(2));
        assert_eq!(keeper.take_due(now).unwrap(), [(name("a"), Ended::at(2))]);
    }

    #[test]
    fn no_more_is_taken_than_is_done_together() {
        let keeper = Keeper::default();
        let now = Instant::now();
        for number in 0..=TOGETHER {
            keeper.schedule(name(&number.to_string()), now, Ended::at(0));
        }
        assert_eq!(keeper.take_due(now).unwrap().len(), TOGETHER);
        assert_eq!(keeper.take_due(now).unwrap().len(), 1);
    }
}
