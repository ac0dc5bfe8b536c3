//! Messages that were in flight when their connection broke, as they are written again.
//!
//! Nothing of them was kept but where they are found: a change in the journal, a resource in the tree as long as it is the
//! same, a word of the server in the record itself. What is not there any more is not sent again.

use std::collections::BTreeMap;

use bytes::Bytes;
use dovetail_auth::Principal;
use dovetail_engine::{Changes, Delivery, Item, Mode, Read};
use dovetail_model::{Epoch, Filter, Topic};
use dovetail_mqtt_proto::{PacketId, PropertiesBuf, Version, split_shared};

use crate::Local;
use crate::encode;
use crate::expiry::Lifespan;
use crate::record::{Flight, Subscribed, What, digest};
use crate::tracked::{self, FRAMES, Kind};

/// How many commits are read at once: those of one subscription mostly follow each other closely.
const PAGE: u64 = 1024;

/// A message to be written again.
#[derive(Debug)]
pub(crate) struct Again {
    pub(crate) id: PacketId,
    pub(crate) bytes: Bytes,
    /// What it lives for, if it has an end. A message that was on its way is delivered even then.
    pub(crate) life: Option<Lifespan>,
    pub(crate) retain: bool,
    pub(crate) extra: PropertiesBuf,
}

/// Finds what was in flight for the subscriptions of a session; `None` for what is not there any more.
pub(crate) async fn find(
    local: &Local,
    principal: &Principal,
    version: Version,
    subscriptions: &BTreeMap<u32, Subscribed>,
    (epoch, flights): (Epoch, &[Flight]),
) -> Vec<Option<Again>> {
    if epoch != local.shard.head().epoch {
        return flights.iter().map(|_| None).collect();
    }
    let mut finder = Finder { local, principal, version, epoch, pages: BTreeMap::new() };
    let mut found = Vec::with_capacity(flights.len());
    for flight in flights {
        found.push(finder.find(subscriptions.get(&flight.subscription), flight).await);
    }
    found
}

/// Reads on where the last message was found: those of one subscription follow each other in the journal.
struct Finder<'a> {
    local: &'a Local,
    principal: &'a Principal,
    version: Version,
    epoch: Epoch,
    /// What was read last for each subscription, and up to where.
    pages: BTreeMap<u32, Page>,
}

#[derive(Default)]
struct Page {
    /// It tells everything in `(after, to]`.
    after: u64,
    to: u64,
    deliveries: Vec<Delivery>,
}

impl Finder<'_> {
    async fn find(&mut self, subscribed: Option<&Subscribed>, flight: &Flight) -> Option<Again> {
        let kind = subscribed.map_or(Kind::Plain, |subscribed| subscribed.kind);
        let mut extra = subscribed.map(Subscribed::identifier_properties).unwrap_or_default();
        let name = subscribed.map_or("#", |subscribed| &subscribed.filter);
        let item = match &flight.what {
            What::Change { after, rev, digest } => {
                let mut delivery = self.delivery(flight.subscription, name, *rev).await?;
                delivery.after = self.epoch.at(*after);
                if kind != Kind::Frames {
                    let (bytes, life) = self.change(&delivery, *digest, kind, &mut extra)?;
                    return Some(Again { id: flight.id, bytes, life, retain: flight.retain, extra });
                }
                Item::Change(delivery)
            }
            What::Resource { rev, topic } => {
                let resource = self.resource(topic, *rev)?;
                if kind != Kind::Frames {
                    let bytes = encode::contents(self.version, &resource);
                    if kind == Kind::Tracked {
                        tracked::resource(&mut extra, self.epoch.at(*rev), resource.modified_at);
                    }
                    let life = Lifespan::of_resource(&resource);
                    return Some(Again { id: flight.id, bytes, life, retain: flight.retain, extra });
                }
                Item::Resource(resource)
            }
            What::Begin(rev) => Item::BaselineBegin(self.epoch.at(*rev)),
            What::Synced(rev) => Item::BaselineEnd(self.epoch.at(*rev)),
            What::Progress { after, rev } => {
                Item::Progress { after: self.epoch.at(*after), rev: self.epoch.at(*rev) }
            }
            What::Nowhere => return None,
        };
        let (topic, payload) = match kind {
            Kind::Frames => tracked::frame(&item, self.local.shard.head())?,
            Kind::Plain | Kind::Tracked => {
                let (topic, payload) = tracked::control(&item, name)?;
                (topic.to_owned(), payload)
            }
        };
        let bytes = encode::json(self.version, &topic, &payload);
        Some(Again { id: flight.id, bytes, life: None, retain: flight.retain, extra })
    }

    fn change(
        &self,
        delivery: &Delivery,
        wanted: u64,
        kind: Kind,
        extra: &mut PropertiesBuf,
    ) -> Option<(Bytes, Option<Lifespan>)> {
        let at = delivery.changes().position(|change| digest(change.topic()) == wanted)?;
        let change = delivery.changes().nth(at)?;
        if kind == Kind::Tracked {
            tracked::position(extra, delivery, change, delivery.len() - at - 1);
        }
        Some((encode::change(self.version, change), Lifespan::of_change(change)))
    }

    fn resource(&self, topic: &Topic, rev: u64) -> Option<std::sync::Arc<dovetail_model::Resource>> {
        let shard = &self.local.shard;
        let read = shard.policy().authorize(self.principal, Read::Resource(topic.clone())).ok()?;
        shard.read(read).resource().filter(|resource| resource.revision == rev).cloned()
    }

    /// What the subscription was told of commit `rev`.
    async fn delivery(&mut self, number: u32, name: &str, rev: u64) -> Option<Delivery> {
        let page = self.pages.get(&number);
        if !page.is_some_and(|page| page.after < rev && rev <= page.to) {
            let name = split_shared(name).map_or(name, |shared| shared.filter);
            let filter = Filter::new(name.strip_prefix(FRAMES).unwrap_or(name)).ok()?;
            let since = self.epoch.at(rev.checked_sub(1)?);
            let changes = Changes { filter, since, mode: Mode::Every, limit: usize::MAX };
            let shard = &self.local.shard;
            let changes = shard.policy().authorize(self.principal, changes).ok()?;
            let read = shard.entries(changes, rev + PAGE).await.ok()?;
            let page = Page { after: since.number, to: read.rev.number, deliveries: read.deliveries };
            self.pages.insert(number, page);
        }
        let page = self.pages.get(&number)?;
        page.deliveries.iter().find(|delivery| delivery.rev.number == rev).cloned()
    }
}
