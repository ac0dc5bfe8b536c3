//! Negotiation, and requests that fit no connection.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::collections::HashSet;
use std::time::Duration;

use common::{HANDSHAKE, pass, script, with};
use dovetail_door_signalr::Options;
use serde_json::json;

#[test]
fn negotiation_says_what_there_is_and_gives_a_secret() {
    script(|world| async move {
        let reply = world.ask(0, "POST", "negotiate?negotiateVersion=1", "").await;
        assert_eq!(reply.fields["content-type"], "application/json");
        assert!(reply.fields["cache-control"].to_str().unwrap().contains("no-store"));
        let said = reply.json();
        let formats = |n: usize| said["availableTransports"][n]["transferFormats"].clone();
        let names: Vec<_> =
            (0..3).map(|n| said["availableTransports"][n]["transport"].as_str().unwrap()).collect();
        assert_eq!(names, ["WebSockets", "ServerSentEvents", "LongPolling"]);
        assert_eq!([formats(0), formats(1)], [json!(["Text", "Binary"]), json!(["Text"])]);
        assert_eq!(said["negotiateVersion"], 1);
        assert!(said.get("useStatefulReconnect").is_none());
        // Neither says anything about the other, and no two are alike; 22 characters are 128 bits.
        let mut seen = HashSet::new();
        for _ in 0..50 {
            let said = world.ask(1, "POST", "negotiate?negotiateVersion=1", "").await.json();
            for member in ["connectionId", "connectionToken"] {
                let value = said[member].as_str().unwrap().to_owned();
                assert_eq!(value.len(), 22);
                assert!(seen.insert(value));
            }
        }
        // Whoever asks for a later version gets ours, and whoever asks for none has one secret.
        let said =
            world.ask(0, "POST", "negotiate?negotiateVersion=7&useStatefulReconnect=true", "").await.json();
        assert_eq!((&said["negotiateVersion"], &said["useStatefulReconnect"]), (&json!(1), &json!(true)));
        let said = world.ask(0, "POST", "negotiate", "").await.json();
        assert_eq!(said["negotiateVersion"], 0);
        assert!(said.get("connectionToken").is_none());
        let id = said["connectionId"].as_str().unwrap();
        assert_eq!(world.ask(1, "GET", &format!("?id={id}"), "").await.status, 200);
        let said = world.ask(0, "POST", "negotiate?negotiateVersion=one", "").await.json();
        assert!(said["error"].as_str().unwrap().contains("not a number"));
        assert_eq!(world.ask(0, "GET", "negotiate", "").await.status, 405);
        assert_eq!(world.ask(0, "POST", "elsewhere", "").await.status, 404);
        assert_eq!(world.ask(0, "PUT", "", "").await.status, 405);
    });
}

#[test]
fn a_request_that_fits_no_connection_is_refused() {
    script(|world| async move {
        let unknown = "AAAAAAAAAAAAAAAAAAAAAA";
        for method in ["GET", "POST", "DELETE"] {
            assert_eq!(world.ask(0, method, "", "").await.status, 400, "{method}");
            assert_eq!(world.ask(0, method, "?id=", "").await.status, 400, "{method}");
            assert_eq!(world.ask(0, method, "?id=short", "").await.status, 404, "{method}");
            let reply = world.ask(0, method, &format!("?id={unknown}"), "").await;
            assert_eq!(reply.status, 404, "{method}");
            assert_eq!(reply.json()["type"], "urn:dovetail:problem:not-found");
        }
        assert!(world.shards[0].refuse_socket(None).is_none());
        let refused = |query: &str| world.shards[1].refuse_socket(Some(query)).map(|it| it.status().as_u16());
        assert_eq!(refused(&format!("id={unknown}")), Some(404));

        // On a WebSocket: no other socket, no other transport, no POST.
        let token = world.negotiate("").await;
        let query = format!("id={token}");
        assert_eq!(refused(&query), None);
        let mut client = world.socket(0, Some(&query));
        client.shake_hands().await;
        assert_eq!(refused(&query), Some(409));
        let target = format!("?{query}");
        assert_eq!(world.ask(1, "GET", &target, "").await.status, 400);
        assert_eq!(world.events(1, &token).await.err(), Some(400));
        assert_eq!(world.ask(1, "POST", &target, HANDSHAKE).await.status, 405);
        assert_eq!(world.ask(1, "DELETE", &target, "").await.status, 400);
        // A socket that was let in at the same time is closed.
        let mut late = world.socket(1, Some(&query));
        assert_eq!(late.closed().await.0, tokio_websockets::CloseCode::POLICY_VIOLATION);
        assert_eq!(client.result("Put", json!(["a", 1])).await["effect"], "created");
        drop(client);
        world.until(|world| world.counts().websockets == 0).await;
        assert_eq!(refused(&query), Some(404));

        // On an event stream: one at a time.
        let token = world.negotiate("").await;
        let events = world.events(0, &token).await.ok().unwrap();
        assert_eq!(world.events(1, &token).await.err(), Some(409));
        assert_eq!(refused(&format!("id={token}")), Some(400));
        assert_eq!(world.ask(0, "DELETE", &format!("?id={token}"), "").await.status, 400);
        drop(events);
        assert_eq!(world.events(1, &token).await.err(), Some(404));

        // Before it has begun, there is nobody who takes anything.
        let token = world.negotiate("").await;
        assert_eq!(world.ask(0, "POST", &format!("?id={token}"), "x").await.status, 404);
        assert_eq!(world.ask(0, "DELETE", &format!("?id={token}"), "").await.status, 202);
        assert_eq!(world.ask(0, "GET", &format!("?id={token}"), "").await.status, 404);
    });
}

#[test]
fn who_negotiates_and_does_not_come_is_forgotten() {
    let options = Options { negotiated: 10, polling: 2, ..Options::default() };
    with(options, true, |world| async move {
        let mut tokens = Vec::new();
        for _ in 0..10 {
            tokens.push(world.negotiate("").await);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let refused = world.ask(0, "POST", "negotiate?negotiateVersion=1", "").await;
        assert_eq!((refused.status, &refused.fields["retry-after"]), (503, &"5".parse().unwrap()));
        assert_eq!(refused.json()["type"], "urn:dovetail:problem:overloaded");
        // One that has begun makes room, as do those whose time is over.
        let begun = world.ask(0, "GET", &format!("?id={}", tokens[9]), "").await;
        assert_eq!(begun.status, 200);
        world.negotiate("").await;
        assert_eq!(world.ask(0, "POST", "negotiate?negotiateVersion=1", "").await.status, 503);
        tokio::time::advance(Duration::from_millis(5_001)).await;
        assert_eq!(world.ask(0, "GET", &format!("?id={}", tokens[0]), "").await.status, 404);
        world.negotiate("").await;
        // Connections that poll have no socket that would count, so their number has a limit, too.
        assert_eq!(world.ask(0, "GET", &format!("?id={}", tokens[7]), "").await.status, 200);
        let refused = world.ask(0, "GET", &format!("?id={}", tokens[8]), "").await;
        assert_eq!((refused.status, &refused.fields["retry-after"]), (503, &"1".parse().unwrap()));
        assert_eq!(world.counts().polling, 2);
        pass(20).await;
        assert_eq!(world.counts().polling, 0);
    });
}
