//! What users have: MQTT clients as they are, over every transport they know, in every version they speak.
//!
//! What each has to be able to do is in `crates/tests/clients`: `driver.py` for Python, `features.mjs` for JavaScript.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dovetail_tests::http::Http;
use dovetail_tests::mqtt::{Connect, Mqtt, Version};
use dovetail_tests::pages;
use dovetail_tests::process::Process;
use dovetail_tests::server::{Server, Setup};
use dovetail_tests::tools::{PATIENCE, finish, run, script};
use rustix::process::Signal;

use crate::docs;

/// What every version of MQTT can do.
const BASIC: [&str; 5] = ["qos", "retained", "will", "session", "share"];
/// What came with MQTT 5.
const FIVE: [&str; 4] = ["alias", "expiry", "request", "user"];

/// What a version can do, by its name anywhere.
fn features(version: &str) -> Vec<&'static str> {
    match version {
        "5" => [&BASIC[..], &FIVE].concat(),
        _ => BASIC.to_vec(),
    }
}

fn port(server: &Server) -> String {
    server.address().port().to_string()
}

/// Fails unless each line is there.
fn check(said: &str, lines: impl IntoIterator<Item = String>) {
    for line in lines {
        assert!(said.lines().any(|said| said == line), "nothing says \"{line}\" in:\n{said}");
    }
}

#[test]
fn python_clients_do_all_that_they_can() {
    let server = Setup::new().start();
    for (client, transport, versions) in [
        ("paho", "tcp", &["3.1", "3.1.1", "5"][..]),
        ("paho", "websockets", &["3.1", "3.1.1", "5"]),
        ("gmqtt", "tcp", &["3.1.1", "5"]),
    ] {
        for version in versions {
            let names = features(version);
            let mut driver = script("driver.py");
            let said = run(driver.args([client, transport, version, &port(&server)]).args(&names));
            check(&said, names.iter().map(|name| format!("{name} works")));
        }
    }
}

#[test]
fn mqtt_js_does_all_that_it_can_in_node() {
    let server = Setup::new().start();
    for transport in ["tcp", "ws"] {
        for version in ["3", "4", "5"] {
            let mut names = features(version);
            names.extend((version == "5").then_some("refusal"));
            let said = run(script("driver.mjs").args([transport, version, &port(&server)]).args(&names));
            check(&said, names.iter().map(|name| format!("{name} works")));
        }
    }
}

#[test]
fn mqtt_js_does_all_that_it_can_in_a_browser() {
    let server = Setup::new().start();
    let versions = ["3", "4", "5"];
    let parts = versions.map(|version| format!("{version}:{}", features(version).join(",")));
    let said = run(script("browser.mjs").arg(port(&server)).args(parts));
    let lines = |version| features(version).into_iter().map(move |name| format!("{version}: {name} works"));
    check(&said, versions.into_iter().flat_map(lines));
}

#[test]
fn the_page_of_the_documentation_works_in_a_browser() {
    let server = Setup::new().start();
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/mqtt.md");
    let page = pages::read(&std::fs::read_to_string(text).unwrap()).unwrap();
    let block = page.blocks.iter().find(|block| block.script.contains("<script")).unwrap();
    let place = tempfile::tempdir().unwrap();
    finish(docs::start(block, place.path(), Some(&server)), "the block that writes the page");

    let mut reader = Mqtt::connect(server.address(), &Connect::new(Version::V5)).unwrap();
    reader.subscribe(&[("plant/page", 1)], &[]).unwrap();
    reader.patience(PATIENCE).unwrap();
    let mut browser =
        Process::start(script("browser.mjs").arg(port(&server)).arg(place.path().join("plant.html")));
    assert_eq!(reader.receive().unwrap().payload, b"shown");
    browser.signal(Signal::TERM);
    assert!(browser.wait(PATIENCE).unwrap().success(), "{}", browser.output());
}

#[test]
fn the_proxy_of_the_documentation_passes_websockets_on() {
    let server = Setup::new().start();
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/mqtt.md")).unwrap();
    let location = text.split("```nginx").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let location = location.replace("127.0.0.1:8080", &server.address().to_string());
    let place = tempfile::tempdir().unwrap();
    // Free until nginx takes it, as it cannot choose one itself.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let root = place.path().display();
    let text = format!(
        "daemon off; pid {root}/pid; error_log stderr notice; events {{}} http {{ access_log off; \
         client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi; \
         uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi; \
         server {{ listen 127.0.0.1:{port}; {location} }} }}"
    );
    let configuration = place.path().join("nginx.conf");
    std::fs::write(&configuration, text).unwrap();
    let proxy = Process::start(Command::new("nginx").arg("-e").arg("stderr").arg("-c").arg(&configuration));
    proxy.says("start worker process");
    let names = features("5");
    let said = run(script("driver.mjs").args(["ws", "5", &port.to_string()]).args(&names));
    check(&said, names.iter().map(|name| format!("{name} works")));
    proxy.signal(Signal::TERM);
}

/// A command of mosquitto's, told where the server is and which version to speak.
fn mosquitto(program: &str, server: &Server, version: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-p", &port(server), "-V", version]).args(arguments);
    command
}

#[test]
fn mosquitto_publishes_and_subscribes() {
    let server = Setup::new().start();
    let mut http = Http::connect(server.address()).unwrap();
    assert_eq!(http.put("/house/1/door", "open").unwrap().status, 201);
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        let publish = |arguments: &[&str]| run(&mut mosquitto("mosquitto_pub", &server, version, arguments));
        let format = ["-i", "reader", "-q", "2", "-t", "house/#", "-C", "4", "-W", "20", "-F", "%r %q %t %p"];
        let subscriber = Process::start(&mut mosquitto("mosquitto_sub", &server, version, &format));
        subscriber.says("house/1/door open");
        publish(&["-q", "0", "-t", "house/1/bell", "-m", version]);
        publish(&["-q", "1", "-r", "-t", "house/2/door", "-m", version]);
        publish(&["-q", "2", "-r", "-t", "house/3/door", "-m", version]);
        let heard = finish(subscriber, "mosquitto_sub");
        let expected = [("bell", "1"), ("door", "2"), ("door", "3")];
        for (line, (name, number)) in heard.lines().skip(1).zip(expected) {
            let (live, topic) = (line.starts_with("0 "), format!("house/{number}/{name} {version}"));
            assert!(live && line.ends_with(&topic), "{line} instead of {topic} in:\n{heard}");
        }
        assert_eq!(heard.lines().count(), 4, "{heard}");
        assert_eq!(http.get("/house/2/door").unwrap().text(), version);
        for topic in ["house/2/door", "house/3/door"] {
            publish(&["-q", "1", "-r", "-t", topic, "-n"]);
            assert_eq!(http.get(&format!("/{topic}")).unwrap().status, 404);
        }
    }
}

#[test]
fn a_will_of_mosquitto_is_published_when_it_is_killed() {
    let server = Setup::new().start();
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        let topic = format!("will/{version}");
        let reader = ["-i", "reader", "-q", "1", "-t", &topic, "-C", "1", "-W", "20"];
        let mut reader = mosquitto("mosquitto_sub", &server, version, &reader);
        let mut mortal = ["-i", "mortal", "-q", "1", "-t", "life", "-t", "$SYS/x", "-v"].to_vec();
        mortal.extend(["--will-topic", &topic, "--will-payload", "gone", "--will-qos", "1", "--will-retain"]);
        let mut mortal = Process::start(&mut mosquitto("mosquitto_sub", &server, version, &mortal));
        let mut http = Http::connect(server.address()).unwrap();
        // It lives when it hears something.
        http.put("/life", version).unwrap();
        mortal.says("life ");
        mortal.kill();
        assert_eq!(run(&mut reader).trim(), "gone");
        assert_eq!(http.get(&format!("/{topic}")).unwrap().text(), "gone");
    }
}

#[test]
fn a_session_of_mosquitto_waits_for_it() {
    let server = Setup::new().start();
    for (version, expiry) in [("mqttv31", &[][..]), ("mqttv311", &[]), ("mqttv5", &["-x", "600"])] {
        let sleeper = [&["-c", "-i", version, "-q", "1", "-t", version, "-W", "20"], expiry].concat();
        let leaving = [&sleeper[..], &["-E"]].concat();
        run(&mut mosquitto("mosquitto_sub", &server, version, &leaving));
        for payload in ["one", "two"] {
            let message = ["-q", "1", "-t", version, "-m", payload];
            run(&mut mosquitto("mosquitto_pub", &server, version, &message));
        }
        let returning = [&sleeper[..], &["-C", "2"]].concat();
        let heard = run(&mut mosquitto("mosquitto_sub", &server, version, &returning));
        assert_eq!(heard.trim(), "one\ntwo", "{version}");
    }
}

#[test]
fn mosquitto_uses_what_came_with_mqtt_5() {
    let server = Setup::new().start();
    let property = |arguments: &[&str]| {
        let all = [&["-q", "1", "-r", "-t", "five/a", "-m", "21"], arguments].concat();
        run(&mut mosquitto("mosquitto_pub", &server, "mqttv5", &all));
    };
    property(
        &[
            &["-D", "publish", "user-property", "unit", "C"][..],
            &["-D", "publish", "content-type", "text/plain"],
            &["-D", "publish", "response-topic", "five/answers"],
            &["-D", "publish", "correlation-data", "seven"],
            &["-D", "publish", "message-expiry-interval", "100"],
            &["-D", "publish", "topic-alias", "3"],
        ]
        .concat(),
    );
    let format = ["-q", "1", "-t", "five/a", "-C", "1", "-W", "20", "-F", "%P %C %R %D %p %E"];
    let heard = run(&mut mosquitto("mosquitto_sub", &server, "mqttv5", &format));
    let left = heard.trim().strip_prefix("unit:C text/plain five/answers seven 21 ").expect(&heard);
    assert!((90..=100).contains(&left.parse::<u64>().unwrap()), "{heard}");

    // Its own command for questions and answers.
    let ask = ["-q", "1", "-t", "five/questions", "-e", "five/answers", "-m", "6 * 7", "-W", "20"];
    let mut teller = Mqtt::connect(server.address(), &Connect::new(Version::V5)).unwrap();
    teller.subscribe(&[("five/questions", 1)], &[]).unwrap();
    let asker = Process::start(&mut mosquitto("mosquitto_rr", &server, "mqttv5", &ask));
    let question = teller.receive().unwrap();
    assert_eq!(question.payload, b"6 * 7");
    teller.publish(&dovetail_tests::mqtt::Publish::put("five/answers", b"42", 1)).unwrap();
    assert_eq!(finish(asker, "mosquitto_rr").trim(), "42");
}

#[test]
fn a_websocket_ends_with_its_server() {
    let mut server = Setup::new().start();
    let waiting = Process::start(script("waiting.mjs").arg(port(&server)));
    waiting.says("connected");
    server.terminate();
    assert!(server.wait(Duration::from_secs(20)).unwrap().success());
    let said = finish(waiting, "waiting.mjs");
    check(&said, ["disconnected with 139".to_owned(), "closed with 1001".to_owned()]);
}
