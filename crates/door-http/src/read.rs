//! What the reading stages share.

use dovetail_api::problem::ProblemType;
use dovetail_engine::{Read, View};
use dovetail_model::Revision;
use http::{HeaderMap, HeaderValue, header};

use crate::call::Call;
use crate::problem::{Answer, Failure};
use crate::{fields, headers};

/// Reads the current state, at least at `Dovetail-Min-Revision`.
///
/// # Errors
/// Those of [`min_revision`], and 403 when the policy refuses.
pub(crate) async fn read(call: &Call<'_>, read: Read) -> Answer<View> {
    let read = call.authorize(read)?;
    min_revision(call).await?;
    Ok(call.door.shard.read(read))
}

/// Waits until the head is at least at the revision that `Dovetail-Min-Revision` says, if it says one.
///
/// # Errors
/// 503 when it is not reached in time; 410 when it is of another epoch: it cannot be compared with
/// anything here, and what it stands for may be lost.
pub(crate) async fn min_revision(call: &Call<'_>) -> Answer<()> {
    let Some(least) = fields::token(&call.head.headers, &headers::MIN_REVISION)? else { return Ok(()) };
    let shard = &call.door.shard;
    let head = shard.head();
    if head.epoch != least.epoch {
        let detail = format!("{least} belongs to another history; read the state again");
        return Err(Failure::position_gone(detail, head));
    }
    let wait = call.door.settings().min_revision_wait;
    if head.number >= least.number || shard.reached(least, wait).await {
        return Ok(());
    }
    let detail = format!("{least} was not reached within {} s", wait.as_secs());
    Err(Failure::new(ProblemType::RevisionNotReached, detail).at(shard.head()).retry_after_s(1))
}

/// What every read says beside its tag: the head it was read at, and how caches may use it.
pub(crate) fn validators(fields: &mut HeaderMap, head: Revision) {
    fields.insert(headers::REVISION, headers::revision(head));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    fields.insert(header::VARY, HeaderValue::from_static("accept"));
}
