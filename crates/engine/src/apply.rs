//! Stage 4 of a write: what is durable becomes visible.

use std::sync::Arc;

use arc_swap::ArcSwap;
use dovetail_model::{Epoch, Revision};
use dovetail_tree::Tree;
use tokio::sync::watch;

/// The tree that everybody reads. One owner publishes; readers never wait and never block.
#[derive(Debug)]
pub(crate) struct Published {
    epoch: Epoch,
    tree: ArcSwap<Tree>,
    head: watch::Sender<u64>,
}

impl Published {
    pub(crate) fn new(epoch: Epoch, tree: Tree) -> Self {
        let head = watch::Sender::new(tree.revision());
        Self { epoch, tree: ArcSwap::from_pointee(tree), head }
    }

    /// Shows `tree` to everybody from now on.
    pub(crate) fn publish(&self, tree: &Tree) {
        self.tree.store(Arc::new(tree.clone()));
        self.head.send_replace(tree.revision());
    }

    /// The newest tree, frozen.
    pub(crate) fn tree(&self) -> Arc<Tree> {
        self.tree.load_full()
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn head(&self) -> Revision {
        self.epoch.at(self.tree.load().revision())
    }

    /// Waits until the head is at least `number`.
    pub(crate) async fn reached(&self, number: u64) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.head.subscribe().wait_for(|head| *head >= number).await;
    }
}
