//! Requests and answers over keep-alive connections, one under way on each: HTTP/1.1, RESP, or fixed-size blocks.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;

use super::client::{Client, Greeting};
use super::door::Mark;
use super::run::{Figures, Run};
use super::{local_runtime, percentile};
use crate::wire::{self, Service, ack};

/// Distinct resources that one connection writes to in turn.
const PATHS_PER_CONNECTION: u64 = 16;

/// The packet id of the one message that a connection has under way.
const PACKET_ID: u16 = 1;

/// The channel of Redis that everything is published to.
const REDIS_CHANNEL: &[u8] = b"bench";

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request {
    /// `PUT /bench/cN/M` with a body of so many bytes.
    HttpPut {
        /// Bytes of body.
        body: usize,
    },
    /// Retained publish of MQTT with `QoS` 1 and so many bytes of payload.
    MqttPut {
        /// Bytes of payload.
        payload: usize,
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
    /// `SET` and `PUBLISH` to a channel of the same name in one transaction, as people write it who want state and push.
    RedisSetAndPublish {
        /// Bytes of value.
        value: usize,
    },
    /// `put` of etcd, by its gateway for JSON.
    EtcdPut {
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
    fn encode(self, out: &mut Vec<u8>, connection: usize, mark: Mark) {
        out.clear();
        let slot = mark.sequence % PATHS_PER_CONNECTION;
        let key = format!("bench/c{connection}/r{slot}");
        match self {
            Self::HttpPut { body } => {
                let head = format!(
                    "PUT /{key} HTTP/1.1\r\nHost: bench\r\nContent-Type: text/plain\r\nContent-Length: {body}\r\n\r\n"
                );
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(&mark.payload(body));
            }
            Self::MqttPut { payload } => {
                wire::publish(out, &key, &mark.payload(payload), (Service::One, PACKET_ID), true);
            }
            Self::HttpGet { path } => {
                out.extend_from_slice(format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes());
            }
            Self::RedisSet { value } => wire::redis(out, &[b"SET", key.as_bytes(), &mark.payload(value)]),
            Self::RedisSetAndPublish { value } => {
                let value = mark.payload(value);
                wire::redis(out, &[b"MULTI"]);
                wire::redis(out, &[b"SET", key.as_bytes(), &value]);
                wire::redis(out, &[b"PUBLISH", REDIS_CHANNEL, &value]);
                wire::redis(out, &[b"EXEC"]);
            }
            Self::EtcdPut { value } => {
                let [key, value] = [key.as_bytes(), &mark.payload(value)].map(|bytes| BASE64.encode(bytes));
                let body = format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}");
                let length = body.len();
                let head =
                    format!("POST /v3/kv/put HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\n\r\n");
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(body.as_bytes());
            }
            Self::Block { size } => out.extend_from_slice(&mark.payload(size)),
        }
    }

    /// Bytes of what is written; 0 where nothing is.
    fn payload(self) -> usize {
        match self {
            Self::HttpPut { body: bytes }
            | Self::MqttPut { payload: bytes }
            | Self::RedisSet { value: bytes }
            | Self::RedisSetAndPublish { value: bytes }
            | Self::EtcdPut { value: bytes }
            | Self::Block { size: bytes } => bytes,
            Self::HttpGet { .. } => 0,
        }
    }

    /// The length of the answer once it is whole; an answer that says no is an error.
    fn answer(self, bytes: &[u8]) -> Result<Option<usize>> {
        match self {
            Self::HttpPut { .. } | Self::HttpGet { .. } | Self::EtcdPut { .. } => {
                match wire::first_answer(bytes) {
                    Some((length, 200..300)) => Ok(Some(length)),
                    Some((length, _)) => {
                        bail!("the server said {}", String::from_utf8_lossy(&bytes[..length]))
                    }
                    None => Ok(None),
                }
            }
            Self::MqttPut { .. } => match wire::first_packet(bytes) {
                Some([ack::PUBACK, 2, 0, 1]) => Ok(Some(4)),
                Some(packet) => bail!("PUBLISH was answered by {packet:02x?}"),
                None => Ok(None),
            },
            Self::RedisSet { .. } => redis_answer(bytes, b"+OK\r\n"),
            // Nobody or one listens to the channel.
            Self::RedisSetAndPublish { .. } => {
                let head = redis_answer(bytes, b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:")?;
                let end = head.and_then(|head| Some(head + wire::find(&bytes[head..], b"\r\n")? + 2));
                Ok(end)
            }
            Self::Block { size } => Ok((bytes.len() >= size).then_some(size)),
        }
    }
}

/// The length of an answer of Redis that begins like `expected`, once that has come.
fn redis_answer(bytes: &[u8], expected: &[u8]) -> Result<Option<usize>> {
    let common = bytes.len().min(expected.len());
    if bytes[..common] != expected[..common] {
        bail!("Redis said {}", String::from_utf8_lossy(bytes));
    }
    Ok((bytes.len() >= expected.len()).then_some(expected.len()))
}

/// Who listens to what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watcher {
    /// Nobody.
    None,
    /// An MQTT client on the same port, which is subscribed to everything.
    Mqtt,
    /// A client of Redis, which is subscribed to the one channel.
    Redis,
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// What each connection asks, again and again.
    pub(crate) request: Request,
    /// Keep-alive connections.
    pub(crate) connections: usize,
    /// Who listens.
    pub(crate) watcher: Watcher,
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
    /// Messages that the watcher got, for each request that was answered.
    pub(crate) pushed: f64,
    /// Nanoseconds from a request until the watcher had its message, the median and the 99th percentile.
    pub(crate) push_ns: [u64; 2],
}

/// Runs `plan` against `addr`, whose CPU is that of process `pid`.
pub(crate) fn run(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Outcome> {
    local_runtime()?.block_on(drive(addr, pid, plan))
}

async fn drive(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Outcome> {
    let run = Run::new();
    let pushed = Rc::new(RefCell::new(Vec::new()));
    let size = plan.request.payload();
    match plan.watcher {
        Watcher::None => {}
        Watcher::Mqtt => {
            let filters = vec![String::from("bench/#")];
            let greeting = Greeting::subscriber(String::from("watcher"), filters, Service::Zero);
            let client = Client::connect(addr, &greeting).await?;
            run.listen(watch(client, Rc::clone(&run), Rc::clone(&pushed), size));
        }
        Watcher::Redis => {
            let mut client = Client::connect(addr, &Greeting::None).await?;
            let mut subscribe = Vec::new();
            wire::redis(&mut subscribe, &[b"SUBSCRIBE", REDIS_CHANNEL]);
            client.write(&subscribe).await?;
            client.read_until(b":1\r\n").await?;
            run.listen(watch(client, Rc::clone(&run), Rc::clone(&pushed), size));
        }
    }
    let greetings = (0..plan.connections).map(|n| match plan.request {
        Request::MqttPut { .. } => Greeting::publisher(format!("writer-{n}")),
        _ => Greeting::None,
    });
    run.connect_each(addr, greetings, |n, client| run.work(ask(client, n, plan.request, Rc::clone(&run))))
        .await?;
    run.elapse(plan.warm_up).await;
    pushed.borrow_mut().clear();
    let done_before = run.done();
    let figures = run.measure(pid, run.elapse(plan.measure)).await?;
    let done = run.done() - done_before;
    let mut pushed = pushed.take();
    run.finish().await?;
    let push_ns = [0.5, 0.99].map(|share| percentile(&mut pushed, share));
    Ok(Outcome { figures, pushed: pushed.len() as f64 / done as f64, push_ns })
}

/// Takes the time of each message of a subscription.
async fn watch(mut client: Client, run: Rc<Run>, pushed: Rc<RefCell<Vec<u64>>>, size: usize) -> Result<()> {
    loop {
        let taken = client.read(&run, |bytes| {
            let now = run.now_ns();
            Mark::find(bytes, size, |mark| {
                pushed.borrow_mut().push(now.saturating_sub(mark.sent_ns));
                Ok(())
            })
        });
        taken.await.context("the watcher")?;
    }
}

async fn ask(mut client: Client, connection: usize, request: Request, run: Rc<Run>) -> Result<()> {
    let mut out = Vec::new();
    for sequence in 0.. {
        if run.has_stopped() {
            break;
        }
        request.encode(&mut out, connection, Mark { sequence, sent_ns: run.now_ns() });
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_or_refused() {
        let (set, both) = (Request::RedisSet { value: 40 }, Request::RedisSetAndPublish { value: 40 });
        let done = "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:1\r\n";
        let mqtt = Request::MqttPut { payload: 40 };
        let table: [(Request, &str, Option<usize>); 8] = [
            (set, "+OK\r\n", Some(5)),
            (set, "+OK", None),
            (mqtt, "\x40\x02\0\x01", Some(4)),
            (mqtt, "\x40\x02\0", None),
            (both, done, Some(done.len())),
            (both, &done[..done.len() - 1], None),
            (both, "+OK\r\n+QUE", None),
            (Request::EtcdPut { value: 40 }, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", Some(40)),
        ];
        for (request, answer, length) in table {
            assert_eq!(request.answer(answer.as_bytes()).unwrap(), length, "{request:?} {answer}");
        }
        for refused in ["-ERR no\r\n", "-E"] {
            assert!(set.answer(refused.as_bytes()).is_err(), "{refused}");
            assert!(both.answer(refused.as_bytes()).is_err(), "{refused}");
        }
    }

    #[test]
    fn what_is_written_can_be_timed() {
        let mark = Mark { sequence: 17, sent_ns: 9 };
        for request in [
            Request::HttpPut { body: 40 },
            Request::MqttPut { payload: 40 },
            Request::RedisSet { value: 40 },
            Request::RedisSetAndPublish { value: 40 },
        ] {
            let (mut out, mut found) = (Vec::new(), Vec::new());
            request.encode(&mut out, 3, mark);
            Mark::find(&out, request.payload(), |mark| {
                found.push(mark);
                Ok(())
            })
            .unwrap();
            assert!(found.iter().all(|found| *found == mark) && !found.is_empty(), "{request:?}");
            assert!(wire::find(&out, b"bench/c3/r1").is_some());
        }
    }
}
