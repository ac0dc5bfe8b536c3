#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

use std::time::Duration;

use super::super::schedule::Cut;
use super::*;

/// Two resources, writes 0 and 1 make them. The updates, by number: 2 of resource 0 at 10, 3 of resource 1 at 20, 4 of
/// resource 0 at 30, 5 of resource 1 at 40. Watcher 0 is steady, watcher 1 comes back with fallback, watcher 2 without.
fn ledger() -> Ledger {
    let updates = [(0, 10), (1, 20), (0, 30), (1, 40)];
    let update = |&(resource, due)| Update { resource, due: Duration::from_nanos(due) };
    let cut = |with_fallback| Some(Cut { at: Duration::ZERO, back: Duration::ZERO, with_fallback });
    let schedule =
        Schedule { updates: updates.iter().map(update).collect(), cuts: vec![None, cut(true), cut(false)] };
    let mut ledger = Ledger::new(2, &schedule, false);
    assert_eq!(ledger.without_baseline(), 3);
    for watcher in 0..3 {
        for sequence in 0..2 {
            assert!(ledger.tell(watcher, sequence, 0).unwrap());
        }
    }
    assert_eq!(ledger.without_baseline(), 0);
    ledger
}

fn tell_all(ledger: &mut Ledger, watcher: usize, told: &[(u64, u64)]) {
    for &(sequence, now_ns) in told {
        ledger.tell(watcher, sequence, now_ns).unwrap();
    }
}

#[test]
fn an_update_is_late_until_it_or_a_newer_one_is_there() {
    for (told, latencies, staleness) in [
        (&[(2, 11), (3, 21), (4, 31), (5, 41)][..], &[1, 1, 1, 1][..], 1.0),
        // Skipped updates arrive with the newer one.
        (&[(4, 35), (5, 50)], &[25, 5, 30, 10], 17.5),
        // The same again adds nothing.
        (&[(4, 35), (4, 90), (1, 91)], &[25, 5], 42.5),
        // What has not come counts until the end.
        (&[], &[], 75.0),
    ] {
        let mut ledger = ledger();
        // The one with fallback is as late as the steady one, and the one without does not count.
        for watcher in 0..2 {
            tell_all(&mut ledger, watcher, told);
        }
        assert_eq!(ledger.latencies_ns(), latencies, "{told:?}");
        assert!(
            (ledger.staleness_ns(100) - staleness).abs() < 1e-9,
            "{told:?}: {}",
            ledger.staleness_ns(100)
        );
    }
}

#[test]
fn what_an_interruption_costs() {
    struct Case {
        before: &'static [(u64, u64)],
        /// Back and open.
        back: (u64, u64),
        after: &'static [(u64, u64)],
        missed: (u64, u64, u64),
        current_again_ns: Option<u64>,
    }
    for case in [
        // Everything is told afterwards.
        Case {
            before: &[(2, 11)],
            back: (32, 33),
            after: &[(3, 34), (4, 35), (5, 41)],
            missed: (2, 0, 0),
            current_again_ns: Some(3),
        },
        // Only the newest: the one between is skipped.
        Case {
            before: &[],
            back: (32, 33),
            after: &[(3, 34), (4, 35), (5, 41)],
            missed: (3, 1, 0),
            current_again_ns: Some(3),
        },
        // Live from the return: what nobody wrote again stays lost, what was written again is skipped.
        Case {
            before: &[(2, 11)],
            back: (32, 33),
            after: &[(5, 41)],
            missed: (2, 1, 1),
            current_again_ns: None,
        },
        // One that is due between the return and the answer to the watch is missed, too.
        Case {
            before: &[(2, 11), (3, 21)],
            back: (25, 45),
            after: &[],
            missed: (2, 0, 2),
            current_again_ns: Some(0),
        },
        // Nothing happened while it was away.
        Case {
            before: &[(2, 11), (3, 21)],
            back: (25, 26),
            after: &[(4, 31), (5, 41)],
            missed: (0, 0, 0),
            current_again_ns: Some(0),
        },
    ] {
        for (watcher, kind) in [(1, Kind::WithFallback), (2, Kind::WithoutFallback)] {
            let mut ledger = ledger();
            tell_all(&mut ledger, watcher, case.before);
            ledger.cut(watcher);
            ledger.back(watcher, case.back.0);
            ledger.open(watcher, case.back.1);
            tell_all(&mut ledger, watcher, case.after);
            let missed = ledger.missed(kind);
            assert_eq!(
                (missed.updates_in_outage, missed.skipped, missed.lost),
                case.missed,
                "{:?}",
                case.after
            );
            assert_eq!(missed.current_again_ns, case.current_again_ns.into_iter().collect::<Vec<_>>());
            assert_eq!(missed.never_current, usize::from(case.current_again_ns.is_none()));
            assert_eq!(ledger.is_current_again(watcher), case.current_again_ns.is_some());
            tell_all(&mut ledger, 0, &[(4, 50), (5, 50)]);
            let other = if watcher == 1 { 2 } else { 1 };
            tell_all(&mut ledger, other, &[(4, 50), (5, 50)]);
            assert_eq!(ledger.unexplained(), None);
        }
    }
}

#[test]
fn what_no_interruption_explains_is_found() {
    let mut ledger = ledger();
    for watcher in 0..3 {
        tell_all(&mut ledger, watcher, &[(2, 11), (3, 21), (4, 31)]);
    }
    assert_eq!(ledger.awaited(), 2, "the one without fallback is not waited for");
    tell_all(&mut ledger, 0, &[(5, 41)]);
    ledger.cut(1);
    ledger.back(1, 32);
    ledger.open(1, 33);
    assert_eq!(ledger.unexplained(), Some((1, 1)), "update 5 was due when watcher 1 watched again");
    tell_all(&mut ledger, 1, &[(5, 41)]);
    assert_eq!(ledger.awaited(), 0);
    assert_eq!(ledger.unexplained(), Some((2, 1)));
}

#[test]
fn what_cannot_be_is_an_error() {
    let mut ledger = ledger();
    assert!(ledger.tell(0, 6, 50).is_err(), "it was never sent");
    tell_all(&mut ledger, 0, &[(4, 31)]);
    assert!(ledger.tell(0, 2, 32).is_err(), "a steady watcher goes back in time");
    tell_all(&mut ledger, 1, &[(4, 31)]);
    assert!(!ledger.tell(1, 2, 32).unwrap(), "after a return things may be told again");
}

#[test]
fn a_way_that_asks_for_everything_has_fallbacks_only() {
    let cut = Some(Cut { at: Duration::ZERO, back: Duration::ZERO, with_fallback: false });
    let schedule = Schedule { updates: Vec::new(), cuts: vec![None, cut] };
    for (always, kind) in [(true, Kind::WithFallback), (false, Kind::WithoutFallback)] {
        let ledger = Ledger::new(1, &schedule, always);
        assert_eq!((ledger.kind(0), ledger.kind(1)), (Kind::Steady, kind));
    }
}
