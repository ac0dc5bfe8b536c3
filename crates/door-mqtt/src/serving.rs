//! An accepted connection: what `publish`, `subscribe` and `deliver` work on.

use std::rc::Rc;
use std::task::Context;

use dovetail_auth::Principal;
use dovetail_mqtt_proto::{Connection, PropertiesBuf, Qos, SubscribeOptions, Version};

use crate::Local;
use crate::answer::Refusal;
use crate::feeds::Feeds;
use crate::kept::Kept;
use crate::registry::Claim;
use crate::sending::Told;
use crate::share::{Shares, Wish};
use crate::store::Names;
use crate::sys::SysSubscriptions;
use crate::traffic::Counted;
use crate::writes::Writes;

/// What an accepted connection has.
pub(crate) struct Serving {
    pub(crate) local: Rc<Local>,
    pub(crate) principal: Principal,
    pub(crate) version: Version,
    pub(crate) writes: Writes,
    pub(crate) feeds: Feeds,
    /// Its parts of groups, once it has any.
    pub(crate) shares: Option<Box<Shares>>,
    /// What is kept for a session that outlives the connection.
    pub(crate) kept: Option<Box<Kept>>,
    /// Where the will is stored, if there is one.
    pub(crate) will: Option<Names>,
    /// Its subscriptions below `$SYS`, once it has any.
    pub(crate) sys: Option<Box<SysSubscriptions>>,
    pub(crate) counted: Counted,
    pub(crate) claim: Claim,
}

impl Serving {
    /// A connection whose session, if it has one, is not told on yet.
    pub(crate) fn new(
        claim: Claim,
        version: Version,
        (kept, will): (Option<Box<Kept>>, Option<Names>),
        local: &Rc<Local>,
        principal: &Principal,
    ) -> Self {
        Self {
            local: Rc::clone(local),
            principal: principal.clone(),
            version,
            writes: Writes::new(claim.name().publisher(), local.shared.options.publish_rate),
            feeds: Feeds::new(local.shard.subscriber(principal.clone())),
            shares: None,
            kept,
            will,
            sys: None,
            counted: Counted::new(&local.traffic),
            claim,
        }
    }

    /// Subscribes to the part of a group.
    pub(crate) fn subscribe_shared(
        &mut self,
        connection: &Connection,
        wish: Wish<'_>,
    ) -> Result<Qos, Refusal> {
        let shares = self.shares.get_or_insert_with(Box::default);
        shares.join((&self.local, &self.principal), connection, wish)
    }

    /// Sends what groups have handed to the connection.
    pub(crate) fn deliver_shared(
        &mut self,
        connection: &mut Connection,
        cx: &Context<'_>,
        limit: usize,
    ) -> Told {
        let Some(shares) = self.shares.as_deref_mut() else { return Told::Everything };
        shares.deliver(&self.local, connection, self.kept.as_deref_mut(), cx, limit)
    }

    /// Subscribes to readings of the server.
    pub(crate) fn subscribe_sys(
        &mut self,
        name: &str,
        options: SubscribeOptions,
        identifier: &PropertiesBuf,
    ) -> Result<Qos, Refusal> {
        let sys = self.sys.get_or_insert_with(|| Box::new(SysSubscriptions::new(&self.local)));
        sys.subscribe(&self.principal, name, options, identifier)
    }

    /// Tells what is new of them.
    pub(crate) fn deliver_sys(
        &mut self,
        connection: &mut Connection,
        cx: &Context<'_>,
        limit: usize,
    ) -> Told {
        let Some(sys) = self.sys.as_deref_mut() else { return Told::Everything };
        sys.deliver(&self.principal, connection, cx, limit)
    }
}
