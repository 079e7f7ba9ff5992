//! A connection's slot: small, because there are many of them.
//!
//! What only some connections need at a time (a request that is not complete, an answer
//! that is not taken) lives in a [`Side`], elsewhere.
//!
//! ```text
//!            bytes              head complete            body complete
//!   Idle ─────────────▶ Head ──────────────────▶ Body ──────────────────▶ (executed)
//!    ▲  ▲                 └───────────────────────────────────────────────▶   │
//!    │  │  written                                                            │
//!    │  └───────────── Sending ◀── news, time-out ── Held / HeldWide ◀────────┤
//!    │                   │                                                    │
//!    └───────────────────┼────────────────── answered at once ◀───────────────┘
//!                        ▼  nothing more to come        (Acking, as Held, for a publisher)
//!                    Lingering ──▶ (closed)
//! ```

use crate::session::route::Door;
use crate::time::Tick;
use crate::wire::http::body::ChunkDecoder;

/// No such place: an index that no slab reaches.
pub const NOWHERE: u32 = u32::MAX;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Between requests. Next: Head, Body, Held, HeldWide, Sending, Lingering.
    Idle,
    /// A request's head has begun to arrive. Next: as from Idle.
    Head,
    /// A request's body is arriving. Next: as from Idle.
    Body,
    /// A poll waits on one channel. Next: Sending.
    Held,
    /// A poll waits on several channels, or with conditions. Next: Sending.
    HeldWide,
    /// A publication is not yet held by enough nodes. Next: Sending.
    Acking,
    /// Results of a use case are streamed, as they come and are taken. Next: Sending.
    Streaming,
    /// An answer is on its way; requests wait. Next: Idle, Lingering.
    Sending,
    /// Our side is shut; what comes is thrown away. Next: the end.
    Lingering,
}

/// Yes-or-no facts about a connection and the request that it is being answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    /// The connection ends with the answer that is being made.
    pub const CLOSE: Marks = Marks(1);
    /// The request is HTTP/1.0.
    pub const HTTP10: Marks = Marks(2);
    /// The request is HEAD: the answer has no body.
    pub const HEAD_ONLY: Marks = Marks(4);
    /// The answer says Preference-Applied.
    pub const PREFER: Marks = Marks(8);
    /// The socket may hold input that was not read.
    pub const UNREAD: Marks = Marks(16);
    /// The socket took no more; it will say when it does.
    pub const BLOCKED: Marks = Marks(32);
    /// The peer will send nothing more.
    pub const INPUT_ENDED: Marks = Marks(64);
    /// The connection stands in the list of those with work of their own.
    pub const LISTED: Marks = Marks(128);
    /// What a shared answer's head depends on.
    pub const ANSWER: Marks = Marks(1 | 2 | 8);
    /// What belongs to one request and is forgotten with it.
    pub const OF_REQUEST: Marks = Marks(2 | 4 | 8);

    /// Whether any of `marks` is set.
    pub fn has(self, marks: Marks) -> bool {
        self.0 & marks.0 != 0
    }

    /// Sets `marks`.
    pub fn set(&mut self, marks: Marks) {
        self.0 |= marks.0;
    }

    /// Clears `marks`.
    pub fn clear(&mut self, marks: Marks) {
        self.0 &= !marks.0;
    }

    /// Only those of `marks` that are set.
    pub fn only(self, marks: Marks) -> Marks {
        Marks(self.0 & marks.0)
    }

    /// As a number, for keys.
    pub fn bits(self) -> u8 {
        self.0
    }
}

/// A place in one of the timers' lists.
#[derive(Clone, Copy, Debug)]
pub struct TimerLink {
    /// The slot whose deadline comes before.
    pub earlier: u32,
    /// The slot whose deadline comes after.
    pub later: u32,
    /// Which list; see `timers`.
    pub class: u16,
}

/// A connection. A held poll on one channel is this and nothing else: no heap, no buffer.
#[derive(Debug)]
pub struct Connection {
    /// Which owner of the slot this is.
    pub generation: u32,
    /// What it is doing.
    pub state: State,
    /// Facts.
    pub marks: Marks,
    /// Which door it came through.
    pub door: Door,
    /// Which of the allowed origins the request named, from 1; 0 for none.
    pub cors: u8,
    /// Its place among the timers.
    pub timer: TimerLink,
    /// When its timer fires.
    pub deadline: Tick,
    /// Held: the channel's place. HeldWide: the place among the wide polls.
    pub waits_on: u32,
    /// Held: its position among the channel's subscribers.
    pub position: u32,
    /// Sending: the shared answer, if it is one.
    pub answer: u32,
    /// Its side, if it has one.
    pub side: u32,
}

const _: () = assert!(size_of::<Connection>() <= 52, "with its socket a held poll takes at most 64 bytes");

impl Connection {
    /// A new connection, between requests.
    pub fn new(generation: u32, door: Door) -> Connection {
        Connection {
            generation,
            state: State::Idle,
            marks: Marks::default(),
            door,
            cors: 0,
            timer: TimerLink { earlier: NOWHERE, later: NOWHERE, class: u16::MAX },
            deadline: Tick(0),
            waits_on: NOWHERE,
            position: 0,
            answer: NOWHERE,
            side: NOWHERE,
        }
    }
}

/// What a connection needs while something is incomplete.
#[derive(Debug, Default)]
pub struct Side {
    /// Input that was read and is not used up.
    pub inbox: Vec<u8>,
    /// Input is no use before there is this much of it.
    pub inbox_min: usize,
    /// A chunked body: what is decoded of it. `inbox` then holds the head.
    pub body: Vec<u8>,
    /// A chunked body: how far it is.
    pub decoder: Option<ChunkDecoder>,
    /// Output of its own that was not taken.
    pub outbox: Vec<u8>,
    /// How much of `outbox`, or then of the shared answer, was taken.
    pub sent: usize,
    /// Bytes moved since progress was last judged.
    pub progress: usize,
    /// What it was last counted as, in bytes.
    pub counted: usize,
}

impl Side {
    /// Memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Side>() + self.inbox.capacity() + self.body.capacity() + self.outbox.capacity()
    }

    /// Whether a body has yet to come whole; if so, its progress is judged from now on.
    pub fn begin_judgement_if_in_body(&mut self) -> bool {
        self.progress = 0;
        self.decoder.is_some() || self.inbox_min > 0
    }

    /// Whether it holds nothing that is needed.
    pub fn is_empty(&self) -> bool {
        self.inbox.is_empty() && self.decoder.is_none() && self.outbox.is_empty() && self.sent == 0
    }
}
