#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
use bytes::Bytes;
use dovetail_mqtt_proto::{PropertiesBuf, Property};
use proptest::prelude::*;

use super::*;

fn epochs() -> impl Strategy<Value = Epoch> {
    any::<u64>().prop_map(Epoch::from_random)
}

fn topics() -> impl Strategy<Value = Topic> {
    "[a-zé$]{1,9}(/[a-z ]{0,5}){0,3}".prop_map(|name| Topic::new(&name).unwrap())
}

fn places() -> impl Strategy<Value = Place> {
    any::<(Option<u64>, Option<(u64, u16)>, bool)>().prop_map(|(told, within, refresh)| Place {
        told,
        within,
        refresh,
    })
}

fn options() -> impl Strategy<Value = SubscribeOptions> {
    (0..3u8, any::<(bool, bool)>(), 0..3usize).prop_map(|(qos, (no_local, retain_as_published), handling)| {
        SubscribeOptions {
            qos: Qos::from_bits(qos).unwrap(),
            no_local,
            retain_as_published,
            retain_handling: [RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend]
                [handling],
        }
    })
}

fn whats() -> impl Strategy<Value = What> {
    prop_oneof![
        any::<(u64, u64, u64)>().prop_map(|(after, rev, digest)| What::Change { after, rev, digest }),
        (any::<u64>(), topics()).prop_map(|(rev, topic)| What::Resource { rev, topic }),
        any::<u64>().prop_map(What::Begin),
        any::<u64>().prop_map(What::Synced),
        any::<(u64, u64)>().prop_map(|(after, rev)| What::Progress { after, rev }),
        Just(What::Nowhere),
    ]
}

fn flights() -> impl Strategy<Value = Flight> {
    (1..=u16::MAX, 0..3usize, any::<u32>(), any::<bool>(), whats()).prop_map(
        |(id, stage, subscription, retain, what)| Flight {
            id: PacketId::new(id).unwrap(),
            stage: [Stage::PubAck, Stage::PubRec, Stage::PubComp][stage],
            subscription,
            retain,
            what,
        },
    )
}

proptest! {
    #[test]
    fn a_root_round_trips(expiry: u32, ended_at: Option<u64>) {
        let root = Root { expiry, ended_at };
        prop_assert_eq!(Root::decode(&root.encode()), Ok(root));
    }

    #[test]
    fn a_subscription_round_trips(
        filter in "\\PC{0,20}",
        options in options(),
        identifier in proptest::option::of(1..268_435_456u32),
        kind in 0..3usize,
        place in places(),
        epoch in epochs(),
    ) {
        let kind = [Kind::Plain, Kind::Tracked, Kind::Frames][kind];
        let subscribed = Subscribed { filter: filter.into(), options, identifier, kind, place, epoch };
        prop_assert_eq!(Subscribed::decode(&subscribed.encode()), Ok(subscribed));
    }

    #[test]
    fn a_flow_round_trips(
        epoch in epochs(),
        next: u32,
        base: u64,
        others in proptest::collection::vec((any::<u32>(), places()), 0..9),
        flights in proptest::collection::vec(flights(), 0..9),
    ) {
        let flow = Flow { epoch, next, base, others, flights };
        prop_assert_eq!(Flow::decode(&flow.encode()), Ok(flow));
    }

    #[test]
    fn garbage_is_damage_and_no_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Some(first) = bytes.first_mut() {
            *first %= 3;
        }
        let _ = Root::decode(&bytes);
        let _ = Subscribed::decode(&bytes);
        let _ = Flow::decode(&bytes);
        let _ = LastWill::decode(&bytes);
    }

    #[test]
    fn a_cut_record_is_damage(flights in proptest::collection::vec(flights(), 1..4), cut: prop::sample::Index) {
        let epoch = Epoch::from_random(1);
        let bytes = Flow { epoch, next: 1, base: 7, others: Vec::new(), flights }.encode();
        prop_assert_eq!(Flow::decode(&bytes[..cut.index(bytes.len())]), Err(Damaged));
    }
}

#[test]
fn a_will_round_trips() {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::WillDelay(7)).unwrap().push(Property::User("a", "b")).unwrap();
    let will = Will {
        qos: Qos::ExactlyOnce,
        retain: true,
        properties: properties.into(),
        topic: Text::new("a/b").unwrap(),
        payload: Bytes::from_static(b"gone"),
    };
    let last = LastWill { will };
    assert_eq!(last.delay(), 7);
    assert_eq!(LastWill::decode(&last.encode()), Ok(last));
    assert_eq!(LastWill::decode(&[VERSION]), Err(Damaged));
}

#[test]
fn a_place_is_that_of_most_unless_said_otherwise() {
    let others = vec![(1, Place::BASELINE), (4, Place::up_to(3))];
    let flow = Flow { epoch: Epoch::from_random(1), next: 5, base: 9, others, flights: Vec::new() };
    let table = [
        (0, Some(Place::up_to(9))),
        (1, Some(Place::BASELINE)),
        (4, Some(Place::up_to(3))),
        (5, None),
        (6, None),
    ];
    for (number, expected) in table {
        assert_eq!(flow.place(number), expected, "{number}");
    }
}
