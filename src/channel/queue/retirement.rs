//! Dead origins: once all that they published has expired they no longer stand in cursors, which would
//! otherwise grow with every restart of a node.
//!
//! What remains is how far each had come, so that a cursor from before is still told what it missed.

use smallvec::SmallVec;

use super::MessageQueue;
use crate::channel::entry::Deed;
use crate::cursor::VersionVector;
use crate::ids::Origin;
use crate::limits::{CURSOR_ORIGINS_EASY, ORIGIN_KEPT_MS, RETIRED_ORIGINS_MAX, RETIREMENTS_MAX};
use crate::sorted::SortedMap;
use crate::time::{Now, Tick};

/// The origins of which nothing is cached any more, and what is to be known of the others to find them.
#[derive(Debug, Default)]
pub(super) struct Retirement {
    /// The oldest first.
    rounds: Vec<Round>,
    heard: SortedMap<Origin, Heard>,
}

/// What is known of an origin that still stands in cursors.
#[derive(Debug, Default)]
struct Heard {
    /// When the last of its messages expires.
    until: Tick,
    /// Since when it is known to be dead and all its messages expired, and what had been applied of the
    /// others by then. No cursor from before lacks it, unless it is older than the origin itself.
    dead: Option<(Tick, VersionVector)>,
}

/// Origins that were found dead together.
#[derive(Debug)]
struct Round {
    /// How far they had come.
    origins: VersionVector,
    /// What had been applied of the others when that began.
    at: VersionVector,
}

/// What [`MessageQueue::retire_dead`] did with some origins.
#[derive(Clone, Debug)]
pub struct Retired {
    /// How far they had come.
    origins: VersionVector,
    /// What had been applied of the others when that began.
    at: VersionVector,
    /// Some of their messages were still cached.
    early: bool,
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
        let heard = self.heard.get_or_insert_with(origin, Heard::default);
        *heard = Heard { until: until.max(heard.until), dead: None };
    }

    /// An origin is alive.
    fn found_alive(&mut self, origin: Origin) {
        if let Some(heard) = self.heard.get_mut(&origin) {
            heard.dead = None;
        }
    }

    /// When the last of an origin's messages expires, as far as is known.
    fn needed_until(&self, origin: Origin) -> Tick {
        self.heard.get(&origin).map_or(Tick(0), |heard| heard.until)
    }

    /// Whether an origin that is dead was not known to be so, or its messages not to have expired.
    fn is_news(&self, origin: Origin, now: Tick) -> bool {
        self.heard.get(&origin).is_none_or(|heard| heard.dead.is_none() && heard.until <= now)
    }

    /// An origin is dead. If it has been, and all its messages expired, for long enough: what had been
    /// applied of the living when that began.
    fn found_dead(&mut self, origin: Origin, living: &VersionVector, now: Tick) -> Option<VersionVector> {
        let heard = self.heard.get_or_insert_with(origin, || Heard { until: now, dead: None });
        match &heard.dead {
            None if heard.until <= now => {
                heard.dead = Some((now, living.clone()));
                None
            }
            Some((since, at)) if since.plus_ms(ORIGIN_KEPT_MS) <= now => Some(at.clone()),
            _ => None,
        }
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

    /// Times at which origins were found dead that are told apart.
    #[cfg(test)]
    pub(super) fn round_count(&self) -> usize {
        self.rounds.len()
    }

    /// An origin is back.
    fn remove(&mut self, origin: Origin) {
        self.rounds.iter_mut().for_each(|round| round.origins.set(origin, 0));
        self.drop_empty();
    }

    fn drop_empty(&mut self) {
        self.rounds.retain(|round| !round.origins.is_empty());
    }

    /// Whether a reader with that vector may have missed something of a retired origin: it has read
    /// some of its log but not all, or none at all and is older than its death.
    pub(super) fn is_missed(&self, after: &VersionVector) -> bool {
        self.rounds.iter().any(|round| {
            let is_behind = |(origin, seq)| after.seq(origin) < seq;
            let is_partial = |(origin, seq)| (1..seq).contains(&after.seq(origin));
            let is_old = || round.at.iter().any(is_behind);
            round.origins.iter().any(is_partial) || is_old() && round.origins.iter().any(is_behind)
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

    /// Takes those origins out of cursors that have been dead, and all their messages expired, for
    /// [`ORIGIN_KEPT_MS`]. To be called now and then. Tells what it did, for [`MessageQueue::retire_again`].
    pub fn retire_dead(&mut self, is_live: impl Fn(Origin) -> bool, now: Now) -> Vec<Retired> {
        let lives = |(origin, _): &(Origin, u64)| *origin == self.origin || is_live(*origin);
        let (living, dead): (Vec<_>, Vec<_>) = self.head.iter().partition(lives);
        living.iter().for_each(|(origin, _)| self.retirement.found_alive(*origin));
        if dead.iter().any(|(origin, _)| self.retirement.is_news(*origin, now.tick)) {
            self.mark(now);
        }
        let mut at = self.head.clone();
        dead.iter().for_each(|(origin, _)| at.set(*origin, 0));
        let mut rounds: Vec<Retired> = Vec::new();
        for (origin, seq) in dead {
            let Some(at) = self.retirement.found_dead(origin, &at, now.tick) else { continue };
            let known = rounds.iter().position(|round| round.at == at).unwrap_or(rounds.len());
            if known == rounds.len() {
                rounds.push(Retired { origins: VersionVector::default(), at, early: false });
            }
            rounds.iter_mut().skip(known).take(1).for_each(|round| round.origins.set(origin, seq));
        }
        rounds.iter().for_each(|round| self.retire_again(round));
        rounds.extend(self.retire_early(is_live, now));
        rounds
    }

    /// Does what another queue's [`MessageQueue::retire_dead`] did, when the same had been applied.
    pub fn retire_again(&mut self, retired: &Retired) {
        if retired.early {
            self.drop_messages_of(&retired.origins);
        }
        self.retire(retired.origins.clone(), retired.at.clone());
    }

    /// A cursor that names more origins than it may is refused by every node. Before it comes to that, as
    /// with a node that starts again and again, those of the dead go whose messages expire first, and with
    /// them what is cached of theirs: whoever has not read it is told of a gap.
    fn retire_early(&mut self, is_live: impl Fn(Origin) -> bool, now: Now) -> Option<Retired> {
        let excess = self.head.len().saturating_sub(CURSOR_ORIGINS_EASY);
        if excess == 0 {
            return None;
        }
        let is_dead = |(origin, _): &(Origin, u64)| *origin != self.origin && !is_live(*origin);
        let mut dead: Vec<_> = self.head.iter().filter(is_dead).collect();
        if dead.is_empty() {
            return None;
        }
        self.mark(now);
        let mut at = self.head.clone();
        dead.iter().for_each(|(origin, _)| at.set(*origin, 0));
        dead.sort_unstable_by_key(|(origin, _)| (self.retirement.needed_until(*origin), *origin));
        let mut early = VersionVector::default();
        dead.into_iter().take(excess).for_each(|(origin, seq)| early.set(origin, seq));
        let retired = Retired { origins: early, at, early: true };
        self.retire_again(&retired);
        Some(retired)
    }

    /// Drops what is cached of some origins.
    fn drop_messages_of(&mut self, origins: &VersionVector) {
        for ix in 0..self.channels.capacity() {
            let Some(channel) = self.channels.get_mut(ix).filter(|channel| channel.history().is_some())
            else {
                continue;
            };
            let history = channel.history_mut();
            let before = (history.count(), history.bytes());
            history.drop_messages(|origin| origins.seq(origin) > 0);
            let after = (history.count(), history.bytes());
            self.account(before, after);
        }
    }

    /// An origin was heard of, and stands in cursors (again).
    pub(super) fn revive(&mut self, origin: Origin) {
        let seq = self.retirement.seq(origin);
        if seq > 0 {
            self.forgotten.raise(origin, seq);
            self.retirement.remove(origin);
        }
    }

    /// Marks this moment of the log.
    fn mark(&mut self, now: Now) {
        let (id, time) = self.number(now.wall);
        self.record(id, time, || Deed::Mark);
    }

    /// Retires origins that were found dead when `at` had been applied of the others.
    pub(super) fn retire(&mut self, dead: VersionVector, mut at: VersionVector) {
        for (origin, _) in dead.iter() {
            self.head.set(origin, 0);
            // From now on the retirement tells who missed something.
            self.forgotten.set(origin, 0);
        }
        let elsewhere: Vec<Origin> =
            at.iter().map(|(origin, _)| origin).filter(|origin| self.head.seq(*origin) == 0).collect();
        elsewhere.into_iter().for_each(|origin| at.set(origin, 0));
        self.retirement.add(dead, at);
    }
}
