//! Somebody who subscribes to everything that is retained, again and again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::client::{Client, Greeting};
use super::local_runtime;
use super::publishers::topic;
use super::run::{Figures, Run};
use crate::wire::{self, Message, Service};

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Clients that wrote the retained messages.
    pub(crate) clients: usize,
    /// Topics of each of them, written once.
    pub(crate) topics_per_client: u64,
    /// Time before measuring starts.
    pub(crate) warm_up: Duration,
    /// Time after which no further subscriber comes.
    pub(crate) measure: Duration,
}

/// Runs `plan` against the MQTT server at `addr`, whose CPU is that of process `pid`. An operation is a retained message;
/// the latency is that of a whole subscription, from SUBSCRIBE to the last message.
///
/// # Errors
/// Also when a message is missing, comes twice, or is not what was published.
pub(crate) fn run(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Figures> {
    local_runtime()?.block_on(async {
        let run = Run::new();
        run.work(subscribe(addr, plan, Rc::clone(&run)));
        run.elapse(plan.warm_up).await;
        let figures = run.measure(pid, run.elapse(plan.measure)).await?;
        run.finish().await?;
        Ok(figures)
    })
}

async fn subscribe(addr: SocketAddr, plan: Plan, run: Rc<Run>) -> Result<()> {
    let expected: Vec<Vec<u8>> = (0..plan.clients)
        .flat_map(|client| (0..plan.topics_per_client).map(move |n| (client, n)))
        .map(|(client, n)| topic(client, plan.topics_per_client, n).into_bytes())
        .collect();
    let numbers: HashMap<&[u8], usize> =
        expected.iter().enumerate().map(|(number, topic)| (&topic[..], number)).collect();
    for round in 0.. {
        if run.has_stopped() {
            break;
        }
        let mut client = Client::connect(addr, &Greeting::publisher(format!("reader-{round}"))).await?;
        let asked = Instant::now();
        client.write(&wire::subscribe(1, &["#"], Service::Zero, None)).await?;
        let mut seen = vec![false; expected.len()];
        let mut missing = expected.len() as u64;
        while missing > 0 {
            let before = missing;
            let taken = client.read_packets(&run, |packet| {
                let Some(message) = Message::of(packet) else {
                    ensure!(packet == [0x90, 3, 0, 1, 0], "an unexpected packet: {packet:02x?}");
                    return Ok(());
                };
                let Some(&number) = numbers.get(message.topic) else {
                    bail!("nobody published to {}", String::from_utf8_lossy(message.topic));
                };
                ensure!(!seen[number], "{} came twice", String::from_utf8_lossy(message.topic));
                let is_right =
                    message.is_retained && message.number(0) == Some(number as u64 % plan.topics_per_client);
                ensure!(is_right, "what came is not what was published: {packet:02x?}");
                seen[number] = true;
                missing -= 1;
                Ok(())
            });
            taken.await.context("the subscriber")?;
            run.add_done(before - missing);
        }
        run.add_latency(asked.elapsed().as_nanos() as u64);
    }
    Ok(())
}
