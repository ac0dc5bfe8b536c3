//! Giving history up.

use std::sync::Arc;

use crate::segment::LiveSegment;
use crate::shared::Catalog;

impl Catalog {
    /// The oldest commit that can be read; `tail + 1` when there is none.
    pub(crate) fn first(&self) -> u64 {
        self.segments.front().map_or(self.tail + 1, |live| live.first)
    }

    /// Takes the segments out all of whose commits are below `before` and covered by a durable
    /// snapshot. Readers that are in the middle of one keep it until they are done.
    pub(crate) fn trim(&mut self, before: u64) -> Vec<Arc<LiveSegment>> {
        let mut dropped = Vec::new();
        while let Some(second) = self.segments.get(1)
            && second.first <= before
            && second.first <= self.covered + 1
        {
            dropped.extend(self.segments.pop_front());
        }
        dropped
    }

    /// The bytes of the records from commit `from` on, to within the stride of the indexes.
    pub(crate) fn bytes_from(&self, from: u64) -> u64 {
        let mut bytes = 0;
        if from > self.tail {
            return bytes;
        }
        for live in self.segments.iter().rev() {
            let Some((point, end)) = live.index().locate(from.max(live.first)) else { break };
            bytes += end.saturating_sub(point.offset);
            if live.first <= from {
                break;
            }
        }
        bytes
    }
}
