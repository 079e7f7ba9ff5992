//! What the protocol wants done: datagrams to be sent and timers, in an order that a seed repeats.
//!
//! Its time stands still while the process does. A node that was stopped for half a minute would
//! otherwise find every other node overdue and call it down.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use foca::{Notification, Runtime, Timer};

use super::identity::Identity;
use super::seal::Seal;
use crate::limits::{DATAGRAMS_QUEUED_MAX, PROBE_ANSWER_MS, STANDSTILL_MS};
use crate::time::Tick;

/// What is to happen at a time.
#[derive(Debug)]
pub(super) enum Event {
    /// The protocol's own.
    Swim(Timer<Identity>),
    /// Nodes are called that may belong here.
    Seek,
}

/// An event; of two at the same time the one that was submitted first comes first.
#[derive(Debug)]
struct Timed {
    deadline: Tick,
    submitted: u64,
    event: Event,
}

impl Timed {
    fn order(&self) -> (Tick, u64) {
        (self.deadline, self.submitted)
    }
}

impl PartialEq for Timed {
    fn eq(&self, other: &Timed) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Timed {}

impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Timed) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timed {
    fn cmp(&self, other: &Timed) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

/// Datagrams and timers.
pub(super) struct Outbox {
    pub seal: Seal,
    datagrams: VecDeque<(SocketAddr, Vec<u8>)>,
    timers: BinaryHeap<Reverse<Timed>>,
    submitted: u64,
    /// Someone talks to this node in its present life.
    is_connected: bool,
    /// The time inside, without `stood_ms`.
    now: Tick,
    /// How long the process stood still altogether.
    stood_ms: u64,
}

impl Outbox {
    pub fn new(seal: Seal, now: Tick) -> Outbox {
        Outbox {
            seal,
            datagrams: VecDeque::new(),
            timers: BinaryHeap::new(),
            submitted: 0,
            is_connected: false,
            now,
            stood_ms: 0,
        }
    }

    /// The time inside.
    pub fn now(&self) -> Tick {
        self.now
    }

    /// Whether someone talks to this node in its present life. If nobody does, the protocol rests.
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// The node begins another life, or all others are gone.
    pub fn disconnect(&mut self) {
        self.is_connected = false;
    }

    /// When the next event is due, by the clock outside.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.timers.peek().map(|Reverse(timed)| timed.deadline.plus_ms(self.stood_ms))
    }

    /// Takes note of the time outside. After a standstill the next event is near but not yet due, so
    /// that what arrived meanwhile is read first.
    pub fn advance(&mut self, now: Tick) {
        if let Some(deadline) = self.next_deadline() {
            let overdue_ms = now.since_ms(deadline);
            if overdue_ms > STANDSTILL_MS {
                self.stood_ms += overdue_ms + PROBE_ANSWER_MS;
            }
        }
        self.now = self.now.max(Tick(now.0.saturating_sub(self.stood_ms)));
    }

    /// The next event that is due.
    pub fn next_due(&mut self) -> Option<Event> {
        let due = self.timers.peek().is_some_and(|Reverse(timed)| timed.deadline <= self.now);
        if due { self.timers.pop().map(|Reverse(timed)| timed.event) } else { None }
    }

    /// Something is to happen `ms` milliseconds from now.
    pub fn submit(&mut self, event: Event, ms: u64) {
        self.submitted += 1;
        let timed = Timed { deadline: self.now.plus_ms(ms), submitted: self.submitted, event };
        self.timers.push(Reverse(timed));
    }

    /// Nothing is to happen any more.
    pub fn forget_timers(&mut self) {
        self.timers.clear();
    }

    /// The next datagram to be sent.
    pub fn poll_datagram(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.datagrams.pop_front()
    }
}

impl Runtime<Identity> for Outbox {
    /// Of members nothing is noted here: there is no notice of a suspicion, so the table is compared
    /// with the protocol's state instead.
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        match notification {
            Notification::Active => self.is_connected = true,
            Notification::Idle | Notification::Defunct | Notification::Rejoin(_) => self.disconnect(),
            Notification::MemberUp(_) | Notification::MemberDown(_) | Notification::Rename(..) => {}
        }
    }

    fn send_to(&mut self, to: Identity, payload: &[u8]) {
        if self.datagrams.len() < DATAGRAMS_QUEUED_MAX {
            self.datagrams.push_back((to.address, self.seal.close(payload)));
        }
    }

    fn submit_after(&mut self, event: Timer<Identity>, after: Duration) {
        self.submit(Event::Swim(event), u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    }
}
