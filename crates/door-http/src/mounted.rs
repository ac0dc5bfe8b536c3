//! A request for the mounted page.

use bytes::Bytes;
use http::Response;
use hyper::body::Incoming;

use crate::body::receive;
use crate::call::Call;
use crate::mount::{Mount, Reply};
use crate::payload::Payload;
use crate::problem::Answer;

/// Receives the body and has the request answered.
pub(crate) async fn answer(
    call: &Call<'_>,
    (mount, below): (&dyn Mount, &str),
    body: Incoming,
) -> Answer<Response<Payload>> {
    // It counts as received until it is answered.
    let body = receive(call.door, body).await?;
    let response = mount.answer(call.head, below, call.principal, Bytes::clone(&body)).await;
    Ok(response.map(|reply| match reply {
        Reply::Whole(bytes) => whole(bytes),
        Reply::Stream(chunks) => Payload::Feed(chunks),
    }))
}

/// The answer that refuses a WebSocket.
pub(crate) fn refused(response: Response<Bytes>) -> Response<Payload> {
    response.map(whole)
}

fn whole(bytes: Bytes) -> Payload {
    if bytes.is_empty() { Payload::Empty } else { Payload::Whole(bytes) }
}
