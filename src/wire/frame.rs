//! The TCP framing layer between nodes (the openness principle: whoever can read this page can
//! speak it).
//!
//! A link carries frames, one after another, in both directions:
//!
//! ```text
//! length u32 | kind u8 | flags u8 | meta length u16 | crc32 u32 | meta | body
//! ```
//!
//! Numbers are big-endian. `length` counts all that comes after itself: 8 + meta + body. `crc32`
//! (IEEE 802.3, as in zlib) covers kind, flags, meta length, meta and body: all but `length` and
//! itself. The meta is a JSON object, the body is raw bytes. A PULL, for instance, whose meta is
//! `{"origin":"00000000000000ab","from":3,"to":9}`:
//!
//! ```text
//! 00000035 05 00 002d b6fab5b3 7b226f726967696e223a22303030303030303030…7d
//! ```
//!
//! Knows what frames are made of, not who sends which when. A kind that is not known is for the
//! caller to skip; a length or a checksum that is wrong ends that link, since nothing says where
//! the next frame begins. What the metas say is in [`message`], and for ENTRY and PIECE in
//! `session::peer`.

pub mod handshake;
pub mod link;
pub mod message;
pub mod meta;
pub mod order;
pub mod task;

use std::fmt;

use crc32fast::Hasher;

use crate::limits::FRAME_BYTES_MAX;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u8);

impl Kind {
    /// Who the sender is; the first frame of each side.
    pub const HELLO: Kind = Kind(1);
    /// That the sender holds the cluster's key; the second frame of each side.
    pub const PROOF: Kind = Kind(2);
    /// An entry of some node's log.
    pub const ENTRY: Kind = Kind(3);
    /// How far the sender has come with each log.
    pub const DIGEST: Kind = Kind(4);
    /// Asks for entries.
    pub const PULL: Kind = Kind(5);
    /// Some of them are no longer to be had.
    pub const TRUNCATED: Kind = Kind(6);
    /// Asks for a snapshot.
    pub const SNAPSHOT: Kind = Kind(7);
    /// A piece of a snapshot.
    pub const PIECE: Kind = Kind(8);
    /// The last frame of a link that ends in good order.
    pub const BYE: Kind = Kind(9);

    // Between front-ends and back-ends; see `task`.
    /// What a back-end is.
    pub const REGISTER: Kind = Kind(32);
    /// A use case is about to be called.
    pub const PREPARE: Kind = Kind(33);
    /// The back-end is ready for it.
    pub const PREPARED: Kind = Kind(34);
    /// A version of a use case is not called any more.
    pub const DROP: Kind = Kind(35);
    /// An attempt at a sub-task.
    pub const RUN: Kind = Kind(36);
    /// Some of its results.
    pub const DATA: Kind = Kind(37);
    /// More of them may be sent.
    pub const CREDIT: Kind = Kind(38);
    /// Sub-tasks that it asks for.
    pub const SPAWN: Kind = Kind(39);
    /// It is still at work.
    pub const PROGRESS: Kind = Kind(40);
    /// It is done.
    pub const END: Kind = Kind(41);
    /// It failed.
    pub const FAIL: Kind = Kind(42);
    /// Nobody wants its results any more.
    pub const CANCEL: Kind = Kind(43);
    /// The front-end is there.
    pub const PING: Kind = Kind(44);
    /// The front-end knows that the back-end takes nothing new: all that it had for it has come before this.
    pub const DRAINED: Kind = Kind(45);

    // Between a controller and its agents; see `order`. Both say PING.
    /// A component is to run.
    pub const START: Kind = Kind(64);
    /// A component is not to run.
    pub const STOP: Kind = Kind(65);
    /// A component is not to run, but may finish what is under way.
    pub const DRAIN: Kind = Kind(66);
    /// What all components of an agent do.
    pub const STATUS: Kind = Kind(67);
}

/// Flag of an ENTRY: tell soon, by a DIGEST, that it was taken.
pub const ACK_WANTED: u8 = 1;

/// A frame, borrowed from what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is for.
    pub kind: Kind,
    /// Bits whose meaning depends on the kind; unknown ones are ignored.
    pub flags: u8,
    /// A JSON object, or empty.
    pub meta: &'a [u8],
    /// Raw bytes.
    pub body: &'a [u8],
}

/// Why a link cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The frame is longer than is accepted.
    TooLong,
    /// The frame is too short for what it says it holds.
    TooShort,
    /// The frame was changed on its way.
    Checksum,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FrameError::TooLong => "a frame is too long",
            FrameError::TooShort => "a frame is too short for its parts",
            FrameError::Checksum => "a frame's checksum is wrong",
        })
    }
}

/// All that stands before the meta, in bytes.
const HEADER_BYTES: usize = 12;
/// The length field, which does not count itself, in bytes.
const LENGTH_BYTES: usize = 4;

/// The frame at the beginning of `input` and how many bytes it takes there; `None` while it is
/// not whole. One of more than `bytes_max` is refused before it has arrived.
pub fn decode(input: &[u8], bytes_max: usize) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((length, _)) = input.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let whole = (u32::from_be_bytes(*length) as usize).saturating_add(LENGTH_BYTES);
    if whole > bytes_max {
        return Err(FrameError::TooLong);
    }
    if whole < HEADER_BYTES {
        return Err(FrameError::TooShort);
    }
    let Some(frame) = input.get(LENGTH_BYTES..whole) else { return Ok(None) };
    let [kind, flags, m0, m1, c0, c1, c2, c3, content @ ..] = frame else {
        return Err(FrameError::TooShort);
    };
    let meta_len = usize::from(u16::from_be_bytes([*m0, *m1]));
    let (meta, body) = content.split_at_checked(meta_len).ok_or(FrameError::TooShort)?;
    if u32::from_be_bytes([*c0, *c1, *c2, *c3]) != checksum([*kind, *flags, *m0, *m1], content) {
        return Err(FrameError::Checksum);
    }
    Ok(Some((Frame { kind: Kind(*kind), flags: *flags, meta, body }, whole)))
}

/// Appends a frame. A meta has at most [`u16::MAX`] bytes, a body at most
/// [`BODY_BYTES_MAX`](crate::limits::BODY_BYTES_MAX).
pub fn encode(kind: Kind, flags: u8, meta: &[u8], body: &[u8], out: &mut Vec<u8>) {
    let frame = open(kind, flags, out);
    out.extend_from_slice(meta);
    frame.close(body, out);
}

/// A frame whose meta is being written.
#[derive(Debug)]
#[must_use = "the header stays empty until the frame is closed"]
pub struct Open {
    start: usize,
}

/// Begins a frame: its meta is what is appended to `out` from here to [`Open::close`].
pub fn open(kind: Kind, flags: u8, out: &mut Vec<u8>) -> Open {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind.0, flags, 0, 0, 0, 0, 0, 0]);
    Open { start }
}

impl Open {
    /// Appends the body and fills in the header.
    pub fn close(self, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(body);
        let Some((header, content)) =
            out.get_mut(self.start..).and_then(|frame| frame.split_first_chunk_mut::<HEADER_BYTES>())
        else {
            return;
        };
        let meta_len = content.len() - body.len();
        let length = content.len() + HEADER_BYTES - LENGTH_BYTES;
        debug_assert!(meta_len <= usize::from(u16::MAX) && length + LENGTH_BYTES <= FRAME_BYTES_MAX);
        let [l0, l1, l2, l3, kind, flags, m0, m1, c0, c1, c2, c3] = header;
        [*l0, *l1, *l2, *l3] = (length as u32).to_be_bytes();
        [*m0, *m1] = (meta_len as u16).to_be_bytes();
        [*c0, *c1, *c2, *c3] = checksum([*kind, *flags, *m0, *m1], content).to_be_bytes();
    }
}

fn checksum(head: [u8; 4], content: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&head);
    hasher.update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
