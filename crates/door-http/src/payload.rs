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
    /// Not of HTTP any more: what follows the head is a WebSocket.
    WebSocket(Box<Agreed>),
}

/// What a WebSocket is for.
pub(crate) struct Agreed {
    /// The subprotocol; empty at the mounted page.
    pub(crate) subprotocol: &'static str,
    /// The query, if it is the mounted page that was asked for.
    pub(crate) mounted: Option<Box<str>>,
}

impl Payload {
    /// Whether it has the socket for itself.
    pub(crate) fn takes_over(&self) -> bool {
        matches!(self, Self::Feed(_) | Self::WebSocket(_))
    }
}

/// A body that is made while it is sent. Each chunk is one gathered write.
pub trait Chunks {
    /// The next chunk, which is never empty; `None` at the end.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>>;
}
