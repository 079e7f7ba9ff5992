//! What is to happen to a poller at a time.
//!
//! Invariant: a timer of an earlier generation of its poller is never given out as valid by
//! its owner, so that nothing needs to be taken out of the middle of the heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// What is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// Begin a connection.
    Connect,
    /// Give up a connection that is not established.
    GiveUp,
    /// Send a poll.
    Ask,
    /// End a visit.
    Leave,
    /// Read a little.
    Read,
}

/// Something that is to happen to a poller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer {
    pub at: Instant,
    pub poller: u32,
    pub generation: u32,
    pub due: Due,
}

/// All that is to happen, the next first.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<Timer>>);

impl Timers {
    pub fn push(&mut self, timer: Timer) {
        self.0.push(Reverse(timer));
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse(timer)| timer.at)
    }

    /// Takes one whose time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        self.0.peek().filter(|Reverse(timer)| timer.at <= now)?;
        self.0.pop().map(|Reverse(timer)| timer)
    }
}
