//! How surely messages are delivered: what the publisher said and what the subscriber was granted.

use dovetail_model::Qos as Published;
use dovetail_mqtt_proto::Qos;

/// The `QoS` of a PUBLISH, as it is kept with what was published.
pub(crate) fn published(qos: Qos) -> Published {
    match qos {
        Qos::AtMostOnce => Published::AtMostOnce,
        Qos::AtLeastOnce => Published::AtLeastOnce,
        Qos::ExactlyOnce => Published::ExactlyOnce,
    }
}

/// The `QoS` with which something goes to a subscription that was granted `granted`: the lower of the two
/// `[MQTT-3.8.4-8]`.
pub(crate) fn delivered(published: Published, granted: Qos) -> Qos {
    let published = match published {
        Published::ExactlyOnce => Qos::ExactlyOnce,
        Published::AtLeastOnce => Qos::AtLeastOnce,
        Published::AtMostOnce => Qos::AtMostOnce,
    };
    published.min(granted)
}
