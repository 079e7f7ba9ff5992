//! What remains of closed channels while their names answer 410.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use crate::channel::channel::Birth;
use crate::channel::entry::Generation;
use crate::ids::{ChannelName, Origin};
use crate::limits::TOMBSTONE_MS;
use crate::time::{Tick, Timestamp};

/// What remains of a closed channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tombstone {
    /// Which life of its name ended.
    pub(super) life: Generation,
    /// When it was closed, by the log's time.
    pub(super) closed: Timestamp,
    /// If it expired: what the proposer knew of as its last touch; a later one revives it.
    pub(super) expired: Option<Timestamp>,
    /// What it held or had dropped, for whoever comes with an old cursor.
    pub(super) held: Vec<(Origin, u64)>,
}

impl Tombstone {
    /// Whether an entry of that time finds the name free again. It is the log's time that
    /// counts, so that all nodes judge alike, whenever they forget the tombstone.
    pub(super) fn has_lapsed(&self, time: Timestamp) -> bool {
        time >= self.closed.plus_ms(TOMBSTONE_MS)
    }

    /// How the channel begins that an entry of that time means by that life: as the entry says (`birth`), or
    /// as what it was when it expired; `None` if that life is over.
    pub(super) fn rebirth(&self, life: Generation, time: Timestamp, birth: Birth) -> Option<Birth> {
        if life > self.life || self.has_lapsed(time) {
            return Some(birth);
        }
        let revives = life == self.life && self.expired.is_some_and(|touched| touched < time);
        // Only what was created expires.
        revives.then_some(Birth::Created)
    }

    /// Takes up what another close of the same name says; tells whether that changed anything.
    /// A later life counts more; in one life a close by a publisher more than an expiry, of
    /// expiries the one that knew most, and then the later.
    pub(super) fn merge(&mut self, other: Tombstone) -> bool {
        let rank = |stone: &Tombstone| (stone.life, stone.expired.is_none(), stone.expired, stone.closed);
        let wins = rank(&other) > rank(self);
        other.held.iter().for_each(|(origin, seq)| self.hold(*origin, *seq));
        if wins {
            (self.life, self.closed, self.expired) = (other.life, other.closed, other.expired);
        }
        wins
    }

    /// There was an entry in the channel, which it no longer holds.
    pub(super) fn hold(&mut self, origin: Origin, seq: u64) {
        match self.held.iter_mut().find(|held| held.0 == origin) {
            Some(held) => held.1 = held.1.max(seq),
            None => self.held.push((origin, seq)),
        }
    }
}

/// All of them, each until its time is over.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    stones: HashMap<ChannelName, (Place, Tombstone)>,
    order: BTreeMap<Place, ChannelName>,
    next: u64,
}

/// When a tombstone's time is over, and its number among all that there ever were.
pub(super) type Place = (Tick, u64);

impl Tombstones {
    /// That of a name.
    pub(super) fn find(&self, name: &str) -> Option<&Tombstone> {
        self.stones.get(name).map(|(_, stone)| stone)
    }

    /// The same, to add what it held.
    pub(super) fn find_mut(&mut self, name: &str) -> Option<&mut Tombstone> {
        self.stones.get_mut(name).map(|(_, stone)| stone)
    }

    /// Sets one, in the place of the one that the name may have.
    pub(super) fn set(&mut self, name: ChannelName, stone: Tombstone, until: Tick) {
        self.remove(name.as_str());
        let place = (until, self.next);
        self.next += 1;
        self.order.insert(place, name.clone());
        self.stones.insert(name, (place, stone));
    }

    /// Takes the one of a name away.
    pub(super) fn remove(&mut self, name: &str) -> Option<Tombstone> {
        let (place, stone) = self.stones.remove(name)?;
        self.order.remove(&place);
        Some(stone)
    }

    /// Takes the one away whose time is over first.
    pub(super) fn pop_first(&mut self) -> Option<Tombstone> {
        let (_, name) = self.order.pop_first()?;
        self.stones.remove(&name).map(|(_, stone)| stone)
    }

    /// When the next one's time is over.
    pub(super) fn next_until(&self) -> Option<Tick> {
        self.order.first_key_value().map(|((until, _), _)| *until)
    }

    /// How many there ever were.
    pub(super) fn numbered(&self) -> u64 {
        self.next
    }

    /// The next one after a place.
    pub(super) fn next(&self, after: Option<Place>) -> Option<(Place, &ChannelName, &Tombstone)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (place, name) = self.order.range((from, Bound::Unbounded)).next()?;
        let (_, stone) = self.stones.get(name)?;
        Some((*place, name, stone))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.stones.len()
    }
}
