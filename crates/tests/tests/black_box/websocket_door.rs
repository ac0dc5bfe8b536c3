//! The WebSocket of browsers with the real program: every call, watches, and what happens at the end.

use std::process::Command;

use dovetail_tests::process::Process;
use dovetail_tests::server::Setup;
use dovetail_tests::tools::{PATIENCE, finish, run, script};
use dovetail_tests::websocket::WebSocket;
use serde_json::json;

#[test]
fn the_websocket_of_browsers_does_all_that_it_can_in_node() {
    let server = Setup::new().start();
    // Node 20 has it behind a switch, later ones without.
    let client = Process::start(
        script("websocket.mjs")
            .env("NODE_OPTIONS", "--experimental-websocket --no-warnings")
            .arg(server.address().to_string()),
    );
    client.says("waiting");
    server.terminate();
    let said = finish(client, "websocket.mjs");
    for what in [
        "no subprotocol",
        "hello",
        "put, get and patch",
        "batch and delete",
        "list",
        "problems",
        "watch and unwatch",
        "coming back",
        "bye",
    ] {
        assert!(said.lines().any(|line| line == format!("{what} works")), "{what}:\n{said}");
    }
}

#[test]
fn its_address_says_what_it_is() {
    let server = Setup::new().start();
    let address = format!("{}/-/ws", server.url());
    let curl = |more: &[&str]| run(Command::new("curl").args(["-sS", "-i"]).args(more).arg(&address));
    for (more, status) in [
        (&[][..], "426 Upgrade Required"),
        (&["--head"], "426 Upgrade Required"),
        (&["-H", "Connection: upgrade", "-H", "Upgrade: websocket"], "400 Bad Request"),
    ] {
        let answer = curl(more);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("\ncontent-type: application/problem+json"), "{answer}");
    }
    assert!(curl(&[]).contains("\nupgrade: websocket"));
    assert!(curl(&["--http2-prior-knowledge"]).starts_with("HTTP/2 426"));
}

#[test]
fn what_was_taken_in_is_answered_before_the_server_stops() {
    let mut server = Setup::new().start();
    let mut socket = WebSocket::connect(server.address(), "/-/ws", Some("dovetail.v1"), &[]).unwrap();
    assert_eq!(socket.json().unwrap()["type"], "hello");
    for n in 0..200 {
        let put = json!({"type": "put", "id": n, "path": format!("p/{}", n % 7), "value": n});
        socket.send_text(&put.to_string()).unwrap();
    }
    assert_eq!(socket.json().unwrap()["id"], 0);
    server.terminate();
    let mut answered = 1;
    let bye = loop {
        let frame = socket.json().unwrap();
        if frame["type"] == "bye" {
            break frame;
        }
        assert_eq!((&frame["type"], &frame["id"]), (&json!("result"), &json!(answered)));
        answered += 1;
    };
    assert_eq!((&bye["reason"], &bye["retry"]), (&json!("shutdown"), &json!(true)));
    assert_eq!(socket.close_code().unwrap(), Some(1001));
    assert!(server.wait(PATIENCE).unwrap().success());
}
