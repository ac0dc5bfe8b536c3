//! One writer and many watchers of one resource, through any door that pushes. The writer's door is always MQTT, so that
//! doors differ in what they push alone. Every delivery is checked: each watcher gets each change once and in order.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{MissedTickBehavior, timeout};

use super::client::{Client, Greeting};
use super::door::{Door, Mark};
use super::fanout::Pace;
use super::run::{Figures, Run};
use super::{PATIENCE, local_runtime};
use crate::wire::{self, Service};

const TOPIC: &str = "bench/watched";

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// The door of the watchers.
    pub(crate) door: Door,
    /// Connections with a watch each.
    pub(crate) watchers: usize,
    /// Bytes of the payload of a change; at least 35.
    pub(crate) payload: usize,
    /// Spacing of changes.
    pub(crate) pace: Pace,
    /// Time before measuring starts.
    pub(crate) warm_up: Duration,
    /// Time measured.
    pub(crate) measure: Duration,
}

/// Runs `plan` against the server at `addr`, whose CPU is that of process `pid`. An operation is a delivery; its latency is
/// that from the write to the delivery, and saturated, the queue's length.
///
/// # Errors
/// Also when a change was lost, doubled or out of order for any watcher.
pub(crate) fn run(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Figures> {
    local_runtime()?.block_on(drive(addr, pid, plan))
}

async fn drive(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Figures> {
    let run = Run::new();
    for number in 0..plan.watchers {
        let client = plan.door.watch(None, addr, number, TOPIC).await?;
        run.listen(listen(client, Rc::clone(&run), plan));
    }
    let writer = Client::connect(addr, &Greeting::publisher(String::from("writer"))).await?;
    let sent = Rc::new(Cell::new(0));
    run.work(write(writer, Rc::clone(&run), plan, Rc::clone(&sent)));

    run.elapse(plan.warm_up).await;
    let figures = run.measure(pid, run.elapse(plan.measure)).await?;
    run.finish().await?;
    let all = sent.get() * plan.watchers as u64;
    if timeout(PATIENCE, run.wait_for_done(all)).await.is_err() {
        bail!("{} deliveries over {} were lost", all - run.done(), plan.door.name());
    }
    run.finish().await?;
    Ok(figures)
}

/// Changes the resource by retained messages, until the run stops.
async fn write(client: Client, run: Rc<Run>, plan: Plan, sent: Rc<Cell<u64>>) -> Result<()> {
    let mut bytes = Vec::new();
    let append = |bytes: &mut Vec<u8>| {
        let mark = Mark { sequence: sent.get(), sent_ns: run.now_ns() };
        wire::publish(bytes, TOPIC, &mark.payload(plan.payload), (Service::Zero, 0), true);
        sent.set(sent.get() + 1);
    };
    match plan.pace {
        Pace::Paced { per_second } => {
            let mut tick = tokio::time::interval(Duration::from_secs(1) / per_second);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !run.has_stopped() {
                tick.tick().await;
                bytes.clear();
                append(&mut bytes);
                client.write(&bytes).await?;
            }
        }
        Pace::Saturated { window } => {
            let watchers = plan.watchers as u64;
            while !run.has_stopped() {
                let under_way = sent.get() - run.done() / watchers;
                bytes.clear();
                for _ in under_way..window {
                    append(&mut bytes);
                }
                client.write(&bytes).await?;
                // Half the window is refilled at once, as a writer does that is held back by its socket.
                run.wait_for_done((sent.get() - window / 2) * watchers).await;
            }
        }
    }
    Ok(())
}

async fn listen(mut client: Client, run: Rc<Run>, plan: Plan) -> Result<()> {
    let mut expected = 0;
    loop {
        let (mut now, first) = (None, expected);
        let taken = client.read(&run, |bytes| {
            Mark::find(bytes, plan.payload, |Mark { sequence, sent_ns }| {
                ensure!(sequence == expected, "change {sequence} came in place of {expected}");
                expected += 1;
                // Saturated, one delivery in 32 is timed: enough for percentiles, and the vector stays small.
                let is_timed =
                    matches!(plan.pace, Pace::Paced { .. }) || (sequence + run.done()).is_multiple_of(32);
                if is_timed {
                    run.add_latency(now.get_or_insert_with(|| run.now_ns()).saturating_sub(sent_ns));
                }
                Ok(())
            })
        });
        taken.await.with_context(|| format!("a watcher over {}", plan.door.name()))?;
        run.add_done(expected - first);
    }
}
