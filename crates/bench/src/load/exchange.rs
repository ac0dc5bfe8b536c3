//! Requests and answers over keep-alive connections, one under way on each: HTTP/1.1, RESP, or fixed-size blocks.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::client::{Client, Greeting};
use super::local_runtime;
use super::run::{Figures, Run};
use crate::wire::{self, Service};

/// Distinct resources that one connection writes to in turn.
const PATHS_PER_CONNECTION: u64 = 16;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request {
    /// `PUT /bench/cN/M` with a body of so many bytes.
    HttpPut {
        /// Bytes of body.
        body: usize,
    },
    /// `GET` of this path.
    HttpGet {
        /// The path, with its leading slash.
        path: &'static str,
    },
    /// `SET` of Redis with a value of so many bytes.
    RedisSet {
        /// Bytes of value.
        value: usize,
    },
    /// A block of so many bytes, answered by as many.
    Block {
        /// Bytes of the block.
        size: usize,
    },
}

impl Request {
    fn encode(self, out: &mut Vec<u8>, connection: usize, n: u64) {
        out.clear();
        let slot = n % PATHS_PER_CONNECTION;
        match self {
            Self::HttpPut { body } => {
                let head = format!(
                    "PUT /bench/c{connection}/r{slot} HTTP/1.1\r\nHost: bench\r\nContent-Type: text/plain\r\nContent-Length: {body}\r\n\r\n"
                );
                out.extend_from_slice(head.as_bytes());
                put_body(out, body, n);
            }
            Self::HttpGet { path } => {
                out.extend_from_slice(format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes());
            }
            Self::RedisSet { value } => {
                let key = format!("bench/c{connection}/r{slot}");
                let head = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${value}\r\n", key.len());
                out.extend_from_slice(head.as_bytes());
                put_body(out, value, n);
                out.extend_from_slice(b"\r\n");
            }
            Self::Block { size } => put_body(out, size, n),
        }
    }

    /// The length of the answer once it is whole; an answer that says no is an error.
    fn answer(self, bytes: &[u8]) -> Result<Option<usize>> {
        match self {
            Self::HttpPut { .. } | Self::HttpGet { .. } => match wire::first_answer(bytes) {
                Some((length, 200..300)) => Ok(Some(length)),
                Some((length, _)) => bail!("the server said {}", String::from_utf8_lossy(&bytes[..length])),
                None => Ok(None),
            },
            Self::RedisSet { .. } if bytes.starts_with(b"+OK\r\n") => Ok(Some(5)),
            Self::RedisSet { .. } if bytes.len() > 5 => {
                bail!("Redis said {}", String::from_utf8_lossy(bytes))
            }
            Self::RedisSet { .. } => Ok(None),
            Self::Block { size } => Ok((bytes.len() >= size).then_some(size)),
        }
    }
}

/// A printable body that differs from one request to the next, so that nothing may be skipped as unchanged.
fn put_body(out: &mut Vec<u8>, size: usize, n: u64) {
    let start = out.len();
    out.extend_from_slice(format!("{n:016}").as_bytes());
    out.resize(start + size, b'.');
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// What each connection asks, again and again.
    pub(crate) request: Request,
    /// Keep-alive connections.
    pub(crate) connections: usize,
    /// Whether one MQTT client on the same port is subscribed to everything that is written.
    pub(crate) watched: bool,
    /// Time before measuring starts.
    pub(crate) warm_up: Duration,
    /// Time measured.
    pub(crate) measure: Duration,
}

/// What was seen.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// Of the requests. Their latency is the time to the answer.
    pub(crate) figures: Figures,
    /// Messages that the watching MQTT client got, for each request that was answered.
    pub(crate) pushed: f64,
}

/// Runs `plan` against `addr`, whose CPU is that of process `pid`.
pub(crate) fn run(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Outcome> {
    local_runtime()?.block_on(drive(addr, pid, plan))
}

async fn drive(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Outcome> {
    let run = Run::new();
    let pushed = Rc::new(Cell::new(0_u64));
    if plan.watched {
        let filters = vec![String::from("bench/#")];
        let watcher = Greeting::subscriber(String::from("watcher"), filters, Service::Zero);
        let client = Client::connect(addr, &watcher).await?;
        run.listen(watch(client, Rc::clone(&run), Rc::clone(&pushed)));
    }
    let greetings = (0..plan.connections).map(|_| Greeting::None);
    run.connect_each(addr, greetings, |n, client| run.work(ask(client, n, plan.request, Rc::clone(&run))))
        .await?;
    run.elapse(plan.warm_up).await;
    let (pushed_before, done_before) = (pushed.get(), run.done());
    let figures = run.measure(pid, run.elapse(plan.measure)).await?;
    let pushed = (pushed.get() - pushed_before) as f64 / (run.done() - done_before) as f64;
    run.finish().await?;
    Ok(Outcome { figures, pushed })
}

/// Counts the messages of a subscription.
async fn watch(mut client: Client, run: Rc<Run>, pushed: Rc<Cell<u64>>) -> Result<()> {
    loop {
        let taken = client.read_packets(&run, |_| {
            pushed.set(pushed.get() + 1);
            Ok(())
        });
        taken.await.context("the watcher")?;
    }
}

async fn ask(mut client: Client, connection: usize, request: Request, run: Rc<Run>) -> Result<()> {
    let mut out = Vec::new();
    for n in 0.. {
        if run.has_stopped() {
            break;
        }
        request.encode(&mut out, connection, n);
        let asked = Instant::now();
        client.write(&out).await?;
        let mut is_answered = false;
        while !is_answered {
            let taken = client.read(&run, |bytes| match request.answer(bytes)? {
                Some(length) if length == bytes.len() => {
                    is_answered = true;
                    Ok(length)
                }
                Some(length) => bail!("{} bytes came that nobody asked for", bytes.len() - length),
                None => Ok(0),
            });
            taken.await.context("an answer")?;
        }
        run.add_latency(asked.elapsed().as_nanos() as u64);
        run.add_done(1);
    }
    Ok(())
}
