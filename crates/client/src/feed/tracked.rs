//! Messages of a tracked subscription, put together to frames.
//!
//! The user properties of the server stand before those of the message: `rev`, in changes `after`, `op`, and on
//! the messages of one commit but the last `more`. What the whole feed says comes below `$feed/`, in JSON.
//! The server says when a resource was changed; where an older one does not, the time of arrival stands for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use dovetail_api::decode::{Entry, Frame};
use dovetail_model::{
    Change, DeleteCause, Epoch, Event, Metadata, Qos, Representation, Resource, Revision, Tombstone, Topic,
    UnixMillis,
};
use dovetail_mqtt_proto::Publish;

use super::Start;
use crate::error::Error;

/// Turns messages into frames: baselines and commits are frames only when they are complete.
#[derive(Debug)]
pub(crate) struct Tracked {
    /// The resources of the baseline that is arriving.
    baseline: Option<Vec<(Epoch, Arc<Resource>)>>,
    commit: Option<Commit>,
    ready: VecDeque<Frame>,
}

/// A commit that is arriving.
#[derive(Debug)]
struct Commit {
    after: Revision,
    rev: Revision,
    changes: Vec<Entry>,
}

/// What the server says about a message.
struct Marks<'a> {
    rev: Revision,
    after: Option<Revision>,
    more: bool,
    op: &'a str,
    /// When it was done, in milliseconds since 1970.
    at: Option<UnixMillis>,
    /// The message's own user properties.
    own: Vec<(Box<str>, Box<str>)>,
}

impl Tracked {
    pub(crate) fn new(start: Start) -> Self {
        let baseline = (start == Start::Baseline).then(Vec::new);
        Self { baseline, commit: None, ready: VecDeque::new() }
    }

    /// The next complete frame.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        self.ready.pop_front()
    }

    /// Takes a message in.
    ///
    /// # Errors
    /// If it is not what a tracked subscription says.
    pub(crate) fn take(&mut self, message: &Publish) -> Result<(), Error> {
        match message.topic.as_str().strip_prefix("$feed/") {
            Some(control) => self.take_control(control, &message.payload),
            None => self.take_contents(message),
        }
    }

    fn take_control(&mut self, name: &str, payload: &[u8]) -> Result<(), Error> {
        let said: serde_json::Value =
            serde_json::from_slice(payload).map_err(|_| Error::BadField("$feed"))?;
        let revision = |member: &'static str| {
            let token = said.get(member).and_then(serde_json::Value::as_str);
            token.and_then(|token| token.parse::<Revision>().ok()).ok_or(Error::BadField(member))
        };
        match name {
            "sync" => {
                let rev = revision("rev")?;
                let items = self.baseline.take().ok_or(Error::Broken("the end of another baseline"))?;
                let frames = items.into_iter().map(|(epoch, resource)| Frame::Item { epoch, resource });
                self.ready.push_back(Frame::BaselineBegin { rev });
                self.ready.extend(frames);
                self.ready.push_back(Frame::BaselineEnd { rev });
            }
            "progress" => {
                self.ready.push_back(Frame::Progress { after: revision("after")?, rev: revision("rev")? });
            }
            "reset" => {
                let reason = said.get("reason").and_then(serde_json::Value::as_str).unwrap_or_default();
                self.ready.push_back(Frame::Reset { rev: revision("rev")?, reason: reason.into() });
                self.baseline = Some(Vec::new());
                self.commit = None;
            }
            // A later server may say more than this client knows.
            _ => {}
        }
        Ok(())
    }

    fn take_contents(&mut self, message: &Publish) -> Result<(), Error> {
        let marks = Marks::read(message)?;
        let topic = Topic::new(message.topic.as_str()).map_err(|_| Error::BadField("topic"))?;
        let arrived_at = now();
        let expires_at =
            message.properties.message_expiry().map(|left_s| arrived_at + u64::from(left_s) * 1_000);
        let representation = representation(message, marks.own)?;
        let resource = |topic| Resource {
            topic,
            revision: marks.rev.number,
            modified_at: marks.at.unwrap_or(arrived_at),
            expires_at,
            representation: representation.clone(),
        };
        let Some(after) = marks.after else {
            let baseline = self.baseline.as_mut().ok_or(Error::Broken("a resource outside a baseline"))?;
            baseline.push((marks.rev.epoch, Arc::new(resource(topic))));
            return Ok(());
        };
        let number = marks.rev.number;
        let change = match marks.op {
            "put" => Change::Put(Arc::new(resource(topic))),
            "delete" => Change::Delete(Arc::new(Tombstone {
                topic,
                revision: number,
                deleted_at: marks.at.unwrap_or(arrived_at),
                cause: DeleteCause::Request,
                qos: Qos::default(),
            })),
            "event" => {
                let published_at = marks.at.unwrap_or(arrived_at);
                Change::Event(Arc::new(Event { topic, published_at, expires_at, representation }))
            }
            _ => return Err(Error::BadField("op")),
        };
        self.take_change(after, marks.rev, Entry { number, change }, marks.more)
    }

    fn take_change(&mut self, after: Revision, rev: Revision, entry: Entry, more: bool) -> Result<(), Error> {
        let mut commit = self.commit.take().unwrap_or(Commit { after, rev, changes: Vec::new() });
        if (commit.after, commit.rev) != (after, rev) {
            return Err(Error::Broken("a commit without its end"));
        }
        commit.changes.push(entry);
        if more {
            self.commit = Some(commit);
        } else {
            self.ready.push_back(Frame::Change { after, rev, changes: commit.changes });
        }
        Ok(())
    }
}

impl<'a> Marks<'a> {
    fn read(message: &'a Publish) -> Result<Self, Error> {
        let mut properties = message.properties.user().peekable();
        let mut marked =
            |name: &'static str| properties.next_if(|(said, _)| *said == name).map(|(_, value)| value);
        let revision = |text: &str, name| text.parse().map_err(|_| Error::BadField(name));
        let rev = revision(marked("rev").ok_or(Error::BadField("rev"))?, "rev")?;
        let after = marked("after").map(|text| revision(text, "after")).transpose()?;
        let more = after.is_some() && marked("more").is_some();
        let op = marked("op").ok_or(Error::BadField("op"))?;
        let at = marked("at").map(|text| text.parse().map_err(|_| Error::BadField("at"))).transpose()?;
        let own = properties.map(|(name, value)| (name.into(), value.into())).collect();
        Ok(Self { rev, after, more, op, at, own })
    }
}

fn representation(
    message: &Publish,
    user_properties: Vec<(Box<str>, Box<str>)>,
) -> Result<Representation, Error> {
    let properties = &message.properties;
    let response_topic = properties.response_topic().map(Topic::new).transpose();
    let metadata = Metadata {
        is_text: properties.payload_format().unwrap_or_default(),
        response_topic: response_topic.map_err(|_| Error::BadField("response topic"))?,
        correlation_data: properties.correlation_data().map(Bytes::copy_from_slice),
        user_properties,
    };
    Ok(Representation {
        // The message shares its packet, which the copy must not keep alive.
        payload: Bytes::copy_from_slice(&message.payload),
        content_type: properties.content_type().map(Into::into),
        metadata: (!metadata.is_empty()).then(|| Arc::new(metadata)),
        ..Representation::default()
    })
}

fn now() -> UnixMillis {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use dovetail_mqtt_proto::{Delivery, PropertiesBuf, Property, Text};

    use super::*;

    fn message(topic: &str, user: &[(&str, &str)], payload: &str) -> Publish {
        let mut properties = PropertiesBuf::new();
        for (name, value) in user {
            properties.push(Property::User(name, value)).unwrap();
        }
        Publish {
            dup: false,
            retain: false,
            delivery: Delivery::AtMostOnce,
            topic: Text::new(topic).unwrap(),
            properties: properties.into(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
        }
    }

    fn at(number: u64) -> Revision {
        Epoch::from_random(7).at(number)
    }

    /// What the messages come to, in short.
    fn told(tracked: &mut Tracked) -> Vec<String> {
        std::iter::from_fn(|| tracked.next())
            .map(|frame| match frame {
                Frame::BaselineBegin { rev } => format!("begin {}", rev.number),
                Frame::Item { resource, .. } => format!("item {} {}", resource.topic, resource.revision),
                Frame::BaselineEnd { rev } => format!("end {}", rev.number),
                Frame::Progress { after, rev } => format!("progress {} {}", after.number, rev.number),
                Frame::Reset { rev, reason } => format!("reset {} {reason}", rev.number),
                Frame::End { reason } => format!("end {reason}"),
                Frame::Change { after, rev, changes } => {
                    let names: Vec<_> = changes.iter().map(|e| e.change.topic().as_str()).collect();
                    format!("change {} {} {}", after.number, rev.number, names.join(" "))
                }
            })
            .collect()
    }

    #[test]
    fn a_whole_conversation() {
        let (r3, r5, r6, r8) = (at(3).to_string(), at(5).to_string(), at(6).to_string(), at(8).to_string());
        let mut tracked = Tracked::new(Start::Baseline);
        tracked.take(&message("a", &[("rev", &r3), ("op", "put")], "1")).unwrap();
        assert_eq!(told(&mut tracked), [""; 0], "a baseline is told when it is complete");
        let sync = format!("{{\"filter\":\"#\",\"rev\":\"{r5}\"}}");
        tracked.take(&message("$feed/sync", &[], &sync)).unwrap();
        assert_eq!(told(&mut tracked), ["begin 5", "item a 3", "end 5"]);

        let first = [("rev", &*r6), ("after", &r5), ("more", "1"), ("op", "put"), ("at", "7"), ("own", "x")];
        tracked.take(&message("a", &first, "2")).unwrap();
        assert_eq!(told(&mut tracked), [""; 0], "a commit is told when it is complete");
        tracked.take(&message("b", &[("rev", &r6), ("after", &r5), ("op", "delete")], "")).unwrap();
        assert_eq!(told(&mut tracked), ["change 5 6 a b"]);

        let progress = format!("{{\"filter\":\"#\",\"after\":\"{r6}\",\"rev\":\"{r8}\"}}");
        tracked.take(&message("$feed/progress", &[], &progress)).unwrap();
        tracked.take(&message("$feed/news", &[], "{}")).unwrap();
        let reset = format!("{{\"filter\":\"#\",\"reason\":\"expired\",\"rev\":\"{r8}\"}}");
        tracked.take(&message("$feed/reset", &[], &reset)).unwrap();
        tracked.take(&message("$feed/sync", &[], &format!("{{\"rev\":\"{r8}\"}}"))).unwrap();
        assert_eq!(told(&mut tracked), ["progress 6 8", "reset 8 expired", "begin 8", "end 8"]);
    }

    #[test]
    fn the_messages_own_properties_stay() {
        let (r5, r6) = (at(5).to_string(), at(6).to_string());
        let user = [
            ("rev", &*r6),
            ("after", &r5),
            ("op", "event"),
            ("at", "7"),
            ("rev", "mine"),
            ("op", "mine"),
            ("more", "mine"),
        ];
        let mut tracked = Tracked::new(Start::After(at(5)));
        tracked.take(&message("a", &user, "2")).unwrap();
        let Some(Frame::Change { changes, .. }) = tracked.next() else { panic!("no change") };
        let Change::Event(event) = &changes[0].change else { panic!("no event") };
        assert_eq!(event.published_at, 7, "the server says when it was");
        let metadata = changes[0].change.representation().unwrap().metadata.clone().unwrap();
        assert_eq!(
            metadata.user_properties,
            [("rev".into(), "mine".into()), ("op".into(), "mine".into()), ("more".into(), "mine".into())]
        );
    }

    #[test]
    fn what_does_not_belong_is_refused() {
        let (r5, r6, r7) = (at(5).to_string(), at(6).to_string(), at(7).to_string());
        let live = || Tracked::new(Start::After(at(5)));
        assert!(live().take(&message("a", &[], "1")).is_err(), "an untracked message");
        assert!(live().take(&message("a", &[("rev", &r5), ("op", "put")], "1")).is_err(), "no baseline");
        assert!(live().take(&message("$feed/sync", &[], &format!("{{\"rev\":\"{r5}\"}}"))).is_err());
        let odd = [("rev", &*r6), ("after", &r5), ("op", "patch")];
        assert!(live().take(&message("a", &odd, "1")).is_err(), "an unknown operation");
        let mut tracked = live();
        tracked
            .take(&message("a", &[("rev", &r6), ("after", &r5), ("more", "1"), ("op", "put")], "1"))
            .unwrap();
        assert!(tracked.take(&message("b", &[("rev", &r7), ("after", &r6), ("op", "put")], "1")).is_err());
    }
}
