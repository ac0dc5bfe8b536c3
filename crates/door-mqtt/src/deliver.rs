//! Items of the feeds to messages of the client.
//!
//! An item is taken when its message can be sent: the socket takes bytes, and with `QoS` 1 and 2 the client takes
//! messages. What cannot be told to its end waits as the one stalled item of the connection.

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use dovetail_engine::{Delivery, FeedId, Form, Item, Read};
use dovetail_model::{Change, Resource};
use dovetail_mqtt_proto::{Connection, Outgoing, Qos, ReasonCode, Sent};

use crate::counters::count;
use crate::expiry::{Left, Lifespan};
use crate::feeds::Subscription;
use crate::kept::{Kept, Origin};
use crate::record::{What, digest};
use crate::sending::{Encoded, Told, count_sent, end};
use crate::serving::Serving;
use crate::tracked::Kind;
use crate::{encode, qos, tracked};

/// How the telling of one item ended.
enum Telling {
    Done,
    /// The client takes no more messages; so many parts of the item are told.
    Stalled(usize),
}

impl Serving {
    /// Takes items until the output holds `limit` bytes, there are none, or the client takes none.
    pub(crate) fn deliver(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
        limit: usize,
    ) -> Told {
        if self.deliver_sys(connection, cx, limit) == Told::Enough
            || self.deliver_shared(connection, cx, limit) == Told::Enough
        {
            return Told::Enough;
        }
        loop {
            if connection.output().len() >= limit {
                return Told::Enough;
            }
            if !self.tell_again(connection, limit) {
                return Told::Everything;
            }
            let (feed, item, told) = match self.feeds.stalled.take() {
                Some(stalled) => *stalled,
                None => match self.feeds.subscriber.poll_next(cx) {
                    Poll::Ready((feed, item)) => (feed, item, 0),
                    Poll::Pending => return Told::Everything,
                },
            };
            match self.tell(connection, feed, &item, told) {
                Telling::Done => {}
                Telling::Stalled(told) => {
                    self.feeds.stalled = Some(Box::new((feed, item, told)));
                    return Told::Everything;
                }
            }
        }
    }

    /// Says how far silent tracked subscriptions are, when it is time. When it is time next.
    pub(crate) fn keep_time(&mut self, connection: &mut Connection, now: Instant) -> Option<Instant> {
        let due = self.feeds.next_progress?;
        if now < due {
            return Some(due);
        }
        let next = now + self.local.shared.options.progress;
        self.feeds.next_progress = Some(next);
        let indices: Vec<_> = self.feeds.tracked().collect();
        for index in indices {
            let Some(subscription) = self.feeds.get(index) else { continue };
            let feed = subscription.feed;
            let can_send = subscription.options.qos == Qos::AtMostOnce || connection.window() > 0;
            // Its progress is only asked for when it can be told: asking moves the feed.
            if std::mem::take(&mut subscription.spoke) || !can_send || self.feeds.stalled.is_some() {
                continue;
            }
            if let Some(item) = self.feeds.subscriber.progress(feed)
                && let Telling::Stalled(told) = self.tell(connection, feed, &item, 0)
            {
                self.feeds.stalled = Some(Box::new((feed, item, told)));
            }
        }
        Some(next)
    }

    fn tell(&mut self, connection: &mut Connection, feed: FeedId, item: &Item, told: usize) -> Telling {
        let Some(index) = self.feeds.index_of(feed) else { return Telling::Done };
        let Some(subscription) = self.feeds.get(index) else { return Telling::Done };
        subscription.spoke = true;
        let told = subscription.told_before(feed, item).map_or(told, |before| told.max(before));
        let kind = subscription.kind;
        if matches!(item, Item::Reset { .. }) && self.is_broken(index) {
            connection
                .disconnect(ReasonCode::QuotaExceeded, "history is not kept back to the client's position");
            return Telling::Done;
        }
        if let Item::End(reason) = item {
            let (reason, text) = end(*reason);
            connection.disconnect(reason, text);
            return Telling::Done;
        }
        let telling = match kind {
            Kind::Frames => self.tell_frame(connection, index, item),
            Kind::Plain | Kind::Tracked => match item {
                Item::Change(delivery) => self.tell_changes(connection, index, delivery, told),
                Item::Resource(resource) => {
                    let frame = encode::contents(self.version, resource);
                    let is_refresh = self.feeds.is_refresh(index, feed);
                    if is_refresh && !self.is_current(resource) {
                        // The feed that goes on beside this one tells what is newer, or has told it already.
                        return Telling::Done;
                    }
                    self.tell_resource(connection, index, &frame, resource, is_refresh)
                }
                _ => self.tell_control(connection, index, item),
            },
        };
        if let Telling::Done = &telling {
            self.feeds.told(index, feed, item);
            if let Item::BaselineEnd(_) = item {
                self.feeds.baseline_told(index, feed);
            }
            if let Some(kept) = self.kept.as_deref_mut() {
                kept.moved();
            }
        }
        telling
    }

    fn tell_changes(
        &mut self,
        connection: &mut Connection,
        index: usize,
        delivery: &Delivery,
        told: usize,
    ) -> Telling {
        let version = self.version;
        let form = if version.is_v5() { Form::Mqtt5 } else { Form::Mqtt3 };
        let now = delivery
            .changes()
            .any(|change| Lifespan::of_change(change).is_some())
            .then(|| self.local.shard.now());
        let left = |change: &Change| Left::of(Lifespan::of_change(change), now);
        let mut more = delivery.changes().skip(told).filter(|change| left(change) != Left::Nothing).count();
        // The last message of a revision, which has no `more`, tells a tracked client that it is told.
        let mut is_closed = false;
        for (at, (change, forms)) in delivery.changes_with_forms().enumerate().skip(told) {
            let left = left(change);
            if left == Left::Nothing {
                count(&self.local.shared.counters.expired);
                continue;
            }
            more -= 1;
            let encode = || encode::change(version, change);
            let own;
            let bytes = if let Some(forms) = forms {
                forms.get(form, encode)
            } else {
                own = encode();
                &own
            };
            let mut scratch = self.local.scratch.take();
            scratch.clear();
            let Some(subscription) = self.feeds.get(index) else { return Telling::Done };
            let extra = match subscription.kind {
                Kind::Tracked => {
                    scratch.clone_from(&subscription.identifier);
                    tracked::position(&mut scratch, delivery, change, more);
                    &scratch
                }
                Kind::Plain | Kind::Frames => &subscription.identifier,
            };
            let retain = subscription.options.retain_as_published && !matches!(change, Change::Event(_));
            let qos = qos::delivered(change.qos(), subscription.options.qos);
            let outgoing = Outgoing { qos, retain, extra: extra.as_bytes(), tag: 0 };
            let number = subscription.number;
            let sent =
                send_kept(connection, &Encoded { version, bytes, left }, &outgoing, &mut self.kept, || {
                    // An event that was not kept moves no position.
                    let is_kept = delivery.after != delivery.rev;
                    let digest = digest(change.topic());
                    let what =
                        What::Change { after: delivery.after.number, rev: delivery.rev.number, digest };
                    Origin { subscription: number, what: if is_kept { what } else { What::Nowhere } }
                });
            self.local.scratch.set(scratch);
            if !self.is_done(sent) {
                return Telling::Stalled(at);
            }
            is_closed = more == 0;
        }
        if is_closed { Telling::Done } else { self.close_revision(connection, index, delivery) }
    }

    /// Tells a tracked client that a revision is told to its end when the last message of it, which would have said so, was
    /// not worth telling any more.
    fn close_revision(&mut self, connection: &mut Connection, index: usize, delivery: &Delivery) -> Telling {
        let Delivery { after, rev, .. } = *delivery;
        if after == rev {
            return Telling::Done;
        }
        match self.tell_control(connection, index, &Item::Progress { after, rev }) {
            Telling::Done => Telling::Done,
            Telling::Stalled(_) => Telling::Stalled(delivery.len()),
        }
    }

    fn tell_resource(
        &mut self,
        connection: &mut Connection,
        index: usize,
        frame: &Bytes,
        resource: &Resource,
        is_refresh: bool,
    ) -> Telling {
        let version = self.version;
        let left = Left::now(Lifespan::of_resource(resource), &self.local.shard);
        if left == Left::Nothing {
            count(&self.local.shared.counters.expired);
            return Telling::Done;
        }
        let rev = self.local.shard.head().epoch.at(resource.revision);
        let mut scratch = self.local.scratch.take();
        let Some(subscription) = self.feeds.get(index) else { return Telling::Done };
        scratch.clone_from(&subscription.identifier);
        if subscription.kind == Kind::Tracked {
            tracked::resource(&mut scratch, rev, resource.modified_at);
        }
        let retain = is_refresh || subscription.is_first_baseline || subscription.options.retain_as_published;
        let qos = qos::delivered(resource.representation.qos, subscription.options.qos);
        let outgoing = Outgoing { qos, retain, extra: scratch.as_bytes(), tag: 0 };
        let number = subscription.number;
        let sent = send_kept(
            connection,
            &Encoded { version, bytes: frame, left },
            &outgoing,
            &mut self.kept,
            || Origin {
                subscription: number,
                what: What::Resource { rev: resource.revision, topic: resource.topic.clone() },
            },
        );
        self.local.scratch.set(scratch);
        if self.is_done(sent) { Telling::Done } else { Telling::Stalled(0) }
    }

    /// Control messages are for tracked subscriptions only.
    fn tell_control(&mut self, connection: &mut Connection, index: usize, item: &Item) -> Telling {
        let version = self.version;
        let Some(subscription) = self.feeds.get(index) else { return Telling::Done };
        if subscription.kind != Kind::Tracked {
            return Telling::Done;
        }
        let Some((topic, payload)) = tracked::control(item, &subscription.filter) else {
            return Telling::Done;
        };
        let bytes = encode::json(version, topic, &payload);
        let message = Encoded { version, bytes: &bytes, left: Left::Everything };
        let number = subscription.number;
        let sent = send_kept(connection, &message, &of_the_server(subscription), &mut self.kept, || Origin {
            subscription: number,
            what: found_by(item),
        });
        if self.is_done(sent) { Telling::Done } else { Telling::Stalled(0) }
    }

    fn tell_frame(&mut self, connection: &mut Connection, index: usize, item: &Item) -> Telling {
        let (version, head) = (self.version, self.local.shard.head());
        let Some(subscription) = self.feeds.get(index) else { return Telling::Done };
        let Some((topic, payload)) = tracked::frame(item, head) else { return Telling::Done };
        let bytes = encode::json(version, &topic, &payload);
        let message = Encoded { version, bytes: &bytes, left: Left::Everything };
        let number = subscription.number;
        let sent = send_kept(connection, &message, &of_the_server(subscription), &mut self.kept, || Origin {
            subscription: number,
            what: found_by(item),
        });
        if self.is_done(sent) { Telling::Done } else { Telling::Stalled(0) }
    }

    /// Whether a resource is still what it was.
    fn is_current(&self, resource: &Resource) -> bool {
        let shard = &self.local.shard;
        let read = shard.policy().authorize(&self.principal, Read::Resource(resource.topic.clone()));
        let view = read.map(|read| shard.read(read));
        view.is_ok_and(|view| view.resource().is_some_and(|now| now.revision == resource.revision))
    }

    /// Whether a message needs nothing more.
    fn is_done(&self, sent: Sent) -> bool {
        count_sent(&self.local.traffic, sent);
        if sent == Sent::TooLarge {
            // For the protocol it counts as delivered [MQTT-3.1.2-25]; a tracked client sees the gap.
            count(&self.local.shared.counters.too_large);
        }
        // What comes as the connection ends is told by the next one of the session.
        !matches!(sent, Sent::WindowFull | Sent::NotConnected)
    }
}

/// A message that no client published.
fn of_the_server(subscription: &Subscription) -> Outgoing<'_> {
    Outgoing {
        qos: subscription.options.qos,
        retain: false,
        extra: subscription.identifier.as_bytes(),
        tag: 0,
    }
}

/// As [`send`], for a session that may outlive the connection: what is in flight is kept.
#[inline]
fn send_kept(
    connection: &mut Connection,
    message: &Encoded<'_>,
    outgoing: &Outgoing<'_>,
    kept: &mut Option<Box<Kept>>,
    origin: impl FnOnce() -> Origin,
) -> Sent {
    match (message.frame(), kept) {
        (Some(frame), None) => connection.send(&frame, outgoing),
        (Some(frame), Some(kept)) => kept.send(connection, &frame, outgoing, origin),
        (None, _) => Sent::TooLarge,
    }
}

/// By what an item is found again that is one message.
fn found_by(item: &Item) -> What {
    match item {
        Item::BaselineBegin(rev) => What::Begin(rev.number),
        Item::Resource(resource) => What::Resource { rev: resource.revision, topic: resource.topic.clone() },
        Item::BaselineEnd(rev) => What::Synced(rev.number),
        Item::Change(Delivery { after, rev, .. }) if after != rev => {
            What::Change { after: after.number, rev: rev.number, digest: 0 }
        }
        Item::Progress { after, rev } => What::Progress { after: after.number, rev: rev.number },
        Item::Change(_) | Item::Reset { .. } | Item::End(_) => What::Nowhere,
    }
}
