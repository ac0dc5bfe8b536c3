//! Publishes the state of the machine through a real MQTT client.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};

use super::machine::Machine;
use super::staleness::Log;

/// How often the machine is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// Messages that wait for the connection.
const WAITING: usize = 4_096;

/// The feeder at work.
pub(super) struct Feeder {
    updates: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    publishing: JoinHandle<Result<usize, String>>,
    connection: JoinHandle<Result<(), String>>,
    acknowledged: watch::Receiver<u64>,
}

/// What was fed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fed {
    /// Puts and deletes that were acknowledged.
    pub(super) updates: u64,
    /// Resources at the end.
    pub(super) resources: usize,
}

impl Feeder {
    /// Connects and begins; what is published is noted in `log`. Call it inside a `LocalSet`.
    pub(super) fn start(server: SocketAddr, log: Log) -> Self {
        let mut options = MqttOptions::new("demo-feeder", server.ip().to_string(), server.port());
        options.set_keep_alive(Duration::from_secs(30));
        let (client, events) = AsyncClient::new(options, WAITING);
        let (told, acknowledged) = watch::channel(0);
        let connection = spawn_local(converse(events, told));
        let (updates, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let publishing = spawn_local(publish(client, log, Arc::clone(&updates), Arc::clone(&stop)));
        Self { updates, stop, publishing, connection, acknowledged }
    }

    /// Updates published so far.
    pub(super) fn updates(&self) -> u64 {
        self.updates.load(Relaxed)
    }

    /// Stops, and waits until the server has acknowledged everything.
    pub(super) async fn finish(mut self) -> Result<Fed, String> {
        const PATIENCE: Duration = Duration::from_secs(30);
        self.stop.store(true, Relaxed);
        let resources = self.publishing.await.map_err(|error| error.to_string())??;
        let updates = self.updates.load(Relaxed);
        let all = self.acknowledged.wait_for(|count| *count >= updates);
        match tokio::time::timeout(PATIENCE, all).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => {
                // The connection has ended, and says why.
                let ended = self.connection.await.map_err(|error| error.to_string())?;
                return Err(ended.err().unwrap_or_else(|| "the feeder's connection ended".to_owned()));
            }
            Err(_) => return Err(format!("the server has not acknowledged all {updates} updates in 30 s")),
        }
        self.connection.abort();
        Ok(Fed { updates, resources })
    }
}

/// Publishes what changed, twice a second. Returns how many resources there are at the end.
async fn publish(
    client: AsyncClient,
    log: Log,
    updates: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> Result<usize, String> {
    let mut machine =
        Machine::new().map_err(|error| format!("this machine does not say what it is doing: {error}"))?;
    let mut before = BTreeMap::new();
    let mut tick = tokio::time::interval(EVERY);
    while !stop.load(Relaxed) {
        tick.tick().await;
        let sampled = tokio::task::spawn_blocking(move || {
            let state = machine.sample();
            (machine, state)
        });
        let state;
        (machine, state) = sampled.await.map_err(|error| error.to_string())?;
        for (name, value) in changes(&before, &state) {
            updates.fetch_add(1, Relaxed);
            log.published(name, value);
            client
                .publish(name, QoS::AtLeastOnce, true, value.as_bytes().to_vec())
                .await
                .map_err(|error| format!("the feeder cannot publish: {error}"))?;
        }
        before = state;
    }
    Ok(before.len())
}

/// What to publish: new values, and nothing for what is gone, which deletes it.
fn changes<'a>(
    before: &'a BTreeMap<String, String>,
    now: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let changed = now
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value))
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let gone = before.keys().filter(|name| !now.contains_key(*name)).map(|name| (name.as_str(), ""));
    changed.chain(gone)
}

/// Keeps the connection going and counts acknowledgements; a refused message is a failure.
async fn converse(mut events: EventLoop, told: watch::Sender<u64>) -> Result<(), String> {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::PubAck(ack))) => match ack.reason {
                PubAckReason::Success | PubAckReason::NoMatchingSubscribers => {
                    told.send_modify(|count| *count += 1);
                }
                refused => return Err(format!("the server refused an update: {refused:?}")),
            },
            Ok(_) => {}
            Err(error) => return Err(format!("the feeder lost the server: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_published_and_what_is_gone_is_deleted() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let (before, now) =
            (map(&[("a", "1"), ("b", "1"), ("c", "1")]), map(&[("a", "1"), ("b", "2"), ("d", "1")]));
        assert_eq!(changes(&before, &now).collect::<Vec<_>>(), [("b", "2"), ("d", "1"), ("c", "")]);
    }
}
