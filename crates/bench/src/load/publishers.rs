//! Retained `QoS` 1 publishes from several clients, each with a window of unacknowledged packets.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::{PATIENCE, READ_BYTES, connect_mqtt, local_runtime, write_all};
use crate::cpu::Meter;
use crate::wire::{self, Qos};

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Publishing connections.
    pub(crate) clients: usize,
    /// Packets that one client has unacknowledged.
    pub(crate) in_flight: u16,
    /// Bytes of payload.
    pub(crate) payload: usize,
    /// Distinct topics of one client, written in turn.
    pub(crate) topics_per_client: u64,
    /// When to stop.
    pub(crate) until: Until,
}

/// When a run ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// After this much time, of which the first is not measured.
    Time {
        /// Time before measuring starts.
        warm_up: Duration,
        /// Time measured.
        measure: Duration,
    },
    /// When each topic was written once.
    EachTopicOnce,
}

/// What was seen.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// Server CPU nanoseconds per acknowledged publish.
    pub(crate) cpu_ns: f64,
    /// Server system calls per acknowledged publish, when they are counted.
    pub(crate) syscalls: BTreeMap<String, f64>,
    /// Acknowledged publishes per second.
    pub(crate) per_second: f64,
}

struct Shared {
    acknowledged: Cell<u64>,
    scratch: RefCell<Vec<u8>>,
    failure: RefCell<Option<anyhow::Error>>,
    /// Clients still at work.
    working: Cell<usize>,
    done: Notify,
    stop: Cell<bool>,
}

/// Runs `plan` against the MQTT server at `addr`, whose CPU is that of process `pid`.
pub(crate) fn run(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Outcome> {
    local_runtime()?.block_on(drive(addr, pid, plan))
}

async fn drive(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Outcome> {
    let shared = Rc::new(Shared {
        acknowledged: Cell::new(0),
        scratch: RefCell::new(vec![0; READ_BYTES]),
        failure: RefCell::new(None),
        working: Cell::new(plan.clients),
        done: Notify::new(),
        stop: Cell::new(false),
    });
    for n in 0..plan.clients {
        let stream = connect_mqtt(addr, &format!("pub-{n}"), None).await?;
        let shared = Rc::clone(&shared);
        tokio::task::spawn_local(async move {
            if let Err(error) = publish(&stream, n, plan, &shared).await {
                *shared.failure.borrow_mut() = Some(error);
            }
            shared.working.set(shared.working.get() - 1);
            shared.done.notify_one();
        });
    }
    let warm_up = match plan.until {
        Until::Time { warm_up, .. } => warm_up,
        Until::EachTopicOnce => Duration::ZERO,
    };
    tokio::time::sleep(warm_up).await;
    let (meter, acknowledged, at) = (Meter::start(pid)?, shared.acknowledged.get(), Instant::now());
    if let Until::Time { measure, .. } = plan.until {
        tokio::time::sleep(measure).await;
    } else {
        wait_for_clients(&shared).await;
    }
    let spent = meter.finish()?;
    let count = shared.acknowledged.get() - acknowledged;
    let seconds = at.elapsed().as_secs_f64();
    shared.stop.set(true);
    if tokio::time::timeout(PATIENCE, wait_for_clients(&shared)).await.is_err() {
        bail!("{} clients still wait for an acknowledgement", shared.working.get());
    }
    if let Some(error) = shared.failure.borrow_mut().take() {
        return Err(error);
    }
    if count == 0 {
        bail!("nothing was acknowledged");
    }
    let (cpu_ns, syscalls) = spent.per(count);
    Ok(Outcome { cpu_ns, syscalls, per_second: count as f64 / seconds })
}

async fn wait_for_clients(shared: &Shared) {
    while shared.working.get() > 0 {
        shared.done.notified().await;
    }
}

async fn publish(stream: &TcpStream, client: usize, plan: Plan, shared: &Shared) -> Result<()> {
    let payload = vec![b'.'; plan.payload];
    let (mut out, mut partial) = (Vec::new(), Vec::new());
    let (mut sent, mut acknowledged) = (0_u64, 0_u64);
    loop {
        out.clear();
        let more = match plan.until {
            Until::Time { .. } if shared.stop.get() => 0,
            Until::Time { .. } => u64::MAX,
            Until::EachTopicOnce => plan.topics_per_client - sent,
        };
        for _ in 0..more.min(u64::from(plan.in_flight) - (sent - acknowledged)) {
            let topic = format!("bench/c{client}/t{}", sent % plan.topics_per_client);
            let id = (sent % u64::from(plan.in_flight)) as u16 + 1;
            wire::publish(&mut out, &topic, &payload, Qos::One(id), true);
            sent += 1;
        }
        if sent == acknowledged {
            return Ok(());
        }
        write_all(stream, &out).await?;
        let count = read_acknowledgements(stream, &mut partial, shared).await?;
        acknowledged += count;
        shared.acknowledged.set(shared.acknowledged.get() + count);
    }
}

/// Waits for bytes, and says how many PUBACKs they complete. `partial` keeps the start of the next.
async fn read_acknowledgements(stream: &TcpStream, partial: &mut Vec<u8>, shared: &Shared) -> Result<u64> {
    loop {
        stream.readable().await?;
        let mut scratch = shared.scratch.borrow_mut();
        match stream.try_read(&mut scratch) {
            Ok(0) => bail!("the server closed a publisher's connection"),
            Ok(read) => partial.extend_from_slice(&scratch[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        let (mut at, mut count) = (0, 0);
        while let Some(packet) = wire::first_packet(&partial[at..]) {
            if packet[0] != 0x40 || packet.len() != 4 {
                bail!("expected a PUBACK, got {packet:02x?}");
            }
            at += packet.len();
            count += 1;
        }
        partial.drain(..at);
        return Ok(count);
    }
}
