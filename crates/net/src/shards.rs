//! Shards: threads with a runtime each, on which connections live.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::thread::JoinHandle;
use std::time::Duration;

use dovetail_model::limits;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet, LocalSet};

use crate::counters::Counters;
use crate::sniff::{Protocol, Sniffed, TLS_REFUSAL, sniff};
use crate::{Draining, Hold};

/// Connections that may wait for one shard to take them.
const INBOX: usize = 64;

/// The limits of listeners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Connections open at once, over all listeners.
    pub connections: usize,
    /// How long a new connection may stay silent.
    pub first_byte: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { connections: 100_000, first_byte: limits::FIRST_BYTE }
    }
}

/// A connection that has said which protocol it speaks.
///
/// Nothing has been read: the first byte is still in the socket.
#[derive(Debug)]
pub struct Connection {
    /// The socket, with `TCP_NODELAY` set.
    pub stream: TcpStream,
    /// What it speaks.
    pub protocol: Protocol,
    /// The address of the client.
    pub peer: SocketAddr,
}

/// What serves the connections of one shard. It is made on the shard's thread, never leaves it and
/// need not be `Send`.
pub trait LocalService: 'static {
    /// Serves one connection until it ends. Runs as one local task, in a `LocalSet`.
    ///
    /// The future of a connection lives as long as the connection: box its rare and large parts.
    fn serve(&self, connection: Connection) -> impl Future<Output = ()> + Unpin + use<Self>;
}

/// The running shards.
#[derive(Debug)]
pub struct Shards {
    dispatcher: Dispatcher,
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<Stop>,
}

/// Hands connections to the shards, in turn. Cloning is cheap; clones share the turn.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    inboxes: Arc<[mpsc::Sender<Arrival>]>,
    turn: Arc<AtomicUsize>,
    limit: usize,
    counters: Arc<Counters>,
    draining: Draining,
}

#[derive(Debug)]
struct Arrival {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    open: Open,
}

/// Counts a connection as open while it lives, and holds the gate.
#[derive(Debug)]
struct Open {
    counters: Arc<Counters>,
    _hold: Hold,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.counters.open.fetch_sub(1, Relaxed);
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    Not,
    WhenEmpty,
    Now,
}

impl Shards {
    /// Starts `count` shards. On each, `make` builds the service with the number of the shard,
    /// inside the `LocalSet` of its thread, so that it may start local tasks of its own.
    ///
    /// # Errors
    /// Threads or runtimes cannot be made.
    pub fn start<S: LocalService>(
        count: NonZeroUsize,
        options: Options,
        draining: Draining,
        counters: Arc<Counters>,
        make: impl Fn(usize) -> S + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let make = Arc::new(make);
        let stop = watch::Sender::new(Stop::Not);
        let (mut inboxes, mut threads) = (Vec::new(), Vec::new());
        for index in 0..count.get() {
            let (inbox, arrivals) = mpsc::channel(INBOX);
            inboxes.push(inbox);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (make, stopping) = (Arc::clone(&make), stop.subscribe());
            let counters = Arc::clone(&counters);
            let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
                LocalSet::new().block_on(&runtime, async move {
                    let service = Rc::new(make(index));
                    run(&service, arrivals, stopping, options.first_byte, &counters).await;
                });
            })?;
            threads.push(thread);
        }
        let dispatcher = Dispatcher {
            inboxes: inboxes.into(),
            turn: Arc::default(),
            limit: options.connections,
            counters,
            draining,
        };
        Ok(Self { dispatcher, threads, stop })
    }

    /// What acceptors hand connections to.
    pub fn dispatcher(&self) -> Dispatcher {
        self.dispatcher.clone()
    }

    /// Waits until the connections have ended, at most for `grace`, then ends what is left and the
    /// threads. Say *begin* on the drain before, or the connections have no reason to end.
    pub async fn stop(self, grace: Duration) {
        self.stop.send_replace(Stop::WhenEmpty);
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            // A shard does not panic: panics of connections end in their tasks.
            threads.into_iter().filter_map(|thread| thread.join().err()).count()
        });
        tokio::pin!(joined);
        if tokio::time::timeout(grace, &mut joined).await.is_err() {
            self.stop.send_replace(Stop::Now);
            let _ = joined.await;
        }
    }
}

impl Dispatcher {
    /// Gives a connection, which does not block, to the next shard that has room for it; waits if none has.
    /// Over the limit it is closed.
    pub async fn dispatch(&self, stream: std::net::TcpStream, peer: SocketAddr) {
        Counters::count(&self.counters.accepted);
        if self.counters.open.fetch_add(1, Relaxed) >= self.limit {
            self.counters.open.fetch_sub(1, Relaxed);
            Counters::count(&self.counters.over_limit);
            return;
        }
        let hold = self.draining.hold("connection");
        let open = Open { counters: Arc::clone(&self.counters), _hold: hold };
        let mut arrival = Arrival { stream, peer, open };
        let turn = self.turn.fetch_add(1, Relaxed);
        for step in 0..self.inboxes.len() {
            match self.inboxes[turn.wrapping_add(step) % self.inboxes.len()].try_send(arrival) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back)) => {
                    arrival = back;
                }
            }
        }
        // An error means that the shard has stopped; the connection closes with the arrival.
        let _ = self.inboxes[turn % self.inboxes.len()].send(arrival).await;
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// The life of a shard: takes arrivals until it is told to stop, then waits for its connections.
async fn run<S: LocalService>(
    service: &Rc<S>,
    mut arrivals: mpsc::Receiver<Arrival>,
    mut stopping: watch::Receiver<Stop>,
    first_byte: Duration,
    counters: &Counters,
) {
    let mut connections = JoinSet::new();
    loop {
        let stop = *stopping.borrow_and_update();
        match stop {
            Stop::Not => {}
            Stop::WhenEmpty if !connections.is_empty() => {}
            Stop::WhenEmpty | Stop::Now => return,
        }
        tokio::select! {
            Some(arrival) = arrivals.recv(), if stop == Stop::Not => {
                connections.spawn_local(live(Rc::clone(service), arrival, first_byte));
            }
            Some(ended) = connections.join_next() => note_panic(counters, ended),
            changed = stopping.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

fn note_panic(counters: &Counters, ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        Counters::count(&counters.panics);
        tracing::error!("a connection task panicked; only its connection is closed");
    }
}

/// The life of one connection.
///
/// Every idle connection holds one. As an `async` function it would keep room for its arguments, for the greeting and for
/// what is served, all at once, which is a kilobyte more.
struct Live<F, N> {
    phase: Phase<F, N>,
    open: Open,
}

enum Phase<F, N> {
    /// Which protocol it speaks is not known yet; the function serves what it turns out to be.
    Greeting(Pin<Box<dyn Future<Output = io::Result<Greeting>>>>, N),
    Serving(F),
}

fn live<S: LocalService>(service: Rc<S>, arrival: Arrival, first_byte: Duration) -> impl Future<Output = ()> {
    let Arrival { stream, peer, open } = arrival;
    let serve = move |connection| service.serve(connection);
    Live { phase: Phase::Greeting(Box::pin(greet(stream, peer, first_byte)), serve), open }
}

impl<F: Future<Output = ()> + Unpin, N: Fn(Connection) -> F + Unpin> Future for Live<F, N> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { phase, open } = &mut *self;
        if let Phase::Greeting(greeting, serve) = phase {
            match ready!(greeting.as_mut().poll(cx)) {
                Ok(Greeting::Served(connection)) => *phase = Phase::Serving(serve(connection)),
                Ok(Greeting::Silent) => Counters::count(&open.counters.silent),
                Ok(Greeting::Tls) => Counters::count(&open.counters.tls),
                Ok(Greeting::Unknown) => Counters::count(&open.counters.unknown),
                // The socket broke before it said anything.
                Err(_) => {}
            }
        }
        match phase {
            Phase::Serving(serving) => Pin::new(serving).poll(cx),
            Phase::Greeting(..) => Poll::Ready(()),
        }
    }
}

enum Greeting {
    Served(Connection),
    Silent,
    Tls,
    Unknown,
}

async fn greet(stream: std::net::TcpStream, peer: SocketAddr, first_byte: Duration) -> io::Result<Greeting> {
    let mut stream = TcpStream::from_std(stream)?;
    let mut first = [0u8; 1];
    let Ok(peeked) = tokio::time::timeout(first_byte, stream.peek(&mut first)).await else {
        return Ok(Greeting::Silent);
    };
    if peeked? == 0 {
        return Ok(Greeting::Silent);
    }
    match sniff(first[0]) {
        Sniffed::Protocol(protocol) => Ok(Greeting::Served(Connection { stream, protocol, peer })),
        Sniffed::Tls => {
            stream.write_all(&TLS_REFUSAL).await?;
            refuse(stream, first_byte).await;
            Ok(Greeting::Tls)
        }
        Sniffed::Unknown => Ok(Greeting::Unknown),
    }
}

/// Closes so that the client can read the refusal: a socket closed with unread bytes in it is reset,
/// and the reset overtakes what was written.
async fn refuse(mut stream: TcpStream, patience: Duration) {
    const GLANCE: usize = 512;
    const MOST: usize = 16 << 10;
    let _ = stream.shutdown().await;
    let skim = async {
        let mut read = 0;
        let mut scratch = [0u8; GLANCE];
        while read < MOST {
            match tokio::io::AsyncReadExt::read(&mut stream, &mut scratch).await {
                Ok(0) | Err(_) => break,
                Ok(more) => read += more,
            }
        }
    };
    let _ = tokio::time::timeout(patience, skim).await;
}
