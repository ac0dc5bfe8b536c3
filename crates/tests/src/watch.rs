//! Subscribers that record what they are told.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::frame::{Frame, Position, changes};
use crate::http::Http;
use crate::log::{Log, NotContiguous};
use crate::mqtt::{Connect, Mqtt, Version, pair};
use crate::validator::Mode;

/// How long a subscriber may take to get where it has to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Through which door to subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Server-sent events.
    Events,
    /// JSON frames as MQTT messages, under `$changes/`.
    Changes,
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
        let since = since.map(ToString::to_string);
        let (socket, thread) = match door {
            Door::Events => Self::events(address, filter, mode, since.as_deref(), Arc::clone(&record))?,
            Door::Changes => Self::changes(address, filter, mode, since.as_deref(), Arc::clone(&record))?,
        };
        Ok(Self { record, socket, thread: Some(thread) })
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
        if let Some(thread) = self.thread.take() {
            // A frame that could not be read fails the test here, with its text.
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }

    fn events(
        address: SocketAddr,
        filter: &str,
        mode: Mode,
        since: Option<&str>,
        record: Arc<Record>,
    ) -> io::Result<(TcpStream, JoinHandle<()>)> {
        let every = if mode == Mode::Every { "?every" } else { "" };
        let mut events = Http::connect(address)?.events(&format!("{}{every}", target(filter)), since)?;
        let socket = events.socket().try_clone()?;
        events.patience(Duration::from_mins(10))?;
        let thread = std::thread::spawn(move || {
            while let Ok(event) = events.next_event() {
                record.add(&event.data);
            }
        });
        Ok((socket, thread))
    }

    fn changes(
        address: SocketAddr,
        filter: &str,
        mode: Mode,
        since: Option<&str>,
        record: Arc<Record>,
    ) -> io::Result<(TcpStream, JoinHandle<()>)> {
        let mut client = Mqtt::connect(address, &Connect::new(Version::V5))?;
        let qos = u8::from(mode == Mode::Every);
        let properties = [pair("since", since.unwrap_or_default())];
        let reasons = client.subscribe(&[(&format!("$changes/{filter}"), qos)], &properties)?;
        if reasons != [qos] {
            return Err(io::Error::other(format!("SUBACK {reasons:02x?}")));
        }
        let socket = client.socket().try_clone()?;
        client.patience(Duration::from_mins(10))?;
        let thread = std::thread::spawn(move || {
            while let Ok(message) = client.receive() {
                record.add(&String::from_utf8_lossy(&message.payload));
            }
        });
        Ok((socket, thread))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Record {
    fn add(&self, text: &str) {
        let frame = Frame::of_json(text).unwrap_or_else(|error| panic!("{error}"));
        self.frames.lock().unwrap().push(frame);
        self.more.notify_all();
    }
}

/// Asks for what happened after the log's head, and adds it. `None` starts a new log.
///
/// # Errors
/// When the connection fails, or the answer does not continue the log.
pub fn extend(address: SocketAddr, log: Option<Log>) -> io::Result<Log> {
    let mut http = Http::connect(address)?;
    let mut log = if let Some(log) = log {
        log
    } else {
        let head = position(http.get("/%23")?.header("dovetail-revision"))?;
        Log::new(&head.epoch)
    };
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
