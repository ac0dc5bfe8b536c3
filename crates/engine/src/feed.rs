//! A feed: a filter and a position, and the four things it can be doing.
//!
//! ```text
//!            subscribe
//!   Baseline ◄──────── Reset ◄────────┐ position expired, other epoch
//!      │ told = R                     │
//!      ▼                              │
//!     join ──── ring reaches back ──► Live ── pending full, place dropped ──┐
//!      │                               ▲                                    │
//!      └── it does not ──► CatchUp ────┘◄───────────────────────────────────┘
//! ```
//!
//! The state owns its data, so that no other combination exists. Everything here runs on the
//! shard's thread; the shard tells a live feed of each matching entry, and the subscriber takes
//! items when it can.

use std::sync::Arc;

use dovetail_auth::{Demand, Policy, Principal};
use dovetail_model::{Change, Epoch, Filter, PublisherId, Topic};
use dovetail_tree::{ChangeScan, Latest, Scan, Tree};
use smallvec::SmallVec;

use crate::clock::Clock;
use crate::entry::Entry;
use crate::history::{Block, Passage};
use crate::item::{Body, Delivery, EndReason, Item, ResetReason};
use crate::request::{Events, Mode};
use crate::ring::{Ring, Shared};
use crate::short::Short;

/// One subscription.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says whether it stands in a list that has nothing to do with the others"
)]
pub(crate) struct Feed {
    pub(crate) filter: Filter,
    pub(crate) principal: Principal,
    pub(crate) no_local: Option<PublisherId>,
    /// The subscriber it belongs to.
    pub(crate) subscriber: usize,
    /// Whether it stands in its subscriber's list of ready feeds.
    pub(crate) is_ready: bool,
    /// Whether it counts among the congested feeds of the shard.
    pub(crate) is_congested: bool,
    /// Whether it counts among the feeds that catch up.
    pub(crate) counts_as_behind: bool,
    /// Tells it from an earlier feed in the same slot.
    pub(crate) serial: u64,
    /// The door's own number for it.
    pub(crate) label: u32,
    /// The entry of the shard that it was last told of, so that a commit of many changes is told once; 0 before any.
    last_entry: u64,
    mode: Mode,
    events: Events,
    /// Bytes that may wait.
    pending_limit: u32,
    /// The subscriber has been told everything up to here.
    told: u64,
    /// Say where the feed is once it is live: the subscriber asked to continue from a position.
    announce: bool,
    state: State,
}

/// What the feed is doing. Nearly all feeds are live nearly always, so what the others need is in boxes.
enum State {
    /// Telling the current state, frozen at one revision.
    Baseline(Box<Baseline>),
    /// Telling what was missed.
    CatchUp(Box<CatchUp>),
    /// Telling what happens.
    Live(Live),
    /// Telling why it ends, then nothing.
    Ended(Option<EndReason>),
}

struct Baseline {
    reset: Option<ResetReason>,
    begun: bool,
    at: u64,
    scan: Scan,
    events: Waiting,
}

struct CatchUp {
    source: Source,
    events: Waiting,
}

/// Where missed changes come from.
enum Source {
    /// The newest states, from a frozen tree whose head is `until`.
    Tree { scan: ChangeScan, until: u64 },
    /// Each entry, from the journal; `passage` is read and not yet told.
    Journal { passage: Option<Passage>, read_to: u64, reading: bool },
    /// Not opened yet: the feed has just fallen behind.
    Unopened,
}

/// Entries to tell, as places in the ring.
#[derive(Debug, Default)]
struct Waiting {
    places: Short<Place>,
    bytes: usize,
    event_bytes: usize,
}

/// A place in the ring, and whether what is there can only be told from there: an event, unless the feed can
/// read it back from the journal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place(u64);

#[derive(Debug)]
struct Live {
    waiting: Waiting,
    /// Commits up to here were told before the feed became live, or wait already.
    seen: u64,
}

/// What a feed has for its subscriber.
#[derive(Debug)]
pub(crate) enum Step {
    /// An item.
    Item(Item),
    /// Nothing until it is told of an entry.
    Idle,
    /// Nothing yet, but it has not looked at everything: others may have a turn first.
    Yield,
    /// An event was lost because the subscriber did not keep up; ask again.
    Lost,
    /// Nothing until the journal was read on after this number: [`Feed::give_history`].
    NeedsHistory(u64),
}

/// What became of an entry that a feed was told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// The feed has something to say now.
    Ready,
    /// Nothing changed.
    NotForIt,
    /// An event was dropped because the subscriber does not keep up.
    Dropped,
}

/// What of the world a feed needs to make a step.
pub(crate) struct World<'a> {
    pub(crate) epoch: Epoch,
    pub(crate) policy: &'a Policy,
    pub(crate) clock: &'a Clock,
    pub(crate) ring: &'a Ring,
    /// Commits up to here were dispatched by the shard.
    pub(crate) dispatched: u64,
    /// The newest tree.
    pub(crate) tree: &'a dyn Fn() -> Arc<Tree>,
}

/// Why history could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HistoryGap {
    /// It was trimmed away meanwhile.
    Trimmed,
    /// The journal cannot be read there.
    Failed,
}

/// What a new feed is made of.
pub(crate) struct Plan {
    pub(crate) filter: Filter,
    pub(crate) principal: Principal,
    pub(crate) no_local: Option<PublisherId>,
    pub(crate) subscriber: usize,
    pub(crate) serial: u64,
    pub(crate) label: u32,
    pub(crate) mode: Mode,
    pub(crate) events: Events,
    pub(crate) pending_limit: usize,
}

impl Feed {
    /// A feed that starts with the state of `tree`, after saying `reset` where there is a reason.
    pub(crate) fn with_baseline(plan: Plan, tree: &Tree, reset: Option<ResetReason>) -> Self {
        let state = State::Baseline(Box::new(Baseline::new(&plan.filter, tree, reset, Waiting::default())));
        Self::new(plan, 0, false, state)
    }

    /// A feed whose subscriber knows everything up to `told`.
    pub(crate) fn continued(plan: Plan, told: u64, world: &World<'_>) -> Self {
        let state = State::Ended(None);
        let mut feed = Self::new(plan, told, true, state);
        feed.join(told, Waiting::default(), world);
        feed
    }

    fn new(plan: Plan, told: u64, announce: bool, state: State) -> Self {
        let Plan { filter, principal, no_local, subscriber, serial, label, mode, events, pending_limit } =
            plan;
        Self {
            filter,
            principal,
            no_local,
            subscriber,
            is_ready: false,
            is_congested: false,
            counts_as_behind: false,
            serial,
            label,
            last_entry: 0,
            pending_limit: u32::try_from(pending_limit).unwrap_or(u32::MAX),
            mode,
            events,
            told,
            announce,
            state,
        }
    }

    /// Whether it is told of this entry, by its serial number on the shard, for the first time; from now on it is not.
    #[inline]
    pub(crate) fn is_new(&mut self, entry: u64) -> bool {
        std::mem::replace(&mut self.last_entry, entry) != entry
    }

    /// The shard dispatched an entry that matches. `place` is its place in the ring.
    pub(crate) fn tell(&mut self, place: u64, entry: &Entry) -> Told {
        if entry.is_event {
            self.tell_event(place, entry.weight)
        } else if entry.tells_only_events && self.mode == Mode::Latest {
            if self.is_past(entry.number) { Told::NotForIt } else { self.tell_event(place, entry.weight) }
        } else {
            self.tell_commit(place, entry)
        }
    }

    /// Whether the feed began after commit `number`, or has it waiting. From now on it has.
    fn is_past(&mut self, number: u64) -> bool {
        match &mut self.state {
            State::Live(live) => {
                let is_past = live.seen >= number;
                live.seen = live.seen.max(number);
                is_past
            }
            State::Baseline(baseline) => baseline.at >= number,
            State::CatchUp(_) => false,
            State::Ended(_) => true,
        }
    }

    fn tell_commit(&mut self, place: u64, entry: &Entry) -> Told {
        let is_wanted = !entry.holds_events || self.wants(entry);
        let State::Live(live) = &mut self.state else { return Told::NotForIt };
        if entry.number <= live.seen {
            return Told::NotForIt;
        }
        live.seen = entry.number;
        if !is_wanted {
            return Told::NotForIt;
        }
        if live.waiting.has_room(entry.weight, self.pending_limit as usize) {
            live.waiting.push(Place::commit(place), entry.weight);
        } else {
            self.fall_behind();
        }
        Told::Ready
    }

    fn tell_event(&mut self, place: u64, weight: usize) -> Told {
        let waiting = match (&mut self.state, self.events) {
            (State::Ended(_), _) | (_, Events::Ignore) => return Told::NotForIt,
            (State::Live(live), _) => &mut live.waiting,
            (State::Baseline(baseline), _) => &mut baseline.events,
            (State::CatchUp(catch_up), _) => &mut catch_up.events,
        };
        if waiting.has_room(weight, self.pending_limit as usize) {
            waiting.push(Place::event(place), weight);
            return Told::Ready;
        }
        if self.events == Events::End {
            self.state = State::Ended(Some(EndReason::TooSlow));
            return Told::Ready;
        }
        Told::Dropped
    }

    /// The shard missed commits, and so did every feed that is live.
    pub(crate) fn miss(&mut self) -> Told {
        if !matches!(self.state, State::Live(_)) {
            return Told::NotForIt;
        }
        self.fall_behind();
        Told::Ready
    }

    /// Whether it tells what was missed.
    pub(crate) fn is_catching_up(&self) -> bool {
        matches!(self.state, State::CatchUp(_))
    }

    /// Whether the subscriber is so far behind with live entries that publishers of events wait.
    pub(crate) fn is_far_behind(&self) -> bool {
        matches!(&self.state, State::Live(live) if live.waiting.bytes > self.pending_limit as usize / 2)
    }

    /// Whether the subscriber has caught up enough for publishers of events to go on.
    pub(crate) fn has_recovered(&self) -> bool {
        !matches!(&self.state, State::Live(live) if live.waiting.bytes > self.pending_limit as usize / 4)
    }

    /// How far everything has been told, as an item; `None` while there is something to tell.
    pub(crate) fn progress(&mut self, world: &World<'_>) -> Option<Item> {
        let State::Live(live) = &self.state else { return None };
        if !live.waiting.places.is_empty() {
            return None;
        }
        let rev = live.seen.max(world.dispatched).max(self.told);
        let after = std::mem::replace(&mut self.told, rev);
        Some(Item::Progress { after: world.epoch.at(after), rev: world.epoch.at(rev) })
    }

    /// The next thing to say.
    pub(crate) fn step(&mut self, world: &World<'_>) -> Step {
        loop {
            match &mut self.state {
                State::Baseline(_) => {
                    if let Some(item) = self.step_baseline(world) {
                        return Step::Item(item);
                    }
                }
                State::CatchUp(_) => {
                    if let Some(step) = self.step_catch_up(world) {
                        return step;
                    }
                }
                State::Live(_) => {
                    if let Some(step) = self.step_live(world) {
                        return step;
                    }
                }
                State::Ended(reason) => {
                    return reason.take().map_or(Step::Idle, |r| Step::Item(Item::End(r)));
                }
            }
        }
    }

    /// The journal was read on after the number that [`Step::NeedsHistory`] said.
    pub(crate) fn give_history(&mut self, history: Result<Arc<Block>, HistoryGap>, world: &World<'_>) {
        let State::CatchUp(catch_up) = &mut self.state else { return };
        let CatchUp { source: Source::Journal { passage, read_to, reading }, events } = &mut **catch_up
        else {
            return;
        };
        *reading = false;
        match history {
            Ok(block) if block.to() <= *read_to => {
                // The journal ends here, so the ring, or soon the shard, has what follows.
                let (read_to, events) = (*read_to, std::mem::take(events));
                self.join(read_to, events, world);
            }
            Ok(block) => {
                let told = std::mem::replace(read_to, block.to());
                *passage = Some(Passage::after(block, told, &self.filter));
            }
            Err(HistoryGap::Trimmed) => {
                let events = std::mem::take(events);
                self.reset(ResetReason::TooOld, events, world);
            }
            Err(HistoryGap::Failed) => self.state = State::Ended(Some(EndReason::JournalFailed)),
        }
    }

    fn step_baseline(&mut self, world: &World<'_>) -> Option<Item> {
        let State::Baseline(baseline) = &mut self.state else { return None };
        let at = world.epoch.at(baseline.at);
        if let Some(reason) = baseline.reset.take() {
            return Some(Item::Reset { reason, head: at });
        }
        if !baseline.begun {
            baseline.begun = true;
            return Some(Item::BaselineBegin(at));
        }
        for resource in baseline.scan.by_ref() {
            if world.policy.permits(&self.principal, Demand::Read, &resource.topic) {
                return Some(Item::Resource(resource));
            }
        }
        let (told, events) = (baseline.at, std::mem::take(&mut baseline.events));
        self.told = told;
        self.join(told, events, world);
        Some(Item::BaselineEnd(at))
    }

    fn step_catch_up(&mut self, world: &World<'_>) -> Option<Step> {
        let State::CatchUp(catch_up) = &mut self.state else { return None };
        let CatchUp { source, events } = &mut **catch_up;
        let sees = Sees::new(&self.filter, &self.principal, self.events, world);
        let next = match source {
            Source::Unopened => {
                let events = std::mem::take(events);
                self.catch_up(self.told, events, world);
                return None;
            }
            Source::Tree { scan, until } => {
                let Some(next) = next_states(scan, &sees) else {
                    let (until, events) = (*until, std::mem::take(events));
                    self.join(until, events, world);
                    return None;
                };
                next
            }
            Source::Journal { passage, read_to, reading } => match next_commit(passage, &sees, self.no_local)
            {
                Some(next) => next,
                None if *reading => return Some(Step::Idle),
                None if world.ring.covers(*read_to) => {
                    let (read_to, events) = (*read_to, std::mem::take(events));
                    self.join(read_to, events, world);
                    return None;
                }
                None => {
                    *reading = true;
                    return Some(Step::NeedsHistory(*read_to));
                }
            },
        };
        Some(match next {
            Past::Nothing => Step::Yield,
            Past::Changes(rev, changes) => Step::Item(self.deliver(rev, Body::Past(changes), world)),
        })
    }

    fn step_live(&mut self, world: &World<'_>) -> Option<Step> {
        let State::Live(live) = &mut self.state else { return None };
        let Some(place) = live.waiting.pop() else {
            if !std::mem::take(&mut self.announce) {
                return Some(Step::Idle);
            }
            return self.progress(world).map(Step::Item);
        };
        let Some(entry) = world.ring.get(place.index()) else {
            // The entry has left the ring. The state can be told again, an event cannot.
            if !place.is_event() {
                self.fall_behind();
                return None;
            }
            if self.events == Events::End {
                self.state = State::Ended(Some(EndReason::TooSlow));
                return None;
            }
            return Some(Step::Lost);
        };
        live.waiting.taken(place, entry.weight);
        let sees = Sees::new(&self.filter, &self.principal, self.events, world);
        let body = sees.of_entry(entry)?;
        // An event that was kept while the feed caught up may be older than what is told by now.
        let rev = if entry.is_event { self.told } else { entry.number.max(self.told) };
        Some(Step::Item(self.deliver(rev, body, world)))
    }

    fn deliver(&mut self, rev: u64, body: Body, world: &World<'_>) -> Item {
        let after = std::mem::replace(&mut self.told, rev);
        Item::Change(Delivery { after: world.epoch.at(after), rev: world.epoch.at(rev), body })
    }

    /// Everything up to `position` is told: go on from the ring if it reaches back, else catch up.
    fn join(&mut self, position: u64, events: Waiting, world: &World<'_>) {
        if !world.ring.covers(position) {
            self.catch_up(position, events, world);
            return;
        }
        let weight = |place: Place| world.ring.get(place.index()).map_or(0, |entry| entry.weight);
        let mut waiting = Waiting::default();
        let mut events = events.places.into_iter().peekable();
        let mut seen = position;
        for (place, entry) in world.ring.after(position).filter(|(_, entry)| !entry.is_event) {
            // Events keep their place among the commits.
            while let Some(event) = events.next_if(|event| event.index() < place) {
                waiting.push(event, weight(event));
            }
            seen = entry.number;
            let is_kept = events.next_if(|event| event.index() == place).is_some();
            if is_kept || self.wants(entry) {
                waiting.push(self.place(place, entry), entry.weight);
            }
        }
        for event in events {
            waiting.push(event, weight(event));
        }
        self.state = State::Live(Live { waiting, seen });
    }

    /// A commit at this place of the ring.
    fn place(&self, place: u64, entry: &Entry) -> Place {
        let is_lost_behind = entry.tells_only_events && self.mode == Mode::Latest;
        if is_lost_behind { Place::event(place) } else { Place::commit(place) }
    }

    fn wants(&self, entry: &Entry) -> bool {
        let is_own = self.no_local.is_some() && entry.publisher == self.no_local;
        let is_ignored =
            |change: &Change| self.events == Events::Ignore && matches!(change, Change::Event(_));
        let mut changes = entry.changes().iter();
        !is_own && changes.any(|change| !is_ignored(change) && self.filter.matches(change.topic()))
    }

    fn catch_up(&mut self, position: u64, events: Waiting, world: &World<'_>) {
        let source = match self.mode {
            Mode::Latest => {
                let tree = (world.tree)();
                if position < tree.floor() {
                    self.reset(ResetReason::TooOld, events, world);
                    return;
                }
                Source::Tree { scan: tree.changes_matching(&self.filter, position), until: tree.revision() }
            }
            Mode::Every => Source::Journal { passage: None, read_to: position, reading: false },
        };
        self.state = State::CatchUp(Box::new(CatchUp { source, events }));
    }

    fn reset(&mut self, reason: ResetReason, events: Waiting, world: &World<'_>) {
        self.state =
            State::Baseline(Box::new(Baseline::new(&self.filter, &(world.tree)(), Some(reason), events)));
    }

    /// The subscriber did not keep up with changes: the commits that wait are dropped, and told
    /// again from what was told last. Events stay.
    fn fall_behind(&mut self) {
        let events = match &mut self.state {
            State::Live(live) => std::mem::take(&mut live.waiting).into_events(),
            _ => Waiting::default(),
        };
        self.state = State::CatchUp(Box::new(CatchUp { source: Source::Unopened, events }));
    }
}

impl Baseline {
    fn new(filter: &Filter, tree: &Tree, reset: Option<ResetReason>, events: Waiting) -> Self {
        Self { reset, begun: false, at: tree.revision(), scan: tree.scan(filter.clone()), events }
    }
}

impl Place {
    fn commit(index: u64) -> Self {
        Self(index << 1)
    }

    fn event(index: u64) -> Self {
        Self(index << 1 | 1)
    }

    fn index(self) -> u64 {
        self.0 >> 1
    }

    fn is_event(self) -> bool {
        self.0 & 1 == 1
    }
}

impl Waiting {
    fn has_room(&self, weight: usize, limit: usize) -> bool {
        self.bytes + weight <= limit || self.places.is_empty()
    }

    fn push(&mut self, place: Place, weight: usize) {
        self.bytes += weight;
        if place.is_event() {
            self.event_bytes += weight;
        }
        self.places.push_back(place);
    }

    /// Takes the first place. [`Waiting::taken`] follows where its weight is known.
    fn pop(&mut self) -> Option<Place> {
        let place = self.places.pop_front();
        if self.places.is_empty() {
            (self.bytes, self.event_bytes) = (0, 0);
        }
        place
    }

    fn taken(&mut self, place: Place, weight: usize) {
        self.bytes = self.bytes.saturating_sub(weight);
        if place.is_event() {
            self.event_bytes = self.event_bytes.saturating_sub(weight);
        }
    }

    fn into_events(mut self) -> Self {
        self.places.retain(|place| place.is_event());
        Self { places: self.places, bytes: self.event_bytes, event_bytes: self.event_bytes }
    }
}

/// What a feed may be told: its filter and its rights, asked at delivery, and which events are still for it.
struct Sees<'a> {
    filter: &'a Filter,
    principal: &'a Principal,
    policy: &'a Policy,
    events: Events,
    clock: &'a Clock,
}

impl<'a> Sees<'a> {
    fn new(filter: &'a Filter, principal: &'a Principal, events: Events, world: &World<'a>) -> Self {
        Self { filter, principal, policy: world.policy, events, clock: world.clock }
    }

    /// Whether the change is of a kind that the feed tells, and not an event whose time is over.
    fn is_for_it(&self, change: &Change) -> bool {
        let Change::Event(event) = change else { return true };
        self.events != Events::Ignore && (event.expires_at.is_none() || !event.is_over(self.clock.now()))
    }

    fn sees_change(&self, change: &Change) -> bool {
        self.is_for_it(change) && self.sees(change.topic())
    }

    fn permits(&self, topic: &Topic) -> bool {
        self.policy.permits(self.principal, Demand::Read, topic)
    }

    fn sees(&self, topic: &Topic) -> bool {
        self.filter.matches(topic) && self.permits(topic)
    }

    /// What of an entry that the routes matched is to be told.
    fn of_entry(&self, entry: &Shared) -> Option<Body> {
        if let [only] = entry.changes() {
            let is_seen = self.is_for_it(only) && self.permits(only.topic());
            return is_seen.then(|| Body::Live(entry.clone(), None));
        }
        let picked: SmallVec<[u16; 4]> = (0u16..)
            .zip(entry.changes())
            .filter(|(_, change)| self.sees_change(change))
            .map(|(index, _)| index)
            .collect();
        match picked.len() {
            0 => None,
            all if all == entry.changes().len() => Some(Body::Live(entry.clone(), None)),
            _ => Some(Body::Live(entry.clone(), Some(picked))),
        }
    }
}

/// What reading the past came to.
enum Past {
    /// Changes of one revision.
    Changes(u64, SmallVec<[Change; 1]>),
    /// Nothing for this feed yet; there is more to look at.
    Nothing,
}

/// How many changes of others a feed looks at before others have a turn.
const LOOK_AT: usize = 4_096;

/// The next revision of a frozen tree that has something for the feed; `None` at its end.
fn next_states(scan: &mut ChangeScan, sees: &Sees<'_>) -> Option<Past> {
    let mut changes = SmallVec::new();
    for _ in 0..LOOK_AT {
        let state = scan.next()?;
        let revision = state.revision();
        if sees.sees(state.topic()) {
            changes.push(into_change(state));
        }
        while scan.peek().is_some_and(|next| next.revision() == revision) {
            changes.extend(scan.next().filter(|next| sees.sees(next.topic())).map(into_change));
        }
        if !changes.is_empty() {
            return Some(Past::Changes(revision, changes));
        }
    }
    Some(Past::Nothing)
}

/// The next commit that was read and has something for the feed; `None` when all are told.
fn next_commit(
    passage: &mut Option<Passage>,
    sees: &Sees<'_>,
    no_local: Option<PublisherId>,
) -> Option<Past> {
    for _ in 0..LOOK_AT {
        let Some(commit) = passage.as_mut()?.next() else {
            *passage = None;
            return None;
        };
        if no_local.is_some() && commit.publisher == no_local {
            continue;
        }
        let changes: SmallVec<_> =
            commit.changes.iter().filter(|change| sees.sees_change(change)).cloned().collect();
        if !changes.is_empty() {
            return Some(Past::Changes(commit.number, changes));
        }
    }
    Some(Past::Nothing)
}

/// The newest state of a resource as the change that made it.
pub(crate) fn into_change(state: Latest) -> Change {
    match state {
        Latest::Live(resource) => Change::Put(resource),
        Latest::Gone(tombstone) => Change::Delete(tombstone),
    }
}
