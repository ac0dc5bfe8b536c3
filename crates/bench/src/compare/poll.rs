//! A watcher that asks: again and again, or once and waits.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::watcher::{Entry, Watcher};
use super::ways::Poll;
use crate::http::Answer;
use crate::load::client::{Client, Greeting};
use crate::load::door::Mark;
use crate::wire;

/// How long a long poll waits.
const WAIT: &str = "30s";

/// A connection that asks.
pub(super) struct Poller {
    client: Client,
    what: Poll,
    /// Without an interval it is a long poll.
    every: Option<Duration>,
    /// Whether it came back after a cut.
    is_back: bool,
}

impl Poller {
    /// Connects, and the first time reads the state.
    pub(super) async fn enter(
        watcher: &Watcher,
        what: Poll,
        every: Option<Duration>,
        entry: Entry,
    ) -> Result<Self> {
        let is_back = entry != Entry::First;
        let mut poller = Self { client: connect(watcher).await?, what, every, is_back };
        if entry == Entry::First {
            poller.poll(watcher).await?;
        }
        Ok(poller)
    }

    /// Asks whenever it is time. Watchers have their turns evenly over the interval.
    pub(super) async fn follow(&mut self, watcher: &Watcher) -> Result<()> {
        let course = &watcher.course;
        let began = course.begun().await;
        let Some(every) = self.every else {
            loop {
                self.poll(watcher).await?;
            }
        };
        let watchers = course.ledger.borrow().watchers() as f64;
        let turn = every.mul_f64((watcher.number as f64 + 0.5) / watchers);
        let late = if self.is_back { began.elapsed().saturating_sub(turn) } else { Duration::ZERO };
        let turns = late.as_nanos().div_ceil(every.as_nanos()) as u32;
        let mut ticks = interval_at(Instant::from_std(began + turn + every * turns), every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.poll(watcher).await?;
        }
    }

    /// Cuts the connection off.
    pub(super) fn cut(self) -> Result<()> {
        self.client.cut()
    }

    async fn poll(&mut self, watcher: &Watcher) -> Result<()> {
        loop {
            let before = watcher.account.traffic.bytes();
            let was_measuring = watcher.course.is_measuring();
            let request = self.request(watcher);
            let answer = request_once(&mut self.client, watcher, &request).await?;
            let mut is_news = false;
            take_marks(watcher, &answer, &mut is_news)?;
            *watcher.position.borrow_mut() = match self.what {
                Poll::Plain => None,
                Poll::Etag => answer.header("etag").map(str::to_owned),
                Poll::Since => Some(revision_of(&answer)?),
            };
            if was_measuring {
                let bytes = watcher.account.traffic.bytes() - before;
                watcher.course.polls.borrow_mut().add(is_news, bytes);
            }
            if !(self.what == Poll::Since && has_more(&answer)) {
                return Ok(());
            }
        }
    }

    fn request(&self, watcher: &Watcher) -> Vec<u8> {
        let position = watcher.position.borrow();
        match (self.what, position.as_deref()) {
            (Poll::Plain, _) | (_, None) => get(watcher, "", ""),
            (Poll::Etag, Some(tag)) => get(watcher, "", &format!("If-None-Match: {tag}\r\n")),
            (Poll::Since, Some(revision)) if self.every.is_none() => {
                get(watcher, &format!("?since={revision}&wait={WAIT}"), "")
            }
            (Poll::Since, Some(revision)) => get(watcher, &format!("?since={revision}"), ""),
        }
    }
}

/// Connects for requests.
async fn connect(watcher: &Watcher) -> Result<Client> {
    let traffic = watcher.account.traffic.clone();
    Client::connect_counted(watcher.course.spot.addr, &Greeting::None, traffic).await
}

/// Reads the state, or what came after the position if there is one, on a connection for that alone, and goes on to the
/// position that it says.
pub(super) async fn catch_up(watcher: &Watcher) -> Result<()> {
    let mut client = connect(watcher).await?;
    loop {
        let query = watcher.position.borrow().as_ref().map(|revision| format!("?since={revision}"));
        let request = get(watcher, query.as_deref().unwrap_or_default(), "");
        let answer = request_once(&mut client, watcher, &request).await?;
        take_marks(watcher, &answer, &mut false)?;
        *watcher.position.borrow_mut() = Some(revision_of(&answer)?);
        if !has_more(&answer) {
            return Ok(());
        }
    }
}

fn get(watcher: &Watcher, query: &str, condition: &str) -> Vec<u8> {
    let (path, fields) = (&watcher.course.collection, &watcher.course.spot.fields);
    format!("GET /{path}/{query} HTTP/1.1\r\n{fields}Accept: application/json\r\n{condition}\r\n")
        .into_bytes()
}

async fn request_once(client: &mut Client, watcher: &Watcher, request: &[u8]) -> Result<Answer> {
    let requests = &watcher.account.requests;
    requests.set(requests.get() + 1);
    let answer = client.ask(&watcher.course.run, request).await?;
    ensure!(
        matches!(answer.status, 200 | 304),
        "GET was answered {}: {}",
        answer.status,
        String::from_utf8_lossy(&answer.body)
    );
    Ok(answer)
}

fn take_marks(watcher: &Watcher, answer: &Answer, is_news: &mut bool) -> Result<()> {
    let used = Mark::find(&answer.body, watcher.course.payload, |mark| {
        *is_news |= watcher.take(mark)?;
        Ok(())
    })?;
    if used < answer.body.len() {
        bail!("an answer ends within a payload");
    }
    Ok(())
}

/// The revision that a document was read at.
fn revision_of(answer: &Answer) -> Result<String> {
    const REV: &[u8] = b"\"rev\":\"";
    let found = wire::find(&answer.body, REV).and_then(|at| {
        let value = &answer.body[at + REV.len()..];
        let end = value.iter().position(|&byte| byte == b'"')?;
        std::str::from_utf8(&value[..end]).ok()
    });
    found.map(str::to_owned).context("an answer without a revision")
}

/// Whether there is more to tell at once. It says so before its changes.
fn has_more(answer: &Answer) -> bool {
    const HEAD: usize = 4 << 10;
    wire::find(&answer.body[..answer.body.len().min(HEAD)], b"\"more\":true").is_some()
}
