//! An accepted connection: what `publish`, `subscribe` and `deliver` work on.

use std::rc::Rc;

use dovetail_auth::Principal;
use dovetail_mqtt_proto::Version;

use crate::Local;
use crate::feeds::Feeds;
use crate::kept::Kept;
use crate::registry::Claim;
use crate::share::Shares;
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
}
