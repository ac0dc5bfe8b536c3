//! The doors that push changes, as far as a watcher needs them: how to come in, and how to find what was written in the
//! bytes that come.
//!
//! A payload is a [`Mark`], which looks the same in whatever a door wraps around it, so one search reads all of them, and is
//! cheap.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};

use super::client::{Client, Greeting};
use crate::wire::{self, HERE, Service};

/// What stands before a mark.
const MARK: &[u8; 2] = b"#>";
/// What stands after it, at the end of the payload.
const MARK_END: u8 = b'$';
/// Characters of a number in a mark.
const DIGITS: usize = 16;
/// Ends a record of SignalR's JSON, and its handshake.
const RECORD_END: &str = "\u{1e}";
/// Ends the head of an HTTP answer.
pub(crate) const HEAD_END: &str = "\r\n\r\n";

/// A way to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// A subscription of MQTT 3.1.1 with `QoS` 0.
    Mqtt,
    /// A `watch` of `dovetail.v1`.
    WebSocket,
    /// A stream of SignalR, as JSON over WebSocket.
    SignalRJson,
    /// The same as `MessagePack`.
    SignalRMessagePack,
    /// An event stream.
    Sse,
}

impl Door {
    /// The doors of the web.
    pub(crate) const WEB: [Self; 4] =
        [Self::WebSocket, Self::SignalRJson, Self::SignalRMessagePack, Self::Sse];

    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "MQTT",
            Self::WebSocket => "WebSocket",
            Self::SignalRJson => "SignalR JSON",
            Self::SignalRMessagePack => "SignalR MessagePack",
            Self::Sse => "SSE",
        }
    }

    /// Connects, perhaps from an address of choice, and watches `topic`, which does not exist yet. Returns when all that is
    /// written from now on will come.
    pub(crate) async fn watch(
        self,
        source: Option<SocketAddr>,
        addr: SocketAddr,
        number: usize,
        topic: &str,
    ) -> Result<Client> {
        let greeting = match self {
            Self::Mqtt => {
                Greeting::subscriber(format!("watch-{number}"), vec![topic.to_owned()], Service::Zero)
            }
            Self::WebSocket | Self::SignalRJson | Self::SignalRMessagePack | Self::Sse => Greeting::None,
        };
        let mut client = match source {
            Some(source) => Client::connect_from(source, addr, &greeting).await?,
            None => Client::connect(addr, &greeting).await?,
        };
        if self != Self::Mqtt {
            self.greet(&mut client, HERE).await?;
            let watch = Watch { fields: HERE, filter: topic, path: topic, since: None };
            self.ask(&mut client, &self.request(&watch), "baseline-end").await?;
        }
        Ok(client)
    }

    /// Does what comes before a watch, with these lines in the heads of HTTP requests.
    pub(crate) async fn greet(self, client: &mut Client, fields: &str) -> Result<()> {
        for (request, answer) in self.greeting(fields) {
            self.ask(client, &request, answer).await?;
        }
        Ok(())
    }

    /// Sends a request and waits for what its answer ends with.
    pub(crate) async fn ask(self, client: &mut Client, request: &[u8], answer: &str) -> Result<()> {
        client.write(request).await?;
        let said = client.read_until(answer.as_bytes()).await;
        let said = said.with_context(|| format!("{} in answer to a watch", self.name()))?;
        let is_taken = |said: &[u8]| said.starts_with(b"HTTP/1.1 101") || said.starts_with(b"HTTP/1.1 200");
        ensure!(
            is_taken(&said) || !said.starts_with(b"HTTP/"),
            "{} was refused: {}",
            self.name(),
            String::from_utf8_lossy(&said)
        );
        Ok(())
    }

    /// What is sent before a watch, and what to wait for then.
    fn greeting(self, fields: &str) -> Vec<(Vec<u8>, &'static str)> {
        let hub = |protocol: &str| {
            let handshake = format!("{{\"protocol\":\"{protocol}\",\"version\":1}}{RECORD_END}");
            vec![
                (wire::upgrade("/-/signalr", None, fields), HEAD_END),
                (wire::websocket(wire::TEXT, handshake.as_bytes()), "{}\u{1e}"),
            ]
        };
        match self {
            Self::Mqtt | Self::Sse => Vec::new(),
            Self::WebSocket => vec![(wire::upgrade("/-/ws", Some("dovetail.v1"), fields), HEAD_END)],
            Self::SignalRJson => hub("json"),
            Self::SignalRMessagePack => hub("messagepack"),
        }
    }

    /// The request for a watch. MQTT subscribes with its greeting.
    pub(crate) fn request(self, watch: &Watch<'_>) -> Vec<u8> {
        let Watch { fields, filter, path, since } = watch;
        let text = |text: &str| wire::websocket(wire::TEXT, text.as_bytes());
        match self {
            Self::Mqtt => Vec::new(),
            Self::WebSocket => {
                let since = since.map(|since| format!(",\"since\":\"{since}\"")).unwrap_or_default();
                text(&format!("{{\"type\":\"watch\",\"id\":1,\"filter\":\"{filter}\"{since}}}"))
            }
            Self::SignalRJson => {
                let options = since.map(|since| format!(",{{\"since\":\"{since}\"}}")).unwrap_or_default();
                text(&format!(
                    "{{\"type\":4,\"invocationId\":\"1\",\"target\":\"Watch\",\"arguments\":[\"{filter}\"{options}]}}{RECORD_END}"
                ))
            }
            Self::SignalRMessagePack => wire::websocket(wire::BINARY, &stream_invocation(filter, *since)),
            Self::Sse => {
                let since = since.map(|since| format!("Last-Event-ID: {since}\r\n")).unwrap_or_default();
                format!("GET /{path} HTTP/1.1\r\n{fields}Accept: text/event-stream\r\n{since}\r\n")
                    .into_bytes()
            }
        }
    }

    /// What shows the server, sent now and then, that a client that says nothing is still there.
    pub(crate) fn sign_of_life(self) -> Vec<u8> {
        match self {
            Self::Mqtt | Self::Sse => Vec::new(),
            Self::WebSocket => wire::websocket(wire::PONG, b""),
            Self::SignalRJson => {
                wire::websocket(wire::TEXT, format!("{{\"type\":6}}{RECORD_END}").as_bytes())
            }
            Self::SignalRMessagePack => wire::websocket(wire::BINARY, &[2, 0x91, 6]),
        }
    }
}

/// What to watch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch<'a> {
    /// Lines of the head of HTTP requests.
    pub(crate) fields: &'a str,
    /// What, as a filter.
    pub(crate) filter: &'a str,
    /// The same, as the path of a URL without its first `/`.
    pub(crate) path: &'a str,
    /// From where on: a revision, or `now` where the door knows that. Without it the state comes first.
    pub(crate) since: Option<&'a str>,
}

/// `[4, {}, "1", "Watch", [filter, {"since": …}], []]` in `MessagePack`, behind its length.
fn stream_invocation(filter: &str, since: Option<&str>) -> Vec<u8> {
    let mut message = vec![0x96, 4, 0x80, 0xa1, b'1', 0xa5];
    let put = |message: &mut Vec<u8>, text: &str| {
        message.extend_from_slice(&[0xd9, text.len() as u8]);
        message.extend_from_slice(text.as_bytes());
    };
    message.extend_from_slice(b"Watch");
    message.push(if since.is_some() { 0x92 } else { 0x91 });
    put(&mut message, filter);
    if let Some(since) = since {
        message.push(0x81);
        put(&mut message, "since");
        put(&mut message, since);
    }
    message.push(0x90);
    let mut framed = Vec::new();
    wire::put_length(&mut framed, message.len());
    framed.extend_from_slice(&message);
    framed
}

/// What a payload says: which write it is, and when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Counts from 0.
    pub(crate) sequence: u64,
    /// Nanoseconds since the run began.
    pub(crate) sent_ns: u64,
}

impl Mark {
    /// A payload of so many bytes that says it; at least 35. It is plain ASCII that no format escapes.
    pub(crate) fn payload(self, bytes: usize) -> Vec<u8> {
        let mut payload = MARK.to_vec();
        payload.extend_from_slice(format!("{:016x}{:016x}", self.sequence, self.sent_ns).as_bytes());
        payload.resize(bytes - 1, b'.');
        payload.push(MARK_END);
        payload
    }

    /// Hands the mark of each payload that is whole in `received` to `take`. Payloads have `bytes`. Says how many of the
    /// received bytes need not be seen again.
    pub(crate) fn find(
        received: &[u8],
        bytes: usize,
        mut take: impl FnMut(Self) -> Result<()>,
    ) -> Result<usize> {
        Self::find_behind(received, bytes, |_, mark| take(mark))
    }

    /// The same, with what stands before each payload, from the end of the one before it.
    pub(crate) fn find_behind<'a>(
        received: &'a [u8],
        bytes: usize,
        mut take: impl FnMut(&'a [u8], Self) -> Result<()>,
    ) -> Result<usize> {
        let (mut at, mut from) = (0, 0);
        while let Some(more) = received[at..].iter().position(|&byte| byte == MARK[0]) {
            at += more;
            match received.get(at + 1) {
                Some(&byte) if byte == MARK[1] => {}
                // A length can look like the first character.
                Some(_) => {
                    at += 1;
                    continue;
                }
                None => return Ok(at),
            }
            let Some(payload) = received.get(at..at + bytes) else {
                return Ok(at);
            };
            take(&received[from..at], Self::of(payload)?)?;
            at += bytes;
            from = at;
        }
        Ok(received.len())
    }

    fn of(payload: &[u8]) -> Result<Self> {
        let number = |at: usize| -> Option<u64> {
            u64::from_str_radix(std::str::from_utf8(payload.get(at..at + DIGITS)?).ok()?, 16).ok()
        };
        match (number(MARK.len()), number(MARK.len() + DIGITS), payload.last()) {
            (Some(sequence), Some(sent_ns), Some(&MARK_END)) => Ok(Self { sequence, sent_ns }),
            _ => bail!("a payload that is not whole: {}", String::from_utf8_lossy(payload)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_wherever_the_bytes_are_cut() {
        let marks = [7, 8].map(|sequence| Mark { sequence, sent_ns: 1 << sequence });
        let bytes = [
            b"\x81\x23{\"text\":\"",
            &marks[0].payload(100)[..],
            b"\"}\x81#{\"text\":\"",
            &marks[1].payload(100),
            b"#",
        ]
        .concat();
        for cut in 0..bytes.len() {
            let mut found = Vec::new();
            let mut take = |mark| {
                found.push(mark);
                Ok(())
            };
            let used = Mark::find(&bytes[..cut], 100, &mut take).unwrap();
            assert_eq!(used + Mark::find(&bytes[used..], 100, &mut take).unwrap(), bytes.len() - 1, "{cut}");
            assert_eq!(found, marks, "cut at {cut}");
        }
        let mut broken = marks[0].payload(100);
        broken.pop();
        broken.push(b'"');
        assert!(Mark::find(&broken, 100, |_| Ok(())).is_err());
    }
}
