//! What a channel still holds: one strand per origin, and the reading of several at once.
//!
//! A *strand* holds one origin's messages ascending in both sequence and time: append at
//! the back, drop at the front, binary search for a cursor or a time range. That is the
//! O(log N) for which the paper chose B-trees (§3.2), in contiguous memory.
//!
//! Invariant: whatever was dropped is remembered by `Strand::evicted_upto`, so that a
//! cursor that has not examined it is told of a gap.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use smallvec::SmallVec;

use super::message::Message;
use crate::cursor::VersionVector;
use crate::ids::{MessageId, Origin};
use crate::time::{Tick, Timestamp};

/// One origin's messages in one channel.
#[derive(Debug)]
pub struct Strand {
    origin: Origin,
    messages: VecDeque<Arc<Message>>,
    /// The highest entry of this origin that was ever in this channel.
    newest: u64,
    /// The one before it.
    second_newest: u64,
    /// When the last of its messages expires, or of those that were here with them.
    latest_expiry: Tick,
    /// The highest entry of this origin that was dropped from this channel.
    evicted_upto: u64,
}

impl Strand {
    fn new(origin: Origin) -> Strand {
        Strand {
            origin,
            messages: VecDeque::new(),
            newest: 0,
            second_newest: 0,
            latest_expiry: Tick(0),
            evicted_upto: 0,
        }
    }

    /// The place of the first message after `seq`.
    fn after(&self, seq: u64) -> usize {
        if self.newest <= seq {
            // A poll comes back for more, and there is none: no message need be looked at.
            return self.messages.len();
        }
        if self.second_newest <= seq {
            // There is one, as in nearly every delivery, unless it is gone already.
            let last = self.messages.len().saturating_sub(1);
            return if self.is_after(last, seq) { last } else { self.messages.len() };
        }
        // Readers mostly want the last few, so the search gallops from the back: each
        // message that it looks at is a line of memory that may have to be fetched.
        let (mut behind, mut step) = (self.messages.len(), 1);
        while step <= behind && self.is_after(behind - step, seq) {
            behind -= step;
            step *= 2;
        }
        let mut before = behind.saturating_sub(step);
        while before < behind {
            let middle = before + (behind - before) / 2;
            if self.is_after(middle, seq) {
                behind = middle;
            } else {
                before = middle + 1;
            }
        }
        behind
    }

    fn is_after(&self, at: usize, seq: u64) -> bool {
        self.messages.get(at).is_some_and(|message| message.id.seq > seq)
    }

    /// The place of the first message at or after `since`.
    fn since(&self, since: Timestamp) -> usize {
        if since == Timestamp(0) {
            return 0;
        }
        self.messages.partition_point(|message| message.time < since)
    }

    /// Whose messages they are.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The highest entry of this origin that was ever in this channel.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The highest entry of this origin that was dropped from this channel.
    pub fn evicted_upto(&self) -> u64 {
        self.evicted_upto
    }

    /// Its messages after `seq`.
    pub fn iter_after(&self, seq: u64) -> impl Iterator<Item = &Arc<Message>> {
        self.messages.iter().skip(self.after(seq))
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
    /// One for each origin that published here; until nodes are joined, one.
    strands: SmallVec<[Strand; 1]>,
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

    /// Whether a reader with that vector has examined all that was ever here. An origin that is
    /// not in `head` is dead, and what it published is over.
    pub fn is_seen(&self, after: &VersionVector, head: &VersionVector) -> bool {
        let is_seen = |strand: &Strand| strand.newest <= after.seq(strand.origin);
        self.strands.iter().all(|strand| is_seen(strand) || head.seq(strand.origin) == 0)
    }

    /// One strand for each origin that published here.
    pub fn strands(&self) -> impl Iterator<Item = &Strand> {
        self.strands.iter()
    }

    /// Another node says that up to `newest` there were entries of that origin in this channel, and that
    /// up to `evicted_upto` they were dropped.
    pub fn note(&mut self, origin: Origin, newest: u64, evicted_upto: u64) {
        let strand = self.strand_mut(origin);
        strand.evicted_upto = strand.evicted_upto.max(evicted_upto);
        if newest > strand.newest {
            strand.second_newest = strand.newest;
            strand.newest = newest;
        }
    }

    /// Drops empty strands of origins that are dead; tells whether there were any.
    pub fn drop_strands(&mut self, is_dead: impl Fn(Origin) -> bool) -> bool {
        let before = self.strands.len();
        self.strands.retain(|strand| !strand.messages.is_empty() || !is_dead(strand.origin));
        self.strands.len() < before
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
        // Of what stands in front and perhaps of some that is gone, which does no harm.
        let before = if strand.messages.is_empty() { expires } else { strand.latest_expiry };
        assert!(strand.newest < message.id.seq, "entries come in order");
        strand.second_newest = strand.newest;
        strand.newest = message.id.seq;
        strand.latest_expiry = before.max(expires);
        strand.messages.push_back(message);
        self.unordered |= before > expires;
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

    /// Drops all messages of some origins.
    pub fn drop_messages(&mut self, is_over: impl Fn(Origin) -> bool) {
        let (mut count, mut bytes) = (0, 0);
        for strand in self.strands.iter_mut().filter(|strand| is_over(strand.origin)) {
            while let Some(message) = strand.drop_front() {
                count += 1;
                bytes += message.bytes();
            }
        }
        if count > 0 {
            self.count -= count;
            self.bytes -= bytes;
            self.settle();
        }
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
        if self.count == 0 {
            self.settle();
        }
        Some(message)
    }

    /// The highest entry of that origin that was ever here; 0 for none.
    pub fn newest(&self, origin: Origin) -> u64 {
        self.strands.iter().find(|strand| strand.origin == origin).map_or(0, |strand| strand.newest)
    }

    /// Whether `id` is still held.
    pub fn holds(&self, id: MessageId) -> bool {
        let find = |strand: &Strand| strand.messages.binary_search_by_key(&id.seq, |message| message.id.seq);
        self.strands.iter().any(|strand| strand.origin == id.origin && find(strand).is_ok())
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
            // The newest may have been dropped before some that are held.
            (strand.origin, if everything { strand.newest } else { strand.evicted_upto })
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
    /// Stop before so many bytes of answer, but give at least one message.
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
    /// By time, each message once; a delivery nearly always has one.
    pub messages: SmallVec<[Carried; 1]>,
    /// What the reader has examined once it has this: everything that the node has, but
    /// of each origin not beyond the first message that was left out.
    pub examined: VersionVector,
    /// Something that the reader had not examined is no longer held.
    pub gap: bool,
}

/// Where in some histories the reading stands: one strand of one of them.
struct Place<'a> {
    strand: &'a Strand,
    /// Which history, for `carriers`.
    history: usize,
    /// Which message of the strand comes next.
    at: usize,
}

impl<'a> Place<'a> {
    fn message(&self) -> Option<&'a Arc<Message>> {
        self.strand.messages.get(self.at)
    }
}

/// What a reader has examined when nothing is left out: all that this node has. One that has
/// seen more than that never goes back.
pub fn examined(wanted: &Wanted, head: &VersionVector) -> VersionVector {
    let mut examined = head.clone();
    for (origin, seq) in wanted.after.into_iter().flat_map(VersionVector::iter) {
        examined.raise(origin, seq);
    }
    examined
}

/// Reads several histories (at most 64) as one: merged by time, without duplicates.
///
/// `head` is what this node has of every origin: the reader has examined that much
/// when nothing is left out. An origin that is not there is dead; what it published is over.
pub fn read(histories: &[Option<&History>], wanted: &Wanted, head: &VersionVector, now: Tick) -> Reading {
    let mut reading = Reading { examined: examined(wanted, head), ..Reading::default() };
    let mut places: SmallVec<[Place; 4]> = SmallVec::new();
    for (history, strand) in histories.iter().enumerate().flat_map(strands) {
        if head.seq(strand.origin) == 0 {
            continue;
        }
        let seen = wanted.after.map(|after| after.seq(strand.origin));
        reading.gap |= seen.is_some_and(|seen| seen < strand.evicted_upto);
        let after = strand.after(seen.unwrap_or(0));
        if after < strand.messages.len() {
            places.push(Place { strand, history, at: after.max(strand.since(wanted.since)) });
        }
    }
    match &mut places[..] {
        [] => {}
        [one] => take_all(&mut reading, one, wanted, now),
        many => merge(&mut reading, many, wanted, now),
    }
    reading
}

fn strands<'a>((at, history): (usize, &Option<&'a History>)) -> impl Iterator<Item = (usize, &'a Strand)> {
    history.iter().flat_map(move |history| history.strands.iter().map(move |strand| (at, strand)))
}

/// Whether the reading goes on with a strand.
#[derive(PartialEq, Eq)]
enum Taken {
    Yes,
    /// The message was left out, and with it all that follow in its strand.
    No,
}

/// One strand needs no merging.
fn take_all(reading: &mut Reading, place: &mut Place, wanted: &Wanted, now: Tick) {
    let mut budget = Budget::of(wanted);
    reading.messages.reserve((place.strand.messages.len() - place.at).min(wanted.messages_max));
    while let Some(message) = place.message() {
        if reading.take(message, place.history, wanted, &mut budget, now) == Taken::No {
            return;
        }
        place.at += 1;
    }
}

/// Takes from the strand whose next message is the earliest, again and again.
fn merge(reading: &mut Reading, places: &mut [Place], wanted: &Wanted, now: Tick) {
    let mut budget = Budget::of(wanted);
    let key = |place: &Place| place.message().map(|message| (message.time, message.id));
    let ordered = places.iter().enumerate();
    let mut next: BinaryHeap<_> =
        ordered.filter_map(|(at, place)| Some(Reverse((key(place)?, at)))).collect();
    while let Some(Reverse((_, at))) = next.pop() {
        let Some(place) = places.get_mut(at) else { continue };
        let Some(message) = place.message() else { continue };
        if reading.take(message, place.history, wanted, &mut budget, now) == Taken::Yes {
            place.at += 1;
            next.extend(key(place).map(|key| Reverse((key, at))));
        }
    }
}

/// How much more an answer takes.
struct Budget {
    messages: usize,
    bytes: usize,
    /// Once full, full: a smaller message that comes later must not overtake.
    full: bool,
}

impl Budget {
    fn of(wanted: &Wanted) -> Budget {
        Budget { messages: wanted.messages_max, bytes: wanted.bytes_max, full: false }
    }

    /// Whether another message fits; the first always does.
    fn fits(&mut self, bytes: usize, first: bool) -> bool {
        self.full |= self.messages == 0 || !first && bytes > self.bytes;
        if !self.full {
            self.messages -= 1;
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        !self.full
    }
}

impl Reading {
    /// Takes the next message in order of time, or leaves it out for the next reading.
    fn take(
        &mut self,
        message: &Arc<Message>,
        history: usize,
        wanted: &Wanted,
        budget: &mut Budget,
        now: Tick,
    ) -> Taken {
        if let Some(last) = self.messages.last_mut()
            && last.message.id == message.id
        {
            last.carriers |= 1 << history;
            return Taken::Yes;
        }
        if message.expires <= now {
            self.gap |= wanted.after.is_some();
            return Taken::Yes;
        }
        if message.time > wanted.until
            || !budget.fits(message.body.embedded_bytes(), self.messages.is_empty())
        {
            self.hold_back(message.id);
            return Taken::No;
        }
        self.messages.push(Carried { message: message.clone(), carriers: 1 << history });
        Taken::Yes
    }

    /// The reader has not examined `id`, nor anything after it of its origin.
    fn hold_back(&mut self, id: MessageId) {
        if self.examined.covers(id) {
            self.examined.set(id.origin, id.seq - 1);
        }
    }
}

#[cfg(test)]
mod tests;
