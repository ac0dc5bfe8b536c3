//! A storm: clients that have been away come back at the same moment, each knowing how far it was told, and take what they
//! missed.
//!
//! A tree of groups of resources is written, then one change after the other, group by group in turn. Each client must get
//! what changed in what it follows, in order, once, and nothing that it had: the payloads are numbered, and those of the
//! state it had have a number of their own.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::time::timeout;

use super::client::{Client, Greeting};
use super::crowd::{at_once, source};
use super::door::{Door, Mark, Watch};
use super::local_runtime;
use super::run::Run;
use super::writer::Writer;
use crate::cpu::{Sample, peak_bytes};
use crate::http;
use crate::wire::{self, Five, Message, Service};

/// Groups of the tree.
pub(crate) const GROUPS: u64 = 1_000;
/// Resources of each.
pub(crate) const RESOURCES_PER_GROUP: u64 = 100;
/// What each client has missed.
pub(crate) const MISSED: u64 = 100;

/// Bytes of a payload.
const PAYLOAD_BYTES: usize = 100;
/// The number of what was there before.
const KNOWN: u64 = 1 << 40;
/// Clients that make their sessions at the same time.
const MAKING_AT_ONCE: usize = 256;
/// How long the storm may take before the run is called broken.
const STORM_PATIENCE: Duration = Duration::from_mins(2);
/// Bytes that a change may take on its way, at most: what comes may not hold anything beside the changes.
const BYTES_PER_CHANGE: usize = 450;
/// Seconds for which a session outlives its connection.
const SESSION_EXPIRY_S: u32 = 3_600;

/// How clients come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Tracked subscriptions of MQTT 5 with `since`, `QoS` 0.
    Tracked,
    /// Durable sessions of MQTT 5, `QoS` 1.
    Session,
    /// Watches of `dovetail.v1` with `since`.
    WebSocket,
}

/// Who follows what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Each client follows one group of the tree, in all of which as much has changed.
    Groups,
    /// Everybody follows everything.
    Everything,
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// How they come back.
    pub(crate) way: Way,
    /// What they follow.
    pub(crate) layout: Layout,
    /// How many they are.
    pub(crate) clients: usize,
}

/// What was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Storm {
    /// Seconds from the first connection until the last client was current.
    pub(crate) seconds: f64,
    /// Nanoseconds of CPU that the server took for each client.
    pub(crate) cpu_ns: f64,
    /// Nanoseconds of CPU that the load generator took for each client.
    pub(crate) own_cpu_ns: f64,
    /// The most memory that the server ever had.
    pub(crate) peak_bytes: u64,
    /// Bytes that came for each change.
    pub(crate) bytes_per_change: f64,
}

/// Runs `plan` against an empty server at `addr`, which is process `pid`.
///
/// # Errors
/// Also when a client got anything but exactly what it had missed.
pub(crate) fn run(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Storm> {
    local_runtime()?.block_on(drive(addr, pid, plan))
}

async fn drive(addr: SocketAddr, pid: u32, plan: Plan) -> Result<Storm> {
    let run = Run::new();
    let mut writer = Writer::connect(addr, &Greeting::publisher(String::from("writer")), &run).await?;
    let all = GROUPS * RESOURCES_PER_GROUP;
    writer.write_all(messages((0..all).map(|place| (place, KNOWN)))).await?;
    if plan.way == Way::Session {
        at_once(0..plan.clients, MAKING_AT_ONCE, move |n| plan.make_session(addr, n)).await?;
    }
    let answer = http::get(addr, &format!("/{}", topic(0)))?;
    let position: Rc<str> = answer.header("dovetail-revision").context("no revision")?.into();
    writer.write_all(messages((0..plan.layout.changes()).map(|place| (place, place)))).await?;

    let (before, own_before) = (Sample::take(pid)?, Sample::of_this_thread()?);
    let started = Instant::now();
    let storm = at_once(0..plan.clients, plan.clients, |n| {
        let (run, position) = (Rc::clone(&run), Rc::clone(&position));
        async move { plan.come_back(addr, n, &position, &run).await.with_context(|| format!("client {n}")) }
    });
    let back = timeout(STORM_PATIENCE, storm).await.context("clients still wait for what they missed")??;
    let seconds = started.elapsed().as_secs_f64();
    let own_spent = own_before.until(&Sample::of_this_thread()?);
    let spent = before.until(&Sample::take(pid)?);

    let bytes: usize = back.iter().map(|follower| follower.bytes).sum();
    let clients = plan.clients as f64;
    Ok(Storm {
        seconds,
        cpu_ns: spent as f64 / clients,
        own_cpu_ns: own_spent as f64 / clients,
        peak_bytes: peak_bytes(pid)?,
        bytes_per_change: bytes as f64 / (clients * MISSED as f64),
    })
}

/// Resources, given by their place in the order of changes, with these numbers, as the writer takes them.
fn messages(changes: impl Iterator<Item = (u64, u64)>) -> impl Iterator<Item = (String, Vec<u8>)> {
    changes.map(|(place, sequence)| (topic(place), Mark { sequence, sent_ns: 0 }.payload(PAYLOAD_BYTES)))
}

/// The resource that the change at this place is of.
fn topic(place: u64) -> String {
    format!("fleet/g{}/r{}", place % GROUPS, place / GROUPS)
}

impl Layout {
    /// How many changes there are in all.
    fn changes(self) -> u64 {
        match self {
            Self::Groups => GROUPS * MISSED,
            Self::Everything => MISSED,
        }
    }

    fn filter(self, client: usize) -> String {
        match self {
            Self::Groups => format!("fleet/g{}/#", client as u64 % GROUPS),
            Self::Everything => String::from("fleet/#"),
        }
    }

    /// The number of the change that a client is told as its so manieth.
    fn expected(self, client: usize, nth: u64) -> u64 {
        match self {
            Self::Groups => nth * GROUPS + client as u64 % GROUPS,
            Self::Everything => nth,
        }
    }
}

impl Plan {
    /// Opens a session that is subscribed, and leaves.
    async fn make_session(self, addr: SocketAddr, n: usize) -> Result<()> {
        let client = Client::connect_from(source(n), addr, &session(n, vec![self.layout.filter(n)])).await?;
        client.write(wire::DISCONNECT).await
    }

    /// Comes back and takes everything that was missed. The connection stays.
    async fn come_back(self, addr: SocketAddr, n: usize, position: &str, run: &Run) -> Result<Follower> {
        let greeting = match self.way {
            Way::Tracked => Greeting::Mqtt {
                id: format!("storm-{n}"),
                is_clean: true,
                filters: vec![self.layout.filter(n)],
                service: Service::Zero,
                five: Some(Five { since: Some(position.to_owned()), ..Five::default() }),
                password: None,
            },
            Way::Session => session(n, Vec::new()),
            Way::WebSocket => Greeting::None,
        };
        let client = Client::connect_from(source(n), addr, &greeting).await?;
        let mut follower = Follower { client, layout: self.layout, n, came: 0, bytes: 0 };
        match self.way {
            Way::Tracked => follower.track(run).await?,
            Way::Session => follower.resume(run).await?,
            Way::WebSocket => follower.watch(position, run).await?,
        }
        let limit = MISSED as usize * BYTES_PER_CHANGE;
        ensure!(follower.bytes <= limit, "{} bytes came for {MISSED} changes", follower.bytes);
        Ok(follower)
    }
}

/// A client with a session that outlives its connection.
fn session(n: usize, filters: Vec<String>) -> Greeting {
    Greeting::Mqtt {
        id: format!("storm-{n}"),
        is_clean: false,
        filters,
        service: Service::One,
        five: Some(Five { session_expiry_s: SESSION_EXPIRY_S, is_live_only: true, ..Five::default() }),
        password: None,
    }
}

/// A client that has come back.
struct Follower {
    client: Client,
    layout: Layout,
    n: usize,
    came: u64,
    bytes: usize,
}

impl Follower {
    async fn track(&mut self, run: &Run) -> Result<()> {
        let mut is_current = false;
        while !is_current {
            let Self { client, layout, n, came, bytes } = self;
            let taken = client.read_packets(run, |packet| {
                *bytes += packet.len();
                let message = Message::of(packet).with_context(|| format!("a packet {packet:02x?}"))?;
                if message.topic == b"$feed/progress" {
                    is_current = true;
                    return Ok(());
                }
                take(message.payload, *layout, *n, came)
            });
            taken.await?;
        }
        ensure!(self.came == MISSED, "it is called current after {} changes", self.came);
        Ok(())
    }

    async fn resume(&mut self, run: &Run) -> Result<()> {
        ensure!(self.client.has_session, "the server does not know the session");
        let mut is_current = false;
        while !is_current {
            let mut answers = Vec::new();
            let Self { client, layout, n, came, bytes } = self;
            let taken = client.read_packets(run, |packet| {
                *bytes += packet.len();
                if packet == wire::PINGRESP {
                    is_current = true;
                    return Ok(());
                }
                let message = Message::of(packet).with_context(|| format!("a packet {packet:02x?}"))?;
                take(message.payload, *layout, *n, came)?;
                let (first, id) = message.answer.context("a message of QoS 0")?;
                wire::acknowledge(&mut answers, first, id);
                if *came == MISSED {
                    // The answer to this comes behind anything that was too much.
                    answers.extend_from_slice(wire::PINGREQ);
                }
                Ok(())
            });
            taken.await?;
            self.client.write(&answers).await?;
        }
        Ok(())
    }

    async fn watch(&mut self, position: &str, run: &Run) -> Result<()> {
        Door::WebSocket.greet(&mut self.client, wire::HERE).await?;
        let filter = self.layout.filter(self.n);
        let watch = Watch { fields: wire::HERE, filter: &filter, path: "", since: Some(position) };
        self.client.write(&Door::WebSocket.request(&watch)).await?;
        let mut is_current = false;
        while !is_current {
            let Self { client, layout, n, came, bytes } = self;
            let taken = client.read(run, |input| {
                let mut at = 0;
                while let Some((frame, length)) = wire::first_frame(&input[at..]) {
                    at += length;
                    *bytes += length;
                    if frame.starts_with(b"{\"watch\":1,\"type\":\"change\"") {
                        take(frame, *layout, *n, came)?;
                    } else if frame.starts_with(b"{\"watch\":1,\"type\":\"progress\"") {
                        is_current = true;
                    } else if !frame.starts_with(b"{\"type\":\"hello\"") {
                        bail!("an unexpected frame: {}", String::from_utf8_lossy(frame));
                    }
                }
                Ok(at)
            });
            taken.await?;
        }
        ensure!(self.came == MISSED, "it is called current after {} changes", self.came);
        Ok(())
    }
}

/// Takes the one change of a message.
fn take(message: &[u8], layout: Layout, client: usize, came: &mut u64) -> Result<()> {
    let mut numbers = 0;
    Mark::find(message, PAYLOAD_BYTES, |Mark { sequence, .. }| {
        let expected = layout.expected(client, *came);
        ensure!(sequence != KNOWN, "the state came again in place of change {expected}");
        ensure!(*came < MISSED && sequence == expected, "change {sequence} came in place of {expected}");
        numbers += 1;
        Ok(())
    })?;
    ensure!(numbers == 1, "a message with {numbers} changes: {}", String::from_utf8_lossy(message));
    *came += 1;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
mod tests {
    use super::*;

    #[test]
    fn clients_expect_what_is_written_in_their_filter() {
        for (layout, client) in [(Layout::Groups, 17), (Layout::Groups, 2_017), (Layout::Everything, 17)] {
            let filter = layout.filter(client);
            let prefix = filter.strip_suffix('#').unwrap();
            let written: Vec<_> =
                (0..layout.changes()).filter(|place| topic(*place).starts_with(prefix)).collect();
            let expected: Vec<_> = (0..MISSED).map(|nth| layout.expected(client, nth)).collect();
            assert_eq!(written, expected, "{layout:?} {client}");
        }
    }

    #[test]
    fn only_what_was_missed_is_taken() {
        let payload = |sequence| Mark { sequence, sent_ns: 0 }.payload(PAYLOAD_BYTES);
        let table: [(&[u64], bool); 5] =
            [(&[17], true), (&[1_017], false), (&[KNOWN], false), (&[17, 1_017], false), (&[], false)];
        for (sequences, is_right) in table {
            let message: Vec<u8> = sequences.iter().flat_map(|sequence| payload(*sequence)).collect();
            let mut came = 0;
            assert_eq!(take(&message, Layout::Groups, 17, &mut came).is_ok(), is_right, "{sequences:?}");
        }
        assert!(take(&payload(17), Layout::Groups, 17, &mut { MISSED }).is_err(), "one too many");
    }
}
