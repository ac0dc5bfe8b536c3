//! Killed at a random moment, over and over, on the same data: nothing acknowledged is lost, nothing refused is applied,
//! nothing is applied twice, and no subscriber was told what is not so.

use std::path::Path;
use std::time::Duration;

use dovetail_tests::frame::{Frame, Position};
use dovetail_tests::load::{self, Act, Recorder, Tally};
use dovetail_tests::log::Log;
use dovetail_tests::random::Random;
use dovetail_tests::server::{Server, Setup};
use dovetail_tests::validator::{Mode, Validator};
use dovetail_tests::watch::{self, Door, HubProtocol, Watch};

use crate::environment::{Length, RECORDER};

/// A server has to be ready again within this.
const RESTART: Duration = Duration::from_secs(2);
const EARLIEST: Duration = Duration::from_millis(5);
const LATEST: Duration = Duration::from_millis(800);

/// A subscriber that comes back after every kill, where it was.
struct Subscriber {
    door: Door,
    filter: &'static str,
    mode: Mode,
    validator: Validator,
    watch: Option<Watch>,
    /// What it was told before the last kill, and what nobody has checked yet.
    told: Vec<Frame>,
}

#[test]
fn nothing_is_lost_and_nothing_is_invented() {
    let (place, records) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut random = Random::from_environment();
    let mut cycles = Length::of("DOVETAIL_KILL_CYCLES", 30);
    let mut subscribers = vec![
        Subscriber::new(Door::Events, "load/#", Mode::Every),
        Subscriber::new(Door::Events, "#", Mode::Latest),
        Subscriber::new(Door::Changes, "load/#", Mode::Every),
        Subscriber::new(Door::Changes, "load/+/k1", Mode::Latest),
        Subscriber::new(Door::Tracked, "load/#", Mode::Every),
        Subscriber::new(Door::Tracked, "#", Mode::Latest),
        Subscriber::new(Door::Socket, "load/#", Mode::Every),
        Subscriber::new(Door::Socket, "#", Mode::Latest),
        Subscriber::new(Door::Hub(HubProtocol::Json), "load/#", Mode::Every),
        Subscriber::new(Door::Hub(HubProtocol::MessagePack), "#", Mode::Latest),
        Subscriber::new(Door::Poll, "load/#", Mode::Every),
        Subscriber::new(Door::Poll, "load/+/k1", Mode::Latest),
    ];
    let mut log = None;
    let mut tally = Tally::default();
    for cycle in cycles.by_ref() {
        let (server, now) = restart(place.path(), log.take(), &mut subscribers);
        let before = now.head();
        let record = records.path().join(format!("cycle-{cycle}"));
        let recorder =
            Recorder::start(RECORDER, server.address(), &record, &format!("c{cycle}"), &mut random);
        let histories = kill(server, recorder, &mut random, &mut subscribers);
        // Started once more only to see what the kill has left.
        let (_server, now) = restart(place.path(), Some(now), &mut []);
        let found = load::verify(&now, before, histories.iter().map(Vec::as_slice)).unwrap();
        tally.done += found.done;
        tally.refused += found.refused;
        tally.unknown_applied += found.unknown_applied;
        tally.unknown_lost += found.unknown_lost;
        log = Some(now);
    }
    cycles.report(&format!("kills, {tally:?}"));
    assert!(tally.done > 0 && tally.refused > 0, "nothing was tested: {tally:?}");
    rest(place.path(), log.unwrap(), subscribers);
}

/// Starts the server on what the last kill left, reads what is new in the history, and checks with it what the
/// subscribers were told before the kill.
fn restart(place: &Path, log: Option<Log>, subscribers: &mut [Subscriber]) -> (Server, Log) {
    let server = Setup::on(place).start();
    assert!(server.took() <= RESTART, "ready after {:?}", server.took());
    let log = watch::extend(server.address(), log).unwrap();
    for subscriber in subscribers {
        subscriber.check(&log);
        subscriber.connect(&server, &log);
    }
    (server, log)
}

/// Lets everybody write until a random moment, and kills the server at it.
fn kill(
    mut server: Server,
    recorder: Recorder,
    random: &mut Random,
    subscribers: &mut [Subscriber],
) -> Vec<Vec<Act>> {
    // tidy: allow(sleep) the random moment is what is tested
    std::thread::sleep(random.between(EARLIEST, LATEST));
    server.kill();
    for subscriber in subscribers {
        subscriber.disconnect();
    }
    recorder.histories()
}

/// At the end: the server at rest, every subscriber at the head with the right state, and the whole history the same as
/// what was read of it piece by piece.
fn rest(place: &Path, log: Log, mut subscribers: Vec<Subscriber>) {
    let (server, log) = restart(place, Some(log), &mut subscribers);
    let again = watch::extend(server.address(), None).unwrap();
    assert_eq!(again, log, "the history has changed");
    for subscriber in &mut subscribers {
        subscriber.catch_up(&log);
        subscriber.disconnect();
        subscriber.check(&log);
        subscriber.validator.finish(&log).unwrap_or_else(|violation| panic!("{subscriber}: {violation}"));
        assert!(subscriber.validator.seen.baselines >= 1);
        assert!(subscriber.validator.seen.changes >= 1, "{subscriber} was told nothing");
    }
}

impl Subscriber {
    fn new(door: Door, filter: &'static str, mode: Mode) -> Self {
        Self { door, filter, mode, validator: Validator::new(filter, mode), watch: None, told: Vec::new() }
    }

    fn connect(&mut self, server: &Server, log: &Log) {
        self.validator.reconnected();
        let since = self.validator.position().map(|number| Position::new(log.epoch(), number));
        let watch = Watch::start(server.address(), self.door, self.filter, self.mode, since.as_ref());
        self.watch = Some(watch.unwrap_or_else(|error| panic!("{self}: {error}")));
    }

    fn disconnect(&mut self) {
        self.told.extend(self.watch.take().into_iter().flat_map(Watch::stop));
    }

    fn check(&mut self, log: &Log) {
        for frame in std::mem::take(&mut self.told) {
            let result = self.validator.frame(log, &frame);
            result.unwrap_or_else(|violation| panic!("{self}: {violation}: {frame:?}"));
        }
    }

    /// Waits until the subscriber was told the last thing that concerns it.
    fn catch_up(&self, log: &Log) {
        let known = self.validator.position().unwrap_or(0);
        let last = log.changes(known + 1..=log.head(), self.filter).last();
        let watch = self.watch.as_ref().unwrap();
        assert!(last.is_none_or(|last| watch.reaches(last.number)), "{self} does not get to {last:?}");
    }
}

impl std::fmt::Display for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} {}", self.door, self.mode, self.filter)
    }
}
