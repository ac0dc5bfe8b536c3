//! Deadlines, signs of life, and the end of the server.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use common::{HANDSHAKE, invocation, said, script, stream, with};
use dovetail_door_signalr::Options;
use serde_json::json;
use tokio::time::Instant;
use tokio_websockets::CloseCode;

#[test]
fn a_handshake_has_its_time() {
    with(Options::default(), true, |world| async move {
        let began = Instant::now();
        let mut client = world.socket(0, None);
        client.say_text("{\"protocol\":").await;
        let answer = client.next().await;
        assert!(answer["error"].as_str().unwrap().contains("in time"), "{answer}");
        assert!((15..17).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        client.closed().await;
    });
}

#[test]
fn the_server_pings_and_hears_a_client_that_does() {
    with(Options::default(), true, |world| async move {
        let mut client = world.connect().await;
        for _ in 0..10 {
            let began = Instant::now();
            assert_eq!(client.any().await, Some(json!({"type": 6})));
            assert!((14..16).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
            client.say(json!({"type": 6})).await;
        }
        // Then it falls silent, and is told so.
        let began = Instant::now();
        let close = client.next().await;
        assert_eq!((&close["type"], &close["allowReconnect"]), (&json!(7), &json!(true)), "{close}");
        assert!((28..32).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        client.closed().await;
        assert_eq!(world.counts().timeouts, 1);
    });
}

#[test]
fn a_watch_without_news_says_how_far_it_is() {
    with(Options::default(), true, |world| async move {
        let mut client = world.connect().await;
        client.say(stream("w", "Watch", json!(["a"]))).await;
        let mut told = Vec::new();
        let began = Instant::now();
        while told.last() != Some(&json!("progress")) {
            let message = client.any().await.unwrap();
            client.say(json!({"type": 6})).await;
            if message["type"] != 6 {
                told.push(message["item"]["type"].clone());
            }
        }
        assert!(began.elapsed().as_secs() <= 31, "{:?}", began.elapsed());
        assert_eq!(told, ["baseline-begin", "baseline-end", "progress"]);
    });
}

#[test]
fn a_server_that_stops_says_so_on_every_transport() {
    script(|world| async move {
        let mut client = world.connect().await;
        let mut greeting = world.socket(1, None);
        let token = world.negotiate("").await;
        let mut events = world.events(0, &token).await.ok().unwrap();
        let target = format!("?id={token}");
        let (reply, _) = tokio::join!(world.ask(0, "POST", &target, HANDSHAKE), events.next());
        assert_eq!(reply.status, 200);
        let polled = format!("?id={}", world.negotiate("").await);
        assert_eq!(world.ask(0, "GET", &polled, "").await.status, 200);
        let polling = tokio::task::spawn_local({
            let (world, polled) = (std::rc::Rc::clone(&world), polled.clone());
            async move { world.ask(1, "GET", &polled, "").await }
        });
        tokio::task::yield_now().await;
        world.drain.begin();
        let close = client.next().await;
        assert_eq!((&close["type"], &close["allowReconnect"]), (&json!(7), &json!(true)));
        assert_eq!(client.closed().await.0, CloseCode::GOING_AWAY);
        assert_eq!(greeting.closed().await.0, CloseCode::GOING_AWAY);
        assert_eq!(events.next().await.unwrap()["type"], 7);
        assert_eq!(events.next().await, None);
        // Before the handshake is agreed to, nothing but its answer is understood.
        assert_eq!(polling.await.unwrap().status, 204);
        assert_eq!(world.ask(0, "POST", "negotiate", "").await.status, 503);
    });
}

#[test]
fn what_a_client_asked_before_the_server_stops_is_answered() {
    script(|world| async move {
        let mut client = world.connect().await;
        let calls: String =
            (0..40).map(|n| said(&invocation(&n.to_string(), "Put", json!(["a", n])))).collect();
        client.say_text(&calls).await;
        assert_eq!(client.next().await["invocationId"], "0");
        world.drain.begin();
        for n in 1..40 {
            let answer = client.next().await;
            assert_eq!(
                (&answer["invocationId"], &answer["result"]["effect"]),
                (&json!(n.to_string()), &json!("replaced"))
            );
        }
        assert_eq!(client.next().await["type"], 7);
        assert_eq!(client.closed().await.0, CloseCode::GOING_AWAY);
    });
}

#[test]
fn the_task_of_a_connection_keeps_no_room_for_its_beginning_and_its_end() {
    script(|world| async move {
        assert!(world.size_of_a_connection() <= 160, "{}", world.size_of_a_connection());
    });
}
