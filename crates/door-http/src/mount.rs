//! A page of the server's own, and everything below it, that another door answers.
//!
//! This door receives the request within its limits and deadlines and sends the answer; what either means is the
//! other's. Neither knows more of the other than this file.

use std::pin::Pin;

use bytes::Bytes;
use dovetail_auth::Principal;
use http::Response;
use http::request::Parts;
use hyper::body::Incoming;

use crate::body::receive;
use crate::call::Call;
use crate::payload::{Chunks, Payload};
use crate::problem::Answer;

/// The methods of a mounted page. `OPTIONS` is answered for it.
pub(crate) const METHODS: &str = "GET, POST, DELETE, OPTIONS";

/// Answers the requests for one page below `/-/` and for what is below that.
pub trait Mount {
    /// The name of the page.
    fn page(&self) -> &'static str;

    /// The answer that keeps a request for the page from becoming a WebSocket; `None` lets it, and the connection is given
    /// back then ([`crate::Upgraded`]).
    fn refuse(&self, head: &Parts) -> Option<Response<Bytes>>;

    /// Answers a request of `principal`. `below` is what follows the page in the path, without a slash before it. Runs on
    /// the thread of the door.
    fn answer<'a>(
        &'a self,
        head: &'a Parts,
        below: &'a str,
        principal: &'a Principal,
        body: Bytes,
    ) -> Answering<'a>;
}

/// An answer to come.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Response<Reply>> + 'a>>;

/// The body of an answer.
pub enum Reply {
    /// All of it.
    Whole(Bytes),
    /// Made while it is sent, for as long as the client stays: it has the socket for itself where HTTP allows that.
    Stream(Box<dyn Chunks>),
}

/// The part of a path below `/-/` that belongs to the mounted page: nothing, or what follows its `/`.
pub(crate) fn below<'a>(mount: &dyn Mount, page: &'a str) -> Option<&'a str> {
    let rest = page.strip_prefix(mount.page())?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

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
