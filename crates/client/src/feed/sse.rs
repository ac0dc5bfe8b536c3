//! A feed as server-sent events.

use std::collections::VecDeque;

use bytes::Bytes;
use dovetail_api::EVENT_STREAM;
use dovetail_api::decode::{self, DecodeError, Frame};
use dovetail_api::sse::{Event, Parser};
use dovetail_model::{Filter, limits};
use http::{HeaderValue, Method, header};
use tokio::time::{Instant, timeout_at};

use super::transport::Transport;
use super::{Start, WatchOptions};
use crate::Client;
use crate::error::Error;
use crate::http::Exchange;
use crate::rest::{filter_path, request};

/// Bytes of one event: the largest payload, escaped, in the largest batch that one can expect.
const EVENT_BYTES: usize = 8 * limits::PAYLOAD_BYTES_MAX;

#[derive(Debug)]
pub(crate) struct Sse {
    client: Client,
    filter: Filter,
    options: WatchOptions,
    stream: Option<Stream>,
}

struct Stream {
    exchange: Exchange,
    parser: Parser,
    events: VecDeque<Event>,
    heard_at: Instant,
}

impl Sse {
    pub(crate) fn new(client: Client, filter: Filter, options: WatchOptions) -> Self {
        Self { client, filter, options, stream: None }
    }

    fn lost(&self) -> Error {
        Error::Lost { address: self.client.server().to_string().into(), source: None }
    }
}

impl Transport for Sse {
    async fn open(&mut self, start: Start) -> Result<(), Error> {
        self.stream = None;
        let mut target = filter_path(&self.filter)?;
        if self.options.every {
            target.push_str("?every");
        }
        let mut request = request(Method::GET, &target, Bytes::new())?;
        let fields = request.headers_mut();
        fields.insert(header::ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        if let Start::After(position) = start {
            let id =
                HeaderValue::try_from(position.to_string()).map_err(|_| Error::Unsendable("position"))?;
            fields.insert("last-event-id", id);
        }
        let exchange = self.client.http.send(request, self.options.silence).await?.succeeded().await?;
        let content_type = exchange.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        if !content_type.is_some_and(|text| text.starts_with(EVENT_STREAM.as_bytes())) {
            return Err(Error::BadField("content-type"));
        }
        self.stream = Some(Stream {
            exchange,
            parser: Parser::new(EVENT_BYTES),
            events: VecDeque::new(),
            heard_at: Instant::now(),
        });
        Ok(())
    }

    async fn next(&mut self) -> Result<Frame, Error> {
        loop {
            let Some(stream) = &mut self.stream else { return Err(self.lost()) };
            if let Some(event) = stream.events.pop_front() {
                match decode::frame(event.data.as_bytes()) {
                    // A later server may say more than this client knows.
                    Err(DecodeError::UnknownType(_)) => continue,
                    frame => return Ok(frame?),
                }
            }
            let silent_at = stream.heard_at + self.options.silence;
            match timeout_at(silent_at, stream.exchange.piece()).await {
                Ok(Ok(Some(piece))) => {
                    stream.heard_at = Instant::now();
                    let mut events = Vec::new();
                    stream.parser.push(&piece, &mut events)?;
                    stream.events.extend(events);
                }
                Ok(Ok(None)) => return Err(self.lost()),
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    let address = self.client.server().to_string().into();
                    return Err(Error::Silent { address, waited: self.options.silence });
                }
            }
        }
    }

    fn close(&mut self) {
        self.stream = None;
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("events", &self.events.len()).finish_non_exhaustive()
    }
}
