//! Reads and writes of single resources, on both versions of HTTP.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::rc::Rc;
use std::sync::atomic::Ordering;

use common::{Client, NOON, World, script};
use dovetail_api::batch::Answer;
use dovetail_api::problem::ProblemType;
use http::StatusCode;

const JSON: (&str, &str) = ("content-type", "application/json");

async fn each_version<F: Future<Output = ()>>(world: &World, act: impl Fn(Client) -> F) {
    act(world.http1().await).await;
    act(world.http2().await).await;
}

#[test]
fn a_resource_lives_and_dies() {
    script(|world| async move {
        each_version(&world, |mut client| async move {
            assert_eq!(client.call("GET", "/plant/7/temp", &[], "").await.status, StatusCode::NOT_FOUND);
            let created = client.call("PUT", "/plant/7/temp", &[JSON], "21.5").await;
            assert_eq!(created.status, StatusCode::CREATED);
            assert_eq!(created.field("location"), "/plant/7/temp");
            assert!(created.body.is_empty());
            let revision = created.field("dovetail-revision").to_owned();
            assert_eq!(created.field("etag"), format!("\"{revision}\""));

            let read = client.call("GET", "/plant/7/temp", &[], "").await;
            assert_eq!((read.status, read.text()), (StatusCode::OK, "21.5"));
            assert_eq!(read.field("etag"), created.field("etag"));
            assert_eq!(read.field("dovetail-revision"), revision);
            assert_eq!(read.field("content-type"), "application/json");
            assert_eq!(read.field("last-modified"), "Fri, 15 Jan 2027 08:00:00 GMT");
            assert_eq!(read.field("cache-control"), "no-cache");
            assert_eq!(read.field("vary"), "accept");
            assert_eq!(read.field("x-content-type-options"), "nosniff");
            assert_eq!(
                read.field("link"),
                "</plant/7/temp>; rel=\"monitor\"; type=\"text/event-stream\", \
                 <mqtt://dovetail.test/plant/7/temp>; rel=\"monitor\""
            );

            let replaced = client.call("PUT", "/plant/7/temp", &[JSON], "22").await;
            assert_eq!(replaced.status, StatusCode::NO_CONTENT);
            assert_ne!(replaced.field("etag"), created.field("etag"));
            assert!(!replaced.has("location"));

            let deleted = client.call("DELETE", "/plant/7/temp", &[], "").await;
            assert_eq!(deleted.status, StatusCode::NO_CONTENT);
            assert_ne!(deleted.field("dovetail-revision"), replaced.field("dovetail-revision"));
            assert_eq!(client.call("GET", "/plant/7/temp", &[], "").await.status, StatusCode::NOT_FOUND);
            client.call("DELETE", "/plant/7/temp", &[], "").await.problem(ProblemType::NotFound);
        })
        .await;
    });
}

#[test]
fn head_says_what_get_says() {
    script(|world| async move {
        world.put("/a", "hello").await;
        world.put("/b/c", "x").await;
        each_version(&world, |mut client| async move {
            for path in ["/a", "/b/", "/b", "/none", "/-/ready", "/b/?limit=1"] {
                let get = client.call("GET", path, &[], "").await;
                let head = client.call("HEAD", path, &[], "").await;
                assert_eq!(head.status, get.status, "{path}");
                assert!(head.body.is_empty());
                for name in ["etag", "dovetail-revision", "content-type", "link", "vary", "content-location"]
                {
                    assert_eq!(head.fields.get(name), get.fields.get(name), "{path} {name}");
                }
            }
        })
        .await;
        assert_eq!(world.call("HEAD", "/a", &[], "").await.field("content-length"), "5");
        let head = world.call("HEAD", "/a", &[("accept", "text/event-stream")], "").await;
        assert_eq!(head.field("content-type"), "text/event-stream");
    });
}

#[test]
fn a_known_state_is_not_sent_again() {
    script(|world| async move {
        let old = world.put("/a", "1").await;
        let now = world.put("/a", "2").await;
        let tag = |revision: &str| format!("\"{revision}\"");
        for (value, status) in [
            (tag(&now), 304),
            (format!("W/{}", tag(&now)), 304),
            (format!("{}, {}", tag(&old), tag(&now)), 304),
            ("*".to_owned(), 304),
            (tag(&old), 200),
            ("\"other\"".to_owned(), 200),
        ] {
            let reply = world.call("GET", "/a", &[("if-none-match", &value)], "").await;
            assert_eq!(reply.status.as_u16(), status, "{value}");
            assert_eq!(reply.field("etag"), tag(&now));
            assert_eq!(reply.field("dovetail-revision"), now);
            assert_eq!(reply.body.is_empty(), status == 304);
        }
        let modified = world.get("/a").await.field("last-modified").to_owned();
        let reply = world.call("GET", "/a", &[("if-modified-since", &modified)], "").await;
        assert_eq!(reply.status, StatusCode::NOT_MODIFIED);
        let reply = world.call("GET", "/a", &[("if-match", &tag(&old))], "").await;
        reply.problem(ProblemType::PreconditionFailed);
        // Somebody else's write moves the head, and not the tag.
        let head = world.put("/b", "x").await;
        let reply = world.call("GET", "/a", &[("if-none-match", &tag(&now))], "").await;
        assert_eq!((reply.status, reply.field("dovetail-revision")), (StatusCode::NOT_MODIFIED, &*head));
    });
}

#[test]
fn writes_happen_only_where_their_conditions_hold() {
    script(|world| async move {
        let first = world.put("/a", "1").await;
        let etag = format!("\"{first}\"");
        let created = world.call("PUT", "/a", &[("if-none-match", "*")], "2").await;
        let problem = created.problem(ProblemType::PreconditionFailed);
        assert_eq!(problem.current, Some(first.parse().unwrap()));
        let missing = world.call("PUT", "/x", &[("if-match", "*")], "2").await;
        assert_eq!(missing.problem(ProblemType::PreconditionFailed).current, None);
        let weak = world.call("PUT", "/a", &[("if-match", &format!("W/{etag}"))], "2").await;
        weak.problem(ProblemType::PreconditionFailed);
        for (method, body) in [("PUT", "2"), ("DELETE", ""), ("PATCH", "{}")] {
            let fields = [("if-match", "\"k3f9x2ab.999\""), ("content-type", "application/merge-patch+json")];
            world.call(method, "/a", &fields, body).await.problem(ProblemType::PreconditionFailed);
        }
        assert_eq!(world.get("/a").await.text(), "1");
        let updated = world.call("PUT", "/a", &[("if-match", &etag)], "2").await;
        assert_eq!(updated.status, StatusCode::NO_CONTENT);
        let day = "Fri, 15 Jan 2027 08:00:00 GMT";
        world.hand.store(NOON + 5_000, Ordering::SeqCst);
        assert_eq!(world.call("PUT", "/a", &[("if-unmodified-since", day)], "3").await.status, 204);
        let stale = world.call("PUT", "/a", &[("if-unmodified-since", day)], "4").await;
        stale.problem(ProblemType::PreconditionFailed);
        let gone = world.call("DELETE", "/a", &[("if-match", "*")], "").await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
    });
}

#[test]
fn of_many_conditional_writes_one_wins() {
    script(|world| async move {
        let etag = format!("\"{}\"", world.put("/a", "0").await);
        let writers: Vec<_> = (0..20)
            .map(|n| {
                let (world, etag) = (Rc::clone(&world), etag.clone());
                tokio::task::spawn_local(async move {
                    world.call("PUT", "/a", &[("if-match", &etag)], &n.to_string()).await.status
                })
            })
            .collect();
        let mut wins = 0;
        for writer in writers {
            match writer.await.unwrap() {
                StatusCode::NO_CONTENT => wins += 1,
                status => assert_eq!(status, StatusCode::PRECONDITION_FAILED),
            }
        }
        assert_eq!(wins, 1);
    });
}

#[test]
fn patches_change_json() {
    script(|world| async move {
        let merge = ("content-type", "application/merge-patch+json");
        let json_patch = ("content-type", "application/json-patch+json; charset=utf-8");
        assert_eq!(world.call("PATCH", "/a", &[merge], "{\"x\":1}").await.status, StatusCode::CREATED);
        let patched = world.call("PATCH", "/a", &[merge], "{\"y\":2,\"x\":null}").await;
        assert_eq!(patched.status, StatusCode::NO_CONTENT);
        assert_eq!(world.get("/a").await.field("etag"), patched.field("etag"));
        let add = r#"[{"op":"test","path":"/y","value":2},{"op":"add","path":"/z","value":3}]"#;
        assert_eq!(world.call("PATCH", "/a", &[json_patch], add).await.status, StatusCode::NO_CONTENT);
        let read: serde_json::Value = serde_json::from_slice(&world.get("/a").await.body).unwrap();
        assert_eq!(read, serde_json::json!({"y": 2, "z": 3}));
        let refused = r#"[{"op":"test","path":"/y","value":9}]"#;
        world.call("PATCH", "/a", &[json_patch], refused).await.problem(ProblemType::Conflict);
        world.call("PATCH", "/none", &[json_patch], add).await.problem(ProblemType::NotFound);
        world.call("PATCH", "/a", &[merge], "{").await.problem(ProblemType::BadRequest);
        world.call("PATCH", "/a", &[merge], "").await.problem(ProblemType::Unprocessable);
        world
            .call("PATCH", "/a", &[merge, ("dovetail-ttl", "5")], "{}")
            .await
            .problem(ProblemType::BadRequest);
        let other = world.call("PATCH", "/a", &[("content-type", "text/plain")], "x").await;
        other.problem(ProblemType::UnsupportedMediaType);
        assert_eq!(other.field("accept-patch"), "application/merge-patch+json, application/json-patch+json");
    });
}

#[test]
fn post_makes_resources_that_sort_by_time() {
    script(|world| async move {
        let mut locations = Vec::new();
        for path in ["/log/", "/log"] {
            let reply = world.call("POST", path, &[JSON], "1").await;
            assert_eq!(reply.status, StatusCode::CREATED);
            let location = reply.field("location").to_owned();
            assert!(location.starts_with("/log/") && location.len() == 5 + 26, "{location}");
            assert_eq!(world.get(&location).await.field("etag"), reply.field("etag"));
            locations.push(location);
        }
        assert_ne!(locations[0], locations[1]);
        let top = world.call("POST", "/", &[JSON], "1").await;
        assert_eq!(top.field("location").len(), 27);
        world.call("POST", "/log", &[JSON], "").await.problem(ProblemType::EmptyRepresentation);
        world.call("POST", "/log", &[("if-match", "*")], "1").await.problem(ProblemType::BadRequest);
    });
}

#[test]
fn a_repeated_key_is_one_write() {
    script(|world| async move {
        let key = [("idempotency-key", "\"k-1\""), JSON];
        let first = world.call("PUT", "/a", &key, "1").await;
        world.put("/a", "2").await;
        let again = world.call("PUT", "/a", &key, "1").await;
        assert_eq!((again.status, again.field("etag")), (StatusCode::CREATED, first.field("etag")));
        assert_eq!(world.get("/a").await.text(), "2");
        // A bare key is the same key; another body is another request.
        let bare = [("idempotency-key", "k-1"), JSON];
        assert_eq!(world.call("PUT", "/a", &bare, "1").await.field("etag"), first.field("etag"));
        world.call("PUT", "/a", &key, "9").await.problem(ProblemType::IdempotencyKeyReused);
        world.call("PUT", "/b", &key, "1").await.problem(ProblemType::IdempotencyKeyReused);

        let key = [("idempotency-key", "post"), JSON];
        let made = world.call("POST", "/log", &key, "1").await;
        let again = world.call("POST", "/log", &key, "1").await;
        assert_eq!(made.field("location"), again.field("location"));
        assert_eq!(world.get("/log/").await.names().len(), 1);

        let key = [("idempotency-key", "del")];
        assert_eq!(world.call("DELETE", "/a", &key, "").await.status, StatusCode::NO_CONTENT);
        assert_eq!(world.call("DELETE", "/a", &key, "").await.status, StatusCode::NO_CONTENT);
    });
}

#[test]
fn a_time_to_live_is_shown_and_ends() {
    script(|world| async move {
        let reply = world.call("PUT", "/a", &[("dovetail-ttl", "5m")], "x").await;
        assert_eq!(reply.status, StatusCode::CREATED);
        assert_eq!(world.get("/a").await.field("dovetail-expires"), "2027-01-15T08:05:00.000Z");
        for wrong in ["0", "-1", "soon", "1.5", ""] {
            world.call("PUT", "/b", &[("dovetail-ttl", wrong)], "x").await.problem(ProblemType::BadRequest);
        }
    });
}

#[test]
fn what_browsers_could_run_is_put_in_a_sandbox() {
    script(|world| async move {
        for (content_type, is_sandboxed) in [
            ("text/html", true),
            ("image/svg+xml", true),
            ("application/xhtml+xml; charset=utf-8", true),
            ("application/json", false),
            ("text/plain; charset=utf-8", false),
        ] {
            world.call("PUT", "/a", &[("content-type", content_type)], "<script>").await;
            let reply = world.get("/a").await;
            assert_eq!(reply.field("content-type"), content_type);
            assert_eq!(reply.has("content-security-policy"), is_sandboxed, "{content_type}");
        }
        world.call("PUT", "/b", &[], "x").await;
        assert_eq!(world.get("/b").await.field("content-type"), "application/octet-stream");
        assert_eq!(world.stored("b").unwrap().representation.content_type, None);
    });
}

#[test]
fn a_reference_never_names_another_host() {
    script(|world| async move {
        let reply = world.call("PUT", "//evil.example/a", &[], "x").await;
        assert_eq!(reply.field("location"), "/.//evil.example/a");
        assert!(world.stored("/evil.example/a").is_some());
        let read = world.get("//evil.example/a").await;
        assert!(read.field("link").starts_with("</.//evil.example/a>;"), "{read:?}");
        let read = world.call("GET", "//evil.example/a", &[("host", "x>,<y")], "").await;
        assert!(!read.field("link").contains("mqtt:"), "{read:?}");
    });
}

#[test]
fn a_batch_is_all_or_nothing() {
    script(|world| async move {
        let kept = world.put("/keep", "1").await;
        world.put("/old", "1").await;
        let batch = format!(
            r#"{{"writes":[
                {{"op":"put","path":"a","value":{{"n": 1}}}},
                {{"op":"put","path":"keep","text":"2","contentType":"text/plain","ifMatch":"{kept}"}},
                {{"op":"patch","path":"p","value":{{"m":1}},"ifNoneMatch":"*"}},
                {{"op":"delete","path":"old"}},
                {{"op":"delete","path":"none"}}]}}"#
        );
        let reply = world.call("POST", "/-/batch", &[JSON], &batch).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        let answer = Answer::decode(&reply.body).unwrap();
        assert_eq!(answer.rev.to_string(), reply.field("dovetail-revision"));
        let effects: Vec<_> = answer.results.iter().map(|result| &*result.effect).collect();
        assert_eq!(effects, ["created", "replaced", "created", "deleted", "unchanged"]);
        for path in ["/a", "/keep", "/p"] {
            assert_eq!(world.get(path).await.field("etag"), format!("\"{}\"", answer.rev), "{path}");
        }
        assert_eq!(world.get("/a").await.text(), "{\"n\": 1}");

        // The condition of the second fails now, so the first does not happen either.
        let again = world.call("POST", "/-/batch", &[JSON], &batch).await;
        assert_eq!(again.problem(ProblemType::PreconditionFailed).index, Some(1));
        assert_eq!(world.engine.head(), answer.rev);
    });
}

#[test]
fn a_batch_that_is_none_is_refused_whole() {
    use ProblemType::{
        BadRequest, EmptyRepresentation, InvalidName, ReservedName, Unprocessable, UnsupportedMediaType,
    };
    script(|world| async move {
        let refused = |body: &'static str, kind| {
            let world = Rc::clone(&world);
            async move {
                let problem = world.call("POST", "/-/batch", &[JSON], body).await.problem(kind);
                (problem.index, world.engine.head().number)
            }
        };
        assert_eq!(refused("{", BadRequest).await, (None, 0));
        assert_eq!(refused(r#"{"writes":[]}"#, Unprocessable).await, (None, 0));
        let wrong = r#"{"writes":[{"op":"delete","path":"a"},{"op":"put","path":"b"}]}"#;
        assert_eq!(refused(wrong, BadRequest).await, (Some(1), 0));
        let twice = r#"{"writes":[{"op":"delete","path":"a"},{"op":"delete","path":"a"}]}"#;
        assert_eq!(refused(twice, Unprocessable).await, (None, 0));
        let empty = r#"{"writes":[{"op":"put","path":"a","value":1},{"op":"put","path":"b","text":""}]}"#;
        assert_eq!(refused(empty, EmptyRepresentation).await, (Some(1), 0));
        let own = r#"{"writes":[{"op":"put","path":"$SYS/a","value":1}]}"#;
        assert_eq!(refused(own, ReservedName).await, (None, 0));
        let patch = r#"{"writes":[{"op":"patch","path":"a","value":1,"contentType":"text/plain"}]}"#;
        assert_eq!(refused(patch, UnsupportedMediaType).await, (Some(0), 0));
        let patch = r#"{"writes":[{"op":"delete","path":"a"},{"op":"patch","path":"b","value":1,"ttl":5}]}"#;
        assert_eq!(refused(patch, BadRequest).await, (Some(1), 0));
        let life = r#"{"writes":[{"op":"put","path":"a","value":1,"ttl":0}]}"#;
        assert_eq!(refused(life, BadRequest).await, (Some(0), 0));
        let untyped = world.call("POST", "/-/batch", &[], "{}").await;
        untyped.problem(UnsupportedMediaType);
        world.call("POST", "/-/publish/a/%23", &[], "x").await.problem(InvalidName);
    });
}

#[test]
fn reads_wait_for_the_revision_that_they_need() {
    script(|world| async move {
        let now = world.put("/a", "1").await;
        let (epoch, number) = now.split_once('.').unwrap();
        let next = format!("{epoch}.{}", number.parse::<u64>().unwrap() + 1);
        assert_eq!(
            world.call("GET", "/a", &[("dovetail-min-revision", &now)], "").await.status,
            StatusCode::OK
        );
        let reader = {
            let (world, next) = (Rc::clone(&world), next.clone());
            tokio::task::spawn_local(async move {
                world.call("GET", "/a", &[("dovetail-min-revision", &next)], "").await
            })
        };
        tokio::task::yield_now().await;
        assert_eq!(world.put("/a", "2").await, next);
        assert_eq!(reader.await.unwrap().text(), "2");
        let other = world.call("GET", "/a", &[("dovetail-min-revision", "k3f9x2ab.1")], "").await;
        assert_eq!(other.problem(ProblemType::PositionGone).rev, Some(next.parse().unwrap()));
        let wrong = world.call("GET", "/a/", &[("dovetail-min-revision", "soon")], "").await;
        wrong.problem(ProblemType::InvalidRevision);
    });
}

#[test]
fn an_event_for_which_a_session_waits_is_kept() {
    script(|world| async move {
        world.engine.await_events(&dovetail_model::Filter::new("a/#").unwrap());
        let before = world.shard.head();
        let type_of = [("content-type", "text/plain")];
        let passing = world.call("POST", "/-/publish/b", &type_of, "x").await;
        assert_eq!(passing.status, StatusCode::ACCEPTED);
        assert_eq!(world.shard.head(), before);
        let kept = world.call("POST", "/-/publish/a/b", &type_of, "x").await;
        assert_eq!(kept.status, StatusCode::ACCEPTED);
        let after = world.shard.head();
        assert_eq!(after.number, before.number + 1);
        assert_eq!(kept.field("dovetail-revision"), after.to_string());
        assert!(world.stored("a/b").is_none(), "it is not state");
        let own = world.call("POST", "/-/publish/$SYS/x", &type_of, "x").await;
        own.problem(ProblemType::ReservedName);
    });
}
