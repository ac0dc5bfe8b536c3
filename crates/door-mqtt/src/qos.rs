//! How surely messages are delivered: what the publisher said and what the subscriber was granted.

use dovetail_model::{Qos as Published, Representation};
use dovetail_mqtt_proto::Qos;

/// The `QoS` of a PUBLISH, as it is kept with what was published.
pub(crate) fn published(qos: Qos) -> Published {
    match qos {
        Qos::AtMostOnce => Published::AtMostOnce,
        Qos::AtLeastOnce => Published::AtLeastOnce,
        Qos::ExactlyOnce => Published::ExactlyOnce,
    }
}

/// The `QoS` with which `contents` go to a subscription that was granted `granted`: the lower of the two
/// `[MQTT-3.8.4-8]`. A delete says nothing of its own.
pub(crate) fn delivered(contents: Option<&Representation>, granted: Qos) -> Qos {
    let published = match contents.map(|contents| contents.qos) {
        None | Some(Published::ExactlyOnce) => Qos::ExactlyOnce,
        Some(Published::AtLeastOnce) => Qos::AtLeastOnce,
        Some(Published::AtMostOnce) => Qos::AtMostOnce,
    };
    published.min(granted)
}
