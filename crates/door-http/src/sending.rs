//! A response on its way through hyper.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::activity::InFlight;
use crate::payload::Payload;

/// A payload, and the mark that its request is in flight until it is sent.
pub(crate) struct Sending {
    payload: Payload,
    _in_flight: InFlight,
}

impl Sending {
    pub(crate) fn new(payload: Payload, in_flight: InFlight) -> Self {
        Self { payload, _in_flight: in_flight }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = match &mut self.payload {
            Payload::Empty | Payload::WebSocket(_) => None,
            Payload::Stream(chunks) | Payload::Feed(chunks) => ready!(chunks.poll_chunk(cx)).map(Bytes::from),
            Payload::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.payload = Payload::Empty;
                Some(bytes)
            }
        };
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.payload, Payload::Empty | Payload::WebSocket(_))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.payload {
            Payload::Empty | Payload::WebSocket(_) => SizeHint::with_exact(0),
            Payload::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Payload::Stream(_) | Payload::Feed(_) => SizeHint::default(),
        }
    }
}
