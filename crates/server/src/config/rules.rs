//! What settings there are, and what each may be.

mod mqtt;

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use dovetail_door_http::Origins;
use dovetail_model::limits;
use dovetail_net::{Protection, check_exposure};

use super::sources::{Said, Written};
use super::{Config, Problem};

/// Takes settings one by one; what nobody took is unknown.
struct Judge<'a> {
    said: Said,
    known: Vec<&'static str>,
    problems: &'a mut Vec<Problem>,
}

/// The configuration that `said` means. Only right if no problem was added.
pub(super) fn judge(said: Said, problems: &mut Vec<Problem>) -> Config {
    let mut judge = Judge { said, known: Vec::new(), problems };
    let mut config = Config::default();
    if let Some((path, _)) = judge.text("data") {
        config.data = PathBuf::from(path);
    }
    judge.listen(&mut config.listen);
    if let Some(shards) = judge.number("shards", 1, 256).and_then(|n| NonZeroUsize::new(n as usize)) {
        config.shards = shards;
    }
    let engine = &mut config.engine;
    judge.bytes("limits.payload_bytes", 1, limits::PAYLOAD_BYTES_MAX, &mut engine.payload_bytes);
    judge.bytes("limits.admitted_bytes", 1 << 20, 4 << 30, &mut engine.admitted_bytes);
    judge.bytes("limits.feed_pending_bytes", 16 << 10, 256 << 20, &mut engine.feed_pending_bytes);
    judge.bytes("limits.connections", 1, 10_000_000, &mut config.connections);
    judge.duration("history.age", &mut engine.history.age);
    judge.duration("history.tombstones", &mut engine.history.tombstone_age);
    if let Some(revisions) = judge.number("history.revisions", 1, 1 << 40) {
        engine.history.revisions = revisions;
    }
    if let Some(bytes) = judge.number("journal.segment_bytes", 1 << 20, 1 << 30) {
        config.journal.segment_bytes = bytes.next_multiple_of(4_096);
        config.journal.first_segment_bytes =
            config.journal.first_segment_bytes.min(config.journal.segment_bytes);
    }
    judge.origins(&mut config.origins);
    judge.mqtt(&mut config.mqtt);
    let signalr = &mut config.signalr;
    judge.bytes("signalr.message_bytes", 1 << 10, 16 << 20, &mut signalr.message_bytes);
    judge.bytes("signalr.resend_bytes", 1 << 10, 16 << 20, &mut signalr.resend_bytes);
    judge.log(&mut config.log);
    judge.refuse_unknown();
    config
}

impl Judge<'_> {
    fn take(&mut self, key: &'static str) -> Option<(Written, String)> {
        self.known.push(key);
        self.said.remove(key)
    }

    fn problem(&mut self, origin: String, message: String) {
        self.problems.push(Problem { origin, message });
    }

    fn text(&mut self, key: &'static str) -> Option<(String, String)> {
        let (written, origin) = self.take(key)?;
        match written {
            Written::Text(text) if !text.is_empty() => Some((text, origin)),
            Written::Number(number) => Some((number.to_string(), origin)),
            other => {
                self.problem(origin, format!("`{key}` is a text, not {}", describe(&other)));
                None
            }
        }
    }

    /// A list, which the environment writes with commas.
    fn list(&mut self, key: &'static str, of: &str) -> Option<(Vec<String>, String)> {
        let (written, origin) = self.take(key)?;
        match written {
            Written::List(texts) => Some((texts, origin)),
            Written::Text(text) => {
                Some((text.split(',').map(|text| text.trim().to_owned()).collect(), origin))
            }
            other => {
                self.problem(origin, format!("`{key}` is a list of {of}, not {}", describe(&other)));
                None
            }
        }
    }

    fn number(&mut self, key: &'static str, least: u64, most: u64) -> Option<u64> {
        let (written, origin) = self.take(key)?;
        match written {
            Written::Number(number) if u64::try_from(number).is_ok_and(|n| (least..=most).contains(&n)) => {
                Some(number as u64)
            }
            other => {
                let message = format!("`{key}` is a number from {least} to {most}, not {}", describe(&other));
                self.problem(origin, message);
                None
            }
        }
    }

    fn bytes(&mut self, key: &'static str, least: usize, most: usize, setting: &mut usize) {
        if let Some(number) = self.number(key, least as u64, most as u64) {
            *setting = number as usize;
        }
    }

    fn duration(&mut self, key: &'static str, setting: &mut Duration) {
        let Some((text, origin)) = self.text(key) else { return };
        if let Some(duration) = parse_duration(&text) {
            *setting = duration;
        } else {
            let message =
                format!("`{key}` is a time like \"90s\", \"15m\", \"24h\" or \"7d\", not \"{text}\"");
            self.problem(origin, message);
        }
    }

    fn listen(&mut self, setting: &mut Vec<SocketAddr>) {
        let Some((texts, origin)) = self.list("listen", "addresses") else { return };
        if texts.is_empty() {
            return self.problem(origin, "`listen` needs an address".to_owned());
        }
        setting.clear();
        for text in texts {
            match resolve(&text) {
                Ok(address) => {
                    let bare = Protection { has_authentication: false, has_tls: false, is_waived: false };
                    if let Err(error) = check_exposure(address, bare) {
                        let hint = "this version has no users and no TLS: listen on 127.0.0.1 or [::1]";
                        self.problem(origin.clone(), format!("{error}; {hint}"));
                    } else if setting.contains(&address) && address.port() != 0 {
                        self.problem(origin.clone(), format!("`{address}` is there twice"));
                    } else {
                        setting.push(address);
                    }
                }
                Err(message) => self.problem(origin.clone(), message),
            }
        }
    }

    fn origins(&mut self, setting: &mut Origins) {
        let Some((texts, origin)) = self.list("websocket.origins", "origins") else { return };
        match Origins::new(texts) {
            Ok(origins) => *setting = origins,
            Err(error) => self.problem(origin, error.to_string()),
        }
    }

    fn log(&mut self, log: &mut super::Log) {
        if let Some((filter, origin)) = self.text("log.filter") {
            match tracing_subscriber::EnvFilter::builder().parse(&filter) {
                Ok(_) => log.filter = filter,
                Err(error) => {
                    let message =
                        format!("`log.filter` is like \"info\" or \"warn,dovetail_engine=debug\": {error}");
                    self.problem(origin, message);
                }
            }
        }
        match self.text("log.format") {
            None => {}
            Some((format, _)) if format == "text" || format == "json" => log.is_json = format == "json",
            Some((format, origin)) => {
                self.problem(origin, format!("`log.format` is \"text\" or \"json\", not \"{format}\""));
            }
        }
    }

    fn refuse_unknown(mut self) {
        for (key, (_, origin)) in std::mem::take(&mut self.said) {
            let message = format!("there is no setting `{key}`; there are {}", self.known.join(", "));
            self.problem(origin, message);
        }
    }
}

fn describe(written: &Written) -> String {
    match written {
        Written::Text(text) => format!("\"{text}\""),
        Written::Number(number) => number.to_string(),
        Written::List(_) => "a list".to_owned(),
        Written::Other(what) => (*what).to_owned(),
    }
}

fn resolve(text: &str) -> Result<SocketAddr, String> {
    let hint = "an address is HOST:PORT, like 127.0.0.1:8080 or [::1]:1883; port 0 takes a free one";
    let mut found = text.to_socket_addrs().map_err(|error| format!("`{text}`: {error}; {hint}"))?;
    found.next().ok_or_else(|| format!("`{text}` has no address; {hint}"))
}

/// `90` and `90s`, `15m`, `24h`, `7d`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}
