//! A channel's life: created, renewed, closed (paper §3.3), and what remains of it.

use super::tombstones::Tombstone;
use super::{ChannelInfo, ChannelIx, Closed, Lookup, MessageQueue};
use crate::channel::channel::{Birth, Channel};
use crate::channel::entry::{Deed, Generation};
use crate::error::{Refusal, Refused};
use crate::ids::{ChannelName, Origin};
use crate::limits::{TOMBSTONE_MS, TOMBSTONES_MAX};
use crate::time::{Now, Tick, Timestamp};

impl MessageQueue {
    /// Creates a channel (paper §3.3), or takes over one that came to be by its first
    /// use. Without a name it gets a unique decimal integer. Tells whether it is new.
    pub fn create(
        &mut self,
        name: Option<ChannelName>,
        ttl_ms: Option<u64>,
        now: Now,
    ) -> Result<(ChannelInfo, bool), Refused> {
        let name = name.unwrap_or_else(|| self.unique_name());
        let found = self.find(name.as_str());
        let ttl_ms = ttl_ms.unwrap_or(self.bounds.channel_ttl_ms);
        let ix = match found {
            Lookup::Open(ix) => ix,
            Lookup::Closed | Lookup::Unknown => {
                let life = self.tombstones.find(name.as_str()).map_or(1, |last| last.life.saturating_add(1));
                let ix = self.add(name.clone(), life, Birth::Created, ttl_ms, now.tick)?;
                // Whoever held a cursor of the closed channel must not take this for it.
                self.lift_tombstone(&name);
                self.channels[ix.0 as usize].after_forgetting = !self.forgotten.is_empty();
                ix
            }
        };
        let time = self.stamp(ix, now.wall);
        let channel = &mut self.channels[ix.0 as usize];
        let generation = channel.life;
        channel.birth = Birth::Created;
        channel.renew(ttl_ms, time, now.tick);
        self.schedule(ix, now.tick);
        self.tell(time, || Deed::Create { name, generation, ttl_ms });
        let info = self.info(ix, now).ok_or(Refusal::ChannelUnknown)?;
        Ok((info, !matches!(found, Lookup::Open(_))))
    }

    /// A decimal integer that no channel has: 53 random bits, exact in JavaScript too.
    pub(super) fn unique_name(&mut self) -> ChannelName {
        loop {
            let id = (self.random.next_u64() >> 11).max(1).to_string();
            if let (Ok(name), Lookup::Unknown) = (id.parse(), self.find(&id)) {
                return name;
            }
        }
    }

    /// Moves a channel's expiry away (paper §3.3); with `ttl_ms`, changes how far.
    pub fn renew(&mut self, name: &str, ttl_ms: Option<u64>, now: Now) -> Result<ChannelInfo, Refused> {
        let ix = self.open_place(name)?;
        let time = self.stamp(ix, now.wall);
        let channel = &mut self.channels[ix.0 as usize];
        let (name, generation) = (channel.name.clone(), channel.life);
        let ttl_ms = ttl_ms.unwrap_or(channel.ttl_ms);
        channel.renew(ttl_ms, time, now.tick);
        self.schedule(ix, now.tick);
        self.tell(time, || Deed::Renew { name, generation, ttl_ms });
        self.info(ix, now).ok_or(Refusal::ChannelUnknown.into())
    }

    /// Closes a channel (paper §3.3): its messages go, its subscribers are told, and its
    /// name answers 410 for a while.
    pub fn close(&mut self, name: &str, now: Now) -> Result<(), Refused> {
        let ix = self.open_place(name)?;
        // A close is an entry of the log like a publication, so that the two have an order.
        let (id, time) = self.number(now.wall);
        let channel = &self.channels[ix.0 as usize];
        let (name, generation) = (channel.name.clone(), channel.life);
        self.record(id, time, || Deed::Close { name, generation });
        self.end(ix, time, None, now.tick);
        Ok(())
    }

    /// The place of an open channel.
    pub fn open_place(&self, name: &str) -> Result<ChannelIx, Refused> {
        match self.find(name) {
            Lookup::Open(ix) => Ok(ix),
            Lookup::Closed => Err(Refusal::ChannelClosed.into()),
            Lookup::Unknown => Err(Refusal::ChannelUnknown.into()),
        }
    }

    pub(super) fn add(
        &mut self,
        name: ChannelName,
        life: Generation,
        birth: Birth,
        ttl_ms: u64,
        now: Tick,
    ) -> Result<ChannelIx, Refused> {
        if self.channels.len() >= self.bounds.channels_max {
            return Err(Refusal::ChannelsExhausted.into());
        }
        self.generation = self.generation.wrapping_add(1);
        let mut channel = Channel::new(name, self.generation, birth, ttl_ms, now);
        channel.life = life;
        channel.after_forgetting = !self.forgotten.is_empty();
        let ix = ChannelIx(self.channels.insert(channel) as u32);
        self.names.insert(ix, &self.channels);
        self.schedule(ix, now);
        Ok(ix)
    }

    /// Takes a channel out; its messages are no longer cached.
    pub(super) fn remove(&mut self, ix: ChannelIx) -> Channel {
        let channel = self.channels.remove(ix.0 as usize);
        self.names.remove(channel.name.as_str(), ix);
        if let Some(history) = channel.history() {
            self.account((history.count(), history.bytes()), (0, 0));
        }
        channel
    }

    /// Ends a channel at that time of the log: a tombstone is left, and word for those who wait.
    /// If it `expired`, that is what was known to be its last touch.
    pub(super) fn end(&mut self, ix: ChannelIx, closed: Timestamp, expired: Option<Timestamp>, now: Tick) {
        let life = self.channels[ix.0 as usize].life;
        let (name, held) = self.dismiss(ix);
        self.bury(name, Tombstone { life, closed, expired, held }, now);
    }

    /// Takes a channel out with word for those who wait; tells what it held.
    pub(super) fn dismiss(&mut self, ix: ChannelIx) -> (ChannelName, Vec<(Origin, u64)>) {
        let mut channel = self.remove(ix);
        let held = channel.history().map_or_else(Vec::new, |history| history.evicted(true).collect());
        let (name, subscribers) = (channel.name.clone(), channel.subscribers.take());
        self.closed.push(Closed { ix, name: name.clone(), subscribers });
        (name, held)
    }

    /// Sets a tombstone.
    pub(super) fn bury(&mut self, name: ChannelName, stone: Tombstone, now: Tick) {
        self.tombstones.set(name, stone, now.plus_ms(TOMBSTONE_MS));
        if self.tombstones.len() > TOMBSTONES_MAX
            && let Some(oldest) = self.tombstones.pop_first()
        {
            self.forget(oldest.held.into_iter());
        }
    }

    /// Forgets the tombstone whose time is over.
    pub(super) fn drop_lapsed_tombstone(&mut self) {
        let Some(lapsed) = self.tombstones.pop_first() else { return };
        if self.log.is_some() && lapsed.closed <= self.last_time {
            // Other nodes judge by the time of our entries whether the name is free again.
            self.last_time = self.last_time.max(lapsed.closed.plus_ms(TOMBSTONE_MS));
        }
        self.forget(lapsed.held.into_iter());
    }

    pub(super) fn lift_tombstone(&mut self, name: &ChannelName) {
        if let Some(tombstone) = self.tombstones.remove(name.as_str()) {
            self.forget(tombstone.held.into_iter());
        }
    }

    pub(super) fn forget(&mut self, held: impl Iterator<Item = (Origin, u64)>) {
        for (origin, seq) in held {
            if self.head.seq(origin) > 0 {
                self.forgotten.raise(origin, seq);
            }
        }
    }
}
