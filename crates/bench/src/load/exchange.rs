//! Requests and answers over keep-alive connections, one under way on each: HTTP/1.1, RESP, or fixed-size blocks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::net::TcpStream;

use super::{READ_BYTES, connect, connect_mqtt, local_runtime, percentile, write_all};
use crate::cpu::Meter;
use crate::wire;

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
    /// Server CPU nanoseconds per request.
    pub(crate) cpu_ns: f64,
    /// Server system calls per request, when they are counted.
    pub(crate) syscalls: BTreeMap<String, f64>,
    /// Requests answered per second.
    pub(crate) per_second: f64,
    /// Median time to the answer in nanoseconds.
    pub(crate) p50_ns: u64,
    /// The 99th percentile of the same.
    pub(crate) p99_ns: u64,
    /// Messages that the watching MQTT client got, for each request.
    pub(crate) pushed: f64,
}

struct Shared {
    answered: Cell<u64>,
    pushed: Cell<u64>,
    latencies: RefCell<Vec<u64>>,
    scratch: RefCell<Vec<u8>>,
    failure: RefCell<Option<anyhow::Error>>,
    stop: Cell<bool>,
}

/// Runs `plan` against `addr`, whose CPU is that of process `pid`.
pub(crate) fn run(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Outcome> {
    local_runtime()?.block_on(drive(addr, pid, plan))
}

/// The same, on a runtime of the caller's.
pub(crate) async fn drive(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Outcome> {
    let shared = Rc::new(Shared {
        answered: Cell::new(0),
        pushed: Cell::new(0),
        latencies: RefCell::new(Vec::new()),
        scratch: RefCell::new(vec![0; READ_BYTES]),
        failure: RefCell::new(None),
        stop: Cell::new(false),
    });
    if plan.watched {
        let stream = connect_mqtt(addr, "watcher", Some("bench/#")).await?;
        tokio::task::spawn_local(watch(stream, Rc::clone(&shared)));
    }
    for n in 0..plan.connections {
        let stream = connect(addr).await?;
        let shared = Rc::clone(&shared);
        tokio::task::spawn_local(async move {
            if let Err(error) = ask(&stream, n, plan.request, &shared).await {
                *shared.failure.borrow_mut() = Some(error);
            }
        });
    }
    tokio::time::sleep(plan.warm_up).await;
    let pushed = shared.pushed.get();
    let (meter, answered, at) = (Meter::start(pid)?, shared.answered.get(), Instant::now());
    shared.latencies.borrow_mut().clear();
    tokio::time::sleep(plan.measure).await;
    let spent = meter.finish()?;
    let count = shared.answered.get() - answered;
    let seconds = at.elapsed().as_secs_f64();
    shared.stop.set(true);
    if let Some(error) = shared.failure.borrow_mut().take() {
        return Err(error);
    }
    if count == 0 {
        bail!("nothing was answered");
    }
    let mut latencies = shared.latencies.borrow_mut();
    let (cpu_ns, syscalls) = spent.per(count);
    Ok(Outcome {
        cpu_ns,
        syscalls,
        per_second: count as f64 / seconds,
        p50_ns: percentile(&mut latencies, 0.5),
        p99_ns: percentile(&mut latencies, 0.99),
        pushed: (shared.pushed.get() - pushed) as f64 / count as f64,
    })
}

/// Counts the messages of a subscription.
async fn watch(stream: TcpStream, shared: Rc<Shared>) -> Result<()> {
    let mut rest: Vec<u8> = Vec::new();
    loop {
        stream.readable().await?;
        let mut scratch = shared.scratch.borrow_mut();
        match stream.try_read(&mut scratch) {
            Ok(0) => bail!("the server closed the watcher's connection"),
            Ok(read) => rest.extend_from_slice(&scratch[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        let mut at = 0;
        while let Some(packet) = wire::first_packet(&rest[at..]) {
            at += packet.len();
            shared.pushed.set(shared.pushed.get() + 1);
        }
        rest.drain(..at);
    }
}

async fn ask(stream: &TcpStream, connection: usize, request: Request, shared: &Shared) -> Result<()> {
    let mut out = Vec::new();
    for n in 0.. {
        if shared.stop.get() {
            break;
        }
        request.encode(&mut out, connection, n);
        let asked = Instant::now();
        write_all(stream, &out).await?;
        read_answer(stream, request, shared).await?;
        shared.answered.set(shared.answered.get() + 1);
        shared.latencies.borrow_mut().push(asked.elapsed().as_nanos() as u64);
    }
    Ok(())
}

async fn read_answer(stream: &TcpStream, request: Request, shared: &Shared) -> Result<()> {
    let mut rest: Vec<u8> = Vec::new();
    loop {
        stream.readable().await?;
        let mut scratch = shared.scratch.borrow_mut();
        let kept = rest.len();
        scratch[..kept].copy_from_slice(&rest);
        let end = match stream.try_read(&mut scratch[kept..]) {
            Ok(0) => bail!("the server closed a connection after {kept} bytes of an answer"),
            Ok(read) => kept + read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
        match request.answer(&scratch[..end])? {
            Some(length) if length == end => return Ok(()),
            Some(length) => bail!("{} bytes came that nobody asked for", end - length),
            None => {
                rest.clear();
                rest.extend_from_slice(&scratch[..end]);
            }
        }
    }
}
