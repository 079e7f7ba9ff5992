//! Takes in another node's snapshot, all at once, beside whatever this node has already.
//!
//! The rules are those of the log: a channel piece is a touch, a tombstone an end. Of the messages only
//! those count that this node has not applied, so that nothing is delivered twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::tombstones::Tombstone;
use super::{ChannelIx, Lookup, MessageQueue};
use crate::channel::channel::Birth;
use crate::channel::entry::{Deed, Entry, Published};
use crate::channel::idempotency::First;
use crate::channel::message::Message;
use crate::channel::snapshot::{ChannelPiece, Piece, TombstonePiece};
use crate::cursor::VersionVector;
use crate::ids::{ChannelName, MessageId, Origin};
use crate::limits::{IDEMPOTENCY_MS, TOMBSTONE_MS};
use crate::planted::Bug;
use crate::time::{Now, Tick, Timestamp};

/// A snapshot as far as it has come, of which nothing shows yet.
#[derive(Debug, Default)]
pub struct Staged {
    head: VersionVector,
    forgotten: VersionVector,
    retired: VersionVector,
    retirement: VersionVector,
    channels: Vec<StagedChannel>,
    places: HashMap<ChannelName, usize>,
    messages: BTreeMap<MessageId, (Timestamp, Published)>,
    tombstones: Vec<TombstonePiece>,
    keys: Vec<(Box<str>, First, u64)>,
    bytes: usize,
    /// The channel to which messages belong that come now.
    current: usize,
    stage: Stage,
}

#[derive(Debug)]
struct StagedChannel {
    piece: ChannelPiece,
    messages: Vec<MessageId>,
}

/// What has come: nothing, some, all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Empty,
    Begun,
    Complete,
}

/// Why a piece was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It cannot come after what came before.
    Misplaced,
    /// The snapshot is larger than it may be.
    TooLarge,
}

impl Staged {
    /// Takes the next piece, unless all would then take more than `bytes_max`.
    pub fn add(&mut self, piece: Piece, bytes_max: usize) -> Result<(), Unfit> {
        match (self.stage, &piece) {
            (Stage::Empty, Piece::Begin { .. }) => self.stage = Stage::Begun,
            (Stage::Begun, Piece::Begin { head, .. }) if *head == self.head => {}
            (Stage::Begun, Piece::Begin { .. }) | (Stage::Empty | Stage::Complete, _) => {
                return Err(Unfit::Misplaced);
            }
            (Stage::Begun, _) => {}
        }
        self.bytes += piece.bytes();
        if self.bytes > bytes_max {
            return Err(Unfit::TooLarge);
        }
        match piece {
            Piece::Begin { head, forgotten, retired, retirement } => {
                forgotten.iter().for_each(|(origin, seq)| self.forgotten.raise(origin, seq));
                (self.head, self.retired, self.retirement) = (head, retired, retirement);
            }
            Piece::Channel(piece) => self.add_channel(piece),
            Piece::Message(entry) => self.add_message(entry)?,
            Piece::Tombstone(piece) => self.tombstones.push(piece),
            Piece::Key { key, id, time, left_ms } => self.keys.push((key, First { id, time }, left_ms)),
            Piece::End => self.stage = Stage::Complete,
        }
        Ok(())
    }

    /// What it takes, in bytes, as nearly as matters.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the last piece has come.
    pub fn is_complete(&self) -> bool {
        self.stage == Stage::Complete
    }

    /// What its sender had applied; empty before the first piece.
    pub fn head(&self) -> &VersionVector {
        &self.head
    }

    /// Claims to have so much of an origin, dead and alive.
    #[cfg(test)]
    pub(super) fn boast(&mut self, origin: Origin, seq: u64) {
        self.head.set(origin, seq);
        self.retired.set(origin, 2 * seq);
    }

    /// A channel that goes on comes again; what follows belongs to it.
    fn add_channel(&mut self, piece: ChannelPiece) {
        match self.places.get(&piece.name).and_then(|at| Some((*at, self.channels.get_mut(*at)?))) {
            Some((at, channel)) => {
                if channel.piece.generation != piece.generation {
                    channel.messages.clear();
                }
                channel.piece = piece;
                self.current = at;
            }
            None => {
                self.current = self.channels.len();
                self.places.insert(piece.name.clone(), self.current);
                self.channels.push(StagedChannel { piece, messages: Vec::new() });
            }
        }
    }

    fn add_message(&mut self, entry: Entry) -> Result<(), Unfit> {
        let Deed::Publish(published) = entry.deed else { return Err(Unfit::Misplaced) };
        let channel = self.channels.get_mut(self.current).ok_or(Unfit::Misplaced)?;
        channel.messages.push(entry.id);
        self.messages.entry(entry.id).or_insert((entry.time, published));
        Ok(())
    }
}

impl MessageQueue {
    /// Nobody knows more of this node's log than it does, nor that it is dead.
    pub fn correct(&self, staged: &mut Staged) {
        let own_seq = staged.head.seq(self.origin).min(self.known(self.origin));
        staged.head.set(self.origin, own_seq);
        staged.retired.set(self.origin, 0);
    }

    /// Takes in all of a snapshot at once, which is [`MessageQueue::correct`]; nothing if it is not complete.
    pub fn install(&mut self, staged: &Staged, now: Now) -> bool {
        if !staged.is_complete() {
            return false;
        }
        let own = self.all_known();
        // First of all: what is known to be gone is told by how it compares with the head.
        for (origin, seq) in staged.head.iter() {
            let beyond = u64::from(self.planted.is(Bug::SnapshotHeadTooHigh));
            self.head.raise(origin, (seq + beyond).max(own.seq(origin)));
            self.revive(origin);
            self.retirement.hear(origin, now.tick);
        }
        self.install_tombstones(&staged.tombstones, now);
        for channel in &staged.channels {
            self.install_channel(&channel.piece, now);
        }
        self.install_messages(staged, &own, now);
        for channel in &staged.channels {
            self.install_strands(&channel.piece, &staged.head, &own);
        }
        self.install_forgotten(staged, &own);
        self.install_retired(staged);
        self.install_keys(&staged.keys, &staged.head, now);
        if !self.planted.is(Bug::SnapshotStirsNobody) {
            self.stir_all();
        }
        self.shed_cache(self.bounds.cache_bytes_max);
        true
    }

    /// Whoever waits may have missed something that the snapshot only tells of.
    fn stir_all(&mut self) {
        for (ix, channel) in &mut self.channels {
            if !channel.stirred && !channel.subscribers.is_empty() {
                channel.stirred = true;
                self.stirred.push(ChannelIx(ix as u32));
            }
        }
    }

    fn install_tombstones(&mut self, stones: &[TombstonePiece], now: Now) {
        for piece in stones {
            self.hear_time(piece.closed, now.wall);
            let stone = Tombstone {
                life: piece.generation,
                closed: piece.closed,
                expired: piece.touched,
                held: piece.held.clone(),
            };
            let over_ms = now.wall.0.saturating_sub(piece.closed.0).min(TOMBSTONE_MS);
            // Its time began elsewhere.
            let began = Tick(now.tick.0.saturating_sub(over_ms));
            self.apply_end(piece.name.clone(), stone, began);
            if let Lookup::Open(ix) = self.find(piece.name.as_str()) {
                self.forget(piece.held.iter().copied());
                self.channels[ix.0 as usize].after_forgetting = true;
            }
        }
    }

    /// A channel of the snapshot, as if by an entry of its last touch.
    fn install_channel(&mut self, piece: &ChannelPiece, now: Now) {
        self.hear_time(piece.touched, now.wall);
        let Ok(ix) = self.admit(&piece.name, piece.generation, piece.touched, piece.birth, now.tick) else {
            return;
        };
        let Some(channel) = self.channels.get_mut(ix.0 as usize) else { return };
        let is_new = channel.touched == Timestamp(0);
        let expires = channel.expires;
        if piece.birth == Birth::Created {
            channel.birth = Birth::Created;
        }
        channel.merge(piece.touched, (piece.ttl_ms, piece.ttl_set), now.tick);
        let left = now.tick.plus_ms(piece.left_ms);
        channel.expires = if is_new { left } else { left.max(expires) };
        channel.after_forgetting |= piece.after_forgetting;
        self.schedule(ix, now.tick);
    }

    /// The place of a channel of the snapshot, if it stands here in the same life.
    fn installed(&self, piece: &ChannelPiece) -> Option<ChannelIx> {
        let Lookup::Open(ix) = self.find(piece.name.as_str()) else { return None };
        let channel = self.channels.get(ix.0 as usize)?;
        (channel.life == piece.generation).then_some(ix)
    }

    /// Puts those messages into their channels that were not applied here, the oldest first; each is one
    /// in memory, in however many channels it stands.
    fn install_messages(&mut self, staged: &Staged, own: &VersionVector, now: Now) {
        let times = times_in_order(&staged.messages);
        let mut puts = Vec::new();
        for channel in &staged.channels {
            let Some(ix) = self.installed(&channel.piece) else { continue };
            let repeats = self.planted.is(Bug::SnapshotRepeats);
            let is_new = |id: &&MessageId| staged.head.covers(**id) && (repeats || !own.covers(**id));
            for id in channel.messages.iter().filter(is_new) {
                puts.extend(times.get(id).map(|time| (*time, *id, ix)));
            }
        }
        puts.sort_unstable();
        let mut messages: HashMap<MessageId, Arc<Message>> = HashMap::new();
        for (_, id, ix) in puts {
            let Some((time, published)) = staged.messages.get(&id) else { continue };
            let message =
                messages.entry(id).or_insert_with(|| Arc::new(installed(id, *time, published, now)));
            if self.was_put(ix, id) && !self.planted.is(Bug::SnapshotRepeats) {
                continue;
            }
            let message = message.clone();
            self.hear_time(*time, now.wall);
            self.retirement.hear(id.origin, message.expires);
            let expires = self.channels.get(ix.0 as usize).map(|channel| channel.expires);
            self.put(ix, message, now.tick);
            // It was not now that it was published.
            if let (Some(expires), Some(channel)) = (expires, self.channels.get_mut(ix.0 as usize)) {
                channel.expires = expires;
            }
        }
    }

    /// What a channel had and dropped where the snapshot was made, and was never applied here.
    fn install_strands(&mut self, piece: &ChannelPiece, head: &VersionVector, own: &VersionVector) {
        let ix = self.installed(piece);
        for strand in &piece.strands {
            let origin = strand.origin;
            let beyond = |seq: u64| if seq > own.seq(origin) { seq.min(head.seq(origin)) } else { 0 };
            let (newest, evicted_upto) = (beyond(strand.newest), beyond(strand.evicted_upto));
            let channel = ix.and_then(|ix| self.channels.get_mut(ix.0 as usize));
            match channel {
                _ if newest == 0 => {}
                Some(channel) => channel.history_mut().note(origin, newest, evicted_upto),
                None => self.miss(&piece.name, piece.generation, MessageId { origin, seq: newest }),
            }
        }
    }

    /// What was forgotten where the snapshot was made, and was never applied here.
    fn install_forgotten(&mut self, staged: &Staged, own: &VersionVector) {
        let mut any = false;
        for (origin, seq) in staged.forgotten.iter() {
            let seq = seq.min(staged.head.seq(origin));
            if seq > own.seq(origin) {
                self.forgotten.raise(origin, seq);
                any = true;
            }
        }
        if !any {
            return;
        }
        for (_, channel) in &mut self.channels {
            if !staged.places.contains_key(&channel.name) {
                channel.after_forgetting = true;
            }
        }
    }

    fn install_retired(&mut self, staged: &Staged) {
        let mut retired = VersionVector::default();
        for (origin, seq) in staged.retired.iter() {
            if seq <= self.known(origin) {
                continue;
            }
            if self.head.seq(origin) == 0 {
                retired.set(origin, seq);
                continue;
            }
            // It stands in cursors here; what it did since is over, and nobody knows in which channels.
            self.head.raise(origin, seq);
            self.forgotten.raise(origin, seq);
            self.channels.iter_mut().for_each(|(_, channel)| channel.after_forgetting = true);
        }
        self.retire(retired, staged.retirement.clone());
    }

    fn install_keys(&mut self, keys: &[(Box<str>, First, u64)], head: &VersionVector, now: Now) {
        for (key, first, left_ms) in keys {
            if head.covers(first.id) && self.idempotency.first(key, now.tick).is_none() {
                let until = now.tick.plus_ms((*left_ms).min(IDEMPOTENCY_MS));
                self.idempotency.remember_until(key.clone(), *first, until);
            }
        }
    }
}

/// By what time messages are sorted: never against the order of their origin's log, even if another
/// node sent times that are.
fn times_in_order(messages: &BTreeMap<MessageId, (Timestamp, Published)>) -> HashMap<MessageId, Timestamp> {
    let mut latest = (Origin(0), Timestamp(0));
    let in_order = messages.iter().map(|(id, (time, _))| {
        let before = if latest.0 == id.origin { latest.1 } else { Timestamp(0) };
        latest = (id.origin, before.max(*time));
        (*id, latest.1)
    });
    in_order.collect()
}

fn installed(id: MessageId, time: Timestamp, published: &Published, now: Now) -> Message {
    Message {
        id,
        time,
        expires: now.tick.plus_ms(published.ttl_ms),
        channels: published.channels.iter().map(|(name, _)| name.clone()).collect(),
        media_type: published.media_type.clone(),
        body: published.body.clone(),
    }
}
