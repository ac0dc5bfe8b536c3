//! What users have: SignalR clients as they are, over every transport and in both protocols, and what the hub does about
//! clients that are none.
//!
//! What each has to be able to do is in `crates/tests/clients`: `signalr_features.mjs` for JavaScript, `signalr.py` for Python.

use std::process::Command;

use dovetail_tests::http::Http;
use dovetail_tests::process::Process;
use dovetail_tests::proxy::{Break, Cut, Proxy};
use dovetail_tests::random::Random;
use dovetail_tests::server::{Server, Setup};
use dovetail_tests::tools::{PATIENCE, finish, run, script};

/// What every transport carries in every protocol that it can carry.
const FEATURES: [&str; 9] =
    ["calls", "payloads", "batch", "watch", "changed", "upload", "large", "many", "unknown"];
/// Transports with protocols. An event stream is text, so that it carries no `MessagePack`.
const KINDS: [&str; 5] = [
    "WebSockets/json",
    "WebSockets/messagepack",
    "ServerSentEvents/json",
    "LongPolling/json",
    "LongPolling/messagepack",
];
/// Those of them that need a sign of life.
const PINGED: [&str; 3] = ["WebSockets/json", "WebSockets/messagepack", "ServerSentEvents/json"];

/// Bytes that the flood and the bombs may leave behind.
const LEFT_BEHIND_KIB: u64 = 64 << 10;

fn port(server: &Server) -> String {
    server.address().port().to_string()
}

/// Fails unless every feature of every kind works.
fn check(said: &str, kinds: &[&str], features: &[&str]) {
    for kind in kinds {
        for feature in features {
            let line = format!("{} {feature} works", kind.replace('/', " "));
            assert!(said.lines().any(|said| said == line), "nothing says \"{line}\" in:\n{said}");
        }
    }
}

/// The client in Node or in Chromium, told what to do.
fn client(name: &str, server: &Server, kinds: &[&str], features: &[&str]) -> Command {
    let mut command = script(name);
    command.arg(port(server)).args(kinds).arg("--").args(features);
    command
}

#[test]
fn the_client_of_microsoft_does_all_that_it_can_in_node() {
    let server = Setup::new().start();
    check(&run(&mut client("signalr.mjs", &server, &KINDS, &FEATURES)), &KINDS, &FEATURES);
}

#[test]
fn the_client_of_microsoft_does_the_same_in_a_browser() {
    let server = Setup::new().start();
    check(&run(&mut client("signalr_browser.mjs", &server, &KINDS, &FEATURES)), &KINDS, &FEATURES);
}

#[test]
fn signalrcore_does_all_that_it_can() {
    let server = Setup::new().start();
    let features = ["calls", "watch", "changed"];
    for protocol in ["json", "messagepack"] {
        let said = run(script("signalr.py").args([&port(&server), protocol]).args(features));
        for feature in features {
            let line = format!("{protocol} {feature} works");
            assert!(said.lines().any(|said| said == line), "nothing says \"{line}\" in:\n{said}");
        }
    }
}

#[test]
fn a_quiet_connection_is_pinged() {
    let server = Setup::new().start();
    let clients =
        PINGED.map(|kind| (kind, Process::start(&mut client("signalr.mjs", &server, &[kind], &["ping"]))));
    for (kind, client) in clients {
        check(&finish(client, kind), &[kind], &["ping"]);
    }
}

#[test]
fn a_watch_misses_nothing_when_the_server_is_killed_or_stopped() {
    const WRITES: u64 = 60;
    const KILL: u64 = 20;
    const STOP: u64 = 40;
    let place = tempfile::tempdir().unwrap();
    let start = || Setup::on(place.path()).start();
    let mut server = start();
    let proxy = Proxy::start(server.address());
    let port = proxy.address().port().to_string();
    let watchers = KINDS.map(|kind| {
        let (transport, protocol) = kind.split_once('/').unwrap();
        let mut command = script("signalr_follow.mjs");
        (kind, Process::start(command.args([&port, transport, protocol, &WRITES.to_string()])))
    });
    for (_, watcher) in &watchers {
        watcher.says("connected");
    }
    let mut http = Http::connect(server.address()).unwrap();
    for number in 1..=WRITES {
        let body = number.to_string().into_bytes();
        let answer =
            http.request("PUT", "/follow/n", &[("content-type", "application/json")], Some(&body)).unwrap();
        assert!(matches!(answer.status, 200 | 201 | 204), "{}", answer.status);
        if number == 1 {
            for (_, watcher) in &watchers {
                watcher.says("saw 1");
            }
        }
        if number == KILL || number == STOP {
            if number == KILL {
                server.kill();
            } else {
                server.terminate();
                assert!(server.wait(PATIENCE).unwrap().success());
            }
            server = start();
            proxy.set_server(server.address());
            http = Http::connect(server.address()).unwrap();
        }
    }
    for (kind, watcher) in watchers {
        let said = finish(watcher, kind);
        assert!(said.contains(&format!("saw {WRITES}")) && said.contains("reconnected"), "{kind}:\n{said}");
    }
}

#[test]
fn a_stateful_connection_does_not_notice_cuts() {
    const CUTS: usize = 12;
    let server = Setup::new().start();
    let mut random = Random::from_environment();
    for protocol in ["json", "messagepack"] {
        let proxy = Proxy::start(server.address());
        proxy.cut_each((0..CUTS).map(|number| {
            // Past the request for the WebSocket and its answer: what is cut there is no connection yet.
            let bytes = 800 + random.below(2500);
            let (from_client, from_server) =
                if number % 2 == 0 { (bytes, u64::MAX) } else { (u64::MAX, bytes) };
            let how = if random.below(2) == 0 { Break::Reset } else { Break::End };
            Cut { from_client, from_server, how }
        }));
        let through = proxy.address().port().to_string();
        let said =
            run(script("signalr_cuts.mjs").args([&port(&server), &through, protocol, &CUTS.to_string()]));
        assert!(said.contains(&format!("over {} connections", CUTS + 1)), "{said}");
    }
}

#[test]
fn abuse_is_answered_and_costs_little() {
    let server = Setup::new().start();
    let before = server.memory_kib();
    let said = run(script("signalr_abuse.mjs").arg(port(&server)));
    for what in [
        "messages that announce more than they hold",
        "records that are no messages",
        "handshakes that are none",
        "tokens that are none",
        "messages in pieces",
        "two transports of one token",
        "pages of other sites",
        "a flood of negotiations",
    ] {
        assert!(said.lines().any(|line| line == format!("survived {what}")), "{what}:\n{said}");
    }
    let left = server.memory_kib().saturating_sub(before);
    assert!(left < LEFT_BEHIND_KIB, "{left} KiB are left behind");
}

#[test]
fn clients_that_do_not_listen_cost_little() {
    let server = Setup::new().start();
    let before = server.memory_kib();
    let mut deaf = Process::start(script("signalr_deaf.mjs").arg(port(&server)));
    deaf.says("asked");
    let more = server.memory_kib().saturating_sub(before);
    assert!(more < LEFT_BEHIND_KIB, "{more} KiB are kept for them");
    deaf.kill();
    check(
        &run(&mut client("signalr.mjs", &server, &["WebSockets/json"], &["calls"])),
        &["WebSockets/json"],
        &["calls"],
    );
}
