//! The WebSocket of browsers with the real program: every call, watches, and what happens at the end.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use dovetail_tests::http::Http;
use dovetail_tests::pages;
use dovetail_tests::process::Process;
use dovetail_tests::proxy::Proxy;
use dovetail_tests::server::{Server, Setup};
use dovetail_tests::tools::{PATIENCE, finish, run, script};
use dovetail_tests::websocket::WebSocket;
use rustix::process::Signal;
use serde_json::json;

use crate::docs;

/// Between two looks at a metric.
const GLANCE: Duration = Duration::from_millis(20);

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

/// Opens the page of a document in a browser. The page finds the server through `proxy`.
fn open(document: &str, server: &Server, proxy: &Proxy, place: &Path) -> Process {
    open_page(document, "plant.html", server, proxy, place)
}

/// The same, of a document that writes more than one.
pub(crate) fn open_page(document: &str, page: &str, server: &Server, proxy: &Proxy, place: &Path) -> Process {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(document);
    let document = pages::read(&std::fs::read_to_string(text).unwrap()).unwrap();
    let writes = format!("cat > {page} ");
    let block = document.blocks.iter().find(|block| block.script.starts_with(&writes)).unwrap();
    finish(docs::start(block, place, Some(server)), "the block that writes the page");
    let page = place.join(page);
    let text = std::fs::read_to_string(&page).unwrap();
    let direct = server.address().to_string();
    assert!(text.contains(&direct));
    std::fs::write(&page, text.replace(&direct, &proxy.address().to_string())).unwrap();
    Process::start(script("browser.mjs").arg(server.address().port().to_string()).arg(page))
}

/// What a metric of the server says.
fn metric(server: &Server, name: &str) -> u64 {
    let metrics = Http::connect(server.address()).unwrap().get("/-/metrics").unwrap().text().clone();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in:\n{metrics}")).parse().unwrap()
}

/// Waits until a metric of the server is at least so much.
fn wait_for(server: &Server, name: &str, least: u64) {
    let started = Instant::now();
    while metric(server, name) < least {
        assert!(started.elapsed() < PATIENCE, "waited for {name} to be {least}");
        // tidy: allow(sleep) nothing tells of a metric, and asking without a pause takes the time that the browser needs
        std::thread::sleep(GLANCE);
    }
}

/// Waits until the page has said how many rows it shows, and says at which revision it did.
fn shown(server: &Server, rows: &str) -> String {
    let mut http = Http::connect(server.address()).unwrap();
    let started = Instant::now();
    loop {
        let answer = http.get("/plant/page").unwrap();
        if answer.status == 200 && answer.text() == rows {
            return answer.header("etag").unwrap().to_owned();
        }
        assert!(started.elapsed() < PATIENCE, "the page shows {}", answer.text());
        let read_at = answer.header("dovetail-revision").unwrap();
        http.get(&format!("/plant/page?since={read_at}&wait=2s")).unwrap();
    }
}

#[test]
fn the_page_of_the_documentation_comes_back_after_a_kill_where_it_was() {
    let (data, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = Setup::on(data.path()).start();
    let proxy = Proxy::start(server.address());
    assert_eq!(Http::connect(server.address()).unwrap().put("/plant/7/temp", "21").unwrap().status, 201);
    let mut browser = open("websocket.md", &server, &proxy, place.path());
    let first = shown(&server, "1 rows");
    server.kill();

    let server = Setup::on(data.path()).start();
    proxy.set_server(server.address());
    wait_for(&server, "dovetail_ws_watches", 1);
    assert_eq!(Http::connect(server.address()).unwrap().put("/plant/8/temp", "22").unwrap().status, 201);
    wait_for(&server, "dovetail_ws_frames_total", 2);
    // It has asked to be told what it missed and nothing else: with a state it says how many rows there are.
    assert_eq!(metric(&server, "dovetail_ws_requests_total"), 1);
    assert_eq!(shown(&server, "1 rows"), first);
    browser.signal(Signal::TERM);
    assert!(browser.wait(PATIENCE).unwrap().success(), "{}", browser.output());
}

#[test]
fn the_page_with_an_event_stream_works_in_a_browser() {
    let place = tempfile::tempdir().unwrap();
    let server = Setup::new().start();
    let proxy = Proxy::start(server.address());
    assert_eq!(Http::connect(server.address()).unwrap().put("/plant/7/temp", "21").unwrap().status, 201);
    let mut browser = open("sse.md", &server, &proxy, place.path());
    shown(&server, "1 rows");
    wait_for(&server, "dovetail_http_event_streams", 1);
    browser.signal(Signal::TERM);
    assert!(browser.wait(PATIENCE).unwrap().success(), "{}", browser.output());
}

#[test]
fn the_page_with_signalr_comes_back_after_a_kill_where_it_was() {
    let (data, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = Setup::on(data.path()).start();
    let proxy = Proxy::start(server.address());
    assert_eq!(Http::connect(server.address()).unwrap().put("/plant/7/temp", "21").unwrap().status, 201);
    let mut browser = open("signalr.md", &server, &proxy, place.path());
    let first = shown(&server, "1 rows");
    server.kill();

    let server = Setup::on(data.path()).start();
    proxy.set_server(server.address());
    wait_for(&server, "dovetail_signalr_invocations_total", 1);
    assert_eq!(Http::connect(server.address()).unwrap().put("/plant/8/temp", "22").unwrap().status, 201);
    // How far it is already, and the change; a state would be told with more, and the page would say how many rows there are.
    wait_for(&server, "dovetail_signalr_messages_sent_total", 2);
    assert_eq!(metric(&server, "dovetail_signalr_invocations_total"), 1);
    assert_eq!(shown(&server, "1 rows"), first);
    browser.signal(Signal::TERM);
    assert!(browser.wait(PATIENCE).unwrap().success(), "{}", browser.output());
}
