//! Who may do what: the one authorization function of every door.
//!
//! A door turns bytes into a request and asks [`Policy::authorize`]. What comes back,
//! [`Authorized`], is the only thing that the engine takes, and only this crate can make one. What
//! a feed delivers is checked again with [`Policy::permits`] when it is delivered, so a right that
//! was taken away stops a subscription that was made before.
//!
//! There is one policy so far, [`Policy::loopback`]: whoever connects from this machine may do
//! everything, nobody else anything.

mod policy;
mod principal;

pub use policy::{Authorized, Demand, Denied, Policy, Request, Target};
pub use principal::Principal;
