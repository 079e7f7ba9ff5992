//! Chance, for whom to ask and whom to kill.

use std::sync::atomic::{AtomicU64, Ordering};

use pushup::random;

/// A source of choices.
pub struct Random(random::Random);

impl Random {
    /// Of another sequence at each call. What processes do is not repeatable anyway.
    pub fn new() -> Random {
        static CALLS: AtomicU64 = AtomicU64::new(1);
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        Random(random::Random::new((u64::from(std::process::id()) << 32) ^ random::mix(call)))
    }

    /// Less than `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.0.next_u64() % end as u64) as usize
    }

    /// Less than `end`, and another than `last`.
    pub fn other_than(&mut self, last: usize, end: usize) -> usize {
        if end < 2 { 0 } else { (last + 1 + self.below(end - 1)) % end }
    }
}
