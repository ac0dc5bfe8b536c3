//! The ways to follow resources.

use std::time::Duration;

use super::figures::Family;
use crate::load::door::Door;
use crate::wire::Service;

/// A way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// GET at an interval.
    Poll { what: Poll, every: Duration },
    /// `?since=…&wait=…`, again and again.
    LongPoll,
    /// A plain subscription of MQTT.
    Mqtt { version: Version, service: Service, aliases: bool },
    /// A door of the web that pushes.
    Web(Door),
    /// Baseline and fallback by REST, updates by MQTT.
    Combined,
}

/// What a poll asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poll {
    /// All of it.
    Plain,
    /// All of it, if anything has changed.
    Etag,
    /// What has changed.
    Since,
}

/// A version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// 3.1.1
    V311,
    /// 5
    V5,
}

impl Way {
    /// All that there are, in the order in which they are shown.
    pub(super) fn all(poll_every: &[Duration]) -> Vec<Self> {
        let mut ways = Vec::new();
        for what in [Poll::Plain, Poll::Etag, Poll::Since] {
            ways.extend(poll_every.iter().map(|&every| Self::Poll { what, every }));
        }
        ways.push(Self::LongPoll);
        for service in [Service::Zero, Service::One] {
            ways.push(Self::Mqtt { version: Version::V311, service, aliases: false });
        }
        for service in [Service::Zero, Service::One] {
            for aliases in [false, true] {
                ways.push(Self::Mqtt { version: Version::V5, service, aliases });
            }
        }
        ways.extend([Door::WebSocket, Door::Sse, Door::SignalRJson, Door::SignalRMessagePack].map(Self::Web));
        ways.push(Self::Combined);
        ways
    }

    /// What it is called on the command line.
    pub(super) fn name(self) -> String {
        match self {
            Self::Poll { what, every } => {
                let what = match what {
                    Poll::Plain => "plain",
                    Poll::Etag => "etag",
                    Poll::Since => "since",
                };
                format!("poll-{what}-{}", short(every))
            }
            Self::LongPoll => String::from("long-poll"),
            Self::Mqtt { version, service, aliases } => {
                let version = match version {
                    Version::V311 => "311",
                    Version::V5 => "5",
                };
                format!("mqtt{version}-qos{}{}", service as u8, if aliases { "-alias" } else { "" })
            }
            Self::Web(Door::Mqtt) => String::from("mqtt"),
            Self::Web(Door::WebSocket) => String::from("websocket"),
            Self::Web(Door::Sse) => String::from("sse"),
            Self::Web(Door::SignalRJson) => String::from("signalr-json"),
            Self::Web(Door::SignalRMessagePack) => String::from("signalr-msgpack"),
            Self::Combined => String::from("combined"),
        }
    }

    /// What people call it.
    pub(super) fn label(self) -> String {
        match self {
            Self::Poll { what, every } => {
                let what = match what {
                    Poll::Plain => "polling",
                    Poll::Etag => "polling with ETag",
                    Poll::Since => "polling for changes (?since=)",
                };
                format!("{what}, every {}", spelled(every))
            }
            Self::LongPoll => String::from("long-polling (?since=, wait)"),
            Self::Mqtt { version, service, aliases } => {
                let version = match version {
                    Version::V311 => "3.1.1",
                    Version::V5 => "5",
                };
                let aliases = if aliases { ", topic aliases" } else { "" };
                format!("MQTT {version}, QoS {}{aliases}", service as u8)
            }
            Self::Web(Door::Sse) => String::from("event stream (SSE)"),
            Self::Web(door) => String::from(door.name()),
            Self::Combined => String::from("REST + MQTT 5 (baseline, live, fallback)"),
        }
    }

    /// What it belongs to.
    pub(super) fn family(self) -> Family {
        match self {
            Self::Poll { .. } => Family::Polling,
            Self::LongPoll => Family::LongPoll,
            Self::Mqtt { .. } | Self::Web(Door::Mqtt) => Family::Mqtt,
            Self::Web(Door::WebSocket) => Family::WebSocket,
            Self::Web(Door::Sse) => Family::Sse,
            Self::Web(Door::SignalRJson | Door::SignalRMessagePack) => Family::SignalR,
            Self::Combined => Family::Combined,
        }
    }

    /// The time between two polls.
    pub(super) fn every(self) -> Option<Duration> {
        match self {
            Self::Poll { every, .. } => Some(every),
            _ => None,
        }
    }

    /// Whether it gets the state whenever it comes back, so that there is nothing else to do.
    pub(super) fn always_falls_back(self) -> bool {
        match self {
            Self::Poll { .. } | Self::LongPoll => true,
            Self::Mqtt { version, service, .. } => version == Version::V311 && service == Service::Zero,
            _ => false,
        }
    }

    /// What an interrupted watcher does when it comes back, with its fallback or without.
    pub(super) fn how(self, with_fallback: bool) -> &'static str {
        match (self, with_fallback) {
            (Self::Poll { .. }, _) => "polls again",
            (Self::LongPoll, _) => "asks for what came after its revision",
            (Self::Mqtt { service: Service::Zero, .. }, true)
            | (Self::Mqtt { version: Version::V311, .. }, false) => {
                "subscribes again, and gets all retained messages"
            }
            (Self::Mqtt { .. }, true) => "comes back to its session",
            (Self::Mqtt { version: Version::V5, .. }, false) => "subscribes again, without retained messages",
            (Self::Web(Door::Sse), true) => "reconnects with Last-Event-ID",
            (Self::Web(Door::Sse), false) => "opens the stream again, and gets the whole state",
            (Self::Web(_), true) => "watches again from its revision",
            (Self::Web(_), false) => "watches again from now",
            (Self::Combined, true) => "asks REST for what came after its revision, subscribes from there",
            (Self::Combined, false) => "subscribes again from now",
        }
    }

    /// Whether `word` of the command line means it: its name, or the beginning of it up to a `-`.
    pub(super) fn is_meant_by(self, word: &str) -> bool {
        let name = self.name();
        name.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            || (word == "mqtt" && self.family() == Family::Mqtt)
    }
}

/// `1s`, `100ms`.
pub(super) fn short(time: Duration) -> String {
    let (number, unit) = in_units(time);
    format!("{number}{unit}")
}

/// `1 s`, `100 ms`.
fn spelled(time: Duration) -> String {
    let (number, unit) = in_units(time);
    format!("{number} {unit}")
}

fn in_units(time: Duration) -> (u128, &'static str) {
    let ms = time.as_millis();
    if ms.is_multiple_of(1_000) { (ms / 1_000, "s") } else { (ms, "ms") }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn words_of_the_command_line_mean_ways() {
        let ways = Way::all(&[Duration::from_millis(100), Duration::from_secs(1)]);
        assert_eq!(ways.len(), 18);
        let names: HashSet<String> = ways.iter().map(|way| way.name()).collect();
        let labels: HashSet<String> = ways.iter().map(|way| way.label()).collect();
        assert_eq!((names.len(), labels.len()), (18, 18), "no two are called the same");
        for (word, count) in [
            ("poll", 6),
            ("poll-etag", 2),
            ("poll-etag-1s", 1),
            ("mqtt", 6),
            ("mqtt5", 4),
            ("mqtt5-qos0", 2),
            ("signalr", 2),
            ("combined", 1),
            ("poll-e", 0),
            ("", 0),
            ("web", 0),
        ] {
            assert_eq!(ways.iter().filter(|way| way.is_meant_by(word)).count(), count, "{word}");
        }
    }
}
