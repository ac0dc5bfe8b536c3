//! The loop on virtual time, over a transport that plays a script.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

use std::collections::VecDeque;
use std::time::Duration;

use dovetail_api::problem::{Problem, ProblemType};
use dovetail_model::Epoch;

use super::*;

/// What the server does next.
enum Act {
    /// Takes a connection that asks for this start.
    Accept(Start),
    /// Refuses one.
    Refuse(Start, Error),
    /// Says something.
    Say(Frame),
    /// Cuts the connection.
    Cut,
}

struct Script {
    acts: VecDeque<Act>,
    is_open: bool,
}

impl Transport for Script {
    async fn open(&mut self, start: Start) -> Result<(), Error> {
        assert!(!self.is_open, "opened twice");
        match self.acts.pop_front() {
            Some(Act::Accept(expected)) => {
                assert_eq!(start, expected);
                self.is_open = true;
                Ok(())
            }
            Some(Act::Refuse(expected, error)) => {
                assert_eq!(start, expected);
                Err(error)
            }
            _ => panic!("connected out of turn, from {start:?}"),
        }
    }

    async fn next(&mut self) -> Result<Frame, Error> {
        assert!(self.is_open, "read from a closed connection");
        match self.acts.pop_front() {
            Some(Act::Say(frame)) => Ok(frame),
            Some(Act::Cut) => Err(lost()),
            Some(Act::Accept(_) | Act::Refuse(..)) => panic!("stayed on a connection that is to be left"),
            None => std::future::pending().await,
        }
    }

    fn close(&mut self) {
        self.is_open = false;
    }
}

fn lost() -> Error {
    Error::Lost { address: "server:1".into(), source: None }
}

fn at(number: u64) -> Revision {
    Epoch::from_random(7).at(number)
}

fn elsewhere(number: u64) -> Revision {
    Epoch::from_random(8).at(number)
}

fn problem(kind: ProblemType, rev: Option<Revision>) -> Error {
    Error::Problem(Box::new(Problem { rev, ..Problem::new(kind, "") }))
}

fn change(after: u64, rev: u64) -> Act {
    Act::Say(Frame::Change { after: at(after), rev: at(rev), changes: Vec::new() })
}

fn baseline(rev: Revision) -> [Act; 2] {
    [Act::Say(Frame::BaselineBegin { rev }), Act::Say(Frame::BaselineEnd { rev })]
}

/// What a user is told, in short; `!` stands for an error that the watch cannot get over.
async fn told(start: Start, acts: impl IntoIterator<Item = Act>) -> (Vec<String>, Option<Revision>) {
    let mut follower = Follower {
        machine: Machine::new(start),
        transport: Script { acts: acts.into_iter().collect(), is_open: false },
        backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(1)),
        link: Link::Down { until: None },
    };
    let mut told = Vec::new();
    while !follower.transport.acts.is_empty() {
        told.push(match follower.next().await {
            Ok(Item::BaselineBegin(rev)) => format!("begin {}", rev.number),
            Ok(Item::Resource(resource)) => format!("resource {}", resource.topic),
            Ok(Item::BaselineEnd(rev)) => format!("end {}", rev.number),
            Ok(Item::Change { after, rev, .. }) => format!("change {} {}", after.number, rev.number),
            Ok(Item::Progress { after, rev }) => format!("progress {} {}", after.number, rev.number),
            Ok(Item::Reset { reason, .. }) => format!("reset {reason}"),
            Ok(Item::Interrupted(interruption)) => format!("interrupted {}", interruption.attempt),
            Err(error) => format!("! {error}"),
        });
    }
    (told, follower.machine.position())
}

#[tokio::test(start_paused = true)]
async fn a_cut_connection_goes_on_where_it_was() {
    let [begin, end] = baseline(at(5));
    let acts = [
        Act::Accept(Start::Baseline),
        begin,
        end,
        change(5, 6),
        Act::Cut,
        Act::Refuse(Start::After(at(6)), lost()),
        Act::Refuse(Start::After(at(6)), problem(ProblemType::Overloaded, None)),
        Act::Accept(Start::After(at(6))),
        change(6, 9),
        Act::Cut,
        Act::Accept(Start::After(at(9))),
        change(9, 10),
    ];
    let expected = [
        "begin 5",
        "end 5",
        "change 5 6",
        "interrupted 1",
        "interrupted 2",
        "interrupted 3",
        "change 6 9",
        "interrupted 1",
        "change 9 10",
    ];
    let (told, position) = told(Start::Baseline, acts).await;
    assert_eq!(told, expected);
    assert_eq!(position, Some(at(10)));
}

#[tokio::test(start_paused = true)]
async fn half_a_baseline_stands_for_nothing() {
    let [begin, _] = baseline(at(5));
    let [again, end] = baseline(at(7));
    let acts = [Act::Accept(Start::Baseline), begin, Act::Cut, Act::Accept(Start::Baseline), again, end];
    let (told, position) = told(Start::Baseline, acts).await;
    assert_eq!(told, ["begin 5", "interrupted 1", "begin 7", "end 7"]);
    assert_eq!(position, Some(at(7)));
}

#[tokio::test(start_paused = true)]
async fn gaps_and_repetitions_are_never_told() {
    for wrong in [change(6, 7), change(4, 6), Act::Say(Frame::Progress { after: at(4), rev: at(9) })] {
        let acts = [Act::Accept(Start::After(at(5))), wrong, Act::Accept(Start::After(at(5))), change(5, 7)];
        let (told, position) = told(Start::After(at(5)), acts).await;
        assert_eq!(told, ["interrupted 1", "change 5 7"]);
        assert_eq!(position, Some(at(7)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_that_is_gone_is_a_reset_and_a_baseline() {
    let [begin, end] = baseline(elsewhere(3));
    let acts = [
        Act::Refuse(Start::After(at(5)), problem(ProblemType::PositionGone, Some(elsewhere(3)))),
        Act::Accept(Start::Baseline),
        begin,
        end,
    ];
    let (told, position) = told(Start::After(at(5)), acts).await;
    assert_eq!(told, ["reset expired", "begin 3", "end 3"]);
    assert_eq!(position, Some(elsewhere(3)));
}

#[tokio::test(start_paused = true)]
async fn a_reset_in_the_feed_is_followed_on_the_same_connection() {
    let [begin, end] = baseline(elsewhere(3));
    let reset = Act::Say(Frame::Reset { rev: elsewhere(3), reason: "epoch".into() });
    let acts = [Act::Accept(Start::After(at(5))), reset, begin, end];
    let (told, position) = told(Start::After(at(5)), acts).await;
    assert_eq!(told, ["reset epoch", "begin 3", "end 3"]);
    assert_eq!(position, Some(elsewhere(3)));
}

#[tokio::test(start_paused = true)]
async fn a_reset_whose_baseline_is_cut_starts_over() {
    let [begin, end] = baseline(elsewhere(4));
    let reset = Act::Say(Frame::Reset { rev: elsewhere(3), reason: "epoch".into() });
    let acts = [Act::Accept(Start::After(at(5))), reset, Act::Cut, Act::Accept(Start::Baseline), begin, end];
    let (told, _) = told(Start::After(at(5)), acts).await;
    assert_eq!(told, ["reset epoch", "interrupted 1", "begin 4", "end 4"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_feed_is_an_interruption() {
    let end = Act::Say(Frame::End { reason: "shutdown".into() });
    let acts = [Act::Accept(Start::After(at(5))), end, Act::Accept(Start::After(at(5))), change(5, 6)];
    let (told, _) = told(Start::After(at(5)), acts).await;
    assert_eq!(told, ["interrupted 1", "change 5 6"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_will_not_pass_is_an_error() {
    let acts = [
        Act::Refuse(Start::Baseline, problem(ProblemType::Forbidden, None)),
        Act::Refuse(Start::Baseline, Error::Status { status: 404, retry_after: None }),
    ];
    let (told, _) = told(Start::Baseline, acts).await;
    assert_eq!(told, ["! Not allowed: ", "! an answer with status 404 that is not Dovetail's"]);
}

#[tokio::test(start_paused = true)]
async fn attempts_come_at_growing_distances() {
    let acts = (0..5).map(|_| Act::Refuse(Start::Baseline, lost()));
    let begin = Instant::now();
    let (told, _) = told(Start::Baseline, acts).await;
    assert_eq!(told.len(), 5);
    let waited = begin.elapsed();
    // 100, 200, 400 and 800 ms, each shortened by up to half.
    assert!((750..=1_504).contains(&waited.as_millis()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_is_not_forgotten() {
    let acts = [Act::Refuse(Start::Baseline, lost()), Act::Accept(Start::Baseline)];
    let mut follower = Follower {
        machine: Machine::new(Start::Baseline),
        transport: Script { acts: acts.into_iter().collect(), is_open: false },
        backoff: Backoff::new(Duration::from_secs(8), Duration::from_secs(8)),
        link: Link::Down { until: None },
    };
    assert!(matches!(follower.next().await, Ok(Item::Interrupted(_))));
    let cancelled = tokio::time::timeout(Duration::from_secs(1), follower.next()).await;
    assert!(cancelled.is_err() && !follower.transport.is_open, "connected before the delay was over");
    let waited = tokio::time::timeout(Duration::from_secs(20), follower.next()).await;
    assert!(waited.is_err() && follower.transport.is_open, "the script says nothing more");
}
