//! The will: what is published for a client that went away without a word.
//!
//! Sessions end with their connection, so a will delay ends at once too and the will is published when the connection ends
//! (§3.1.3.2.2). It takes the way of every other message, rights included.

use dovetail_auth::Principal;
use dovetail_engine::PublisherId;
use dovetail_mqtt_proto::{Delivery, PacketId, Publish, Qos, Will};

use crate::Local;
use crate::answer::{Outcome, Refusal, of_denied, of_write_error};
use crate::counters::count;
use crate::publish::{Request, to_request};
use crate::writes::Writes;

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

/// Waits for what the client itself has written, then publishes its will.
pub(crate) async fn finish(local: &Local, principal: &Principal, writes: Writes, will: Option<Will>) {
    let publisher = writes.publisher;
    writes.finish(&local.shard).await;
    let Some(will) = will else { return };
    match publish(local, principal, publisher, &will).await {
        Ok(()) => count(&local.shared.counters.wills),
        Err(refusal) => {
            count(&local.shared.counters.writes_refused);
            tracing::warn!(topic = will.topic.as_str(), reason = %refusal.reason, refusal.text, "a will is not published");
        }
    }
}

async fn publish(
    local: &Local,
    principal: &Principal,
    publisher: PublisherId,
    will: &Will,
) -> Result<(), Refusal> {
    let policy = local.shard.policy();
    match to_request(&message(will), publisher, local.shared.options.payload_bytes)? {
        Request::Write(write) => {
            let write = policy.authorize(principal, write).map_err(|denied| of_denied(&denied))?;
            local.shard.submit(write).await.map(drop).map_err(|error| match of_write_error(&error) {
                Outcome::Refused(refusal) => refusal,
                Outcome::Unknown(text) => {
                    Refusal::new(dovetail_mqtt_proto::ReasonCode::UnspecifiedError, text)
                }
            })
        }
        Request::Event(event) => {
            let event = policy.authorize(principal, event).map_err(|denied| of_denied(&denied))?;
            local.shard.publish(event).await;
            Ok(())
        }
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
