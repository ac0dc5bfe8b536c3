//! Wills, as a table of how clients and servers go: each is published exactly once, or never, and not before its time.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use dovetail_tests::follow::Follower;
use dovetail_tests::frame::Effect;
use dovetail_tests::mqtt::{Connect, Mqtt, Publish, Version, pair};
use dovetail_tests::random::Random;
use dovetail_tests::server::{Server, Setup};

use crate::environment::Length;

/// How a client, or its server, goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Going {
    /// The connection breaks.
    Breaks,
    /// DISCONNECT.
    SaysGoodBye,
    /// DISCONNECT with the wish that the will be published (0x04).
    WantsItsWill,
    /// Another connection takes the client id and goes on with the session.
    IsTakenOver,
    /// Another connection takes the client id and starts anew.
    IsReplaced,
    /// The connection breaks, and the client is back before the delay is over.
    Returns,
    /// The connection breaks, and the client is back before the delay is over, but with a clean start.
    StartsAnew,
    /// The server is killed.
    IsKilled,
    /// The server is killed, and the client is back before the delay is over.
    IsKilledAndReturns,
    /// The connection breaks just before the server is killed.
    BothAtOnce,
}
use Going::*;

/// What is promised of a will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Once, at once.
    Once,
    /// Once, and not before a second has passed.
    OnceLater,
    Never,
}
use Fate::*;

/// Delay of the will in seconds, expiry of the session in seconds, how the client goes, what becomes of the will. The
/// versions are 5 and, where the delay is `None` and the session ends with a good-bye only, 3.1.1 as well.
type Row = (Option<u32>, u32, Going, Fate);

#[rustfmt::skip]
const TABLE: [Row; 20] = [
    (None,     0,    Breaks,             Once),
    (None,     60,   Breaks,             Once),
    (Some(1),  60,   Breaks,             OnceLater),
    // The end of the session ends the delay [MQTT-3.1.3-9].
    (Some(60), 0,    Breaks,             Once),
    (Some(60), 1,    Breaks,             OnceLater),
    (None,     60,   SaysGoodBye,        Never),
    (Some(60), 0,    SaysGoodBye,        Never),
    (None,     60,   WantsItsWill,       Once),
    (Some(1),  60,   WantsItsWill,       OnceLater),
    (None,     60,   IsTakenOver,        Once),
    (Some(60), 60,   IsTakenOver,        Never),
    (Some(60), 60,   IsReplaced,         Once),
    (Some(60), 60,   Returns,            Never),
    (Some(60), 60,   StartsAnew,         Once),
    (None,     0,    IsKilled,           Once),
    (None,     60,   IsKilled,           Once),
    (Some(60), 1,    IsKilled,           OnceLater),
    (Some(60), 60,   IsKilledAndReturns, Never),
    (None,     60,   BothAtOnce,         Once),
    (Some(1),  60,   BothAtOnce,         OnceLater),
];

/// Cases of each row in one round.
const COPIES: usize = 3;
/// From the time that a will is due to its arrival, with room for a busy machine.
const LATE: Duration = Duration::from_secs(8);
/// What may be missing to a second: clocks of different processes are read at different moments.
const SLACK: Duration = Duration::from_millis(50);

#[test]
fn wills_are_published_once_or_never() {
    let mut random = Random::from_environment();
    let mut cases = Length::of("DOVETAIL_WILL_CASES", (TABLE.len() * COPIES) as u64);
    let mut done = 0;
    while cases.goes_on_after(done) {
        done += round(&mut random);
    }
    cases.report("wills");
}

/// One client with a will.
struct Case {
    name: String,
    row: Row,
    connect: Connect,
    client: Option<Mqtt>,
    /// When it went, or its server did.
    went: Instant,
}

/// All rows on one server, which is killed once. Says how many cases that were.
fn round(random: &mut Random) -> u64 {
    let place = tempfile::tempdir().unwrap();
    let mut server = Setup::on(place.path()).start();
    let mut cases: Vec<Case> = TABLE
        .iter()
        .flat_map(|row| (0..COPIES).map(|copy| Case::connect(server.address(), *row, copy)))
        .collect();
    let mut told = Told::default();
    told.read(server.address());
    for case in &mut cases {
        case.go(server.address());
    }
    told.read(server.address());
    for case in cases.iter_mut().filter(|case| case.row.2 == BothAtOnce) {
        case.breaks();
    }
    // tidy: allow(sleep) the random moment is what is tested
    std::thread::sleep(random.between(Duration::ZERO, Duration::from_millis(20)));
    server.kill();
    let server = start_again(place.path(), &mut cases);
    let deadline = Instant::now() + LATE;
    while Instant::now() < deadline
        && cases.iter().any(|case| case.row.3 != Never && told.of(case).is_empty())
    {
        told.read(server.address());
    }
    // Whoever is published twice, or against its wish, has had its time by now.
    told.read(server.address());
    for case in &cases {
        case.check(&told);
    }
    cases.len() as u64
}

fn start_again(place: &Path, cases: &mut [Case]) -> Server {
    let killed = Instant::now();
    let server = Setup::on(place).start();
    for case in cases {
        match case.row.2 {
            IsKilledAndReturns => case.comes_back(server.address(), false),
            IsKilled => case.went = killed,
            _ => {}
        }
    }
    server
}

impl Case {
    fn connect(address: SocketAddr, row: Row, copy: usize) -> Self {
        let (delay, expiry, going, _) = row;
        // 3.1.1 knows no delay; a session of its own outlives the connection, or not.
        let version =
            if delay.is_none() && copy == 0 && going != WantsItsWill { Version::V311 } else { Version::V5 };
        let name = format!(
            "{going:?}-{}-{expiry}-{copy}",
            delay.map_or("none".to_owned(), |delay| delay.to_string())
        );
        let mut connect = Connect::persistent(version, &name);
        connect.clean = expiry == 0;
        connect.session_expiry = (version == Version::V5).then_some(expiry);
        connect.will = Some((format!("wills/{name}"), name.clone().into_bytes(), 1, copy == 1));
        connect.will_delay = delay;
        let client = Mqtt::connect(address, &connect).unwrap();
        Self { name, row, connect, client: Some(client), went: Instant::now() }
    }

    /// Goes in its way, unless that has to do with the server.
    fn go(&mut self, address: SocketAddr) {
        match self.row.2 {
            Breaks => self.breaks(),
            SaysGoodBye => {
                self.leaves(0x00);
                // Who may have the id again sees what was stored.
                self.comes_back(address, false);
            }
            WantsItsWill => self.leaves(0x04),
            IsTakenOver | IsReplaced => {
                self.went = Instant::now();
                let before = self.client.take();
                self.comes_back(address, self.row.2 == IsReplaced);
                drop(before);
            }
            Returns | StartsAnew => {
                self.breaks();
                self.comes_back(address, self.row.2 == StartsAnew);
            }
            IsKilled | IsKilledAndReturns | BothAtOnce => {}
        }
    }

    fn breaks(&mut self) {
        let client = self.client.take().unwrap();
        client.socket().shutdown(Shutdown::Both).unwrap();
        self.went = Instant::now();
    }

    fn leaves(&mut self, reason: u8) {
        let mut client = self.client.take().unwrap();
        let bytes: &[u8] = if reason == 0 { &[0xe0, 0] } else { &[0xe0, 1, reason] };
        self.went = Instant::now();
        client.send(bytes).unwrap();
        assert_eq!(client.packet().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    /// Connects without a will, and leaves properly.
    fn comes_back(&mut self, address: SocketAddr, clean: bool) {
        let clean = clean || self.connect.clean;
        let connect = Connect { clean, will: None, will_delay: None, ..self.connect.clone() };
        Mqtt::connect(address, &connect).unwrap().disconnect().unwrap();
    }

    fn check(&self, told: &Told) {
        let (name, times) = (&self.name, told.of(self));
        let expected = usize::from(self.row.3 != Never);
        assert_eq!(times.len(), expected, "{name}: {:?}", self.row);
        if let (OnceLater, [time]) = (self.row.3, times) {
            let after = time.saturating_duration_since(self.went);
            assert!(after + SLACK >= Duration::from_secs(1), "{name}: after {after:?}: {:?}", self.row);
        }
    }
}

/// When which will came.
#[derive(Default)]
struct Told {
    follower: Follower,
    came: BTreeMap<String, Vec<Instant>>,
    marks: u64,
}

impl Told {
    /// Reads up to now, from where it was: a mark that is published now is the end of it.
    fn read(&mut self, address: SocketAddr) {
        self.marks += 1;
        let mut writer = Mqtt::connect(address, &Connect::new(Version::V5)).unwrap();
        let mark = self.marks.to_string();
        assert_eq!(writer.publish(&Publish::put("wills/mark", mark.as_bytes(), 1)).unwrap().reason, 0);
        let mut reader = Mqtt::connect(address, &Connect::new(Version::V5)).unwrap();
        self.follower.broke();
        reader.subscribe(&[("wills/#", 1)], &[pair("since", &self.follower.since())]).unwrap();
        let is_first = self.marks == 1;
        loop {
            let message = reader.receive().unwrap();
            // The first time there is a baseline, in which the mark is.
            let is_synchronised = message.topic == "$feed/sync";
            let told = self.follower.take(message).unwrap();
            let mut is_read = is_first && is_synchronised;
            for change in told {
                let (Effect::Put(bytes) | Effect::Event(bytes)) = change.effect else {
                    panic!("{}", change.path)
                };
                if change.path == "wills/mark" {
                    is_read |= bytes == mark.as_bytes();
                } else {
                    self.came.entry(change.path).or_default().push(Instant::now());
                }
            }
            if is_read {
                return;
            }
        }
    }

    fn of(&self, case: &Case) -> &[Instant] {
        self.came.get(&format!("wills/{}", case.name)).map_or(&[], Vec::as_slice)
    }
}
