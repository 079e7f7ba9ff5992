//! Time and bounds: what expires, and what is evicted when the cache is full.

use std::cmp::Reverse;

use super::eviction::Cached;
use super::{Bounds, ChannelIx, Lookup, MessageQueue, Overdue};
use crate::channel::channel::{Birth, Channel};
use crate::channel::entry::Deed;
use crate::ids::MessageId;
use crate::time::{Now, Tick, Timestamp};

impl MessageQueue {
    /// When [`MessageQueue::expire`] should be called next; `None` for never.
    pub fn next_expiry(&self) -> Option<Tick> {
        let channel = self.timetable.peek().map(|Reverse(next)| next.0);
        channel.into_iter().chain(self.tombstones.next_until()).min()
    }

    /// Drops what has expired: messages, inactive channels, tombstones. Looks at no more
    /// than `budget` of them and tells whether that was enough.
    pub fn expire(&mut self, now: Tick, budget: usize) -> bool {
        self.idempotency.forget_old(now);
        for _ in 0..budget {
            if self.tombstones.next_until().is_some_and(|until| until <= now) {
                self.drop_lapsed_tombstone();
            } else if self.timetable.peek().is_some_and(|Reverse(next)| next.0 <= now) {
                self.look_at_next(now);
            } else {
                return true;
            }
        }
        false
    }

    pub(super) fn look_at_next(&mut self, now: Tick) {
        let Some(Reverse((wake, ix, generation))) = self.timetable.pop() else { return };
        let Some(channel) = self.channels.get_mut(ix.0 as usize) else { return };
        if channel.generation != generation || channel.wake != wake {
            return;
        }
        channel.wake = Tick(u64::MAX);
        if channel.history().is_some() {
            let history = channel.history_mut();
            let before = (history.count(), history.bytes());
            history.expire(now, drop);
            let after = (history.count(), history.bytes());
            self.account(before, after);
        }
        self.end_or_schedule(ix, now);
    }

    pub(super) fn end_or_schedule(&mut self, ix: ChannelIx, now: Tick) {
        let channel = &self.channels[ix.0 as usize];
        match channel.birth {
            _ if !channel.is_over(now) => self.schedule(ix, now),
            Birth::Created if self.log.is_some() => {
                let (name, ms) = (channel.name.clone(), now.since_ms(channel.expires));
                self.overdue.push(Overdue { name, ms });
            }
            Birth::Created => self.end(ix, self.last_time, None, now),
            Birth::FirstUse if self.is_young(channel, now) => {
                self.wake_at(ix, now.plus_ms(self.bounds.channel_ttl_ms));
            }
            Birth::FirstUse => {
                let channel = self.remove(ix);
                self.forget(channel.history().into_iter().flat_map(|history| history.evicted(true)));
            }
        }
    }

    /// Whether an entry may be on its way by which a channel of first use is a created one: a renewal
    /// may have come before it.
    fn is_young(&self, channel: &Channel, now: Tick) -> bool {
        let active = Tick(channel.expires.0.saturating_sub(channel.ttl_ms));
        self.log.is_some()
            && channel.touched > Timestamp(0)
            && now.since_ms(active) < self.bounds.channel_ttl_ms
    }

    /// Created channels that are over since this was last called, if others are to be told: for
    /// each, [`MessageQueue::propose_expiry`] or [`MessageQueue::postpone_expiry`] is to be called.
    pub fn take_overdue(&mut self) -> Vec<Overdue> {
        std::mem::take(&mut self.overdue)
    }

    /// Closes a created channel if it is still over, and tells others to do so unless they know
    /// of something that happened to it since. Tells whether it did.
    pub fn propose_expiry(&mut self, name: &str, now: Now) -> bool {
        let Lookup::Open(ix) = self.find(name) else { return false };
        let channel = &self.channels[ix.0 as usize];
        if channel.birth != Birth::Created || !channel.is_over(now.tick) {
            self.schedule(ix, now.tick);
            return false;
        }
        let (name, generation, touched) = (channel.name.clone(), channel.life, channel.touched);
        let (id, time) = self.number(now.wall);
        self.record(id, time, || Deed::Expire { name, generation, touched });
        self.end(ix, time, Some(touched), now.tick);
        true
    }

    /// Has a channel that is over looked at again after `ms` milliseconds.
    pub fn postpone_expiry(&mut self, name: &str, ms: u64, now: Now) {
        if let Lookup::Open(ix) = self.find(name) {
            self.wake_at(ix, now.tick.plus_ms(ms));
        }
    }

    /// Puts a channel into the timetable for that moment, unless it stands there for an earlier one.
    fn wake_at(&mut self, ix: ChannelIx, wake: Tick) {
        let channel = &mut self.channels[ix.0 as usize];
        if wake < channel.wake {
            channel.wake = wake;
            self.timetable.push(Reverse((wake, ix, channel.generation)));
            self.tidy_timetable();
        }
    }

    /// Puts a channel into the timetable, unless it stands there early enough.
    pub(super) fn schedule(&mut self, ix: ChannelIx, now: Tick) {
        let due = self.channels[ix.0 as usize].due(now);
        self.wake_at(ix, due);
    }

    /// Keeps the timetable from growing with channels that are no more: polls make and
    /// leave them much faster than their time comes.
    pub(super) fn tidy_timetable(&mut self) {
        const SLACK: usize = 1_024;
        if self.timetable.len() <= 2 * self.channels.len() + SLACK {
            return;
        }
        let channels = &self.channels;
        self.timetable.retain(|Reverse((wake, ix, generation))| {
            let channel = channels.get(ix.0 as usize);
            channel.is_some_and(|channel| channel.generation == *generation && channel.wake == *wake)
        });
    }

    /// Drops the oldest cached messages of the node until they take at most `bytes_max`.
    pub fn shed_cache(&mut self, bytes_max: usize) {
        while self.cached_bytes > bytes_max {
            let Some(oldest) = self.eviction_order.pop_oldest() else { return };
            self.evict(oldest);
        }
    }

    /// The same, but keeps the message `newest` whatever it takes: those who wait for it
    /// have not been given it yet.
    pub(super) fn shed_cache_behind(&mut self, bytes_max: usize, newest: MessageId) {
        while self.cached_bytes > bytes_max {
            match self.eviction_order.oldest().copied() {
                Some(oldest) if oldest.id != newest => {
                    self.eviction_order.pop_oldest();
                    self.evict(oldest);
                }
                _ => return,
            }
        }
    }

    pub(super) fn evict(&mut self, cached: Cached) {
        let Some(channel) = self.live_mut(cached) else { return };
        if channel.history().is_none() {
            return;
        }
        let dropped = channel.history_mut().drop_if_front(cached.id);
        if let Some(message) = dropped {
            self.account((1, message.bytes()), (0, 0));
        }
    }

    /// The channel of a cached message, if it is still the same channel.
    pub(super) fn live_mut(&mut self, cached: Cached) -> Option<&mut Channel> {
        let channel = self.channels.get_mut(cached.channel.0 as usize)?;
        (channel.generation == cached.generation).then_some(channel)
    }

    /// Keeps the order of eviction from growing far beyond what is cached.
    pub(super) fn tidy_eviction_order(&mut self) {
        let channels = &self.channels;
        let is_cached = |cached: &Cached| {
            channels.get(cached.channel.0 as usize).is_some_and(|channel| {
                channel.generation == cached.generation
                    && channel.history().is_some_and(|history| history.holds(cached.id))
            })
        };
        self.eviction_order.sweep(self.cached_messages, is_cached);
    }

    /// Takes new bounds; what exceeds them goes with the next publications.
    pub fn reconfigure(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.shed_cache(self.bounds.cache_bytes_max);
    }
}
