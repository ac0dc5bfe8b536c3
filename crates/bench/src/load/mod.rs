//! Load generators. They share the machine with what they measure, so each is one thread, encodes ahead of time, and looks
//! at no more of an answer than it takes to know that it is right. A message that is lost, doubled or out of order fails
//! the run.

pub(crate) mod alarm;
pub(crate) mod catch_up;
pub(crate) mod client;
pub(crate) mod crowd;
pub(crate) mod door;
pub(crate) mod exchange;
pub(crate) mod fanout;
pub(crate) mod lanes;
pub(crate) mod publishers;
pub(crate) mod retained;
pub(crate) mod run;
pub(crate) mod speech;
pub(crate) mod watch;
pub(crate) mod writer;

use std::time::Duration;

use anyhow::Result;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

/// How much one read takes. Shared by all connections of a generator, since a read and the look at it do not await.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// How long anything that must happen may take before the run is called broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A single-threaded runtime for a generator, a floor or a shard.
pub(crate) fn local_runtime() -> Result<LocalRuntime> {
    Ok(Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?)
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

/// The value below which the share `share` of `samples` lies. Sorts `samples`.
pub(crate) fn percentile(samples: &mut [u64], share: f64) -> u64 {
    if samples.is_empty() {
        return 0;
    }
    samples.sort_unstable();
    let index = (samples.len() as f64 * share) as usize;
    samples[index.min(samples.len() - 1)]
}
