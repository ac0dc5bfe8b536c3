//! Persistent sessions over kills of the server: what was confirmed reaches every session that waits for it, with QoS 2
//! never twice, and nobody's session is forgotten.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver as Listener};
use std::thread;
use std::time::Duration;

use dovetail_tests::mqtt::Version;
use dovetail_tests::mqtt::session::{Receiver, Sender};
use dovetail_tests::random::Random;
use dovetail_tests::server::{Server, Setup};

use crate::environment::Length;

const EARLIEST: Duration = Duration::from_millis(5);
const LATEST: Duration = Duration::from_millis(600);

/// How the connections of receivers ended, as they do.
pub(crate) type Endings = Listener<(Version, io::Result<()>)>;

#[test]
fn sessions_outlive_kills() {
    outlive(Length::of("DOVETAIL_SESSION_CYCLES", 15), "kills", |server, _| server.kill());
}

/// Messages go to sessions while the server ends, in the way of `end`, and starts again, over and over. `end` is also told
/// how the connections of the receivers ended, with their versions.
pub(crate) fn outlive(mut cycles: Length, what: &str, mut end: impl FnMut(&mut Server, &Endings)) {
    let place = tempfile::tempdir().unwrap();
    let mut random = Random::from_environment();
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
            let (ended, endings) = mpsc::sync_channel(receivers.len());
            for receiver in &mut receivers {
                let ended = ended.clone();
                scope.spawn(move || {
                    let version = receiver.version();
                    // Whoever listens no more has seen enough.
                    let _ = ended.send((version, receiver.run(address, |_| false)));
                });
            }
            // tidy: allow(sleep) the random moment is what is tested
            thread::sleep(random.between(EARLIEST, LATEST));
            end(&mut server, &endings);
        });
    }
    let server = Setup::on(place.path()).start();
    finish(server.address(), &mut senders, &mut receivers);
    for sender in &senders {
        check(sender, &receivers);
    }
    cycles.report(&format!(
        "{what}, {} messages confirmed",
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

/// Every receiver got everything in order; twice only where a QoS of 1 lets it.
pub(crate) fn check(sender: &Sender, receivers: &[Receiver]) {
    let confirmed = sender.confirmed();
    assert!(!confirmed.is_empty(), "nothing was tested");
    let topic = sender.topic();
    for receiver in receivers {
        let all = receiver.got(topic);
        let mut got = all.clone();
        if sender.qos().min(receiver.qos()) < 2 {
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
            "{topic} with QoS {}: {} of {}, wrong from {first_wrong:?}; all that came begins with {:?}",
            receiver.qos(),
            got.len(),
            expected.len(),
            &all[..all.len().min(first_wrong.unwrap_or(0) + 40)]
        );
    }
}
