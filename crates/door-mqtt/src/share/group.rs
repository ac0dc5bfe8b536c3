//! Who of a group gets which message: pure, so that every order of things can be tried.
//!
//! A message is in one place at a time: it waits, or one member holds it, until that member has it or has refused it. What a
//! member held that leaves waits again, at its old place before everything newer, except what was sent to it with `QoS` 2:
//! nobody else may get that `[MQTT-4.8.2-5]`.

use std::collections::BTreeMap;

/// Messages that a member may hold without having been sent them: it does not take bytes, or its window is full.
const UNSENT_MAX: usize = 8;

/// Names a member of any group. Never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct MemberId(pub(crate) u64);

/// The place of a message in the order of its group.
pub(crate) type Serial = u64;

/// The members of a group, and the messages that are not done.
#[derive(Debug)]
pub(crate) struct Group<M> {
    /// In the order in which they joined.
    members: Vec<Member<M>>,
    /// Whose turn it is.
    next: usize,
    /// Messages to be handed out.
    waiting: BTreeMap<Serial, M>,
    next_serial: Serial,
}

#[derive(Debug)]
struct Member<M> {
    id: MemberId,
    /// How many messages it may hold.
    capacity: usize,
    held: BTreeMap<Serial, Held<M>>,
    /// How many of these it was not sent.
    unsent: usize,
    /// It has given its subscription up, and only ends what was sent to it `[MQTT-3.10.4-6]`.
    is_leaving: bool,
}

#[derive(Debug)]
struct Held<M> {
    message: M,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Unsent,
    /// Somebody else may get it when the member is gone.
    Sent,
    /// Nobody else may get it.
    SentForGood,
}

/// What there is to hand out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn<M> {
    /// This message is for that member.
    For(MemberId, Serial, M),
    /// No message waits, and somebody has room for one.
    Nothing,
    /// Nobody has room.
    Full,
}

impl<M: Clone> Group<M> {
    pub(crate) fn new() -> Self {
        Self { members: Vec::new(), next: 0, waiting: BTreeMap::new(), next_serial: 0 }
    }

    /// Somebody joins who may hold so many messages, at least one.
    pub(crate) fn join(&mut self, id: MemberId, capacity: usize) {
        let capacity = capacity.max(1);
        let (held, unsent, is_leaving) = (BTreeMap::new(), 0, false);
        self.members.push(Member { id, capacity, held, unsent, is_leaving });
    }

    /// Whether nobody is there to hand a message to.
    pub(crate) fn is_deserted(&self) -> bool {
        self.members.iter().all(|member| member.is_leaving)
    }

    /// Whether messages are to be handed out.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A new message, after all others.
    pub(crate) fn offer(&mut self, message: M) {
        self.waiting.insert(self.next_serial, message);
        self.next_serial += 1;
    }

    /// Gives the first waiting message to the next member that has room and may have it. One that no member may have is
    /// dropped, once there are members.
    pub(crate) fn turn(&mut self, may: impl Fn(MemberId, &M) -> bool) -> Turn<M> {
        let is_deserted = self.is_deserted();
        while let Some(first) = self.waiting.first_entry() {
            let count = self.members.len();
            let order = (0..count).map(|step| (self.next + step) % count);
            let mut allowed = order.filter(|index| {
                let member = &self.members[*index];
                !member.is_leaving && may(member.id, first.get())
            });
            let mut is_for_somebody = false;
            let found = allowed.find(|index| {
                is_for_somebody = true;
                self.members[*index].has_room()
            });
            match found {
                Some(index) => {
                    let (serial, message) = first.remove_entry();
                    self.next = index + 1;
                    let member = &mut self.members[index];
                    member.unsent += 1;
                    member.held.insert(serial, Held { message: message.clone(), state: State::Unsent });
                    return Turn::For(member.id, serial, message);
                }
                None if is_for_somebody || is_deserted => return Turn::Full,
                None => drop(first.remove()),
            }
        }
        if self.members.iter().any(Member::has_room) { Turn::Nothing } else { Turn::Full }
    }

    /// A message was sent to its member; with `for_good`, nobody else may get it.
    pub(crate) fn sent(&mut self, id: MemberId, serial: Serial, for_good: bool) {
        let Some(member) = self.member(id) else { return };
        let Some(held) = member.held.get_mut(&serial) else { return };
        if held.state == State::Unsent {
            member.unsent -= 1;
        }
        held.state = if for_good { State::SentForGood } else { State::Sent };
    }

    /// A message is done: its member has it, or has refused it `[MQTT-4.8.2-6]`.
    pub(crate) fn done(&mut self, id: MemberId, serial: Serial) {
        let Some(member) = self.member(id) else { return };
        if let Some(Held { state: State::Unsent, .. }) = member.held.remove(&serial) {
            member.unsent -= 1;
        }
        if member.is_leaving && member.held.is_empty() {
            self.remove(id);
        }
    }

    /// A member gives its subscription up: it gets nothing more, and what it was sent it may still end.
    pub(crate) fn retire(&mut self, id: MemberId) {
        self.take_back(id, |state| state == State::Unsent);
        let Some(member) = self.member(id) else { return };
        (member.is_leaving, member.unsent) = (true, 0);
        if member.held.is_empty() {
            self.remove(id);
        }
    }

    /// A member is gone. What it held others get, except what was sent for good.
    pub(crate) fn leave(&mut self, id: MemberId) {
        self.take_back(id, |state| state != State::SentForGood);
        self.remove(id);
    }

    /// Everything that is not done.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = &M> {
        let held = self.members.iter().flat_map(|member| member.held.values().map(|held| &held.message));
        self.waiting.values().chain(held)
    }

    fn take_back(&mut self, id: MemberId, is_free: impl Fn(State) -> bool) {
        let Self { members, waiting, .. } = self;
        let Some(member) = members.iter_mut().find(|member| member.id == id) else { return };
        let (free, kept) =
            std::mem::take(&mut member.held).into_iter().partition(|(_, held)| is_free(held.state));
        member.held = kept;
        let free: BTreeMap<Serial, Held<M>> = free;
        waiting.extend(free.into_iter().map(|(serial, held)| (serial, held.message)));
    }

    fn remove(&mut self, id: MemberId) {
        let Some(index) = self.members.iter().position(|member| member.id == id) else { return };
        self.members.remove(index);
        // Whoever was next still is.
        if index < self.next {
            self.next -= 1;
        }
    }

    fn member(&mut self, id: MemberId) -> Option<&mut Member<M>> {
        self.members.iter_mut().find(|member| member.id == id)
    }
}

impl<M> Member<M> {
    fn has_room(&self) -> bool {
        !self.is_leaving && self.held.len() < self.capacity && self.unsent < UNSENT_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);
    const C: MemberId = MemberId(3);

    fn group(members: &[MemberId], messages: u64) -> Group<u64> {
        let mut group = Group::new();
        for id in members {
            group.join(*id, 4);
        }
        (0..messages).for_each(|message| group.offer(message));
        group
    }

    /// Hands out all that can be handed out.
    fn hand_out(group: &mut Group<u64>) -> Vec<(MemberId, u64)> {
        let mut handed = Vec::new();
        while let Turn::For(id, serial, message) = group.turn(|_, _| true) {
            assert_eq!(serial, message);
            handed.push((id, message));
        }
        handed
    }

    #[test]
    fn members_take_turns_as_long_as_they_have_room() {
        let mut group = group(&[A, B, C], 6);
        assert_eq!(hand_out(&mut group), [(A, 0), (B, 1), (C, 2), (A, 3), (B, 4), (C, 5)]);
        assert_eq!(group.turn(|_, _| true), Turn::Nothing);
        (6..14).for_each(|message| group.offer(message));
        assert_eq!(hand_out(&mut group).len(), 6, "four each");
        assert_eq!(group.turn(|_, _| true), Turn::Full);
        group.sent(B, 1, false);
        assert_eq!(group.turn(|_, _| true), Turn::Full, "sent is not done");
        group.done(B, 1);
        assert_eq!(hand_out(&mut group), [(B, 12)]);
    }

    #[test]
    fn who_does_not_take_what_it_holds_gets_little_more() {
        let mut group = group(&[], 0);
        group.join(A, 100);
        (0..50).for_each(|message| group.offer(message));
        assert_eq!(hand_out(&mut group).len(), UNSENT_MAX);
        group.sent(A, 0, false);
        assert_eq!(hand_out(&mut group), [(A, 8)]);
    }

    #[test]
    fn what_a_member_held_comes_before_what_is_newer() {
        let mut group = group(&[A, B], 7);
        hand_out(&mut group);
        group.offer(7);
        group.done(B, 1);
        group.sent(A, 0, false);
        group.leave(A);
        // A held 0, 2, 4 and 6, B 1, 3 and 5.
        assert_eq!(hand_out(&mut group), [(B, 0), (B, 2)]);
        group.done(B, 3);
        assert_eq!(hand_out(&mut group), [(B, 4)]);
    }

    #[test]
    fn what_was_sent_for_good_goes_with_its_member() {
        let mut group = group(&[A, B], 4);
        hand_out(&mut group);
        group.sent(A, 0, true);
        group.sent(A, 2, false);
        group.leave(A);
        assert_eq!(hand_out(&mut group), [(B, 2)]);
        assert_eq!(group.unfinished().count(), 3);
    }

    #[test]
    fn who_gives_its_subscription_up_ends_what_it_was_sent() {
        let mut group = group(&[A, B], 4);
        hand_out(&mut group);
        group.sent(A, 0, false);
        group.retire(A);
        assert_eq!(hand_out(&mut group), [(B, 2)]);
        assert!(!group.is_deserted());
        group.retire(B);
        assert!(group.is_deserted());
        group.done(A, 0);
        assert_eq!((group.members.len(), group.unfinished().count()), (0, 3));
    }

    #[test]
    fn a_message_goes_only_to_who_may_have_it() {
        let mut group = group(&[A, B], 2);
        assert_eq!(group.turn(|id, _| id == B), Turn::For(B, 0, 0));
        assert_eq!(group.turn(|_, _| false), Turn::Nothing, "nobody may have it: it is dropped");
        let mut group = self::group(&[], 1);
        assert_eq!(group.turn(|_, _| false), Turn::Full, "without members it waits");
        assert_eq!(group.unfinished().count(), 1);
    }

    #[derive(Clone, Debug)]
    enum Act {
        Join(usize),
        Offer,
        HandOut,
        Send(usize, bool),
        Done(usize),
        Retire(usize),
        Leave(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        let number = any::<usize>();
        prop_oneof![
            2 => (1..12_usize).prop_map(Act::Join),
            6 => Just(Act::Offer),
            6 => Just(Act::HandOut),
            4 => (number, any::<bool>()).prop_map(|(index, for_good)| Act::Send(index, for_good)),
            5 => number.prop_map(Act::Done),
            1 => number.prop_map(Act::Retire),
            1 => number.prop_map(Act::Leave),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order, each message is in one place, and every member gets its messages in order
        /// except those that somebody else had before.
        #[test]
        fn no_message_is_lost_and_none_is_in_two_places(acts in prop::collection::vec(act(), 1..200)) {
            let mut group = Group::new();
            let mut members: Vec<(MemberId, bool)> = Vec::new();
            // Where each message is: with whom, and whether it was sent, for good.
            let mut with: BTreeMap<u64, (MemberId, Option<bool>)> = BTreeMap::new();
            let (mut offered, mut over) = (0, BTreeSet::new());
            for (step, act) in (1..).zip(acts) {
                match act {
                    Act::Join(capacity) => {
                        group.join(MemberId(step), capacity);
                        members.push((MemberId(step), false));
                    }
                    Act::Offer => {
                        group.offer(offered);
                        offered += 1;
                    }
                    Act::HandOut => while let Turn::For(id, _, message) = group.turn(|_, _| true) {
                        prop_assert!(members.contains(&(id, false)), "{id:?} is not there");
                        prop_assert!(!over.contains(&message), "{message} was done");
                        let older = (0..message).find(|m| !over.contains(m) && !with.contains_key(m));
                        prop_assert_eq!(older, None, "an older one waits");
                        prop_assert!(with.insert(message, (id, None)).is_none(), "{message} is with somebody");
                    },
                    Act::Send(index, for_good) if !with.is_empty() => {
                        let Some((message, (id, sent))) = with.iter_mut().nth(index % 8) else { continue };
                        group.sent(*id, *message, for_good);
                        *sent = Some(for_good);
                    }
                    Act::Done(index) if !with.is_empty() => {
                        let Some((message, (id, _))) = with.iter().nth(index % 8) else { continue };
                        let (message, id) = (*message, *id);
                        group.done(id, message);
                        with.remove(&message);
                        over.insert(message);
                    }
                    Act::Retire(index) | Act::Leave(index) if !members.is_empty() => {
                        let at = index % members.len();
                        let id = members[at].0;
                        let leaves = matches!(act, Act::Leave(_));
                        if leaves { group.leave(id) } else { group.retire(id) }
                        for (message, (_, sent)) in with.iter().filter(|(_, (holder, _))| *holder == id) {
                            if leaves && *sent == Some(true) { over.insert(*message); }
                        }
                        with.retain(|_, (holder, sent)| *holder != id || (!leaves && sent.is_some()));
                        if leaves { members.remove(at); } else { members[at].1 = true; }
                    }
                    Act::Send(..) | Act::Done(_) | Act::Retire(_) | Act::Leave(_) => {}
                }
                let unfinished: BTreeSet<u64> = group.unfinished().copied().collect();
                let expected: BTreeSet<u64> = (0..offered).filter(|message| !over.contains(message)).collect();
                prop_assert_eq!(unfinished, expected);
                prop_assert_eq!(group.unfinished().count(), (offered as usize) - over.len());
                prop_assert_eq!(group.is_deserted(), members.iter().all(|(_, leaving)| *leaving));
            }
        }
    }
}
