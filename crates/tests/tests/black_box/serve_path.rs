//! `dovetail bench serve-path` measures, holds what it finds against its targets, says which were missed, and leaves nothing behind.

use std::fs;
use std::process::{Command, Output};

use dovetail_tests::server::program;
use serde_json::Value;

/// Scenarios of a kind each: latency beside a floor, CPU beside a floor, CPU beside a peer, and one with many connections.
const SOME: [&str; 4] = ["put-alone", "pairs-qos0", "get", "fanout-doors"];

fn serve_path(arguments: &[&str]) -> Output {
    Command::new(program())
        .args(["bench", "serve-path"])
        .args(arguments)
        .env("DOVETAIL_BIN", program())
        .output()
        .unwrap()
}

#[test]
fn every_target_has_a_verdict_and_the_exit_code_says_what_they_come_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut arguments = vec!["--repeats", "1", "--seconds", "0.2", "--json", "--dir"];
    arguments.push(dir.path().to_str().unwrap());
    arguments.extend(SOME.iter().flat_map(|name| ["--only", name]));
    let Output { status, stdout, stderr } = serve_path(&arguments);
    let said = String::from_utf8(stderr).unwrap();
    let found: Value = serde_json::from_slice(&stdout).unwrap_or_else(|_| panic!("{status}: {said}"));

    let rows = found["rows"].as_array().unwrap();
    for name in SOME {
        assert!(rows.iter().any(|row| row["scenario"] == name), "{name} is not among {rows:?}");
    }
    let count = |verdict: &str| rows.iter().filter(|row| row["verdict"] == verdict).count();
    let targets = &found["targets"];
    for verdict in ["met", "within_noise", "missed"] {
        assert_eq!(targets[verdict], count(verdict), "{verdict}: {targets}");
    }
    // A lone write, a message between pairs, a GET, and four doors beside MQTT's.
    assert_eq!(count("met") + count("within_noise") + count("missed"), 7, "{rows:?}");
    for row in rows.iter().filter(|row| row["verdict"] != "none") {
        let values = row["values"].as_array().unwrap();
        assert!(values.len() == 1 && values[0].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["ratio"].as_f64().unwrap() > 0.0, "{row}");
    }
    assert_eq!(status.code(), Some(i32::from(count("missed") > 0)), "{said}");
    assert!(said.contains("7 targets: "), "{said}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "data directories were left behind");
}

#[test]
fn what_can_be_measured_is_listed_and_what_cannot_is_said() {
    let listed = serve_path(&["--list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    for name in SOME.iter().chain(&["catch-up", "write-push", "retained", "idle"]) {
        assert!(listed.lines().any(|line| line.split_whitespace().next() == Some(name)), "{name}: {listed}");
    }
    let nowhere = serve_path(&["--only", "get", "--dovetail", "/nowhere/dovetail", "--seconds", "0.1"]);
    let said = String::from_utf8(nowhere.stderr).unwrap();
    assert_eq!(nowhere.status.code(), Some(2), "{said}");
    assert!(said.contains("dovetail could not be started"), "{said}");
}
