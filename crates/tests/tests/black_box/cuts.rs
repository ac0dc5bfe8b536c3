//! Connections that break at any byte, in either direction and in every way, over and over: sessions and tracked
//! subscriptions go on without a gap, and with QoS 2 nothing comes twice, neither from a publisher nor to a subscriber.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use dovetail_tests::follow::Follower;
use dovetail_tests::frame::{Change, Effect};
use dovetail_tests::mqtt::session::{Receiver, Sender};
use dovetail_tests::mqtt::{Connect, Mqtt, Packet, Version, pair};
use dovetail_tests::proxy::{Break, Cut, Proxy};
use dovetail_tests::random::Random;
use dovetail_tests::server::Setup;

use crate::environment::Length;
use crate::sessions;

/// Silence that a client takes for a broken connection.
const PATIENCE: Duration = Duration::from_millis(500);
/// Messages that a sender sends on one connection, if it does not break before.
const MESSAGES: u64 = 8;
/// Connections that each client may need in the end, when nothing is cut any more.
const LAST_CONNECTIONS: usize = 60;

#[test]
fn sessions_and_positions_go_on_where_their_connections_broke() {
    let server = Setup::new().start();
    let address = server.address();
    let mut random = Random::from_environment();
    let mut length = Length::of("DOVETAIL_CUTS", 400);
    let cuts = AtomicU64::new(0);
    let mut senders = [(Version::V5, "cut/two", 2), (Version::V311, "cut/one", 1)]
        .map(|(version, topic, qos)| Sender::new(version, topic, topic, qos).with_patience(PATIENCE));
    let mut receivers = [
        Receiver::new(Version::V5, "five-one", "cut/#", 1),
        Receiver::new(Version::V5, "five-two", "cut/+", 2),
        Receiver::new(Version::V311, "three-one", "cut/#", 1),
        Receiver::new(Version::V311, "three-two", "#", 2),
    ]
    .map(|receiver| receiver.with_patience(PATIENCE));
    for receiver in &mut receivers {
        receiver.subscribe(address).unwrap();
    }
    let mut followed = Followed::default();
    followed.follow(address, |_| false).unwrap();

    let last = Mutex::new(BTreeMap::<String, u64>::new());
    // Whether somebody has got everything, which nobody has while somebody still sends.
    let is_all = |has: &dyn Fn(&str, u64) -> bool| {
        let last = last.lock().unwrap();
        last.len() == 2 && last.iter().all(|(topic, number)| has(topic, *number))
    };
    std::thread::scope(|scope| {
        let mut link = || Link::new(address, random.fork(), &cuts);
        let mut working: Vec<ScopedJoinHandle<'_, ()>> = Vec::new();
        for sender in &mut senders {
            let (link, last) = (link(), &last);
            working.push(scope.spawn(move || {
                send(sender, link);
                last.lock().unwrap().insert(sender.topic().to_owned(), sender.sent());
            }));
        }
        for receiver in &mut receivers {
            let (mut link, is_all) = (link(), &is_all);
            let is_enough = move |receiver: &Receiver| is_all(&|topic, number| receiver.has(topic, number));
            working.push(scope.spawn(move || {
                while !is_enough(receiver) {
                    link.next();
                    broke(receiver.run(link.address(), is_enough));
                }
            }));
        }
        let (mut link, is_all, followed) = (link(), &is_all, &mut followed);
        let is_enough = move |followed: &Followed| is_all(&|topic, number| followed.has(topic, number));
        working.push(scope.spawn(move || {
            while !is_enough(followed) {
                link.next();
                broke(followed.follow(link.address(), is_enough));
            }
        }));
        while length.goes_on_after(cuts.load(Ordering::Relaxed))
            && !working.iter().any(ScopedJoinHandle::is_finished)
        {
            // tidy: allow(sleep) only how often progress is looked at
            std::thread::sleep(Duration::from_millis(20));
        }
        cuts.fetch_or(OVER, Ordering::Relaxed);
        for one in working {
            one.join().unwrap();
        }
    });
    length.report("cuts");
    for sender in &senders {
        sessions::check(sender, &receivers);
        followed.check(sender);
    }
}

/// Set in the number of cuts when there are to be no more.
const OVER: u64 = 1 << 63;

/// A way to the server that breaks.
struct Link<'a> {
    proxy: Proxy,
    random: Random,
    cuts: &'a AtomicU64,
    last_connections: usize,
}

impl<'a> Link<'a> {
    fn new(server: SocketAddr, random: Random, cuts: &'a AtomicU64) -> Self {
        Self { proxy: Proxy::start(server), random, cuts, last_connections: 0 }
    }

    /// Lets the next connection break somewhere, unless that is over. Says whether it is.
    fn next(&mut self) -> bool {
        if self.cuts.load(Ordering::Relaxed) >= OVER {
            self.last_connections += 1;
            assert!(self.last_connections < LAST_CONNECTIONS, "it does not get to an end");
            return true;
        }
        self.cuts.fetch_add(1, Ordering::Relaxed);
        // Often early, since there is most to be broken while sessions are taken up again.
        let most = [64, 400, 4000][self.random.below(3) as usize];
        let bytes = 1 + self.random.below(most);
        let (from_client, from_server) =
            if self.random.below(2) == 0 { (bytes, u64::MAX) } else { (u64::MAX, bytes) };
        let how = match self.random.below(20) {
            0 => Break::Silence,
            1..=9 => Break::Reset,
            _ => Break::End,
        };
        self.proxy.cut_next(Cut { from_client, from_server, how });
        false
    }

    fn address(&self) -> SocketAddr {
        self.proxy.address()
    }
}

/// A broken connection is what these tests are about; anything else is not.
fn broke(result: io::Result<()>) {
    if let Err(error) = result {
        let is_break = matches!(
            error.kind(),
            ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::WouldBlock
                | ErrorKind::TimedOut
        );
        // An earlier CONNECT that the network kept for a while takes the id from a later one.
        let is_late = error.to_string().contains(&format!("{:?}", Packet::Disconnect { reason: 0x8e }));
        assert!(is_break || is_late, "{error}");
    }
}

/// Sends until it is over and everything is confirmed.
fn send(sender: &mut Sender, mut link: Link<'_>) {
    loop {
        let is_over = link.next();
        let last = sender.sent() + if is_over { 0 } else { MESSAGES };
        if is_over && sender.confirmed().last() == Some(&last) {
            return;
        }
        broke(sender.run(link.address(), Some(last)));
    }
}

/// What a tracked subscription was told, over all its connections.
#[derive(Debug, Default)]
struct Followed {
    follower: Follower,
    got: BTreeMap<String, Vec<u64>>,
}

impl Followed {
    /// Goes on where it was for as long as `is_enough` does not say so.
    fn follow(&mut self, address: SocketAddr, is_enough: impl Fn(&Self) -> bool) -> io::Result<()> {
        self.follower.broke();
        let mut client = Mqtt::connect_within(address, &Connect::new(Version::V5), PATIENCE)?;
        client.subscribe(&[("cut/#", 1)], &[pair("since", &self.follower.since())])?;
        let is_first = self.follower.since().is_empty();
        loop {
            let told = self.follower.take(client.receive()?).unwrap_or_else(|error| panic!("{error}"));
            for Change { path, effect, .. } in told {
                let (Effect::Put(bytes) | Effect::Event(bytes)) = effect else {
                    panic!("nobody deletes {path}")
                };
                let number = String::from_utf8_lossy(&bytes).parse().unwrap();
                self.got.entry(path).or_default().push(number);
            }
            if is_first && !self.follower.since().is_empty() || is_enough(self) {
                return client.disconnect();
            }
        }
    }

    fn has(&self, topic: &str, number: u64) -> bool {
        self.got.get(topic).is_some_and(|got| got.contains(&number))
    }

    /// It was told what is in the journal: everything in order, and twice only what the sender itself sent again.
    fn check(&self, sender: &Sender) {
        let mut highest = 0;
        for &number in &self.got[sender.topic()] {
            let is_again = number <= highest && sender.qos() == 1;
            assert!(number == highest + 1 || is_again, "{}: {number} after {highest}", sender.topic());
            highest = highest.max(number);
        }
        assert_eq!(highest, sender.sent(), "{}", sender.topic());
    }
}
