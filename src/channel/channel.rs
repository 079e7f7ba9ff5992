//! One channel: its subscribers and its recent messages (paper §3.2).

use super::entry::Generation;
use super::history::History;
use super::subscription::Subscribers;
use crate::ids::ChannelName;
use crate::limits::EXPIRY_SLACK_MS;
use crate::time::{Tick, Timestamp};

/// How a channel came to be, and so how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// By a publisher's *create*: it is closed when inactive (paper §3.3), its
    /// subscribers are told, and its name answers 410 for a while.
    Created,
    /// By its first use: it lives while it has subscribers, messages or recent
    /// activity, and is then forgotten without a word.
    FirstUse,
}

/// A message stream of one kind, with those who wait for it.
#[derive(Debug)]
pub struct Channel {
    /// Its name.
    pub name: ChannelName,
    /// Which owner of its place in the queue's slab.
    pub generation: u32,
    /// Which life of its name.
    pub life: Generation,
    /// The time of the last entry that touched it; 0 for one that was only waited on.
    pub touched: Timestamp,
    /// How long before `touched` its `ttl_ms` was set, in milliseconds, and `u32::MAX` for longer or
    /// never: of two entries that set it the later one counts, in whatever order they come.
    ttl_age_ms: u32,
    /// How it came to be.
    pub birth: Birth,
    /// It has news for its subscribers and stands in the queue's list of such.
    pub stirred: bool,
    /// It was born after some channel had been forgotten, perhaps of the same name.
    pub after_forgetting: bool,
    /// How long it may be inactive, in milliseconds.
    pub ttl_ms: u64,
    /// When it ends, if nothing happens.
    pub expires: Tick,
    /// For when the queue has it in its timetable; `Tick(u64::MAX)` if not at all.
    pub wake: Tick,
    /// Who waits.
    pub subscribers: Subscribers,
    history: Option<Box<History>>,
}

impl Channel {
    /// A channel without subscribers or messages, in the first life of its name.
    pub fn new(name: ChannelName, generation: u32, birth: Birth, ttl_ms: u64, now: Tick) -> Channel {
        Channel {
            name,
            generation,
            life: 1,
            touched: Timestamp(0),
            ttl_age_ms: u32::MAX,
            birth,
            stirred: false,
            after_forgetting: false,
            ttl_ms,
            expires: now.plus_ms(ttl_ms),
            wake: Tick(u64::MAX),
            subscribers: Subscribers::None,
            history: None,
        }
    }

    /// What it holds, if it ever held anything.
    pub fn history(&self) -> Option<&History> {
        self.history.as_deref()
    }

    /// What it holds, to add to or to drop from.
    pub fn history_mut(&mut self) -> &mut History {
        self.history.get_or_insert_default()
    }

    /// An entry of that time concerned it: its end moves away (paper §3.3, renew).
    pub fn touch(&mut self, time: Timestamp, now: Tick) {
        let later_ms = time.0.saturating_sub(self.touched.0);
        self.touched.0 += later_ms;
        self.ttl_age_ms = self.ttl_age_ms.saturating_add(clamp(later_ms));
        self.expires = now.plus_ms(self.ttl_ms);
    }

    /// The same, for an entry that says how long it may be inactive. What was said last counts; at
    /// one time, the longer.
    pub fn renew(&mut self, ttl_ms: u64, time: Timestamp, now: Tick) {
        self.touch(time, now);
        let age_ms = clamp(self.touched.0.saturating_sub(time.0));
        if age_ms < self.ttl_age_ms || age_ms == self.ttl_age_ms && ttl_ms > self.ttl_ms {
            self.ttl_ms = ttl_ms;
            self.ttl_age_ms = age_ms;
        }
        self.expires = now.plus_ms(self.ttl_ms);
    }

    /// Another node says that it was touched then, and its time to live set at `ttl_set`.
    pub fn merge(&mut self, touched: Timestamp, (ttl_ms, ttl_set): (u64, Timestamp), now: Tick) {
        self.renew(ttl_ms, ttl_set, now);
        self.touch(touched, now);
    }

    /// When its `ttl_ms` was set, as far as that is remembered.
    pub fn ttl_set(&self) -> Timestamp {
        Timestamp(self.touched.0.saturating_sub(u64::from(self.ttl_age_ms)))
    }

    /// Whether nothing would be lost if it were not there: made by a poll that left.
    pub fn is_trace(&self) -> bool {
        self.birth == Birth::FirstUse
            && self.touched == Timestamp(0)
            && self.subscribers.is_empty()
            && self.history.is_none()
    }

    /// Whether it has come to its end.
    pub fn is_over(&self, now: Tick) -> bool {
        let inactive = self.expires <= now;
        match self.birth {
            Birth::Created => inactive,
            Birth::FirstUse => {
                let messages = self.history().map_or(0, History::count);
                inactive && self.subscribers.is_empty() && messages == 0
            }
        }
    }

    /// When the queue should look at it next.
    pub fn due(&self, now: Tick) -> Tick {
        let messages = self.history().and_then(History::next_expiry);
        let messages = messages.map_or(Tick(u64::MAX), |next| next.plus_ms(EXPIRY_SLACK_MS));
        // A channel that outlives its time because of its subscribers is looked at again
        // after as long a time.
        let again = || now.plus_ms(self.ttl_ms.max(EXPIRY_SLACK_MS));
        let own = if self.expires > now { self.expires } else { again() };
        messages.min(own)
    }
}

fn clamp(ms: u64) -> u32 {
    u32::try_from(ms).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_small() {
        // One channel for each held poll is a usual deployment (a channel per user).
        assert!(size_of::<Channel>() <= 96, "{}", size_of::<Channel>());
    }

    #[test]
    fn what_was_said_last_of_its_ttl_counts_in_whatever_order_it_comes() {
        let name = || "a".parse().unwrap();
        let said = [(1_000, 5), (1_000, 7), (3_000, 2), (2_000, 9), (u64::from(u32::MAX), 4)];
        for first in said {
            for second in said {
                let mut channel = Channel::new(name(), 0, Birth::FirstUse, 1, Tick(0));
                for (time, ttl_ms) in [first, second] {
                    channel.renew(ttl_ms, Timestamp(time), Tick(10));
                    channel.touch(Timestamp(time + 500), Tick(10));
                }
                let last = first.max(second);
                assert_eq!(channel.ttl_ms, last.1, "{first:?} {second:?}");
                assert_eq!(channel.touched, Timestamp(last.0 + 500));
                assert_eq!((channel.ttl_set(), channel.expires), (Timestamp(last.0), Tick(10 + last.1)));
            }
        }
    }
}
