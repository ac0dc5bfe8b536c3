//! Many connections that do nothing, and many sessions whose clients are away.

use anyhow::Result;

use super::{Context, MEBIBYTE};
use crate::cpu::Sample;
use crate::load::crowd::{self, Idle, Sessions};
use crate::load::door::Door;
use crate::load::publishers::{self, Until};
use crate::report::{Progress, Rows, Target};
use crate::servers::Server;

/// Idle connections at which memory is read. The last is what fits into the usual limit of 20,000 open files.
const IDLE: [usize; 2] = [5_000, 19_000];

const SESSION_PUBLISHERS: usize = 50;
const TOPICS_PER_PUBLISHER: u64 = 200;
const MESSAGES_PER_TOPIC: u64 = 10;
const PAYLOAD_BYTES: usize = 100;

/// The rate at which connections are made has no target: the load generator is one thread, takes as long for each as a server
/// does, and so decides it. The server's CPU is held against mosquitto's instead.
pub(super) fn idle(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    const CPU: &str = "connection with a subscription: CPU";
    let target = Target::RatioAtMost(1.0);
    if let Some(server) = context.places.mosquitto()? {
        progress.step("mosquitto, idle connections");
        let seen = crowd::run(async || Seen::of(&server, Door::Mqtt, IDLE).await)?;
        rows.row(CPU, "µs", target).floor("mosquitto", seen.cpu_ns / 1e3);
        rows.row("  mosquitto, connections", "/s", Target::None).value(seen.per_second);
        rows.row("  mosquitto, memory per idle connection", "B", Target::None).value(seen.bytes);
    }
    let server = context.places.dovetail()?;
    progress.step("dovetail, idle connections");
    let seen = crowd::run(async || Seen::of(&server, Door::Mqtt, IDLE).await)?;
    rows.row(CPU, "µs", target).value(seen.cpu_ns / 1e3);
    rows.row("  CPU of the load generator for each", "µs", Target::None).value(seen.own_cpu_ns / 1e3);
    rows.row("  its connections", "/s", Target::None).value(seen.per_second);
    rows.row("memory per idle connection", "B", Target::AtMost(2048.0)).value(seen.bytes);
    Ok(())
}

/// What idle connections cost a server.
pub(super) struct Seen {
    per_second: f64,
    pub(super) cpu_ns: f64,
    /// Of the load generator, which is one thread: it makes no more connections than fill its second.
    own_cpu_ns: f64,
    pub(super) bytes: f64,
}

impl Seen {
    /// Reads memory at two counts of connections.
    pub(super) async fn of(server: &Server, door: Door, [few, many]: [usize; 2]) -> Result<Self> {
        let mut idle = Idle::new(server.addr(), door);
        idle.grow_to(few).await?;
        let (bytes, before) = (server.resident_bytes()?, Sample::take(server.pid())?);
        let own_before = Sample::of_this_thread()?;
        let per_second = idle.grow_to(many).await?;
        let own_spent = own_before.until(&Sample::of_this_thread()?);
        let spent = before.until(&Sample::take(server.pid())?);
        let bytes = server.resident_bytes()?.saturating_sub(bytes);
        idle.check().await?;
        let more = (many - few) as f64;
        Ok(Self {
            per_second,
            cpu_ns: spent as f64 / more,
            own_cpu_ns: own_spent as f64 / more,
            bytes: bytes as f64 / more,
        })
    }
}

pub(super) fn offline(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    const MEMORY: &str = "memory for 100,000 messages to 10,000 sessions that are away";
    if let Some(server) = context.places.mosquitto()? {
        progress.step("mosquitto, sessions that are away");
        let (bytes, per_second) = away(&server)?;
        rows.row("  mosquitto: the same", "MiB", Target::None).value(bytes / MEBIBYTE);
        rows.row("  mosquitto: messages when they come back", "/s", Target::None).value(per_second);
    }
    let server = context.places.dovetail()?;
    progress.step("dovetail, sessions that are away");
    let (bytes, per_second) = away(&server)?;
    rows.row(MEMORY, "MiB", Target::AtMost(64.0)).value(bytes / MEBIBYTE);
    rows.row("  messages when they come back, complete", "/s", Target::None).value(per_second);
    Ok(())
}

/// By how many bytes a server grew, and how many messages per second it delivered to those who came back.
fn away(server: &Server) -> Result<(f64, f64)> {
    let sessions = Sessions {
        addr: server.addr(),
        publishers: SESSION_PUBLISHERS,
        topics_per_publisher: TOPICS_PER_PUBLISHER,
        messages_per_topic: MESSAGES_PER_TOPIC,
    };
    crowd::run(async || sessions.make().await)?;
    let before = server.resident_bytes()?;
    let publish = publishers::Plan {
        clients: SESSION_PUBLISHERS,
        in_flight: 16,
        payload: PAYLOAD_BYTES,
        topics_per_client: TOPICS_PER_PUBLISHER,
        retain: false,
        until: Until::EachTopic(MESSAGES_PER_TOPIC),
    };
    publishers::run(server.addr(), server.pid(), publish)?;
    let bytes = server.resident_bytes()?.saturating_sub(before);
    let per_second = crowd::run(async || sessions.resume().await)?;
    Ok((bytes as f64, per_second))
}
