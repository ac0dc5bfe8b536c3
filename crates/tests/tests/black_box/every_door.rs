//! A hundred subscribers on all doors at once, whose connections break at random bytes while the server is killed and
//! stopped under random writes: each is told what happened, in order, once and without a gap, and in the end all hold the
//! same state.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use dovetail_tests::frame::{Frame, Position};
use dovetail_tests::load::{self, Recorder};
use dovetail_tests::log::Log;
use dovetail_tests::proxy::{Break, Cut, Proxy};
use dovetail_tests::random::Random;
use dovetail_tests::server::{Server, Setup};
use dovetail_tests::validator::{Mode, Validator};
use dovetail_tests::watch::{self, Door, HubProtocol, Watch};

use crate::environment::{Length, RECORDER};

const SUBSCRIBERS: u32 = 100;
const FILTERS: [&str; 3] = ["load/#", "#", "load/+/k1"];
/// How long writers write in one round.
const LEAST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_millis(900);
/// Bytes from the server after which a connection breaks at the latest.
const CUT_WITHIN: u64 = 60_000;
/// How long a server that is asked to stop may take.
const STOPS_WITHIN: Duration = Duration::from_secs(15);

/// What subscribers are to do.
#[derive(Clone, Debug)]
enum Scene {
    /// There is no server.
    Dark,
    /// Connect, and be cut.
    On(SocketAddr),
    /// Connect, get to the end of what happened, and go.
    Last(SocketAddr, Arc<Log>),
    /// Go: the test has failed.
    Broken,
}

/// Where everybody looks what to do.
struct Stage {
    scene: Mutex<Scene>,
    changed: Condvar,
}

/// One subscription over all its connections.
struct Subscriber {
    door: Door,
    filter: &'static str,
    mode: Mode,
    random: Random,
    /// What each connection told.
    told: Vec<Vec<Frame>>,
}

#[test]
fn a_hundred_subscribers_of_every_door_see_the_same() {
    let (place, records) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut random = Random::from_environment();
    let mut rounds = Length::of("DOVETAIL_DOOR_ROUNDS", 5);
    let stage = Stage { scene: Mutex::new(Scene::Dark), changed: Condvar::new() };
    let mut subscribers: Vec<_> =
        (0..SUBSCRIBERS).map(|number| Subscriber::new(number, random.fork())).collect();
    let (log, histories) = std::thread::scope(|scope| {
        let stage = &stage;
        let _guard = Guard(stage);
        let running: Vec<_> =
            subscribers.iter_mut().map(|subscriber| scope.spawn(|| subscriber.run(stage))).collect();
        let mut histories = Vec::new();
        for round in rounds.by_ref() {
            let record = records.path().join(format!("round-{round}"));
            let mut server = Setup::on(place.path()).start();
            stage.set(Scene::On(server.address()));
            let name = format!("r{round}");
            let recorder = Recorder::start(RECORDER, server.address(), &record, &name, &mut random);
            // tidy: allow(sleep) the random moment is what is tested
            std::thread::sleep(random.between(LEAST, MOST));
            stage.set(Scene::Dark);
            end(&mut server, round % 2 == 0);
            histories.extend(recorder.histories());
        }
        let server = Setup::on(place.path()).start();
        let log = Arc::new(watch::history_among_records(server.address()).unwrap());
        stage.set(Scene::Last(server.address(), Arc::clone(&log)));
        for subscriber in running {
            subscriber.join().unwrap();
        }
        let after = watch::history_among_records(server.address()).unwrap();
        assert_eq!(after.fold(after.head(), "#"), log.fold(log.head(), "#"), "nobody wrote any more");
        (after, histories)
    });
    let tally = load::verify(&log, 0, histories.iter().map(Vec::as_slice)).unwrap();
    assert!(tally.done > 100, "hardly anything was written: {tally:?}");
    let connections: usize = subscribers.iter().map(|subscriber| subscriber.told.len()).sum();
    for subscriber in subscribers {
        subscriber.check(&log);
    }
    rounds.report(&format!("rounds, {connections} connections, {tally:?}"));
}

/// Ends a server under load, one way or the other.
fn end(server: &mut Server, kill: bool) {
    if kill {
        server.kill();
    } else {
        server.terminate();
        let status = server.wait(STOPS_WITHIN).expect("it did not stop in time");
        assert!(status.success(), "it stopped with {status}");
    }
}

/// Sends everybody home when the test fails, who would wait for ever.
struct Guard<'a>(&'a Stage);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set(Scene::Broken);
        }
    }
}

impl Stage {
    fn set(&self, scene: Scene) {
        *self.scene.lock().unwrap() = scene;
        self.changed.notify_all();
    }

    /// The scene, once there is a server.
    fn scene(&self) -> Scene {
        let scene = self.scene.lock().unwrap();
        self.changed.wait_while(scene, |scene| matches!(scene, Scene::Dark)).unwrap().clone()
    }
}

impl Subscriber {
    fn new(number: u32, random: Random) -> Self {
        let doors = [
            Door::Events,
            Door::Changes,
            Door::Session(number),
            Door::Tracked,
            Door::Socket,
            Door::Hub(HubProtocol::Json),
            Door::Hub(HubProtocol::MessagePack),
            Door::Poll,
        ];
        let door = doors[number as usize % doors.len()];
        let turn = number as usize / doors.len();
        let mode = if turn.is_multiple_of(2) || matches!(door, Door::Session(_)) {
            Mode::Every
        } else {
            Mode::Latest
        };
        Self { door, filter: FILTERS[turn % FILTERS.len()], mode, random, told: Vec::new() }
    }

    fn run(&mut self, stage: &Stage) {
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], 1)));
        let mut position = None;
        loop {
            match stage.scene() {
                Scene::Dark => {}
                Scene::Broken => return,
                Scene::On(address) => {
                    proxy.set_server(address);
                    proxy.cut_next(self.cut());
                    // One that breaks in the greeting tells nothing.
                    if let Ok(watch) = self.connect(&proxy, position.as_ref()) {
                        self.take(watch.until_its_end(), &mut position);
                    }
                }
                Scene::Last(address, log) => {
                    proxy.set_server(address);
                    proxy.cut_never();
                    return self.catch_up(&proxy, &log, &mut position);
                }
            }
        }
    }

    fn cut(&mut self) -> Cut {
        let how = if self.random.below(2) == 0 { Break::End } else { Break::Reset };
        let (from_client, from_server) = (200 + self.random.below(2_000), self.random.below(CUT_WITHIN));
        Cut { from_client, from_server, how }
    }

    fn connect(&self, proxy: &Proxy, position: Option<&Position>) -> io::Result<Watch> {
        Watch::start(proxy.address(), self.door, self.filter, self.mode, position)
    }

    fn take(&mut self, frames: Vec<Frame>, position: &mut Option<Position>) {
        for frame in &frames {
            match frame {
                Frame::BaselineBegin { .. } | Frame::Reset => *position = None,
                Frame::BaselineEnd { rev } | Frame::Change { rev, .. } | Frame::Progress { rev, .. } => {
                    let known = position.take().filter(|known| known.number > rev.number);
                    *position = Some(known.unwrap_or_else(|| rev.clone()));
                }
                Frame::Item { .. } | Frame::End => {}
            }
        }
        self.told.push(frames);
    }

    /// Gets to the last change that concerns it.
    fn catch_up(&mut self, proxy: &Proxy, log: &Log, position: &mut Option<Position>) {
        let known = position.as_ref().map_or(0, |position| position.number);
        let watch = self.connect(proxy, position.as_ref()).unwrap_or_else(|error| panic!("{self}: {error}"));
        let last = log.changes(known + 1..=log.head(), self.filter).last();
        assert!(last.is_none_or(|last| watch.reaches(last.number)), "{self} does not get to {last:?}");
        self.take(watch.stop(), position);
    }

    /// Whether what it was told is what happened, and what it holds is the state.
    fn check(&self, log: &Log) {
        let mut validator = Validator::new(self.filter, self.mode);
        let mut again = matches!(self.door, Door::Session(_)).then(Again::default);
        for told in &self.told {
            if again.is_none() {
                validator.reconnected();
            }
            for frame in told {
                let new = match &mut again {
                    Some(again) => again.without_what_is_known(validator.position(), frame.clone()),
                    None => vec![frame.clone()],
                };
                let result = new.iter().try_for_each(|frame| validator.frame(log, frame));
                result.unwrap_or_else(|violation| panic!("{self}: {violation}: {frame:?}"));
            }
        }
        validator.finish(log).unwrap_or_else(|violation| panic!("{self}: {violation}"));
        assert!(validator.seen.baselines >= 1, "{self} was told no state");
    }
}

/// What a client of a session with `QoS` 1 does about what is told again: it knows it.
#[derive(Default)]
struct Again {
    /// Of the baseline that is not complete.
    items: BTreeSet<(String, u64)>,
}

impl Again {
    fn without_what_is_known(&mut self, position: Option<u64>, frame: Frame) -> Vec<Frame> {
        match (frame, position) {
            // What is known up to here or further gives way to no older state, and anything else to a newer one.
            (Frame::BaselineBegin { rev }, Some(at)) if rev.number <= at => Vec::new(),
            (begin @ Frame::BaselineBegin { .. }, _) => {
                self.items.clear();
                vec![Frame::Reset, begin]
            }
            (Frame::Item { .. } | Frame::BaselineEnd { .. }, Some(_)) => Vec::new(),
            (Frame::Item { path, rev, bytes }, None) => {
                let is_new = self.items.insert((path.clone(), rev.number));
                if is_new { vec![Frame::Item { path, rev, bytes }] } else { Vec::new() }
            }
            (Frame::Change { rev, .. } | Frame::Progress { rev, .. }, Some(at)) if rev.number <= at => {
                Vec::new()
            }
            (Frame::Change { after, rev, changes }, Some(at)) => {
                let changes = changes.into_iter().filter(|change| change.number > at).collect();
                vec![Frame::Change { after: not_before(&after, at), rev, changes }]
            }
            (Frame::Progress { after, rev }, Some(at)) => {
                vec![Frame::Progress { after: not_before(&after, at), rev }]
            }
            (other, _) => vec![other],
        }
    }
}

fn not_before(after: &Position, at: u64) -> Position {
    Position::new(&after.epoch, after.number.max(at))
}

impl std::fmt::Display for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} {} ({} connections)", self.door, self.mode, self.filter, self.told.len())
    }
}
