//! What users have: clients of HTTP, as they are.

use std::process::Command;

use dovetail_tests::server::Setup;
use dovetail_tests::tools::{run, script};

#[test]
fn an_event_source_gets_the_baseline_and_comes_back_where_it_was() {
    let server = Setup::new().start();
    let said = run(script("eventsource.mjs").arg(server.url()));
    assert!(said.contains("all well"), "{said}");
}

#[test]
fn curl_reads_and_writes_with_conditions() {
    let server = Setup::new().start();
    let url = format!("{}/desk/lamp", server.url());
    let curl = |arguments: &[&str]| {
        run(Command::new("curl")
            .args(["-sS", "-o", "/dev/null", "-w", "%{http_code} %header{etag}"])
            .args(arguments))
    };
    let created = curl(&["-X", "PUT", "-H", "content-type: application/json", "-d", "{\"on\":true}", &url]);
    let (status, tag) = created.split_once(' ').unwrap();
    assert_eq!(status, "201");
    assert_eq!(run(Command::new("curl").args(["-sS", &url])), "{\"on\":true}");
    assert!(curl(&["-H", &format!("if-none-match: {tag}"), &url]).starts_with("304"));
    let merge = ["-X", "PATCH", "-H", "content-type: application/merge-patch+json", "-d", "{\"dim\":3}"];
    assert!(curl(&[&merge[..], &["-H", &format!("if-match: {tag}"), &url]].concat()).starts_with("20"));
    assert!(curl(&[&merge[..], &["-H", &format!("if-match: {tag}"), &url]].concat()).starts_with("412"));
    assert_eq!(run(Command::new("curl").args(["-sS", &url])), "{\"dim\":3,\"on\":true}");
    assert!(curl(&["--http2-prior-knowledge", &url]).starts_with("200"), "HTTP/2 without an upgrade");
    assert!(curl(&["-X", "DELETE", &url]).starts_with("204"));
    assert!(curl(&[&url]).starts_with("404"));
}
