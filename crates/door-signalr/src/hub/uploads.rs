//! Streams of a client: each item a put, in order.

use dovetail_api::calls::{Ask, Call, CallError, Method};
use dovetail_calls::{Refusal, Reply};
use dovetail_model::Revision;
use dovetail_signalr_proto::Value;

/// A stream whose items are put under one path.
pub(crate) struct Upload {
    /// By which items name it.
    pub(crate) stream: Box<str>,
    /// The invocation that it belongs to, if the client wants to know what came of it.
    pub(crate) invocation: Option<Box<str>>,
    path: Value,
    options: Option<Value>,
    /// Puts that are not answered yet.
    waiting: usize,
    count: u64,
    rev: Option<Revision>,
    refusal: Option<Refusal>,
    is_ended: bool,
}

impl Upload {
    /// An upload to `path`.
    ///
    /// # Errors
    /// Its arguments say no put.
    pub(crate) fn new(
        stream: Box<str>,
        invocation: Option<Box<str>>,
        path: Value,
        options: Option<Value>,
    ) -> Result<Self, CallError> {
        let (waiting, count, rev, refusal, is_ended) = (0, 0, None, None, false);
        let upload = Self { stream, invocation, path, options, waiting, count, rev, refusal, is_ended };
        upload.read("null")?;
        Ok(upload)
    }

    /// The put of the next item.
    ///
    /// # Errors
    /// The item cannot be put.
    pub(crate) fn put(&mut self, item: &Value) -> Result<Call, CallError> {
        let call = self.read(item.as_str())?;
        self.waiting += 1;
        Ok(call)
    }

    fn read(&self, item: &str) -> Result<Call, CallError> {
        let options = self.options.as_ref().map_or("null", Value::as_str);
        match Method::Put.of_arguments([self.path.as_str(), item, options].into_iter())? {
            Ask::Call(call) => Ok(call),
            Ask::Watch(_) => Err(CallError::Unexpected { method: "put", member: "filter" }),
        }
    }

    /// Notes the answer to a put.
    pub(crate) fn settled(&mut self, answer: Result<Reply, Refusal>) {
        self.waiting = self.waiting.saturating_sub(1);
        match answer {
            Ok(reply) => {
                self.count += 1;
                self.rev = reply.revision().or(self.rev);
            }
            Err(refusal) => self.fail(refusal),
        }
    }

    /// Ends it; the first reason counts.
    pub(crate) fn fail(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
        self.is_ended = true;
    }

    /// The client has sent everything.
    pub(crate) fn end(&mut self) {
        self.is_ended = true;
    }

    /// Whether items are still taken.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_ended
    }

    /// Whether nothing more will come of it: it is told then.
    pub(crate) fn is_over(&self) -> bool {
        self.is_ended && self.waiting == 0
    }

    /// What came of it, as JSON.
    pub(crate) fn outcome(&self) -> Result<String, &Refusal> {
        match (&self.refusal, self.rev) {
            (Some(refusal), _) => Err(refusal),
            (None, Some(rev)) => Ok(format!("{{\"rev\":\"{rev}\",\"count\":{}}}", self.count)),
            (None, None) => Ok(format!("{{\"count\":{}}}", self.count)),
        }
    }
}
