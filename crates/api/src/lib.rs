//! The JSON and server-sent-events contract, shared by the server and its clients.
//!
//! One schema describes what a feed says, wherever it is said: the `data` of a server-sent event, a
//! line of NDJSON, the payload of an MQTT message under `$changes/`, a WebSocket frame. The same
//! entry objects make up collections, catch-up documents and batches. Encoders write bytes straight
//! into a buffer; decoders give the types of `dovetail-model` back.
//!
//! # Frames
//!
//! | `type` | members | says |
//! |---|---|---|
//! | `baseline-begin` | `rev` | the state at `rev` follows |
//! | `item` | an entry | one resource of it |
//! | `baseline-end` | `rev` | that was all; live from here (event name `sync` in an event stream) |
//! | `change` | `after`, `rev`, `changes` | all that happened in `(after, rev]`, as entries with an `op` |
//! | `progress` | `after`, `rev` | nothing happened in `(after, rev]` |
//! | `reset` | `rev`, `reason` | the position cannot be resumed; a baseline follows |
//! | `end` | `reason` | the feed is over |
//!
//! # Entries
//!
//! `op` (`put`, `delete`, `event`; only in changes), `path`, `rev`, `modified` and `expires`
//! (RFC 3339, milliseconds, UTC), `contentType`, `metadata`, for deletes `cause`, and the payload:
//!
//! * `value`: the payload is JSON by its content type and by its syntax, and stands here inline.
//! * `text`: the payload, if it is UTF-8.
//! * `base64`: the payload, if it is not.
//!
//! The payload is exactly what `text` or `base64` says; where neither is there, it is exactly the
//! characters of `value`, its inner whitespace included. `text` stands beside `value` only where
//! the characters of `value` are not exactly the payload: a payload with line breaks or with
//! whitespace around it is put on one line, because a frame is always one line.
//!
//! Modules: [`encode`] and [`decode`] (frames and entries), [`document`] (collection and catch-up),
//! [`names`] (paths and topics), [`batch`], [`calls`] (requests by name), [`problem`] (RFC 9457), [`socket`]
//! (frames of WebSocket), [`sse`] (event streams), [`time`] (RFC 3339).

pub mod batch;
pub mod calls;
pub mod decode;
pub mod document;
pub mod encode;
pub mod names;
mod payload;
pub mod problem;
pub mod socket;
pub mod sse;
mod text;
pub mod time;

/// The media type of every JSON document here.
pub const JSON: &str = "application/json";
/// The media type of a stream of frames, one a line.
pub const NDJSON: &str = "application/x-ndjson";
/// The media type of a merge patch (RFC 7396).
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// The media type of a JSON patch (RFC 6902).
pub const JSON_PATCH: &str = "application/json-patch+json";
/// The media type of an event stream.
pub const EVENT_STREAM: &str = "text/event-stream";

#[cfg(test)]
mod tests;
