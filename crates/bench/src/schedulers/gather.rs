//! Experiment: many small frames to one socket as one copied buffer, or as a `writev` over the frames where they lie.

use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cpu::Sample;

/// Bytes of one frame: a PUBLISH of 100 bytes to a short topic.
const FRAME: usize = 113;

/// More slices than this are refused by the kernel (`IOV_MAX`).
const SLICES: usize = 1024;

/// CPU nanoseconds of the writer per frame, copied and with `writev`, at `frames` frames a turn.
///
/// Only the writing thread is measured; another reads.
pub(crate) fn measure(frames: usize, duration: Duration) -> Result<(f64, f64)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let reader = std::thread::spawn(move || -> Result<u64> {
        let (mut stream, _) = listener.accept()?;
        let (mut buffer, mut total) = (vec![0; 256 * 1024], 0);
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(total),
                read => total += read as u64,
            }
        }
    });
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    let turn: Vec<Arc<[u8]>> = (0..frames).map(|_| vec![b'x'; FRAME].into()).collect();
    let mut buffer = Vec::new();
    let copied = cpu_per_frame(frames, duration, || {
        buffer.clear();
        for frame in &turn {
            buffer.extend_from_slice(frame);
        }
        stream.write_all(&buffer)
    })?;
    let gathered = cpu_per_frame(frames, duration, || {
        for chunk in turn.chunks(SLICES) {
            let mut slices: Vec<IoSlice<'_>> = chunk.iter().map(|frame| IoSlice::new(frame)).collect();
            let mut rest = slices.as_mut_slice();
            while !rest.is_empty() {
                let written = stream.write_vectored(rest)?;
                IoSlice::advance_slices(&mut rest, written);
            }
        }
        Ok(())
    })?;
    drop(stream);
    reader.join().ok().context("the reader failed")??;
    Ok((copied, gathered))
}

/// Runs `turn` for `duration`; its own thread's CPU by the number of frames.
fn cpu_per_frame(
    frames: usize,
    duration: Duration,
    mut turn: impl FnMut() -> std::io::Result<()>,
) -> Result<f64> {
    let started = std::time::Instant::now();
    let before = Sample::of_this_thread()?;
    let mut turns = 0_u64;
    while started.elapsed() < duration {
        turn()?;
        turns += 1;
    }
    let spent = before.until(&Sample::of_this_thread()?);
    Ok(spent as f64 / (turns * frames as u64) as f64)
}
