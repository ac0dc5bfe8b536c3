//! The will: what is published for a client that went away without a word.
//!
//! A will is stored before CONNACK, so that it is published even if the server goes first. It is published in the commit
//! that deletes it there: once, or never. Its delay counts from the end of the connection, and the end of the session ends it
//! `[MQTT-3.1.3-9]`.

use dovetail_auth::Principal;
use dovetail_engine::{PublisherId, Write};
use dovetail_mqtt_proto::{Delivery, PacketId, Publish, Qos, Will};

use crate::Local;
use crate::answer::{Refusal, of_denied};
use crate::publish::{Request, event_to_write, to_request};

/// Whether the will could be published now.
///
/// # Errors
/// Why not.
pub(crate) fn check(local: &Local, principal: &Principal, will: &Will) -> Result<(), Refusal> {
    let policy = local.shard.policy();
    let request = to_request(&message(will), PublisherId(0), local.shared.options.payload_bytes)?;
    match request {
        Request::Write(write) => policy.authorize(principal, write).map(drop),
        Request::Event(event) => policy.authorize(principal, event).map(drop),
    }
    .map_err(|denied| of_denied(&denied))
}

/// The write that publishes a will: exactly once, so an event is kept like a change.
///
/// # Errors
/// Why it cannot be published.
pub(crate) fn to_write(local: &Local, will: &Will, publisher: PublisherId) -> Result<Write, Refusal> {
    match to_request(&message(will), publisher, local.shared.options.payload_bytes)? {
        Request::Write(write) => Ok(write),
        Request::Event(event) => Ok(event_to_write(event)),
    }
}

/// The message that the will is.
fn message(will: &Will) -> Publish {
    Publish {
        dup: false,
        retain: will.retain,
        delivery: match will.qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            Qos::AtLeastOnce => Delivery::AtLeastOnce(PacketId::FIRST),
            Qos::ExactlyOnce => Delivery::ExactlyOnce(PacketId::FIRST),
        },
        topic: will.topic.clone(),
        properties: will.properties.clone(),
        payload: will.payload.clone(),
    }
}
