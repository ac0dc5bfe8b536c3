//! The floor of a durable write: `fdatasync` into zero-filled, preallocated space.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::load::percentile;

/// The file's size. More than a run writes, so that no write changes the file's length or its extents.
const FILE_BYTES: usize = 16 * 1024 * 1024;

/// The median nanoseconds of a write of `size` bytes and its `fdatasync`, alone, in directory `dir`.
pub(crate) fn lone_sync_ns(dir: &Path, size: usize, measure: Duration) -> Result<u64> {
    let path = dir.join("floor");
    let file = zero_filled(&path)?;
    let block = vec![b'x'; size];
    let mut samples = Vec::new();
    let (started, mut at) = (Instant::now(), 0);
    while started.elapsed() < measure {
        let asked = Instant::now();
        file.write_all_at(&block, at)?;
        file.sync_data()?;
        samples.push(asked.elapsed().as_nanos() as u64);
        at = (at + size as u64) % (FILE_BYTES - size) as u64;
    }
    std::fs::remove_file(&path)?;
    Ok(percentile(&mut samples, 0.5))
}

fn zero_filled(path: &Path) -> Result<File> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).read(true).open(path)?;
    file.write_all(&vec![0; FILE_BYTES])?;
    file.sync_all()?;
    Ok(file)
}
