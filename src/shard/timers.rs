//! Deadlines: one FIFO per time-out, since equal time-outs end in the order in which
//! they began. The lists run through the slots, so that a timer costs no memory of its own
//! and is set, moved and cleared in O(1).

use slab::Slab;

use super::connection::{Connection, NOWHERE};
use crate::limits::{ACK_MS_MAX, HEAD_MS_MAX, IDLE_MS_MAX, LINGER_MS, POLL_TIMEOUT_S_MAX, PROGRESS_MS};
use crate::time::Tick;

/// A time-out that connections have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A held poll, by its seconds.
    Poll(u16),
    /// No request in progress.
    Idle,
    /// A request's head is due.
    Head,
    /// A body's or an answer's progress is judged.
    Progress,
    /// Our side is shut.
    Linger,
    /// Other nodes are to acknowledge.
    Ack,
}

const IDLE: usize = POLL_TIMEOUT_S_MAX as usize + 1;
const CLASSES: usize = IDLE + 5;
/// Not in any list.
const UNSET: u16 = u16::MAX;

impl Class {
    fn list(self) -> usize {
        match self {
            Class::Poll(seconds) => usize::from(seconds).min(POLL_TIMEOUT_S_MAX as usize),
            Class::Idle => IDLE,
            Class::Head => IDLE + 1,
            Class::Progress => IDLE + 2,
            Class::Linger => IDLE + 3,
            Class::Ack => IDLE + 4,
        }
    }

    fn millis(self) -> u64 {
        match self {
            Class::Poll(seconds) => u64::from(seconds) * 1000,
            Class::Idle => IDLE_MS_MAX,
            Class::Head => HEAD_MS_MAX,
            Class::Progress => PROGRESS_MS,
            Class::Linger => LINGER_MS,
            Class::Ack => ACK_MS_MAX,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

/// All deadlines of one shard's connections; each connection has at most one.
#[derive(Debug)]
pub struct Timers {
    lists: Box<[List; CLASSES]>,
    /// A bit for each list that is not empty.
    occupied: [u64; CLASSES.div_ceil(64)],
}

impl Default for Timers {
    fn default() -> Timers {
        let empty = List { first: NOWHERE, last: NOWHERE };
        Timers { lists: Box::new([empty; CLASSES]), occupied: [0; CLASSES.div_ceil(64)] }
    }
}

impl Timers {
    /// Sets or moves a connection's deadline: the class's time from now on.
    pub fn set(&mut self, slots: &mut Slab<Connection>, index: u32, class: Class, now: Tick) {
        self.clear(slots, index);
        let number = class.list();
        let last = self.lists[number].last;
        let slot = &mut slots[index as usize];
        slot.deadline = now.plus_ms(class.millis());
        slot.timer.class = number as u16;
        slot.timer.earlier = last;
        slot.timer.later = NOWHERE;
        match slots.get_mut(last as usize) {
            Some(before) => before.timer.later = index,
            None => self.lists[number].first = index,
        }
        self.lists[number].last = index;
        self.occupied[number / 64] |= 1 << (number % 64);
    }

    /// Whether a connection's deadline is one of that class.
    pub fn is_set(&self, slots: &Slab<Connection>, index: u32, class: Class) -> bool {
        slots.get(index as usize).is_some_and(|slot| usize::from(slot.timer.class) == class.list())
    }

    /// Takes a connection's deadline away, if it has one.
    pub fn clear(&mut self, slots: &mut Slab<Connection>, index: u32) {
        let link = slots[index as usize].timer;
        if link.class == UNSET {
            return;
        }
        let list = &mut self.lists[usize::from(link.class)];
        match slots.get_mut(link.earlier as usize) {
            Some(before) => before.timer.later = link.later,
            None => list.first = link.later,
        }
        match slots.get_mut(link.later as usize) {
            Some(after) => after.timer.earlier = link.earlier,
            None => list.last = link.earlier,
        }
        if list.first == NOWHERE {
            self.occupied[usize::from(link.class) / 64] &= !(1 << (link.class % 64));
        }
        slots[index as usize].timer.class = UNSET;
    }

    /// The next deadline and whose it is.
    pub fn next(&self, slots: &Slab<Connection>) -> Option<(Tick, u32)> {
        self.firsts().filter_map(|first| slots.get(first as usize).map(|slot| (slot.deadline, first))).min()
    }

    /// The connection that has been without a request for longest.
    pub fn longest_idle(&self) -> Option<u32> {
        Some(self.lists[IDLE].first).filter(|first| *first != NOWHERE)
    }

    /// The held poll that will end next.
    pub fn next_poll(&self, slots: &Slab<Connection>) -> Option<u32> {
        let of_polls =
            |first: &u32| slots.get(*first as usize).is_some_and(|slot| usize::from(slot.timer.class) < IDLE);
        let deadline = |first: &u32| slots.get(*first as usize).map(|slot| slot.deadline);
        self.firsts().filter(of_polls).min_by_key(deadline)
    }

    /// The first of each list that is not empty.
    fn firsts(&self) -> impl Iterator<Item = u32> + '_ {
        self.occupied.iter().enumerate().flat_map(move |(word, bits)| {
            std::iter::successors(Some(*bits), |bits| Some(bits & bits.wrapping_sub(1)))
                .take_while(|bits| *bits != 0)
                .map(move |bits| self.lists[word * 64 + bits.trailing_zeros() as usize].first)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::route::Door;

    proptest! {
        /// Beside the fast code, the obvious one: a map from connection to deadline.
        #[test]
        fn the_next_deadline_is_the_least(steps in proptest::collection::vec((0_u32..20, 0_u8..7, 0_u64..5000), 0..300)) {
            let mut slots = Slab::new();
            for _ in 0..20 {
                slots.insert(Connection::new(1, Door::Public));
            }
            let mut timers = Timers::default();
            let mut oracle = std::collections::BTreeMap::new();
            let mut now = Tick(0);
            for (index, what, ms) in steps {
                now = now.plus_ms(ms);
                let class = match what {
                    0 => Class::Poll(0),
                    1 => Class::Poll(50),
                    2 => Class::Poll(600),
                    3 => Class::Idle,
                    4 => Class::Linger,
                    5 => Class::Progress,
                    _ => {
                        timers.clear(&mut slots, index);
                        oracle.remove(&index);
                        continue;
                    }
                };
                timers.set(&mut slots, index, class, now);
                oracle.insert(index, now.plus_ms(class.millis()));
                let least = oracle.values().min().copied();
                prop_assert_eq!(timers.next(&slots).map(|next| next.0), least);
            }
            while let Some((deadline, index)) = timers.next(&slots) {
                prop_assert_eq!(oracle.values().min(), Some(&deadline));
                prop_assert_eq!(oracle.remove(&index), Some(deadline));
                timers.clear(&mut slots, index);
            }
            prop_assert!(oracle.is_empty());
        }
    }
}
