//! What users have: their clients, as they are.

use std::process::Command;

use dovetail_tests::http::Http;
use dovetail_tests::process::Process;
use dovetail_tests::server::{Server, Setup};
use dovetail_tests::tools::{finish, run, script};

/// A command of mosquitto's, told where the server is.
fn mosquitto(program: &str, server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    let port = server.address().port().to_string();
    command.args(["-h", "127.0.0.1", "-p", &port]).args(arguments);
    command
}

#[test]
fn mosquitto_publishes_and_subscribes() {
    let server = Setup::new().start();
    let mut http = Http::connect(server.address()).unwrap();
    assert_eq!(http.put("/house/1/door", "open").unwrap().status, 201);
    for version in ["mqttv311", "mqttv5"] {
        let format = ["-V", version, "-q", "1", "-t", "house/#", "-C", "3", "-W", "20", "-F", "%r %t %p"];
        let subscriber = Process::start(&mut mosquitto("mosquitto_sub", &server, &format));
        subscriber.says("1 house/1/door open");
        for (qos, topic) in [("1", "house/2/door"), ("2", "house/3/door")] {
            run(&mut mosquitto(
                "mosquitto_pub",
                &server,
                &["-V", version, "-q", qos, "-r", "-t", topic, "-m", version],
            ));
        }
        let heard = finish(subscriber, "mosquitto_sub");
        assert!(heard.contains(&format!("0 house/2/door {version}\n0 house/3/door {version}")), "{heard}");
        assert_eq!(http.get("/house/2/door").unwrap().text(), version);
        for topic in ["house/2/door", "house/3/door"] {
            run(&mut mosquitto(
                "mosquitto_pub",
                &server,
                &["-V", version, "-q", "1", "-r", "-t", topic, "-n"],
            ));
            assert_eq!(http.get(&format!("/{topic}")).unwrap().status, 404);
        }
    }
}

#[test]
fn paho_speaks_both_versions() {
    let server = Setup::new().start();
    let port = server.address().port().to_string();
    for version in ["3.1.1", "5"] {
        let said = run(script("paho_client.py").args([&port, version]));
        assert!(said.contains("all well"), "{said}");
    }
}

#[test]
fn mqtt_js_speaks_both_versions() {
    let server = Setup::new().start();
    let port = server.address().port().to_string();
    for version in ["4", "5"] {
        let said = run(script("mqtt.mjs").args([&port, version]));
        assert!(said.contains("all well"), "{said}");
    }
}

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
