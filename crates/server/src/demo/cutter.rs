//! A link between a client and the server that breaks again and again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Relays connections to the server, counts their bytes, and cuts them when told.
pub(super) struct Cutter {
    address: SocketAddr,
    counts: Arc<Counts>,
    cut: watch::Sender<u64>,
    relaying: tokio::task::JoinHandle<()>,
}

/// What went over the link.
#[derive(Debug, Default)]
struct Counts {
    up: AtomicU64,
    down: AtomicU64,
    connections: AtomicU64,
}

impl Cutter {
    /// A link to `server` on a free port.
    pub(super) async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((server.ip(), 0)).await?;
        let address = listener.local_addr()?;
        let (counts, cut) = (Arc::<Counts>::default(), watch::Sender::new(0));
        let relaying =
            tokio::task::spawn_local(accept(listener, server, Arc::clone(&counts), cut.subscribe()));
        Ok(Self { address, counts, cut, relaying })
    }

    /// Where the client connects to.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks every connection, in the middle of whatever it carries.
    pub(super) fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// How often it was cut.
    pub(super) fn cuts(&self) -> u64 {
        *self.cut.borrow()
    }

    /// Payload bytes of TCP in both directions.
    pub(super) fn bytes(&self) -> u64 {
        self.counts.up.load(Relaxed) + self.counts.down.load(Relaxed)
    }

    /// Connections that were made.
    pub(super) fn connections(&self) -> u64 {
        self.counts.connections.load(Relaxed)
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.relaying.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, counts: Arc<Counts>, cut: watch::Receiver<u64>) {
    let mut relays = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else {
                    // Out of descriptors, most likely: let others finish first.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                counts.connections.fetch_add(1, Relaxed);
                relays.spawn(relay(client, server, Arc::clone(&counts), cut.clone()));
            }
            Some(_) = relays.join_next() => {}
        }
    }
}

/// Relays until one side ends or the link is cut. Dropping the sockets is the cut.
async fn relay(client: TcpStream, server: SocketAddr, counts: Arc<Counts>, mut cut: watch::Receiver<u64>) {
    cut.mark_unchanged();
    let Ok(server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::select! {
        _ = pump(&mut from_client, &mut to_server, &counts.up) => {}
        _ = pump(&mut from_server, &mut to_client, &counts.down) => {}
        _ = cut.changed() => {}
    }
}

async fn pump(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    count: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        count.fetch_add(read as u64, Relaxed);
        to.write_all(&buffer[..read]).await?;
    }
}
