//! Dead origins: once all that they published has expired they no longer stand in cursors, which would
//! otherwise grow with every restart of a node.
//!
//! What remains is how far each had come, so that a cursor from before is still told what it missed.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::MessageQueue;
use crate::cursor::VersionVector;
use crate::ids::Origin;
use crate::limits::{ORIGIN_KEPT_MS, RETIRED_ORIGINS_MAX, RETIREMENTS_MAX};
use crate::time::{Now, Tick};

/// The origins of which nothing is cached any more, and when those that are said to be alive were last heard of.
#[derive(Debug, Default)]
pub(super) struct Retirement {
    /// The oldest first.
    rounds: Vec<Round>,
    /// By origin, when the last of its messages expires.
    heard: BTreeMap<Origin, Tick>,
}

/// Origins that were found dead together.
#[derive(Debug)]
struct Round {
    /// How far they had come.
    origins: VersionVector,
    /// What had been applied of the others by then.
    at: VersionVector,
}

impl Retirement {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.rounds.is_empty()
    }

    /// How far a retired origin had come; 0 for others.
    pub(super) fn seq(&self, origin: Origin) -> u64 {
        self.rounds.iter().map(|round| round.origins.seq(origin)).max().unwrap_or(0)
    }

    /// An entry of an origin was applied; it is needed until then.
    pub(super) fn hear(&mut self, origin: Origin, until: Tick) {
        let heard = self.heard.entry(origin).or_default();
        *heard = until.max(*heard);
    }

    /// All of them, and what had been applied of the others at the last retirement.
    pub(super) fn all(&self) -> (VersionVector, VersionVector) {
        let mut origins = VersionVector::default();
        for (origin, seq) in self.rounds.iter().flat_map(|round| round.origins.iter()) {
            origins.raise(origin, seq);
        }
        (origins, self.rounds.last().map(|round| round.at.clone()).unwrap_or_default())
    }

    /// Adds origins that were found dead when `at` had been applied.
    pub(super) fn add(&mut self, origins: VersionVector, at: VersionVector) {
        if origins.is_empty() {
            return;
        }
        for (origin, _) in origins.iter() {
            self.heard.remove(&origin);
            self.rounds.iter_mut().for_each(|round| round.at.set(origin, 0));
        }
        self.rounds.push(Round { origins, at });
        self.tidy();
    }

    fn tidy(&mut self) {
        if self.rounds.len() > RETIREMENTS_MAX {
            let oldest = self.rounds.remove(0);
            if let Some(next) = self.rounds.first_mut() {
                oldest.origins.iter().for_each(|(origin, seq)| next.origins.raise(origin, seq));
            }
        }
        while self.rounds.iter().map(|round| round.origins.len()).sum::<usize>() > RETIRED_ORIGINS_MAX {
            let Some(oldest) = self.rounds.first_mut() else { return };
            let first = oldest.origins.iter().next();
            first.into_iter().for_each(|(origin, _)| oldest.origins.set(origin, 0));
            self.drop_empty();
        }
    }

    /// An origin is back.
    pub(super) fn remove(&mut self, origin: Origin) {
        self.rounds.iter_mut().for_each(|round| round.origins.set(origin, 0));
        self.drop_empty();
    }

    fn drop_empty(&mut self) {
        self.rounds.retain(|round| !round.origins.is_empty());
    }

    /// Whether a reader with that vector may have missed something of a retired origin: it has read
    /// some of its log but not all, or none at all and is older than the retirement.
    pub(super) fn is_missed(&self, after: &VersionVector) -> bool {
        self.rounds.iter().any(|round| {
            let is_behind = |(origin, seq)| after.seq(origin) < seq;
            let is_partial = |(origin, seq)| (1..seq).contains(&after.seq(origin));
            round.origins.iter().any(is_partial)
                || round.at.iter().any(is_behind) && round.origins.iter().any(is_behind)
        })
    }

    /// Takes out of a vector what need not stand there any more.
    pub(super) fn strip(&self, examined: &mut VersionVector) {
        if self.is_empty() {
            return;
        }
        let is_over = |(origin, seq): &(Origin, u64)| *seq <= self.seq(*origin);
        let over: SmallVec<[_; 4]> = examined.iter().filter(is_over).collect();
        over.into_iter().for_each(|(origin, _)| examined.set(origin, 0));
    }
}

impl MessageQueue {
    /// How far an origin's log was applied, whether or not it still stands in cursors.
    pub fn known(&self, origin: Origin) -> u64 {
        self.head.seq(origin).max(self.retirement.seq(origin))
    }

    /// The same of every origin.
    pub fn all_known(&self) -> VersionVector {
        let mut known = self.retirement.all().0;
        self.head.iter().for_each(|(origin, seq)| known.raise(origin, seq));
        known
    }

    /// Takes those origins out of cursors that are dead and whose messages all expired
    /// [`ORIGIN_KEPT_MS`] ago.
    pub fn retire_dead(&mut self, is_live: impl Fn(Origin) -> bool, now: Now) {
        let mut dead = VersionVector::default();
        for (origin, seq) in self.head.iter() {
            if origin == self.origin || is_live(origin) {
                continue;
            }
            let until = *self.retirement.heard.entry(origin).or_insert(now.tick);
            if until.plus_ms(ORIGIN_KEPT_MS) <= now.tick {
                dead.set(origin, seq);
            }
        }
        self.retire(dead, None);
    }

    /// Retires origins, found dead when `at` (else, all of the others' that is known) had been applied.
    pub(super) fn retire(&mut self, dead: VersionVector, at: Option<VersionVector>) {
        for (origin, _) in dead.iter() {
            self.head.set(origin, 0);
            // From now on the retirement tells who missed something.
            self.forgotten.set(origin, 0);
        }
        let mut at = at.unwrap_or_else(|| self.head.clone());
        let elsewhere: Vec<Origin> =
            at.iter().map(|(origin, _)| origin).filter(|origin| self.head.seq(*origin) == 0).collect();
        elsewhere.into_iter().for_each(|origin| at.set(origin, 0));
        self.retirement.add(dead, at);
    }
}
