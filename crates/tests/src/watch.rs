//! Subscribers that record what they are told.

mod hub;
mod poll;
mod socket;

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::frame::{Change, Effect, Frame, Position, changes};
use crate::http::{Events, Http};
use crate::log::{Log, NotContiguous};
use crate::mqtt::{Connect, Mqtt, Publish, Version, pair};
use crate::validator::Mode;
use crate::websocket::{PONG, Received, WebSocket};

use hub::Hub;
pub use hub::HubProtocol;
use poll::Poll;
use socket::Socket;

/// How long a subscriber may hear nothing before it takes the connection for broken.
const SILENCE: Duration = Duration::from_mins(10);
/// How long a subscriber may take to get where it has to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Through which door to subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Server-sent events.
    Events,
    /// JSON frames as MQTT 5 messages, under `$changes/`.
    Changes,
    /// The same in 3.1.1, where the session with this number knows the position, and may tell again what it told before.
    /// Each entry, whatever the mode.
    Session(u32),
    /// Plain MQTT 5 messages, with the position in their user properties.
    Tracked,
    /// A WebSocket with `dovetail.v1`.
    Socket,
    /// A stream of a SignalR hub over a WebSocket.
    Hub(HubProtocol),
    /// A reading of the state, then long-polling.
    Poll,
}

/// Where a subscriber's frames come from.
enum Source {
    Events(Events),
    Changes(Mqtt),
    Tracked { client: Mqtt, messages: Messages },
    Socket(Socket),
    Hub(Hub),
    Poll(Poll),
}

/// A subscription that is being recorded.
#[derive(Debug)]
pub struct Watch {
    record: Arc<Record>,
    socket: TcpStream,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Record {
    frames: Mutex<Vec<Frame>>,
    more: Condvar,
}

impl Watch {
    /// Subscribes, from a baseline or after `since`.
    pub fn start(
        address: SocketAddr,
        door: Door,
        filter: &str,
        mode: Mode,
        since: Option<&Position>,
    ) -> io::Result<Self> {
        let record = Arc::new(Record::default());
        let mut source = Source::open(address, door, filter, mode, since)?;
        let socket = source.socket().try_clone()?;
        socket.set_read_timeout(Some(SILENCE))?;
        let kept = Arc::clone(&record);
        let thread = std::thread::spawn(move || {
            while let Ok(frames) = source.next() {
                kept.add(frames);
            }
        });
        Ok(Self { record, socket, thread: Some(thread) })
    }

    /// Waits until the connection ends by itself, and gives what was recorded.
    pub fn until_its_end(mut self) -> Vec<Frame> {
        self.join();
        std::mem::take(&mut *self.record.frames.lock().unwrap())
    }

    /// Waits until the subscriber has been told everything up to `number`; false if that takes too long or the
    /// connection ends before.
    pub fn reaches(&self, number: u64) -> bool {
        let frames = self.record.frames.lock().unwrap();
        let there = |frames: &mut Vec<Frame>| {
            !frames.iter().rev().any(|frame| ends_at(frame).is_some_and(|at| at >= number))
        };
        let (_frames, timeout) = self.record.more.wait_timeout_while(frames, PATIENCE, there).unwrap();
        !timeout.timed_out()
    }

    /// Ends the subscription and gives what was recorded.
    pub fn stop(mut self) -> Vec<Frame> {
        self.end();
        std::mem::take(&mut *self.record.frames.lock().unwrap())
    }

    fn end(&mut self) {
        // The server may have ended it already.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A frame that could not be read fails the test here, with its text.
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl Source {
    fn open(
        address: SocketAddr,
        door: Door,
        filter: &str,
        mode: Mode,
        since: Option<&Position>,
    ) -> io::Result<Self> {
        let since = since.map(ToString::to_string);
        let since = since.as_deref();
        Ok(match door {
            Door::Events => {
                let every = if mode == Mode::Every { "?every" } else { "" };
                let target = format!("{}{every}", target(filter));
                Self::Events(Http::connect(address)?.events(&target, since)?)
            }
            Door::Changes => Self::Changes(subscribe(address, &format!("$changes/{filter}"), mode, since)?),
            Door::Session(number) => {
                Self::Changes(come_back(address, number, &format!("$changes/{filter}"))?)
            }
            Door::Tracked => {
                let client = subscribe(address, filter, mode, since)?;
                Self::Tracked { client, messages: Messages::default() }
            }
            Door::Socket => Self::Socket(Socket::open(address, filter, mode, since)?),
            Door::Hub(protocol) => Self::Hub(Hub::open(address, protocol, filter, mode, since)?),
            Door::Poll => Self::Poll(Poll::open(address, filter, mode, since)?),
        })
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Events(events) => events.socket(),
            Self::Changes(client) | Self::Tracked { client, .. } => client.socket(),
            Self::Socket(socket) => socket.connection().socket(),
            Self::Hub(hub) => hub.connection().socket(),
            Self::Poll(poll) => poll.connection().socket(),
        }
    }

    /// What comes next; what makes it no frame of the contract fails the test.
    fn next(&mut self) -> io::Result<Vec<Frame>> {
        match self {
            Self::Events(events) => Ok(vec![of_json(&events.next_event()?.data)]),
            Self::Changes(client) => Ok(vec![of_json(&String::from_utf8_lossy(&client.receive()?.payload))]),
            Self::Tracked { client, messages } => {
                Ok(messages.next(client.receive()?).unwrap_or_else(|error| panic!("{error}")))
            }
            Self::Socket(socket) => Ok(vec![socket.next()?]),
            Self::Hub(hub) => Ok(vec![hub.next()?]),
            Self::Poll(poll) => Ok(vec![poll.next()?]),
        }
    }
}

fn of_json(text: &str) -> Frame {
    Frame::of_json(text).unwrap_or_else(|error| panic!("{error}"))
}

/// What a mode is called in JSON.
fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Latest => "latest",
        Mode::Every => "every",
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Record {
    fn add(&self, frames: Vec<Frame>) {
        self.frames.lock().unwrap().extend(frames);
        self.more.notify_all();
    }
}

/// Subscribes with a position, on a connection of its own.
fn subscribe(address: SocketAddr, filter: &str, mode: Mode, since: Option<&str>) -> io::Result<Mqtt> {
    let mut client = Mqtt::connect(address, &Connect::new(Version::V5))?;
    let qos = u8::from(mode == Mode::Every);
    let properties = [pair("since", since.unwrap_or_default())];
    agreed(&client.subscribe(&[(filter, qos)], &properties)?, qos)?;
    Ok(client)
}

/// Comes back to the session with this number, or begins it.
fn come_back(address: SocketAddr, number: u32, filter: &str) -> io::Result<Mqtt> {
    let connect = Connect::persistent(Version::V311, &format!("watch-{number}"));
    let mut client = Mqtt::connect(address, &connect)?;
    if !client.session_present {
        agreed(&client.subscribe(&[(filter, 1)], &[])?, 1)?;
    }
    Ok(client)
}

fn websocket(address: SocketAddr, path: &str, subprotocol: Option<&str>) -> io::Result<WebSocket> {
    WebSocket::connect(address, path, subprotocol, &[]).map_err(io::Error::other)
}

/// The next text or bytes. Pings are answered, and a close frame is the end.
fn message(socket: &mut WebSocket) -> io::Result<Received> {
    loop {
        match socket.receive()? {
            Received::Ping(payload) => socket.send(PONG, &payload)?,
            Received::Pong(_) => {}
            Received::Close(..) => return Err(io::ErrorKind::UnexpectedEof.into()),
            message => return Ok(message),
        }
    }
}

fn agreed(reasons: &[u8], qos: u8) -> io::Result<()> {
    if reasons == [qos] { Ok(()) } else { Err(io::Error::other(format!("SUBACK {reasons:02x?}"))) }
}

/// Puts the frames together that a tracked subscription tells in several messages.
#[derive(Debug, Default)]
pub struct Messages {
    /// The state so far; `$feed/sync` says at which revision it is true.
    items: Vec<Frame>,
    /// The changes of a revision of which more are to come, and where they continue from.
    changes: Vec<Change>,
    after: Option<Position>,
}

impl Messages {
    /// The frames that are complete with this message.
    ///
    /// # Errors
    /// What makes it no message of a tracked subscription.
    pub fn next(&mut self, message: Publish) -> Result<Vec<Frame>, String> {
        if let Some(word) = message.topic.strip_prefix("$feed/") {
            let said: serde_json::Value =
                serde_json::from_slice(&message.payload).map_err(|error| error.to_string())?;
            return self.control(word, &said);
        }
        let position = |name: &str| message.user(name).map(str::parse::<Position>).transpose();
        let rev = position("rev")?.ok_or_else(|| format!("no rev: {message:?}"))?;
        let Some(after) = position("after")? else {
            self.items.push(Frame::Item { path: message.topic, rev, bytes: message.payload });
            return Ok(Vec::new());
        };
        let effect = match message.user("op") {
            Some("put") => Effect::Put(message.payload.clone()),
            Some("delete") => Effect::Delete,
            Some("event") => Effect::Event(message.payload.clone()),
            _ => return Err(format!("no op: {message:?}")),
        };
        let is_last = message.user("more").is_none();
        self.changes.push(Change { path: message.topic, number: rev.number, effect });
        let after = self.after.take().unwrap_or(after);
        if is_last {
            return Ok(vec![Frame::Change { after, rev, changes: std::mem::take(&mut self.changes) }]);
        }
        self.after = Some(after);
        Ok(Vec::new())
    }

    fn control(&mut self, word: &str, said: &serde_json::Value) -> Result<Vec<Frame>, String> {
        let position = |name: &str| said[name].as_str().unwrap_or_default().parse::<Position>();
        match word {
            "sync" => {
                let rev = position("rev")?;
                let mut frames = vec![Frame::BaselineBegin { rev: rev.clone() }];
                frames.append(&mut self.items);
                frames.push(Frame::BaselineEnd { rev });
                Ok(frames)
            }
            "progress" => Ok(vec![Frame::Progress { after: position("after")?, rev: position("rev")? }]),
            "reset" => Ok(vec![Frame::Reset]),
            other => Err(format!("$feed/{other}")),
        }
    }
}

/// Asks for what happened after the log's head, and adds it. `None` starts a new log.
///
/// # Errors
/// When the connection fails, or the answer does not continue the log.
pub fn extend(address: SocketAddr, log: Option<Log>) -> io::Result<Log> {
    let log = log.map_or_else(|| begin(address), Ok)?;
    read_on(address, log)
}

/// The whole history of a server that keeps sessions, whose records are commits too.
///
/// # Errors
/// When the connection fails, or the answers are no history.
pub fn history_among_records(address: SocketAddr) -> io::Result<Log> {
    read_on(address, begin(address)?.among_records())
}

fn begin(address: SocketAddr) -> io::Result<Log> {
    let head = position(Http::connect(address)?.get("/%23")?.header("dovetail-revision"))?;
    Ok(Log::new(&head.epoch))
}

fn read_on(address: SocketAddr, mut log: Log) -> io::Result<Log> {
    let mut http = Http::connect(address)?;
    loop {
        let since = Position::new(log.epoch(), log.head());
        let answer = http.get(&format!("/%23?since={since}&every"))?;
        if answer.status != 200 {
            return Err(io::Error::other(format!(
                "history after {since}: {} {}",
                answer.status,
                answer.text()
            )));
        }
        let document = answer.json();
        let told = changes(&document["changes"]).map_err(io::Error::other)?;
        let rev = position(document["rev"].as_str())?;
        log.extend(&rev, told).map_err(|error: NotContiguous| io::Error::other(error.to_string()))?;
        if document["more"] != true {
            return Ok(log);
        }
    }
}

fn position(token: Option<&str>) -> io::Result<Position> {
    token.unwrap_or_default().parse().map_err(io::Error::other)
}

/// The URL path of a filter.
pub fn target(filter: &str) -> String {
    format!("/{}", filter.replace('#', "%23"))
}

/// Up to where a frame tells everything.
fn ends_at(frame: &Frame) -> Option<u64> {
    match frame {
        Frame::BaselineEnd { rev } | Frame::Change { rev, .. } | Frame::Progress { rev, .. } => {
            Some(rev.number)
        }
        Frame::BaselineBegin { .. } | Frame::Item { .. } | Frame::Reset | Frame::End => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, payload: &str, properties: &[(&str, &str)]) -> Publish {
        let properties = properties.iter().map(|(name, value)| pair(name, value)).collect();
        Publish {
            topic: topic.to_owned(),
            payload: payload.as_bytes().to_vec(),
            properties,
            ..Publish::default()
        }
    }

    #[test]
    fn tracked_messages_make_the_frames_of_every_door() {
        let mut messages = Messages::default();
        let item = message("a", "1", &[("rev", "e.1"), ("op", "put")]);
        assert_eq!(messages.next(item), Ok(vec![]));
        let sync = messages.next(message("$feed/sync", "{\"filter\":\"#\",\"rev\":\"e.4\"}", &[])).unwrap();
        let at = |number| Position::new("e", number);
        let item = Frame::Item { path: "a".to_owned(), rev: at(1), bytes: b"1".to_vec() };
        assert_eq!(sync, [Frame::BaselineBegin { rev: at(4) }, item, Frame::BaselineEnd { rev: at(4) }]);

        let first = message("a", "2", &[("rev", "e.5"), ("after", "e.4"), ("op", "put"), ("more", "1")]);
        assert_eq!(messages.next(first), Ok(vec![]));
        let last =
            messages.next(message("b", "", &[("rev", "e.5"), ("after", "e.4"), ("op", "delete")])).unwrap();
        let put = Change { path: "a".to_owned(), number: 5, effect: Effect::Put(b"2".to_vec()) };
        let delete = Change { path: "b".to_owned(), number: 5, effect: Effect::Delete };
        assert_eq!(last, [Frame::Change { after: at(4), rev: at(5), changes: vec![put, delete] }]);

        assert!(messages.next(message("a", "1", &[])).is_err());
        assert!(messages.next(message("$feed/other", "{}", &[])).is_err());
    }
}
