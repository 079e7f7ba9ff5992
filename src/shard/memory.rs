//! The node's memory: counted, capped, shed in an order that hurts least.
//!
//! Over the cap, first the oldest cached messages go (their readers will be told of a
//! gap), then idle connections; what asks for more is then refused with 503 and
//! Retry-After. The node itself never gives up. Of several shards each has a share of what
//! the cache leaves: it cannot shed messages, which the others hold too.

use super::Shard;
use super::clients::Clients;
use super::connection::{Connection, NOWHERE, Side, State};
use super::team::Team;
use crate::limits::EVICTIONS_PER_TICK;

/// A slot, and its socket in the reactor.
const CONNECTION_BYTES: usize = size_of::<Connection>() + 8;

impl Shard {
    /// Memory in use, in bytes, as far as it is counted.
    pub fn memory_bytes(&self) -> usize {
        self.queue.bytes()
            + self.connections.len() * CONNECTION_BYTES
            + self.side_bytes
            + self.answers.bytes()
            + self.wide_bytes
            + self.links_bytes()
            + self.scatter_bytes()
            + self.clients.as_ref().map_or(0, Clients::bytes)
            + self.team.as_ref().map_or(0, Team::bytes)
    }

    /// Of the memory in use, what counts against this shard's share: where there are several, what they
    /// share and what has bounds of its own is not any one's.
    fn charged_bytes(&self) -> usize {
        let shared = if self.team.is_some() { self.queue.cached_bytes() + self.log_bytes() } else { 0 };
        self.memory_bytes().saturating_sub(shared)
    }

    /// Whether `more` bytes fit under the cap.
    pub(super) fn has_room(&self, more: usize) -> bool {
        self.charged_bytes().saturating_add(more) <= self.settings.share_bytes_max
    }

    /// Sheds what can be shed until `more` bytes fit under the cap.
    pub(super) fn relieve(&mut self, more: usize) {
        let wanted = self.charged_bytes().saturating_add(more);
        let excess = wanted.saturating_sub(self.settings.share_bytes_max);
        if excess == 0 {
            return;
        }
        if self.team.is_none() {
            self.queue.shed_cache(self.queue.cached_bytes().saturating_sub(excess));
        }
        if !self.has_room(more) {
            self.evict_idle(EVICTIONS_PER_TICK);
        }
    }

    /// Closes up to `count` connections that have been without a request for longest;
    /// tells how many it closed.
    pub fn evict_idle(&mut self, count: usize) -> usize {
        for done in 0..count {
            let Some(index) = self.timers.longest_idle() else { return done };
            self.counters.connections_evicted += 1;
            self.remove(index);
        }
        count
    }

    /// The connection's side, made if it has none.
    pub(super) fn side_mut(&mut self, index: u32) -> &mut Side {
        let slot = &mut self.connections[index as usize];
        if slot.side == NOWHERE {
            slot.side = self.sides.insert(Side::default()) as u32;
        }
        &mut self.sides[slot.side as usize]
    }

    /// Brings the count of the sides' bytes up to date.
    pub(super) fn recount_side(&mut self, index: u32) {
        if let Some(side) = self.sides.get_mut(self.connections[index as usize].side as usize) {
            let bytes = side.bytes();
            self.side_bytes = self.side_bytes + bytes - side.counted;
            side.counted = bytes;
        }
    }

    /// Drops the connection's side; what it holds is of no more use.
    pub(super) fn drop_side(&mut self, index: u32) {
        let number = std::mem::replace(&mut self.connections[index as usize].side, NOWHERE);
        if number != NOWHERE {
            self.side_bytes -= self.sides.remove(number as usize).counted;
        }
    }

    /// Drops the side of a connection that waits, once it holds nothing.
    pub(super) fn drop_empty_side(&mut self, index: u32) {
        let slot = self.slot(index);
        let waits = matches!(slot.state, State::Held | State::HeldWide | State::Acking);
        if waits && self.sides.get(slot.side as usize).is_some_and(Side::is_empty) {
            self.drop_side(index);
        }
    }
}
