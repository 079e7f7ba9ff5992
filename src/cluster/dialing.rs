//! Whom to connect to, and when.
//!
//! Each pair of nodes needs one connection. The addresses that the operator named are called
//! by whoever was told them; of members that gossip told of, the node with the lesser name calls,
//! and the other one only if that comes to nothing.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::members::{Member, MemberState};
use crate::ids::NodeId;
use crate::limits::{DIAL_MS_MAX, DIAL_MS_MIN, DIAL_PATIENCE_MS};
use crate::sorted::SortedMap;
use crate::time::Tick;

/// One address that should be connected.
#[derive(Clone, Debug)]
struct Target {
    /// The operator named it.
    is_seed: bool,
    /// It is a member's, and that member is there.
    is_member: bool,
    /// The other side should call.
    patient: bool,
    /// Not before this.
    after: Tick,
    /// How long to wait after the next failure, in milliseconds.
    pause_ms: u64,
    /// Since when it has not been connected.
    missing_since: Option<Tick>,
    /// Another address of the same node, at which it is connected: it is called by that one.
    ours: bool,
}

/// All addresses that should be connected.
#[derive(Debug, Default)]
pub(super) struct Dialing {
    targets: SortedMap<SocketAddr, Target>,
    due: VecDeque<SocketAddr>,
    seeds: usize,
    /// What a peer calls itself, by the seed's address under which it was called.
    aliases: SortedMap<SocketAddr, SocketAddr>,
}

impl Dialing {
    pub fn new(seeds: &[SocketAddr]) -> Dialing {
        let mut dialing = Dialing { seeds: seeds.len(), ..Dialing::default() };
        for seed in seeds {
            dialing.target(*seed).is_seed = true;
        }
        dialing
    }

    fn target(&mut self, address: SocketAddr) -> &mut Target {
        self.targets.get_or_insert_with(address, || Target {
            is_seed: false,
            is_member: false,
            patient: false,
            after: Tick(0),
            pause_ms: DIAL_MS_MIN,
            missing_since: None,
            ours: false,
        })
    }

    /// How many nodes the operator named.
    pub fn seed_count(&self) -> usize {
        self.seeds
    }

    /// Takes over what is known of the members.
    pub fn learn<'a>(&mut self, members: impl Iterator<Item = &'a Member>, own: &NodeId) {
        self.targets.iter_mut().for_each(|(_, target)| target.is_member = false);
        for member in members.filter(|member| member.state != MemberState::Down) {
            let target = self.target(member.address);
            target.is_member = true;
            target.patient = member.node < *own && !target.is_seed;
        }
        self.targets.retain(|_, target| target.is_seed || target.is_member);
    }

    /// Puts what is due into the list to be called; `linked` is what is connected already.
    pub fn plan(&mut self, linked: &[SocketAddr], now: Tick) {
        for (address, target) in self.targets.iter_mut() {
            let alias = self.aliases.get(address).unwrap_or(address);
            if target.ours || linked.contains(address) || linked.contains(alias) {
                target.missing_since = None;
                continue;
            }
            let missing_since = *target.missing_since.get_or_insert(now);
            let waits = target.patient && now.since_ms(missing_since) < DIAL_PATIENCE_MS;
            if !waits && target.after <= now && !self.due.contains(address) {
                self.due.push_back(*address);
            }
        }
    }

    /// The next address to call.
    pub fn poll(&mut self) -> Option<SocketAddr> {
        self.due.pop_front()
    }

    /// A link stands: called (or calling itself) so, and known to itself so.
    pub fn linked(&mut self, called: SocketAddr, own: SocketAddr) {
        if called != own && self.targets.get(&called).is_some() {
            self.aliases.insert(called, own);
        }
        for address in [called, own] {
            if let Some(target) = self.targets.get_mut(&address) {
                target.pause_ms = DIAL_MS_MIN;
            }
        }
    }

    /// A link that stood is lost: call again soon.
    pub fn lost(&mut self, address: SocketAddr, now: Tick) {
        if let Some(target) = self.targets.get_mut(&address) {
            target.after = now.plus_ms(DIAL_MS_MIN);
        }
    }

    /// A call came to nothing: the next one later, and not at the same moment as everybody's.
    pub fn failed(&mut self, address: SocketAddr, now: Tick, random: u64) {
        if let Some(target) = self.targets.get_mut(&address) {
            let jitter = random % (target.pause_ms / 2).max(1);
            target.after = now.plus_ms(target.pause_ms + jitter);
            target.pause_ms = (2 * target.pause_ms).min(DIAL_MS_MAX);
        }
    }

    /// We called ourselves there.
    pub fn is_ourselves(&mut self, address: SocketAddr) {
        if let Some(target) = self.targets.get_mut(&address)
            && !target.ours
        {
            target.ours = true;
            self.seeds = self.seeds.saturating_sub(usize::from(target.is_seed));
        }
    }
}
