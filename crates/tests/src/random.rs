//! Random numbers that can be had again from their seed, which a failing test prints.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A generator (SplitMix64), small on purpose: its numbers choose test cases, nothing more.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed from `DOVETAIL_SEED`, or a new one; printed either way, so that a failure can be run again.
    pub fn from_environment() -> Self {
        let given = std::env::var("DOVETAIL_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(std::process::id()));
        #[expect(clippy::print_stderr, reason = "the runner shows it with a failing test")]
        {
            eprintln!("DOVETAIL_SEED={seed}");
        }
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `limit` − 1; `limit` is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The bias of the remainder does not matter for limits this far below 2^64.
        self.bits() % limit
    }

    /// A time from `least` to `most`, in whole microseconds.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_micros() as u64;
        least + Duration::from_micros(self.below(span + 1))
    }

    /// A generator of its own for a part of the test.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.bits())
    }
}
