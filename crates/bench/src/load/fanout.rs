//! One publisher, many subscribers, `QoS` 0: counts every delivery and knows which are missing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::{PATIENCE, READ_BYTES, connect_mqtt, local_runtime, percentile, write_all};
use crate::cpu::Meter;
use crate::wire::{self, Qos};

const TOPIC: &str = "bench/fan";

/// How the publisher spaces its messages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// As many as fit while at most this many are under way to the average subscriber.
    Saturated {
        /// Messages published and not yet delivered.
        window: u64,
    },
    /// So many messages each second, evenly.
    Paced {
        /// Messages per second.
        per_second: u32,
    },
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Subscribed connections.
    pub(crate) subscribers: usize,
    /// Bytes of payload; at least 16, for a sequence number and a time.
    pub(crate) payload: usize,
    /// Spacing of messages.
    pub(crate) pace: Pace,
    /// Time before measuring starts.
    pub(crate) warm_up: Duration,
    /// Time measured.
    pub(crate) measure: Duration,
}

/// What was seen.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// Server CPU nanoseconds per delivery.
    pub(crate) cpu_ns: f64,
    /// Server system calls per delivery, when they are counted.
    pub(crate) syscalls: BTreeMap<String, f64>,
    /// Deliveries per second.
    pub(crate) per_second: f64,
    /// Deliveries that never came, of all that were published.
    pub(crate) lost: u64,
    /// Median time from publish to delivery, in nanoseconds (of the paced ones; saturated it is the queue's length).
    pub(crate) p50_ns: u64,
    /// The 99th percentile of the same.
    pub(crate) p99_ns: u64,
}

/// What publisher and subscribers share.
struct Shared {
    started: Instant,
    scratch: RefCell<Vec<u8>>,
    sent: Cell<u64>,
    delivered: Cell<u64>,
    missing: Cell<u64>,
    latencies: RefCell<Vec<u64>>,
    /// Told when deliveries reach `wanted`.
    reached: Notify,
    wanted: Cell<u64>,
    stop: Cell<bool>,
}

impl Shared {
    /// Waits until so many deliveries were made in all.
    async fn wait_for(&self, deliveries: u64) {
        self.wanted.set(deliveries);
        while self.delivered.get() < deliveries {
            self.reached.notified().await;
        }
    }
}

/// Runs `plan` against the MQTT server at `addr`, whose CPU is that of process `pid`.
pub(crate) fn run(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Outcome> {
    local_runtime()?.block_on(drive(addr, pid, plan))
}

async fn drive(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Outcome> {
    let shared = Rc::new(Shared {
        started: Instant::now(),
        scratch: RefCell::new(vec![0; READ_BYTES]),
        sent: Cell::new(0),
        delivered: Cell::new(0),
        missing: Cell::new(0),
        latencies: RefCell::new(Vec::new()),
        reached: Notify::new(),
        wanted: Cell::new(u64::MAX),
        stop: Cell::new(false),
    });
    for n in 0..plan.subscribers {
        let stream = connect_mqtt(addr, &format!("sub-{n}"), Some(TOPIC)).await?;
        tokio::task::spawn_local(subscriber(stream, Rc::clone(&shared), plan.payload));
    }
    let publisher = connect_mqtt(addr, "pub", None).await?;
    let publisher = tokio::task::spawn_local(publish(publisher, Rc::clone(&shared), plan));

    tokio::time::sleep(plan.warm_up).await;
    let (meter, delivered, at) = (Meter::start(pid)?, shared.delivered.get(), Instant::now());
    shared.latencies.borrow_mut().clear();
    tokio::time::sleep(plan.measure).await;
    let spent = meter.finish()?;
    let deliveries = shared.delivered.get() - delivered;
    let seconds = at.elapsed().as_secs_f64();

    shared.stop.set(true);
    publisher.await?.context("the publisher failed")?;
    let all = shared.sent.get() * plan.subscribers as u64;
    // What does not come in time is lost, and is counted so below.
    let _ = tokio::time::timeout(PATIENCE, shared.wait_for(all)).await;
    if deliveries == 0 {
        bail!("nothing was delivered");
    }
    let mut latencies = shared.latencies.borrow_mut();
    let (cpu_ns, syscalls) = spent.per(deliveries);
    Ok(Outcome {
        cpu_ns,
        syscalls,
        per_second: deliveries as f64 / seconds,
        lost: (all - shared.delivered.get().min(all)).max(shared.missing.get()),
        p50_ns: percentile(&mut latencies, 0.5),
        p99_ns: percentile(&mut latencies, 0.99),
    })
}

async fn publish(stream: TcpStream, shared: Rc<Shared>, plan: Plan) -> Result<()> {
    let mut payload = vec![b'.'; plan.payload];
    let mut bytes = Vec::new();
    let mut append = |bytes: &mut Vec<u8>| {
        payload[..8].copy_from_slice(&shared.sent.get().to_be_bytes());
        payload[8..16].copy_from_slice(&(shared.started.elapsed().as_nanos() as u64).to_be_bytes());
        wire::publish(bytes, TOPIC, &payload, Qos::Zero, false);
        shared.sent.set(shared.sent.get() + 1);
    };
    match plan.pace {
        Pace::Paced { per_second } => {
            let mut tick = tokio::time::interval(Duration::from_secs(1) / per_second);
            while !shared.stop.get() {
                tick.tick().await;
                bytes.clear();
                append(&mut bytes);
                write_all(&stream, &bytes).await?;
            }
        }
        Pace::Saturated { window } => {
            let subscribers = plan.subscribers as u64;
            while !shared.stop.get() {
                let under_way = shared.sent.get() - shared.delivered.get() / subscribers;
                bytes.clear();
                for _ in under_way..window {
                    append(&mut bytes);
                }
                write_all(&stream, &bytes).await?;
                // Half the window is refilled at once, as a publisher does that is held back by its socket.
                shared.wait_for((shared.sent.get() - window / 2) * subscribers).await;
            }
        }
    }
    Ok(())
}

async fn subscriber(stream: TcpStream, shared: Rc<Shared>, payload: usize) -> Result<()> {
    let mut rest: Vec<u8> = Vec::new();
    let mut expected = 0;
    loop {
        stream.readable().await?;
        let mut scratch = shared.scratch.borrow_mut();
        let kept = rest.len();
        scratch[..kept].copy_from_slice(&rest);
        let end = match stream.try_read(&mut scratch[kept..]) {
            Ok(0) => return Ok(()),
            Ok(read) => kept + read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
        let mut at = 0;
        let now = shared.started.elapsed().as_nanos() as u64;
        while let Some(packet) = wire::first_packet(&scratch[at..end]) {
            at += packet.len();
            take_delivery(packet, payload, now, &mut expected, &shared);
        }
        rest.clear();
        rest.extend_from_slice(&scratch[at..end]);
        drop(scratch);
        if shared.delivered.get() >= shared.wanted.get() {
            shared.wanted.set(u64::MAX);
            shared.reached.notify_one();
        }
    }
}

fn take_delivery(packet: &[u8], payload: usize, now: u64, expected: &mut u64, shared: &Shared) {
    if packet[0] & 0xf0 != 0x30 || packet.len() < payload {
        return;
    }
    let payload = &packet[packet.len() - payload..];
    let number = |at: usize| payload[at..at + 8].iter().fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
    let sequence = number(0);
    if sequence != *expected {
        shared.missing.set(shared.missing.get() + sequence.abs_diff(*expected));
    }
    *expected = sequence + 1;
    shared.delivered.set(shared.delivered.get() + 1);
    // One delivery in 32 is timed: enough for percentiles, and the vector stays small.
    if sequence.is_multiple_of(32) || shared.delivered.get().is_multiple_of(32) {
        shared.latencies.borrow_mut().push(now.saturating_sub(number(8)));
    }
}
