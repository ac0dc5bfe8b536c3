//! Prototype: tokio's multi-threaded scheduler. A connection is a task on any thread, with a channel of its own; what a
//! publisher sends goes into every channel.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use clap::ValueEnum;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::floor::{Role, Turns, announce, handshake};
use crate::load::write_all;
use crate::wire;

/// What one send into a subscriber's channel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Send {
    /// One message.
    Message,
    /// All messages of the publisher's turn.
    Turn,
}

type Turn = Arc<[Arc<[u8]>]>;
type Subscribers = Arc<Mutex<Vec<mpsc::Sender<Turn>>>>;

/// Messages that a channel holds, and that a subscriber gathers into one write.
const CHANNEL: usize = 1024;

/// Serves until it is killed.
pub(crate) fn serve(threads: usize, send: Send) -> Result<()> {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        announce(listener.local_addr()?);
        let subscribers = Subscribers::default();
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await?;
            let subscribers = Arc::clone(&subscribers);
            connections.spawn(async move {
                match handshake(stream).await? {
                    Role::Subscriber(stream, _) => {
                        let (sender, receiver) = mpsc::channel(CHANNEL);
                        subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
                        deliver(stream, receiver).await
                    }
                    Role::Publisher(stream, bytes) => {
                        publish(Turns::new(stream, &bytes), &subscribers, send).await
                    }
                }
            });
        }
    })
}

async fn publish(mut turns: Turns, subscribers: &Subscribers, send: Send) -> Result<()> {
    let subscribers = subscribers.lock().unwrap_or_else(PoisonError::into_inner).clone();
    while let Some(mut bytes) = turns.next().await? {
        let mut frames: Vec<Arc<[u8]>> = Vec::new();
        while let Some(packet) = wire::first_packet(bytes) {
            frames.push(packet.into());
            bytes = &bytes[packet.len()..];
        }
        let turns: Vec<Turn> = match send {
            Send::Message => frames.into_iter().map(|frame| Turn::from([frame])).collect(),
            Send::Turn => vec![frames.into()],
        };
        for turn in turns {
            for subscriber in &subscribers {
                subscriber.send(Arc::clone(&turn)).await?;
            }
        }
    }
    Ok(())
}

async fn deliver(stream: TcpStream, mut receiver: mpsc::Receiver<Turn>) -> Result<()> {
    let (mut turns, mut bytes) = (Vec::new(), Vec::new());
    while receiver.recv_many(&mut turns, CHANNEL).await > 0 {
        bytes.clear();
        turns.drain(..).for_each(|turn| turn.iter().for_each(|frame| bytes.extend_from_slice(frame)));
        write_all(&stream, &bytes).await?;
    }
    Ok(())
}
