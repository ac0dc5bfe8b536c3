//! The protocol of a load of plain messages: MQTT, or the text protocol of NATS, whose core does the same without `QoS`.

use std::net::SocketAddr;

use anyhow::Result;

use super::client::{Client, Greeting};
use super::run::Run;
use crate::wire::{self, Message, Service};

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// MQTT 3.1.1.
    Mqtt,
    /// NATS. Everything is of `QoS` 0, and filters are subjects without wildcards.
    Nats,
}

impl Speech {
    /// Connects, and returns when what is published from now on to `filters` will come.
    pub(crate) async fn connect(
        self,
        addr: SocketAddr,
        id: String,
        filters: Vec<String>,
        service: Service,
    ) -> Result<Client> {
        if self == Self::Mqtt {
            return Client::connect(addr, &Greeting::subscriber(id, filters, service)).await;
        }
        let mut client = Client::connect(addr, &Greeting::None).await?;
        let subs = filters.iter().enumerate().map(|(number, filter)| format!("SUB {filter} {number}\r\n"));
        let subs: String = subs.collect();
        let greeting = format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\n{subs}PING\r\n");
        client.write(greeting.as_bytes()).await?;
        client.read_until(b"PONG\r\n").await?;
        Ok(client)
    }

    /// Appends a message that is not kept.
    pub(crate) fn publish(self, out: &mut Vec<u8>, topic: &str, payload: &[u8], of: (Service, u16)) {
        match self {
            Self::Mqtt => wire::publish(out, topic, payload, of, false),
            Self::Nats => wire::nats_publish(out, topic, payload),
        }
    }

    /// Waits for bytes and hands each packet that is whole to `take`, with the message that it is, if it is one.
    pub(crate) async fn read(
        self,
        client: &mut Client,
        run: &Run,
        mut take: impl FnMut(&[u8], Option<Message<'_>>) -> Result<()>,
    ) -> Result<()> {
        if self == Self::Mqtt {
            return client.read_packets(run, |packet| take(packet, Message::of(packet))).await;
        }
        let taken = client.read(run, |bytes| {
            let mut at = 0;
            while let Some((message, length)) = wire::nats_message(&bytes[at..])? {
                // Beside messages there are pings, which need no answer for two minutes.
                if message.is_some() {
                    take(&bytes[at..at + length], message)?;
                }
                at += length;
            }
            Ok(at)
        });
        taken.await
    }
}
