//! What was typed, and what it means.

use std::fmt::Write as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use super::ways::{Way, short};

const EXAMPLES: &str = "\
Examples:
  dovetail bench compare                                         every way, about three minutes
  dovetail bench compare --list                                  the ways there are
  dovetail bench compare --only poll --only combined             all kinds of polling, and the pattern
  dovetail bench compare --resources 500 --rate 5 --watchers 200 --poll-every 30s --seconds 60
  dovetail bench compare --server http://127.0.0.1:8080 --only websocket
  dovetail bench compare --html report.html                      the same as a page to pass on
  dovetail bench compare --json > figures.json                   everything, for programs
  dovetail bench compare --from figures.json --html report.html  show it again

Exit codes: 0 measured, 1 a way lost something although it used its fallback, 2 it could not be measured.";

/// Compares the ways to follow resources, on a workload like yours: what each costs, how late it is, and what it loses when a
/// connection breaks.
///
/// One writer updates resources at a steady rate. Watchers follow all of them, each way in its turn: by polling, plain, with `ETag` or
/// `?since=`; by long-polling; over MQTT, WebSocket, event streams and SignalR; and combined, with REST for the state and for what
/// was missed, and MQTT for updates. Some watchers are cut off for a while. Half of these come back as a simple client does, the
/// others with the fallback that the way has. They try again the moment that the network is back; how long your client waits before
/// it tries comes on top.
///
/// Each way gets a fresh server of its own, so that CPU and memory are that way's alone. With --server a running one is
/// measured; writes go below a new prefix `bench-…/`, and are deleted at the end.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Measure this running server instead of starting some.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// A token that says who asks.
    #[arg(long, value_name = "TOKEN", env = "DOVETAIL_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Resources, all of which every watcher follows.
    #[arg(long, value_name = "N", default_value_t = 100)]
    resources: usize,
    /// Updates each second, over all resources.
    #[arg(long, value_name = "N", default_value_t = 50.0)]
    rate: f64,
    /// Bytes of each payload.
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    payload: usize,
    /// Watchers at the same time.
    #[arg(long, value_name = "N", default_value_t = 50)]
    watchers: usize,
    /// How many of a hundred watchers are cut off once.
    #[arg(long, value_name = "PER_CENT", default_value_t = 40)]
    interrupted: usize,
    /// How long a cut lasts.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration)]
    outage: Duration,
    /// Seconds measured of each way.
    #[arg(long, value_name = "SECONDS", default_value_t = 4.0)]
    seconds: f64,
    /// Time between two polls of a watcher; may be given several times.
    #[arg(long, value_name = "TIME", default_values = ["10ms", "100ms", "1s"], value_parser = duration)]
    poll_every: Vec<Duration>,
    /// Measure only this way, or the ways that begin like it (`poll`, `mqtt5`); may be given several times.
    #[arg(long, value_name = "WAY")]
    only: Vec<String>,
    /// Print the ways there are and end.
    #[arg(long)]
    pub(super) list: bool,
    /// Print everything that was found as JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// Write a report with pictures: one page that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Write the pictures of the report as SVG files into this directory.
    #[arg(long, value_name = "DIR")]
    pub(super) plots: Option<PathBuf>,
    /// Measure nothing, and show what --json printed in an earlier run.
    #[arg(long, value_name = "FILE")]
    pub(super) from: Option<PathBuf>,
    /// Another build of the program `dovetail` to measure; by default it is this one.
    #[arg(long, value_name = "FILE", env = "DOVETAIL_BIN")]
    dovetail: Option<PathBuf>,
    /// Where data directories are made: a directory on the disk to be measured. [default: the system's for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Copies that are kept account of at most: ten thousand watchers of a thousand resources.
const COPIES: usize = 10_000_000;

/// Deliveries that are kept account of at most.
const DELIVERIES: f64 = 100_000_000.0;

/// What it means.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) server: Option<Remote>,
    pub(super) token: Option<String>,
    pub(super) resources: usize,
    pub(super) rate: f64,
    pub(super) payload: usize,
    pub(super) watchers: usize,
    /// How many watchers are cut off.
    pub(super) interrupted: usize,
    pub(super) outage: Duration,
    pub(super) measured: Duration,
    pub(super) ways: Vec<Way>,
    pub(super) dovetail: PathBuf,
    pub(super) dir: PathBuf,
}

/// A server that runs already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    /// As it was typed.
    pub(super) url: String,
    /// For `Host`.
    pub(super) host: String,
    pub(super) addr: SocketAddr,
}

impl Options {
    /// All ways, chosen or not.
    pub(super) fn all_ways(&self) -> Vec<Way> {
        let mut every = self.poll_every.clone();
        every.sort();
        every.dedup();
        Way::all(&every)
    }

    /// Checks everything.
    ///
    /// # Errors
    /// All that is wrong, a line each.
    pub(super) fn settings(&self) -> Result<Settings> {
        let mut wrong = self.numbers_that_are_wrong();
        let all = self.all_ways();
        for word in &self.only {
            if !all.iter().any(|way| way.is_meant_by(word)) {
                let names: Vec<String> = all.iter().map(|way| way.name()).collect();
                wrong.push(format!("--only {word}: there is no such way, but {}", names.join(", ")));
            }
        }
        let server = self.server.as_deref().map(remote).transpose().unwrap_or_else(|problem| {
            wrong.push(problem);
            None
        });
        if self
            .token
            .as_deref()
            .is_some_and(|token| token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()))
        {
            wrong.push(String::from("--token is characters of ASCII without spaces"));
        }
        if self.server.is_some() && self.dir.is_some() {
            wrong.push(String::from("--dir is for servers that are started, not for --server"));
        }
        if !wrong.is_empty() {
            bail!("{}", wrong.join("\n  "));
        }
        let chosen = |way: &Way| self.only.is_empty() || self.only.iter().any(|word| way.is_meant_by(word));
        Ok(Settings {
            server,
            token: self.token.clone(),
            resources: self.resources,
            rate: self.rate,
            payload: self.payload,
            watchers: self.watchers,
            // Somebody has to stay, to be measured.
            interrupted: ((self.watchers * self.interrupted + 50) / 100).min(self.watchers - 1),
            outage: self.outage,
            measured: Duration::from_secs_f64(self.seconds),
            ways: all.into_iter().filter(chosen).collect(),
            dovetail: match &self.dovetail {
                Some(path) => path.clone(),
                None => std::env::current_exe()?,
            },
            dir: self.dir.clone().unwrap_or_else(std::env::temp_dir),
        })
    }

    fn numbers_that_are_wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut within = |name: &str, value: f64, least: f64, most: f64| {
            if !(least..=most).contains(&value) {
                wrong.push(format!("--{name} {value} is not from {least} to {most}"));
            }
        };
        within("resources", self.resources as f64, 1.0, 10_000.0);
        within("rate", self.rate, 0.1, 10_000.0);
        within("payload", self.payload as f64, 40.0, 16_384.0);
        within("watchers", self.watchers as f64, 1.0, 10_000.0);
        within("interrupted", self.interrupted as f64, 0.0, 100.0);
        within("seconds", self.seconds, 0.5, 600.0);
        for every in &self.poll_every {
            if !(Duration::from_millis(2)..=Duration::from_secs(30)).contains(every) {
                wrong.push(format!("--poll-every {} is not from 2ms to 30s", short(*every)));
            }
        }
        let copies = self.resources.saturating_mul(self.watchers);
        if copies > COPIES {
            wrong.push(format!("--resources times --watchers is {copies}, more than {COPIES} copies"));
        }
        let deliveries = self.rate * self.seconds * self.watchers as f64;
        if deliveries > DELIVERIES {
            wrong.push(format!(
                "--rate times --seconds times --watchers is more than {DELIVERIES} deliveries"
            ));
        }
        if self.interrupted > 0 && self.outage.as_secs_f64() > self.seconds / 2.0 {
            let mut line = format!("--outage {} is more than half of ", short(self.outage));
            let _ = write!(line, "--seconds {}: the cut would not be over in time", self.seconds);
            wrong.push(line);
        }
        wrong
    }
}

/// `http://HOST:PORT`, and nothing else.
fn remote(url: &str) -> Result<Remote, String> {
    let wrong = |why: &str| format!("--server {url}: {why}");
    let Some(host) = url.strip_prefix("http://") else {
        return Err(wrong(match url.split_once("://") {
            Some(("https" | "wss" | "mqtts", _)) => {
                "TLS is not spoken here: measure at an address without it"
            }
            _ => "only http://HOST:PORT is spoken, every way goes through that port",
        }));
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    if host.is_empty() || host.contains(['/', '?', '#', '@']) || !host.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(wrong("a host and a port, and nothing else"));
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { host.to_owned() } else { format!("{host}:80") };
    let mut found = address.to_socket_addrs().map_err(|error| wrong(&error.to_string()))?;
    let addr = found.next().ok_or_else(|| wrong("the name has no address"))?;
    Ok(Remote { url: url.to_owned(), host: host.to_owned(), addr })
}

/// A time above zero, in whole milliseconds: a number with `ms`, `s` or `m`.
fn duration(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "a time is a number above 0 with a unit, like 100ms, 2s or 1m";
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000)];
    let (number, unit_ms) =
        units.iter().find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, *ms))).ok_or(WRONG)?;
    let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
    ms.filter(|&ms| ms > 0 && ms <= 86_400_000).map(Duration::from_millis).ok_or(WRONG)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        options: Options,
    }

    fn typed(line: &str) -> Result<Settings, String> {
        let words = ["compare"].into_iter().chain(line.split_whitespace());
        let typed = Typed::try_parse_from(words).map_err(|error| error.to_string())?;
        typed.options.settings().map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_typed_is_understood() {
        let settings = typed("").unwrap();
        assert_eq!((settings.ways.len(), settings.watchers, settings.interrupted), (21, 50, 20));
        assert_eq!((settings.resources, settings.payload, settings.server), (100, 200, None));
        assert_eq!(
            (settings.measured, settings.outage),
            (Duration::from_secs(4), Duration::from_millis(500))
        );
        for (line, names) in [
            ("--only poll-etag", "poll-etag-10ms poll-etag-100ms poll-etag-1s"),
            ("--only sse --only combined", "sse combined"),
            ("--poll-every 2s --only poll", "poll-plain-2s poll-etag-2s poll-since-2s"),
            ("--poll-every 1m --poll-every 2s --only long-poll --poll-every 60s", ""),
            ("--poll-every 2s --poll-every 2000ms --only poll-plain", "poll-plain-2s"),
        ] {
            let names: Vec<&str> = names.split_whitespace().collect();
            match typed(line) {
                Ok(settings) => {
                    let ways: Vec<String> = settings.ways.iter().map(|way| way.name()).collect();
                    assert_eq!(ways, names, "{line}");
                }
                Err(_) => assert!(names.is_empty(), "{line}"),
            }
        }
        let remote = typed("--server http://127.0.0.1:8080/").unwrap().server.unwrap();
        assert_eq!((remote.host.as_str(), remote.addr.port()), ("127.0.0.1:8080", 8080));
        assert_eq!(typed("--server http://127.0.0.1").unwrap().server.unwrap().addr.port(), 80);
        assert_eq!(typed("--watchers 3 --interrupted 50").unwrap().interrupted, 2);
    }

    #[test]
    fn all_that_is_wrong_is_said() {
        for (line, parts) in [
            ("--rate 0 --watchers 0 --payload 9", &["--rate 0", "--watchers 0", "--payload 9"][..]),
            ("--resources 99999 --interrupted 101", &["--resources", "--interrupted"]),
            ("--outage 3s --only nonsense", &["--outage 3s", "half", "nonsense", "poll-plain-1s"]),
            ("--resources 10000 --watchers 10000", &["copies"]),
            ("--rate 10000 --watchers 1000 --seconds 600", &["deliveries"]),
            ("--rate NaN --seconds 0", &["--rate NaN", "--seconds 0"]),
            ("--poll-every 1ms", &["--poll-every 1ms"]),
            ("--outage 3", &["100ms"]),
            ("--outage 0s", &["100ms"]),
            ("--server https://example.org", &["TLS"]),
            ("--server 127.0.0.1:80", &["http://HOST:PORT"]),
            ("--server http://a/b", &["nothing else"]),
            ("--server http://127.0.0.1:1 --dir x", &["--dir"]),
        ] {
            let problem = typed(line).unwrap_err();
            for part in parts {
                assert!(problem.contains(part), "{line}: {part} is not in {problem}");
            }
        }
        assert!(typed("--seconds 1 --outage 3s --interrupted 0").is_ok(), "nobody is cut off");
    }
}
