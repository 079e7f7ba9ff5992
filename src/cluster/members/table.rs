//! The members as others see them: by name, with those that are down for a while and without those
//! that left.

use std::net::SocketAddr;

use foca::State;

use super::identity::Identity;
use super::{Member, MemberState};
use crate::ids::NodeId;
use crate::limits::{MEMBER_CALLED_MS, MEMBER_KEPT_MS};
use crate::time::Tick;

/// What is known of one node.
#[derive(Clone, Debug)]
struct Entry {
    member: Member,
    /// The identity it was read from, to be forgotten one day.
    identity: Identity,
    /// Since when it is down.
    down_since: Option<Tick>,
    /// Whether it should be there: it did not leave in good order, nor is it this node's former life.
    is_missed: bool,
    /// Whether it is shown.
    shown: bool,
}

/// All that is known of other nodes, by name.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
}

impl Table {
    /// The members that are shown, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.entries.iter().filter(|entry| entry.shown).map(|entry| &entry.member)
    }

    /// Brings the table to what the protocol knows now, in whatever order.
    pub fn refresh<'a>(
        &mut self,
        own: &NodeId,
        known: impl Iterator<Item = &'a foca::Member<Identity>>,
        now: Tick,
    ) {
        let mut entries: Vec<Entry> = known.filter_map(|member| self.entry_of(own, member, now)).collect();
        entries.sort_unstable_by(|a, b| a.member.node.cmp(&b.member.node));
        self.entries = entries;
    }

    /// Where the nodes were that should be there, whether they are or not.
    pub fn missed(&self) -> impl Iterator<Item = SocketAddr> {
        self.entries.iter().filter(|entry| entry.is_missed).map(|entry| entry.member.address)
    }

    /// Identities that are down for so long that nobody calls them any more.
    pub fn forgettable(&self, now: Tick) -> Vec<Identity> {
        let is_old = |entry: &&Entry| {
            let kept_ms = if entry.is_missed { MEMBER_CALLED_MS } else { MEMBER_KEPT_MS };
            entry.down_since.is_some_and(|since| now.since_ms(since) >= kept_ms)
        };
        self.entries.iter().filter(is_old).map(|entry| entry.identity.clone()).collect()
    }

    /// An entry of the node itself is one of its former lives.
    fn entry_of(&self, own: &NodeId, known: &foca::Member<Identity>, now: Tick) -> Option<Entry> {
        let identity = known.id();
        let node = identity.node.as_ref()?;
        let state = match known.state() {
            State::Alive => MemberState::Alive,
            State::Suspect => MemberState::Suspect,
            State::Down => MemberState::Down,
        };
        let before = self.find(node).filter(|entry| entry.identity == *identity);
        let down_since =
            (state == MemberState::Down).then(|| before.and_then(|entry| entry.down_since).unwrap_or(now));
        let is_fresh = down_since.is_none_or(|since| now.since_ms(since) < MEMBER_KEPT_MS);
        let is_missed = !identity.left && node != own;
        Some(Entry {
            is_missed,
            shown: is_fresh && is_missed,
            member: Member { node: node.clone(), address: identity.address, origin: identity.origin, state },
            identity: identity.clone(),
            down_since,
        })
    }

    fn find(&self, node: &NodeId) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|entry| entry.member.node.cmp(node)).ok()?;
        self.entries.get(at)
    }
}
