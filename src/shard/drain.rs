//! The end of a node, in good order.
//!
//! The load balancer is told by `/healthz`; held polls are answered with the ordinary
//! empty answer and `Connection: close`, spread over most of the drain time so that their
//! clients do not all knock at the other nodes at once; requests that still come are
//! served. At the end of the drain time whatever is left is cut.

use super::Shard;
use super::connection::State;
use crate::limits::{DRAIN_IDLE_MS, DRAIN_LAST_MS, DRAIN_STEP_MS, IDLE_MS_MAX, TIMERS_PER_TICK};
use crate::time::{Now, Tick};

/// An end that has begun.
#[derive(Clone, Debug)]
pub(super) struct Drain {
    began: Tick,
    /// By when the last held poll is released.
    released_by: Tick,
    /// By when all is over.
    over_by: Tick,
    next_step: Tick,
    /// Held polls when it began.
    held: usize,
}

impl Drain {
    /// When held polls are to be released next.
    pub(super) fn next_step(&self) -> Tick {
        self.next_step
    }

    /// How many of the first held polls may still be held.
    fn may_hold(&self, now: Tick) -> usize {
        let window = self.released_by.since_ms(self.began).max(1);
        let left = self.released_by.since_ms(now).min(window);
        (self.held as u64 * left / window) as usize
    }
}

impl Shard {
    /// Begins the end: in `drain_ms` at the most it is over.
    pub fn begin_drain(&mut self, drain_ms: u64, now: Now) {
        let began = now.tick;
        self.drain = Some(Drain {
            began,
            released_by: began.plus_ms(drain_ms / 5 * 4),
            over_by: began.plus_ms(drain_ms),
            next_step: began,
            held: self.held,
        });
        if let Some(links) = &mut self.links {
            links.cluster.leave(now);
        }
        self.drain_followers(drain_ms);
        self.step_drain(now);
    }

    /// Whether the end has begun.
    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Whether the end has come: nobody is connected, or the time is up; and all shards that follow
    /// this one have closed their sockets, or have had time for it.
    pub fn is_drained(&self, now: Now) -> bool {
        let over = |drain: &Drain| self.connections.is_empty() || drain.over_by <= now.tick;
        let alone =
            |drain: &Drain| self.followers_over() || drain.over_by.plus_ms(2 * DRAIN_LAST_MS) <= now.tick;
        self.drain.as_ref().is_some_and(|drain| over(drain) && alone(drain))
    }

    /// Whether a poll that comes now is answered at once: its hold would soon end.
    pub(super) fn holds_no_more(&self, now: Now) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.released_by <= now.tick)
    }

    /// Releases as many held polls as are due, and then lets idle connections go.
    pub(super) fn step_drain(&mut self, now: Now) {
        let Some(drain) = &mut self.drain else { return };
        if drain.next_step > now.tick {
            return;
        }
        drain.next_step = now.tick.plus_ms(DRAIN_STEP_MS);
        let may_hold = drain.may_hold(now.tick);
        while self.held > may_hold {
            let Some(index) = self.timers.next_poll(&self.connections) else { break };
            debug_assert!(matches!(self.slot(index).state, State::Held | State::HeldWide | State::Sending));
            if self.slot(index).state == State::Sending {
                // Released already and not yet written: its timer is of no more use.
                self.timers.clear(&mut self.connections, index);
                continue;
            }
            self.end_poll(index, now);
        }
        if self.holds_no_more(now) {
            self.let_idle_go(now);
        }
    }

    /// Closes connections without a request; whoever comes back goes to another node. One
    /// that has only just come may be about to ask.
    fn let_idle_go(&mut self, now: Now) {
        for _ in 0..TIMERS_PER_TICK {
            let Some(index) = self.timers.longest_idle() else { return };
            let idle_ms = IDLE_MS_MAX.saturating_sub(self.slot(index).deadline.since_ms(now.tick));
            if idle_ms < DRAIN_IDLE_MS {
                return;
            }
            self.remove(index);
        }
    }
}
