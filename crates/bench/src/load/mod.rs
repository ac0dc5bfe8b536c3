//! Load generators. They share the machine with what they measure, so each is one thread, encodes ahead of time, and looks
//! at no more of an answer than it takes to know that it is right.

pub(crate) mod exchange;
pub(crate) mod fanout;
pub(crate) mod publishers;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use crate::wire;

/// How much one read takes. Shared by all connections of a generator, since a read and the look at it do not await.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// How long anything that must happen may take before the run is called broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A single-threaded runtime for a generator, a floor or a shard.
pub(crate) fn local_runtime() -> Result<LocalRuntime> {
    Ok(Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?)
}

/// Connects to `addr` with Nagle's algorithm off.
pub(crate) async fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(addr).await.with_context(|| format!("no connection to {addr}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects and does the MQTT handshake; with a filter, subscribes to it and waits for the answer.
pub(crate) async fn connect_mqtt(
    addr: SocketAddr,
    client_id: &str,
    filter: Option<&str>,
) -> Result<TcpStream> {
    let stream = connect(addr).await?;
    write_all(&stream, &wire::connect(client_id)).await?;
    expect_packet(&stream, 0x20, 3).await.context("CONNECT was refused")?;
    if let Some(filter) = filter {
        write_all(&stream, &wire::subscribe(filter)).await?;
        expect_packet(&stream, 0x90, 4).await.context("SUBSCRIBE was refused")?;
    }
    Ok(stream)
}

/// Writes all of `bytes`, waiting for room as often as needed.
pub(crate) async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads once into `buffer`, waiting for bytes. `Ok(0)` is the end of the stream.
pub(crate) async fn read_some(stream: &TcpStream, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match stream.try_read(buffer) {
            Ok(read) => return Ok(read),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => stream.readable().await?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads exactly one MQTT packet of the given first byte; the byte at `code_at` says 0 when all is well.
async fn expect_packet(stream: &TcpStream, first: u8, code_at: usize) -> Result<()> {
    // Byte by byte, so that nothing of what follows is taken: a retained message may come right behind a SUBACK.
    let mut seen = Vec::new();
    let mut byte = [0];
    while wire::first_packet(&seen).is_none() {
        let read =
            tokio::time::timeout(PATIENCE, read_some(stream, &mut byte)).await.context("no answer")??;
        if read == 0 {
            bail!("the server closed the connection");
        }
        seen.push(byte[0]);
    }
    if seen[0] != first || seen.get(code_at) != Some(&0) {
        bail!("unexpected packet {seen:02x?}");
    }
    Ok(())
}

/// The value below which the share `share` of `samples` lies. Sorts `samples`.
pub(crate) fn percentile(samples: &mut [u64], share: f64) -> u64 {
    if samples.is_empty() {
        return 0;
    }
    samples.sort_unstable();
    let index = (samples.len() as f64 * share) as usize;
    samples[index.min(samples.len() - 1)]
}
