//! Event streams: the baseline, what follows, resuming, and the end.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use common::{Stream, World, script, with_everything};
use dovetail_api::decode::Frame;
use dovetail_api::problem::ProblemType;
use dovetail_door_http::Settings;
use dovetail_engine::Options;
use dovetail_journal::memory::MemoryOptions;
use dovetail_model::{Change, Revision};

async fn stream(world: &World, path: &str, fields: &[(&str, &str)]) -> Stream {
    world.http1().await.stream(path, fields).await
}

/// What a client holds that keeps the rules and nothing else.
#[derive(Default)]
struct Copy {
    position: Option<Revision>,
    state: BTreeMap<String, String>,
    events: Vec<String>,
    resets: Vec<String>,
    last_id: String,
}

impl Copy {
    async fn take(&mut self, stream: &mut Stream) -> String {
        let (event, frame) = stream.next().await.expect("the stream ended");
        match frame {
            Frame::BaselineBegin { .. } => self.state.clear(),
            Frame::Item { resource, .. } => {
                let text = String::from_utf8(resource.representation.payload.to_vec()).unwrap();
                self.state.insert(resource.topic.to_string(), text);
                assert_eq!(*event.last_id, self.last_id, "an item is no place to resume from");
            }
            Frame::BaselineEnd { rev } => self.position = Some(rev),
            Frame::Change { after, rev, changes } => {
                assert_eq!(Some(after), self.position, "the chain is broken");
                self.position = Some(rev);
                for entry in changes {
                    self.apply(&entry.change);
                }
            }
            Frame::Progress { after, rev } => {
                assert!(self.position.is_none_or(|position| position == after), "the chain is broken");
                self.position = Some(rev);
            }
            Frame::Reset { reason, .. } => {
                self.resets.push(reason.into());
                self.position = None;
                assert_eq!(&*event.last_id, "");
            }
            Frame::End { .. } => {}
        }
        self.last_id = event.last_id.into();
        if let Some(position) = self.position {
            let id_is_position = self.last_id == position.to_string();
            assert!(id_is_position || &*event.name == "end", "{}: id {}", event.name, self.last_id);
        }
        event.name.into()
    }

    fn apply(&mut self, change: &Change) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        match change {
            Change::Put(resource) => {
                self.state.insert(resource.topic.to_string(), text(&resource.representation.payload));
            }
            Change::Delete(tombstone) => drop(self.state.remove(tombstone.topic.as_str())),
            Change::Event(event) => self.events.push(text(&event.representation.payload)),
        }
    }

    async fn until(&mut self, stream: &mut Stream, name: &str) {
        while self.take(stream).await != name {}
    }
}

#[test]
fn a_baseline_then_everything_after_it() {
    script(|world| async move {
        world.put("/a/1", "one").await;
        world.put("/b", "not for it").await;
        for version in [1, 2] {
            let client = if version == 1 { world.http1().await } else { world.http2().await };
            let mut stream = client.stream("/a/", &[]).await;
            let mut copy = Copy::default();
            assert_eq!(copy.take(&mut stream).await, "baseline-begin");
            assert_eq!(copy.take(&mut stream).await, "item");
            assert_eq!(copy.take(&mut stream).await, "sync");
            assert!((250..=5_000).contains(&stream.retry_ms().unwrap()));
            world.put("/a/2", "two").await;
            world.put("/b", "still not").await;
            world.call("DELETE", "/a/2", &[], "").await;
            world.publish("a/x", "boo").await;
            for _ in 0..3 {
                assert_eq!(copy.take(&mut stream).await, "change");
            }
            assert_eq!(copy.state, BTreeMap::from([("a/1".into(), "one".into())]));
            assert_eq!(copy.events, ["boo"]);
            assert_eq!(copy.position, Some(world.engine.head()));
        }
        // The server notices the end of a stream at the latest when it has something to say.
        while world.shared.requests().streams > 0 {
            world.put("/a/1", "one").await;
        }
    });
}

#[test]
fn one_resource_can_be_watched_before_it_exists() {
    script(|world| async move {
        let mut stream = stream(&world, "/lamp", &[]).await;
        let mut copy = Copy::default();
        copy.until(&mut stream, "sync").await;
        world.put("/lamp/below", "x").await;
        world.put("/lamp", "on").await;
        copy.until(&mut stream, "change").await;
        assert_eq!(copy.state, BTreeMap::from([("lamp".into(), "on".into())]));
    });
}

#[test]
fn a_batch_is_one_event() {
    script(|world| async move {
        let mut stream = stream(&world, "/", &[]).await;
        let mut copy = Copy::default();
        copy.until(&mut stream, "sync").await;
        let batch = r#"{"writes":[{"op":"put","path":"a","value":1},{"op":"put","path":"b","value":2}]}"#;
        world.call("POST", "/-/batch", &[("content-type", "application/json")], batch).await;
        copy.take(&mut stream).await;
        assert_eq!(copy.state.len(), 2);
    });
}

#[test]
fn no_payload_can_write_lines_of_its_own() {
    script(|world| async move {
        let evil = "x\n\nevent: reset\rdata: {}\r\n\r\nid: 1\u{2028}";
        let json = "{\r\n\"a\":\r1}\n\n";
        world.call("PUT", "/a", &[("content-type", "text/plain")], evil).await;
        world.call("PUT", "/j", &[("content-type", "application/json")], json).await;
        let mut stream = stream(&world, "/", &[]).await;
        let mut copy = Copy::default();
        copy.until(&mut stream, "sync").await;
        world.call("PUT", "/a", &[("content-type", "text/plain")], evil).await;
        copy.take(&mut stream).await;
        world.publish("e", evil).await;
        copy.take(&mut stream).await;
        assert_eq!(copy.state, BTreeMap::from([("a".into(), evil.into()), ("j".into(), json.into())]));
        assert_eq!(copy.events, [evil]);
        assert!(copy.resets.is_empty());
    });
}

#[test]
fn a_stream_resumes_where_it_was_cut() {
    script(|world| async move {
        world.put("/a", "1").await;
        let mut first = stream(&world, "/", &[]).await;
        let mut copy = Copy::default();
        copy.until(&mut first, "sync").await;
        drop(first);
        world.put("/b", "2").await;
        world.put("/b", "3").await;
        world.call("DELETE", "/a", &[], "").await;
        for query in ["/", "/?every"] {
            let id = copy.last_id.clone();
            let mut again = stream(&world, query, &[("last-event-id", &id)]).await;
            let mut resumed = Copy { position: copy.position, state: copy.state.clone(), ..Copy::default() };
            while resumed.position != Some(world.engine.head()) {
                resumed.take(&mut again).await;
            }
            assert_eq!(resumed.state, BTreeMap::from([("b".into(), "3".into())]), "{query}");
            assert!(resumed.resets.is_empty());
        }
        // The same with `since`, which `Last-Event-ID` goes before.
        let since = format!("/?since={}", copy.last_id);
        let mut again = stream(&world, &since, &[]).await;
        assert_eq!(copy.take(&mut again).await, "change");
        let mut newer = stream(&world, &since, &[("last-event-id", &world.engine.head().to_string())]).await;
        assert_eq!(newer.name().await, "progress");
        world
            .call("GET", "/?since=1", &[("accept", "text/event-stream")], "")
            .await
            .problem(ProblemType::InvalidRevision);
    });
}

#[test]
fn a_position_that_cannot_be_resumed_is_said_in_the_stream() {
    let journal = MemoryOptions { history_bytes_max: 1, ..MemoryOptions::default() };
    with_everything(Settings::default(), Options::default(), journal, false, |world| async move {
        for value in ["1", "2", "3"] {
            world.put("/a", value).await;
        }
        let head = world.engine.head();
        let table = [
            ("/", "k3f9x2ab.1".to_owned(), "epoch"),
            ("/", head.epoch.at(4).to_string(), "future"),
            ("/?every", head.epoch.at(1).to_string(), "expired"),
            ("/", "nonsense".to_owned(), "invalid"),
            ("/", "\u{e4}".to_owned(), "invalid"),
        ];
        for (path, id, reason) in table {
            let mut stream = stream(&world, path, &[("last-event-id", &id)]).await;
            let mut copy = Copy::default();
            assert_eq!(copy.take(&mut stream).await, "reset", "{id}");
            assert_eq!(copy.resets, [reason]);
            copy.until(&mut stream, "sync").await;
            assert_eq!(copy.state["a"], "3");
        }
    });
}

#[test]
fn silence_is_broken_by_progress() {
    script(|world| async move {
        world.put("/a", "1").await;
        let mut stream = stream(&world, "/a", &[]).await;
        let mut copy = Copy::default();
        copy.until(&mut stream, "sync").await;
        world.put("/b", "elsewhere").await;
        tokio::time::pause();
        for _ in 0..3 {
            let began = tokio::time::Instant::now();
            assert_eq!(copy.take(&mut stream).await, "progress");
            // To the millisecond of the timer.
            assert!(began.elapsed() < Duration::from_millis(15_010));
        }
        assert_eq!(copy.position, Some(world.engine.head()), "it covers what was not for this stream");
    });
}

#[test]
fn a_stream_ends_in_order_when_the_server_stops() {
    script(|world| async move {
        world.put("/a", "1").await;
        let mut stream = stream(&world, "/", &[]).await;
        let mut copy = Copy::default();
        copy.until(&mut stream, "sync").await;
        world.drain.begin();
        assert_eq!(copy.take(&mut stream).await, "end");
        assert_eq!(copy.last_id, world.engine.head().to_string(), "whoever comes back goes on from here");
        assert!(stream.next().await.is_none());
    });
}

#[test]
fn many_streams_and_many_writers_agree() {
    script(|world| async move {
        let readers: Vec<_> = (0..8)
            .map(|n| {
                let world = Rc::clone(&world);
                tokio::task::spawn_local(async move {
                    let path = if n % 2 == 0 { "/" } else { "/?every" };
                    let mut stream = stream(&world, path, &[]).await;
                    let mut copy = Copy::default();
                    while !copy.state.contains_key("done") {
                        copy.take(&mut stream).await;
                    }
                    copy.state
                })
            })
            .collect();
        let writers: Vec<_> = (0..4)
            .map(|n| {
                let world = Rc::clone(&world);
                tokio::task::spawn_local(async move {
                    let mut client = world.http1().await;
                    for round in 0..50 {
                        let path = format!("/k/{}", (n + round) % 10);
                        let method = if round % 7 == 6 { "DELETE" } else { "PUT" };
                        client.call(method, &path, &[], &format!("{n}.{round}")).await;
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        world.put("/done", "x").await;
        let truth: BTreeMap<_, _> = world
            .get("/")
            .await
            .collection()
            .items
            .iter()
            .map(|item| {
                (item.topic.to_string(), String::from_utf8_lossy(&item.representation.payload).into_owned())
            })
            .collect();
        for reader in readers {
            assert_eq!(reader.await.unwrap(), truth);
        }
    });
}
