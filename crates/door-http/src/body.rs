//! The body of a request, within its limits and in its time.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dovetail_api::problem::ProblemType;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::door::{Inner, Shared};
use crate::problem::{Answer, Failure};

/// A body that is slower than this is cut off, besides its fixed allowance.
const PACE_BYTES_PER_S: usize = 64 << 10;

/// The bytes of a body, counted among those in memory while it lives.
pub(crate) struct Received<'a> {
    bytes: Bytes,
    _held: Held<'a>,
}

impl std::ops::Deref for Received<'_> {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

struct Held<'a> {
    shared: &'a Shared,
    bytes: usize,
}

impl Held<'_> {
    fn add(&mut self, bytes: usize) -> Answer<()> {
        self.bytes += bytes;
        if self.shared.receiving.fetch_add(bytes, Relaxed) + bytes > self.shared.settings.receiving_bytes {
            let detail = "too many request bodies are on their way; try again";
            return Err(Failure::new(ProblemType::Overloaded, detail).retry_after_s(1).closing());
        }
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.shared.receiving.fetch_sub(self.bytes, Relaxed);
    }
}

/// Reads a whole body.
///
/// # Errors
/// 413 as soon as it is known to be too large, before anything is read if its length says so; 408
/// when it is too slow; 503 when too much is on its way; 400 when it breaks off. The connection is
/// closed then, because the rest is not worth reading.
pub(crate) async fn receive(door: &Inner, mut body: Incoming) -> Answer<Received<'_>> {
    let limit = door.settings().body_bytes;
    let too_large = || {
        let detail = format!("a body has at most {limit} bytes");
        Failure::new(ProblemType::TooLarge, detail).closing()
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let began = Instant::now();
    let mut held = Held { shared: &door.shared, bytes: 0 };
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    loop {
        let pace = Duration::from_secs((held.bytes / PACE_BYTES_PER_S) as u64);
        let deadline = began + door.settings().body_within + pace;
        let frame = match tokio::time::timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Failure::bad_request("the body broke off").closing()),
            Err(_) => {
                return Err(Failure::new(ProblemType::Timeout, "the body came too slowly").closing());
            }
        };
        // Trailers say nothing that is stored.
        let Ok(data) = frame.into_data() else { continue };
        if held.bytes + data.len() > limit {
            return Err(too_large());
        }
        held.add(data.len())?;
        // Most bodies are one piece, which need not be copied here.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(Received { bytes: if all.is_empty() { first } else { all.freeze() }, _held: held })
}
