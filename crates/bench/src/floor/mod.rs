//! Floors: bare programs that move the same bytes with nothing in between. Each runs as a process of its own (this binary
//! executing itself), so that its CPU is measured as a server's is.

pub(crate) mod disk;
pub(crate) mod pour;
pub(crate) mod relay;

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;

use crate::load::{READ_BYTES, read_some, write_all};
use crate::wire;

/// What a connection turned out to be.
pub(crate) enum Role {
    /// It subscribed to this one filter.
    Subscriber(TcpStream, Vec<u8>),
    /// It published; these bytes of it are read already.
    Publisher(TcpStream, Vec<u8>),
}

/// Tells the parent process where this one listens: one line on standard output.
#[expect(clippy::print_stdout, reason = "the line is how the parent learns the port")]
pub(crate) fn announce(addr: SocketAddr) {
    println!("listening {addr}");
}

/// Answers CONNECT and SUBSCRIBE, and says what the connection is.
pub(crate) async fn handshake(stream: TcpStream) -> Result<Role> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let read = read_some(&stream, &mut buffer).await?;
        if read == 0 {
            bail!("closed during the handshake");
        }
        bytes.extend_from_slice(&buffer[..read]);
        while let Some(packet) = wire::first_packet(&bytes) {
            let length = packet.len();
            match packet[0] & 0xf0 {
                0x10 => write_all(&stream, &[0x20, 2, 0, 0]).await?,
                0x80 => {
                    let filter = wire::subscribed(packet).concat();
                    write_all(&stream, &[0x90, 3, 0, 1, 0]).await?;
                    return Ok(Role::Subscriber(stream, filter));
                }
                0x30 => return Ok(Role::Publisher(stream, bytes)),
                other => bail!("unexpected packet type {other:#x}"),
            }
            bytes.drain(..length);
        }
    }
}

/// The publisher's stream as turns: everything that one read gave, cut at the last whole packet.
pub(crate) struct Turns {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    given: usize,
}

impl Turns {
    /// Reads on from `stream`, of which `bytes` are read already.
    pub(crate) fn new(stream: TcpStream, bytes: &[u8]) -> Self {
        let mut buffer = vec![0; READ_BYTES];
        buffer[..bytes.len()].copy_from_slice(bytes);
        Self { stream, buffer, filled: bytes.len(), given: 0 }
    }

    /// The next whole packets, or `None` when the publisher has gone.
    pub(crate) async fn next(&mut self) -> Result<Option<&[u8]>> {
        self.buffer.copy_within(self.given..self.filled, 0);
        self.filled -= self.given;
        loop {
            self.given = wire::whole_packets(&self.buffer[..self.filled]);
            if self.given > 0 {
                return Ok(Some(&self.buffer[..self.given]));
            }
            let read = read_some(&self.stream, &mut self.buffer[self.filled..]).await.context("publisher")?;
            if read == 0 {
                return Ok(None);
            }
            self.filled += read;
        }
    }
}
