//! The frames of `dovetail.v1`, the subprotocol of WebSocket: one JSON object each, as text.
//!
//! | client sends | members | is answered with |
//! |---|---|---|
//! | a call | `type` (its name), `id`, and those of [`calls`](crate::calls) | `result` or `error` with this `id` |
//! | `watch` | `id`, and those of `watch` | frames of a feed with `watch` (this `id`) as their first member, or `error` |
//! | `unwatch` | `id`, `watch` | `result`, after which no frame of the watch comes, or `error` |
//!
//! | server sends | members | says |
//! |---|---|---|
//! | `hello` | `protocol`, `rev`, `limits`, `progressMs`, `retry` | first of all: what to expect |
//! | `result` | `id`, and the answer of the call | it was done |
//! | `error` | `id` (`null` where it cannot be read), `problem` | it was not |
//! | frames of a feed | `watch`, and theirs | what a watch tells |
//! | `bye` | `reason`, `retry`, `retryAfterMs` | last of all: why the connection ends, and whether and when to come back |

use dovetail_model::{Revision, limits};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::calls::{self, Ask, Call, CallError, Members, Method, Watch};
use crate::decode::DecodeError;
use crate::encode;
use crate::problem::Problem;

/// The name of the subprotocol.
pub const SUBPROTOCOL: &str = "dovetail.v1";

/// What a client calls a request: a JSON number or a string, of at most [`limits::CALL_ID_BYTES`], given back as it came. Two
/// ids are the same if they are spelled the same.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Id(Box<str>);

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Something to be done once.
    Call(Call),
    /// Something to be followed. The id of the request names the watch.
    Watch(Watch),
    /// The end of a watch.
    Unwatch(Id),
}

/// A request that cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Its id, if at least that can be.
    pub id: Option<Id>,
    /// What is wrong.
    pub error: CallError,
}

/// What a server says first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The head of the journal.
    pub rev: Revision,
    /// Bytes of one frame from the client.
    pub message_bytes: usize,
    /// Bytes of one payload.
    pub payload_bytes: usize,
    /// Watches that may be open at once.
    pub watches: usize,
    /// Calls that are taken in before the first is answered; more are left unread.
    pub pending: usize,
    /// The longest silence of a watch, in milliseconds.
    pub progress_ms: u64,
    /// After how many milliseconds to come back when the connection is lost without a `bye`: somewhere between the two.
    pub retry_ms: (u64, u64),
}

impl Id {
    /// The JSON of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(raw: &RawValue) -> Result<Self, DecodeError> {
        let text = raw.get();
        let is_one = text.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
        if is_one && text.len() <= limits::CALL_ID_BYTES {
            Ok(Self(text.into()))
        } else {
            Err(DecodeError::Invalid("id"))
        }
    }
}

/// Reads what a client sent.
///
/// # Errors
/// What is wrong with it, and its id if that can be read.
pub fn decode(text: &str) -> Result<(Id, Request), Unreadable> {
    let unreadable = |error: CallError| Unreadable { id: id_of(text), error };
    let mut members = calls::parse(text).map_err(|error| unreadable(error.into()))?;
    let id = members.id.take().ok_or(DecodeError::Missing("id")).and_then(Id::of);
    let id = id.map_err(|error| Unreadable { id: None, error: error.into() })?;
    match request(members) {
        Ok(request) => Ok((id, request)),
        Err(error) => Err(Unreadable { id: Some(id), error }),
    }
}

fn request(mut members: Members<'_>) -> Result<Request, CallError> {
    let name = members.kind.take().ok_or(DecodeError::Missing("type"))?;
    if name == "unwatch" {
        let watch = members.watch.take().ok_or(DecodeError::Missing("watch"))?;
        return match members.present().next() {
            Some(member) => Err(CallError::Unexpected { method: "unwatch", member }),
            None => Ok(Request::Unwatch(Id::of(watch).map_err(|_| DecodeError::Invalid("watch"))?)),
        };
    }
    let method = Method::ALL.into_iter().find(|method| method.name() == name);
    match method.ok_or_else(|| DecodeError::UnknownType(name.as_ref().into()))?.ask(members)? {
        Ask::Call(call) => Ok(Request::Call(call)),
        Ask::Watch(watch) => Ok(Request::Watch(watch)),
    }
}

/// The id in a request whose other members are wrong.
fn id_of(text: &str) -> Option<Id> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    Id::of(serde_json::from_str::<Named<'_>>(text).ok()?.id).ok()
}

/// Appends a `hello` frame.
pub fn hello(out: &mut Vec<u8>, hello: &Hello) {
    let Hello { rev, message_bytes, payload_bytes, watches, pending, progress_ms, retry_ms } = hello;
    out.extend_from_slice(b"{\"type\":\"hello\",\"protocol\":");
    encode::string(out, SUBPROTOCOL);
    out.extend_from_slice(b",\"rev\":");
    encode::token(out, *rev);
    let batch = limits::BATCH_CHANGES;
    out.extend_from_slice(
        format!(
            ",\"limits\":{{\"messageBytes\":{message_bytes},\"payloadBytes\":{payload_bytes},\"batchWrites\":{batch},\
             \"watches\":{watches},\"pending\":{pending}}},\"progressMs\":{progress_ms},\
             \"retry\":{{\"minMs\":{},\"maxMs\":{}}}}}",
            retry_ms.0, retry_ms.1
        )
        .as_bytes(),
    );
}

/// Appends a `result` frame: the members of the object that `answer` appends, which has some.
pub fn result(out: &mut Vec<u8>, id: &Id, answer: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"type\":\"result\",\"id\":");
    out.extend_from_slice(id.as_str().as_bytes());
    continued(out, answer);
}

/// Appends a `result` frame that says no more than that it is one.
pub fn done(out: &mut Vec<u8>, id: &Id) {
    out.extend_from_slice(b"{\"type\":\"result\",\"id\":");
    out.extend_from_slice(id.as_str().as_bytes());
    out.push(b'}');
}

/// Appends an `error` frame.
pub fn error(out: &mut Vec<u8>, id: Option<&Id>, problem: &Problem) {
    out.extend_from_slice(b"{\"type\":\"error\",\"id\":");
    out.extend_from_slice(id.map_or("null", Id::as_str).as_bytes());
    out.extend_from_slice(b",\"problem\":");
    problem.encode(out);
    out.push(b'}');
}

/// Appends the frame of a feed that `frame` appends, with `watch` as its first member.
pub fn watched(out: &mut Vec<u8>, id: &Id, frame: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"watch\":");
    out.extend_from_slice(id.as_str().as_bytes());
    continued(out, frame);
}

/// Appends a `bye` frame. With a delay, the client is welcome to come back after it.
pub fn bye(out: &mut Vec<u8>, reason: &str, retry_after_ms: Option<u64>) {
    out.extend_from_slice(b"{\"type\":\"bye\",\"reason\":");
    encode::string(out, reason);
    match retry_after_ms {
        Some(delay_ms) => {
            out.extend_from_slice(format!(",\"retry\":true,\"retryAfterMs\":{delay_ms}}}").as_bytes());
        }
        None => out.extend_from_slice(b",\"retry\":false}"),
    }
}

/// Appends the members of an object to one that has begun.
fn continued(out: &mut Vec<u8>, object: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    object(out);
    debug_assert!(out[at..].starts_with(b"{\""), "an object with members");
    // Its opening brace becomes the comma before its first member.
    if let Some(brace) = out.get_mut(at) {
        *brace = b',';
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;
    use crate::problem::ProblemType;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn id(text: &str) -> Id {
        Id(text.into())
    }

    #[test]
    fn requests_are_what_their_type_says() {
        for (text, spelled) in
            [("1", "1"), ("-0.5e9", "-0.5e9"), ("\"a b\"", "\"a b\""), ("\"\\u0061\"", "\"\\u0061\"")]
        {
            let (id, request) = decode(&format!(r#"{{"id":{text},"path":"a/b","type":"get"}}"#)).unwrap();
            assert_eq!(id.as_str(), spelled);
            assert!(matches!(request, Request::Call(Call::Get { path }) if path.as_str() == "a/b"));
        }
        let (_, request) = decode(r#"{"type":"unwatch","id":2,"watch":"w"}"#).unwrap();
        assert_eq!(request, Request::Unwatch(id("\"w\"")));
        let (_, request) =
            decode(r#"{"type":"watch","id":"w","filter":"a/#","mode":"every","since":"now","events":false}"#)
                .unwrap();
        let Request::Watch(watch) = request else { panic!("{request:?}") };
        assert!(watch.every && !watch.events && watch.since == calls::Since::Now);
    }

    #[test]
    fn what_cannot_be_read_says_its_id_if_that_can_be() {
        for (text, named) in [
            ("", None),
            ("[]", None),
            ("{}", None),
            (r#"{"type":"get","path":"a"}"#, None),
            (r#"{"type":"get","id":null,"path":"a"}"#, None),
            (r#"{"type":"get","id":true,"path":"a"}"#, None),
            (r#"{"type":"get","id":[1],"path":"a"}"#, None),
            (r#"{"id":7}"#, Some("7")),
            (r#"{"type":"fetch","id":7,"path":"a"}"#, Some("7")),
            (r#"{"type":"GET","id":7,"path":"a"}"#, Some("7")),
            (r#"{"type":"get","path":"a","strange":{},"id":7}"#, Some("7")),
            (r#"{"type":"get","path":7,"id":"x"}"#, Some("\"x\"")),
            (r#"{"type":"get","path":"a","id":7,"watch":1}"#, Some("7")),
            (r#"{"type":"unwatch","id":7}"#, Some("7")),
            (r#"{"type":"unwatch","id":7,"watch":{}}"#, Some("7")),
            (r#"{"type":"unwatch","id":7,"watch":1,"path":"a"}"#, Some("7")),
        ] {
            let unreadable = decode(text).unwrap_err();
            assert_eq!(unreadable.id.as_ref().map(Id::as_str), named, "{text}");
        }
        let longest = "9".repeat(limits::CALL_ID_BYTES);
        assert!(decode(&format!(r#"{{"type":"get","id":{longest},"path":"a"}}"#)).is_ok());
        let longer = decode(&format!(r#"{{"type":"get","id":{longest}9,"path":"a"}}"#)).unwrap_err();
        assert_eq!(longer.id, None);
    }

    #[test]
    fn frames_of_the_server() {
        let rev: Revision = "k3f9x2ab.9".parse().unwrap();
        let problem = Problem::new(ProblemType::NotFound, "no");
        for (frame, expected) in [
            (
                written(|out| result(out, &id("1"), |out| calls::published(out, rev))),
                r#"{"type":"result","id":1,"rev":"k3f9x2ab.9"}"#,
            ),
            (written(|out| done(out, &id("\"u\""))), r#"{"type":"result","id":"u"}"#),
            (
                written(|out| watched(out, &id("1"), |out| encode::progress(out, rev, rev))),
                r#"{"watch":1,"type":"progress","after":"k3f9x2ab.9","rev":"k3f9x2ab.9"}"#,
            ),
            (
                written(|out| bye(out, "shutdown", Some(1_500))),
                r#"{"type":"bye","reason":"shutdown","retry":true,"retryAfterMs":1500}"#,
            ),
            (written(|out| bye(out, "binary", None)), r#"{"type":"bye","reason":"binary","retry":false}"#),
        ] {
            assert_eq!(frame, expected);
        }
        let refused = written(|out| error(out, None, &problem));
        assert!(refused.starts_with(r#"{"type":"error","id":null,"problem":{"type":"urn:"#), "{refused}");
        let first = written(|out| {
            hello(
                out,
                &Hello {
                    rev,
                    message_bytes: 9,
                    payload_bytes: 8,
                    watches: 3,
                    pending: 4,
                    progress_ms: 15_000,
                    retry_ms: (1, 2),
                },
            );
        });
        let first: serde_json::Value = serde_json::from_str(&first).unwrap();
        assert_eq!((&first["rev"], &first["limits"]["pending"]), (&"k3f9x2ab.9".into(), &4.into()));
        assert_eq!(first["retry"]["maxMs"], 2);
    }
}
