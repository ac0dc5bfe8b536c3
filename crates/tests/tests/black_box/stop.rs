//! Told to stop in the middle of a load: it ends in time and well, says good-bye, and loses nothing.

use std::io::ErrorKind;
use std::time::Duration;

use dovetail_tests::http::Http;
use dovetail_tests::load::{self, Recorder};
use dovetail_tests::mqtt::{Connect, Mqtt, Packet, Version};
use dovetail_tests::random::Random;
use dovetail_tests::server::Setup;
use dovetail_tests::watch;

use crate::environment::{Length, RECORDER};
use crate::sessions::outlive;

/// The time from the signal to the end.
const DRAIN: Duration = Duration::from_secs(10);

#[test]
fn an_orderly_stop_under_load_loses_nothing() {
    let (place, records) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut random = Random::from_environment();
    let mut cycles = Length::of("DOVETAIL_STOP_CYCLES", 5);
    let mut log = None;
    for cycle in cycles.by_ref() {
        let mut server = Setup::on(place.path()).start();
        let address = server.address();
        let before = watch::extend(address, log.take()).unwrap();
        let record = records.path().join(format!("cycle-{cycle}"));
        let recorder = Recorder::start(RECORDER, address, &record, &format!("s{cycle}"), &mut random);
        // tidy: allow(sleep) the random moment is what is tested
        std::thread::sleep(random.between(Duration::from_millis(50), Duration::from_millis(400)));
        server.terminate();
        let status = server.wait(DRAIN).expect("ends in time");
        assert_eq!(status.code(), Some(0), "{}", server.log());
        let histories = recorder.histories();
        let head = before.head();
        let server = Setup::on(place.path()).start();
        let after = watch::extend(server.address(), Some(before)).unwrap();
        let tally = load::verify(&after, head, histories.iter().map(Vec::as_slice)).unwrap();
        assert!(tally.done > 0, "nothing was tested: {tally:?}");
        log = Some(after);
    }
    cycles.report("orderly stops");
}

#[test]
fn sessions_outlive_stops_under_load() {
    outlive(Length::of("DOVETAIL_STOP_CYCLES", 5), "orderly stops", |server, endings| {
        server.terminate();
        let status = server.wait(DRAIN).expect("ends in time");
        assert_eq!(status.code(), Some(0), "{}", server.log());
        for (version, ending) in endings.iter().take(3) {
            let error = ending.unwrap_err().to_string();
            // 0x8B: the server is shutting down; 3.1.1 has no such word.
            let is_told = error.contains(&format!("{:?}", Packet::Disconnect { reason: 0x8b }));
            assert!(is_told || version == Version::V311, "{version:?}: {error}");
        }
    });
}

#[test]
fn subscribers_are_told_that_the_server_stops() {
    let mut server = Setup::new().start();
    let mut events = Http::connect(server.address()).unwrap().events("/%23", None).unwrap();
    while events.next_event().unwrap().name != "sync" {}
    let mut mqtt = Mqtt::connect(server.address(), &Connect::new(Version::V5)).unwrap();
    mqtt.ping().unwrap();
    server.terminate();
    // 0x8B: the server is shutting down.
    assert_eq!(mqtt.packet().unwrap(), Packet::Disconnect { reason: 0x8b });
    let last = loop {
        let event = events.next_event().unwrap();
        if event.name != "progress" {
            break event;
        }
    };
    assert_eq!(last.name, "end");
    assert_eq!(events.next_event().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(server.wait(DRAIN).expect("ends in time").code(), Some(0));
}
