//! Many publishers, each with at most one message under way: request-like traffic, where little can be gathered.
//!
//! A lane is a publisher and the way of its messages to whoever subscribed to them. Its next message goes out when the one
//! before has come and, with `QoS` 1 and 2, is acknowledged to the publisher.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::client::Client;
use super::local_runtime;
use super::run::{Figures, Run};
use super::speech::Speech;
use crate::wire::{self, Message, Service, ack};

/// Bytes of payload that are looked at: lane, number of the message, time.
const HEAD_BYTES: usize = 24;

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// What is spoken.
    pub(crate) speech: Speech,
    /// For each lane, the topics that it publishes to in turn.
    pub(crate) topics: Rc<Vec<Vec<String>>>,
    /// For each subscriber, its filters. Each topic is to match one filter of one subscriber.
    pub(crate) filters: Rc<Vec<Vec<String>>>,
    /// Bytes of payload; at least 24.
    pub(crate) payload: usize,
    /// The service to publish and to subscribe with.
    pub(crate) service: Service,
    /// Messages of one lane per second; `None`: the next at once.
    pub(crate) per_second: Option<u32>,
    /// Time before measuring starts.
    pub(crate) warm_up: Duration,
    /// Time measured.
    pub(crate) measure: Duration,
}

impl Plan {
    /// `count` pairs of a publisher and its subscriber, or so many publishers and one subscriber.
    pub(crate) fn topics_of_pairs(count: usize) -> Vec<Vec<String>> {
        (0..count).map(|n| vec![format!("bench/pair/{n}")]).collect()
    }
}

/// One lane.
#[derive(Default)]
struct Lane {
    /// Messages that came.
    came: Cell<u64>,
    arrival: Notify,
}

struct Shared {
    run: Rc<Run>,
    plan: Plan,
    lanes: Vec<Lane>,
}

/// A load whose clients are connected.
pub(crate) struct Lanes(Rc<Shared>, Vec<Client>);

/// Runs `plan` against the server at `addr`, whose CPU is that of process `pid`. An operation is a message that came
/// and was acknowledged; latency is that from publish to delivery.
pub(crate) fn run(addr: SocketAddr, pid: u32, plan: &Plan) -> Result<Figures> {
    run_and(addr, pid, plan, || Ok(())).map(|(figures, ())| figures)
}

/// The same; `subscribed` is called when everybody has subscribed and nothing is published yet.
pub(crate) fn run_and<T>(
    addr: SocketAddr,
    pid: u32,
    plan: &Plan,
    subscribed: impl FnOnce() -> Result<T>,
) -> Result<(Figures, T)> {
    local_runtime()?.block_on(async {
        let lanes = Lanes::connect(addr, plan).await?;
        let seen = subscribed()?;
        Ok((lanes.drive(pid).await?, seen))
    })
}

impl Lanes {
    async fn connect(addr: SocketAddr, plan: &Plan) -> Result<Self> {
        let run = Run::new();
        let lanes = plan.topics.iter().map(|_| Lane::default()).collect();
        let shared = Rc::new(Shared { run: Rc::clone(&run), plan: plan.clone(), lanes });
        for (n, filters) in plan.filters.iter().enumerate() {
            let client = plan.speech.connect(addr, format!("sub-{n}"), filters.clone(), plan.service).await?;
            run.listen(listen(client, Rc::clone(&shared)));
        }
        let mut publishers = Vec::new();
        for n in 0..plan.topics.len() {
            let publisher = plan.speech.connect(addr, format!("pub-{n}"), Vec::new(), plan.service);
            publishers.push(publisher.await?);
        }
        Ok(Self(shared, publishers))
    }

    async fn drive(self, pid: u32) -> Result<Figures> {
        let Self(shared, publishers) = self;
        for (number, client) in publishers.into_iter().enumerate() {
            shared.run.work(publish(client, number, Rc::clone(&shared)));
        }
        shared.run.elapse(shared.plan.warm_up).await;
        let figures = shared.run.measure(pid, shared.run.elapse(shared.plan.measure)).await?;
        shared.run.finish().await?;
        Ok(figures)
    }
}

async fn publish(mut client: Client, number: usize, shared: Rc<Shared>) -> Result<()> {
    let Shared { run, plan, lanes } = &*shared;
    let (topics, lane) = (&plan.topics[number], &lanes[number]);
    let mut payload = vec![b'.'; plan.payload];
    payload[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let mut bytes = Vec::new();
    let mut pace = plan.per_second.map(|per_second| {
        // The lanes take turns, so that little happens at once.
        let period = Duration::from_secs(1) / per_second;
        let mut pace = interval_at(Instant::now() + period * number as u32 / lanes.len() as u32, period);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pace
    });
    for (sequence, topic) in topics.iter().cycle().enumerate() {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        if run.has_stopped() {
            break;
        }
        let id = (sequence % 65_535) as u16 + 1;
        payload[8..16].copy_from_slice(&(sequence as u64).to_be_bytes());
        payload[16..HEAD_BYTES].copy_from_slice(&run.now_ns().to_be_bytes());
        bytes.clear();
        plan.speech.publish(&mut bytes, topic, &payload, (plan.service, id));
        client.write(&bytes).await?;
        be_acknowledged(&mut client, run, plan.service, id).await.context("a publisher")?;
        while lane.came.get() <= sequence as u64 {
            lane.arrival.notified().await;
        }
        run.add_done(1);
    }
    Ok(())
}

async fn be_acknowledged(client: &mut Client, run: &Run, service: Service, id: u16) -> Result<()> {
    match service {
        Service::Zero => Ok(()),
        Service::One => expect(client, run, ack::PUBACK, id).await,
        Service::Two => {
            expect(client, run, ack::PUBREC, id).await?;
            let mut release = Vec::new();
            wire::acknowledge(&mut release, ack::PUBREL, id);
            client.write(&release).await?;
            expect(client, run, ack::PUBCOMP, id).await
        }
    }
}

/// Waits for one acknowledgement.
async fn expect(client: &mut Client, run: &Run, first: u8, id: u16) -> Result<()> {
    let mut is_there = false;
    while !is_there {
        let taken = client.read_packets(run, |packet| {
            let is_right = packet[0] == first && wire::acknowledged(packet) == Some(id);
            ensure!(is_right && !is_there, "expected {first:#x} of message {id}, got {packet:02x?}");
            is_there = true;
            Ok(())
        });
        taken.await?;
    }
    Ok(())
}

async fn listen(mut client: Client, shared: Rc<Shared>) -> Result<()> {
    let run = &shared.run;
    let mut answers = Vec::new();
    loop {
        let mut now = None;
        let taken = shared.plan.speech.read(&mut client, run, |packet, message| {
            let Some(message) = message else {
                ensure!(packet[0] == ack::PUBREL, "an unexpected packet: {packet:02x?}");
                let id = wire::acknowledged(packet).context("a short PUBREL")?;
                wire::acknowledge(&mut answers, ack::PUBCOMP, id);
                return Ok(());
            };
            if let Some((first, id)) = message.answer {
                wire::acknowledge(&mut answers, first, id);
            }
            let now = *now.get_or_insert_with(|| run.now_ns());
            shared.take(&message, now)
        });
        taken.await.context("a subscriber")?;
        if !answers.is_empty() {
            client.write(&answers).await?;
            answers.clear();
        }
    }
}

impl Shared {
    fn take(&self, message: &Message<'_>, now_ns: u64) -> Result<()> {
        let (Some(number), Some(sequence), Some(sent_ns)) =
            (message.number(0), message.number(8), message.number(16))
        else {
            bail!("a message of {} bytes in place of {}", message.payload.len(), self.plan.payload);
        };
        let lane = self.lanes.get(number as usize).context("a message of no lane")?;
        let came = lane.came.get();
        ensure!(sequence == came, "message {sequence} of lane {number} came in place of {came}");
        lane.came.set(came + 1);
        lane.arrival.notify_one();
        self.run.add_latency(now_ns.saturating_sub(sent_ns));
        Ok(())
    }
}
