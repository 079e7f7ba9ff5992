//! All that a queue holds, piece by piece, for a node that comes too late for the log.
//!
//! A snapshot is made while the queue goes on changing: its head is the one of the moment when
//! it was begun, and whatever in it is newer than that head is left to the log.

use super::channel::Birth;
use super::entry::{Deed, Entry, Generation};
use crate::cursor::VersionVector;
use crate::ids::{ChannelName, MessageId, Origin};
use crate::time::Timestamp;

/// A piece of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The first piece; it comes once more before the end if channels were forgotten meanwhile.
    Begin {
        /// What the queue had applied when the snapshot was begun.
        head: VersionVector,
        /// Entries of channels that were forgotten.
        forgotten: VersionVector,
        /// Origins that are dead and of which nothing is cached any more.
        retired: VersionVector,
        /// What the queue had applied of the others when the last of these was found dead: a cursor that
        /// covers it and lacks a retired origin is younger, and has missed nothing.
        retirement: VersionVector,
    },
    /// An open channel; its messages follow.
    Channel(ChannelPiece),
    /// A message of the channel before it: a [`super::entry::Deed::Publish`] with the time to
    /// live that is left, and of its channels only that one's life.
    Message(Entry),
    /// A closed channel.
    Tombstone(TombstonePiece),
    /// An Idempotency-Key that is remembered.
    Key {
        /// The key.
        key: Box<str>,
        /// What its first sending got.
        id: MessageId,
        /// When that was published.
        time: Timestamp,
        /// For how much longer it is remembered, in milliseconds.
        left_ms: u64,
    },
    /// The last piece.
    End,
}

/// An open channel in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelPiece {
    /// Its name.
    pub name: ChannelName,
    /// Which life of that name.
    pub generation: Generation,
    /// How it came to be.
    pub birth: Birth,
    /// How long it may be inactive, in milliseconds.
    pub ttl_ms: u64,
    /// The time of the entry that said so.
    pub ttl_set: Timestamp,
    /// For how much longer it lives if nothing happens, in milliseconds.
    pub left_ms: u64,
    /// The time of the last entry that touched it.
    pub touched: Timestamp,
    /// It was born after some channel had been forgotten, perhaps of the same name.
    pub after_forgetting: bool,
    /// For each origin that published there: its newest entry, and how far it was dropped.
    pub strands: Vec<StrandPiece>,
}

/// What a channel remembers of one origin, beside the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrandPiece {
    /// Whose.
    pub origin: Origin,
    /// The highest entry that was ever in the channel.
    pub newest: u64,
    /// The highest entry that was dropped from it.
    pub evicted_upto: u64,
}

/// A closed channel in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TombstonePiece {
    /// Its name.
    pub name: ChannelName,
    /// Which life of that name ended.
    pub generation: Generation,
    /// When it was closed, by the log's time.
    pub closed: Timestamp,
    /// If it expired: what the proposer knew of as its last touch; a later one revives it.
    pub touched: Option<Timestamp>,
    /// What it held, by origin.
    pub held: Vec<(Origin, u64)>,
}

/// What a piece takes beside its texts, in bytes: no less than the largest.
const PIECE_BYTES: usize = 256;

impl Piece {
    /// About what it takes to hold, in bytes.
    pub fn bytes(&self) -> usize {
        PIECE_BYTES
            + match self {
                Piece::Begin { head, forgotten, retired, retirement } => {
                    let vectors = [head, forgotten, retired, retirement];
                    vectors.iter().map(|vector| vector.len() * size_of::<(Origin, u64)>()).sum()
                }
                Piece::Channel(channel) => channel.strands.len() * size_of::<StrandPiece>(),
                Piece::Message(Entry { deed: Deed::Publish(published), .. }) => {
                    published.body.len()
                        + published.media_type.len()
                        + published.channels.len() * size_of::<(ChannelName, Generation)>()
                }
                Piece::Tombstone(stone) => stone.held.len() * size_of::<(Origin, u64)>(),
                Piece::Key { key, .. } => 2 * key.len(),
                Piece::Message(_) | Piece::End => 0,
            }
    }
}
