//! The calls of one connection, in order of arrival.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use dovetail_api::calls::Call;
use dovetail_auth::Principal;

use crate::desk::Desk;
use crate::refusal::Refusal;
use crate::task::{Reply, Task};

/// Room for so many calls is kept when there are none.
const KEEP: usize = 8;

/// The calls of one connection that are not answered yet; `T` is what the door knows each by.
///
/// Writes are submitted when they are taken in and done in that order. A call is answered when all before it are, and a
/// read or an event has its turn then: it comes after every write that was asked for before it. Later writes may
/// overtake it.
pub struct Queue<T> {
    desk: Desk,
    waiting: VecDeque<(T, Result<Task, Refusal>)>,
}

impl<T> Queue<T> {
    /// No calls.
    pub fn new(desk: Desk) -> Self {
        Self { desk, waiting: VecDeque::new() }
    }

    /// Takes in a call of `principal`. Whatever comes of it, a refusal included, is told by [`Queue::poll_next`].
    pub fn push(&mut self, tag: T, principal: &Principal, call: Call) {
        let taken = self.desk.take(principal, call);
        self.waiting.push_back((tag, taken));
    }

    /// Takes in what is refused already, so that it is answered in its turn.
    pub fn refuse(&mut self, tag: T, refusal: Refusal) {
        self.waiting.push_back((tag, Err(refusal)));
    }

    /// How many calls are not answered yet.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether all calls are answered.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next answer. Pending when there is no call, too.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(T, Result<Reply, Refusal>)> {
        let Some((_, front)) = self.waiting.front_mut() else { return Poll::Pending };
        let answer = match front {
            Ok(task) => match task.poll(self.desk.shard(), self.desk.pages(), cx) {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => return Poll::Pending,
            },
            Err(_) => None,
        };
        let front = self.waiting.pop_front();
        if self.waiting.is_empty() && self.waiting.capacity() > KEEP {
            self.waiting = VecDeque::new();
        }
        match (front, answer) {
            (Some((tag, _)), Some(answer)) => Poll::Ready((tag, answer)),
            (Some((tag, Err(refusal))), None) => Poll::Ready((tag, Err(refusal))),
            _ => Poll::Pending,
        }
    }
}
