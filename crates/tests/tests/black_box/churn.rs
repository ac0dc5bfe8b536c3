//! Client ids that are taken over all the time, with subscriptions coming and going: nobody hangs, nobody is told what is
//! for another, and the server does not grow.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dovetail_tests::mqtt::{Connect, Mqtt, Publish, Version};
use dovetail_tests::random::Random;
use dovetail_tests::server::Setup;

use crate::environment::Length;

const IDS: u64 = 200;
const CLIENTS: usize = 8;
/// Connections that one client thread leaves open, for others to take over.
const HELD: usize = 12;
/// What the windows of recent commits and entries may hold once they are full, with what sessions take.
const WINDOWS_KIB: u64 = 128 * 1024;
/// By how much the server may grow in the second half of a run that is long enough to fill the windows in the first.
const GROWTH_KIB: u64 = 8 * 1024;
/// How long that is.
const LONG: Duration = Duration::from_mins(5);

#[test]
fn client_ids_that_are_taken_over_all_the_time_cost_nothing() {
    let server = Setup::new().start();
    let address = server.address();
    let mut random = Random::from_environment();
    let mut seconds = Length::of("DOVETAIL_CHURN_SECONDS", 15);
    let (is_over, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let (started, before) = (Instant::now(), server.memory_kib());
    let mut memory = Vec::new();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (random, is_over, rounds) = (random.fork(), &is_over, &rounds);
                scope.spawn(move || churn(address, random, is_over, rounds))
            })
            .collect();
        while seconds.goes_on_after(started.elapsed().as_secs())
            && clients.iter().all(|one| !one.is_finished())
        {
            // tidy: allow(sleep) the time between two looks at the memory
            std::thread::sleep(Duration::from_millis(100));
            memory.push(server.memory_kib());
        }
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
    });
    let (half, last) = (memory[memory.len() / 2], *memory.last().unwrap());
    seconds.report(&format!(
        "seconds, {} connections, memory {before}, {half}, {last} KiB",
        rounds.load(Ordering::Relaxed)
    ));
    assert!(last < before + WINDOWS_KIB, "grown from {before} to {last} KiB");
    let is_long = started.elapsed() > LONG;
    assert!(!is_long || last < half + GROWTH_KIB, "grown from {half} to {last} KiB in the second half");
}

/// Connects as anybody, does something, and leaves in one way or another, again and again.
fn churn(address: SocketAddr, mut random: Random, is_over: &AtomicBool, rounds: &AtomicU64) {
    let mut held: Vec<Somebody> = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        rounds.fetch_add(1, Ordering::Relaxed);
        let somebody = Somebody::connect(address, random.below(IDS)).and_then(|mut somebody| {
            for _ in 0..random.below(4) {
                somebody.does_something(&mut random)?;
            }
            Ok(somebody)
        });
        match somebody {
            Ok(somebody) => held.push(somebody),
            // Taken over in the middle of it.
            Err(error) => went(&error),
        }
        while held.len() > random.below(HELD as u64 + 1) as usize {
            let mut one = held.swap_remove(random.below(held.len() as u64) as usize);
            let left = one.client.ping().map(|()| one.look()).and_then(|()| {
                // The other half goes without a word.
                if random.below(2) == 0 { one.client.disconnect() } else { Ok(()) }
            });
            if let Err(error) = left {
                went(&error);
            }
        }
    }
}

/// Somebody else may have taken the id; anything but an end, above all silence, is a fault.
fn went(error: &io::Error) {
    let is_end = matches!(
        error.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
    );
    assert!(is_end, "neither served nor closed: {error}");
}

struct Somebody {
    id: u64,
    client: Mqtt,
}

impl Somebody {
    /// Every fourth id has a session that stays.
    fn connect(address: SocketAddr, id: u64) -> io::Result<Self> {
        let version = if id.is_multiple_of(2) { Version::V5 } else { Version::V311 };
        let name = format!("churn-{id}");
        let connect = if id.is_multiple_of(4) {
            Connect::persistent(version, &name)
        } else {
            Connect::new(version).named(&name)
        };
        Ok(Self { id, client: Mqtt::connect(address, &connect)? })
    }

    fn does_something(&mut self, random: &mut Random) -> io::Result<()> {
        let own = format!("churn/{}/#", self.id);
        match random.below(5) {
            0 | 1 => {
                let qos = random.below(3) as u8;
                assert_eq!(self.client.subscribe(&[(&own, qos)], &[])?, [qos]);
            }
            2 => self.client.unsubscribe(&[&own])?,
            _ => {
                let other = random.below(IDS);
                let topic = format!("churn/{other}/{}", random.below(3));
                let retain = random.below(8) == 0;
                let message = Publish { retain, ..Publish::put(&topic, b"for you", random.below(3) as u8) };
                assert_eq!(self.client.publish(&message)?.reason, 0);
            }
        }
        self.look();
        Ok(())
    }

    /// Nothing has come that is for another.
    fn look(&mut self) {
        let own = format!("churn/{}/", self.id);
        for message in self.client.take_inbox() {
            assert!(message.topic.starts_with(&own), "{own} was told {message:?}");
            assert_eq!(message.payload, b"for you");
        }
    }
}
