//! The server's own pages, and that its documents describe what it does.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use common::script;
use dovetail_api::problem::ProblemType;
use http::StatusCode;
use serde_json::Value;

#[test]
fn a_browser_is_sent_to_the_console_and_a_program_to_the_data() {
    script(|world| async move {
        world.put("/a", "1").await;
        let browser = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        for path in ["/", "/-/", "/-"] {
            let reply = world.call("GET", path, &[browser], "").await;
            assert_eq!((reply.status, reply.field("location")), (StatusCode::SEE_OTHER, "/-/console"));
        }
        assert_eq!(world.call("GET", "/a", &[browser], "").await.text(), "1");
        assert_eq!(world.get("/").await.names(), ["a"]);
        let console = world.get("/-/console").await;
        assert_eq!(console.field("content-type"), "text/html; charset=utf-8");
        assert!(console.has("content-security-policy"));
    });
}

#[test]
fn metrics_count() {
    script(|world| async move {
        world.put("/a", "hello").await;
        world.get("/none").await;
        let reply = world.get("/-/metrics").await;
        for line in [
            "dovetail_head_revision 1",
            "dovetail_resources 1",
            "dovetail_resource_bytes 5",
            "dovetail_commits_total 1",
            "dovetail_http_requests_total{class=\"2xx\"} 1",
            "dovetail_http_requests_total{class=\"4xx\"} 1",
            "dovetail_writable 1",
        ] {
            assert!(reply.text().lines().any(|found| found == line), "no `{line}` in\n{}", reply.text());
        }
        let names: Vec<_> = reply.text().lines().filter(|line| line.starts_with("# TYPE")).collect();
        let unique: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(names.len(), unique.len());
    });
}

#[test]
fn options_say_what_applies() {
    script(|world| async move {
        for (path, allow) in [
            ("/a", "GET, HEAD, PUT, PATCH, DELETE, POST, OPTIONS"),
            ("/a/", "GET, HEAD, POST, OPTIONS"),
            ("/a/+", "GET, HEAD, OPTIONS"),
            ("/-/batch", "POST, OPTIONS"),
            ("/-/health", "GET, HEAD, OPTIONS"),
        ] {
            let reply = world.call("OPTIONS", path, &[], "").await;
            assert_eq!((reply.status, reply.field("allow")), (StatusCode::NO_CONTENT, allow), "{path}");
        }
        assert_eq!(world.call("OPTIONS", "*", &[], "").await.status, StatusCode::NO_CONTENT);
    });
}

/// Follows every `$ref` in a document.
fn check_references(document: &Value, part: &Value) {
    match part {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            members.values().for_each(|member| check_references(document, member));
        }
        Value::Array(elements) => elements.iter().for_each(|element| check_references(document, element)),
        _ => {}
    }
}

#[test]
fn the_documents_are_whole() {
    script(|world| async move {
        for (path, marker) in [("/-/openapi.json", "openapi"), ("/-/asyncapi.json", "asyncapi")] {
            let reply = world.get(path).await;
            assert_eq!(reply.field("content-type"), "application/json");
            let document: Value = serde_json::from_slice(&reply.body).unwrap();
            assert!(document[marker].as_str().unwrap().starts_with('3'));
            check_references(&document, &document);
        }
    });
}

#[test]
fn the_description_knows_every_problem_and_every_page() {
    script(|world| async move {
        let document: Value = serde_json::from_slice(&world.get("/-/openapi.json").await.body).unwrap();
        let types: Vec<_> = document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
            .as_array()
            .unwrap()
            .iter()
            .map(|uri| uri.as_str().unwrap().to_owned())
            .collect();
        assert_eq!(types, ProblemType::ALL.iter().map(|kind| kind.uri()).collect::<Vec<_>>());
        for (path, operations) in document["paths"].as_object().unwrap() {
            let path = path.replace("{path}", "x").replace("{topic}", "x");
            let allow = world.call("OPTIONS", &path, &[], "").await.field("allow").to_lowercase();
            for (method, operation) in operations.as_object().unwrap() {
                if method == "parameters" {
                    continue;
                }
                assert!(allow.split(", ").any(|allowed| allowed == method), "{method} {path}");
                assert!(operation["operationId"].is_string());
            }
        }
    });
}
