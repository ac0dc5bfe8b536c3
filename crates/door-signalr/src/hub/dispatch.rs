//! What a client asks.

use std::time::Instant;

use dovetail_api::calls::{Ask, Method};
use dovetail_api::problem::ProblemType;
use dovetail_calls::Refusal;
use dovetail_model::limits;
use dovetail_signalr_proto::{Message, Outcome, Value};

use super::uploads::Upload;
use super::watches::Told;
use super::{Ending, Hub, Tag};

/// The methods of the hub that are not calls.
const PUT_STREAM: &str = "PutStream";
const SUBSCRIBE: &str = "Subscribe";
const UNSUBSCRIBE: &str = "Unsubscribe";

/// A method with its name.
enum Hubs {
    Call(Method),
    Watch,
    PutStream,
    Subscribe,
    Unsubscribe,
}

impl Hubs {
    /// The method with this name, whatever its case.
    fn find(name: &str) -> Option<Self> {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        match Method::from_name(name) {
            Some(Method::Watch) => Some(Self::Watch),
            Some(method) => Some(Self::Call(method)),
            None if is(PUT_STREAM) => Some(Self::PutStream),
            None if is(SUBSCRIBE) => Some(Self::Subscribe),
            None if is(UNSUBSCRIBE) => Some(Self::Unsubscribe),
            None => None,
        }
    }
}

/// An invocation, besides its method.
struct Invocation {
    id: Option<Box<str>>,
    arguments: Vec<Value>,
    streams: Vec<Box<str>>,
}

impl Hub {
    pub(super) fn on_message(&mut self, message: Message, now: Instant) {
        self.local.tally.messages_received.add(1);
        if !self.voice.accepts(&message, now) {
            return;
        }
        match message {
            Message::Invocation { id, target, arguments, streams } => {
                self.invoke(&target, Invocation { id, arguments, streams });
            }
            Message::StreamInvocation { id, target, arguments, streams } => {
                self.invoke_stream(&target, &id, &arguments, &streams, now);
            }
            Message::StreamItem { id, item } => self.on_item(&id, &item),
            Message::Completion { id, result } => self.on_stream_end(&id, &result),
            Message::CancelInvocation { id } => self.cancel(&id),
            Message::Ping => {}
            Message::Close { .. } => self.end(Ending::Asked),
            Message::Ack { sequence } => {
                if let Err(error) = self.voice.on_ack(sequence) {
                    self.violated(&error);
                }
            }
            Message::Sequence { sequence } => {
                if let Err(error) = self.voice.on_sequence(sequence) {
                    self.violated(&error);
                }
            }
        }
    }

    fn invoke(&mut self, target: &str, invocation: Invocation) {
        self.local.tally.invocations.add(1);
        let Invocation { id, arguments, streams } = invocation;
        let Some(method) = Hubs::find(target) else { return self.unknown(id.as_deref(), target) };
        if !streams.is_empty() && !matches!(method, Hubs::PutStream) {
            let detail = format!("`{target}` takes no stream");
            return self.refuse(id.as_deref(), &Refusal::bad_request(detail));
        }
        match method {
            Hubs::Call(method) => {
                let ask = method.of_arguments(arguments.iter().map(Value::as_str));
                let tag = Tag::Invocation(id);
                match ask {
                    Ok(Ask::Call(call)) => self.queue.push(tag, &self.principal, call),
                    Ok(Ask::Watch(_)) => self.queue.refuse(tag, no_stream()),
                    Err(error) => self.queue.refuse(tag, error.into()),
                }
            }
            Hubs::Watch => self.refuse(id.as_deref(), &no_stream()),
            Hubs::PutStream => self.open_upload(id.as_deref(), arguments, streams),
            Hubs::Subscribe => self.subscribe(id.as_deref(), &arguments),
            Hubs::Unsubscribe => self.unsubscribe(id.as_deref(), &arguments),
        }
    }

    fn invoke_stream(
        &mut self,
        target: &str,
        id: &str,
        arguments: &[Value],
        streams: &[Box<str>],
        now: Instant,
    ) {
        self.local.tally.invocations.add(1);
        match Hubs::find(target) {
            None => return self.unknown(Some(id), target),
            Some(Hubs::Watch) => {}
            Some(_) => {
                let detail = format!("`{target}` gives one result, not a stream: invoke it");
                return self.refuse(Some(id), &Refusal::bad_request(detail));
            }
        }
        if !streams.is_empty() {
            let refusal = Refusal::bad_request(format!("`{target}` takes no stream"));
            return self.refuse(Some(id), &refusal);
        }
        if self.watches.stream(id).is_some() {
            // Nobody could tell the two apart.
            return self.end(Ending::Violated(format!("the invocation id `{id}` is in use")));
        }
        if let Err(refusal) = self.watch(arguments, || Told::Stream(id.into())) {
            self.refuse(Some(id), &refusal);
        }
        self.expect_progress(now);
    }

    /// Follows what `arguments` say.
    fn watch(&mut self, arguments: &[Value], told: impl FnOnce() -> Told) -> Result<(), Refusal> {
        let most = self.local.options().watches;
        if self.watches.len() >= most {
            let detail = format!("a connection has at most {most} watches");
            return Err(Refusal::new(ProblemType::TooManyRequests, detail));
        }
        let ask = Method::Watch.of_arguments(arguments.iter().map(Value::as_str))?;
        let Ask::Watch(watch) = ask else { return Err(no_stream()) };
        let subscribe = self.local.desk.watch(&self.principal, watch)?;
        let shard = self.local.desk.shard();
        let subscriber =
            self.watches.subscriber.get_or_insert_with(|| shard.subscriber(self.principal.clone()));
        let feed = subscriber.subscribe(subscribe);
        self.watches.add(feed, told());
        Ok(())
    }

    fn subscribe(&mut self, id: Option<&str>, arguments: &[Value]) {
        self.subscriptions += 1;
        let subscription = format!("\"{}\"", self.subscriptions);
        match self.watch(arguments, || Told::Calls(subscription.as_str().into())) {
            Ok(()) => {
                self.say_result(id, subscription.as_bytes());
                self.expect_progress(crate::now());
            }
            Err(refusal) => self.refuse(id, &refusal),
        }
    }

    fn unsubscribe(&mut self, id: Option<&str>, arguments: &[Value]) {
        let found = match arguments {
            [subscription] => self.watches.subscription(subscription.as_str()),
            _ => return self.refuse(id, &Refusal::bad_request("`Unsubscribe` has one argument, an id")),
        };
        let Some(feed) = found else {
            let refusal = Refusal::new(ProblemType::NotFound, "there is no such subscription");
            return self.refuse(id, &refusal);
        };
        self.watches.remove(feed);
        if let Some(id) = id {
            self.voice.done(&mut self.early, &self.local.tally, id);
        }
    }

    fn cancel(&mut self, id: &str) {
        // A call that is not answered yet goes on: its answer is its completion.
        let Some(feed) = self.watches.stream(id) else { return };
        self.watches.remove(feed);
        self.voice.done(&mut self.early, &self.local.tally, id);
    }

    fn open_upload(&mut self, id: Option<&str>, arguments: Vec<Value>, mut streams: Vec<Box<str>>) {
        let refusal = match streams.len() {
            1 if self.uploads.len() >= limits::SIGNALR_UPLOADS => {
                let detail = format!("a client sends at most {} streams at once", limits::SIGNALR_UPLOADS);
                Refusal::new(ProblemType::TooManyRequests, detail)
            }
            1 if self.uploads.iter().any(|upload| upload.stream == streams[0]) => {
                return self.end(Ending::Violated(format!("the stream id `{}` is in use", streams[0])));
            }
            1 => {
                let mut arguments = arguments.into_iter();
                let (path, options, more) = (arguments.next(), arguments.next(), arguments.next());
                match (path, more) {
                    (Some(path), None) => {
                        match Upload::new(streams.swap_remove(0), id.map(Box::from), path, options) {
                            Ok(upload) => return self.uploads.push(upload),
                            Err(error) => error.into(),
                        }
                    }
                    _ => Refusal::bad_request("`PutStream` has a path, a stream and perhaps options"),
                }
            }
            _ => Refusal::bad_request("`PutStream` takes one stream"),
        };
        self.refuse(id, &refusal);
    }

    /// An item of a stream of the client. One for a stream that has ended says nothing any more.
    fn on_item(&mut self, stream: &str, item: &Value) {
        let found = self.uploads.iter_mut().find(|upload| *upload.stream == *stream && upload.is_open());
        let Some(upload) = found else { return };
        match upload.put(item) {
            Ok(call) => self.queue.push(Tag::Item(stream.into()), &self.principal, call),
            Err(error) => {
                upload.fail(error.into());
                self.tell_upload(stream);
            }
        }
    }

    fn on_stream_end(&mut self, stream: &str, result: &Outcome) {
        let Some(upload) = self.uploads.iter_mut().find(|upload| *upload.stream == *stream) else { return };
        match result {
            Outcome::Error(error) => {
                upload.fail(Refusal::bad_request(format!("the stream broke off: {error}")));
            }
            Outcome::Void | Outcome::Value(_) => upload.end(),
        }
        self.tell_upload(stream);
    }

    fn tell_upload(&mut self, stream: &str) {
        let mut early = std::mem::take(&mut self.early);
        self.finish_upload(&mut early, stream);
        self.early = early;
    }

    /// Says what came of an upload that is over.
    pub(super) fn finish_upload(&mut self, out: &mut Vec<u8>, stream: &str) {
        let over = |upload: &Upload| *upload.stream == *stream && upload.is_over();
        let Some(at) = self.uploads.iter().position(over) else { return };
        let upload = self.uploads.swap_remove(at);
        let Some(id) = &upload.invocation else { return };
        let tally = &self.local.tally;
        match upload.outcome() {
            Ok(json) => self.voice.result(out, tally, id, json.as_bytes()),
            Err(refusal) => self.voice.failed(out, tally, id, refusal.problem()),
        }
    }

    fn unknown(&mut self, id: Option<&str>, target: &str) {
        self.refuse(id, &Refusal::bad_request(format!("the hub has no method `{target}`")));
    }

    fn refuse(&mut self, id: Option<&str>, refusal: &Refusal) {
        if let Some(id) = id {
            self.voice.failed(&mut self.early, &self.local.tally, id, refusal.problem());
        }
    }

    fn say_result(&mut self, id: Option<&str>, json: &[u8]) {
        if let Some(id) = id {
            self.voice.result(&mut self.early, &self.local.tally, id, json);
        }
    }
}

fn no_stream() -> Refusal {
    Refusal::bad_request("`Watch` gives a stream: invoke it as one, or `Subscribe`")
}
