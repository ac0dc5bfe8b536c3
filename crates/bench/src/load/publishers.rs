//! `QoS` 1 publishes from several clients, each with a window of unacknowledged packets.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::client::{Client, Greeting};
use super::local_runtime;
use super::run::{Figures, Run};
use crate::wire::{self, Service, ack};

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Publishing connections.
    pub(crate) clients: usize,
    /// Packets that one client has unacknowledged.
    pub(crate) in_flight: u16,
    /// Bytes of payload; at least 8, for the number of the message among those of its client.
    pub(crate) payload: usize,
    /// Distinct topics of one client, written in turn.
    pub(crate) topics_per_client: u64,
    /// Whether the messages are retained.
    pub(crate) retain: bool,
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
    /// When each topic was written so often.
    EachTopic(u64),
}

/// The topic of message `number` of a client, which writes `topics` of them in turn.
pub(crate) fn topic(client: usize, topics: u64, number: u64) -> String {
    format!("bench/c{client}/t{}", number % topics)
}

/// Runs `plan` against the MQTT server at `addr`, whose CPU is that of process `pid`. An operation is an acknowledged
/// publish.
pub(crate) fn run(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Figures> {
    local_runtime()?.block_on(drive(addr, pid, plan))
}

async fn drive(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Figures> {
    let run = Run::new();
    let greetings = (0..plan.clients).map(|n| Greeting::publisher(format!("pub-{n}")));
    run.connect_each(addr, greetings, |n, client| run.work(publish(client, n, plan, Rc::clone(&run))))
        .await?;
    let figures = match plan.until {
        Until::Time { warm_up, measure } => {
            run.elapse(warm_up).await;
            run.measure(pid, run.elapse(measure)).await?
        }
        Until::EachTopic(_) => run.measure(pid, run.all_ended()).await?,
    };
    run.finish().await?;
    Ok(figures)
}

async fn publish(mut client: Client, number: usize, plan: Plan, run: Rc<Run>) -> Result<()> {
    let mut payload = vec![b'.'; plan.payload];
    let mut out = Vec::new();
    let (mut sent, mut acknowledged) = (0_u64, 0_u64);
    loop {
        out.clear();
        let more = match plan.until {
            Until::Time { .. } if run.has_stopped() => 0,
            Until::Time { .. } => u64::MAX,
            Until::EachTopic(times) => plan.topics_per_client * times - sent,
        };
        for _ in 0..more.min(u64::from(plan.in_flight) - (sent - acknowledged)) {
            payload[..8].copy_from_slice(&sent.to_be_bytes());
            let topic = topic(number, plan.topics_per_client, sent);
            let id = (sent % u64::from(plan.in_flight)) as u16 + 1;
            wire::publish(&mut out, &topic, &payload, (Service::One, id), plan.retain);
            sent += 1;
        }
        if sent == acknowledged {
            return Ok(());
        }
        client.write(&out).await?;
        let mut count = 0;
        let taken = client.read_packets(&run, |packet| {
            ensure!(packet[0] == ack::PUBACK && packet.len() == 4, "expected a PUBACK, got {packet:02x?}");
            count += 1;
            Ok(())
        });
        taken.await.context("a publisher")?;
        acknowledged += count;
        run.add_done(count);
    }
}
