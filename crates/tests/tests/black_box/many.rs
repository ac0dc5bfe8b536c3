//! Eight hundred tracked subscriptions on one connection, some of which start again from far behind all the time: none
//! misses anything, and none is told late because of the others.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dovetail_tests::follow::Follower;
use dovetail_tests::frame::Effect;
use dovetail_tests::mqtt::{Connect, Mqtt, Publish, Version, pair};
use dovetail_tests::server::Setup;

use crate::environment::Length;

const SUBSCRIPTIONS: usize = 800;
/// The first so many of them are out of sync: each in turn starts again from the beginning of its history.
const BEHIND: usize = 5;
/// What those have to catch up with each time, at least.
const BACKLOG: usize = 400;
/// From the acknowledgement of a write to its arrival.
const LATE: Duration = Duration::from_secs(5);
/// Messages of the others between two restarts of subscriptions that are out of sync.
const RESTART_EVERY: u64 = 50;

/// Connections that write, each to its share of the topics.
const WRITERS: usize = 16;

/// What was published to each topic: the times at which it was acknowledged, by value.
type Published = Mutex<Vec<Vec<Instant>>>;

#[test]
fn subscriptions_that_are_behind_do_not_hold_up_the_others() {
    let server = Setup::new().start();
    let address = server.address();
    let published = Mutex::new(vec![Vec::new(); SUBSCRIPTIONS]);
    write(address, 0..BEHIND, BACKLOG, &published);
    let mut reader = Reader::subscribe(address);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut rounds = Length::of("DOVETAIL_SUBSCRIPTION_ROUNDS", 4);
            for _ in rounds.by_ref() {
                write(address, 0..SUBSCRIPTIONS, 1, &published);
            }
            rounds.report("rounds of writes");
        });
        let mut slowest = Duration::ZERO;
        while !writing.is_finished() {
            // There is nothing to wait for where everything has come, and the writers may be at their end.
            if reader.is_behind(&published) {
                slowest = slowest.max(reader.take(&published));
                reader.restart_when_due();
            } else {
                std::thread::yield_now();
            }
        }
        writing.join().unwrap();
        while reader.is_behind(&published) {
            slowest = slowest.max(reader.take(&published));
        }
        assert!(slowest <= LATE, "told {slowest:?} after it was acknowledged");
        assert!(reader.restarts > 0, "none was out of sync");
    });
}

/// Writes so many values to each of the topics.
fn write(address: SocketAddr, topics: Range<usize>, times: usize, published: &Published) {
    std::thread::scope(|scope| {
        for writer in 0..WRITERS.min(topics.len()) {
            let topics = topics.clone().skip(writer).step_by(WRITERS);
            scope.spawn(move || {
                let mut client = connect(address);
                for number in (0..times).flat_map(|_| topics.clone()) {
                    let value = published.lock().unwrap()[number].len().to_string();
                    let message = Publish::put(&topic(number), value.as_bytes(), 1);
                    assert_eq!(client.publish(&message).unwrap().reason, 0);
                    published.lock().unwrap()[number].push(Instant::now());
                }
            });
        }
    });
}

fn connect(address: SocketAddr) -> Mqtt {
    Mqtt::connect(address, &Connect::new(Version::V5)).unwrap()
}

fn topic(number: usize) -> String {
    format!("many/{number}/value")
}

fn filter(number: usize) -> String {
    format!("many/{number}/+")
}

struct Reader {
    client: Mqtt,
    subscriptions: Vec<Subscription>,
    /// The position before anything was written.
    start: String,
    /// Messages since the last restart, of subscriptions that are not out of sync.
    taken: u64,
    restarts: u64,
}

struct Subscription {
    follower: Follower,
    /// The next value that it has to be told.
    next: u64,
    /// Values below were told before it was made to start again.
    known: u64,
}

impl Reader {
    /// Subscribes to everything, from before the first write.
    fn subscribe(address: SocketAddr) -> Self {
        let mut client = connect(address);
        let start = first_position(address);
        let mut subscriptions = Vec::new();
        for number in 0..SUBSCRIPTIONS {
            let subscribed = client.subscribe(&[(&filter(number), 1)], &[pair("since", &start)]);
            assert_eq!(subscribed.unwrap(), [1]);
            let follower = Follower::at(start.parse().unwrap());
            subscriptions.push(Subscription { follower, next: 0, known: 0 });
        }
        Self { client, subscriptions, start, taken: 0, restarts: 0 }
    }

    /// Whether something has to be told that was acknowledged.
    fn is_behind(&self, published: &Published) -> bool {
        let published = published.lock().unwrap();
        self.subscriptions.iter().zip(&*published).any(|(one, times)| one.next < times.len() as u64)
    }

    /// Takes one message. Says how late it was.
    fn take(&mut self, published: &Published) -> Duration {
        let message = self.client.receive().unwrap();
        let number = number_of(&message);
        let subscription = &mut self.subscriptions[number];
        let told = subscription.follower.take(message).unwrap_or_else(|error| panic!("{number}: {error}"));
        let mut late = Duration::ZERO;
        for change in told {
            let Effect::Put(bytes) = &change.effect else { panic!("{change:?}") };
            let value: u64 = String::from_utf8_lossy(bytes).parse().unwrap();
            assert_eq!(value, subscription.next, "subscription {number} misses something");
            subscription.next += 1;
            // What it was told before is late on purpose, and so is what the writer wrote before anybody subscribed.
            if value >= subscription.known && (number >= BEHIND || value >= BACKLOG as u64) {
                // It may come before its writer has been told.
                let acknowledged = published.lock().unwrap()[number].get(value as usize).copied();
                late = late.max(acknowledged.map_or(Duration::ZERO, |at| at.elapsed()));
            }
        }
        // What a restart brings is not to bring the next.
        self.taken += u64::from(number >= BEHIND);
        late
    }

    fn restart_when_due(&mut self) {
        if self.taken >= RESTART_EVERY {
            self.taken = 0;
            self.restart((self.restarts % BEHIND as u64) as usize);
        }
    }

    /// Lets one subscription start from the beginning again, if it has been told all that was before it began.
    fn restart(&mut self, number: usize) {
        if self.subscriptions[number].next < BACKLOG as u64 {
            return;
        }
        self.client.unsubscribe(&[&filter(number)]).unwrap();
        // What had come before is of the old subscription; what comes after is of the new one.
        let come = self.client.take_inbox();
        for message in come.into_iter().filter(|message| number_of(message) != number) {
            self.client.put_back(message);
        }
        let properties = [pair("since", &self.start)];
        assert_eq!(self.client.subscribe(&[(&filter(number), 1)], &properties).unwrap(), [1]);
        let subscription = &mut self.subscriptions[number];
        subscription.known = subscription.known.max(subscription.next);
        subscription.next = 0;
        subscription.follower = Follower::at(self.start.parse().unwrap());
        self.restarts += 1;
    }
}

/// The subscription that a message belongs to: by its topic, or by the filter in a control message.
fn number_of(message: &Publish) -> usize {
    let text = if message.topic.starts_with("$feed/") {
        let said: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        said["filter"].as_str().unwrap().to_owned()
    } else {
        message.topic.clone()
    };
    text.split('/').nth(1).unwrap().parse().unwrap_or_else(|_| panic!("{message:?}"))
}

/// The position at which nothing had been written.
fn first_position(address: SocketAddr) -> String {
    let answer = dovetail_tests::http::Http::connect(address).unwrap().get("/%23").unwrap();
    let head = answer.header("dovetail-revision").unwrap();
    format!("{}.0", head.split('.').next().unwrap())
}
