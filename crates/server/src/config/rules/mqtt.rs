//! The settings of MQTT.

use std::num::NonZeroU16;
use std::time::Duration;

use dovetail_door_mqtt::{Options, PublishRate};
use dovetail_model::{Topic, limits};

use super::super::sources::Written;
use super::{Judge, describe};

/// Messages a second, at most.
const RATE: u64 = 1_000_000;
/// Timers are no finer than this part of a second. A burst must last that long, or the rate is not reached.
const TICKS: u64 = 1_000;
/// Sessions that the memory of no machine should be asked for.
const SESSIONS: u64 = 100_000_000;
/// The longest keep-alive that CONNACK can say, in seconds.
const KEEP_ALIVE: u64 = u16::MAX as u64;

impl Judge<'_> {
    pub(super) fn mqtt(&mut self, mqtt: &mut Options) {
        self.keep_alive(mqtt);
        self.publish_rate(mqtt);
        self.response_topics(mqtt);
        self.duration("mqtt.sys_interval", &mut mqtt.sys_interval);
        self.duration("mqtt.session_expiry", &mut mqtt.session_expiry);
        if let Some(sessions) = self.number("mqtt.sessions", 0, SESSIONS) {
            mqtt.sessions = sessions as usize;
        }
    }

    fn keep_alive(&mut self, mqtt: &mut Options) {
        let Some((written, origin)) = self.said.get("mqtt.keep_alive").cloned() else {
            self.known.push("mqtt.keep_alive");
            return;
        };
        let mut longest = Duration::ZERO;
        let before = self.problems.len();
        self.duration("mqtt.keep_alive", &mut longest);
        match u16::try_from(longest.as_secs()).ok().and_then(NonZeroU16::new) {
            Some(seconds) => mqtt.keep_alive = Some(seconds),
            None if self.problems.len() > before => {}
            None => {
                let said = describe(&written);
                self.problem(
                    origin,
                    format!("`mqtt.keep_alive` is from \"1s\" to \"{KEEP_ALIVE}s\", not {said}"),
                );
            }
        }
    }

    fn publish_rate(&mut self, mqtt: &mut Options) {
        let burst_origin = self.said.get("mqtt.publish_burst").map(|(_, origin)| origin.clone());
        let has_rate = self.said.contains_key("mqtt.publish_rate");
        let rate = self.number("mqtt.publish_rate", 1, RATE);
        let burst = self.number("mqtt.publish_burst", 1, RATE);
        let least = rate.map_or(1, |rate| rate.div_ceil(TICKS));
        match (burst, burst_origin) {
            (Some(_), Some(origin)) if !has_rate => {
                let message = "`mqtt.publish_burst` means nothing without `mqtt.publish_rate`";
                self.problem(origin, message.to_owned());
            }
            (Some(burst), Some(origin)) if burst < least => {
                self.problem(origin, format!("`mqtt.publish_burst` is at least {least} at this rate"));
            }
            _ => {}
        }
        if let Some(rate) = rate {
            mqtt.publish_rate = PublishRate::new(rate as u32, burst.unwrap_or(rate) as u32);
        }
    }

    fn response_topics(&mut self, mqtt: &mut Options) {
        const KEY: &str = "mqtt.response_topics";
        let Some((written, origin)) = self.take(KEY) else { return };
        match written {
            Written::Text(text) if text.is_empty() => mqtt.response_topics = None,
            Written::Text(text) if is_for_clients(&text) => mqtt.response_topics = Some(text.into()),
            other => {
                let said = describe(&other);
                let message = format!(
                    "`{KEY}` is a topic that clients may publish to, without `/` at its end, or \"\" for none, not {said}"
                );
                self.problem(origin, message);
            }
        }
    }
}

/// Whether clients may publish below a topic, with a client id after it.
fn is_for_clients(text: &str) -> bool {
    let has_room = text.len() + 1 + limits::CLIENT_ID_BYTES <= limits::TOPIC_BYTES;
    let is_whole = !text.starts_with('/') && !text.ends_with('/');
    let first = text.split('/').next().unwrap_or_default();
    has_room && is_whole && first != "-" && Topic::new(text).is_ok_and(|topic| !topic.is_reserved())
}
