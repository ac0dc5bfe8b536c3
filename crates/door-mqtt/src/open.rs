//! What a CONNECT finds of its session, and what is committed before it is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use dovetail_auth::Principal;
use dovetail_engine::{Record, WriteError};
use dovetail_model::{Epoch, Revision};
use dovetail_mqtt_proto::{InFlight, ReasonCode, Session, Stage, Version, Will, split_shared};

use crate::Local;
use crate::again::{self, Again};
use crate::answer::{Outcome, Refusal, of_write_error};
use crate::keeper::{self, Ended};
use crate::kept::Kept;
use crate::lifecycle::{Occasion, plan};
use crate::record::{Flight, LastWill, Place, Root, Subscribed, What};
use crate::registry::Name;
use crate::store::{self, Names, Stored};
use crate::tracked::Kind;

/// The longest time for which positions are not written anew while nothing is told.
const REFRESH: Duration = Duration::from_hours(1);

/// What a CONNECT asks for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) version: Version,
    pub(crate) clean_start: bool,
    /// How long in seconds the session is to outlive the connection, as granted.
    pub(crate) expiry: u32,
    pub(crate) will: Option<Will>,
}

/// A session, ready to be served.
#[derive(Default)]
pub(crate) struct Opened {
    /// What of it the protocol continues.
    pub(crate) session: Session,
    pub(crate) is_present: bool,
    /// Words about a session that is not.
    pub(crate) text: &'static str,
    pub(crate) kept: Option<Box<Kept>>,
    /// Where the will is stored, if there is one.
    pub(crate) will: Option<Names>,
    /// What is to be told on.
    pub(crate) subscriptions: Vec<Resumed>,
}

/// A subscription of a session that is continued.
pub(crate) struct Resumed {
    pub(crate) number: u32,
    pub(crate) subscribed: Subscribed,
    pub(crate) place: Place,
    pub(crate) epoch: Epoch,
}

/// Whether a CONNECT neither wants anything that is stored nor finds anything: most do not.
pub(crate) fn is_plain(local: &Local, name: &Name, wanted: &Wanted) -> bool {
    if wanted.expiry > 0 || wanted.will.is_some() {
        return false;
    }
    let shard = &local.shard;
    Names::of(name)
        .is_none_or(|names| shard.record(&names.root()).is_none() && shard.record(&names.will()).is_none())
}

/// Opens the session of a client id that is held.
///
/// # Errors
/// Why the connection is refused. Nothing has changed.
pub(crate) async fn open(
    local: Rc<Local>,
    principal: Principal,
    name: Name,
    wanted: Wanted,
) -> Result<Opened, Refusal> {
    let names = Names::of(&name).ok_or_else(|| {
        Refusal::new(ReasonCode::ClientIdentifierNotValid, "the client id is too long for a session")
    })?;
    let keeper = &local.shared.keeper;
    let ended = keeper.cancel(&name);
    let opened = open_with(&local, &principal, (&name, &names), wanted, ended).await;
    if let (Err(_), Some(ended)) = (&opened, ended) {
        // Somebody has to look after it as before.
        keeper.schedule(name, crate::now(), ended);
    }
    opened
}

async fn open_with(
    local: &Local,
    principal: &Principal,
    (name, names): (&Name, &Names),
    wanted: Wanted,
    ended: Option<Ended>,
) -> Result<Opened, Refusal> {
    let shard = &local.shard;
    let (engine, now) = (shard.engine(), shard.now());
    let mut stored = store::load(&engine, names);
    if let Some(ended) = ended {
        ended.apply(&mut stored);
    }
    let is_reachable = is_reachable(&stored, engine.oldest(), shard.head());
    let occasion = if wanted.clean_start || !is_reachable { Occasion::Discarded } else { Occasion::Resumed };
    let plan = plan(&stored, names, ended.map_or(now, |ended| ended.at), now, occasion);
    let is_present = !plan.is_over;
    let had_session = stored.root.is_some() && !stored.is_damaged;
    let limit = local.shared.options.sessions;
    if wanted.expiry > 0 && !had_session && local.shared.keeper.sessions() >= limit {
        return Err(Refusal::new(ReasonCode::QuotaExceeded, format!("the server keeps {limit} sessions")));
    }
    let mut puts = Vec::new();
    let is_kept = wanted.expiry > 0 || is_present;
    if is_kept {
        let root = Root { expiry: wanted.expiry, ended_at: None };
        puts.push(Record::put(names.root(), root.encode().into()));
    }
    let has_will = wanted.will.is_some();
    if let Some(will) = wanted.will {
        puts.push(Record::put(names.will(), LastWill { will }.encode().into()));
    }
    let flow = stored.flow.as_ref().filter(|_| is_present);
    let found = match flow {
        Some(flow) => {
            let flights = (flow.epoch, flow.flights.as_slice());
            again::find(local, principal, wanted.version, &stored.subscriptions, flights).await
        }
        None => Vec::new(),
    };
    let publisher = name.publisher();
    keeper::carry_out(local, principal, publisher, plan, puts).await.map_err(|error| refusal(&error))?;
    if !is_present {
        keeper::is_gone(local, &stored);
    }
    if is_kept && !is_present {
        local.shared.keeper.added();
    }
    let text = if is_reachable { "" } else { "the history since the last connection is not kept any more" };
    let mut opened = Opened { is_present, text, will: has_will.then(|| names.clone()), ..Opened::default() };
    if is_kept {
        let history = engine.options().history.age / 4;
        let refresh = history.clamp(Duration::from_secs(1), REFRESH);
        let timing = (refresh, crate::now());
        opened.kept = Some(Box::new(Kept::new(names.clone(), wanted.expiry, timing)));
    }
    if is_present {
        opened.resume(stored, found);
    }
    Ok(opened)
}

impl Opened {
    fn resume(&mut self, stored: Stored, found: Vec<Option<Again>>) {
        let Some(kept) = &mut self.kept else { return };
        let Stored { subscriptions, flow, received, .. } = stored;
        let after_last = subscriptions.last_key_value().map_or(0, |(number, _)| number + 1);
        kept.next = flow.as_ref().map_or(0, |flow| flow.next).max(after_last);
        let mut resumed = places(&subscriptions, flow.as_ref());
        let flights = flow.as_ref().map_or(&[][..], |flow| &flow.flights);
        let broken = broken(&subscriptions, flights, &found);
        for (number, (_, place)) in &mut resumed {
            if broken.contains(number) {
                *place = Place::BASELINE;
            }
        }
        let in_baseline =
            |number| resumed.get(&number).is_some_and(|(_, place)| place.told.is_none() || place.refresh);
        let mut in_flight = Vec::new();
        for (flight, again) in flow.into_iter().flat_map(|flow| flow.flights).zip(found) {
            // A state that is told once more needs no part of it besides.
            let of_state = matches!(flight.what, What::Resource { .. } | What::Begin(_));
            let again = again.filter(|_| {
                let begins_again = of_state && in_baseline(flight.subscription);
                !begins_again && !broken.contains(&flight.subscription)
            });
            let Flight { id, stage, .. } = flight;
            let stage = match (stage, &again) {
                (Stage::PubAck, None) => continue,
                // Its id becomes free on both sides.
                (Stage::PubRec, None) => Stage::PubComp,
                (stage, _) => stage,
            };
            in_flight.push(InFlight { id, stage, tag: kept.resume(Flight { stage, ..flight }) });
            kept.again.extend(again.filter(|_| stage != Stage::PubComp));
        }
        self.session = Session::restore(in_flight, received);
        self.subscriptions = resumed
            .into_iter()
            .zip(subscriptions)
            .map(|((_, (epoch, place)), (number, subscribed))| Resumed { number, subscribed, place, epoch })
            .collect();
    }
}

/// Subscriptions whose stream says that nothing is left out, and of which something in flight cannot be told any more as it
/// was, such as a resource of a baseline that has changed since. They begin again with the state.
fn broken(
    subscriptions: &BTreeMap<u32, Subscribed>,
    flights: &[Flight],
    found: &[Option<Again>],
) -> BTreeSet<u32> {
    let is_lost = |flight: &Flight, again: &Option<Again>| {
        let says_so = subscriptions.get(&flight.subscription).is_some_and(|s| s.kind != Kind::Plain);
        says_so && again.is_none() && flight.stage != Stage::PubComp && flight.what != What::Nowhere
    };
    let lost = flights.iter().zip(found).filter(|(flight, again)| is_lost(flight, again));
    lost.map(|(flight, _)| flight.subscription).collect()
}

/// Where the subscriptions are, and in which epoch.
fn places(
    subscriptions: &BTreeMap<u32, Subscribed>,
    flow: Option<&crate::record::Flow>,
) -> BTreeMap<u32, (Epoch, Place)> {
    let place = |(number, subscribed): (&u32, &Subscribed)| {
        let in_flow = flow.and_then(|flow| flow.place(*number).map(|place| (flow.epoch, place)));
        (*number, in_flow.unwrap_or((subscribed.epoch, subscribed.place)))
    };
    subscriptions.iter().map(place).collect()
}

/// Whether everything can be told that subscriptions without words of their own have missed. Those with `QoS` 0 are owed
/// the newest states only, tracked ones are told of a gap in their own stream, and a group has a position of its own.
fn is_reachable(stored: &Stored, oldest: Revision, head: Revision) -> bool {
    let places = places(&stored.subscriptions, stored.flow.as_ref());
    stored.subscriptions.iter().all(|(number, subscribed)| {
        let is_shared = split_shared(&subscribed.filter).is_some();
        if subscribed.kind != Kind::Plain || is_shared || subscribed.awaited().is_none() {
            return true;
        }
        match places.get(number) {
            Some((epoch, Place { told: Some(told), .. })) => {
                *epoch == head.epoch && (oldest.number..=head.number).contains(told)
            }
            _ => true,
        }
    })
}

/// CONNACK has a code for each.
fn refusal(error: &WriteError) -> Refusal {
    match of_write_error(error) {
        Outcome::Refused(refusal) if refusal.reason == ReasonCode::QuotaExceeded => refusal,
        Outcome::Refused(Refusal { text, .. }) | Outcome::Unknown(text) => {
            Refusal::new(ReasonCode::ServerUnavailable, text)
        }
    }
}
