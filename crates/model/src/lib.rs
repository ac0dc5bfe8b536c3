//! The words of Dovetail as validated types.
//!
//! Everything above this crate speaks in these types: a value that exists is valid, so nothing
//! further in has to check again. No I/O, no async, no clock, no serialisation.
//!
//! * names: [`Topic`], [`Filter`]
//! * positions: [`Epoch`], [`Revision`]
//! * contents: [`Representation`], [`Metadata`], [`Qos`], [`Resource`], [`Tombstone`]
//! * the journal's words: [`Commit`], [`Change`], [`PublisherId`]
//! * limits: [`limits`]

mod commit;
mod filter;
pub mod limits;
mod representation;
mod revision;
mod topic;

pub use commit::{Change, Commit, DeleteCause, Event, PublisherId, Resource, Tombstone};
pub use filter::{Filter, FilterError};
pub use representation::{Metadata, Qos, Representation, UnixMillis};
pub use revision::{Epoch, ParseRevisionError, Revision};
pub use topic::{Topic, TopicError, tree_order};
