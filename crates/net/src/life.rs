//! A connection from its first byte to the last thing that is to be done about it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What a connection does while it is open, and what is to be done when it has ended.
pub trait Connected: Unpin {
    /// Does what can be done now. Ready when the connection has ended.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Does what is left to do then.
    fn finish(self) -> impl Future<Output = ()> + 'static;
}

/// A connection while it lives, and then what is to be done about its end: the task of a connection.
///
/// The task of an idle connection holds this and little else, so it is a type of its own: as an `async` function it would
/// keep room for the end, ten times its size, all along.
pub struct Life<C>(Phase<C>);

enum Phase<C> {
    Open(C),
    Ending(Pin<Box<dyn Future<Output = ()>>>),
    Over,
}

impl<C: Connected> Life<C> {
    /// The life of an open connection.
    pub fn new(connection: C) -> Self {
        Self(Phase::Open(connection))
    }
}

impl<C: Connected> Future for Life<C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let phase = &mut self.0;
        if let Phase::Open(connection) = phase {
            ready!(connection.poll_open(cx));
            if let Phase::Open(connection) = std::mem::replace(phase, Phase::Over) {
                *phase = Phase::Ending(Box::pin(connection.finish()));
            }
        }
        if let Phase::Ending(ending) = phase {
            ready!(ending.as_mut().poll(cx));
            *phase = Phase::Over;
        }
        Poll::Ready(())
    }
}
