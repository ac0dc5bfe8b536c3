//! Many connections that do nothing, and many sessions whose clients are away.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::{Client, Greeting};
use super::door::{Door, Mark};
use super::publishers::topic;
use super::run::Run;
use super::{PATIENCE, local_runtime};
use crate::wire::{self, Message, Service};

/// Connections that are made at the same time.
const AT_ONCE: usize = 64;

/// Where connections come from: so many ports of each address from 127.0.1.1 on. Ports are chosen here, since the system's
/// search for a free one gets slow when many are taken, and below those that it gives to others.
const SOURCE_PORTS: Range<u16> = 20_000..30_000;

/// Runs what is needed with idle clients.
pub(crate) fn run<T>(what: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    local_runtime()?.block_on(what())
}

/// Bytes of the one message that an idle client gets in the end.
const CHECK_BYTES: usize = 40;

/// Idle clients, each watching a topic of its own.
pub(crate) struct Idle {
    addr: SocketAddr,
    door: Door,
    clients: Vec<Client>,
}

impl Idle {
    /// Nobody yet.
    pub(crate) fn new(addr: SocketAddr, door: Door) -> Self {
        Self { addr, door, clients: Vec::new() }
    }

    /// Connects and watches until there are `count`, and says how many that were per second.
    pub(crate) async fn grow_to(&mut self, count: usize) -> Result<f64> {
        let (first, started) = (self.clients.len(), Instant::now());
        let (addr, door) = (self.addr, self.door);
        let connected = at_once(first..count, AT_ONCE, move |n| async move {
            door.watch(Some(source(n)), addr, n, &Self::topic(n)).await
        });
        self.clients.extend(connected.await?);
        Ok((count - first) as f64 / started.elapsed().as_secs_f64())
    }

    /// Everybody gets a change: all of them were connected and watched.
    pub(crate) async fn check(&mut self) -> Result<()> {
        let run = Run::new();
        let publisher = Client::connect(self.addr, &Greeting::publisher(String::from("check"))).await?;
        let mut bytes = Vec::new();
        for n in 0..self.clients.len() {
            let payload = Mark { sequence: n as u64, sent_ns: 0 }.payload(CHECK_BYTES);
            wire::publish(&mut bytes, &Self::topic(n), &payload, (Service::Zero, 0), true);
        }
        publisher.write(&bytes).await?;
        for (n, client) in self.clients.iter_mut().enumerate() {
            let mut is_there = false;
            while !is_there {
                let read = client.read(&run, |bytes| {
                    Mark::find(bytes, CHECK_BYTES, |mark| {
                        ensure!(mark.sequence == n as u64, "idle client {n} got change {}", mark.sequence);
                        is_there = true;
                        Ok(())
                    })
                });
                timeout(PATIENCE, read).await.with_context(|| format!("idle client {n} got nothing"))??;
            }
        }
        Ok(())
    }

    fn topic(n: usize) -> String {
        format!("bench/idle/{n}")
    }
}

/// Sessions that outlive their connections, each subscribed with `QoS` 1 to one topic of [`topic`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sessions {
    /// Where the server is.
    pub(crate) addr: SocketAddr,
    /// Clients that publish to the topics.
    pub(crate) publishers: usize,
    /// Topics of each of them, and as many sessions.
    pub(crate) topics_per_publisher: u64,
    /// Messages that are published to each topic.
    pub(crate) messages_per_topic: u64,
}

impl Sessions {
    fn count(&self) -> usize {
        self.publishers * self.topics_per_publisher as usize
    }

    fn greeting(&self, n: usize, filters: bool) -> Greeting {
        let (publisher, number) = (n % self.publishers, (n / self.publishers) as u64);
        let topic = topic(publisher, self.topics_per_publisher, number);
        let filters = if filters { vec![topic] } else { Vec::new() };
        Greeting::Mqtt {
            id: format!("session-{n}"),
            is_clean: false,
            filters,
            service: Service::One,
            five: None,
            password: None,
        }
    }

    /// Makes all of them, and leaves.
    pub(crate) async fn make(self) -> Result<()> {
        let made = at_once(0..self.count(), AT_ONCE, move |n| async move {
            let client = Client::connect(self.addr, &self.greeting(n, true)).await?;
            client.write(wire::DISCONNECT).await
        });
        made.await.map(drop)
    }

    /// Comes back to all of them and takes what was published meanwhile, complete and in order. Says how many messages that
    /// were per second.
    pub(crate) async fn resume(self) -> Result<f64> {
        let started = Instant::now();
        let run = Run::new();
        let resumed = at_once(0..self.count(), AT_ONCE, move |n| {
            let run = Rc::clone(&run);
            async move {
                timeout(PATIENCE, self.resume_one(n, &run))
                    .await
                    .unwrap_or_else(|_| bail!("it waits for more messages"))
                    .with_context(|| format!("session {n}"))
            }
        });
        resumed.await?;
        let messages = self.count() as u64 * self.messages_per_topic;
        Ok(messages as f64 / started.elapsed().as_secs_f64())
    }

    async fn resume_one(self, n: usize, run: &Run) -> Result<()> {
        let mut client = Client::connect(self.addr, &self.greeting(n, false)).await?;
        ensure!(client.has_session, "the server does not know it");
        let (slot, mut came) = ((n / self.publishers) as u64, 0);
        while came < self.messages_per_topic {
            let mut answers = Vec::new();
            let taken = client.read_packets(run, |packet| {
                let message = Message::of(packet).with_context(|| format!("a packet {packet:02x?}"))?;
                let expected = slot + came * self.topics_per_publisher;
                let number = message.number(0).context("a short message")?;
                ensure!(number == expected, "message {number} came in place of {expected}");
                let (first, id) = message.answer.context("a message of QoS 0")?;
                wire::acknowledge(&mut answers, first, id);
                came += 1;
                Ok(())
            });
            taken.await?;
            client.write(&answers).await?;
        }
        ensure!(came == self.messages_per_topic, "{came} messages came");
        client.write(wire::DISCONNECT).await
    }
}

/// Where a connection comes from.
pub(super) fn source(number: usize) -> SocketAddr {
    let (address, port) = (number / SOURCE_PORTS.len(), number % SOURCE_PORTS.len());
    let address = Ipv4Addr::new(127, 0, 1, 1 + address as u8);
    SocketAddr::from((address, SOURCE_PORTS.start + port as u16))
}

/// Does `one` for each number, at most so many of them at the same time. What comes of it is in the order of the numbers.
pub(super) async fn at_once<T, F>(
    numbers: Range<usize>,
    limit: usize,
    one: impl Fn(usize) -> F,
) -> Result<Vec<T>>
where
    T: 'static,
    F: Future<Output = Result<T>> + 'static,
{
    let (mut results, mut tasks) = (Vec::with_capacity(numbers.len()), JoinSet::new());
    for n in numbers {
        if tasks.len() == limit
            && let Some(done) = tasks.join_next().await
        {
            results.push(done??);
        }
        let one = one(n);
        tasks.spawn_local(async move { one.await.map(|result| (n, result)) });
    }
    while let Some(done) = tasks.join_next().await {
        results.push(done??);
    }
    results.sort_by_key(|&(n, _)| n);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
