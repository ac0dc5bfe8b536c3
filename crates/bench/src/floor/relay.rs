//! The floors of fan-out and of pairs: one task for each publisher that writes what it sent to every subscriber of its
//! first topic, straight from its read buffer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use anyhow::{Context, Result};
use clap::ValueEnum;
use tokio::net::{TcpListener, TcpStream};

use super::{Role, Turns, announce, handshake};
use crate::load::{local_runtime, write_all};
use crate::wire::{self, Message};

/// How many writes a turn makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Writes {
    /// One write per subscriber and turn, of everything.
    Gathered,
    /// One write per subscriber and message.
    Each,
}

/// Subscribers by their topic.
type Subscribers = RefCell<HashMap<Vec<u8>, Vec<Rc<TcpStream>>>>;

/// Serves until it is killed.
pub(crate) fn serve(writes: Writes) -> Result<()> {
    local_runtime()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        announce(listener.local_addr()?);
        let subscribers: Rc<Subscribers> = Rc::default();
        loop {
            let (stream, _) = listener.accept().await?;
            let subscribers = Rc::clone(&subscribers);
            tokio::task::spawn_local(async move {
                match handshake(stream).await? {
                    Role::Subscriber(stream, topic) => {
                        subscribers.borrow_mut().entry(topic).or_default().push(Rc::new(stream));
                    }
                    Role::Publisher(stream, bytes) => {
                        let topic =
                            wire::first_packet(&bytes).and_then(Message::of).context("no message")?.topic;
                        let subscribers = subscribers.borrow().get(topic).cloned().unwrap_or_default();
                        relay(Turns::new(stream, &bytes), &subscribers, writes).await?;
                    }
                }
                anyhow::Ok(())
            });
        }
    })
}

async fn relay(mut turns: Turns, subscribers: &[Rc<TcpStream>], writes: Writes) -> Result<()> {
    while let Some(mut bytes) = turns.next().await? {
        if writes == Writes::Gathered {
            for subscriber in subscribers {
                write_all(subscriber, bytes).await?;
            }
            continue;
        }
        while let Some(packet) = wire::first_packet(bytes) {
            for subscriber in subscribers {
                write_all(subscriber, packet).await?;
            }
            bytes = &bytes[packet.len()..];
        }
    }
    Ok(())
}
