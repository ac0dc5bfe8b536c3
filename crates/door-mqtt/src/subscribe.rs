//! SUBSCRIBE and UNSUBSCRIBE: which feeds a connection has, and how each is told.

use std::time::Instant;

use dovetail_engine::{Events, FeedId, Mode, Start, Subscribe as EngineSubscribe};
use dovetail_model::Filter;
use dovetail_mqtt_proto::{
    Connection, PropertiesBuf, Property, Qos, ReasonCode, RetainHandling, Subscribe, SubscribeOptions,
    Subscription, Unsubscribe, split_shared,
};

use crate::answer::{Refusal, of_denied};
use crate::durable::NewSubscription;
use crate::feeds::Subscription as Told;
use crate::record::Place;
use crate::serving::Serving;
use crate::share::{Shares, Wish};
use crate::sys::{self, SysSubscriptions};
use crate::tracked::{self, FRAMES, Kind};

/// What a SUBSCRIBE says about all its filters.
struct Common {
    /// From where, for tracked subscriptions.
    since: Option<Start>,
    identifier: PropertiesBuf,
}

impl Common {
    fn read(subscribe: &Subscribe) -> Result<Self, Refusal> {
        let mut identifier = PropertiesBuf::new();
        for id in subscribe.properties.subscription_identifiers() {
            // What was read can be written.
            let _ = identifier.push(Property::SubscriptionIdentifier(id));
        }
        Ok(Self { since: tracked::since(&subscribe.properties)?, identifier })
    }
}

impl Serving {
    /// The client asks for subscriptions. Each filter is answered for itself `[MQTT-3.8.4-5]`.
    pub(crate) fn on_subscribe(&mut self, connection: &mut Connection, subscribe: &Subscribe, now: Instant) {
        let common = Common::read(subscribe);
        let mut text = String::new();
        let reasons = subscribe.subscriptions.iter().map(|wanted| {
            let granted = common
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|common| self.subscribe(connection, wanted, common));
            match granted {
                Ok(qos) => granted_code(qos),
                Err(refusal) => {
                    if text.is_empty() {
                        text = refusal.text;
                    }
                    refusal.reason
                }
            }
        });
        let reasons = reasons.collect();
        if self.feeds.tracked().next().is_some() {
            self.feeds.next_progress.get_or_insert(now + self.local.shared.options.progress);
        }
        connection.answer_subscribe(subscribe.id, reasons, &text);
    }

    /// The client gives up subscriptions.
    pub(crate) fn on_unsubscribe(&mut self, connection: &mut Connection, unsubscribe: &Unsubscribe) {
        let reasons = unsubscribe.filters.iter().map(|filter| {
            self.forget_subscription(filter.as_str());
            let existed = self.feeds.remove(filter.as_str())
                || self.shares.as_mut().is_some_and(|shares| shares.remove(filter.as_str()))
                || self.sys.as_mut().is_some_and(|sys| sys.remove(filter.as_str()));
            if existed { ReasonCode::Success } else { ReasonCode::NoSubscriptionExisted }
        });
        connection.answer_unsubscribe(unsubscribe.id, reasons.collect());
    }

    fn subscribe(
        &mut self,
        connection: &Connection,
        wanted: &Subscription,
        common: &Common,
    ) -> Result<Qos, Refusal> {
        let name = wanted.filter.as_str();
        let options = wanted.options;
        self.check_count(name)?;
        if split_shared(name).is_some() {
            if common.since.is_some() {
                let text = "a part of the messages of a group has no position";
                return Err(Refusal::new(ReasonCode::ImplementationSpecificError, text));
            }
            let number = self.keep_placeless(name, options, &common.identifier);
            let wish = Wish { name, options, identifier: &common.identifier, number };
            let joined = self.subscribe_shared(connection, wish);
            if joined.is_err() {
                self.forget_subscription(name);
            }
            return joined.map_err(for_suback);
        }
        if sys::is_sys(name) && !self.local.shared.options.sys_interval.is_zero() {
            self.subscribe_sys(name, options, &common.identifier).map_err(for_suback)?;
            self.keep_placeless(name, options, &common.identifier);
            return Ok(options.qos);
        }
        let kind = match (name.strip_prefix(FRAMES), common.since) {
            (Some(_), _) => Kind::Frames,
            (None, Some(_)) => Kind::Tracked,
            (None, None) => Kind::Plain,
        };
        let existing = self.feeds.find(name);
        if let Some(index) = existing
            && self.keeps_feed(index, kind, options)
        {
            return self.subscribe_again(index, options, common);
        }
        let start = match (common.since, options.retain_handling) {
            (Some(since), _) => since,
            (None, RetainHandling::DoNotSend) => Start::Now,
            (None, RetainHandling::SendIfNew) if existing.is_some() => Start::Now,
            (None, RetainHandling::Send | RetainHandling::SendIfNew) => Start::Baseline,
        };
        let head = self.local.shard.head();
        let slot = self.feeds.slot_of(name);
        let feed = self.open(name, options, start, slot)?;
        // The new feed is there before the old one goes, so that nothing falls between them.
        let identifier = &common.identifier;
        let number =
            self.keep_subscription(&NewSubscription { filter: name, options, identifier, kind, start, head });
        self.forget_subscription(name);
        let place = match start {
            Start::Now => Place::up_to(head.number),
            Start::After(revision) if revision.epoch == head.epoch => Place::up_to(revision.number),
            Start::Baseline => Place::with_state(head.number, kind),
            Start::After(_) => Place::BASELINE,
        };
        self.feeds.put(Told {
            filter: name.into(),
            number,
            place,
            feed,
            refresh: None,
            options,
            identifier: common.identifier.clone(),
            kind,
            is_first_baseline: start != Start::Now,
            spoke: false,
        });
        Ok(options.qos)
    }

    /// Whether there may be another subscription, if this is one.
    fn check_count(&self, name: &str) -> Result<(), Refusal> {
        let exists = self.feeds.find(name).is_some()
            || self.shares.as_ref().is_some_and(|shares| shares.contains(name))
            || self.sys.as_ref().is_some_and(|sys| sys.contains(name));
        let limit = self.local.shared.options.subscriptions;
        if !exists && self.subscriptions().0 >= limit {
            let text = format!("a connection has at most {limit} subscriptions");
            return Err(Refusal::new(ReasonCode::QuotaExceeded, text));
        }
        Ok(())
    }

    /// How many subscriptions there are, and how many of them are shared.
    fn subscriptions(&self) -> (usize, usize) {
        let shared = self.shares.as_deref().map_or(0, Shares::len);
        let sys = self.sys.as_deref().map_or(0, SysSubscriptions::len);
        (self.feeds.subscriptions.len() + shared + sys, shared)
    }

    /// Lets everybody know how many subscriptions there are.
    pub(crate) fn count_subscriptions(&mut self) {
        let (all, shared) = self.subscriptions();
        self.counted.set(all, shared);
    }

    /// Whether a subscription that is made again goes on with its feed, so that nothing is lost `[MQTT-3.8.4-4]`. A tracked
    /// one says itself where it goes on.
    fn keeps_feed(&self, index: usize, kind: Kind, options: SubscribeOptions) -> bool {
        let old = &self.feeds.subscriptions[index];
        kind == Kind::Plain
            && old.kind == Kind::Plain
            && old.options.no_local == options.no_local
            && mode(old.options.qos) == mode(options.qos)
    }

    /// Changes how an existing subscription is told, and tells its state once more if that is asked for
    /// `[MQTT-3.8.4-3]`.
    fn subscribe_again(
        &mut self,
        index: usize,
        options: SubscribeOptions,
        common: &Common,
    ) -> Result<Qos, Refusal> {
        if options.retain_handling == RetainHandling::Send {
            self.refresh(index)?;
        }
        let told = &mut self.feeds.subscriptions[index];
        let before = std::mem::replace(&mut told.options, options);
        told.identifier.clone_from(&common.identifier);
        self.keep_change(index, before);
        Ok(options.qos)
    }

    /// Tells the state of a subscription once more.
    pub(crate) fn refresh(&mut self, index: usize) -> Result<(), Refusal> {
        let filter = to_filter(&self.feeds.subscriptions[index].filter)?;
        let (mode, events, start) = (Mode::Latest, Events::Ignore, Start::Baseline);
        let refresh = EngineSubscribe { filter, start, mode, events, no_local: None };
        let refresh = self.open_in(index, refresh)?;
        self.feeds.refresh(index, refresh);
        Ok(())
    }

    /// Opens the feed of a subscription that stands, or is to stand, in `slot`.
    pub(crate) fn open(
        &mut self,
        name: &str,
        options: SubscribeOptions,
        start: Start,
        slot: usize,
    ) -> Result<FeedId, Refusal> {
        let filter = to_filter(name.strip_prefix(FRAMES).unwrap_or(name))?;
        // What may be lost is dropped, what may not be lost ends the subscription when it cannot be kept.
        let events = if options.qos == Qos::AtMostOnce { Events::Drop } else { Events::End };
        let no_local = options.no_local.then_some(self.writes.publisher);
        let mode = mode(options.qos);
        self.open_in(slot, EngineSubscribe { filter, start, mode, events, no_local })
    }

    fn open_in(&mut self, slot: usize, subscribe: EngineSubscribe) -> Result<FeedId, Refusal> {
        let policy = self.local.shard.policy();
        let permitted =
            policy.authorize(&self.principal, subscribe).map_err(|denied| for_suback(of_denied(&denied)))?;
        Ok(self.feeds.subscriber.subscribe_as(slot as u32, permitted))
    }
}

/// `QoS` 0 gets the newest states, anything else every entry.
fn mode(qos: Qos) -> Mode {
    if qos == Qos::AtMostOnce { Mode::Latest } else { Mode::Every }
}

fn to_filter(name: &str) -> Result<Filter, Refusal> {
    Filter::new(name).map_err(|error| Refusal::new(ReasonCode::TopicFilterInvalid, error.to_string()))
}

/// SUBACK has no code for a topic.
fn for_suback(refusal: Refusal) -> Refusal {
    match refusal.reason {
        ReasonCode::TopicNameInvalid => Refusal::new(ReasonCode::TopicFilterInvalid, refusal.text),
        _ => refusal,
    }
}

fn granted_code(qos: Qos) -> ReasonCode {
    match qos {
        Qos::AtMostOnce => ReasonCode::Success,
        Qos::AtLeastOnce => ReasonCode::GrantedQos1,
        Qos::ExactlyOnce => ReasonCode::GrantedQos2,
    }
}
