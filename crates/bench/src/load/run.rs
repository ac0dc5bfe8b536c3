//! What all loads have in common: clients that are tasks of one thread, a stretch of time that is measured, and a failure
//! of any client that ends it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::client::{Client, Greeting};
use super::{PATIENCE, READ_BYTES, percentile};
use crate::cpu::Meter;

/// What was seen while it was measured.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    /// Server CPU nanoseconds per operation.
    pub(crate) cpu_ns: f64,
    /// Server system calls per operation, when they are counted.
    pub(crate) syscalls: BTreeMap<String, f64>,
    /// Operations per second.
    pub(crate) per_second: f64,
    /// Median latency of the operations that were timed, in nanoseconds.
    pub(crate) p50_ns: u64,
    /// The 99th percentile of the same.
    pub(crate) p99_ns: u64,
}

/// What the clients of one run share.
pub(crate) struct Run {
    started: Instant,
    /// Where every client reads into.
    pub(super) scratch: RefCell<Vec<u8>>,
    done: Cell<u64>,
    wanted: Cell<u64>,
    reached: Notify,
    latencies: RefCell<Vec<u64>>,
    failure: RefCell<Option<anyhow::Error>>,
    failed: Notify,
    stopped: Cell<bool>,
    working: Cell<usize>,
    ended: Notify,
}

impl Run {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            started: Instant::now(),
            scratch: RefCell::new(vec![0; READ_BYTES]),
            done: Cell::new(0),
            wanted: Cell::new(u64::MAX),
            reached: Notify::new(),
            latencies: RefCell::new(Vec::new()),
            failure: RefCell::new(None),
            failed: Notify::new(),
            stopped: Cell::new(false),
            working: Cell::new(0),
            ended: Notify::new(),
        })
    }

    /// Connects a client for each greeting, one after the other, and gives it to `start` with its number.
    pub(super) async fn connect_each(
        self: &Rc<Self>,
        addr: SocketAddr,
        greetings: impl IntoIterator<Item = Greeting>,
        mut start: impl FnMut(usize, Client),
    ) -> Result<()> {
        for (number, greeting) in greetings.into_iter().enumerate() {
            start(number, Client::connect(addr, &greeting).await?);
        }
        Ok(())
    }

    /// Runs the task of a client that ends by itself once it sees that the run [`has_stopped`](Self::has_stopped).
    pub(super) fn work(self: &Rc<Self>, task: impl Future<Output = Result<()>> + 'static) {
        self.working.set(self.working.get() + 1);
        let run = Rc::clone(self);
        tokio::task::spawn_local(async move {
            run.keep_failure(task.await);
            run.working.set(run.working.get() - 1);
            run.ended.notify_one();
        });
    }

    /// Runs the task of a client that listens for as long as there is a run.
    pub(super) fn listen(self: &Rc<Self>, task: impl Future<Output = Result<()>> + 'static) {
        let run = Rc::clone(self);
        tokio::task::spawn_local(async move { run.keep_failure(task.await) });
    }

    fn keep_failure(&self, result: Result<()>) {
        if let Err(error) = result {
            self.failure.borrow_mut().get_or_insert(error);
            self.failed.notify_one();
            self.reached.notify_one();
        }
    }

    /// Nanoseconds since the run began: what a payload carries to be timed.
    pub(super) fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Whether clients are to end.
    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Operations done so far.
    pub(super) fn done(&self) -> u64 {
        self.done.get()
    }

    /// So many operations more are done.
    pub(super) fn add_done(&self, count: u64) {
        self.done.set(self.done.get() + count);
        if self.done.get() >= self.wanted.get() {
            self.wanted.set(u64::MAX);
            self.reached.notify_one();
        }
    }

    /// Waits until so many operations are done in all, or a client has failed. One waits at a time.
    pub(super) async fn wait_for_done(&self, count: u64) {
        while self.done.get() < count && self.failure.borrow().is_none() {
            self.wanted.set(count);
            self.reached.notified().await;
        }
    }

    /// One operation took so long.
    pub(super) fn add_latency(&self, ns: u64) {
        self.latencies.borrow_mut().push(ns);
    }

    /// Lets the clients work for a while; ends early when one fails.
    pub(super) async fn elapse(&self, time: Duration) {
        // Being woken and time running out are equally good here.
        let _ = timeout(time, self.failed.notified()).await;
    }

    /// Waits until every working client has ended.
    pub(super) async fn all_ended(&self) {
        while self.working.get() > 0 {
            self.ended.notified().await;
        }
    }

    /// Measures process `pid` and what is done until `end`.
    pub(super) async fn measure(&self, pid: u32, end: impl Future<Output = ()>) -> Result<Figures> {
        let (meter, done, at) = (Meter::start(pid)?, self.done.get(), Instant::now());
        self.latencies.borrow_mut().clear();
        end.await;
        let seconds = at.elapsed().as_secs_f64();
        let spent = meter.finish()?;
        self.check()?;
        let count = self.done.get() - done;
        ensure!(count > 0, "nothing was answered or delivered");
        let (cpu_ns, syscalls) = spent.per(count);
        let mut latencies = self.latencies.borrow_mut();
        Ok(Figures {
            cpu_ns,
            syscalls,
            per_second: count as f64 / seconds,
            p50_ns: percentile(&mut latencies, 0.5),
            p99_ns: percentile(&mut latencies, 0.99),
        })
    }

    /// Tells the clients to end and waits until they have.
    ///
    /// # Errors
    /// What a client failed with, or that one does not get what it waits for.
    pub(super) async fn finish(&self) -> Result<()> {
        self.stopped.set(true);
        let ended = timeout(PATIENCE, self.all_ended()).await;
        self.check()?;
        if ended.is_err() {
            bail!("{} clients still wait for an answer or a delivery: it was lost", self.working.get());
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.failure.borrow_mut().take().map_or(Ok(()), Err)
    }
}
