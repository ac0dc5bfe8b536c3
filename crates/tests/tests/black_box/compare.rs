//! `dovetail bench compare` says what is so: every way is measured, what has a fallback loses nothing, what has none does,
//! and a server that was there before is left as it was.

use std::process::{Command, Output};
use std::time::Duration;

use dovetail_tests::http::Http;
use dovetail_tests::process::Process;
use dovetail_tests::server::{Setup, program};
use rustix::process::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(1);

/// Little of everything. Fifty updates fall on two hundred resources, so that most of them are written once: what is missed
/// is not made good by a later update.
const SMALL: [&str; 8] = ["--seconds", "1", "--watchers", "5", "--resources", "200", "--poll-every", "100ms"];

fn compare() -> Command {
    let mut command = Command::new(program());
    command.args(["bench", "compare"]).env("DOVETAIL_BIN", program());
    command
}

fn found(arguments: &[&str]) -> Value {
    let Output { status, stdout, stderr } =
        compare().args(SMALL).arg("--json").args(arguments).output().unwrap();
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).unwrap()
}

fn ways(comparison: &Value) -> &[Value] {
    comparison["ways"].as_array().unwrap()
}

fn way<'a>(comparison: &'a Value, name: &str) -> &'a Value {
    ways(comparison).iter().find(|way| way["name"] == name).unwrap_or_else(|| panic!("{name} is not there"))
}

fn number(of: &Value, name: &str) -> f64 {
    of[name].as_f64().unwrap_or_else(|| panic!("{name} is no number: {of}"))
}

/// What must be true of every way, whatever the machine does meanwhile.
fn check(way: &Value) {
    let name = &way["name"];
    assert_eq!(way["updates"], 50, "{name}");
    let (p50, p99) = (number(&way["latency"], "p50_ms"), number(&way["latency"], "p99_ms"));
    assert!(p50 > 0.0 && p50 <= p99, "{name}: {p50} {p99}");
    let points = way["latency"]["cdf"].as_array().unwrap();
    assert!(points.len() <= 200 && points.last().unwrap()[1] == 1.0, "{name}");
    // An update is at least its payload.
    assert!(number(way, "bytes_per_update") > 200.0, "{name}: {way}");
    assert!(number(way, "sent_bytes_per_update") < number(way, "bytes_per_update"), "{name}");
    assert!(number(way, "generator_share") > 0.0 && number(way, "memory_per_watcher") >= 0.0, "{name}");
    let back = &way["with_fallback"];
    assert!(number(back, "updates_in_outage") > 0.0, "{name}");
    assert_eq!((&back["lost"], &back["never_current"]), (&Value::from(0), &Value::from(0)), "{name}: {back}");
    assert!(number(back, "current_again_max_ms") >= number(back, "current_again_p50_ms"), "{name}");
}

#[test]
fn every_poll_is_as_late_as_its_interval_and_loses_nothing() {
    let comparison = found(&["--only", "poll", "--only", "long-poll"]);
    assert_eq!(ways(&comparison).len(), 4);
    for way in ways(&comparison) {
        check(way);
        assert_eq!(way["without_fallback"], Value::Null, "{way}");
        let is_long = way["name"] == "long-poll";
        assert_eq!(way["poll"].is_null(), is_long, "{way}");
        assert!(number(way, "requests_per_second") > 1.0, "{way}");
        // An interval, and two seconds for a machine that is busy with something else.
        assert!(number(&way["latency"], "p50_ms") < 2_100.0, "{way}");
    }
    let bytes = |name| number(way(&comparison, name), "bytes_per_update");
    assert!(bytes("poll-since-100ms") < bytes("poll-plain-100ms"));
    // Once at each of the other rates.
    let names: Vec<&str> =
        comparison["rates"].as_array().unwrap().iter().map(|rate| rate["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["poll-plain-100ms", "poll-etag-100ms", "poll-since-100ms"].repeat(2));
}

#[test]
fn what_is_pushed_is_less_and_without_a_fallback_something_is_lost() {
    let push = ["mqtt", "websocket", "sse", "signalr", "combined"];
    let arguments: Vec<&str> = push.iter().chain(&["poll-plain"]).flat_map(|name| ["--only", name]).collect();
    let comparison = found(&arguments);
    assert_eq!(ways(&comparison).len(), 12);
    let polled = number(way(&comparison, "poll-plain-100ms"), "bytes_per_update");
    for way in ways(&comparison).iter().filter(|way| way["family"] != "polling") {
        check(way);
        let name = way["name"].as_str().unwrap();
        assert!(number(way, "bytes_per_update") < polled, "{name}");
        // MQTT 3.1.1 and event streams bring the whole state again, whether it is asked for or not.
        let lost = way["without_fallback"].get("lost").and_then(Value::as_u64);
        match name {
            "mqtt311-qos0" => assert_eq!(lost, None, "{way}"),
            "mqtt311-qos1" | "sse" => assert_eq!(lost, Some(0), "{way}"),
            _ => assert!(lost > Some(0), "{name}: {way}"),
        }
    }
}

#[test]
fn a_server_that_was_there_is_left_as_it_was() {
    let server = Setup::new().start();
    let mut http = Http::connect(server.address()).unwrap();
    assert_eq!(http.put("/mine", "yes").unwrap().status, 201);
    let state = |http: &mut Http| -> Vec<String> {
        let document: Value = serde_json::from_str(&http.get("/%23").unwrap().text()).unwrap();
        let items = document["items"].as_array().unwrap();
        items.iter().map(|item| item["path"].as_str().unwrap().to_owned()).collect()
    };
    let address = server.url();
    let comparison = found(&["--only", "websocket", "--only", "mqtt5-qos1", "--server", &address]);
    assert_eq!(comparison["workload"]["server"], address.as_str());
    assert_eq!(comparison["ways"][0]["name"], "mqtt5-qos1");
    // What another server spends is known from what it says of itself.
    assert!(number(&comparison, "writing_cpu_us") > 0.0, "{comparison}");
    assert!(number(&comparison["ways"][0], "memory_per_watcher") >= 0.0, "{comparison}");
    assert_eq!(state(&mut http), ["mine"]);

    // The same when somebody loses patience.
    let mut running = Process::start(compare().args(["--only", "sse", "--server", &address]));
    running.says("2/");
    running.signal(Signal::INT);
    let status = running.wait(PATIENCE).expect("it ends");
    assert_eq!(status.code(), Some(2), "{}", running.complete_output());
    assert_eq!(state(&mut http), ["mine"]);
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let Output { status, stderr, .. } = compare()
        .args(["--rate", "0", "--only", "telepathy", "--server", "https://example.org"])
        .output()
        .unwrap();
    assert_eq!(status.code(), Some(2));
    let said = String::from_utf8(stderr).unwrap();
    for part in ["--rate 0", "telepathy", "websocket", "TLS"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}
