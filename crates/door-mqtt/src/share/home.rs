//! The task that reads for a group, on the shard of whoever found the group without one.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dovetail_auth::{Denied, Principal};
use dovetail_engine::{EndReason, Events, FeedId, Item, Mode, Start, Subscribe, Subscriber, Ticket};
use dovetail_model::{Filter, Revision};
use dovetail_mqtt_proto::{Qos, ReasonCode};

use tokio::time::Sleep;

use super::{Next, SharedGroup, of_the_server};
use crate::Local;

/// How long the position of a group may be ahead of its record.
const LAG: Duration = Duration::from_secs(1);
/// Items that are read in one turn before others of the shard have theirs.
const ITEMS: usize = 64;

/// Reads for a group until nobody is there. It reads as the server does: what a member may read is asked when a message is
/// handed to it.
pub(crate) struct Home {
    local: Rc<Local>,
    group: Arc<SharedGroup>,
    subscriber: Subscriber,
    filter: Filter,
    feed: FeedId,
    saving: Saving,
}

/// The position on its way to its record.
#[derive(Default)]
struct Saving {
    /// What is stored, or is about to be.
    saved: Option<Revision>,
    ticket: Option<Ticket>,
    /// When the position is looked at next.
    due: Option<Pin<Box<Sleep>>>,
}

impl Home {
    /// Subscribes for the group, so that it gets everything after this.
    ///
    /// # Errors
    /// Never: the server may read everything.
    pub(crate) fn new(local: &Rc<Local>, group: &Arc<SharedGroup>, filter: Filter) -> Result<Self, Denied> {
        let mut subscriber = local.shard.subscriber(Principal::server());
        let read_to = *group.lock().read_to.get_or_insert(local.shard.head());
        let feed = open(local, &mut subscriber, &filter, Some(read_to))?;
        let saving = Saving::default();
        Ok(Self { local: Rc::clone(local), group: Arc::clone(group), subscriber, filter, feed, saving })
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.group.home.register(cx.waker());
        self.save(cx);
        for _ in 0..ITEMS {
            match self.group.hand_out(self.local.shard.policy()) {
                Next::Read => {}
                Next::Wait => return Poll::Pending,
                Next::Leave if self.leave() => return Poll::Ready(()),
                Next::Leave => continue,
            }
            let Poll::Ready((_, item)) = self.subscriber.poll_next(cx) else { return Poll::Pending };
            self.take(item);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Notes how far everything is, and leaves unless somebody has joined meanwhile.
    fn leave(&mut self) -> bool {
        if let Some(Item::Progress { rev, .. }) = self.subscriber.progress(self.feed) {
            self.group.advance(rev);
        }
        self.submit();
        self.local.shared.groups.end(&self.group)
    }

    /// Stores the position, about once a second while it moves.
    fn save(&mut self, cx: &mut Context<'_>) {
        if let Some(ticket) = &mut self.saving.ticket {
            match Pin::new(ticket).poll(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(_)) => self.saving.ticket = None,
                Poll::Ready(Err(error)) => {
                    (self.saving.ticket, self.saving.saved) = (None, None);
                    tracing::warn!(group = &*self.group.key.name, %error, "the position of a group is stored later");
                }
            }
        }
        while self.group.is_held() {
            let due = self.saving.due.get_or_insert_with(|| Box::pin(tokio::time::sleep(LAG)));
            if due.as_mut().poll(cx).is_pending() {
                return;
            }
            self.saving.due = None;
            self.submit();
        }
    }

    fn submit(&mut self) {
        let Some(position) = self.group.position().filter(|position| self.saving.saved != Some(*position))
        else {
            return;
        };
        let write =
            self.group.key.record(position).and_then(|record| of_the_server(record, &self.local.shard));
        if let Some(write) = write {
            self.saving.saved = Some(position);
            self.saving.ticket = Some(self.local.shard.submit(write));
        }
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Change(delivery) => self.group.offer(delivery.messages(), delivery.rev),
            Item::Progress { rev, .. } => self.group.offer(std::iter::empty(), rev),
            Item::Reset { head, .. } => {
                let group = &*self.group.key.name;
                tracing::warn!(group, filter = %self.filter, "the history that a group has not read is not kept any more");
                self.begin_again(Some(head));
            }
            Item::End(reason) => {
                self.end(reason);
                let read_to = self.group.lock().read_to;
                self.begin_again(read_to);
            }
            // A group is never told the state.
            Item::BaselineBegin(_) | Item::Resource(_) | Item::BaselineEnd(_) => {}
        }
    }

    /// Some messages are lost: whoever was granted more than *at most once* is told so as any client is.
    fn end(&self, reason: EndReason) {
        let (code, text) = crate::sending::end(reason);
        self.group.for_each_member(|inbox, qos| {
            if qos > Qos::AtMostOnce || code == ReasonCode::UnspecifiedError {
                inbox.end(code, text);
            }
        });
    }

    fn begin_again(&mut self, position: Option<Revision>) {
        self.subscriber.unsubscribe(self.feed);
        if let Ok(feed) = open(&self.local, &mut self.subscriber, &self.filter, position) {
            self.feed = feed;
        }
    }
}

fn open(
    local: &Local,
    subscriber: &mut Subscriber,
    filter: &Filter,
    position: Option<Revision>,
) -> Result<FeedId, Denied> {
    let subscribe = Subscribe {
        filter: filter.clone(),
        start: position.map_or(Start::Now, Start::After),
        mode: Mode::Every,
        events: Events::End,
        no_local: None,
    };
    let permitted = local.shard.policy().authorize(subscriber.principal(), subscribe)?;
    Ok(subscriber.subscribe(permitted))
}

impl Future for Home {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.turn(cx)
    }
}
