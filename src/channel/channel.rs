//! One channel: its subscribers and its recent messages (paper §3.2).

use super::history::History;
use super::subscription::Subscribers;
use crate::ids::ChannelName;
use crate::limits::EXPIRY_SLACK_MS;
use crate::time::Tick;

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
    /// A channel without subscribers or messages.
    pub fn new(name: ChannelName, generation: u32, birth: Birth, ttl_ms: u64, now: Tick) -> Channel {
        Channel {
            name,
            generation,
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

    /// Something happened: its end moves away (paper §3.3, renew).
    pub fn touch(&mut self, now: Tick) {
        self.expires = now.plus_ms(self.ttl_ms);
    }

    /// Whether nothing would be lost if it were not there: made by a poll that left.
    pub fn is_trace(&self) -> bool {
        self.birth == Birth::FirstUse && self.subscribers.is_empty() && self.history.is_none()
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
        let own = if self.expires > now { self.expires } else { now.plus_ms(self.ttl_ms) };
        messages.min(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_small() {
        // One channel for each held poll is a usual deployment (a channel per user).
        assert!(size_of::<Channel>() <= 96, "{}", size_of::<Channel>());
    }
}
