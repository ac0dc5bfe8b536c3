//! Reading durable history while appends and trims go on.

use dovetail_model::Commit;

use crate::error::ReadError;
use crate::memory::MemoryReader;

/// Reads durable commits. Cheap to clone; never blocks an append for longer than a look at an
/// index takes.
#[derive(Clone, Debug)]
pub struct JournalReader(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Memory(MemoryReader),
}

impl JournalReader {
    /// The commits after number `after`, in order and without a gap, as many as `max_bytes` of
    /// encoded size hold, but at least one if there is one. Empty exactly when `after` is the tail.
    pub fn read(&self, after: u64, max_bytes: usize) -> Result<Vec<Commit>, ReadError> {
        match &self.0 {
            Kind::Memory(reader) => reader.read(after, max_bytes),
        }
    }

    /// The newest durable commit.
    pub fn tail(&self) -> u64 {
        match &self.0 {
            Kind::Memory(reader) => reader.tail(),
        }
    }

    /// The oldest commit that can be read; `tail + 1` when there is none.
    pub fn first(&self) -> u64 {
        match &self.0 {
            Kind::Memory(reader) => reader.first(),
        }
    }
}

impl From<MemoryReader> for JournalReader {
    fn from(reader: MemoryReader) -> Self {
        Self(Kind::Memory(reader))
    }
}
