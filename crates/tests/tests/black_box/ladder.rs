//! A page that tries the ways to follow from above, in a browser, behind proxies that let ever fewer of them through.

use std::time::{Duration, Instant};

use dovetail_tests::http::Http;
use dovetail_tests::proxy::Proxy;
use dovetail_tests::server::{Server, Setup};
use rustix::process::Signal;

use crate::websocket_door::open_page;

/// How long a page may take to be where it has to be.
const PATIENCE: Duration = Duration::from_secs(30);

/// The rungs, each with what a proxy that does not have it refuses.
const RUNGS: [(&str, &str); 4] =
    [("websocket", "upgrade: websocket"), ("events", "text/event-stream"), ("poll", "wait="), ("look", "")];

#[test]
fn a_page_stands_on_the_highest_rung_that_is_open() {
    let server = Setup::new().start();
    let mut http = Http::connect(server.address()).unwrap();
    for (index, (rung, _)) in RUNGS.iter().enumerate() {
        let place = tempfile::tempdir().unwrap();
        let proxy = Proxy::start(server.address());
        let refused: Vec<_> = RUNGS[..index].iter().map(|(_, word)| *word).collect();
        proxy.refuse(&refused);
        http.put("/plant/7/temp", &format!("{rung} 1")).unwrap();
        let mut browser = open_page("sse.md", "ladder.html", &server, &proxy, place.path());
        stands(&server, rung, &format!("plant/7/temp: {rung} 1"));
        http.put("/plant/7/temp", &format!("{rung} 2")).unwrap();
        stands(&server, rung, &format!("plant/7/temp: {rung} 2"));
        http.put("/plant/8/temp", "more").unwrap();
        stands(&server, rung, &format!("plant/7/temp: {rung} 2\nplant/8/temp: more"));
        assert_eq!(http.request("DELETE", "/plant/8/temp", &[], None).unwrap().status, 204);
        stands(&server, rung, &format!("plant/7/temp: {rung} 2"));
        browser.signal(Signal::TERM);
        assert!(browser.wait(PATIENCE).unwrap().success(), "{}", browser.output());
        let standing = http.get("/standing/").unwrap().json();
        let rungs: Vec<_> =
            standing["items"].as_array().unwrap().iter().map(|entry| entry["path"].clone()).collect();
        assert_eq!(rungs, [format!("standing/{rung}")], "it stood on others");
        assert_eq!(http.request("DELETE", &format!("/standing/{rung}"), &[], None).unwrap().status, 204);
    }
}

/// Waits until the page says that it stands on `rung` and shows `rows`.
fn stands(server: &Server, rung: &str, rows: &str) {
    let mut http = Http::connect(server.address()).unwrap();
    let head = http.get("/standing/").unwrap().header("dovetail-revision").unwrap().to_owned();
    let started = Instant::now();
    let mut since = head.trim_matches('"').to_owned();
    loop {
        let answer = http.get(&format!("/standing/{rung}")).unwrap();
        if answer.status == 200 && answer.text() == rows {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "on {rung}: {} {}", answer.status, answer.text());
        let news = http.get(&format!("/standing/?since={since}&wait=2s")).unwrap().json();
        news["rev"].as_str().unwrap().clone_into(&mut since);
    }
}
