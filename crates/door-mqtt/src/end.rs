//! The end of a connection: what it leaves behind is stored, before the client id is free.

use std::future::poll_fn;

use dovetail_auth::Principal;
use dovetail_engine::Record;
use dovetail_mqtt_proto::Closed;

use crate::Local;
use crate::awaited::Awaited;
use crate::keeper::{self, Ended};
use crate::kept::Kept;
use crate::lifecycle::{Occasion, plan};
use crate::record::{Flow, Root};
use crate::registry::Name;
use crate::serving::Serving;
use crate::store::{self, Names};

/// What is stored when a connection ends.
struct Left {
    names: Names,
    kept: Option<Box<Kept>>,
    flow: Option<Flow>,
    /// What was awaited for the connection's subscriptions.
    awaited: Vec<Awaited>,
    closed: Closed,
}

impl Serving {
    /// Waits for what the client has written, stores its session, sees to its will, and frees its id. Whether everything that
    /// was promised is true.
    pub(crate) async fn end(mut self, closed: Closed) -> bool {
        let flow = closed.session.as_ref().and_then(|session| self.flow(session));
        let awaited = if self.kept.is_some() { self.awaited() } else { Vec::new() };
        let Self { local, principal, writes, feeds, shares, sys, counted, kept, will, claim, .. } = self;
        drop((feeds, shares, sys, counted));
        writes.finish(&local.shard).await;
        let names = kept.as_ref().map(|kept| kept.names.clone()).or(will);
        let is_stored = match names {
            None => true,
            Some(names) => {
                let left = Left { names, kept, flow, awaited, closed };
                left.store(&local, &principal, claim.name()).await
            }
        };
        drop(claim);
        is_stored
    }
}

impl Left {
    async fn store(self, local: &Local, principal: &Principal, name: &Name) -> bool {
        let Self { names, mut kept, flow, awaited, closed } = self;
        let (engine, keeper) = (local.shard.engine(), &local.shared.keeper);
        let mut forgotten = Vec::new();
        let mut is_stored = true;
        if let Some(kept) = kept.as_deref_mut() {
            is_stored = finish(kept, local).await;
        }
        let mut stored = store::load(&engine, &names);
        let now = local.shard.now();
        let mut ended = Ended { at: now, expiry: None, without_will: closed.will.is_none() };
        let had_will = stored.will.is_some();
        let mut puts = Vec::new();
        if let Some(kept) = kept.as_deref_mut() {
            let longest = local.shared.options.session_expiry_seconds();
            let asked = closed.session_expiry.map_or(kept.expiry, |asked| asked.min(longest));
            let expiry = if kept.is_void { 0 } else { asked };
            ended.expiry = Some(expiry);
            let (records, no_longer) = kept.take_owed();
            forgotten = no_longer;
            if is_stored {
                puts.extend(records);
                puts.extend(flow.map(|flow| Record::put(names.flow(), flow.encode().into())));
            }
            let root = Root { expiry, ended_at: Some(now) };
            puts.push(Record::put(names.root(), root.encode().into()));
            crate::durable::last_words(&mut puts);
        }
        ended.apply(&mut stored);
        let mut plan = plan(&stored, &names, now, now, Occasion::Away);
        let (is_over, due) = (plan.is_over, plan.due);
        if is_over {
            puts.clear();
        } else if had_will && ended.without_will {
            plan.records.push(Record::delete(names.will()));
        }
        match keeper::carry_out(local, principal, name.publisher(), plan, puts).await {
            Ok(()) if is_over && kept.is_some() => keeper.removed(),
            Ok(()) => {
                if let Some(due) = due {
                    keeper.schedule_in(name.clone(), due.saturating_sub(now), Ended::at(now));
                }
            }
            Err(error) => {
                is_stored = false;
                tracing::warn!(client_id = &*name.client_id, %error, "a session is stored later, as it was");
                keeper::try_later(local, name.clone(), ended);
            }
        }
        if kept.is_some() {
            // What is stored is what is awaited, whatever became of the connection's last words.
            let groups = &local.shared.groups;
            for awaited in store::load(&engine, &names).awaited() {
                awaited.begin(&engine, groups);
            }
            for awaited in awaited.iter().chain(&forgotten) {
                awaited.end(&local.shard, groups);
            }
        }
        is_stored
    }
}

/// Waits for what is on its way to the disk. Whether it arrived.
async fn finish(kept: &mut Kept, local: &Local) -> bool {
    while kept.is_held() {
        match poll_fn(|cx| kept.poll_released(cx)).await {
            Ok(forgotten) => {
                for awaited in &forgotten {
                    awaited.end(&local.shard, &local.shared.groups);
                }
            }
            Err(_) => return false,
        }
    }
    !kept.has_failed
}
