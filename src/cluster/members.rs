//! Who belongs to the cluster (paper §7, gossip), by SWIM (Das, Gupta and Motivala 2002).
//!
//! Each node asks another one for a sign of life every second; who gives none, not even to others, is
//! suspected, and down if it does not object within three seconds. News travel with the datagrams
//! that are sent anyway. `foca` is the protocol; this module seals its datagrams, keeps its timers,
//! and sees to it that nodes find one another: at the start, after a partition, after a restart.
//!
//! What it refuses to know: sockets, clocks, links, channels, what a member's being down leads to.
//! Invariant: the same seed and the same input give the same datagrams.
//!
//! Calling order: [`Members::handle_datagram`] for what arrived, [`Members::handle_time`] when
//! [`Members::next_deadline`] is reached, then [`Members::poll_datagram`] until there is none.

mod codec;
mod identity;
mod outbox;
pub mod rendezvous;
mod seal;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use foca::{Config, Foca, Message, NoCustomBroadcast, PeriodicParams, State, Timer};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use self::codec::Codec;
use self::identity::Identity;
use self::outbox::{Event, Outbox};
use self::seal::{PAYLOAD_BYTES_MAX, Seal};
use self::table::Table;
use super::Setup;
use crate::ids::{NodeId, Origin};
use crate::limits::{
    ANNOUNCE_DOWN_MEMBERS, ANNOUNCE_DOWN_MS, ANNOUNCE_MS, GOSSIP_MEMBERS, GOSSIP_MS, GOSSIP_TOLD_MAX,
    LEAVE_TOLD_MAX, MEMBERS_MAX, PROBE_ANSWER_MS, PROBE_HELPERS, PROBE_MS, RENEW_MS_MIN, SEEK_CALLS_MAX,
    SEEK_MS, SEEKS_WHEN_SETTLED, SUSPECT_MS,
};
use crate::time::{Now, Tick};

/// What the cluster thinks of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// It answers.
    Alive,
    /// Someone got no answer; it counts as alive until it is down.
    Suspect,
    /// It gave no sign of life for seconds. It may be cut off and come back.
    Down,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub node: NodeId,
    /// Where it is reached, by its own word.
    pub address: SocketAddr,
    /// Its incarnation; another after a restart.
    pub origin: Origin,
    /// What the cluster thinks of it.
    pub state: MemberState,
}

/// Why a datagram was thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Its sender does not hold the key, or belongs to another cluster, or it is no datagram of ours.
    Unsealed,
    /// It is sealed and yet not understood, or says what cannot be.
    Malformed,
    /// It names a new node and there are [`MEMBERS_MAX`] already.
    TooMany,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rejection::Unsealed => "a datagram that is not of this cluster",
            Rejection::Malformed => "a datagram that is not understood",
            Rejection::TooMany => "a datagram that names one node too many",
        })
    }
}

type Swim = Foca<Identity, Codec, Xoshiro256PlusPlus, NoCustomBroadcast>;

/// This node's view of the cluster.
pub struct Members {
    swim: Swim,
    outbox: Outbox,
    table: Table,
    node: NodeId,
    /// The address at which this node is reached.
    address: SocketAddr,
    seeds: Vec<SocketAddr>,
    /// How often was looked for others.
    sought: u64,
    /// How many were called then, so that each has its turn.
    called: usize,
    /// When this node last took a new life on being told that it is down.
    renewed: Option<Tick>,
    rejected: u64,
    last_rejected: Option<(SocketAddr, Rejection)>,
    has_left: bool,
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members").field("node", &self.node).field("others", &self.iter().count()).finish()
    }
}

impl Members {
    /// A node that begins to look for others, first at its seeds. The wall clock tells this life of
    /// the node from its former ones.
    pub fn new(setup: &Setup, now: Now) -> Members {
        let address = plain(setup.address);
        let identity = Identity {
            node: Some(setup.node.clone()),
            address,
            origin: setup.origin,
            life: now.wall.0,
            left: false,
        };
        let rng = Xoshiro256PlusPlus::seed_from_u64(setup.seed);
        let seal = Seal::new(&setup.cluster_name, &setup.key);
        let mut members = Members {
            swim: Foca::new(identity, config(), rng, Codec::default()),
            outbox: Outbox::new(seal, now.tick),
            table: Table::default(),
            node: setup.node.clone(),
            address,
            seeds: setup.peers.iter().copied().map(plain).filter(|seed| *seed != address).collect(),
            sought: 0,
            called: 0,
            renewed: None,
            rejected: 0,
            last_rejected: None,
            has_left: false,
        };
        members.seek();
        members
    }

    // -- What is known ----------------------------------------------------------

    /// The other nodes, by name: also those that are down, for [`crate::limits::MEMBER_KEPT_MS`]. A
    /// node that left in good order is gone at once.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.table.iter()
    }

    /// This node's place in the order in which the living nodes look after a channel: 0 is its home.
    pub fn rank(&self, name: &str) -> usize {
        let living = self.iter().filter(|member| member.state != MemberState::Down);
        rendezvous::rank(&self.node, living.map(|member| &member.node), name)
    }

    /// Datagrams that were thrown away.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// The last of them: where it came from, and why.
    pub fn last_rejected(&self) -> Option<(SocketAddr, Rejection)> {
        self.last_rejected
    }

    /// When [`Members::handle_time`] is to be called next.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.outbox.next_deadline()
    }

    // -- What happens -----------------------------------------------------------

    /// A datagram arrived.
    pub fn handle_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Tick) {
        if self.has_left {
            return;
        }
        self.outbox.advance(now);
        if let Err(rejection) = self.take(bytes) {
            self.rejected += 1;
            self.last_rejected = Some((from, rejection));
        }
        self.refresh();
    }

    /// Time passed.
    pub fn handle_time(&mut self, now: Tick) {
        self.outbox.advance(now);
        while let Some(event) = self.outbox.next_due() {
            match event {
                Event::Seek => self.seek(),
                Event::Swim(timer) => self.fire(timer),
            }
        }
        self.refresh();
    }

    /// Someone is reached at this address: this node announces itself there.
    pub fn meet(&mut self, address: SocketAddr, now: Tick) {
        if self.has_left {
            return;
        }
        self.outbox.advance(now);
        self.announce(plain(address));
    }

    /// This node leaves in good order: the others are told, and whatever else comes is ignored.
    pub fn leave(&mut self, now: Tick) {
        if self.has_left {
            return;
        }
        self.outbox.advance(now);
        let told = self.swim.num_members().clamp(1, LEAVE_TOLD_MAX);
        let farewell = Config { num_indirect_probes: at_least_one(told), ..config() };
        let own = self.swim.identity();
        let last = Identity { left: true, ..own.after(own) };
        // Each of these tells everyone, and either will do: a datagram may be lost. None can fail:
        // nothing that may not be changed is, the identity is a new one, and headers always fit.
        let _ = self.swim.set_config(farewell);
        let _ = self.swim.change_identity(last, &mut self.outbox);
        let _ = self.swim.leave_cluster(&mut self.outbox);
        self.outbox.forget_timers();
        self.has_left = true;
    }

    /// The next datagram to be sent, and where.
    pub fn poll_datagram(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.outbox.poll_datagram()
    }

    // -- Datagrams --------------------------------------------------------------

    fn take(&mut self, bytes: &[u8]) -> Result<(), Rejection> {
        let payload = self.outbox.seal.open(bytes).ok_or(Rejection::Unsealed)?;
        let mut rest = payload;
        let mut header = codec::take_header(&mut rest).map_err(|_| Rejection::Malformed)?;
        let told = codec::take_members(rest).map_err(|_| Rejection::Malformed)?;
        if header.src.is_same_process(self.swim.identity()) {
            // Among the seeds is this node under another address.
            return Ok(());
        }
        let named = told.iter().map(|member| member.id()).chain([&header.src]);
        if !self.has_room_for(named) {
            return Err(Rejection::TooMany);
        }
        if header.message == Message::TurnUndead && !self.may_renew() {
            return Ok(());
        }
        if header.dst.supersedes(self.swim.identity()) {
            self.outlive(&header.dst);
        }
        let life = self.swim.identity().life;
        let result = if header.dst.node.is_none() {
            header.dst = self.swim.identity().clone();
            let mut addressed = Vec::with_capacity(payload.len() * 2);
            codec::put_header(&mut addressed, &header);
            self.swim.handle_data(&addressed, &mut self.outbox)
        } else {
            self.swim.handle_data(payload, &mut self.outbox)
        };
        if self.swim.identity().life != life {
            self.renewed = Some(self.outbox.now());
        }
        self.tell_of_former_life(&header.src);
        result.map_err(|_| Rejection::Malformed)
    }

    /// Whether these can all be remembered.
    fn has_room_for<'a>(&self, mut named: impl Iterator<Item = &'a Identity>) -> bool {
        let is_known = |identity: &Identity| {
            identity.node.as_ref() == Some(&self.node)
                || self.swim.iter_membership_state().any(|known| known.id().node == identity.node)
        };
        self.swim.iter_membership_state().len() < MEMBERS_MAX || named.all(is_known)
    }

    /// A node that is called down takes a new life, but not with every datagram that says so: where
    /// two nodes have one name, the one that loses would go on as fast as the network allows.
    fn may_renew(&self) -> bool {
        self.renewed.is_none_or(|renewed| self.outbox.now().since_ms(renewed) >= RENEW_MS_MIN)
    }

    /// Others remember a former life of this node as a later one: the wall clock was set back.
    fn outlive(&mut self, former: &Identity) {
        let next = self.swim.identity().after(former);
        if next.supersedes(former) {
            // It is another identity than before, and headers always fit: this cannot fail.
            let _ = self.swim.change_identity(next, &mut self.outbox);
            self.outbox.disconnect();
        }
    }

    /// A sender that claims an earlier life than is known is told of the later one, so that it can
    /// outlive it: by an announcement to the later one. But not while another process has the name.
    fn tell_of_former_life(&mut self, sender: &Identity) {
        let Some(known) = self.swim.iter_membership_state().find(|known| known.id().node == sender.node)
        else {
            return;
        };
        let is_over = known.state() == State::Down || known.id().address == sender.address;
        if known.id().supersedes(sender) && !known.id().is_same_process(sender) && is_over {
            let to = Identity { address: sender.address, ..known.id().clone() };
            // A header always fits.
            let _ = self.swim.announce(to, &mut self.outbox);
        }
    }

    fn announce(&mut self, address: SocketAddr) {
        if address != self.address {
            // A header always fits.
            let _ = self.swim.announce(Identity::anyone(address), &mut self.outbox);
        }
    }

    // -- Time -------------------------------------------------------------------

    fn fire(&mut self, timer: Timer<Identity>) {
        // It says that a probe's end came without its middle, after which it begins anew.
        let _ = self.swim.handle_timer(timer, &mut self.outbox);
    }

    /// Calls nodes that may belong here. A node that nobody talks to calls all it ever heard of; one
    /// that has company calls a missing seed now and then, since a partition may have lasted so long
    /// that both sides have forgotten each other.
    fn seek(&mut self) {
        for old in self.table.forgettable(self.outbox.now()) {
            self.fire(Timer::RemoveDown(old));
        }
        let seeds = self.seeds.iter().copied();
        if !self.outbox.is_connected() {
            let mut known: Vec<SocketAddr> = seeds.chain(self.table.missed()).collect();
            known.sort_unstable();
            known.dedup();
            self.call(known, SEEK_CALLS_MAX);
        } else if self.sought.is_multiple_of(SEEKS_WHEN_SETTLED) {
            let missing = seeds.filter(|seed| !self.is_living(*seed)).collect();
            self.call(missing, 1);
        }
        self.sought = self.sought.wrapping_add(1);
        self.outbox.submit(Event::Seek, SEEK_MS);
    }

    /// Calls so many of these, others than the last time.
    fn call(&mut self, mut addresses: Vec<SocketAddr>, count: usize) {
        let passed = self.called.checked_rem(addresses.len()).unwrap_or(0);
        addresses.rotate_left(passed);
        for address in addresses.into_iter().take(count) {
            self.called = self.called.wrapping_add(1);
            self.announce(address);
        }
    }

    fn is_living(&self, address: SocketAddr) -> bool {
        self.table.iter().any(|member| member.address == address && member.state != MemberState::Down)
    }

    fn refresh(&mut self) {
        self.table.refresh(&self.node, self.swim.iter_membership_state(), self.outbox.now());
    }
}

/// An address without an IPv6 address's flow and scope, which mean something only to this machine.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

fn config() -> Config {
    Config {
        probe_period: Duration::from_millis(PROBE_MS),
        probe_rtt: Duration::from_millis(PROBE_ANSWER_MS),
        num_indirect_probes: at_least_one(PROBE_HELPERS),
        max_transmissions: NonZeroU8::new(GOSSIP_TOLD_MAX).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: Duration::from_millis(SUSPECT_MS),
        // The table forgets instead, without a timer for each time that a node goes down.
        remove_down_after: None,
        max_packet_size: at_least_one(PAYLOAD_BYTES_MAX),
        notify_down_members: true,
        periodic_announce: periodic(ANNOUNCE_MS, 1),
        periodic_announce_to_down_members: periodic(ANNOUNCE_DOWN_MS, ANNOUNCE_DOWN_MEMBERS),
        periodic_gossip: periodic(GOSSIP_MS, GOSSIP_MEMBERS),
    }
}

fn periodic(ms: u64, members: usize) -> Option<PeriodicParams> {
    Some(PeriodicParams { frequency: Duration::from_millis(ms), num_members: at_least_one(members) })
}

fn at_least_one(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN)
}
