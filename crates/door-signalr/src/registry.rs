//! Which connections there are, over all shards.
//!
//! A connection is here from its negotiation to its end. Looking one up is for requests; nothing that a socket carries
//! passes by here.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::Options;
use crate::stream::Stream;

/// Random bytes of a token.
const TOKEN_BYTES: usize = 16;
/// Requests of a client that may wait for its connection.
const INBOX: usize = 2;

/// What a client has to know to use a connection: nobody else does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token([u8; TOKEN_BYTES]);

/// Why a request cannot be for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Misfit {
    #[error("the connection needs an `id`")]
    NoToken,
    #[error("there is no connection with this `id`; negotiate another")]
    Unknown,
    #[error("the connection is in use")]
    InUse,
    #[error("the transport of a connection does not change")]
    OtherTransport,
    #[error("a connection on a WebSocket takes no POST request")]
    NoPost,
    #[error("too many connections poll; try again")]
    TooMany,
}

/// A socket on its way to its connection's thread.
pub(crate) struct Arrival {
    pub(crate) unpack: Box<dyn FnOnce() -> std::io::Result<Box<dyn Stream>> + Send>,
    pub(crate) before: Bytes,
}

/// What a client asks of a connection that polls.
pub(crate) enum Order {
    /// Tell what there is.
    Poll(oneshot::Sender<Told>),
    /// End.
    Delete,
}

/// The answer to a poll.
#[derive(Debug)]
pub(crate) enum Told {
    /// What was said; nothing when the time of the poll is over.
    Data { bytes: Vec<u8>, is_binary: bool },
    /// The connection has ended, or another poll took the place of this one.
    End,
}

/// How requests reach a connection that is not a WebSocket.
#[derive(Clone)]
pub(crate) struct Mailbox {
    /// Bytes of the client, in order.
    pub(crate) input: mpsc::Sender<Bytes>,
    /// Only of a connection that polls.
    pub(crate) orders: Option<mpsc::Sender<Order>>,
}

/// The connection's end of a mailbox.
pub(crate) struct Inbox {
    pub(crate) input: mpsc::Receiver<Bytes>,
    pub(crate) orders: mpsc::Receiver<Order>,
}

/// A connection that begins.
pub(crate) struct Begun<T> {
    /// It is known as long as this lives.
    pub(crate) registered: Registered,
    /// What reaches it from elsewhere.
    pub(crate) inbox: T,
}

/// What becomes of a socket.
pub(crate) enum Socket {
    /// A connection begins; if it can outlive its socket, the next ones come this way. One that was not negotiated is not
    /// known to anybody else.
    Begins(Option<Begun<Option<mpsc::Receiver<Arrival>>>>),
    /// The connection is elsewhere; it waits for this socket.
    GoesOn(mpsc::Sender<Arrival>),
}

/// What becomes of a poll.
pub(crate) enum Poll {
    /// A connection begins.
    Begins(Begun<Inbox>),
    /// The connection is there.
    GoesOn(mpsc::Sender<Order>),
}

enum State {
    Negotiated { expires: Instant, resends: bool },
    Socket(Option<mpsc::Sender<Arrival>>),
    Requests(Mailbox),
}

/// All connections that were negotiated.
pub(crate) struct Registry {
    options: Options,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    states: HashMap<Token, State>,
    /// Those that have not begun, by when they are forgotten.
    waiting: BTreeSet<(Instant, Token)>,
    polling: usize,
}

/// Keeps a connection known as long as it lives.
pub(crate) struct Registered {
    registry: Arc<Registry>,
    token: Token,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut all = self.registry.all();
        if let Some(State::Requests(Mailbox { orders: Some(_), .. })) = all.states.remove(&self.token) {
            all.polling -= 1;
        }
    }
}

impl Token {
    /// A token that nobody can guess.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The token that `text` is.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Registry {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, all: Mutex::default() }
    }

    /// Makes a connection known for a while.
    ///
    /// # Errors
    /// Too many have not begun: the time after which there is room.
    pub(crate) fn negotiate(&self, token: Token, resends: bool) -> Result<(), Duration> {
        let now = Instant::now();
        let mut all = self.all();
        all.forget(now);
        if all.waiting.len() >= self.options.negotiated {
            let first = all.waiting.first().map_or(Duration::ZERO, |(expires, _)| *expires - now);
            return Err(first);
        }
        let expires = now + self.options.absence;
        all.waiting.insert((expires, token));
        all.states.insert(token, State::Negotiated { expires, resends });
        Ok(())
    }

    /// Whether a socket would be taken.
    pub(crate) fn check_socket(&self, token: Token) -> Result<(), Misfit> {
        match self.all().find(token)? {
            State::Negotiated { .. } | State::Socket(Some(_)) => Ok(()),
            State::Socket(None) => Err(Misfit::InUse),
            State::Requests(_) => Err(Misfit::OtherTransport),
        }
    }

    /// Takes a socket for a connection.
    pub(crate) fn socket(self: &Arc<Self>, token: Token) -> Result<Socket, Misfit> {
        let mut all = self.all();
        match all.find(token)? {
            State::Negotiated { resends, .. } => {
                let (sender, inbox) = resends.then(|| mpsc::channel(1)).unzip();
                all.begin(token, State::Socket(sender));
                Ok(Socket::Begins(Some(Begun { registered: self.registered(token), inbox })))
            }
            State::Socket(Some(sender)) => Ok(Socket::GoesOn(sender.clone())),
            State::Socket(None) => Err(Misfit::InUse),
            State::Requests(_) => Err(Misfit::OtherTransport),
        }
    }

    /// Takes an event stream for a connection.
    pub(crate) fn events(self: &Arc<Self>, token: Token) -> Result<Begun<mpsc::Receiver<Bytes>>, Misfit> {
        let mut all = self.all();
        match all.find(token)? {
            State::Negotiated { .. } => {
                let (input, inbox) = mpsc::channel(INBOX);
                let mailbox = Mailbox { input, orders: None };
                all.begin(token, State::Requests(mailbox));
                Ok(Begun { registered: self.registered(token), inbox })
            }
            State::Requests(Mailbox { orders: None, .. }) => Err(Misfit::InUse),
            State::Socket(_) | State::Requests(_) => Err(Misfit::OtherTransport),
        }
    }

    /// Takes a poll for a connection.
    pub(crate) fn poll(self: &Arc<Self>, token: Token) -> Result<Poll, Misfit> {
        let mut all = self.all();
        let is_full = all.polling >= self.options.polling;
        match all.find(token)? {
            State::Negotiated { .. } if is_full => Err(Misfit::TooMany),
            State::Negotiated { .. } => {
                let ((input, inputs), (orders, order)) = (mpsc::channel(INBOX), mpsc::channel(INBOX));
                let mailbox = Mailbox { input, orders: Some(orders) };
                all.begin(token, State::Requests(mailbox));
                all.polling += 1;
                let inbox = Inbox { input: inputs, orders: order };
                Ok(Poll::Begins(Begun { registered: self.registered(token), inbox }))
            }
            State::Requests(Mailbox { orders: Some(orders), .. }) => Ok(Poll::GoesOn(orders.clone())),
            State::Socket(_) | State::Requests(_) => Err(Misfit::OtherTransport),
        }
    }

    /// The way of a POST request to its connection.
    pub(crate) fn input(&self, token: Token) -> Result<mpsc::Sender<Bytes>, Misfit> {
        match self.all().find(token)? {
            State::Requests(mailbox) => Ok(mailbox.input.clone()),
            State::Socket(_) => Err(Misfit::NoPost),
            // It has not begun, so there is nobody who would take it.
            State::Negotiated { .. } => Err(Misfit::Unknown),
        }
    }

    /// The way of a DELETE request to its connection; `None` when it has not begun, and is forgotten.
    pub(crate) fn delete(&self, token: Token) -> Result<Option<mpsc::Sender<Order>>, Misfit> {
        let mut all = self.all();
        match all.find(token)? {
            State::Requests(Mailbox { orders: Some(orders), .. }) => Ok(Some(orders.clone())),
            State::Negotiated { expires, .. } => {
                let expires = *expires;
                all.waiting.remove(&(expires, token));
                all.states.remove(&token);
                Ok(None)
            }
            State::Socket(_) | State::Requests(_) => Err(Misfit::OtherTransport),
        }
    }

    fn registered(self: &Arc<Self>, token: Token) -> Registered {
        Registered { registry: Arc::clone(self), token }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn find(&mut self, token: Token) -> Result<&State, Misfit> {
        self.forget(Instant::now());
        self.states.get(&token).ok_or(Misfit::Unknown)
    }

    fn begin(&mut self, token: Token, state: State) {
        if let Some(State::Negotiated { expires, .. }) = self.states.insert(token, state) {
            self.waiting.remove(&(expires, token));
        }
    }

    /// Forgets those that nobody came for.
    fn forget(&mut self, now: Instant) {
        while let Some(&(expires, token)) = self.waiting.first()
            && expires <= now
        {
            self.waiting.pop_first();
            self.states.remove(&token);
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all();
        f.debug_struct("Registry")
            .field("known", &all.states.len())
            .field("waiting", &all.waiting.len())
            .finish_non_exhaustive()
    }
}
