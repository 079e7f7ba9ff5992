//! What a channel still holds: one strand per origin, and the reading of several at once.
//!
//! A *strand* holds one origin's messages ascending in both sequence and time: append at
//! the back, drop at the front, binary search for a cursor or a time range. That is the
//! O(log N) for which the paper chose B-trees (§3.2), in contiguous memory.
//!
//! Invariant: whatever was dropped is remembered by [`Strand::evicted_upto`], so that a
//! cursor that has not examined it is told of a gap.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use super::message::Message;
use crate::cursor::VersionVector;
use crate::ids::{MessageId, Origin};
use crate::time::{Tick, Timestamp};

/// One origin's messages in one channel.
#[derive(Debug)]
pub struct Strand {
    origin: Origin,
    messages: VecDeque<Arc<Message>>,
    /// The highest entry of this origin that was dropped from this channel.
    evicted_upto: u64,
}

impl Strand {
    fn new(origin: Origin) -> Strand {
        Strand { origin, messages: VecDeque::new(), evicted_upto: 0 }
    }

    /// The place of the first message after `seq`.
    fn after(&self, seq: u64) -> usize {
        self.messages.partition_point(|message| message.id.seq <= seq)
    }

    /// The place of the first message at or after `since`.
    fn since(&self, since: Timestamp) -> usize {
        self.messages.partition_point(|message| message.time < since)
    }

    fn drop_front(&mut self) -> Option<Arc<Message>> {
        let message = self.messages.pop_front()?;
        self.evicted_upto = self.evicted_upto.max(message.id.seq);
        Some(message)
    }
}

/// All that one channel still holds.
#[derive(Debug, Default)]
pub struct History {
    strands: Vec<Strand>,
    count: usize,
    bytes: usize,
    /// No message expires before this moment; `None` when empty.
    next_expiry: Option<Tick>,
    /// Some message expires before one that stands in front of it.
    unordered: bool,
}

impl History {
    /// Messages held.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes held, as [`Message::bytes`] counts them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// No message expires before this moment; `None` when there is none.
    pub fn next_expiry(&self) -> Option<Tick> {
        self.next_expiry
    }

    /// Adds the newest message of its origin.
    ///
    /// # Panics
    /// If it is not newer than what the strand holds: entries are applied in the order
    /// of their origin's log, always.
    pub fn append(&mut self, message: Arc<Message>) {
        let expires = message.expires;
        self.count += 1;
        self.bytes += message.bytes();
        let strand = self.strand_mut(message.id.origin);
        let last = strand.messages.back().map(|last| (last.id.seq, last.expires));
        assert!(last.is_none_or(|last| last.0 < message.id.seq), "entries come in order");
        strand.messages.push_back(message);
        self.unordered |= last.is_some_and(|last| last.1 > expires);
        self.next_expiry = Some(self.next_expiry.map_or(expires, |next| next.min(expires)));
    }

    fn strand_mut(&mut self, origin: Origin) -> &mut Strand {
        let at = match self.strands.iter().position(|strand| strand.origin == origin) {
            Some(at) => at,
            None => {
                self.strands.push(Strand::new(origin));
                self.strands.len() - 1
            }
        };
        &mut self.strands[at]
    }

    /// Drops what has expired; hands each dropped message to `dropped`.
    pub fn expire(&mut self, now: Tick, mut dropped: impl FnMut(Arc<Message>)) {
        if self.next_expiry.is_none_or(|next| next > now) {
            return;
        }
        let (mut count, mut bytes) = (0, 0);
        let mut drop = |message: Arc<Message>| {
            count += 1;
            bytes += message.bytes();
            dropped(message);
        };
        for strand in &mut self.strands {
            while strand.messages.front().is_some_and(|front| front.expires <= now) {
                strand.drop_front().into_iter().for_each(&mut drop);
            }
            if self.unordered {
                drop_expired_within(strand, now, &mut drop);
            }
        }
        self.count -= count;
        self.bytes -= bytes;
        self.settle();
    }

    /// Drops the oldest messages until at most `count_max` and `bytes_max` are held;
    /// the newest always stays.
    pub fn trim(&mut self, count_max: usize, bytes_max: usize, mut dropped: impl FnMut(Arc<Message>)) {
        while self.count > 1 && (self.count > count_max || self.bytes > bytes_max) {
            match self.drop_oldest() {
                Some(message) => dropped(message),
                None => return,
            }
        }
    }

    /// Drops the oldest message of all strands.
    pub fn drop_oldest(&mut self) -> Option<Arc<Message>> {
        let oldest = self
            .strands
            .iter_mut()
            .filter(|strand| !strand.messages.is_empty())
            .min_by_key(|strand| strand.messages.front().map(|front| (front.time, front.id)))?;
        let message = oldest.drop_front()?;
        self.count -= 1;
        self.bytes -= message.bytes();
        if self.count == 0 {
            self.settle();
        }
        Some(message)
    }

    /// Drops the message `id` if it is the oldest of its origin here.
    pub fn drop_if_front(&mut self, id: MessageId) -> Option<Arc<Message>> {
        let strand = self.strands.iter_mut().find(|strand| strand.origin == id.origin)?;
        if strand.messages.front()?.id != id {
            return None;
        }
        let message = strand.drop_front()?;
        self.count -= 1;
        self.bytes -= message.bytes();
        Some(message)
    }

    /// Whether `id` is still held or stands behind something that is.
    pub fn holds(&self, id: MessageId) -> bool {
        self.strands
            .iter()
            .find(|strand| strand.origin == id.origin)
            .is_some_and(|strand| strand.messages.front().is_some_and(|front| front.id.seq <= id.seq))
    }

    /// Finds the next expiry again, and what order there is.
    fn settle(&mut self) {
        let all = || self.strands.iter().flat_map(|strand| &strand.messages);
        if self.unordered {
            self.next_expiry = all().map(|message| message.expires).min();
            self.unordered = self.strands.iter().any(|strand| !is_ordered(strand));
        } else {
            let fronts = self.strands.iter().filter_map(|strand| strand.messages.front());
            self.next_expiry = fronts.map(|message| message.expires).min();
        }
    }

    /// For each origin, the highest entry that this channel no longer holds; with
    /// `everything`, as if all were dropped.
    pub fn evicted(&self, everything: bool) -> impl Iterator<Item = (Origin, u64)> + '_ {
        self.strands.iter().map(move |strand| {
            let held = strand.messages.back().filter(|_| everything);
            let upto = held.map_or(strand.evicted_upto, |last| last.id.seq);
            (strand.origin, upto)
        })
    }

    /// All messages, strand by strand; the slow oracle of [`read`] and a snapshot's source.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.strands.iter().flat_map(|strand| &strand.messages)
    }
}

fn is_ordered(strand: &Strand) -> bool {
    strand.messages.iter().is_sorted_by_key(|message| message.expires)
}

/// Drops what expired behind a message that lives longer.
fn drop_expired_within(strand: &mut Strand, now: Tick, drop: &mut impl FnMut(Arc<Message>)) {
    let evicted_upto = &mut strand.evicted_upto;
    strand.messages.retain(|message| {
        let stays = message.expires > now;
        if !stays {
            *evicted_upto = (*evicted_upto).max(message.id.seq);
            drop(message.clone());
        }
        stays
    });
}

/// What a reader wants of some histories.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Only what this vector does not cover; `None` for everything.
    pub after: Option<&'a VersionVector>,
    /// Only messages stamped at or after this (paper §3.2, start time).
    pub since: Timestamp,
    /// Only messages stamped at or before this (paper §3.2, end time).
    pub until: Timestamp,
    /// At most so many messages.
    pub messages_max: usize,
    /// Stop before so many body bytes, but give at least one message.
    pub bytes_max: usize,
}

/// A message, and which of the histories that were read carried it.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The message.
    pub message: Arc<Message>,
    /// Bit `i` is set when the `i`-th history carried it.
    pub carriers: u64,
}

/// What a reading found.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// By time, each message once.
    pub messages: Vec<Carried>,
    /// What the reader has examined once it has this: everything that the node has, but
    /// of each origin not beyond the first message that was left out.
    pub examined: VersionVector,
    /// Something that the reader had not examined is no longer held.
    pub gap: bool,
}

/// A strand being read. Ordered so that the earliest message comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    time: Timestamp,
    id: MessageId,
    /// Which history, for `carriers`.
    history: usize,
    /// Which strand of it.
    strand: usize,
    /// Which message of that.
    at: usize,
}

/// Reads several histories (at most 64) as one: merged by time, without duplicates.
///
/// `head` is what this node has of every origin: the reader has examined that much
/// when nothing is left out.
pub fn read(histories: &[Option<&History>], wanted: &Wanted, head: &VersionVector, now: Tick) -> Reading {
    let mut reading = Reading { examined: head.clone(), ..Reading::default() };
    // A reader that has seen more than this node has never goes back.
    for (origin, seq) in wanted.after.into_iter().flat_map(VersionVector::iter) {
        reading.examined.raise(origin, seq);
    }
    let mut heads = BinaryHeap::new();
    for (index, history) in histories.iter().enumerate() {
        for (number, strand) in history.iter().flat_map(|history| history.strands.iter().enumerate()) {
            let seen = wanted.after.map(|after| after.seq(strand.origin));
            reading.gap |= seen.is_some_and(|seen| seen < strand.evicted_upto);
            let from = strand.after(seen.unwrap_or(0)).max(strand.since(wanted.since));
            push_head(&mut heads, strand, (index, number), from);
        }
    }
    let mut bytes = 0;
    let mut full = false;
    while let Some(Reverse(first)) = heads.pop() {
        let Some((strand, message)) = locate(histories, &first) else { continue };
        let duplicate = reading.messages.last().is_some_and(|last| last.message.id == message.id);
        // Once full, full: a smaller message that comes later must not overtake.
        full |= !duplicate && is_full(&reading, bytes, message, wanted);
        if message.time > wanted.until || full && !duplicate {
            // What follows in this strand is later still, and is left out with it.
            hold_back(&mut reading.examined, message.id);
            continue;
        }
        push_head(&mut heads, strand, (first.history, first.strand), first.at + 1);
        if message.expires <= now {
            reading.gap |= wanted.after.is_some();
        } else if duplicate {
            reading.messages.last_mut().into_iter().for_each(|last| last.carriers |= 1 << first.history);
        } else {
            bytes += message.body.len();
            reading.messages.push(Carried { message: message.clone(), carriers: 1 << first.history });
        }
    }
    reading
}

fn is_full(reading: &Reading, bytes: usize, next: &Message, wanted: &Wanted) -> bool {
    let count = reading.messages.len();
    count >= wanted.messages_max || count > 0 && bytes + next.body.len() > wanted.bytes_max
}

/// The reader has not examined `id`, nor anything after it of its origin.
fn hold_back(examined: &mut VersionVector, id: MessageId) {
    if examined.covers(id) {
        examined.set(id.origin, id.seq - 1);
    }
}

fn push_head(heads: &mut BinaryHeap<Reverse<Head>>, strand: &Strand, place: (usize, usize), at: usize) {
    if let Some(message) = strand.messages.get(at) {
        heads.push(Reverse(Head {
            time: message.time,
            id: message.id,
            history: place.0,
            strand: place.1,
            at,
        }));
    }
}

fn locate<'a>(histories: &[Option<&'a History>], head: &Head) -> Option<(&'a Strand, &'a Arc<Message>)> {
    let strand = histories.get(head.history)?.as_ref()?.strands.get(head.strand)?;
    Some((strand, strand.messages.get(head.at)?))
}

#[cfg(test)]
mod tests;
