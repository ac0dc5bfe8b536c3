//! The floor of a large baseline: messages encoded beforehand, written to whoever subscribes.

use std::rc::Rc;

use anyhow::Result;
use tokio::net::TcpListener;

use super::{Role, announce, handshake};
use crate::load::publishers::topic;
use crate::load::{READ_BYTES, local_runtime, write_all};
use crate::wire::{self, Service};

/// Serves until it is killed: `topics` retained messages of each of `clients`, with payloads of so many bytes.
pub(crate) fn serve(clients: usize, topics: u64, payload: usize) -> Result<()> {
    let mut bytes = Vec::new();
    let mut payload = vec![b'.'; payload];
    for (client, number) in (0..clients).flat_map(|client| (0..topics).map(move |number| (client, number))) {
        payload[..8].copy_from_slice(&number.to_be_bytes());
        wire::publish(&mut bytes, &topic(client, topics, number), &payload, (Service::Zero, 0), true);
    }
    let bytes = Rc::new(bytes);
    local_runtime()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        announce(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            let bytes = Rc::clone(&bytes);
            tokio::task::spawn_local(async move {
                if let Role::Subscriber(stream, _) = handshake(stream).await? {
                    for turn in bytes.chunks(READ_BYTES) {
                        write_all(&stream, turn).await?;
                    }
                }
                anyhow::Ok(())
            });
        }
    })
}
