//! Prototype: N single-threaded runtimes. A connection is a local task of one of them; a publisher's turn is posted once to
//! each shard, which gives its subscribers positions in its log and writes to each once per turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use clap::ValueEnum;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

use crate::floor::{Role, Turns, announce, handshake};
use crate::load::{local_runtime, write_all};
use crate::wire;

/// Who writes to a subscriber's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Writer {
    /// The subscriber's task, woken on its own thread.
    Task,
    /// The shard's dispatcher, while the socket takes all; else the task.
    Dispatcher,
}

/// One encoded message, shared by all shards.
type Frame = Arc<[u8]>;

/// What other shards have for this one: frames, and one wake-up for all of them.
#[derive(Default)]
struct Inbox {
    frames: Mutex<Vec<Frame>>,
    filled: Notify,
}

impl Inbox {
    fn post(&self, turn: &[Frame]) {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(turn);
        self.filled.notify_one();
    }

    async fn take(&self) -> Vec<Frame> {
        loop {
            let frames = std::mem::take(&mut *self.frames.lock().unwrap_or_else(PoisonError::into_inner));
            if !frames.is_empty() {
                return frames;
            }
            self.filled.notified().await;
        }
    }
}

/// The newest frames, by position. The prototype keeps a fixed number; the load generator's window is smaller.
struct Log {
    frames: VecDeque<Frame>,
    next: u64,
}

const LOG_FRAMES: usize = 16 * 1024;

impl Log {
    fn push(&mut self, frame: Frame) {
        if self.frames.len() == LOG_FRAMES {
            self.frames.pop_front();
        }
        self.frames.push_back(frame);
        self.next += 1;
    }

    fn at(&self, position: u64) -> &[u8] {
        &self.frames[(position + self.frames.len() as u64 - self.next) as usize]
    }
}

struct Subscriber {
    stream: TcpStream,
    /// Positions that are not written yet.
    pending: RefCell<Vec<u64>>,
    /// Bytes that the socket did not take. While there are any, the task alone may write.
    rest: RefCell<Vec<u8>>,
    busy: Cell<bool>,
    woken: Notify,
}

struct Shard {
    inboxes: Arc<Vec<Inbox>>,
    index: usize,
    writer: Writer,
    log: RefCell<Log>,
    subscribers: RefCell<Vec<Rc<Subscriber>>>,
    /// Where a turn's bytes are gathered: one buffer for the whole shard, since gathering and writing do not await.
    gathered: RefCell<Vec<u8>>,
}

/// Serves until it is killed.
pub(crate) fn serve(shards: usize, writer: Writer) -> Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let inboxes: Arc<Vec<Inbox>> = Arc::new((0..shards).map(|_| Inbox::default()).collect());
    let (doors, streams): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::channel(1024)).unzip();
    let mut threads = Vec::new();
    for (index, streams) in streams.into_iter().enumerate() {
        let inboxes = Arc::clone(&inboxes);
        threads.push(std::thread::spawn(move || {
            local_runtime()?.block_on(shard(inboxes, index, writer, streams))
        }));
    }
    local_runtime()?.block_on(async {
        announce(listener.local_addr()?);
        let listener = TcpListener::from_std(listener)?;
        for door in doors.iter().cycle() {
            let (stream, _) = listener.accept().await?;
            door.send(stream.into_std()?).await?;
        }
        anyhow::Ok(())
    })
}

async fn shard(
    inboxes: Arc<Vec<Inbox>>,
    index: usize,
    writer: Writer,
    mut streams: mpsc::Receiver<std::net::TcpStream>,
) -> Result<()> {
    let shard = Rc::new(Shard {
        inboxes,
        index,
        writer,
        log: RefCell::new(Log { frames: VecDeque::with_capacity(LOG_FRAMES), next: 0 }),
        subscribers: RefCell::default(),
        gathered: RefCell::default(),
    });
    let dispatcher = Rc::clone(&shard);
    tokio::task::spawn_local(async move {
        loop {
            let frames = dispatcher.inboxes[dispatcher.index].take().await;
            dispatcher.dispatch(frames);
        }
    });
    while let Some(stream) = streams.recv().await {
        let stream = TcpStream::from_std(stream)?;
        let shard = Rc::clone(&shard);
        tokio::task::spawn_local(async move {
            match handshake(stream).await? {
                Role::Subscriber(stream, _) => shard.subscribe(stream).await,
                Role::Publisher(stream, bytes) => shard.publish(Turns::new(stream, &bytes)).await,
            }
        });
    }
    Ok(())
}

impl Shard {
    async fn publish(&self, mut turns: Turns) -> Result<()> {
        while let Some(mut bytes) = turns.next().await? {
            let mut frames: Vec<Frame> = Vec::new();
            while let Some(packet) = wire::first_packet(bytes) {
                frames.push(packet.into());
                bytes = &bytes[packet.len()..];
            }
            for (index, inbox) in self.inboxes.iter().enumerate() {
                if index != self.index {
                    inbox.post(&frames);
                }
            }
            self.dispatch(frames);
            // The subscribers' tasks have their turn before the next read.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn dispatch(&self, frames: Vec<Frame>) {
        let mut log = self.log.borrow_mut();
        let first = log.next;
        for frame in frames {
            log.push(frame);
        }
        let last = log.next;
        drop(log);
        for subscriber in self.subscribers.borrow().iter() {
            subscriber.pending.borrow_mut().extend(first..last);
            if self.writer == Writer::Task || subscriber.busy.get() || !self.write_now(subscriber) {
                subscriber.woken.notify_one();
            }
        }
    }

    /// Writes what is pending, and says whether the socket took all of it. What it did not take is left to the task.
    fn write_now(&self, subscriber: &Subscriber) -> bool {
        let mut gathered = self.gathered.borrow_mut();
        self.gather(subscriber, &mut gathered);
        subscriber.pending.borrow_mut().clear();
        let written = subscriber.stream.try_write(&gathered).unwrap_or(0);
        if written == gathered.len() {
            return true;
        }
        subscriber.busy.set(true);
        subscriber.rest.borrow_mut().extend_from_slice(&gathered[written..]);
        false
    }

    fn gather(&self, subscriber: &Subscriber, gathered: &mut Vec<u8>) {
        gathered.clear();
        let log = self.log.borrow();
        for &position in subscriber.pending.borrow().iter() {
            gathered.extend_from_slice(log.at(position));
        }
    }

    async fn subscribe(&self, stream: TcpStream) -> Result<()> {
        let subscriber = Rc::new(Subscriber {
            stream,
            pending: RefCell::default(),
            rest: RefCell::default(),
            busy: Cell::new(false),
            woken: Notify::new(),
        });
        self.subscribers.borrow_mut().push(Rc::clone(&subscriber));
        loop {
            subscriber.woken.notified().await;
            while subscriber.busy.get() || !subscriber.pending.borrow().is_empty() {
                if !subscriber.busy.get() && self.write_now(&subscriber) {
                    continue;
                }
                let rest = subscriber.rest.take();
                write_all(&subscriber.stream, &rest).await?;
                subscriber.busy.set(false);
            }
        }
    }
}
