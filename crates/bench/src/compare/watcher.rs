//! One watcher: it comes, follows, may be cut off, comes back, and follows again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use anyhow::{Context as _, Result};
use tokio::sync::Semaphore;

use super::copies::Kind;
use super::course::Course;
use super::poll::Poller;
use super::push::Push;
use super::schedule::Cut;
use super::ways::Way;
use crate::load::client::Traffic;
use crate::load::door::Mark;

/// What one watcher's figures are made of.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Bytes on all its sockets.
    pub(super) traffic: Rc<Traffic>,
    /// Requests.
    pub(super) requests: Cell<u64>,
    /// Bytes so far when it came back.
    back: Cell<Option<u64>>,
    /// Bytes so far when it was current again.
    current: Cell<Option<u64>>,
}

impl Account {
    /// Bytes from the return until it was current again, or until now.
    pub(super) fn bytes_to_return(&self) -> Option<u64> {
        Some(self.current.get().unwrap_or_else(|| self.traffic.bytes()) - self.back.get()?)
    }
}

/// One watcher.
pub(super) struct Watcher {
    pub(super) course: Rc<Course>,
    /// Which one.
    pub(super) number: usize,
    pub(super) account: Rc<Account>,
    pub(super) kind: Kind,
    /// What it knows to ask with: a revision, or an `ETag`.
    pub(super) position: RefCell<Option<String>>,
}

/// How a watcher begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// For the first time: with the state.
    First,
    /// After a cut, as a simple client does.
    Again,
    /// After a cut, with the fallback of the way.
    Resume,
}

/// A watcher that is there.
enum Connection {
    Poller(Poller),
    Push(Push),
}

impl Watcher {
    pub(super) fn new(course: &Rc<Course>, number: usize) -> Self {
        Self {
            course: Rc::clone(course),
            number,
            account: Rc::default(),
            kind: course.ledger.borrow().kind(number),
            position: RefCell::new(None),
        }
    }

    /// Follows until the task is ended. Few may come at the same time, so that the server's backlog holds them.
    ///
    /// # Errors
    /// A connection ends that nobody cut.
    pub(super) async fn follow(self, way: Way, cut: Option<Cut>, doorway: Rc<Semaphore>) -> Result<()> {
        let number = self.number;
        self.live(way, cut, doorway).await.with_context(|| format!("watcher {number}"))
    }

    async fn live(self, way: Way, cut: Option<Cut>, doorway: Rc<Semaphore>) -> Result<()> {
        let turn = doorway.acquire().await?;
        let mut connection = self.enter(way, Entry::First).await?;
        drop(turn);
        let Some(cut) = cut else {
            return connection.follow(&self).await;
        };
        tokio::select! {
            ended = connection.follow(&self) => return ended,
            () = self.course.reaches(cut.at) => {}
        }
        connection.cut()?;
        self.course.ledger.borrow_mut().cut(self.number);
        self.course.reaches(cut.back).await;
        self.come_back();
        let entry = if self.kind == Kind::WithFallback { Entry::Resume } else { Entry::Again };
        let mut connection = self.enter(way, entry).await.context("coming back")?;
        if entry == Entry::Again {
            self.course.ledger.borrow_mut().open(self.number, self.course.now_ns());
        }
        connection.follow(&self).await
    }

    /// The way back is open. Whoever asks for what was missed misses nothing from here on; the others do until they watch.
    fn come_back(&self) {
        let (now_ns, bytes) = (self.course.now_ns(), self.account.traffic.bytes());
        let mut ledger = self.course.ledger.borrow_mut();
        ledger.back(self.number, now_ns);
        if self.kind == Kind::WithFallback {
            ledger.open(self.number, now_ns);
        }
        self.account.back.set(Some(bytes));
        if ledger.is_current_again(self.number) {
            self.account.current.set(Some(bytes));
        }
    }

    async fn enter(&self, way: Way, entry: Entry) -> Result<Connection> {
        Ok(match way {
            Way::Poll { what, every } => {
                Connection::Poller(Poller::enter(self, what, Some(every), entry).await?)
            }
            Way::LongPoll => {
                Connection::Poller(Poller::enter(self, super::ways::Poll::Since, None, entry).await?)
            }
            Way::Mqtt { version, service, aliases } => {
                Connection::Push(Push::mqtt(self, version, service, aliases, entry).await?)
            }
            Way::Web(door) => Connection::Push(Push::web(self, door, entry).await?),
            Way::Combined => Connection::Push(Push::combined(self, entry).await?),
        })
    }

    /// Takes a write that came. Says whether the copy is newer by it.
    pub(super) fn take(&self, mark: Mark) -> Result<bool> {
        let mut ledger = self.course.ledger.borrow_mut();
        let is_news = ledger.tell(self.number, mark.sequence, self.course.now_ns())?;
        let is_back = self.account.back.get().is_some() && self.account.current.get().is_none();
        if is_back && ledger.is_current_again(self.number) {
            self.account.current.set(Some(self.account.traffic.bytes()));
        }
        Ok(is_news)
    }
}

impl Connection {
    async fn follow(&mut self, watcher: &Watcher) -> Result<()> {
        match self {
            Self::Poller(poller) => poller.follow(watcher).await,
            Self::Push(push) => push.follow(watcher).await,
        }
    }

    fn cut(self) -> Result<()> {
        match self {
            Self::Poller(poller) => poller.cut(),
            Self::Push(push) => push.cut(),
        }
    }
}
