//! The order in which cached messages are evicted when the node's cache is full: the oldest first.
//!
//! A message may be gone before its turn comes, expired or trimmed with its channel; its entry
//! stays. Such entries are swept out a few at a time, with each publication, so that no
//! publication pays for all of them.

use std::collections::VecDeque;

use super::ChannelIx;
use crate::ids::MessageId;
use crate::limits::{EVICTION_SLACK, EVICTION_SWEEP};

/// A cached message's place in the order of eviction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cached {
    pub(super) id: MessageId,
    pub(super) channel: ChannelIx,
    pub(super) generation: u32,
}

/// Entries, the oldest first.
#[derive(Debug, Default)]
pub(super) struct EvictionOrder {
    /// The oldest, which the present sweep has looked at already.
    swept: VecDeque<Cached>,
    rest: VecDeque<Cached>,
}

impl EvictionOrder {
    /// Adds the newest.
    pub(super) fn push(&mut self, cached: Cached) {
        self.rest.push_back(cached);
    }

    /// The oldest.
    pub(super) fn oldest(&self) -> Option<&Cached> {
        self.swept.front().or(self.rest.front())
    }

    /// Takes the oldest.
    pub(super) fn pop_oldest(&mut self) -> Option<Cached> {
        self.swept.pop_front().or_else(|| self.rest.pop_front())
    }

    /// Looks at some entries if there are many more than messages that are `cached`, and drops
    /// those whose messages are gone.
    pub(super) fn sweep(&mut self, cached: usize, is_cached: impl Fn(&Cached) -> bool) {
        if self.len() <= 2 * cached + EVICTION_SLACK {
            return;
        }
        for _ in 0..EVICTION_SWEEP {
            match self.rest.pop_front() {
                Some(entry) if is_cached(&entry) => self.swept.push_back(entry),
                Some(_) => {}
                None => return std::mem::swap(&mut self.rest, &mut self.swept),
            }
        }
    }

    /// How many there are, with those whose messages are gone.
    pub(super) fn len(&self) -> usize {
        self.swept.len() + self.rest.len()
    }

    /// All, the oldest first.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Cached> {
        self.swept.iter().chain(&self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Origin;

    fn cached(seq: u64) -> Cached {
        Cached { id: MessageId { origin: Origin(1), seq }, channel: ChannelIx(0), generation: 0 }
    }

    /// One in ten stays; the others are gone as soon as they came.
    #[test]
    fn it_stays_in_order_and_in_bounds_a_few_entries_at_a_time() {
        let stays = |entry: &Cached| entry.id.seq.is_multiple_of(10);
        let mut order = EvictionOrder::default();
        for seq in 1..=100_000 {
            order.push(cached(seq));
            order.sweep(seq as usize / 10, stays);
            let live = seq as usize / 10;
            assert!(order.len() <= 3 * live + 2 * EVICTION_SLACK, "{} with {live}", order.len());
        }
        let seqs: Vec<u64> = order.iter().map(|entry| entry.id.seq).collect();
        assert!(seqs.is_sorted(), "the oldest first");
        assert_eq!(seqs.iter().filter(|seq| seq.is_multiple_of(10)).count(), 10_000, "none is lost");
        let mut taken = Vec::new();
        while let Some(oldest) = order.oldest().copied() {
            assert_eq!(order.pop_oldest().map(|entry| entry.id), Some(oldest.id));
            taken.push(oldest.id.seq);
        }
        assert_eq!(taken, seqs);
    }
}
