//! Connections that are carried by requests.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::rc::Rc;

use common::{HANDSHAKE, Reply, World, invocation, pass, said, script, stream, with};
use dovetail_door_signalr::Options;
use serde_json::{Value, json};

/// A connection that polls now here, now there.
struct Polling {
    world: Rc<World>,
    target: String,
    turn: usize,
}

impl Polling {
    async fn begin(world: &Rc<World>) -> Self {
        let target = format!("?id={}", world.negotiate("").await);
        let mut polling = Self { world: Rc::clone(world), target, turn: 0 };
        let first = polling.poll().await;
        assert_eq!((first.status, first.body.len()), (200, 0));
        polling.send(HANDSHAKE).await;
        assert_eq!(polling.poll().await.messages(), [json!({})]);
        polling
    }

    async fn send(&mut self, text: &str) {
        self.turn += 1;
        let reply = self.world.ask(self.turn % 2, "POST", &self.target, text.to_owned()).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    async fn poll(&mut self) -> Reply {
        self.turn += 1;
        self.world.ask(self.turn % 2, "GET", &self.target, "").await
    }

    /// Polls until something satisfies `is_it`.
    async fn find(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let reply = self.poll().await;
            assert_eq!(reply.status, 200, "{reply:?}");
            if let Some(found) = reply.messages().into_iter().find(|message| is_it(message)) {
                return found;
            }
        }
    }
}

#[test]
fn polls_and_posts_may_come_on_any_shard() {
    script(|world| async move {
        let mut polling = Polling::begin(&world).await;
        polling.send(&said(&stream("w", "Watch", json!(["a"])))).await;
        let mut expected = 0;
        polling.find(|message| message["item"]["type"] == "baseline-end").await;
        for n in 0..40 {
            polling.send(&said(&invocation(&n.to_string(), "Put", json!(["a", n])))).await;
        }
        while expected < 40 {
            for message in polling.poll().await.messages() {
                for change in message["item"]["changes"].as_array().into_iter().flatten() {
                    // The newest state may be told for several.
                    expected = change["value"].as_u64().unwrap() + 1;
                }
            }
        }
        // DELETE ends the poll that waits, and the connection.
        let waiting = {
            let (world, target) = (Rc::clone(&world), polling.target.clone());
            tokio::task::spawn_local(async move { world.ask(0, "GET", &target, "").await })
        };
        tokio::task::yield_now().await;
        assert_eq!(world.ask(1, "DELETE", &polling.target, "").await.status, 202);
        loop {
            // What was said before it came is told first.
            if waiting.is_finished() {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!([200, 204].contains(&waiting.await.unwrap().status));
        world.until(|world| world.counts().polling == 0).await;
        assert_eq!(polling.poll().await.status, 404);
        assert_eq!(world.engine.counters().values().feeds, 0);
    });
}

#[test]
fn a_poll_takes_the_place_of_another_and_loses_nothing() {
    script(|world| async move {
        let mut polling = Polling::begin(&world).await;
        let spawn = |shard: usize| {
            let (world, target) = (Rc::clone(&world), polling.target.clone());
            tokio::task::spawn_local(async move { world.ask(shard, "GET", &target, "").await })
        };
        let first = spawn(0);
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let second = spawn(1);
        assert_eq!(first.await.unwrap().status, 204);
        // A client that gave a poll up gets with the next one what there was to say.
        second.abort();
        assert!(second.await.unwrap_err().is_cancelled());
        polling.send(&said(&invocation("1", "Put", json!(["a", 1])))).await;
        let answer = polling.find(|message| message["type"] == 3).await;
        assert_eq!(answer["result"]["effect"], "created");
    });
}

#[test]
fn a_poll_waits_its_time_and_a_client_that_stays_away_is_forgotten() {
    with(Options::default(), true, |world| async move {
        let mut polling = Polling::begin(&world).await;
        let began = tokio::time::Instant::now();
        let reply = polling.poll().await;
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{reply:?}");
        assert!((90..92).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        // Neither side pings: that it polls is the sign of life.
        assert_eq!(world.counts().timeouts, 0);
        pass(14).await;
        assert_eq!(world.counts().polling, 1);
        pass(2).await;
        assert_eq!((world.counts().polling, world.counts().timeouts), (0, 1));
        assert_eq!(polling.poll().await.status, 404);
    });
}

#[test]
fn a_watch_that_polls_is_told_how_far_it_is() {
    with(Options::default(), true, |world| async move {
        let mut polling = Polling::begin(&world).await;
        polling.send(&said(&stream("w", "Watch", json!(["a"])))).await;
        polling.find(|message| message["item"]["type"] == "baseline-end").await;
        let began = tokio::time::Instant::now();
        polling.find(|message| message["item"]["type"] == "progress").await;
        assert!(began.elapsed().as_secs() <= 31, "{:?}", began.elapsed());
    });
}

#[test]
fn messagepack_polls_as_bytes() {
    script(|world| async move {
        let target = format!("?id={}", world.negotiate("").await);
        assert_eq!(world.ask(0, "GET", &target, "").await.status, 200);
        let text = "{\"protocol\":\"messagepack\",\"version\":1}\u{1e}";
        assert_eq!(world.ask(1, "POST", &target, text).await.status, 200);
        let reply = world.ask(0, "GET", &target, "").await;
        assert_eq!(reply.fields["content-type"], "application/octet-stream");
        assert_eq!(&reply.body[..], b"{}\x1e");
    });
}

#[test]
fn an_event_stream_tells_what_posts_ask() {
    script(|world| async move {
        let token = world.negotiate("").await;
        let target = format!("?id={token}");
        let mut events = world.events(0, &token).await.ok().unwrap();
        let posting = {
            let world = Rc::clone(&world);
            tokio::task::spawn_local(async move {
                for (shard, text) in [
                    (1, HANDSHAKE.to_owned()),
                    (0, said(&stream("w", "Watch", json!(["a/#"])))),
                    (
                        1,
                        said(&invocation(
                            "p",
                            "Put",
                            json!(["a/1", null, {"text": "two\nlines", "contentType": "text/plain"}]),
                        )),
                    ),
                ] {
                    assert_eq!(world.ask(shard, "POST", &target, text).await.status, 200);
                }
            })
        };
        assert_eq!(events.next().await.unwrap(), json!({}));
        let mut told = Vec::new();
        loop {
            let message = events.next().await.unwrap();
            if message["item"]["type"] == "change" {
                assert_eq!(message["item"]["changes"][0]["text"], "two\nlines");
                break;
            }
            told.push(message["item"]["type"].clone());
        }
        assert_eq!(told[..2], [json!("baseline-begin"), json!("baseline-end")]);
        posting.await.unwrap();
        assert_eq!(world.counts().event_streams, 1);
        drop(events);
        assert_eq!((world.counts().event_streams, world.engine.counters().values().feeds), (0, 0));
        assert_eq!(world.ask(0, "POST", &format!("?id={token}"), "x").await.status, 404);
    });
}

#[test]
fn an_event_stream_carries_text_only() {
    script(|world| async move {
        let token = world.negotiate("").await;
        let mut events = world.events(0, &token).await.ok().unwrap();
        let target = format!("?id={token}");
        let text = "{\"protocol\":\"messagepack\",\"version\":1}\u{1e}";
        let asking = world.ask(1, "POST", &target, text);
        let (reply, answer) = tokio::join!(asking, events.next());
        assert_eq!(reply.status, 200);
        assert!(answer.unwrap()["error"].as_str().unwrap().contains("binary"));
        assert_eq!(events.next().await, None);
    });
}

#[test]
fn posts_wait_while_their_connection_is_busy() {
    with(Options::default(), true, |world| async move {
        let token = world.negotiate("").await;
        // A stream whose client takes nothing is asked for nothing.
        let events = world.events(0, &token).await.ok().unwrap();
        let target = format!("?id={token}");
        for _ in 0..2 {
            assert_eq!(world.ask(1, "POST", &target, "x").await.status, 200);
        }
        let reply = world.ask(1, "POST", &target, "x").await;
        assert_eq!((reply.status, &reply.fields["retry-after"]), (503, &"1".parse().unwrap()));
        drop(events);
    });
}
