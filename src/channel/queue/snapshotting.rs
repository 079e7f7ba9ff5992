//! The queue, piece by piece, for a node that comes too late for the log.
//!
//! The queue goes on changing between the pieces. Whatever changes is an entry after the snapshot's head,
//! which the other node is told too. So it is enough that each channel, tombstone and key that was there
//! throughout comes once, and that nothing is lost in silence: what is dropped meanwhile shows in the
//! `evicted_upto` of a channel that comes again, in a tombstone at the end, or in what was forgotten.

use super::MessageQueue;
use super::tombstones::{Place, Tombstone};
use crate::channel::channel::Channel;
use crate::channel::entry::{Deed, Entry, Published};
use crate::channel::history::Strand;
use crate::channel::message::Message;
use crate::channel::snapshot::{ChannelPiece, Piece, StrandPiece, TombstonePiece};
use crate::cursor::VersionVector;
use crate::ids::{ChannelName, MessageId, Origin};
use crate::planted::Bug;
use crate::time::Now;

/// How far a snapshot has come.
///
/// ```text
/// Beginning ─▶ Tombstones ─▶ Keys ─▶ Channels ─▶ LateTombstones ─▶ Ending ─▶ Over
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What the queue had applied at the beginning.
    head: VersionVector,
    forgotten: VersionVector,
    /// The number of the first tombstone that was set since.
    late: u64,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    Beginning,
    Tombstones(Option<Place>),
    Keys(u64),
    /// Which place of the slab comes next.
    Channels(usize, Within),
    LateTombstones(Option<Place>),
    Ending,
    Over,
}

/// How far a channel has come.
#[derive(Clone, Copy, Debug)]
enum Within {
    /// It has not begun.
    Nothing,
    /// This message of the owner `generation` of the place was the last.
    Upto { generation: u32, last: MessageId },
}

impl Snapshot {
    /// Whether the last piece was given.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }
}

/// How much more is given, in bytes, as nearly as matters.
struct Room<'a> {
    out: &'a mut Vec<Piece>,
    bytes: usize,
}

impl Room<'_> {
    /// Gives a piece; there is always room for one more while this is true.
    fn give(&mut self, piece: Piece) {
        self.bytes = self.bytes.saturating_sub(piece.bytes());
        self.out.push(piece);
    }

    fn is_left(&self) -> bool {
        self.bytes > 0
    }
}

impl MessageQueue {
    /// Begins a snapshot.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            head: self.head.clone(),
            forgotten: self.forgotten.clone(),
            late: self.tombstones.numbered(),
            stage: Stage::Beginning,
        }
    }

    /// The next pieces of a snapshot, about as many bytes as `bytes_max` and at least one piece; the last
    /// is [`Piece::End`].
    pub fn next_pieces(&self, at: &mut Snapshot, bytes_max: usize, now: Now, out: &mut Vec<Piece>) {
        let mut room = Room { out, bytes: bytes_max.max(1) };
        while room.is_left() && !at.is_over() {
            at.stage = match at.stage.clone() {
                Stage::Beginning => {
                    room.give(self.first_piece(at));
                    Stage::Tombstones(None)
                }
                Stage::Tombstones(after) => match self.tombstones.next(after) {
                    Some((place, name, stone)) => {
                        room.give(tombstone_piece(name, stone, &at.head));
                        Stage::Tombstones(Some(place))
                    }
                    None => Stage::Keys(0),
                },
                Stage::Keys(from) => self.give_key(from, at, now, &mut room),
                Stage::Channels(place, within) => self.give_channel(place, within, at, now, &mut room),
                Stage::LateTombstones(after) => self.give_late_tombstone(after, at, &mut room),
                Stage::Ending => {
                    if at.forgotten != self.forgotten {
                        room.give(self.first_piece(at));
                    }
                    room.give(Piece::End);
                    Stage::Over
                }
                Stage::Over => return,
            };
        }
    }

    fn first_piece(&self, at: &Snapshot) -> Piece {
        let mut forgotten = VersionVector::default();
        for (origin, seq) in self.forgotten.iter() {
            forgotten.set(origin, seq.min(at.head.seq(origin)));
        }
        let (retired, retirement) = self.retirement.all();
        Piece::Begin { head: at.head.clone(), forgotten, retired, retirement }
    }

    fn give_key(&self, from: u64, at: &Snapshot, now: Now, room: &mut Room) -> Stage {
        let Some((number, until, key, first)) = self.idempotency.next(from) else {
            return Stage::Channels(0, Within::Nothing);
        };
        if self.planted.is(Bug::SnapshotWithoutKeys) {
            return Stage::Keys(number + 1);
        }
        if at.head.covers(first.id) && until > now.tick {
            let left_ms = until.since_ms(now.tick);
            room.give(Piece::Key { key: key.into(), id: first.id, time: first.time, left_ms });
        }
        Stage::Keys(number + 1)
    }

    fn give_late_tombstone(&self, after: Option<Place>, at: &Snapshot, room: &mut Room) -> Stage {
        match self.tombstones.next(after) {
            Some((place, name, stone)) => {
                if place.1 >= at.late {
                    room.give(tombstone_piece(name, stone, &at.head));
                }
                Stage::LateTombstones(Some(place))
            }
            None => Stage::Ending,
        }
    }

    /// Gives a channel and as many of its messages as there is room for; the channel again when it
    /// goes on, since some of them may have been dropped meanwhile.
    fn give_channel(&self, place: usize, within: Within, at: &Snapshot, now: Now, room: &mut Room) -> Stage {
        if place >= self.channels.capacity() {
            return Stage::LateTombstones(None);
        }
        let next = Stage::Channels(place + 1, Within::Nothing);
        let Some(channel) = self.channels.get(place).filter(|channel| channel.touched.0 > 0) else {
            return next;
        };
        let mut last = match within {
            Within::Nothing => None,
            Within::Upto { generation, last } if generation == channel.generation => Some(last),
            Within::Upto { .. } => return next,
        };
        let mut piece = channel_piece(channel, &at.head, now);
        if self.planted.is(Bug::SnapshotForgetsEvicted) {
            piece.strands.iter_mut().for_each(|strand| strand.evicted_upto = 0);
        }
        room.give(Piece::Channel(piece));
        let Some(history) = channel.history() else { return next };
        let mut goes_on = false;
        let mut strands: Vec<&Strand> = history.strands().collect();
        strands.sort_unstable_by_key(|strand| strand.origin());
        for strand in strands {
            let origin = strand.origin();
            let from = match last {
                Some(last) if origin < last.origin => continue,
                Some(last) if origin == last.origin => last.seq,
                _ => 0,
            };
            for message in strand.iter_after(from) {
                if !at.head.covers(message.id) {
                    break;
                }
                if let Some(last) = last.filter(|_| goes_on && !room.is_left()) {
                    return Stage::Channels(place, Within::Upto { generation: channel.generation, last });
                }
                room.give(message_piece(message, channel, now));
                last = Some(message.id);
                goes_on = true;
            }
        }
        next
    }
}

fn tombstone_piece(name: &ChannelName, stone: &Tombstone, head: &VersionVector) -> Piece {
    Piece::Tombstone(TombstonePiece {
        name: name.clone(),
        generation: stone.life,
        closed: stone.closed,
        touched: stone.expired,
        held: stone.held.iter().filter_map(|(origin, seq)| cap(*origin, *seq, head)).collect(),
    })
}

fn channel_piece(channel: &Channel, head: &VersionVector, now: Now) -> ChannelPiece {
    let strand = |strand: &Strand| {
        let (origin, newest) = cap(strand.origin(), strand.newest(), head)?;
        let evicted_upto = strand.evicted_upto().min(newest);
        Some(StrandPiece { origin, newest, evicted_upto })
    };
    ChannelPiece {
        name: channel.name.clone(),
        generation: channel.life,
        birth: channel.birth,
        ttl_ms: channel.ttl_ms,
        ttl_set: channel.ttl_set(),
        left_ms: channel.expires.since_ms(now.tick),
        touched: channel.touched,
        after_forgetting: channel.after_forgetting,
        strands: channel
            .history()
            .into_iter()
            .flat_map(|history| history.strands())
            .filter_map(strand)
            .collect(),
    }
}

/// An origin's number, but not beyond the head; `None` for one that the head does not have.
fn cap(origin: Origin, seq: u64, head: &VersionVector) -> Option<(Origin, u64)> {
    let seq = seq.min(head.seq(origin));
    (seq > 0).then_some((origin, seq))
}

fn message_piece(message: &Message, channel: &Channel, now: Now) -> Piece {
    let life = |name: &ChannelName| if *name == channel.name { channel.life } else { 1 };
    Piece::Message(Entry {
        id: message.id,
        time: message.time,
        deed: Deed::Publish(Published {
            channels: message.channels.iter().map(|name| (name.clone(), life(name))).collect(),
            media_type: message.media_type.clone(),
            body: message.body.clone(),
            ttl_ms: message.expires.since_ms(now.tick).max(1),
            idempotency_key: None,
        }),
    })
}
