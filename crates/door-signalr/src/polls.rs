//! A connection that polls. Each poll and each POST may come on another shard; the connection stays on that of the first,
//! in a task of its own, because between two polls it has no socket to live with.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use dovetail_auth::Principal;
use tokio::sync::oneshot;

use crate::Local;
use crate::counters::Open;
use crate::hub::{Hub, Traits};
use crate::pulse::Pulse;
use crate::registry::{Begun, Inbox, Order, Registered, Told};

/// A connection between and during polls.
struct Home {
    hub: Hub,
    inbox: Inbox,
    pulse: Pulse,
    presence: Presence,
    /// What was said for a poll that was given up.
    unsent: Vec<u8>,
    poll: Duration,
    absence: Duration,
}

enum Presence {
    /// A poll waits until then.
    Polling(oneshot::Sender<Told>, Instant),
    /// Nobody has polled since then.
    Absent(Instant),
}

/// The life of a connection, which begins now.
pub(crate) fn home(local: Rc<Local>, principal: Principal, begun: Begun<Inbox>) -> impl Future<Output = ()> {
    let Begun { registered, inbox } = begun;
    let known: (Registered, Open) = (registered, Open::count(&local.tally, |tally| &tally.polling));
    let (poll, absence) = (local.options().poll, local.options().absence);
    let pulse = Pulse::new(&local);
    let traits = Traits { is_text: false, has_polls: true, may_resend: false };
    let hub = Hub::new(Rc::clone(&local), principal, traits);
    let presence = Presence::Absent(crate::now());
    let mut home = Home { hub, inbox, pulse, presence, unsent: Vec::new(), poll, absence };
    async move {
        let was_absent = poll_fn(|cx| home.poll(cx)).await;
        if was_absent && home.hub.ending().is_none() {
            local.tally.timeouts.add(1);
        }
        drop(known);
    }
}

impl Home {
    /// Does what can be done now. Ready at the end, and whether the client stayed away.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let now = crate::now();
        while let Poll::Ready(Some(order)) = self.inbox.orders.poll_recv(cx) {
            match order {
                Order::Poll(answer) => {
                    self.tell(Told::End, now);
                    self.presence = Presence::Polling(answer, now + self.poll);
                }
                Order::Delete => {
                    self.tell(Told::End, now);
                    return Poll::Ready(false);
                }
            }
        }
        if let Presence::Polling(answer, _) = &mut self.presence
            && answer.poll_closed(cx).is_ready()
        {
            self.presence = Presence::Absent(now);
        }
        self.hub.go_on(now);
        let has_room = self.hub.reads();
        while self.hub.reads()
            && let Poll::Ready(Some(bytes)) = self.inbox.input.poll_recv(cx)
        {
            self.hub.receive(&bytes, now);
        }
        if let Presence::Polling(_, until) = self.presence {
            if self.hub.is_over() && self.unsent.is_empty() {
                self.tell(Told::End, now);
                return Poll::Ready(false);
            }
            self.pulse.poll(&mut self.hub, cx, now, Some(until));
            self.say(cx, now, until);
        }
        if let Presence::Absent(since) = self.presence {
            let until = since + self.absence;
            if now >= until {
                return Poll::Ready(true);
            }
            self.pulse.poll(&mut self.hub, cx, now, Some(until));
        }
        if !has_room && self.hub.reads() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Answers the poll, if there is something to say or its time is over.
    fn say(&mut self, cx: &mut Context<'_>, now: Instant, until: Instant) {
        let mut bytes = std::mem::take(&mut self.unsent);
        if bytes.is_empty() {
            self.hub.write(cx, &mut bytes, now);
        }
        if !bytes.is_empty() || now >= until {
            self.tell(Told::Data { bytes, is_binary: self.hub.is_binary() }, now);
        }
    }

    /// Answers the poll that waits, if one does. What it does not take any more is for the next one.
    fn tell(&mut self, told: Told, now: Instant) {
        if let Presence::Polling(answer, _) = std::mem::replace(&mut self.presence, Presence::Absent(now))
            && let Err(Told::Data { bytes, .. }) = answer.send(told)
        {
            self.unsent = bytes;
        }
    }
}
