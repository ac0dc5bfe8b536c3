//! The data of the benchmarks: resources with names of forty bytes, as devices have them.

use std::sync::Arc;

use dovetail_model::{Change, Commit, Representation, Resource, Topic};

/// The name of the resource with this number; numbers up to a million give as many names.
pub(crate) fn topic(number: usize) -> Topic {
    let (site, device, point) = (number / 10_000, number / 10 % 1_000, number % 10);
    Topic::new(&format!("plant/site{site:03}/device{device:04}/measured/value{point}")).expect("a topic")
}

/// The commit that writes the resource with this name.
pub(crate) fn put(commit: u64, topic: &Topic) -> Commit {
    let resource = Resource {
        // A writer sends the name again, so it is another allocation.
        topic: Topic::new(topic.as_str()).expect("a topic"),
        revision: commit,
        modified_at: commit,
        expires_at: None,
        representation: Representation::copied(&[7; 100], None),
    };
    Commit {
        number: commit,
        at: commit,
        publisher: None,
        changes: Box::new([Change::Put(Arc::new(resource))]),
    }
}

/// Numbers below `end` in an order without a pattern, the same in every run.
pub(crate) struct Shuffled {
    state: u64,
    end: u64,
}

impl Shuffled {
    pub(crate) fn below(end: usize) -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, end: end as u64 }
    }
}

impl Iterator for Shuffled {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        Some((self.state % self.end) as usize)
    }
}
