//! What is to happen, by virtual time. What is due at the same moment happens in the order in
//! which it was put down, so that a seed replays exactly.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::net::WireId;

/// Virtual milliseconds since the simulation began.
pub type Ms = u64;

/// Something that happens.
#[derive(Debug)]
pub enum Event {
    /// Freight that side `from` of a wire sent is due at the other.
    Arrive { wire: WireId, from: usize },
    /// A connection's first segment reaches the machine that it is for.
    Knock { wire: WireId },
    /// Whoever asked for a connection learns its fate.
    Connected { wire: WireId, stands: bool },
    /// A full pipe's writer learns that there is room.
    Writable { wire: WireId, side: usize },
    /// A writer's kernel gives up if nothing was acknowledged since.
    GiveUp { wire: WireId, side: usize },
    /// A datagram is due.
    Datagram { from: usize, to: usize, bytes: Vec<u8> },
    /// A letter from one shard of a node to another is due.
    Letter { node: usize, serial: u64 },
    /// A node's next deadline.
    Deadline { node: usize, serial: u64 },
    /// An actor's timer; void unless it is the last that was set.
    Timer { actor: usize, serial: u64 },
    /// The plan's next fault.
    Fault { index: usize },
    /// A fault's time is over.
    Relief { index: usize },
    /// The fault phase is over.
    Heal,
    /// Somebody looks whether all has settled.
    Look,
}

#[derive(Debug)]
struct Entry {
    at: Ms,
    serial: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest, as the heap gives that first.
    fn cmp(&self, other: &Entry) -> Ordering {
        (other.at, other.serial).cmp(&(self.at, self.serial))
    }
}

/// All that is to happen.
#[derive(Debug, Default)]
pub struct Agenda {
    now: Ms,
    serial: u64,
    entries: BinaryHeap<Entry>,
}

impl Agenda {
    pub fn now(&self) -> Ms {
        self.now
    }

    /// Puts something down; what is overdue happens now.
    pub fn at(&mut self, at: Ms, event: Event) {
        self.serial += 1;
        self.entries.push(Entry { at: at.max(self.now), serial: self.serial, event });
    }

    pub fn after(&mut self, ms: Ms, event: Event) {
        self.at(self.now + ms, event);
    }

    /// When the next thing happens.
    pub fn next(&self) -> Option<Ms> {
        self.entries.peek().map(|entry| entry.at)
    }

    /// The next thing of this moment.
    pub fn pop_due(&mut self) -> Option<Event> {
        let due = self.entries.peek().is_some_and(|entry| entry.at <= self.now);
        if due { self.entries.pop().map(|entry| entry.event) } else { None }
    }

    /// Time passes.
    pub fn advance(&mut self, to: Ms) {
        assert!(to >= self.now, "time goes back");
        self.now = to;
    }
}
