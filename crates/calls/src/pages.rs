//! States that are kept so that the pages of a collection are read at one revision.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dovetail_auth::Principal;
use dovetail_engine::View;
use dovetail_model::{Filter, Revision, Topic};
use tokio::time::Instant;

use crate::refusal::Refusal;

/// Changes that are looked at to find out whether a collection changed after a revision.
pub const LOOK_AT: usize = 10_000;

/// States that are kept at once. One costs what was overwritten since.
const KEPT: usize = 64;
/// How long a state is kept after a page was last read from it.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// Where a page of a collection starts. As a text: the revision, `/`, the topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// The revision that all pages are read at.
    pub at: Revision,
    /// The last resource of the page before.
    pub after: Topic,
}

/// A text that is no page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParsePageError;

/// The states that clients are paging through, most recently used last.
#[derive(Debug, Default)]
pub struct Pages(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    /// The revision that clients know it by. The view may be of a later one, between which and this
    /// nothing that matches changed.
    at: Revision,
    view: Arc<View>,
    principal: Principal,
    used_at: Instant,
}

impl Pages {
    /// The state that a page at `at` is read from: `now` if nothing that matches has changed since, or the one that is
    /// kept.
    ///
    /// # Errors
    /// 410 when the state is no longer kept.
    pub fn pinned(
        &self,
        now: Arc<View>,
        filter: &Filter,
        at: Revision,
        principal: &Principal,
    ) -> Result<Arc<View>, Refusal> {
        if now.revision() == at {
            return Ok(now);
        }
        if let Some(kept) = self.find(at, filter, principal) {
            return Ok(kept);
        }
        if now.changed_since(at, LOOK_AT) == Some(false) {
            return Ok(now);
        }
        let detail = format!("the state at {at} is no longer kept; begin again with the first page");
        Err(Refusal::position_gone(detail, now.revision()))
    }

    /// Keeps `view`, which shows the state at `at`, for the next page.
    pub fn keep(&self, view: &Arc<View>, at: Revision, principal: &Principal) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        all.retain(|kept| now - kept.used_at < KEPT_FOR);
        if let Some(filter) = view.filter() {
            all.retain(|kept| !kept.is(at, filter, principal));
        }
        if all.len() >= KEPT {
            all.pop_front();
        }
        all.push_back(Kept { at, view: Arc::clone(view), principal: principal.clone(), used_at: now });
    }

    fn find(&self, revision: Revision, filter: &Filter, principal: &Principal) -> Option<Arc<View>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        all.retain(|kept| now - kept.used_at < KEPT_FOR);
        let found = all.iter().find(|kept| kept.is(revision, filter, principal))?;
        Some(Arc::clone(&found.view))
    }
}

impl Kept {
    fn is(&self, revision: Revision, filter: &Filter, principal: &Principal) -> bool {
        self.at == revision && self.view.filter() == Some(filter) && self.principal == *principal
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.at, self.after)
    }
}

impl FromStr for Page {
    type Err = ParsePageError;

    fn from_str(text: &str) -> Result<Self, ParsePageError> {
        let (at, after) = text.split_once('/').ok_or(ParsePageError)?;
        let at = at.parse().map_err(|_| ParsePageError)?;
        Ok(Self { at, after: Topic::new(after).map_err(|_| ParsePageError)? })
    }
}
