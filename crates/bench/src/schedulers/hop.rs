//! Prototype: requests of one shard that hop to a commit thread and back, in the ways that the wake-ups can be done.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, mpsc as sync_mpsc};

use anyhow::{Context, Result};
use clap::ValueEnum;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::floor::announce;
use crate::load::{READ_BYTES, local_runtime, read_some, write_all};

/// How a request gets to the commit thread and its answer back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hop {
    /// Not at all: the connection's task answers.
    None,
    /// The thread parks on a futex; each answer wakes its connection's task.
    FutexEach,
    /// The thread parks on a futex; a group's answers are posted at once, with one wake-up of the shard.
    FutexBatch,
    /// The thread waits in `epoll` on an eventfd; a group's answers are posted at once.
    EventfdBatch,
}

/// Requests that may wait for the commit thread.
const QUEUE: usize = 1024;

/// Answers of a group, for a shard to hand on.
#[derive(Default)]
struct Answers {
    tickets: Mutex<Vec<u64>>,
    filled: Notify,
}

impl Answers {
    fn post(&self, group: &mut Vec<u64>) {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).append(group);
        self.filled.notify_one();
    }
}

/// A request at the commit thread.
enum Job {
    Each(oneshot::Sender<()>),
    Batch(u64),
}

#[derive(Clone)]
enum Jobs {
    Futex(sync_mpsc::SyncSender<Job>),
    Eventfd(mpsc::Sender<Job>),
}

struct Shard {
    hop: Hop,
    jobs: Option<Jobs>,
    waiting: RefCell<HashMap<u64, oneshot::Sender<()>>>,
    next: RefCell<u64>,
}

/// Serves blocks of `size` bytes, echoed after the hop, until it is killed.
pub(crate) fn serve(hop: Hop, size: usize) -> Result<()> {
    let answers = Arc::new(Answers::default());
    let jobs = start_commit_thread(hop, Arc::clone(&answers));
    local_runtime()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        announce(listener.local_addr()?);
        let shard = Rc::new(Shard { hop, jobs, waiting: RefCell::default(), next: RefCell::default() });
        tokio::task::spawn_local(hand_on(Rc::clone(&shard), answers));
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(connection(Rc::clone(&shard), stream, size));
        }
    })
}

fn start_commit_thread(hop: Hop, answers: Arc<Answers>) -> Option<Jobs> {
    match hop {
        Hop::None => None,
        Hop::FutexEach | Hop::FutexBatch => {
            let (sender, receiver) = sync_mpsc::sync_channel(QUEUE);
            std::thread::spawn(move || {
                let mut group = Vec::new();
                while let Ok(job) = receiver.recv() {
                    std::iter::once(job).chain(receiver.try_iter()).for_each(|job| settle(job, &mut group));
                    finish(&mut group, &answers);
                }
            });
            Some(Jobs::Futex(sender))
        }
        Hop::EventfdBatch => {
            let (sender, mut receiver) = mpsc::channel(QUEUE);
            std::thread::spawn(move || {
                local_runtime()?.block_on(async {
                    let (mut jobs, mut group) = (Vec::new(), Vec::new());
                    while receiver.recv_many(&mut jobs, QUEUE).await > 0 {
                        jobs.drain(..).for_each(|job| settle(job, &mut group));
                        finish(&mut group, &answers);
                    }
                    anyhow::Ok(())
                })
            });
            Some(Jobs::Eventfd(sender))
        }
    }
}

fn settle(job: Job, group: &mut Vec<u64>) {
    match job {
        // A connection that has gone wants no answer.
        Job::Each(answer) => drop(answer.send(())),
        Job::Batch(ticket) => group.push(ticket),
    }
}

fn finish(group: &mut Vec<u64>, answers: &Answers) {
    if !group.is_empty() {
        answers.post(group);
    }
}

async fn hand_on(shard: Rc<Shard>, answers: Arc<Answers>) {
    loop {
        answers.filled.notified().await;
        let tickets = std::mem::take(&mut *answers.tickets.lock().unwrap_or_else(PoisonError::into_inner));
        let mut waiting = shard.waiting.borrow_mut();
        for ticket in tickets {
            if let Some(answer) = waiting.remove(&ticket) {
                let _ = answer.send(());
            }
        }
    }
}

async fn connection(shard: Rc<Shard>, stream: TcpStream, size: usize) -> Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut filled = 0;
    loop {
        let read = read_some(&stream, &mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        if filled == size {
            shard.commit().await?;
            write_all(&stream, &buffer[..size]).await?;
            filled = 0;
        }
    }
}

impl Shard {
    async fn commit(&self) -> Result<()> {
        let Some(jobs) = &self.jobs else {
            return Ok(());
        };
        let (answer, answered) = oneshot::channel();
        let job = if self.hop == Hop::FutexEach {
            Job::Each(answer)
        } else {
            let mut next = self.next.borrow_mut();
            *next += 1;
            self.waiting.borrow_mut().insert(*next, answer);
            Job::Batch(*next)
        };
        match jobs {
            Jobs::Futex(sender) => sender.send(job).ok().context("the commit thread has gone")?,
            Jobs::Eventfd(sender) => sender.send(job).await.ok().context("the commit thread has gone")?,
        }
        answered.await.context("no answer")
    }
}
