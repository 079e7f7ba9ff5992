//! The log: what is done here is told to other nodes, what they did is done here too.
//!
//! Entries come in the order of their origin's log, but origins in any order; whatever that order
//! is, all nodes come to the same channels. So each rule here looks at lives and times, never at what came
//! first: the highest life of a name counts; in one life a publisher's close counts more than anything, and
//! an expiry less than any touch that it did not know of.

use std::sync::Arc;

use smallvec::SmallVec;

use super::tombstones::Tombstone;
use super::{ChannelIx, Lookup, MessageQueue};
use crate::channel::channel::Birth;
use crate::channel::entry::{Deed, Entry, Generation, Published};
use crate::channel::idempotency::First;
use crate::channel::message::Message;
use crate::ids::{ChannelName, MessageId};
use crate::limits::{CLOCK_AHEAD_MS_MAX, TOMBSTONE_MS};
use crate::planted::{Bug, Planted};
use crate::time::{Now, Tick, Timestamp};

/// What became of another node's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is not the next of its origin's log: nothing was changed.
    OutOfTurn,
    /// A message.
    Message(Fates),
    /// A channel's life changed.
    Changed,
    /// No channel changed: something happened that makes it void, or it concerns none.
    Void,
    /// There is no room for another channel.
    NoRoom,
}

/// What became of a message, by channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Channels that it was put into.
    pub delivered: usize,
    /// Channels that were closed before it came.
    pub closed: usize,
    /// Channels for which there is no room.
    pub no_room: usize,
    /// Held polls that wait on some of those that it was put into.
    pub subscribers: usize,
}

/// Why an entry does not concern a channel of this node.
pub(super) enum Excluded {
    /// That life of its name is over.
    Over,
    /// There is no room for another channel.
    NoRoom,
}

// -- Telling others ------------------------------------------------------------------

impl MessageQueue {
    /// Whether other nodes are to do what is done here: then every change is an entry, and
    /// [`MessageQueue::take_log`] is to be called. A node by itself pays nothing for it.
    pub fn set_replicated(&mut self, replicated: bool) {
        self.log = replicated.then(Vec::new);
    }

    /// A bug for the simulator to find.
    pub fn set_planted(&mut self, planted: Planted) {
        self.planted = planted;
    }

    /// This node's entries since this was last called.
    pub fn take_log(&mut self) -> Vec<Entry> {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Has others told what was numbered.
    pub(super) fn record(&mut self, id: MessageId, time: Timestamp, deed: impl FnOnce() -> Deed) {
        if let Some(log) = &mut self.log {
            log.push(Entry { id, time, deed: deed() });
        }
    }

    /// Numbers a change that happened at `time`, if others are to be told of it.
    pub(super) fn tell(&mut self, time: Timestamp, deed: impl FnOnce() -> Deed) {
        if self.log.is_some() {
            let (id, time) = self.number(time);
            self.record(id, time, deed);
        }
    }

    /// The time of a change to a channel: after whatever touched it before, so that it counts.
    pub(super) fn stamp(&self, ix: ChannelIx, wall: Timestamp) -> Timestamp {
        let time = self.last_time.max(wall);
        let after =
            self.channels.get(ix.0 as usize).map_or(Timestamp(0), |channel| channel.touched.plus_ms(1));
        // Not if that was stamped by a clock that is far ahead.
        if after <= time.plus_ms(CLOCK_AHEAD_MS_MAX) { time.max(after) } else { time }
    }
}

// -- Doing what others did ---------------------------------------------------------------

impl MessageQueue {
    /// Leaves out the next entry of another node, which nobody here understands.
    pub fn pass_over(&mut self, id: MessageId) {
        self.head.raise(id.origin, id.seq);
        self.revive(id.origin);
    }

    /// Does what another node did. Its entry must be the next of its origin's log.
    pub fn apply(&mut self, entry: Entry, now: Now) -> Applied {
        let Entry { id, time, deed } = entry;
        if id.origin == self.origin || id.seq != self.known(id.origin) + 1 {
            return Applied::OutOfTurn;
        }
        self.head.set(id.origin, id.seq);
        self.revive(id.origin);
        self.retirement.hear(id.origin, now.tick);
        self.hear_time(time, now.wall);
        match deed {
            Deed::Publish(published) => self.apply_message(id, time, published, now),
            Deed::Create { name, generation, ttl_ms } => {
                self.apply_renewal(&name, generation, time, (Birth::Created, ttl_ms), now.tick)
            }
            Deed::Renew { name, generation, ttl_ms } => {
                self.apply_renewal(&name, generation, time, (Birth::FirstUse, ttl_ms), now.tick)
            }
            Deed::Close { name, generation } => {
                let stone = Tombstone { life: generation, closed: time, expired: None, held: Vec::new() };
                self.apply_end(name, stone, now.tick)
            }
            Deed::Expire { name, generation, touched } => {
                let expired = Some(touched);
                let stone = Tombstone { life: generation, closed: time, expired, held: Vec::new() };
                self.apply_end(name, stone, now.tick)
            }
            Deed::Mark => Applied::Void,
        }
    }

    /// Our clock is not behind others', unless theirs is far ahead.
    pub(super) fn hear_time(&mut self, time: Timestamp, wall: Timestamp) {
        if time <= wall.plus_ms(CLOCK_AHEAD_MS_MAX) {
            self.last_time = self.last_time.max(time);
        }
    }

    fn apply_message(&mut self, id: MessageId, time: Timestamp, published: Published, now: Now) -> Applied {
        let Published { channels, media_type, body, ttl_ms, idempotency_key } = published;
        if let Some(key) = idempotency_key.filter(|_| !self.planted.is(Bug::KeyNotReplicated)) {
            let first = self.idempotency.first(&key, now.tick);
            if self.planted.is(Bug::RepetitionDropped) && first.is_some_and(|first| first.id != id) {
                return Applied::Void;
            }
            if first.is_none() {
                self.idempotency.remember(key, First { id, time }, now.tick);
            }
        }
        let names = channels.iter().map(|(name, _)| name.clone()).collect();
        // From now on, whatever the clocks say: they may be far apart.
        let expires = now.tick.plus_ms(ttl_ms);
        self.retirement.hear(id.origin, expires);
        let message = Arc::new(Message { id, time, expires, channels: names, media_type, body });
        let mut fates = Fates::default();
        let mut places = SmallVec::<[ChannelIx; 1]>::new();
        for (name, life) in channels {
            match self.admit(&name, life, time, Birth::FirstUse, now.tick) {
                Ok(ix) if self.was_put(ix, id) => {}
                Ok(ix) => {
                    self.put(ix, message.clone(), now.tick);
                    places.push(ix);
                }
                Err(Excluded::Over) => {
                    self.miss(&name, life, id);
                    fates.closed += 1;
                }
                Err(Excluded::NoRoom) => {
                    self.forgotten.raise(id.origin, id.seq);
                    fates.no_room += 1;
                }
            }
        }
        self.shed_cache_behind(self.bounds.cache_bytes_max, id);
        (fates.delivered, fates.subscribers) = (places.len(), self.count_subscribers(&places));
        Applied::Message(fates)
    }

    /// Whether the message is in that channel already: a peer named the channel twice.
    pub(super) fn was_put(&self, ix: ChannelIx, id: MessageId) -> bool {
        let history = self.channels.get(ix.0 as usize).and_then(|channel| channel.history());
        history.is_some_and(|history| history.newest(id.origin) >= id.seq)
    }

    /// An expired channel may be revived; then whoever reads it hears of what it missed.
    pub(super) fn miss(&mut self, name: &ChannelName, life: Generation, id: MessageId) {
        let stone = self.tombstones.find_mut(name.as_str());
        if let Some(stone) = stone.filter(|stone| stone.life == life && stone.expired.is_some()) {
            stone.hold(id.origin, id.seq);
        }
    }

    fn apply_renewal(
        &mut self,
        name: &ChannelName,
        life: Generation,
        time: Timestamp,
        (birth, ttl_ms): (Birth, u64),
        now: Tick,
    ) -> Applied {
        let ix = match self.admit(name, life, time, birth, now) {
            Ok(ix) => ix,
            Err(Excluded::Over) => return Applied::Void,
            Err(Excluded::NoRoom) => return Applied::NoRoom,
        };
        let channel = &mut self.channels[ix.0 as usize];
        if birth == Birth::Created {
            channel.birth = birth;
        }
        channel.renew(ttl_ms, time, now);
        self.schedule(ix, now);
        Applied::Changed
    }

    /// The channel that an entry of that time means by that life of a name, opened if need be.
    pub(super) fn admit(
        &mut self,
        name: &ChannelName,
        life: Generation,
        time: Timestamp,
        birth: Birth,
        now: Tick,
    ) -> Result<ChannelIx, Excluded> {
        let ix = match self.find(name.as_str()) {
            Lookup::Open(ix) => ix,
            Lookup::Closed => {
                let stone = self.tombstones.find(name.as_str());
                let birth = stone.and_then(|stone| stone.rebirth(life, time, birth)).ok_or(Excluded::Over)?;
                return self.begin(name, life, birth, now);
            }
            Lookup::Unknown => return self.begin(name, life, birth, now),
        };
        let channel = &mut self.channels[ix.0 as usize];
        if channel.touched == Timestamp(0) {
            // It was only waited on: its life was a guess.
            channel.life = life;
        }
        if life == channel.life {
            return Ok(ix);
        }
        if life < channel.life {
            return Err(Excluded::Over);
        }
        // The close of the life that is known here is still on its way.
        let (_, held) = self.dismiss(ix);
        self.forget(held.into_iter());
        self.begin(name, life, birth, now)
    }

    /// Opens a channel for an entry.
    fn begin(
        &mut self,
        name: &ChannelName,
        life: Generation,
        birth: Birth,
        now: Tick,
    ) -> Result<ChannelIx, Excluded> {
        if self.channels.len() >= self.bounds.channels_max {
            return Err(Excluded::NoRoom);
        }
        self.lift_tombstone(name);
        let ttl_ms = self.bounds.channel_ttl_ms;
        self.add(name.clone(), life, birth, ttl_ms, now).map_err(|_| Excluded::NoRoom)
    }

    /// A channel was closed elsewhere, by a publisher or because it was inactive.
    pub(super) fn apply_end(&mut self, name: ChannelName, stone: Tombstone, now: Tick) -> Applied {
        match self.find(name.as_str()) {
            Lookup::Open(ix) if self.outlives(ix, &stone) => {
                let channel = &mut self.channels[ix.0 as usize];
                if channel.life == stone.life && stone.expired.is_some() {
                    // Only what was created expires, though its creation is not known here.
                    channel.birth = Birth::Created;
                    self.schedule(ix, now);
                }
                Applied::Void
            }
            Lookup::Open(ix) => {
                let (_, held) = self.dismiss(ix);
                let mut stone = stone;
                held.into_iter().for_each(|(origin, seq)| stone.hold(origin, seq));
                self.bury(name, stone, now);
                Applied::Changed
            }
            Lookup::Closed => self.merge_tombstone(name, stone, now),
            Lookup::Unknown => {
                self.bury(name, stone, now);
                Applied::Changed
            }
        }
    }

    /// Whether something happened to a channel that makes its end void.
    fn outlives(&self, ix: ChannelIx, end: &Tombstone) -> bool {
        let Some(channel) = self.channels.get(ix.0 as usize) else { return false };
        let touched = channel.touched;
        if self.planted.is(Bug::CloseAnyGeneration) && channel.life != end.life {
            return false;
        }
        if touched == Timestamp(0) || channel.life != end.life {
            return touched > Timestamp(0) && channel.life > end.life;
        }
        match end.expired {
            Some(known) => touched > known && !self.planted.is(Bug::ExpireUnconditional),
            // Its name was used again an hour later.
            None => touched >= end.closed.plus_ms(TOMBSTONE_MS),
        }
    }

    fn merge_tombstone(&mut self, name: ChannelName, stone: Tombstone, now: Tick) -> Applied {
        let Some(known) = self.tombstones.find_mut(name.as_str()) else { return Applied::Void };
        if known.has_lapsed(stone.closed) {
            // It ended a life that began after the other was forgotten.
            known.life = 0;
        }
        if !known.merge(stone) {
            return Applied::Void;
        }
        let merged = known.clone();
        self.bury(name, merged, now);
        Applied::Changed
    }
}
