//! The message queue: owns the channels, numbers publications, keeps within bounds
//! (paper §3.3).
//!
//! What it refuses to know: connections, bytes of any protocol, clocks. Its callers
//! hand in `now` and drain [`MessageQueue::take_stirred`] and [`MessageQueue::take_closed`].
//!
//! Invariant: `head` covers exactly what was applied; every entry of this node's log has
//! its own number, contiguous from 1.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use slab::Slab;
use smallvec::SmallVec;

use super::channel::{Birth, Channel};
use super::history::{self, History, Reading, Wanted};
use super::idempotency::{First, Idempotency};
use super::message::{Message, Publication};
use super::subscription::{Subscriber, Subscribers};
use crate::cursor::VersionVector;
use crate::error::{Refusal, Refused};
use crate::ids::{ChannelName, MessageId, Origin};
use crate::limits::{TOMBSTONE_MS, TOMBSTONES_MAX};
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

/// A cached message's place in the order of eviction.
#[derive(Clone, Copy, Debug)]
struct Cached {
    id: MessageId,
    channel: ChannelIx,
    generation: u32,
}

/// What remains of a closed channel while its name answers 410.
#[derive(Debug)]
struct Tombstone {
    until: Tick,
    /// What it held or had dropped, for whoever comes with an old cursor.
    held: Vec<(Origin, u64)>,
}

/// What a channel costs beside its messages: its place in slab, names and timetable,
/// and its name's allocation.
const CHANNEL_BYTES: usize = size_of::<Channel>() + 112;
const TOMBSTONE_BYTES: usize = 256;

/// Owns the channels and presents publish and subscribe (paper §3.3).
#[derive(Debug)]
pub struct MessageQueue {
    bounds: Bounds,
    origin: Origin,
    head: VersionVector,
    last_time: Timestamp,
    channels: Slab<Channel>,
    names: HashMap<ChannelName, ChannelIx>,
    generation: u32,
    timetable: BinaryHeap<Reverse<(Tick, ChannelIx, u32)>>,
    idempotency: Idempotency,
    tombstones: HashMap<ChannelName, Tombstone>,
    tombstone_order: VecDeque<(Tick, ChannelName)>,
    /// Entries of forgotten channels: a cursor that has not examined them may have
    /// missed something on a channel that was born since.
    forgotten: VersionVector,
    eviction_order: VecDeque<Cached>,
    cached_messages: usize,
    cached_bytes: usize,
    stirred: Vec<ChannelIx>,
    closed: Vec<Closed>,
    /// For ids of channels that have no name of their own.
    random: u64,
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
            names: HashMap::new(),
            generation: 0,
            timetable: BinaryHeap::new(),
            idempotency: Idempotency::default(),
            tombstones: HashMap::new(),
            tombstone_order: VecDeque::new(),
            forgotten: VersionVector::default(),
            eviction_order: VecDeque::new(),
            cached_messages: 0,
            cached_bytes: 0,
            stirred: Vec::new(),
            closed: Vec::new(),
            random: seed,
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
        match self.names.get(name) {
            Some(ix) => Lookup::Open(*ix),
            None if self.tombstones.contains_key(name) => Lookup::Closed,
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
        let channel = |ix: &Option<ChannelIx>| ix.and_then(|ix| self.channels.get(ix.0 as usize));
        let histories: SmallVec<[_; 1]> =
            places.iter().map(|ix| channel(ix).and_then(Channel::history)).collect();
        let mut reading = history::read(&histories, wanted, &self.head, now);
        let young = |ix| channel(ix).is_none_or(|channel| channel.after_forgetting);
        reading.gap |= self.has_forgotten(wanted.after) && places.iter().any(young);
        reading
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
        self.add(name.clone(), Birth::FirstUse, self.bounds.channel_ttl_ms, now)
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
    pub fn take_stirred(&mut self) -> Vec<ChannelIx> {
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

// -- Publishing ----------------------------------------------------------------

impl MessageQueue {
    /// Publishes one message to all its channels (paper §3.3, batch publication), or to
    /// none of them.
    pub fn publish(&mut self, publication: Publication, now: Now) -> Result<Receipt, Refused> {
        if let Some(first) = self.published_before(&publication, now.tick) {
            return Ok(Receipt { id: first.id, time: first.time, subscribers: 0, duplicate: true });
        }
        let places = self.places(&publication.channels, now.tick)?;
        let (id, time) = self.number(now.wall);
        let ttl_ms = publication.ttl_ms.unwrap_or(self.bounds.message_ttl_ms);
        let message = Arc::new(Message {
            id,
            time,
            expires: now.tick.plus_ms(ttl_ms),
            channels: publication.channels,
            media_type: publication.media_type,
            form: publication.form,
            body: publication.body,
        });
        let subscribers = self.count_subscribers(&places);
        for ix in places {
            self.apply(ix, message.clone(), now.tick);
        }
        self.shed_cache(self.bounds.cache_bytes_max);
        if let Some(key) = publication.idempotency_key {
            self.idempotency.remember(key, First { id, time }, now.tick);
        }
        Ok(Receipt { id, time, subscribers, duplicate: false })
    }

    fn published_before(&mut self, publication: &Publication, now: Tick) -> Option<First> {
        let key = publication.idempotency_key.as_deref()?;
        self.idempotency.first(key, now)
    }

    /// Opens all channels of a publication, after making sure that all can be.
    fn places(&mut self, names: &[ChannelName], now: Tick) -> Result<SmallVec<[ChannelIx; 1]>, Refused> {
        if let [name] = names {
            return Ok(SmallVec::from([self.open(name, now)?]));
        }
        names.iter().try_for_each(|name| self.may_use(name))?;
        let fresh = |name: &&ChannelName| self.find(name.as_str()) == Lookup::Unknown;
        let added = names.iter().filter(fresh).count();
        if self.channels.len() + added > self.bounds.channels_max {
            return Err(Refusal::ChannelsExhausted.into());
        }
        names.iter().map(|name| self.open(name, now)).collect()
    }

    /// The next entry of this node's log. Its time never goes back, whatever the clock does.
    fn number(&mut self, wall: Timestamp) -> (MessageId, Timestamp) {
        self.last_time = self.last_time.max(wall);
        let seq = self.head.seq(self.origin) + 1;
        self.head.set(self.origin, seq);
        (MessageId { origin: self.origin, seq }, self.last_time)
    }

    /// How many held polls wait on some of these channels, each counted once.
    fn count_subscribers(&self, places: &[ChannelIx]) -> usize {
        let of = |ix: &ChannelIx| self.channels[ix.0 as usize].subscribers.as_slice();
        if let [one] = places {
            return of(one).len();
        }
        let mut all: Vec<Subscriber> = places.iter().flat_map(of).copied().collect();
        all.sort_unstable();
        all.dedup();
        all.len()
    }

    /// Adds a message to one of its channels.
    fn apply(&mut self, ix: ChannelIx, message: Arc<Message>, now: Tick) {
        let Bounds { channel_messages_max, channel_bytes_max, .. } = self.bounds;
        let channel = &mut self.channels[ix.0 as usize];
        channel.touch(now);
        if !channel.stirred && !channel.subscribers.is_empty() {
            channel.stirred = true;
            self.stirred.push(ix);
        }
        let generation = channel.generation;
        self.eviction_order.push_back(Cached { id: message.id, channel: ix, generation });
        let history = channel.history_mut();
        let (count, bytes) = (history.count(), history.bytes());
        history.append(message);
        history.expire(now, drop);
        history.trim(channel_messages_max, channel_bytes_max, drop);
        let after = (history.count(), history.bytes());
        self.account((count, bytes), after);
        self.schedule(ix, now);
        self.tidy_eviction_order();
    }

    fn account(&mut self, before: (usize, usize), after: (usize, usize)) {
        self.cached_messages = self.cached_messages + after.0 - before.0;
        self.cached_bytes = self.cached_bytes + after.1 - before.1;
    }
}

// -- Creating, renewing, closing -------------------------------------------------

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
                let ix = self.add(name.clone(), Birth::Created, ttl_ms, now.tick)?;
                // Whoever held a cursor of the closed channel must not take this for it.
                self.lift_tombstone(&name);
                self.channels[ix.0 as usize].after_forgetting = !self.forgotten.is_empty();
                ix
            }
        };
        let channel = &mut self.channels[ix.0 as usize];
        channel.birth = Birth::Created;
        channel.ttl_ms = ttl_ms;
        channel.touch(now.tick);
        self.schedule(ix, now.tick);
        let info = self.info(ix, now).ok_or(Refusal::ChannelUnknown)?;
        Ok((info, !matches!(found, Lookup::Open(_))))
    }

    /// A decimal integer that no channel has: 53 random bits, exact in JavaScript too.
    fn unique_name(&mut self) -> ChannelName {
        loop {
            let id = (split_mix(&mut self.random) >> 11).max(1).to_string();
            if let (Ok(name), Lookup::Unknown) = (id.parse(), self.find(&id)) {
                return name;
            }
        }
    }

    /// Moves a channel's expiry away (paper §3.3); with `ttl_ms`, changes how far.
    pub fn renew(&mut self, name: &str, ttl_ms: Option<u64>, now: Now) -> Result<ChannelInfo, Refused> {
        let ix = self.open_place(name)?;
        let channel = &mut self.channels[ix.0 as usize];
        channel.ttl_ms = ttl_ms.unwrap_or(channel.ttl_ms);
        channel.touch(now.tick);
        self.schedule(ix, now.tick);
        self.info(ix, now).ok_or(Refusal::ChannelUnknown.into())
    }

    /// Closes a channel (paper §3.3): its messages go, its subscribers are told, and its
    /// name answers 410 for a while.
    pub fn close(&mut self, name: &str, now: Now) -> Result<(), Refused> {
        let ix = self.open_place(name)?;
        // A close is an entry of the log like a publication, so that the two have an order.
        self.number(now.wall);
        self.end(ix, now.tick);
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

    fn add(&mut self, name: ChannelName, birth: Birth, ttl_ms: u64, now: Tick) -> Result<ChannelIx, Refused> {
        if self.channels.len() >= self.bounds.channels_max {
            return Err(Refusal::ChannelsExhausted.into());
        }
        self.generation = self.generation.wrapping_add(1);
        let mut channel = Channel::new(name.clone(), self.generation, birth, ttl_ms, now);
        channel.after_forgetting = !self.forgotten.is_empty();
        let ix = ChannelIx(self.channels.insert(channel) as u32);
        self.names.insert(name, ix);
        self.schedule(ix, now);
        Ok(ix)
    }

    /// Takes a channel out; its messages are no longer cached.
    fn remove(&mut self, ix: ChannelIx) -> Channel {
        let channel = self.channels.remove(ix.0 as usize);
        self.names.remove(channel.name.as_str());
        if let Some(history) = channel.history() {
            self.account((history.count(), history.bytes()), (0, 0));
        }
        channel
    }

    /// Ends a created channel: a tombstone is left, and word for those who wait.
    fn end(&mut self, ix: ChannelIx, now: Tick) {
        let mut channel = self.remove(ix);
        let until = now.plus_ms(TOMBSTONE_MS);
        let held = channel.history().map_or_else(Vec::new, |history| history.evicted(true).collect());
        self.tombstones.insert(channel.name.clone(), Tombstone { until, held });
        self.tombstone_order.push_back((until, channel.name.clone()));
        if self.tombstones.len() > TOMBSTONES_MAX {
            self.drop_oldest_tombstone();
        }
        if self.tombstone_order.len() > 2 * TOMBSTONES_MAX {
            // Names that were created and closed again stand there more than once.
            let tombstones = &self.tombstones;
            self.tombstone_order
                .retain(|(until, name)| tombstones.get(name).is_some_and(|stone| stone.until == *until));
        }
        let subscribers = channel.subscribers.take();
        self.closed.push(Closed { ix, name: channel.name, subscribers });
    }

    fn drop_oldest_tombstone(&mut self) {
        if let Some((until, name)) = self.tombstone_order.pop_front() {
            // The name may have been created and closed again since.
            if self.tombstones.get(&name).is_some_and(|tombstone| tombstone.until == until) {
                self.lift_tombstone(&name);
            }
        }
    }

    fn lift_tombstone(&mut self, name: &ChannelName) {
        if let Some(tombstone) = self.tombstones.remove(name) {
            self.forget(tombstone.held.into_iter());
        }
    }

    fn forget(&mut self, held: impl Iterator<Item = (Origin, u64)>) {
        for (origin, seq) in held {
            self.forgotten.raise(origin, seq);
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the next of a sequence of well-mixed numbers.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

// -- Time and bounds -------------------------------------------------------------

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

    fn look_at_next(&mut self, now: Tick) {
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

    fn end_or_schedule(&mut self, ix: ChannelIx, now: Tick) {
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
    fn schedule(&mut self, ix: ChannelIx, now: Tick) {
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
    fn tidy_timetable(&mut self) {
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
            let Some(oldest) = self.eviction_order.pop_front() else { return };
            self.evict(oldest);
        }
    }

    fn evict(&mut self, cached: Cached) {
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
    fn live_mut(&mut self, cached: Cached) -> Option<&mut Channel> {
        let channel = self.channels.get_mut(cached.channel.0 as usize)?;
        (channel.generation == cached.generation).then_some(channel)
    }

    /// Keeps the order of eviction from growing far beyond what is cached.
    fn tidy_eviction_order(&mut self) {
        const SLACK: usize = 1_024;
        if self.eviction_order.len() <= 2 * self.cached_messages + SLACK {
            return;
        }
        let channels = &self.channels;
        self.eviction_order.retain(|cached| {
            channels.get(cached.channel.0 as usize).is_some_and(|channel| {
                channel.generation == cached.generation
                    && channel.history().is_some_and(|history| history.holds(cached.id))
            })
        });
    }

    /// Takes new bounds; what exceeds them goes with the next publications.
    pub fn reconfigure(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.shed_cache(self.bounds.cache_bytes_max);
    }
}

#[cfg(test)]
mod tests;
