//! An accepted connection: what `publish`, `subscribe` and `deliver` work on.

use std::rc::Rc;

use dovetail_auth::Principal;
use dovetail_mqtt_proto::Version;

use crate::Local;
use crate::feeds::Feeds;
use crate::registry::Claim;
use crate::share::Shares;
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
    pub(crate) claim: Claim,
}

impl Serving {
    pub(crate) fn new(claim: Claim, version: Version, local: &Rc<Local>, principal: &Principal) -> Self {
        Self {
            local: Rc::clone(local),
            principal: principal.clone(),
            version,
            writes: Writes::new(claim.publisher()),
            feeds: Feeds::new(local.shard.subscriber(principal.clone())),
            shares: None,
            claim,
        }
    }
}
