//! A page of the server's own, and everything below it, that another door answers.
//!
//! This door receives the request within its limits and deadlines and sends the answer; what either means is the
//! other's. Neither knows more of the other than this file.

use std::pin::Pin;

use bytes::Bytes;
use dovetail_auth::Principal;
use http::Response;
use http::request::Parts;

use crate::payload::Chunks;

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
