//! A writer whose writes are durable, in the order in which it makes them. Its bytes are nobody's figure.

use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use tokio::time::timeout;

use super::PATIENCE;
use super::client::{Client, Greeting};
use super::run::Run;
use crate::wire::{self, Service, ack};

/// Packet ids in use. Far more than are ever under way.
const PACKET_IDS: u64 = 60_000;

/// Messages that may be under way while many are written; the server takes as many from one client.
const WINDOW: u64 = 64;

/// A connection that writes retained messages with `QoS` 1.
pub(crate) struct Writer {
    client: Client,
    run: Rc<Run>,
    sent: u64,
    acknowledged: u64,
}

impl Writer {
    /// Connects to `addr`.
    pub(crate) async fn connect(addr: SocketAddr, greeting: &Greeting, run: &Rc<Run>) -> Result<Self> {
        let client = Client::connect(addr, greeting).await.context("the writer")?;
        Ok(Self { client, run: Rc::clone(run), sent: 0, acknowledged: 0 })
    }

    /// Writes topics and payloads; an empty payload deletes. Returns when all are acknowledged.
    pub(crate) async fn write_all(
        &mut self,
        messages: impl Iterator<Item = (String, Vec<u8>)>,
    ) -> Result<()> {
        let mut bytes = Vec::new();
        for (topic, payload) in messages {
            self.append(&mut bytes, &topic, &payload);
            if self.sent - self.acknowledged == WINDOW {
                self.client.write(&bytes).await?;
                bytes.clear();
                self.wait_for(self.sent - WINDOW / 2).await?;
            }
        }
        self.client.write(&bytes).await?;
        self.wait_for_all().await
    }

    /// Sends one message, and waits for nothing.
    pub(crate) async fn send(&mut self, topic: &str, payload: &[u8]) -> Result<()> {
        let mut bytes = Vec::new();
        self.append(&mut bytes, topic, payload);
        self.client.write(&bytes).await
    }

    fn append(&mut self, bytes: &mut Vec<u8>, topic: &str, payload: &[u8]) {
        let packet_id = (self.sent % PACKET_IDS) as u16 + 1;
        wire::publish(bytes, topic, payload, (Service::One, packet_id), true);
        self.sent += 1;
    }

    /// Waits until everything that was sent is acknowledged.
    pub(crate) async fn wait_for_all(&mut self) -> Result<()> {
        self.wait_for(self.sent).await
    }

    /// Takes the acknowledgements that come next. Dropped before, it can be asked again.
    pub(crate) async fn take_acknowledgements(&mut self) -> Result<()> {
        let count = &mut self.acknowledged;
        self.client
            .read_packets(&self.run, |packet| {
                ensure!(packet[0] == ack::PUBACK, "the writer was sent {packet:02x?}");
                *count += 1;
                Ok(())
            })
            .await
            .context("the writer: was a write refused?")
    }

    async fn wait_for(&mut self, count: u64) -> Result<()> {
        while self.acknowledged < count {
            let taken = self.take_acknowledgements();
            timeout(PATIENCE, taken).await.context("a write was not acknowledged")??;
        }
        Ok(())
    }
}
