//! Collections: filters, forms, pages and conditions.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::time::Duration;

use common::{World, script, with_everything};
use dovetail_api::decode::Frame;
use dovetail_api::problem::ProblemType;
use dovetail_door_http::Settings;
use dovetail_engine::Options;
use dovetail_journal::memory::MemoryOptions;
use http::StatusCode;

async fn plant(world: &World) -> String {
    for path in ["/plant/1/temp", "/plant/2/temp", "/plant/2/level", "/plant", "/other"] {
        world.put(path, path).await;
    }
    world.engine.head().to_string()
}

#[test]
fn filters_select_what_mqtt_would() {
    script(|world| async move {
        let head = plant(&world).await;
        for (path, expected) in [
            ("/", vec!["other", "plant", "plant/1/temp", "plant/2/level", "plant/2/temp"]),
            ("/%23", vec!["other", "plant", "plant/1/temp", "plant/2/level", "plant/2/temp"]),
            ("/plant/", vec!["plant", "plant/1/temp", "plant/2/level", "plant/2/temp"]),
            ("/plant/%23", vec!["plant", "plant/1/temp", "plant/2/level", "plant/2/temp"]),
            ("/plant/+/temp", vec!["plant/1/temp", "plant/2/temp"]),
            ("/plant/2/", vec!["plant/2/level", "plant/2/temp"]),
            ("/+", vec!["other", "plant"]),
            ("/nothing/", vec![]),
        ] {
            let reply = world.get(path).await;
            assert_eq!(reply.names(), expected, "{path}");
            assert_eq!(reply.collection().rev.to_string(), head);
            assert_eq!(reply.field("etag"), format!("\"{head}\""));
            assert!(!reply.has("content-location"));
        }
    });
}

#[test]
fn a_parent_without_contents_gives_its_collection() {
    script(|world| async move {
        plant(&world).await;
        let reply = world.get("/plant/2").await;
        assert_eq!(reply.names(), ["plant/2/level", "plant/2/temp"]);
        assert_eq!(reply.field("content-location"), "/plant/2/");
        assert_eq!(world.get("/plant").await.text(), "/plant", "contents of its own come first");
        world.get("/plant/9").await.problem(ProblemType::NotFound);
        assert_eq!(world.call("HEAD", "/plant/2", &[], "").await.field("content-location"), "/plant/2/");
    });
}

#[test]
fn values_stand_inline_text_as_text_and_bytes_in_base64() {
    script(|world| async move {
        for (path, content_type, value) in [
            ("/a/j", "application/json", "{\"n\": 1}"),
            ("/a/t", "text/plain", "{}"),
            ("/a/x", "application/json", "{"),
        ] {
            world.call("PUT", path, &[("content-type", content_type)], value).await;
        }
        let json: serde_json::Value = serde_json::from_slice(&world.get("/a/").await.body).unwrap();
        assert_eq!(json["items"][0]["value"], serde_json::json!({"n": 1}));
        assert_eq!(json["items"][1]["text"], "{}");
        assert_eq!(json["items"][2]["text"], "{");
        assert_eq!(json["items"][0]["path"], "a/j");
    });
}

#[test]
fn ndjson_is_a_baseline() {
    script(|world| async move {
        let head = plant(&world).await;
        let reply = world.call("GET", "/plant/", &[("accept", "application/x-ndjson")], "").await;
        assert_eq!(reply.field("etag"), format!("W/\"{head}\""));
        let frames = reply.frames();
        assert_eq!(frames.len(), 6);
        assert!(matches!(&frames[0], Frame::BaselineBegin { rev } if rev.to_string() == head));
        assert!(matches!(&frames[1], Frame::Item { resource, .. } if resource.topic.as_str() == "plant"));
        assert!(matches!(&frames[5], Frame::BaselineEnd { rev } if rev.to_string() == head));
    });
}

#[test]
fn large_collections_are_streamed_whole() {
    script(|world| async move {
        for n in 0..300 {
            world.put(&format!("/big/{n:03}"), &"x".repeat(1_000)).await;
        }
        let reply = world.get("/big/").await;
        assert!(!reply.has("content-length"), "it is not made in one piece");
        let expected: Vec<_> = (0..300).map(|n| format!("big/{n:03}")).collect();
        assert_eq!(reply.names(), expected);
        let frames = world.call("GET", "/big/", &[("accept", "application/x-ndjson")], "").await.frames();
        assert_eq!(frames.len(), 302);
    });
}

/// The reference in the field `link`.
fn next(reply: &common::Reply) -> Option<String> {
    let link = reply.fields.get("link")?.to_str().unwrap();
    Some(link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned())
}

#[test]
fn pages_compose_under_concurrent_writes() {
    script(|world| async move {
        for n in 0..25 {
            world.put(&format!("/p/%C3%A4%20{n:02}"), "old").await;
        }
        let whole = world.get("/p/").await.collection();
        let mut pages = Vec::new();
        let mut reference = "/p/?limit=4".to_owned();
        loop {
            let reply = world.get(&reference).await;
            let page = reply.collection();
            assert_eq!(page.rev, whole.rev);
            assert_eq!(page.next.as_deref(), next(&reply).as_deref());
            assert!(page.items.len() == 4 || page.next.is_none());
            pages.extend(page.items);
            // What is written and deleted meanwhile shows on no page.
            let n = pages.len();
            world.put(&format!("/p/%C3%A4%20{:02}", 24 - n / 2), "new").await;
            world.put(&format!("/p/%C3%A4%20{n:02}x"), "new").await;
            world.call("DELETE", "/p/%C3%A4%2023", &[], "").await;
            match page.next {
                Some(next) => reference = next.into(),
                None => break,
            }
        }
        assert_eq!(pages, whole.items);
    });
}

#[test]
fn pages_of_ndjson_put_together_are_one_stream() {
    script(|world| async move {
        plant(&world).await;
        let accept = [("accept", "application/x-ndjson")];
        let whole = world.call("GET", "/", &accept, "").await.frames();
        let mut frames = Vec::new();
        let mut reference = Some("/?limit=2".to_owned());
        while let Some(path) = reference {
            let reply = world.call("GET", &path, &accept, "").await;
            reference = next(&reply);
            frames.extend(reply.frames());
        }
        assert_eq!(frames, whole);
    });
}

#[test]
fn a_page_of_a_forgotten_state_says_so() {
    with_everything(
        Settings::default(),
        Options::default(),
        MemoryOptions::default(),
        false,
        |world| async move {
            plant(&world).await;
            let first = next(&world.get("/?limit=2").await).unwrap();
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(61)).await;
            tokio::time::resume();
            // Nothing has changed, so the current state is the one that was promised.
            assert_eq!(world.get(&first).await.names(), ["plant/1/temp", "plant/2/level"]);
            let head = world.put("/zzz", "x").await;
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(61)).await;
            tokio::time::resume();
            let gone = world.get(&first).await.problem(ProblemType::PositionGone);
            assert_eq!(gone.rev.unwrap().to_string(), head);
            let other = world.get("/?limit=2&page=k3f9x2ab.1%2Fa").await;
            other.problem(ProblemType::PositionGone);
            world.get("/?limit=0").await.problem(ProblemType::BadRequest);
            world.get("/?limit=2&page=nonsense").await.problem(ProblemType::BadRequest);
        },
    );
}

#[test]
fn a_collection_is_modified_only_by_what_matches() {
    script(|world| async move {
        let old = plant(&world).await;
        let tag = format!("\"{old}\"");
        let known = |path: &'static str, tag: String| {
            let world = std::rc::Rc::clone(&world);
            async move { world.call("GET", path, &[("if-none-match", &tag)], "").await }
        };
        assert_eq!(known("/plant/", tag.clone()).await.status, StatusCode::NOT_MODIFIED);
        let head = world.put("/elsewhere", "x").await;
        let reply = known("/plant/", tag.clone()).await;
        assert_eq!(reply.status, StatusCode::NOT_MODIFIED);
        assert_eq!((reply.field("etag"), reply.field("dovetail-revision")), (&*tag, &*head));
        assert_eq!(known("/", tag.clone()).await.status, StatusCode::OK);
        assert_eq!(known("/plant/", "\"k3f9x2ab.1\"".into()).await.status, StatusCode::OK);
        assert_eq!(known("/plant/", "*".into()).await.status, StatusCode::NOT_MODIFIED);
        world.call("DELETE", "/plant/1/temp", &[], "").await;
        assert_eq!(known("/plant/", tag).await.status, StatusCode::OK, "a delete is a change");
        let failed = world.call("GET", "/plant/", &[("if-match", "\"k3f9x2ab.1\"")], "").await;
        failed.problem(ProblemType::PreconditionFailed);
    });
}
