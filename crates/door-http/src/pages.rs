//! States that are kept so that the pages of a collection are read at one revision.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dovetail_auth::Principal;
use dovetail_engine::View;
use dovetail_model::{Filter, Revision};
use tokio::time::Instant;

/// States that are kept at once. One costs what was overwritten since.
const KEPT: usize = 64;
/// How long a state is kept after a page was last read from it.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// The states that clients are paging through, most recently used last.
#[derive(Debug, Default)]
pub(crate) struct Pages(Mutex<VecDeque<Kept>>);

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
    /// Keeps `view`, which shows the state at `at`, for the next page.
    pub(crate) fn keep(&self, view: &Arc<View>, at: Revision, principal: &Principal) {
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

    /// The state under `filter` at `revision`, if it is kept.
    pub(crate) fn find(
        &self,
        revision: Revision,
        filter: &Filter,
        principal: &Principal,
    ) -> Option<Arc<View>> {
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
