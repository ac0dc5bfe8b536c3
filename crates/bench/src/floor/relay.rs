//! The floors of fan-out: one task that writes what the publisher sent to every subscriber, straight from its read buffer.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::Result;
use clap::ValueEnum;
use tokio::net::{TcpListener, TcpStream};

use super::{Role, Turns, announce, handshake};
use crate::load::{local_runtime, write_all};
use crate::wire;

/// How many writes a turn makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Writes {
    /// One write per subscriber and turn, of everything.
    Gathered,
    /// One write per subscriber and message.
    Each,
}

/// Serves until it is killed.
pub(crate) fn serve(writes: Writes) -> Result<()> {
    local_runtime()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        announce(listener.local_addr()?);
        let subscribers: Rc<RefCell<Vec<Rc<TcpStream>>>> = Rc::default();
        loop {
            let (stream, _) = listener.accept().await?;
            let subscribers = Rc::clone(&subscribers);
            tokio::task::spawn_local(async move {
                match handshake(stream).await? {
                    Role::Subscriber(stream) => subscribers.borrow_mut().push(Rc::new(stream)),
                    Role::Publisher(stream, bytes) => {
                        relay(Turns::new(stream, &bytes), &subscribers, writes).await?;
                    }
                }
                anyhow::Ok(())
            });
        }
    })
}

async fn relay(mut turns: Turns, subscribers: &RefCell<Vec<Rc<TcpStream>>>, writes: Writes) -> Result<()> {
    let subscribers = subscribers.borrow().clone();
    while let Some(mut bytes) = turns.next().await? {
        if writes == Writes::Gathered {
            for subscriber in &subscribers {
                write_all(subscriber, bytes).await?;
            }
            continue;
        }
        while let Some(packet) = wire::first_packet(bytes) {
            for subscriber in &subscribers {
                write_all(subscriber, packet).await?;
            }
            bytes = &bytes[packet.len()..];
        }
    }
    Ok(())
}
