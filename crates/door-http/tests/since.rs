//! What changed after a position: boundaries, pages and long polls.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::rc::Rc;
use std::time::Duration;

use common::{World, script, with_everything};
use dovetail_api::decode::{Entry, Frame};
use dovetail_api::problem::ProblemType;
use dovetail_door_http::Settings;
use dovetail_engine::Options;
use dovetail_journal::memory::MemoryOptions;
use dovetail_model::Revision;

fn told(entries: &[Entry]) -> Vec<String> {
    let say = |entry: &Entry| {
        let sign = if entry.change.representation().is_some() { '+' } else { '-' };
        format!("{}{sign}{}", entry.number, entry.change.topic())
    };
    entries.iter().map(say).collect()
}

fn at(world: &World, number: u64) -> Revision {
    world.engine.head().epoch.at(number)
}

#[test]
fn latest_tells_each_resource_once_and_every_tells_it_all() {
    script(|world| async move {
        world.put("/a", "1").await;
        world.put("/b", "1").await;
        world.put("/a", "2").await;
        world.call("DELETE", "/b", &[], "").await;
        world.put("/c", "1").await;
        let start = at(&world, 0);
        let latest = world.get(&format!("/?since={start}")).await.changes();
        assert_eq!(told(&latest.changes), ["3+a", "4-b", "5+c"]);
        assert_eq!((latest.after, latest.rev, latest.more), (start, at(&world, 5), false));
        assert_eq!(&*latest.filter, "#");
        let every = world.get(&format!("/?since={start}&every")).await.changes();
        assert_eq!(told(&every.changes), ["1+a", "2+b", "3+a", "4-b", "5+c"]);
        let one = world.get(&format!("/b?since={start}&every=true")).await.changes();
        assert_eq!(told(&one.changes), ["2+b", "4-b"]);
        assert_eq!(one.rev, at(&world, 5), "the answer tells everything up to the head");
        let none = world.get(&format!("/x?since={start}")).await.changes();
        assert!(none.changes.is_empty());
        let lines = world
            .call("GET", &format!("/?since={start}&every"), &[("accept", "application/x-ndjson")], "")
            .await;
        let frames = lines.frames();
        assert_eq!(frames.len(), 6);
        let mut position = start;
        for frame in frames {
            match frame {
                Frame::Change { after, rev, .. } | Frame::Progress { after, rev } => {
                    assert_eq!(after, position);
                    position = rev;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(position, at(&world, 5));
    });
}

#[test]
fn every_boundary_has_its_answer() {
    let journal = MemoryOptions { history_bytes_max: 1, ..MemoryOptions::default() };
    with_everything(Settings::default(), Options::default(), journal, false, |world| async move {
        for value in ["1", "2", "3"] {
            world.put("/a", value).await;
        }
        let head = world.engine.head();
        let ask = |position: String, more: &'static str| {
            let world = Rc::clone(&world);
            async move { world.get(&format!("/a?since={position}{more}")).await }
        };
        // The journal holds the newest entry alone; what came after 1 and before it is gone.
        let old = ask(at(&world, 1).to_string(), "&every").await;
        assert_eq!(old.problem(ProblemType::PositionGone).rev, Some(head));
        assert_eq!(old.field("dovetail-revision"), head.to_string());
        let oldest = ask(at(&world, 2).to_string(), "&every").await.changes();
        assert_eq!(told(&oldest.changes), ["3+a"]);
        // The tree remembers further back.
        assert_eq!(told(&ask(at(&world, 0).to_string(), "").await.changes().changes), ["3+a"]);
        for mode in ["", "&every"] {
            let now = ask(head.to_string(), mode).await.changes();
            assert_eq!((now.changes.len(), now.rev, now.more), (0, head, false));
            let future = ask(at(&world, 4).to_string(), mode).await;
            assert_eq!(future.problem(ProblemType::PositionGone).rev, Some(head));
            let other = ask("k3f9x2ab.1".into(), mode).await;
            assert_eq!(other.problem(ProblemType::PositionGone).rev, Some(head));
            ask("3".into(), mode).await.problem(ProblemType::InvalidRevision);
        }
    });
}

#[test]
fn pages_compose_under_concurrent_writes() {
    script(|world| async move {
        for n in 0..30 {
            world.put(&format!("/p/{:02}", n % 10), &n.to_string()).await;
        }
        for mode in ["", "&every"] {
            let whole = world.get(&format!("/p/?since={}{mode}", at(&world, 0))).await.changes();
            let (mut position, mut all, mut rounds) = (at(&world, 0), Vec::new(), 0);
            while position.number < whole.rev.number {
                let page = world.get(&format!("/p/?since={position}&limit=4{mode}")).await.changes();
                assert_eq!(page.after, position);
                assert!(page.more || page.rev == world.engine.head());
                position = page.rev;
                all.extend(page.changes);
                if rounds == 2 {
                    world.put("/q", "elsewhere").await;
                }
                rounds += 1;
            }
            all.retain(|entry| entry.number <= whole.rev.number);
            assert_eq!(all, whole.changes, "{mode}");
            assert!(rounds > 2);
        }
    });
}

#[test]
fn a_long_poll_answers_when_something_happens() {
    script(|world| async move {
        let start = world.put("/a", "1").await;
        let poll = {
            let (world, start) = (Rc::clone(&world), start.clone());
            tokio::task::spawn_local(async move {
                world.get(&format!("/a?since={start}&wait=30s")).await.changes()
            })
        };
        while world.engine.counters().values().feeds == 0 {
            tokio::task::yield_now().await;
        }
        world.put("/b", "not for it").await;
        world.put("/a", "2").await;
        let changes = poll.await.unwrap();
        assert_eq!(told(&changes.changes), ["3+a"]);
        assert_eq!(changes.after.to_string(), start);
        // Something is there already: no waiting.
        let at_once = world.get(&format!("/a?since={start}&wait=30s")).await.changes();
        assert_eq!(told(&at_once.changes), ["3+a"]);
        assert_eq!(world.engine.counters().values().feeds, 0, "the feed of a poll ends with it");
    });
}

#[test]
fn a_long_poll_ends_empty_at_its_time_and_when_the_server_stops() {
    script(|world| async move {
        let start = world.put("/a", "1").await;
        world.put("/b", "2").await;
        tokio::time::pause();
        let began = tokio::time::Instant::now();
        let empty = world.get(&format!("/a?since={start}&wait=30s")).await.changes();
        assert!(empty.changes.is_empty());
        assert_eq!((empty.after.to_string(), empty.rev), (start.clone(), at(&world, 2)));
        assert!(began.elapsed() >= Duration::from_secs(30));
        tokio::time::resume();

        let poll = {
            let world = Rc::clone(&world);
            tokio::task::spawn_local(async move {
                world.get(&format!("/a?since={start}&wait=60s")).await.changes()
            })
        };
        while world.engine.counters().values().feeds == 0 {
            tokio::task::yield_now().await;
        }
        world.drain.begin();
        assert!(poll.await.unwrap().changes.is_empty());
    });
}

#[test]
fn what_happened_can_be_kept_by_caches_and_that_nothing_did_cannot() {
    script(|world| async move {
        let start = at(&world, 0);
        world.put("/a", "1").await;
        let url = format!("/?since={start}");
        let told = world.get(&url).await;
        assert_eq!(told.field("cache-control"), "max-age=5");
        assert_eq!(told.field("vary"), "accept, dovetail-min-revision");
        let tag = told.field("etag").to_owned();
        assert_eq!(tag, format!("\"{}\"", world.engine.head()));
        // Whoever asks the same gets the same, however they wait.
        for again in [url.clone(), format!("{url}&wait=30")] {
            let again = world.get(&again).await;
            assert_eq!((again.field("etag"), &again.body), (&*tag, &told.body));
        }
        let known = world.call("GET", &url, &[("if-none-match", &tag)], "").await;
        assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
        assert_eq!(known.field("etag"), tag);
        let lines = world.call("GET", &url, &[("accept", "application/x-ndjson")], "").await;
        assert_eq!(lines.field("etag"), format!("W/{tag}"));
        world.put("/a", "2").await;
        assert_eq!(world.call("GET", &url, &[("if-none-match", &tag)], "").await.status.as_u16(), 200);
        let nothing = world.get(&format!("/?since={}", world.engine.head())).await;
        assert_eq!(nothing.field("cache-control"), "no-store");
        let gone = world.get("/?since=zzzzzzzz.1").await;
        assert_eq!((gone.status.as_u16(), gone.field("cache-control")), (410, "no-store"));
    });
}

#[test]
fn long_polls_of_one_position_are_answered_alike() {
    script(|world| async move {
        world.put("/a", "1").await;
        let url = format!("/a?since={}&wait=30", world.engine.head());
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let (world, url) = (Rc::clone(&world), url.clone());
                tokio::task::spawn_local(async move { world.get(&url).await })
            })
            .collect();
        while world.engine.counters().values().feeds < 8 {
            tokio::task::yield_now().await;
        }
        world.put("/a", "2").await;
        let mut answers = Vec::new();
        for answer in waiting {
            let answer = answer.await.unwrap();
            assert_eq!(answer.field("cache-control"), "max-age=5");
            answers.push((answer.field("etag").to_owned(), answer.body.clone()));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
    });
}
