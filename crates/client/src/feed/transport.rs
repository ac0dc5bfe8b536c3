//! What carries a feed.

use dovetail_api::decode::Frame;

use super::Start;
use crate::error::Error;

/// Carries the frames of one feed from the server. Both functions may be cancelled: nothing is lost, and the
/// next call goes on.
pub(crate) trait Transport {
    /// Connects and asks for the feed from `start` on. What was open before is closed.
    ///
    /// # Errors
    /// If there is no connection or the server refuses.
    async fn open(&mut self, start: Start) -> Result<(), Error>;

    /// The next frame of the open connection.
    ///
    /// # Errors
    /// If the connection is gone.
    async fn next(&mut self) -> Result<Frame, Error>;

    /// Closes the connection.
    fn close(&mut self);
}
