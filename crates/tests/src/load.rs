//! Writers that record what they mean to do, what the server said to it, and what they cannot know; and the check that
//! the log agrees. [`Recorder`] runs them in a process of their own.
//!
//! Every value is written once only, and every path that is deleted is written once before and never again, so that the
//! log can be searched for each of them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::frame::{Effect, Position};
use crate::http::Http;
use crate::log::Log;
use crate::mqtt::{Connect, Mqtt, Publish, Version, pair, user};
use crate::process::Process;
use crate::random::Random;
use crate::record::{self, Record};

/// The first level of everything written here.
pub const PREFIX: &str = "load";
/// Paths that each writer writes over and over.
const KEYS: u64 = 20;
/// Changes of one batch.
const BATCH: u64 = 3;

/// How long writers may take to see that their server has gone.
const RECORDER_PATIENCE: Duration = Duration::from_secs(20);

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Acknowledged, with its revision where the answer said it.
    Done(Option<u64>),
    /// Refused.
    Refused,
    /// No answer came, or one that leaves it open.
    Unknown,
}

/// A write that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// The path.
    pub path: String,
    /// What it was to do.
    pub effect: Effect,
    /// What became of it.
    pub verdict: Verdict,
}

/// How a writer talks to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// PUT and DELETE.
    Rest,
    /// POST of several changes at once.
    Batch,
    /// Retained messages, with QoS 1 or 2.
    Mqtt(Version, u8),
}

/// The ways of the eight writers of a mixed load.
pub const MIXED: [Way; 8] = [
    Way::Rest,
    Way::Rest,
    Way::Rest,
    Way::Mqtt(Version::V5, 1),
    Way::Mqtt(Version::V5, 1),
    Way::Mqtt(Version::V311, 1),
    Way::Mqtt(Version::V5, 2),
    Way::Batch,
];

/// A writer with its own paths.
#[derive(Debug)]
pub struct Writer<'a> {
    name: String,
    way: Way,
    random: Random,
    record: &'a Record,
    count: u64,
    /// Attempts that were acknowledged.
    acknowledged: u64,
    /// Whether the last attempt had an answer that says what became of it.
    is_certain: bool,
    /// A path that was written for being deleted next.
    doomed: Option<String>,
}

/// What is wrong between the acts and the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Acknowledged, and not there.
    #[error("acknowledged and lost: {0:?}")]
    Lost(Act),
    /// Acknowledged with another revision than it has.
    #[error("acknowledged with another revision than {found}: {act:?}")]
    Moved {
        /// The write.
        act: Act,
        /// Where it is.
        found: u64,
    },
    /// Refused, and there.
    #[error("refused and applied at {found}: {act:?}")]
    Applied {
        /// The write.
        act: Act,
        /// Where it is.
        found: u64,
    },
    /// There more than once.
    #[error("applied at {found:?}: {act:?}")]
    Twice {
        /// The write.
        act: Act,
        /// Where it is.
        found: Vec<u64>,
    },
    /// A writer's acts are in another order than it did them.
    #[error("at {found}, before one that was done earlier: {act:?}")]
    Reordered {
        /// The write.
        act: Act,
        /// Where it is.
        found: u64,
    },
    /// In the log, and done by nobody.
    #[error("nobody did {effect:?} of {path} at {number}")]
    Invented {
        /// The path.
        path: String,
        /// What was done to it.
        effect: Effect,
        /// Where it is.
        number: u64,
    },
}

/// How many acts had which verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Acknowledged.
    pub done: u64,
    /// Refused.
    pub refused: u64,
    /// No answer, and in the log.
    pub unknown_applied: u64,
    /// No answer, and not in the log.
    pub unknown_lost: u64,
}

impl<'a> Writer<'a> {
    /// A writer; `name` is a level of its paths and must be its alone in a log.
    pub fn new(name: &str, way: Way, random: Random, record: &'a Record) -> Self {
        let name = name.to_owned();
        Self { name, way, random, record, count: 0, acknowledged: 0, is_certain: true, doomed: None }
    }

    /// How many of its attempts were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Writes until the connection breaks, or an answer leaves open what happened.
    ///
    /// # Errors
    /// Why the connection broke; what was under way is then recorded as unknown.
    pub fn run(&mut self, address: SocketAddr) -> io::Result<()> {
        // What is not known may have been deleted.
        self.doomed = None;
        self.is_certain = true;
        match self.way {
            Way::Rest | Way::Batch => {
                let mut http = Http::connect(address)?;
                while self.is_certain {
                    self.rest(&mut http)?;
                }
            }
            Way::Mqtt(version, qos) => {
                let mut mqtt = Mqtt::connect(address, &Connect::new(version))?;
                while self.is_certain {
                    self.mqtt(&mut mqtt, version, qos)?;
                }
            }
        }
        Ok(())
    }

    fn rest(&mut self, http: &mut Http) -> io::Result<()> {
        if self.way == Way::Batch {
            return self.batch(http);
        }
        let (act, refuse) = self.choose();
        let target = format!("/{}", act.path);
        let mut headers = vec![("content-type", "text/plain")];
        headers.extend(refuse.then_some(("if-match", "\"00000001.1\"")));
        self.attempt(std::slice::from_ref(&act), || {
            let answer = match &act.effect {
                Effect::Put(bytes) | Effect::Event(bytes) => {
                    http.request("PUT", &target, &headers, Some(bytes))
                }
                Effect::Delete => http.request("DELETE", &target, &headers, None),
            }?;
            let revision = answer.header("etag").or_else(|| answer.header("dovetail-revision"));
            Ok(of_status(answer.status, revision))
        })
    }

    fn batch(&mut self, http: &mut Http) -> io::Result<()> {
        let acts: Vec<Act> = (0..BATCH).map(|_| self.put()).collect();
        let writes: Vec<serde_json::Value> = acts
            .iter()
            .map(|act| match &act.effect {
                Effect::Put(bytes) | Effect::Event(bytes) => serde_json::json!({
                    "op": "put", "path": act.path, "contentType": "text/plain",
                    "text": String::from_utf8_lossy(bytes),
                }),
                Effect::Delete => serde_json::json!({ "op": "delete", "path": act.path }),
            })
            .collect();
        let body = serde_json::json!({ "writes": writes }).to_string();
        let headers = [("content-type", "application/json")];
        self.attempt(&acts, || {
            let answer = http.request("POST", "/-/batch", &headers, Some(body.as_bytes()))?;
            Ok(of_status(answer.status, answer.header("dovetail-revision")))
        })
    }

    fn mqtt(&mut self, mqtt: &mut Mqtt, version: Version, qos: u8) -> io::Result<()> {
        let (act, refuse) = self.choose();
        let payload = match &act.effect {
            Effect::Put(bytes) | Effect::Event(bytes) => bytes.as_slice(),
            Effect::Delete => &[],
        };
        let mut message = Publish::put(&act.path, payload, qos);
        if refuse && version == Version::V5 {
            message.properties.push(pair("if-match", "00000001.1"));
        }
        self.attempt(&[act], || {
            let answer = mqtt.publish(&message)?;
            Ok(of_reason(answer.reason, user(&answer.properties, "rev").and_then(number)))
        })
    }

    /// The next write, and whether it shall carry a precondition that fails.
    fn choose(&mut self) -> (Act, bool) {
        if let Some(path) = self.doomed.take() {
            return (Act { path, effect: Effect::Delete, verdict: Verdict::Unknown }, false);
        }
        match self.random.below(20) {
            0 => (self.put(), true),
            1 | 2 => {
                let mut act = self.put();
                act.path = format!("{PREFIX}/{}/d{}", self.name, self.count);
                self.doomed = Some(act.path.clone());
                (act, false)
            }
            _ => (self.put(), false),
        }
    }

    fn put(&mut self) -> Act {
        self.count += 1;
        let path = format!("{PREFIX}/{}/k{}", self.name, self.random.below(KEYS));
        let value = format!("{}-{}", self.name, self.count).into_bytes();
        Act { path, effect: Effect::Put(value), verdict: Verdict::Unknown }
    }

    /// Records what is meant, does it, and records what came of it.
    fn attempt(&mut self, acts: &[Act], send: impl FnOnce() -> io::Result<Verdict>) -> io::Result<()> {
        let number = self.record.intend(&self.name, acts)?;
        let answer = send();
        let verdict = *answer.as_ref().unwrap_or(&Verdict::Unknown);
        self.record.settle(number, verdict)?;
        self.is_certain = verdict != Verdict::Unknown;
        self.acknowledged += u64::from(matches!(verdict, Verdict::Done(_)));
        answer.map(drop)
    }
}

/// The writers of a mixed load in a process of their own, with a log of their own: what they know does not depend on
/// memory that a test may lose.
#[derive(Debug)]
pub struct Recorder {
    process: Process,
    path: PathBuf,
}

impl Recorder {
    /// Starts `program`, which calls [`record_mixed_load`], on the server at `address`. The log is a new file at `path`, and
    /// the names of the writers begin with `name`.
    pub fn start(program: &str, address: SocketAddr, path: &Path, name: &str, random: &mut Random) -> Self {
        let mut command = Command::new(program);
        command.arg(address.to_string()).arg(path).arg(name).arg(random.bits().to_string());
        Self { process: Process::start(&mut command), path: path.to_path_buf() }
    }

    /// Waits until all writers have ended, which they do when their connections break, and gives what they recorded.
    pub fn histories(mut self) -> Vec<Vec<Act>> {
        match self.process.wait(RECORDER_PATIENCE) {
            Some(status) if status.success() => record::read(&self.path).unwrap(),
            other => panic!("the recorder: {other:?}\n{}", self.process.output()),
        }
    }
}

/// Runs the writers of a mixed load until their connections break: the whole of the recorder's program.
///
/// # Errors
/// When the log cannot be made.
pub fn record_mixed_load(address: SocketAddr, path: &Path, name: &str, seed: u64) -> io::Result<()> {
    let record = Record::create(path)?;
    let mut random = Random::new(seed);
    std::thread::scope(|scope| {
        for (index, way) in MIXED.iter().enumerate() {
            let mut writer = Writer::new(&format!("{name}w{index}"), *way, random.fork(), &record);
            // How it ended is in the log.
            scope.spawn(move || drop(writer.run(address)));
        }
    });
    Ok(())
}

fn of_status(status: u16, revision: Option<&str>) -> Verdict {
    match status {
        200..=299 => Verdict::Done(revision.and_then(number)),
        // What failed inside the server may have happened.
        500..=599 => Verdict::Unknown,
        _ => Verdict::Refused,
    }
}

fn of_reason(reason: u8, revision: Option<u64>) -> Verdict {
    match reason {
        0..=0x7f => Verdict::Done(revision),
        // Unspecified error, server unavailable: what failed inside the server may have happened.
        0x80 | 0x88 => Verdict::Unknown,
        _ => Verdict::Refused,
    }
}

fn number(token: &str) -> Option<u64> {
    token.parse::<Position>().ok().map(|position| position.number)
}

/// Checks the histories of all writers against what the log has after `after`.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify<'a>(
    log: &Log,
    after: u64,
    histories: impl IntoIterator<Item = &'a [Act]>,
) -> Result<Tally, Broken> {
    let mut in_log: BTreeMap<(&str, &Effect), Vec<u64>> = BTreeMap::new();
    let filter = format!("{PREFIX}/#");
    for change in log.changes(after + 1..=log.head(), &filter) {
        in_log.entry((&change.path, &change.effect)).or_default().push(change.number);
    }
    let mut tally = Tally::default();
    for history in histories {
        let mut before = 0;
        for act in history {
            let found = in_log.remove(&(act.path.as_str(), &act.effect)).unwrap_or_default();
            let found = match found[..] {
                [] => None,
                [one] => Some(one),
                _ => return Err(Broken::Twice { act: act.clone(), found }),
            };
            judge(act, found, &mut tally)?;
            if let Some(found) = found {
                if found < before {
                    return Err(Broken::Reordered { act: act.clone(), found });
                }
                before = found;
            }
        }
    }
    in_log.into_iter().next().map_or(Ok(tally), |((path, effect), found)| {
        Err(Broken::Invented { path: path.to_owned(), effect: effect.clone(), number: found[0] })
    })
}

fn judge(act: &Act, found: Option<u64>, tally: &mut Tally) -> Result<(), Broken> {
    let counter = match (act.verdict, found) {
        (Verdict::Done(_), None) => return Err(Broken::Lost(act.clone())),
        (Verdict::Done(Some(said)), Some(found)) if said != found => {
            return Err(Broken::Moved { act: act.clone(), found });
        }
        (Verdict::Refused, Some(found)) => return Err(Broken::Applied { act: act.clone(), found }),
        (Verdict::Done(_), Some(_)) => &mut tally.done,
        (Verdict::Refused, None) => &mut tally.refused,
        (Verdict::Unknown, Some(_)) => &mut tally.unknown_applied,
        (Verdict::Unknown, None) => &mut tally.unknown_lost,
    };
    *counter += 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Change;

    fn act(path: &str, value: &str, verdict: Verdict) -> Act {
        Act { path: format!("{PREFIX}/{path}"), effect: Effect::Put(value.as_bytes().to_vec()), verdict }
    }

    fn log(values: &[(&str, &str)]) -> Log {
        let commit = |(index, (path, value)): (usize, &(&str, &str))| {
            let effect = Effect::Put(value.as_bytes().to_vec());
            vec![Change { path: format!("{PREFIX}/{path}"), number: index as u64 + 1, effect }]
        };
        Log::of("e", values.iter().enumerate().map(commit).collect())
    }

    fn check(values: &[(&str, &str)], acts: &[Act]) -> Result<Tally, Broken> {
        verify(&log(values), 0, [acts])
    }

    #[test]
    fn each_verdict_has_its_place() {
        let acts = [
            act("a", "1", Verdict::Done(Some(1))),
            act("a", "2", Verdict::Refused),
            act("a", "3", Verdict::Unknown),
            act("a", "4", Verdict::Unknown),
            act("a", "5", Verdict::Done(None)),
        ];
        let tally = check(&[("a", "1"), ("a", "3"), ("a", "5")], &acts).unwrap();
        assert_eq!(tally, Tally { done: 2, refused: 1, unknown_applied: 1, unknown_lost: 1 });
    }

    #[test]
    fn each_fault_is_found() {
        let done = act("a", "1", Verdict::Done(Some(1)));
        let refused = act("a", "1", Verdict::Refused);
        let unknown = act("a", "1", Verdict::Unknown);
        let one = [("a", "1")];
        assert_eq!(check(&[], std::slice::from_ref(&done)), Err(Broken::Lost(done.clone())));
        assert_eq!(
            check(&one, std::slice::from_ref(&refused)),
            Err(Broken::Applied { act: refused.clone(), found: 1 })
        );
        let twice = Broken::Twice { act: unknown.clone(), found: vec![1, 2] };
        assert_eq!(check(&[("a", "1"), ("a", "1")], &[unknown]), Err(twice));
        let moved = Broken::Moved { act: done.clone(), found: 2 };
        assert_eq!(check(&[("a", "0"), ("a", "1")], std::slice::from_ref(&done)), Err(moved));
        let later = act("a", "2", Verdict::Done(None));
        let turned = check(&[("a", "1"), ("a", "2")], &[later, done.clone()]);
        assert_eq!(turned, Err(Broken::Reordered { act: done, found: 1 }));
        assert!(matches!(check(&one, &[]), Err(Broken::Invented { number: 1, .. })));
    }
}
