//! What CONNACK tells a client besides limits.

use std::num::NonZeroU16;

use dovetail_mqtt_proto::{Properties, Text, check_topic};

use crate::Options;

/// What a client that is accepted is told.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// The keep-alive in seconds that holds instead of the client's `[MQTT-3.2.2-21]`.
    pub(crate) keep_alive: Option<u16>,
    /// Below which topics it may expect answers (§3.2.2.3.15).
    pub(crate) response_information: Option<Text>,
}

impl Terms {
    /// The terms for a client that is known as `client_id` and connects with this keep-alive and these properties.
    pub(crate) fn of(options: &Options, keep_alive: u16, properties: &Properties, client_id: &str) -> Self {
        let asks = properties.request_response_information() == Some(true);
        let topics = options.response_topics.as_deref().filter(|_| asks);
        Self {
            keep_alive: options.keep_alive.and_then(|longest| shortened(keep_alive, longest)),
            response_information: topics.and_then(|topics| below(topics, client_id)),
        }
    }
}

/// The keep-alive that the client has to have instead of its own, where that is longer or none.
fn shortened(wanted: u16, longest: NonZeroU16) -> Option<u16> {
    (wanted == 0 || wanted > longest.get()).then_some(longest.get())
}

/// The client's own topics; none for a client whose id can be no part of one.
fn below(topics: &str, client_id: &str) -> Option<Text> {
    let topic = format!("{topics}/{client_id}");
    check_topic(&topic).ok()?;
    Text::new(&topic).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keep_alive_is_only_ever_shortened() {
        let longest = NonZeroU16::MIN.saturating_add(59);
        let table = [(0, Some(60)), (1, None), (60, None), (61, Some(60)), (u16::MAX, Some(60))];
        for (wanted, expected) in table {
            assert_eq!(shortened(wanted, longest), expected, "{wanted}");
        }
    }

    #[test]
    fn answers_go_below_the_client_id_if_it_can_be_part_of_a_topic() {
        let topic = below("reply", "a/b 7");
        assert_eq!(topic.as_ref().map(Text::as_str), Some("reply/a/b 7"));
        assert_eq!(below("reply", "a+"), None);
        assert_eq!(below("reply", "#"), None);
    }
}
