//! Persistent sessions over kills of the server: what was confirmed reaches every session that waits for it, with QoS 2
//! never twice, and nobody's session is forgotten.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use dovetail_tests::mqtt::Version;
use dovetail_tests::mqtt::session::{Receiver, Sender};
use dovetail_tests::random::Random;
use dovetail_tests::server::Setup;

use crate::environment::Length;

const EARLIEST: Duration = Duration::from_millis(5);
const LATEST: Duration = Duration::from_millis(600);

#[test]
fn sessions_outlive_kills() {
    let place = tempfile::tempdir().unwrap();
    let mut random = Random::from_environment();
    let mut cycles = Length::of("DOVETAIL_SESSION_CYCLES", 15);
    let mut senders = [
        Sender::new(Version::V5, "s1", "session/one", 1),
        Sender::new(Version::V311, "s2", "session/two", 2),
        Sender::new(Version::V5, "s3", "session/three", 2),
    ];
    let mut receivers = [
        Receiver::new(Version::V5, "r1", "session/#", 1),
        Receiver::new(Version::V311, "r2", "session/#", 2),
        Receiver::new(Version::V5, "r3", "session/+", 2),
    ];
    let server = Setup::on(place.path()).start();
    for receiver in &mut receivers {
        receiver.subscribe(server.address()).unwrap();
    }
    drop(server);
    for _ in cycles.by_ref() {
        let mut server = Setup::on(place.path()).start();
        let address = server.address();
        thread::scope(|scope| {
            // Each ends when its connection does.
            for sender in &mut senders {
                scope.spawn(move || sender.run(address, None));
            }
            for receiver in &mut receivers {
                scope.spawn(move || receiver.run(address, |_| false));
            }
            // tidy: allow(sleep) the random moment is what is tested
            thread::sleep(random.between(EARLIEST, LATEST));
            server.kill();
        });
    }
    let server = Setup::on(place.path()).start();
    finish(server.address(), &mut senders, &mut receivers);
    for (sender, qos) in senders.iter().zip([1, 2, 2]) {
        check(sender, qos, &receivers);
    }
    cycles.report(&format!(
        "kills, {} messages confirmed",
        senders.iter().map(|s| s.confirmed().len()).sum::<usize>()
    ));
}

/// Every sender gets to an end, and every receiver is told of it.
fn finish(address: SocketAddr, senders: &mut [Sender], receivers: &mut [Receiver]) {
    let ends: Vec<_> = senders.iter().map(|sender| (sender.topic().to_owned(), sender.sent() + 3)).collect();
    thread::scope(|scope| {
        for (sender, (_, last)) in senders.iter_mut().zip(&ends) {
            scope.spawn(move || sender.run(address, Some(*last)).unwrap());
        }
        for receiver in receivers {
            let ends = &ends;
            scope.spawn(move || {
                let is_told =
                    |receiver: &Receiver| ends.iter().all(|(topic, last)| receiver.has(topic, *last));
                receiver.run(address, is_told).unwrap();
            });
        }
    });
}

fn check(sender: &Sender, qos: u8, receivers: &[Receiver]) {
    let confirmed = sender.confirmed();
    assert!(!confirmed.is_empty(), "nothing was tested");
    let topic = sender.topic();
    for (receiver, granted) in receivers.iter().zip([1, 2, 2]) {
        let mut got = receiver.got(topic);
        if qos.min(granted) < 2 {
            // Some come again, all of what follows them with them.
            let mut seen = 0;
            got.retain(|number| {
                let is_new = *number > seen;
                seen = seen.max(*number);
                is_new
            });
        }
        let expected: Vec<_> = (1..=confirmed.len() as u64).collect();
        assert_eq!(confirmed, expected, "{topic}");
        let first_wrong = got.iter().zip(&expected).position(|(got, expected)| got != expected);
        assert!(
            got == expected,
            "{topic} with QoS {granted}: {} of {}, wrong from {first_wrong:?}",
            got.len(),
            expected.len()
        );
    }
}
