//! A good feed passes; each rule has a feed that breaks it and nothing else.

use super::*;

const EPOCH: &str = "abcdefgh";

fn at(number: u64) -> Position {
    Position::new(EPOCH, number)
}

fn put(path: &str, number: u64) -> Change {
    Change { path: path.to_owned(), number, effect: Effect::Put(format!("{path}@{number}").into_bytes()) }
}

fn delete(path: &str, number: u64) -> Change {
    Change { path: path.to_owned(), number, effect: Effect::Delete }
}

/// 1: a/x, 2: a/y and b, 3: a/x again, 4: b, 5: a/y deleted, 6: a/x again.
fn log() -> Log {
    Log::of(
        EPOCH,
        vec![
            vec![put("a/x", 1)],
            vec![put("a/y", 2), put("b", 2)],
            vec![put("a/x", 3)],
            vec![put("b", 4)],
            vec![delete("a/y", 5)],
            vec![put("a/x", 6)],
        ],
    )
}

fn change(after: u64, rev: u64, changes: &[Change]) -> Frame {
    Frame::Change { after: at(after), rev: at(rev), changes: changes.to_vec() }
}

fn progress(after: u64, rev: u64) -> Frame {
    Frame::Progress { after: at(after), rev: at(rev) }
}

fn item(path: &str, number: u64) -> Frame {
    Frame::Item { path: path.to_owned(), rev: at(number), bytes: format!("{path}@{number}").into_bytes() }
}

fn begin(number: u64) -> Frame {
    Frame::BaselineBegin { rev: at(number) }
}

fn end(number: u64) -> Frame {
    Frame::BaselineEnd { rev: at(number) }
}

/// The state of `a/#` at 2.
fn baseline() -> Vec<Frame> {
    vec![begin(2), item("a/x", 1), item("a/y", 2), end(2)]
}

/// Runs the baseline and then `frames` on the filter `a/#`.
fn run(mode: Mode, frames: &[Frame]) -> Result<Validator, Violation> {
    let log = log();
    let mut validator = Validator::new("a/#", mode);
    for frame in baseline().iter().chain(frames) {
        validator.frame(&log, frame)?;
    }
    Ok(validator)
}

fn broken(mode: Mode, frames: &[Frame]) -> Violation {
    run(mode, frames).unwrap_err()
}

/// Runs only `frames`.
fn bare(frames: &[Frame]) -> Result<(), Violation> {
    let mut validator = Validator::new("a/#", Mode::Every);
    frames.iter().try_for_each(|frame| validator.frame(&log(), frame))
}

#[test]
fn a_good_feed_passes_in_both_modes() {
    let every = [
        change(2, 3, &[put("a/x", 3)]),
        progress(3, 4),
        change(4, 6, &[delete("a/y", 5), put("a/x", 6)]),
        progress(6, 6),
    ];
    for mode in [Mode::Every, Mode::Latest] {
        let validator = run(mode, &every).unwrap();
        assert_eq!(validator.finish(&log()), Ok(()));
        assert_eq!((validator.seen.baselines, validator.seen.changes, validator.seen.progress), (1, 2, 2));
    }
}

#[test]
fn latest_may_leave_out_what_a_later_change_replaces() {
    // One frame, in which a/x@3 was replaced by a/x@6.
    let whole = [change(2, 6, &[delete("a/y", 5), put("a/x", 6)])];
    let validator = run(Mode::Latest, &whole).unwrap();
    assert_eq!(validator.finish(&log()), Ok(()));
    assert_eq!(validator.seen.conflated, 1);
    // Two frames; the first leaves out a/x@3 because a/x@6 is on its way.
    let parts = [change(2, 5, &[delete("a/y", 5)]), change(5, 6, &[put("a/x", 6)])];
    assert_eq!(run(Mode::Latest, &parts).unwrap().finish(&log()), Ok(()));
    // On its way, but never arrived.
    let validator = run(Mode::Latest, &parts[..1]).unwrap();
    assert_eq!(validator.finish(&log()), Err(Violation::Missing { path: "a/x".to_owned(), number: 3 }));
    // The same in `every` is an omission.
    let missing = Violation::Missing { path: "a/x".to_owned(), number: 3 };
    assert_eq!(broken(Mode::Every, &whole), missing);
}

#[test]
fn a_feed_resumes_where_it_ended() {
    let mut validator = run(Mode::Every, &[change(2, 3, &[put("a/x", 3)]), Frame::End]).unwrap();
    assert_eq!(validator.frame(&log(), &progress(3, 4)), Err(Violation::AfterEnd));
    validator.reconnected();
    assert_eq!(validator.position(), Some(3));
    let rest = change(3, 6, &[delete("a/y", 5), put("a/x", 6)]);
    assert_eq!(validator.clone().frame(&log(), &rest), Ok(()));
    // Told again what it had: a gap backwards.
    let again = change(2, 3, &[put("a/x", 3)]);
    assert_eq!(validator.frame(&log(), &again), Err(Violation::Gap { position: 3, after: 2 }));

    let mut resumed = Validator::resumed(&log(), "a/#", Mode::Every, 3);
    assert_eq!(resumed.frame(&log(), &rest), Ok(()));
    assert_eq!(resumed.finish(&log()), Ok(()));
}

#[test]
fn half_a_baseline_is_forgotten_with_its_connection() {
    let log = log();
    let mut validator = Validator::new("a/#", Mode::Every);
    validator.frame(&log, &begin(1)).unwrap();
    validator.frame(&log, &item("a/x", 1)).unwrap();
    validator.reconnected();
    for frame in baseline() {
        validator.frame(&log, &frame).unwrap();
    }
    assert_eq!(validator.position(), Some(2));
}

#[test]
fn a_gap_is_found() {
    let jump = change(3, 6, &[delete("a/y", 5), put("a/x", 6)]);
    assert_eq!(broken(Mode::Every, std::slice::from_ref(&jump)), Violation::Gap { position: 2, after: 3 });
    assert_eq!(broken(Mode::Latest, &[jump]), Violation::Gap { position: 2, after: 3 });
    assert_eq!(broken(Mode::Every, &[progress(3, 4)]), Violation::Gap { position: 2, after: 3 });
}

#[test]
fn a_frame_may_not_go_back_or_beyond_what_happened() {
    assert!(matches!(broken(Mode::Every, &[progress(2, 1)]), Violation::Range { rev: 1, .. }));
    assert!(matches!(broken(Mode::Latest, &[progress(2, 7)]), Violation::Range { rev: 7, head: 6, .. }));
}

#[test]
fn one_revision_is_not_split_over_two_frames() {
    let mut validator = Validator::resumed(&log(), "#", Mode::Every, 1);
    let first = change(1, 2, &[put("a/y", 2)]);
    assert_eq!(validator.frame(&log(), &first), Err(Violation::Missing { path: "b".to_owned(), number: 2 }));
}

#[test]
fn what_was_told_twice_or_out_of_order_is_found() {
    let twice = [change(2, 3, &[put("a/x", 3), put("a/x", 3)])];
    let untrue = Violation::Untrue { path: "a/x".to_owned(), number: 3 };
    assert_eq!(broken(Mode::Every, &twice), untrue);
    assert_eq!(broken(Mode::Latest, &twice), untrue);
    let turned = [change(2, 6, &[put("a/x", 6), delete("a/y", 5)])];
    assert_eq!(broken(Mode::Latest, &turned), Violation::Untrue { path: "a/y".to_owned(), number: 5 });
}

#[test]
fn wrong_bytes_are_found() {
    let mut wrong = put("a/x", 3);
    wrong.effect = Effect::Put(b"a/x@6".to_vec());
    let untrue = Violation::Untrue { path: "a/x".to_owned(), number: 3 };
    for mode in [Mode::Every, Mode::Latest] {
        assert_eq!(broken(mode, &[change(2, 3, std::slice::from_ref(&wrong))]), untrue);
    }
}

#[test]
fn what_does_not_match_the_filter_may_not_be_told() {
    let foreign = [change(2, 4, &[put("a/x", 3), put("b", 4)])];
    for mode in [Mode::Every, Mode::Latest] {
        assert_eq!(broken(mode, &foreign), Violation::Untrue { path: "b".to_owned(), number: 4 });
    }
}

#[test]
fn a_delete_that_is_not_told_is_found() {
    let silent = [change(2, 6, &[put("a/x", 6)])];
    let missing = Violation::Missing { path: "a/y".to_owned(), number: 5 };
    assert_eq!(broken(Mode::Latest, &silent), missing);
    let every = [change(2, 6, &[put("a/x", 3), put("a/x", 6)])];
    assert_eq!(broken(Mode::Every, &every), missing);
}

#[test]
fn progress_that_overtakes_is_found() {
    let overtaken = |rev, number, path: &str| Violation::Overtaken { rev, path: path.to_owned(), number };
    assert_eq!(broken(Mode::Every, &[progress(2, 4)]), overtaken(4, 3, "a/x"));
    let told = change(2, 3, &[put("a/x", 3)]);
    assert_eq!(broken(Mode::Latest, &[told, progress(3, 5)]), overtaken(5, 5, "a/y"));
}

#[test]
fn a_change_needs_a_baseline_and_a_reset_takes_it_back() {
    let told = change(2, 3, &[put("a/x", 3)]);
    assert_eq!(bare(std::slice::from_ref(&told)), Err(Violation::NoBaseline));
    assert_eq!(broken(Mode::Every, &[Frame::Reset, told.clone()]), Violation::NoBaseline);
    let mut again = vec![Frame::Reset];
    again.extend(baseline());
    again.push(told);
    assert_eq!(run(Mode::Every, &again).unwrap().seen.resets, 1);
}

#[test]
fn a_baseline_is_the_state_and_nothing_else() {
    let replica = |path: &str| Err(Violation::Replica(path.to_owned()));
    assert_eq!(bare(&[begin(2), item("a/x", 1), end(2)]), replica("a/y"));
    assert_eq!(bare(&[begin(2), item("a/x", 1), item("a/y", 2), item("b", 2), end(2)]), replica("b"));
    assert_eq!(bare(&[begin(3), item("a/x", 1), item("a/y", 2), end(3)]), replica("a/x"));
    let twice = bare(&[begin(2), item("a/x", 1), item("a/x", 1)]);
    assert_eq!(twice, Err(Violation::Untrue { path: "a/x".to_owned(), number: 1 }));
    assert_eq!(bare(&[begin(2), end(3)]), Err(Violation::Gap { position: 2, after: 3 }));
    assert_eq!(bare(&[end(2)]), Err(Violation::Misplaced));
    assert_eq!(bare(&[item("a/x", 1)]), Err(Violation::Misplaced));
    assert_eq!(broken(Mode::Every, &[begin(2)]), Violation::Misplaced);
}

#[test]
fn another_epoch_is_found() {
    let other = Frame::Progress { after: Position::new("other000", 2), rev: Position::new("other000", 2) };
    assert_eq!(broken(Mode::Every, &[other]), Violation::Epoch("other000".to_owned()));
}

#[test]
fn a_feed_that_stays_behind_is_found_at_the_end() {
    let validator = run(Mode::Every, &[change(2, 3, &[put("a/x", 3)])]).unwrap();
    assert_eq!(validator.finish(&log()), Err(Violation::Behind { position: Some(3), head: 6 }));
    let validator = Validator::new("a/#", Mode::Every);
    assert_eq!(validator.finish(&log()), Err(Violation::Behind { position: None, head: 6 }));
    // What follows is none of its business.
    let validator = Validator::resumed(&log(), "b", Mode::Every, 4);
    assert_eq!(validator.finish(&log()), Ok(()));
}
