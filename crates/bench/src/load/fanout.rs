//! One publisher, many subscribers: counts every delivery and knows which are missing.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::timeout;

use super::client::Client;
use super::run::{Figures, Run};
use super::speech::Speech;
use super::{PATIENCE, local_runtime};
use crate::wire::{self, Service, ack};

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
    /// What is spoken.
    pub(crate) speech: Speech,
    /// Subscribed connections.
    pub(crate) subscribers: usize,
    /// Bytes of payload; at least 16, for a sequence number and a time.
    pub(crate) payload: usize,
    /// The service to publish and to subscribe with: 0 or 1.
    pub(crate) service: Service,
    /// Spacing of messages.
    pub(crate) pace: Pace,
    /// Time before measuring starts.
    pub(crate) warm_up: Duration,
    /// Time measured.
    pub(crate) measure: Duration,
}

/// Runs `plan` against the server at `addr`, whose CPU is that of process `pid`. An operation is a delivery, and its
/// latency is that from publish to delivery; saturated, it is the queue's length.
///
/// # Errors
/// Also when a delivery was lost, doubled or out of order.
pub(crate) fn run(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Figures> {
    local_runtime()?.block_on(drive(addr, pid, plan))
}

async fn drive(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Figures> {
    let run = Run::new();
    for n in 0..plan.subscribers {
        let filters = vec![TOPIC.to_owned()];
        let client = plan.speech.connect(addr, format!("sub-{n}"), filters, plan.service).await?;
        run.listen(listen(client, Rc::clone(&run), plan));
    }
    let publisher = plan.speech.connect(addr, String::from("pub"), Vec::new(), plan.service).await?;
    let sent = Rc::new(Cell::new(0));
    run.work(publish(publisher, Rc::clone(&run), plan, Rc::clone(&sent)));

    run.elapse(plan.warm_up).await;
    let figures = run.measure(pid, run.elapse(plan.measure)).await?;
    run.finish().await?;
    let all = sent.get() * plan.subscribers as u64;
    if timeout(PATIENCE, run.wait_for_done(all)).await.is_err() {
        bail!("{} deliveries were lost", all - run.done());
    }
    run.finish().await?;
    Ok(figures)
}

async fn publish(mut client: Client, run: Rc<Run>, plan: Plan, sent: Rc<Cell<u64>>) -> Result<()> {
    let mut payload = vec![b'.'; plan.payload];
    let mut bytes = Vec::new();
    let mut append = |bytes: &mut Vec<u8>| {
        payload[..8].copy_from_slice(&sent.get().to_be_bytes());
        payload[8..16].copy_from_slice(&run.now_ns().to_be_bytes());
        plan.speech.publish(bytes, TOPIC, &payload, (plan.service, packet_id(sent.get())));
        sent.set(sent.get() + 1);
    };
    match plan.pace {
        Pace::Paced { per_second } => {
            let mut tick = tokio::time::interval(Duration::from_secs(1) / per_second);
            while !run.has_stopped() {
                tick.tick().await;
                bytes.clear();
                append(&mut bytes);
                client.write(&bytes).await?;
            }
        }
        Pace::Saturated { window } => {
            let subscribers = plan.subscribers as u64;
            let mut acknowledged = 0;
            while !run.has_stopped() {
                let under_way = sent.get() - run.done() / subscribers;
                bytes.clear();
                for _ in under_way..window {
                    append(&mut bytes);
                }
                client.write(&bytes).await?;
                // Half the window is refilled at once, as a publisher does that is held back by its socket.
                let enough = sent.get() - window / 2;
                while plan.service == Service::One && acknowledged < enough {
                    acknowledged += read_acknowledgements(&mut client, &run).await?;
                }
                run.wait_for_done(enough * subscribers).await;
            }
            // A connection that is closed with acknowledgements unread is reset, and takes messages with it.
            while plan.service == Service::One && acknowledged < sent.get() {
                acknowledged += read_acknowledgements(&mut client, &run).await?;
            }
        }
    }
    Ok(())
}

/// No two messages under way have the same one.
fn packet_id(sequence: u64) -> u16 {
    (sequence % 65_535) as u16 + 1
}

async fn read_acknowledgements(client: &mut Client, run: &Run) -> Result<u64> {
    let mut count = 0;
    let taken = client.read_packets(run, |packet| {
        ensure!(packet[0] == ack::PUBACK && packet.len() == 4, "expected a PUBACK, got {packet:02x?}");
        count += 1;
        Ok(())
    });
    taken.await.context("the publisher")?;
    Ok(count)
}

async fn listen(mut client: Client, run: Rc<Run>, plan: Plan) -> Result<()> {
    let (mut expected, mut answers) = (0, Vec::new());
    loop {
        let (mut now, first) = (None, expected);
        let taken = plan.speech.read(&mut client, &run, |packet, message| {
            let Some(message) = message else {
                bail!("an unexpected packet: {packet:02x?}");
            };
            let (Some(sequence), Some(sent_ns)) = (message.number(0), message.number(8)) else {
                bail!("a message of {} bytes in place of {}", message.payload.len(), plan.payload);
            };
            ensure!(sequence == expected, "message {sequence} came in place of {expected}");
            expected += 1;
            if let Some((first, id)) = message.answer {
                wire::acknowledge(&mut answers, first, id);
            }
            // One delivery in 32 is timed: enough for percentiles, and the vector stays small.
            if (sequence + run.done()).is_multiple_of(32) {
                run.add_latency(now.get_or_insert_with(|| run.now_ns()).saturating_sub(sent_ns));
            }
            Ok(())
        });
        taken.await.context("a subscriber")?;
        run.add_done(expected - first);
        if !answers.is_empty() {
            client.write(&answers).await?;
            answers.clear();
        }
    }
}
