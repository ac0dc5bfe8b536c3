//! A request, as the stages see it.

use std::net::IpAddr;

use dovetail_auth::{Authorized, Principal, Request as Ask};
use http::Method;
use http::request::Parts;

use crate::door::Inner;
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

    pub(crate) fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }
}
