//! The rules, and the proof that they were asked.

use dovetail_model::{Filter, Topic};

use crate::Principal;

/// The first level of the names that the server keeps for itself. No client reads or writes there.
const INTERNAL: &str = "$dovetail";

/// What a request wants to do to what it names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Demand {
    /// See the resource, now or later.
    Read,
    /// Change the resource.
    Write,
    /// Send an event.
    Publish,
}

/// What a request names.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// One resource.
    Topic(&'a Topic),
    /// All resources that match.
    Filter(&'a Filter),
}

/// Something a door asks for on behalf of a principal.
pub trait Request {
    /// Tells `check` everything that must be permitted, and stops at its first refusal.
    ///
    /// # Errors
    /// What `check` refused.
    fn demands(&self, check: &mut dyn FnMut(Demand, Target<'_>) -> Result<(), Denied>) -> Result<(), Denied>;
}

/// Why a request is refused. The names are those of the request, so that the refusal can say them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denied {
    /// The name belongs to the server: its first level starts with `$` or is `-`.
    #[error(
        "`{0}` belongs to the server: names whose first level starts with `$` or is `-` cannot be written"
    )]
    Reserved(String),
    /// The principal has no right to this.
    #[error("{who} may not {what} `{name}`")]
    NotPermitted {
        /// Who asked.
        who: String,
        /// The verb of the refusal.
        what: &'static str,
        /// The topic or filter.
        name: String,
    },
}

/// The rules in force. Cheap to clone; all clones are one policy.
#[derive(Clone, Debug)]
pub struct Policy(());

/// A request that was permitted, and whom it was permitted to. Only [`Policy::authorize`] makes one.
#[derive(Debug)]
pub struct Authorized<T> {
    principal: Principal,
    request: T,
}

impl Policy {
    /// Whoever connects from this machine may do everything that a client can; others nothing.
    pub fn loopback() -> Self {
        Self(())
    }

    /// Permits `request` to `principal`, or says why not.
    ///
    /// # Errors
    /// The first demand that is refused.
    pub fn authorize<T: Request>(&self, principal: &Principal, request: T) -> Result<Authorized<T>, Denied> {
        request.demands(&mut |demand, target| self.check(principal, demand, target))?;
        Ok(Authorized { principal: principal.clone(), request })
    }

    /// Whether `principal` may do this to `topic` now. This is the check at delivery.
    pub fn permits(&self, principal: &Principal, demand: Demand, topic: &Topic) -> bool {
        self.check(principal, demand, Target::Topic(topic)).is_ok()
    }

    #[expect(clippy::unused_self, reason = "rules will be data of the policy; the signature is the contract")]
    fn check(&self, principal: &Principal, demand: Demand, target: Target<'_>) -> Result<(), Denied> {
        let name = match target {
            Target::Topic(topic) => topic.as_str(),
            Target::Filter(filter) => filter.as_str(),
        };
        if principal.is_server() {
            return Ok(());
        }
        if demand != Demand::Read && belongs_to_server(name) {
            return Err(Denied::Reserved(name.to_owned()));
        }
        if principal.is_local() && first_level(name) != INTERNAL {
            return Ok(());
        }
        let what = match demand {
            Demand::Read => "read",
            Demand::Write => "write",
            Demand::Publish => "publish to",
        };
        Err(Denied::NotPermitted { who: principal.name().to_owned(), what, name: name.to_owned() })
    }
}

impl<T> Authorized<T> {
    /// Whom the request was permitted to.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What was permitted.
    pub fn request(&self) -> &T {
        &self.request
    }

    /// Takes the proof apart.
    pub fn into_parts(self) -> (Principal, T) {
        (self.principal, self.request)
    }
}

fn first_level(name: &str) -> &str {
    name.split('/').next().unwrap_or_default()
}

fn belongs_to_server(name: &str) -> bool {
    name.starts_with('$') || first_level(name) == "-"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;
    use std::net::IpAddr;

    struct Ask(Demand, &'static str);

    impl Request for Ask {
        fn demands(
            &self,
            check: &mut dyn FnMut(Demand, Target<'_>) -> Result<(), Denied>,
        ) -> Result<(), Denied> {
            check(self.0, Target::Filter(&Filter::new(self.1).unwrap()))
        }
    }

    fn anonymous(peer: &str) -> Principal {
        Principal::anonymous(peer.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn loopback_policy_as_a_table() {
        let policy = Policy::loopback();
        let table = [
            ("127.0.0.1", Demand::Write, "a/b", true),
            ("::1", Demand::Read, "#", true),
            ("::ffff:127.0.0.9", Demand::Publish, "a", true),
            ("192.0.2.1", Demand::Read, "a", false),
            ("192.0.2.1", Demand::Write, "a", false),
            ("127.0.0.1", Demand::Write, "$SYS/x", false),
            ("127.0.0.1", Demand::Publish, "$x", false),
            ("127.0.0.1", Demand::Write, "-/health", false),
            ("127.0.0.1", Demand::Write, "-x", true),
            ("127.0.0.1", Demand::Read, "$SYS/#", true),
            ("127.0.0.1", Demand::Read, "$dovetail/#", false),
            ("127.0.0.1", Demand::Read, "$dovetail", false),
        ];
        for (peer, demand, name, expected) in table {
            let got = policy.authorize(&anonymous(peer), Ask(demand, name)).is_ok();
            assert_eq!(got, expected, "{peer} {demand:?} {name}");
        }
        assert!(policy.authorize(&Principal::server(), Ask(Demand::Write, "$dovetail/x")).is_ok());
    }

    #[test]
    fn delivery_asks_the_same_rules() {
        let (policy, topic) = (Policy::loopback(), Topic::new("a").unwrap());
        assert!(policy.permits(&anonymous("127.0.0.1"), Demand::Read, &topic));
        assert!(!policy.permits(&anonymous("192.0.2.1"), Demand::Read, &topic));
        let internal = Topic::new("$dovetail/idempotency/x").unwrap();
        assert!(!policy.permits(&anonymous("127.0.0.1"), Demand::Read, &internal));
    }
}
