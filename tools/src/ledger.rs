//! Exactly-once book-keeping: what one poller has received of its channel.
//!
//! What it refuses to know: how messages arrive. Invariant: every sequence number below
//! `beyond` was received once, unless it stands in a hole; all others were not received.
//! A poller that gets everything in order costs eight bytes and a null pointer.

use std::ops::Range;

/// A poller remembers so many holes. Of more, the oldest are given up: what is in them is
/// lost for good, and would count as a duplicate if it came after all.
pub const HOLES_MAX: usize = 1_024;

/// What an arriving message is to its poller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The first of its number, behind all that came before.
    InOrder,
    /// The first of its number, but a later one was here before it.
    Late,
    /// It was here already.
    Again,
}

/// What one poller has received.
#[derive(Debug, Default)]
pub struct Ledger {
    /// One more than the highest number received.
    beyond: u32,
    /// Messages in holes that were given up.
    given_up: u32,
    /// Numbers below `beyond` that did not come, ascending, none empty; nearly always none.
    #[allow(clippy::box_collection)]
    // A null pointer is a third of a Vec, and there is one for every poller.
    holes: Option<Box<Vec<Range<u32>>>>,
}

impl Ledger {
    /// Takes the message with that number.
    pub fn receive(&mut self, sequence: u32) -> Receipt {
        if sequence < self.beyond {
            return self.receive_late(sequence);
        }
        if sequence > self.beyond {
            self.skip(self.beyond..sequence);
        }
        self.beyond = sequence.saturating_add(1);
        Receipt::InOrder
    }

    /// How many of the first `published` messages did not come.
    pub fn missing(&self, published: u32) -> u64 {
        u64::from(published.saturating_sub(self.beyond)) + self.in_holes()
    }

    /// Whether a message has come, as far as is remembered: of those before the oldest hole
    /// nothing is once holes were given up.
    pub fn has(&self, sequence: u32) -> bool {
        let oldest = self.holes.iter().flat_map(|holes| holes.first()).map(|hole| hole.start).next();
        if self.given_up > 0 && sequence < oldest.unwrap_or(self.beyond) {
            return false;
        }
        let in_hole = |hole: &Range<u32>| hole.contains(&sequence);
        sequence < self.beyond && !self.holes.iter().any(|holes| holes.iter().any(in_hole))
    }

    fn in_holes(&self) -> u64 {
        let open =
            self.holes.iter().flat_map(|holes| holes.iter()).map(|hole| u64::from(hole.end - hole.start));
        open.sum::<u64>() + u64::from(self.given_up)
    }

    fn skip(&mut self, hole: Range<u32>) {
        let holes = self.holes.get_or_insert_default();
        holes.push(hole);
        self.keep_few();
    }

    fn keep_few(&mut self) {
        let Some(holes) = self.holes.as_mut().filter(|holes| holes.len() > HOLES_MAX) else { return };
        let oldest = holes.remove(0);
        self.given_up = self.given_up.saturating_add(oldest.end - oldest.start);
    }

    fn receive_late(&mut self, sequence: u32) -> Receipt {
        let Some(holes) = self.holes.as_mut() else { return Receipt::Again };
        let Some(at) = holes.iter().position(|hole| hole.contains(&sequence)) else { return Receipt::Again };
        let hole = holes[at].clone();
        let parts = [hole.start..sequence, sequence + 1..hole.end];
        holes.splice(at..=at, parts.into_iter().filter(|part| !part.is_empty()));
        if holes.is_empty() {
            self.holes = None;
        }
        self.keep_few();
        Receipt::Late
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::random::Random;

    #[test]
    fn arrivals_are_told_apart() {
        use Receipt::{Again, InOrder, Late};
        for (arrivals, receipts, missing_of_5) in [
            (&[0, 1, 2, 3, 4][..], &[InOrder, InOrder, InOrder, InOrder, InOrder][..], 0),
            (&[1, 0, 2, 4, 3], &[InOrder, Late, InOrder, InOrder, Late], 0),
            (&[0, 0, 1, 0], &[InOrder, Again, InOrder, Again], 3),
            (&[0, 4], &[InOrder, InOrder], 3),
            (&[4, 2, 2, 1, 0, 3, 3], &[InOrder, Late, Again, Late, Late, Late, Again], 0),
            (&[], &[], 5),
        ] {
            let mut ledger = Ledger::default();
            let got: Vec<_> = arrivals.iter().map(|&sequence| ledger.receive(sequence)).collect();
            assert_eq!((&got[..], ledger.missing(5)), (receipts, missing_of_5), "{arrivals:?}");
        }
    }

    #[test]
    fn a_well_served_poller_is_small() {
        assert_eq!(size_of::<Ledger>(), 16);
    }

    #[test]
    fn holes_are_bounded_and_what_was_in_them_stays_lost() {
        let mut ledger = Ledger::default();
        let published = 4 * HOLES_MAX as u32;
        for sequence in (1..published).step_by(2) {
            ledger.receive(sequence);
        }
        assert_eq!(ledger.holes.as_ref().unwrap().len(), HOLES_MAX);
        assert_eq!(ledger.missing(published), u64::from(published / 2));
        assert!((0..published).step_by(2).all(|sequence| !ledger.has(sequence)), "none of these has come");
    }

    /// The slow oracle: a set of what came.
    #[test]
    fn any_sequence_of_arrivals_agrees_with_a_set() {
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let published = 1 + random.below(40) as u32;
            let mut arrivals: Vec<u32> = (0..published).filter(|_| random.below(10) > 0).collect();
            for _ in 0..random.below(6) {
                let (one, two) = (random.below(published.into()), random.below(published.into()));
                arrivals.push(one as u32);
                let last = arrivals.len() as u64;
                arrivals.swap((one % last) as usize, (two % last) as usize);
            }
            agree(&arrivals, published, seed);
        }
    }

    fn agree(arrivals: &[u32], published: u32, seed: u64) {
        let (mut ledger, mut seen) = (Ledger::default(), BTreeSet::new());
        for &sequence in arrivals {
            let wanted = match (seen.contains(&sequence), seen.last().is_some_and(|&last| sequence < last)) {
                (true, _) => Receipt::Again,
                (false, true) => Receipt::Late,
                (false, false) => Receipt::InOrder,
            };
            assert_eq!(ledger.receive(sequence), wanted, "seed {seed}: {arrivals:?} at {sequence}");
            seen.insert(sequence);
        }
        assert_eq!(ledger.missing(published), u64::from(published) - seen.len() as u64, "seed {seed}");
        assert!((0..published).all(|sequence| ledger.has(sequence) == seen.contains(&sequence)));
    }
}
