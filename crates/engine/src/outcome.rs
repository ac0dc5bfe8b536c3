//! What comes of a write.

use std::time::Duration;

use dovetail_model::{Revision, Topic};
use smallvec::SmallVec;

/// A write that is durable, applied and visible.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    /// The revision of the commit; the head at the time when nothing was changed.
    pub revision: Revision,
    /// What each operation did, in the order of the operations. Records have no effects.
    pub effects: SmallVec<[Effect; 1]>,
    /// The write had been done before under the same idempotency key; this is that answer again.
    pub repeated: bool,
}

/// What one operation did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The resource did not exist and now does.
    Created,
    /// The resource existed and holds something new.
    Replaced,
    /// The resource existed and is gone.
    Deleted,
    /// There was nothing to delete.
    Unchanged,
    /// An event was sent, and is in the journal.
    Published,
}

/// Why a write did not happen. Nothing of it is in the journal and nothing of it ever will be,
/// except for [`WriteError::Unknown`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WriteError {
    /// The precondition does not hold.
    #[error("the precondition on `{topic}` does not hold")]
    PreconditionFailed {
        /// Whose precondition.
        topic: Topic,
        /// What the resource is at now; `None` when it does not exist.
        current: Option<Revision>,
    },
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for a different request")]
    KeyReused,
    /// The patch is not a patch.
    #[error("the patch for `{topic}` is not valid: {reason}")]
    MalformedPatch {
        /// The resource that was to be patched.
        topic: Topic,
        /// What is wrong with it.
        reason: String,
    },
    /// The patch is right, but not for what the resource holds.
    #[error("the patch does not fit what `{topic}` holds: {reason}")]
    PatchConflict {
        /// The resource that was to be patched.
        topic: Topic,
        /// What does not fit.
        reason: String,
    },
    /// There is nothing to patch.
    #[error("`{0}` does not exist")]
    NotFound(Topic),
    /// A resource cannot hold no bytes.
    #[error("`{0}` cannot hold an empty representation: a message of no bytes means delete over MQTT")]
    Empty(Topic),
    /// The result of the write is larger than a resource may be.
    #[error("`{topic}` would hold {bytes} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The resource.
        topic: Topic,
        /// What it would hold.
        bytes: usize,
        /// What it may hold.
        limit: usize,
    },
    /// The write names one resource twice, nothing at all, or too many.
    #[error("a write has 1 to {limit} operations, each on another resource: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
        /// The most operations.
        limit: usize,
    },
    /// Too much is waiting for the disk.
    #[error("too many writes are waiting; try again after {} ms", retry_after.as_millis())]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// No room on the disk.
    #[error("the disk is full; reads and streams go on, writes work again when there is room")]
    DiskFull,
    /// The journal failed; the server only reads until it is restarted.
    #[error("the journal failed and the server only reads: {0}")]
    ReadOnly(String),
    /// The server is stopping; nothing was done.
    #[error("the server is stopping")]
    Stopping,
    /// The journal failed while this write was on its way to the disk: it may or may not be there
    /// after a restart. Under an idempotency key it can be repeated safely.
    #[error("the journal failed during this write; whether it happened is unknown: {0}")]
    Unknown(String),
}
