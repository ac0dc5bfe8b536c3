//! Frames made of what long-polling tells: a reading of the state, then again and again what came after it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use serde_json::Value;

use crate::frame::{Frame, Position, changes, payload};
use crate::http::Http;
use crate::validator::Mode;

/// How long one request waits for something to happen.
const WAIT: &str = "8s";

/// A client that polls.
pub(super) struct Poll {
    http: Http,
    target: String,
    every: &'static str,
    position: Option<Position>,
    frames: VecDeque<Frame>,
}

impl Poll {
    pub(super) fn open(
        address: SocketAddr,
        filter: &str,
        mode: Mode,
        since: Option<&str>,
    ) -> io::Result<Self> {
        let position = since.map(str::parse).transpose().map_err(io::Error::other)?;
        let every = if mode == Mode::Every { "&every" } else { "" };
        let (http, frames) = (Http::connect(address)?, VecDeque::new());
        Ok(Self { http, target: super::target(filter), every, position, frames })
    }

    pub(super) fn connection(&self) -> &Http {
        &self.http
    }

    /// The next frame.
    pub(super) fn next(&mut self) -> io::Result<Frame> {
        while self.frames.is_empty() {
            match self.position.take() {
                None => self.read_state()?,
                Some(since) => self.wait_for_more(since)?,
            }
        }
        self.frames.pop_front().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn read_state(&mut self) -> io::Result<()> {
        let mut target = format!("{}?limit=1000", self.target);
        loop {
            let answer = self.http.get(&target)?;
            if answer.status != 200 {
                return Err(io::Error::other(format!("{target}: {} {}", answer.status, answer.text())));
            }
            let document = answer.json();
            let rev: Position = token(&document["rev"])?;
            if self.frames.is_empty() {
                self.frames.push_back(Frame::BaselineBegin { rev: rev.clone() });
            }
            for entry in document["items"].as_array().expect("the items of a collection") {
                let path = entry["path"].as_str().expect("a path").to_owned();
                let bytes = payload(entry).expect("a payload");
                self.frames.push_back(Frame::Item { path, rev: token(&entry["rev"])?, bytes });
            }
            if let Some(next) = document["next"].as_str() {
                next.clone_into(&mut target);
                continue;
            }
            self.frames.push_back(Frame::BaselineEnd { rev: rev.clone() });
            self.position = Some(rev);
            return Ok(());
        }
    }

    fn wait_for_more(&mut self, since: Position) -> io::Result<()> {
        let target = format!("{}?since={since}&wait={WAIT}{}", self.target, self.every);
        let answer = self.http.get(&target)?;
        match answer.status {
            200 => {
                let document = answer.json();
                let rev: Position = token(&document["rev"])?;
                let changes = changes(&document["changes"]).map_err(io::Error::other)?;
                self.frames.push_back(Frame::Change { after: since, rev: rev.clone(), changes });
                self.position = Some(rev);
                Ok(())
            }
            410 => {
                self.frames.push_back(Frame::Reset);
                Ok(())
            }
            other => Err(io::Error::other(format!("{target}: {other} {}", answer.text()))),
        }
    }
}

fn token(value: &Value) -> io::Result<Position> {
    value.as_str().unwrap_or_default().parse().map_err(io::Error::other)
}
