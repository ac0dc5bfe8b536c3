//! The body of a response.

use std::task::{Context, Poll};

use bytes::Bytes;

/// What a response carries.
pub(crate) enum Payload {
    Empty,
    Whole(Bytes),
    /// Made while it is sent.
    Stream(Box<dyn Chunks>),
    /// Made while it is sent, for as long as the client stays.
    Feed(Box<dyn Chunks>),
}

/// A body that is made while it is sent. Each chunk is one gathered write.
pub(crate) trait Chunks {
    /// The next chunk, which is never empty; `None` at the end.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>>;
}
