//! Time and bounds: what expires, and what is evicted when the cache is full.

use std::cmp::Reverse;

use super::eviction::Cached;
use super::{Bounds, ChannelIx, MessageQueue};
use crate::channel::channel::{Birth, Channel};
use crate::ids::MessageId;
use crate::time::Tick;

impl MessageQueue {
    /// When [`MessageQueue::expire`] should be called next; `None` for never.
    pub fn next_expiry(&self) -> Option<Tick> {
        let channel = self.timetable.peek().map(|Reverse(next)| next.0);
        let tombstone = self.tombstone_order.front().map(|next| next.0);
        channel.into_iter().chain(tombstone).min()
    }

    /// Drops what has expired: messages, inactive channels, tombstones. Looks at no more
    /// than `budget` of them and tells whether that was enough.
    pub fn expire(&mut self, now: Tick, budget: usize) -> bool {
        self.idempotency.forget_old(now);
        for _ in 0..budget {
            if self.tombstone_order.front().is_some_and(|oldest| oldest.0 <= now) {
                self.drop_oldest_tombstone();
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
            Birth::Created => self.end(ix, now),
            Birth::FirstUse => {
                let channel = self.remove(ix);
                self.forget(channel.history().into_iter().flat_map(|history| history.evicted(true)));
            }
        }
    }

    /// Puts a channel into the timetable, unless it stands there early enough.
    pub(super) fn schedule(&mut self, ix: ChannelIx, now: Tick) {
        let channel = &mut self.channels[ix.0 as usize];
        let due = channel.due(now);
        if due < channel.wake {
            channel.wake = due;
            self.timetable.push(Reverse((due, ix, channel.generation)));
            self.tidy_timetable();
        }
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
