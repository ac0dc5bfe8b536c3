//! The one writer: it makes the resources, writes them when they are due, and deletes them. Its bytes are nobody's figure.

use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use tokio::time::timeout;

use super::course::{Course, Spot};
use super::schedule::Update;
use crate::load::PATIENCE;
use crate::load::alarm::Alarm;
use crate::load::client::{Client, Greeting};
use crate::load::door::Mark;
use crate::load::run::Run;
use crate::wire::{self, Five, Service, ack};

/// Packet ids in use. Far more than are ever under way.
const PACKET_IDS: u64 = 60_000;

/// Messages that may be under way while resources are made or deleted; the server takes as many from one client.
const WINDOW: u64 = 64;

/// The writer's connection.
pub(super) struct Writer {
    client: Client,
    run: Rc<Run>,
    sent: u64,
    acknowledged: u64,
}

impl Writer {
    /// Connects, with this client id.
    pub(super) async fn connect(spot: &Spot, id: String, run: &Rc<Run>) -> Result<Self> {
        let greeting = greeting(spot, id, true, None);
        let client = Client::connect(spot.addr, &greeting).await.context("the writer")?;
        Ok(Self { client, run: Rc::clone(run), sent: 0, acknowledged: 0 })
    }

    /// Makes all resources, each with the write of its number.
    pub(super) async fn make(&mut self, course: &Course, resources: usize) -> Result<()> {
        let payload =
            |resource: usize| Mark { sequence: resource as u64, sent_ns: 0 }.payload(course.payload);
        self.write_all((0..resources).map(|resource| (course.topic(resource), payload(resource)))).await
    }

    /// Deletes these resources.
    pub(super) async fn delete(&mut self, topics: impl Iterator<Item = String>) -> Result<()> {
        self.write_all(topics.map(|topic| (topic, Vec::new()))).await
    }

    /// Writes each update when it is due. Returns when all are acknowledged.
    pub(super) async fn write(mut self, course: &Course, updates: &[Update]) -> Result<()> {
        let (alarm, began) = (Alarm::new()?, course.begun().await);
        let mut bytes = Vec::new();
        for (index, update) in updates.iter().enumerate() {
            loop {
                tokio::select! {
                    rung = alarm.until(began + update.due) => { rung?; break }
                    taken = take_acknowledgements(&mut self.client, &self.run, &mut self.acknowledged) => taken?,
                }
            }
            let sequence = course.ledger.borrow().sequence(index);
            let mark = Mark { sequence, sent_ns: update.due.as_nanos() as u64 };
            bytes.clear();
            self.append(&mut bytes, &course.topic(update.resource), &mark.payload(course.payload));
            self.client.write(&bytes).await?;
        }
        self.wait_for(self.sent).await
    }

    async fn write_all(&mut self, messages: impl Iterator<Item = (String, Vec<u8>)>) -> Result<()> {
        let mut bytes = Vec::new();
        for (topic, payload) in messages {
            bytes.clear();
            self.append(&mut bytes, &topic, &payload);
            self.client.write(&bytes).await?;
            self.wait_for((self.sent + 1).saturating_sub(WINDOW)).await?;
        }
        self.wait_for(self.sent).await
    }

    fn append(&mut self, bytes: &mut Vec<u8>, topic: &str, payload: &[u8]) {
        let packet_id = (self.sent % PACKET_IDS) as u16 + 1;
        wire::publish(bytes, topic, payload, (Service::One, packet_id), true);
        self.sent += 1;
    }

    /// Waits until so many writes are acknowledged.
    async fn wait_for(&mut self, count: u64) -> Result<()> {
        while self.acknowledged < count {
            let taken = take_acknowledgements(&mut self.client, &self.run, &mut self.acknowledged);
            timeout(PATIENCE, taken).await.context("a write was not acknowledged")??;
        }
        Ok(())
    }
}

async fn take_acknowledgements(client: &mut Client, run: &Run, count: &mut u64) -> Result<()> {
    client
        .read_packets(run, |packet| {
            ensure!(packet[0] == ack::PUBACK, "the writer was sent {packet:02x?}");
            *count += 1;
            Ok(())
        })
        .await
        .context("the writer: was a write refused?")
}

/// How a client of MQTT introduces itself that has nothing to subscribe to.
pub(super) fn greeting(spot: &Spot, id: String, is_clean: bool, five: Option<Five>) -> Greeting {
    let (filters, service) = (Vec::new(), Service::Zero);
    Greeting::Mqtt { id, is_clean, filters, service, five, password: spot.token.clone() }
}
