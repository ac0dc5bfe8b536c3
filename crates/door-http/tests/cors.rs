//! Pages of other hosts: what they may send, and what their browsers are told.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::net::IpAddr;

use common::{Client, World, with_door};
use dovetail_api::problem::ProblemType;
use dovetail_door_http::{Origins, Settings};

const APP: &str = "https://app.example";
const EVIL: &str = "https://evil.example";

fn script<F: Future<Output = ()>>(script: impl FnOnce(std::rc::Rc<World>) -> F) {
    let origins = Origins::new([APP]).unwrap();
    with_door(Settings { origins, ..Settings::default() }, script);
}

#[test]
fn a_listed_page_may_do_everything_and_read_the_answers() {
    script(|world| async move {
        let asked = [
            ("origin", APP),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "content-type,if-match"),
        ];
        for path in ["/a/b", "/a/", "/a/+/c", "/-/batch", "/-/health", "*"] {
            let reply = world.call("OPTIONS", path, &asked, "").await;
            assert_eq!(reply.status, 204, "{path}");
            assert_eq!(reply.field("access-control-allow-origin"), APP, "{path}");
            assert_eq!(reply.field("access-control-allow-credentials"), "true", "{path}");
            assert_eq!(reply.field("access-control-allow-headers"), "content-type,if-match", "{path}");
            assert!(reply.field("access-control-allow-methods").contains("PATCH"), "{path}");
            assert!(!reply.has("allow"), "{path}");
        }
        let reply = world.call("PUT", "/a/b", &[("origin", APP), ("content-type", "text/plain")], "1").await;
        assert_eq!((reply.status.as_u16(), reply.field("access-control-allow-origin")), (201, APP));
        let reply = world.call("GET", "/a/b", &[("origin", APP)], "").await;
        assert_eq!((reply.text(), reply.field("access-control-allow-origin")), ("1", APP));
        assert!(reply.field("access-control-expose-headers").contains("dovetail-revision"));
        assert!(reply.fields.get_all("vary").iter().any(|value| value == "origin"));
        // What goes wrong is for the page to read, too.
        let reply = world.call("GET", "/nowhere", &[("origin", APP)], "").await;
        reply.problem(ProblemType::NotFound);
        assert_eq!(reply.field("access-control-allow-origin"), APP);
        let events = [("origin", APP), ("accept", "text/event-stream")];
        let stream = world.http1().await.send("GET", "/a/%23", &events, "").await;
        assert_eq!(stream.headers()["access-control-allow-origin"], APP);
    });
}

#[test]
fn any_other_page_changes_nothing_and_reads_nothing() {
    script(|world| async move {
        world.put("/a", "kept").await;
        for (method, path, body) in [
            ("PUT", "/a", "changed"),
            ("PATCH", "/a", "{}"),
            ("DELETE", "/a", ""),
            ("POST", "/a/", "new"),
            ("POST", "/-/publish/a", "event"),
            ("POST", "/-/batch", "[]"),
        ] {
            for origin in [EVIL, "null", "nonsense"] {
                let fields = [("origin", origin), ("content-type", "text/plain")];
                let reply = world.call(method, path, &fields, body).await;
                let problem = reply.problem(ProblemType::Forbidden);
                assert!(problem.detail.contains(origin), "{problem:?}");
                assert!(!reply.has("access-control-allow-origin"), "{method} {path}");
            }
        }
        let reply = world.call("GET", "/a", &[("origin", EVIL)], "").await;
        assert_eq!(reply.text(), "kept");
        assert!(!reply.has("access-control-allow-origin"));
        let asked = [("origin", EVIL), ("access-control-request-method", "PUT")];
        world.call("OPTIONS", "/a", &asked, "").await.problem(ProblemType::Forbidden);
    });
}

#[test]
fn pages_of_the_server_and_programs_are_not_hindered() {
    script(|world| async move {
        let fields = [("origin", "http://dovetail.test"), ("content-type", "text/plain")];
        assert_eq!(world.call("PUT", "/a", &fields, "1").await.status, 201);
        assert_eq!(world.http2().await.call("PUT", "/b", &fields, "1").await.status, 201);
        let reply = world.get("/a").await;
        assert!(!reply.has("access-control-allow-origin"), "{reply:?}");
        // Without the question of a browser, OPTIONS says what applies.
        let reply = world.call("OPTIONS", "/a", &[("origin", APP)], "").await;
        assert!(reply.field("allow").contains("PUT"));
        // Pages from this machine are for clients on this machine.
        let local = [("origin", "http://localhost:3000"), ("content-type", "text/plain")];
        assert_eq!(world.call("PUT", "/c", &local, "1").await.status, 201);
        let far: IpAddr = "192.0.2.7".parse().unwrap();
        let mut client = Client::http1(world.connect_from(far)).await;
        client.call("PUT", "/c", &local, "1").await.problem(ProblemType::Forbidden);
    });
}
