//! The default limits, each named once. Configuration may change most of them; the ones marked
//! *hard* are what the formats and the memory accounting are built for.

use std::num::NonZeroU16;
use std::time::Duration;

/// Bytes of one payload or request body unless configured otherwise.
pub const PAYLOAD_BYTES: usize = 1 << 20;
/// *Hard*: the most bytes a payload may be configured to.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// *Hard*: bytes of a topic or filter.
pub const TOPIC_BYTES: usize = 4_096;
/// *Hard*: levels of a topic or filter.
pub const TOPIC_LEVELS: usize = 200;
/// *Hard*: bytes of a content type.
pub const CONTENT_TYPE_BYTES: usize = 256;
/// User properties on one message.
pub const USER_PROPERTIES: usize = 32;
/// Bytes of all user properties of one message together.
pub const USER_PROPERTIES_BYTES: usize = 4_096;
/// *Hard*: changes in one batch.
pub const BATCH_CHANGES: usize = 1_000;
/// *Hard*: bytes of an idempotency key.
pub const IDEMPOTENCY_KEY_BYTES: usize = 256;
/// How long the outcome of an idempotency key is remembered.
pub const IDEMPOTENCY_RETENTION: Duration = Duration::from_hours(24);
/// Bytes of HTTP request headers.
pub const HTTP_HEADER_BYTES: usize = 32 << 10;
/// Bytes of a request URI.
pub const URI_BYTES: usize = 8 << 10;
/// How long a new connection may stay silent.
pub const FIRST_BYTE: Duration = Duration::from_secs(5);
/// How long the headers of a request may take.
pub const HTTP_HEADERS: Duration = Duration::from_secs(10);
/// The least pace of a request body: it must be whole after this and one second per 64 KiB.
pub const HTTP_BODY: Duration = Duration::from_secs(30);
/// How long an HTTP connection may idle between requests.
pub const HTTP_KEEP_ALIVE: Duration = Duration::from_mins(1);
/// Bytes that a WebSocket frame may have beyond one payload: what is around it, and small messages that are sent along.
pub const WEBSOCKET_FRAME_OVERHEAD: usize = 64 << 10;
/// *Hard*: bytes of what a client calls a request on a WebSocket.
pub const CALL_ID_BYTES: usize = 64;
/// Calls of one connection that are taken in before the first of them is answered.
pub const CALLS_PENDING: usize = 64;
/// After how long a silence of its client a WebSocket is pinged, and after how long another it is given up.
pub const WEBSOCKET_SILENCE: Duration = Duration::from_secs(30);
/// The shortest and the longest time after which clients are asked to come back, each after its own.
pub const RECONNECT: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];
/// Bytes of one SignalR message of a client.
pub const SIGNALR_MESSAGE_BYTES: usize = 32 << 10;
/// Bytes of SignalR messages that may be sent and not acknowledged where they are sent again after a reconnect.
pub const SIGNALR_RESEND_BYTES: usize = 100_000;
/// How long the handshake of SignalR may take.
pub const SIGNALR_HANDSHAKE: Duration = Duration::from_secs(15);
/// The longest silence of the server on a SignalR connection.
pub const SIGNALR_PING: Duration = Duration::from_secs(15);
/// The longest silence of a SignalR client.
pub const SIGNALR_SILENCE: Duration = Duration::from_secs(30);
/// How long a SignalR connection outlives its last request or socket.
pub const SIGNALR_ABSENCE: Duration = Duration::from_secs(15);
/// How long a poll of SignalR waits for something to tell.
pub const SIGNALR_POLL: Duration = Duration::from_secs(90);
/// SignalR connections that were negotiated and have not begun.
pub const SIGNALR_NEGOTIATED: usize = 10_000;
/// SignalR connections that poll.
pub const SIGNALR_POLLING: usize = 10_000;
/// Streams that a SignalR client may be sending at once.
pub const SIGNALR_UPLOADS: usize = 16;
/// How long a CONNECT packet may take.
pub const MQTT_CONNECT: Duration = Duration::from_secs(5);
/// Bytes of a CONNECT packet.
pub const MQTT_CONNECT_BYTES: usize = 64 << 10;
/// Bytes of an MQTT client identifier.
pub const CLIENT_ID_BYTES: usize = 1_024;
/// Topic aliases of one connection, in each direction.
pub const TOPIC_ALIASES: u16 = 16;
/// `QoS` 1 and 2 messages that a client may have unacknowledged at the server.
pub const RECEIVE_MAXIMUM: u16 = 64;
/// The longest keep-alive in seconds that an MQTT client may have; `None` leaves it to the client.
pub const MQTT_KEEP_ALIVE: Option<NonZeroU16> = None;
/// Messages a second that an MQTT client may publish, and so many at once; 0 for as many as it sends.
pub const PUBLISH_RATE: u32 = 0;
/// Below which level MQTT clients are told to expect answers.
pub const RESPONSE_TOPICS: &str = "reply";
/// How long a message that lives for no time at all may be on its way.
pub const AT_ONCE: Duration = Duration::from_secs(1);
/// Subscriptions of one connection.
pub const SUBSCRIPTIONS: usize = 1_000;
/// The longest session expiry that is granted.
pub const SESSION_EXPIRY: Duration = Duration::from_hours(168);
/// Messages with `QoS` 2 that a client of a session may have sent and not released. With MQTT 5 the receive maximum is
/// the lower limit.
pub const RECEIVED_IDS: usize = 1_024;
/// MQTT sessions that outlive their connections.
pub const SESSIONS: usize = 100_000;
/// How long the journal keeps history.
pub const HISTORY_AGE: Duration = Duration::from_hours(24);
/// Revisions that the journal keeps whatever their age.
pub const HISTORY_REVISIONS: u64 = 10_000;
/// How long a delete is remembered for clients that were away.
pub const TOMBSTONE_AGE: Duration = Duration::from_hours(168);
/// Bytes that may wait for one live feed before it falls back to catch-up.
pub const FEED_PENDING_BYTES: usize = 1 << 20;
/// The longest silence of a feed.
pub const PROGRESS: Duration = Duration::from_secs(15);
/// The longest `wait` of a long poll.
pub const LONG_POLL_WAIT: Duration = Duration::from_mins(1);
/// Bytes of writes that may wait for the journal before new ones are refused.
pub const ADMITTED_BYTES: usize = 64 << 20;
/// Bytes of events that may wait for one shard before publishers are held back.
pub const EVENT_INBOX_BYTES: usize = 256 << 10;
/// Bytes of recent commits that all shards read from.
pub const TAIL_BYTES: usize = 32 << 20;
/// Bytes of recent entries that the live feeds of one shard point to.
pub const RING_BYTES: usize = 32 << 20;
/// How long publishers of events are held back on account of subscribers that do not keep up.
pub const EVENT_PATIENCE: Duration = Duration::from_secs(1);
