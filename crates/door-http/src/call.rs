//! A request, as the stages see it.

use std::net::IpAddr;

use dovetail_auth::{Authorized, Principal, Request as Ask};
use http::Method;
use http::request::Parts;

use crate::door::Inner;
use crate::mount::{self, Mount};
use crate::problem::Answer;

/// A request on its way through the stages.
pub(crate) struct Call<'a> {
    pub(crate) door: &'a Inner,
    pub(crate) principal: &'a Principal,
    pub(crate) peer: IpAddr,
    pub(crate) head: &'a Parts,
}

impl Call<'_> {
    /// Asks the policy.
    pub(crate) fn authorize<T: Ask>(&self, ask: T) -> Answer<Authorized<T>> {
        Ok(self.door.shard.policy().authorize(self.principal, ask)?)
    }

    /// The mounted page, if the request is for it or below it, and the part of the path below it.
    pub(crate) fn mounted(&self) -> Option<(&dyn Mount, &str)> {
        let mount = self.door.mount.as_deref()?;
        let page = self.head.uri.path().strip_prefix("/-/")?;
        Some((mount, mount::below(mount, page)?))
    }

    pub(crate) fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }
}
