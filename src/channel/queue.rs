//! The message queue: owns the channels, numbers publications, keeps within bounds
//! (paper §3.3).
//!
//! What it refuses to know: connections, bytes of any protocol, clocks. Its callers
//! hand in `now` and drain [`MessageQueue::take_stirred`] and [`MessageQueue::take_closed`].
//!
//! Invariant: `head` covers exactly what was applied, of all origins but the dead; every entry of this node's log has
//! its own number, contiguous from 1.

mod applying;
mod eviction;
mod expiry;
mod installing;
mod lifecycle;
mod names;
mod publishing;
mod retirement;
mod snapshotting;
mod tombstones;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use slab::Slab;
use smallvec::SmallVec;

pub use self::applying::{Applied, Fates};
use self::eviction::EvictionOrder;
pub use self::installing::{Staged, Unfit};
use self::names::Names;
pub use self::retirement::Retired;
use self::retirement::Retirement;
pub use self::snapshotting::Snapshot;
use self::tombstones::Tombstones;
use super::channel::{Birth, Channel};
use super::entry::Entry;
use super::history::{self, History, Reading, Wanted};
use super::idempotency::Idempotency;
use super::subscription::{Subscriber, Subscribers};
use crate::cursor::VersionVector;
use crate::error::{Refusal, Refused};
use crate::ids::{ChannelName, MessageId, Origin};
use crate::planted::{Bug, Planted};
use crate::random::Random;
use crate::time::{Now, Tick, Timestamp};

/// The operator's bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How long a message is cached unless it says otherwise, in milliseconds.
    pub message_ttl_ms: u64,
    /// How long a channel may be inactive unless it says otherwise, in milliseconds.
    pub channel_ttl_ms: u64,
    /// Messages cached per channel.
    pub channel_messages_max: usize,
    /// Bytes cached per channel.
    pub channel_bytes_max: usize,
    /// Bytes cached by the node.
    pub cache_bytes_max: usize,
    /// Channels of the node.
    pub channels_max: usize,
    /// Channels must be created before they are used.
    pub existing_only: bool,
}

/// A channel's place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelIx(pub u32);

/// What a name stands for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// An open channel.
    Open(ChannelIx),
    /// A channel that was closed not long ago.
    Closed,
    /// Nothing.
    Unknown,
}

/// What a publisher gets for a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The message's id.
    pub id: MessageId,
    /// The message's time.
    pub time: Timestamp,
    /// Held polls of this node that it woke.
    pub subscribers: usize,
    /// It had been published before, with the same Idempotency-Key.
    pub duplicate: bool,
}

/// A channel's description, for the publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelInfo {
    /// Its name.
    pub name: ChannelName,
    /// Held polls on it.
    pub subscribers: usize,
    /// Messages that it holds.
    pub messages: usize,
    /// Bytes that these take.
    pub bytes: usize,
    /// When it expires if nothing happens.
    pub expires: Timestamp,
    /// Whether it was created, or came to be by its first use.
    pub created: bool,
}

/// A channel that was closed: its name, and who waited on it.
#[derive(Debug)]
pub struct Closed {
    /// The place it had.
    pub ix: ChannelIx,
    /// Its name.
    pub name: ChannelName,
    /// Who waited.
    pub subscribers: Subscribers,
}

/// Channels that have news; what one publication stirs needs no heap.
pub type Stirred = SmallVec<[ChannelIx; 4]>;

/// A created channel of which nothing was heard for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// Its name.
    pub name: ChannelName,
    /// For how long it is overdue, in milliseconds.
    pub ms: u64,
}

/// What a channel costs beside its messages: its place in slab, names and timetable,
/// its history, and a long name's allocation.
const CHANNEL_BYTES: usize = size_of::<Channel>() + size_of::<History>() + 80;
const TOMBSTONE_BYTES: usize = 256;

/// Owns the channels and presents publish and subscribe (paper §3.3).
#[derive(Debug)]
pub struct MessageQueue {
    bounds: Bounds,
    origin: Origin,
    head: VersionVector,
    last_time: Timestamp,
    channels: Slab<Channel>,
    names: Names,
    generation: u32,
    timetable: BinaryHeap<Reverse<(Tick, ChannelIx, u32)>>,
    idempotency: Idempotency,
    tombstones: Tombstones,
    /// Entries of forgotten channels: a cursor that has not examined them may have
    /// missed something on a channel that was born since.
    forgotten: VersionVector,
    eviction_order: EvictionOrder,
    cached_messages: usize,
    cached_bytes: usize,
    stirred: Stirred,
    closed: Vec<Closed>,
    /// What was done since it was last asked for; `None` if nobody else wants to know.
    log: Option<Vec<Entry>>,
    overdue: Vec<Overdue>,
    retirement: Retirement,
    /// For ids of channels that have no name of their own.
    random: Random,
    /// A bug for the simulator to find.
    planted: Planted,
}

// -- Reading -------------------------------------------------------------------

impl MessageQueue {
    /// An empty queue that numbers as `origin`. `seed` makes the ids that it gives to
    /// channels hard to guess and unlikely to meet another node's.
    pub fn new(bounds: Bounds, origin: Origin, seed: u64) -> MessageQueue {
        MessageQueue {
            bounds,
            origin,
            head: VersionVector::default(),
            last_time: Timestamp(0),
            channels: Slab::new(),
            names: Names::default(),
            generation: 0,
            timetable: BinaryHeap::new(),
            idempotency: Idempotency::default(),
            tombstones: Tombstones::default(),
            forgotten: VersionVector::default(),
            eviction_order: EvictionOrder::default(),
            cached_messages: 0,
            cached_bytes: 0,
            stirred: Stirred::new(),
            closed: Vec::new(),
            log: None,
            overdue: Vec::new(),
            retirement: Retirement::default(),
            random: Random::new(seed),
            planted: Planted::default(),
        }
    }

    /// This node's origin.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// What was applied, of every origin: what a reader has examined that has read all.
    pub fn head(&self) -> &VersionVector {
        &self.head
    }

    /// Open channels.
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// Messages in the caches, a message once for each of its channels.
    pub fn cached_messages(&self) -> usize {
        self.cached_messages
    }

    /// Bytes in the caches, likewise.
    pub fn cached_bytes(&self) -> usize {
        self.cached_bytes
    }

    /// All memory in use, in bytes, as far as it is counted.
    pub fn bytes(&self) -> usize {
        self.cached_bytes
            + self.channels.len() * CHANNEL_BYTES
            + self.tombstones.len() * TOMBSTONE_BYTES
            + self.idempotency.bytes()
    }

    /// What a name stands for now.
    pub fn find(&self, name: &str) -> Lookup {
        match self.names.find(name, &self.channels) {
            Some(ix) => Lookup::Open(ix),
            None if self.tombstones.find(name).is_some() => Lookup::Closed,
            None => Lookup::Unknown,
        }
    }

    /// The same, for a name that probably stands for the channel at `guess`.
    pub fn find_at(&self, guess: ChannelIx, name: &str) -> Lookup {
        match self.channels.get(guess.0 as usize) {
            Some(channel) if channel.name.as_str() == name => Lookup::Open(guess),
            _ => self.find(name),
        }
    }

    /// The name of an open channel.
    pub fn name(&self, ix: ChannelIx) -> Option<&ChannelName> {
        self.channels.get(ix.0 as usize).map(|channel| &channel.name)
    }

    /// Reads some channels as one (paper §3.3, batch subscription). `None` stands for a
    /// channel that does not exist (yet).
    pub fn read(&self, places: &[Option<ChannelIx>], wanted: &Wanted, now: Tick) -> Reading {
        if self.has_nothing_new(places, wanted.after) {
            let mut examined = history::examined(wanted, &self.head);
            self.retirement.strip(&mut examined);
            return Reading { examined, ..Reading::default() };
        }
        let channel = |ix: &Option<ChannelIx>| ix.and_then(|ix| self.channels.get(ix.0 as usize));
        let histories: SmallVec<[_; 1]> =
            places.iter().map(|ix| channel(ix).and_then(Channel::history)).collect();
        let mut reading = history::read(&histories, wanted, &self.head, now);
        let young = |ix| channel(ix).is_none_or(|channel| channel.after_forgetting);
        reading.gap |= self.has_forgotten(wanted.after) && places.iter().any(young);
        reading.gap |= wanted.after.is_some_and(|after| self.retirement.is_missed(after));
        if self.planted.is(Bug::CursorTakesHead) {
            reading.examined = history::examined(wanted, &self.head);
        }
        self.retirement.strip(&mut reading.examined);
        reading
    }

    /// Whether a poll that comes back has seen all of its one channel, as nearly all have:
    /// then there is nothing to read and no gap.
    fn has_nothing_new(&self, places: &[Option<ChannelIx>], after: Option<&VersionVector>) -> bool {
        let ([Some(ix)], Some(after)) = (places, after) else { return false };
        let Some(channel) = self.channels.get(ix.0 as usize) else { return false };
        !channel.after_forgetting
            && channel.history().is_none_or(|history| history.is_seen(after, &self.head))
            && !self.retirement.is_missed(after)
    }

    /// Whether something that `after` does not cover was forgotten with its channel.
    fn has_forgotten(&self, after: Option<&VersionVector>) -> bool {
        let Some(after) = after else { return false };
        self.forgotten.iter().any(|(origin, seq)| after.seq(origin) < seq)
    }

    /// Describes an open channel.
    pub fn info(&self, ix: ChannelIx, now: Now) -> Option<ChannelInfo> {
        let channel = self.channels.get(ix.0 as usize)?;
        Some(ChannelInfo {
            name: channel.name.clone(),
            subscribers: channel.subscribers.len(),
            messages: channel.history().map_or(0, History::count),
            bytes: channel.history().map_or(0, History::bytes),
            expires: now.wall.plus_ms(channel.expires.since_ms(now.tick)),
            created: channel.birth == Birth::Created,
        })
    }

    /// Describes up to `limit` channels from place `from` on, and tells where to go on.
    /// A channel that lives throughout is listed once.
    pub fn list(&self, from: usize, limit: usize, now: Now) -> (Vec<ChannelInfo>, Option<usize>) {
        let mut found = Vec::new();
        for at in from..self.channels.capacity() {
            if found.len() == limit {
                return (found, Some(at));
            }
            if self.channels.contains(at) {
                found.extend(self.info(ChannelIx(at as u32), now));
            }
        }
        (found, None)
    }
}

// -- Subscribing ---------------------------------------------------------------

impl MessageQueue {
    /// The channel of that name, made now if this is its first use.
    pub fn open(&mut self, name: &ChannelName, now: Tick) -> Result<ChannelIx, Refused> {
        if let Lookup::Open(ix) = self.find(name.as_str()) {
            return Ok(ix);
        }
        self.may_use(name)?;
        self.add(name.clone(), 1, Birth::FirstUse, self.bounds.channel_ttl_ms, now)
    }

    /// Whether a channel may be published to or waited on.
    pub fn may_use(&self, name: &ChannelName) -> Result<(), Refused> {
        let (reason, what) = match self.find(name.as_str()) {
            Lookup::Closed => (Refusal::ChannelClosed, "was closed"),
            Lookup::Unknown if self.bounds.existing_only => (Refusal::ChannelUnknown, "does not exist"),
            _ => return Ok(()),
        };
        Err(Refused::because(reason, format!("The channel \"{name}\" {what}.")))
    }

    /// Has `subscriber` wait on a channel; tells its position there.
    pub fn join(&mut self, ix: ChannelIx, subscriber: Subscriber) -> u32 {
        self.channels[ix.0 as usize].subscribers.join(subscriber)
    }

    /// Ends the wait at `position`; tells who has that position now, if anyone.
    pub fn leave(&mut self, ix: ChannelIx, position: u32) -> Option<Subscriber> {
        let channel = &mut self.channels[ix.0 as usize];
        let moved = channel.subscribers.leave(position);
        self.forget_trace(ix);
        moved
    }

    /// Takes a channel away of which nothing would be lost: made by a poll that left, or
    /// that was not held after all.
    pub fn forget_trace(&mut self, ix: ChannelIx) {
        if self.channels.get(ix.0 as usize).is_some_and(Channel::is_trace) {
            self.remove(ix);
        }
    }

    /// Takes all who wait on a channel.
    pub fn take_subscribers(&mut self, ix: ChannelIx) -> Subscribers {
        match self.channels.get_mut(ix.0 as usize) {
            Some(channel) => channel.subscribers.take(),
            None => Subscribers::None,
        }
    }

    /// The channels that have news for their subscribers since this was last called.
    pub fn take_stirred(&mut self) -> Stirred {
        let stirred = std::mem::take(&mut self.stirred);
        for ix in &stirred {
            if let Some(channel) = self.channels.get_mut(ix.0 as usize) {
                channel.stirred = false;
            }
        }
        stirred
    }

    /// The channels that were closed since this was last called.
    pub fn take_closed(&mut self) -> Vec<Closed> {
        std::mem::take(&mut self.closed)
    }

    /// Whether [`MessageQueue::take_stirred`] or [`MessageQueue::take_closed`] has something.
    pub fn has_news(&self) -> bool {
        !self.stirred.is_empty() || !self.closed.is_empty()
    }
}

#[cfg(test)]
mod tests;
