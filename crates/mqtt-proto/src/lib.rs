//! MQTT without I/O: no socket, no clock, no other Dovetail crate.
//!
//! One code path serves MQTT 3.1, 3.1.1 and 5; the [`Version`] is a value. Statements of the specifications are cited by
//! their numbers, `[MQTT-x.y.z-n]`, from MQTT 5.0 unless 3.1.1 is named.
//!
//! * The codec, for servers and clients: [`Decoder`] cuts a stream of bytes into packets and validates them, [`Packet`] and
//!   its parts encode themselves. Nothing is allocated ahead of bytes received.
//! * Fan-out: a [`Frame`] is a PUBLISH encoded once and written for each subscriber with its own packet id, flags and extra
//!   properties; [`Output`] gathers what one socket is owed, copying small pieces and sharing large ones.
//! * The server's side of one connection: [`Connection`] takes bytes and the time, gives events and bytes. What outlives the
//!   connection is its [`Session`].

mod decoder;
mod error;
mod frame;
mod kind;
mod output;
mod packet;
mod packet_id;
mod properties;
mod reason;
mod server;
mod session;
mod text;
mod topic;
mod version;
mod wire;

pub use decoder::{Decoder, Role};
pub use error::{DecodeError, EncodeError, Violation};
pub use frame::Frame;
pub use output::{Output, SHARE_FROM};
pub use packet::{
    Ack, Auth, ConnAck, Connect, Delivery, Disconnect, Kind, Packet, PacketId, Publish, Qos, RetainHandling,
    Secret, SubAck, Subscribe, SubscribeOptions, Subscription, UnsubAck, Unsubscribe, Will,
};
pub use properties::{Place, Properties, PropertiesBuf, Property};
pub use reason::ReasonCode;
pub use server::{Accept, Cause, Closed, Connection, Event, Limits, Outgoing, Peer, Receipt, Sent};
pub use session::{InFlight, Session, Stage};
pub use text::Text;
pub use topic::{Shared, check_filter, check_topic, split_shared};
pub use version::Version;
