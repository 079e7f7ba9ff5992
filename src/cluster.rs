//! Several nodes that look like one (paper §3.4 and §7): logs, links, members, catch-up.
//!
//! Every node numbers what it does in a log of its own and gives each entry to every other at
//! once; what one misses it pulls from any other that has it, and who comes too late for the
//! logs takes a snapshot. No node is special.
//!
//! Pure: bytes, the fates of connections and `now` in; bytes and [`Event`]s out. Knows no channel:
//! an entry is a numbered frame here. In reading order: a `link` is
//! one connection, `linking` leads links from their first byte to their end, `log` keeps what was said,
//! `replication` sees to it that nothing is missing, `joining` says when a node may serve, `dialing` whom
//! to connect to, [`members`] who there is, [`view`] what an operator is shown of it all.
//!
//! Invariant: [`Cluster::have`] covers exactly the entries that were handed out as events, of each
//! origin in order and without a hole.

mod dialing;
mod joining;
mod link;
mod linking;
mod log;
pub mod members;
mod replication;
pub mod view;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use slab::Slab;

use self::dialing::Dialing;
use self::joining::Joining;
use self::link::{Link, Own, Peer, Phase};
use self::log::Logs;
use self::members::Members;
use self::replication::Replication;
use crate::cursor::VersionVector;
use crate::ids::{LinkId, MessageId, NodeId, Origin};
use crate::limits::{CLUSTER_STEP_MS, LINK_SILENT_MS, LOG_BYTES_MAX};
use crate::planted::{Bug, Planted};
use crate::random::Random;
use crate::time::{Now, Tick};
use crate::wire::frame::handshake::Role;

/// Who a node is, and whom it starts from.
#[derive(Clone)]
pub struct Setup {
    /// This node's name, the same after a restart.
    pub node: NodeId,
    /// This node's incarnation; fresh at each boot.
    pub origin: Origin,
    /// Where others reach this node, both TCP and UDP.
    pub address: SocketAddr,
    /// Nodes to begin with.
    pub peers: Vec<SocketAddr>,
    /// The cluster's name: links between clusters are refused.
    pub cluster_name: String,
    /// What proves that a node belongs to the cluster; empty for none.
    pub key: Vec<u8>,
    /// Random, fresh at each boot.
    pub seed: u64,
    /// What the logs may take, in bytes.
    pub log_bytes_max: usize,
    /// A bug for the simulator to find.
    pub planted: Planted,
}

impl std::fmt::Debug for Setup {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Setup { node, origin, address, .. } = self;
        write!(f, "Setup({node}, {origin}, {address})")
    }
}

/// What the node is to do.
#[derive(Clone, Debug)]
pub enum Event {
    /// The next entry of its origin: apply it, in this order.
    Entry(MessageId, Arc<[u8]>),
    /// A peer wants a snapshot; see [`Cluster::wants_pieces`].
    SnapshotAsked(LinkId),
    /// A snapshot begins: what there was of an earlier one is void.
    SnapshotBegins,
    /// A piece of the snapshot that was asked for, as a frame.
    Piece(Arc<[u8]>),
}

/// What is counted of replication since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries of others, applied.
    pub entries: u64,
    /// Entries that were here already.
    pub repeated: u64,
    /// Entries that came before one that is missing.
    pub early: u64,
    /// Requests for missing entries.
    pub pulls: u64,
    /// Snapshots taken.
    pub snapshots: u64,
    /// Links that stood.
    pub links: u64,
    /// Peers and datagrams that were refused.
    pub refused: u64,
}

/// What the logs of all origins may have on a node of that much memory, in bytes. A log is a second copy
/// of what is cached; it must not starve the cache.
pub fn log_bytes_max(memory_bytes_max: usize) -> usize {
    LOG_BYTES_MAX.min(memory_bytes_max / 8)
}

/// One node's part in the cluster.
#[derive(Debug)]
pub struct Cluster {
    setup: Setup,
    key: Arc<[u8]>,
    links: Slab<Link>,
    generation: u32,
    /// Links with something to send.
    listed: VecDeque<LinkId>,
    /// Links whose connections are to be closed.
    closed: Vec<LinkId>,
    have: VersionVector,
    logs: Logs,
    replication: Replication,
    joining: Joining,
    dialing: Dialing,
    members: Members,
    events: VecDeque<Event>,
    counts: Counts,
    random: Random,
    next_step: Tick,
    /// When a refused peer was last logged.
    warned: Option<Tick>,
}

// -- Its beginning, and what its own node does -----------------------------------------

impl Cluster {
    /// A node that knows nobody yet.
    pub fn new(setup: Setup, now: Now) -> Cluster {
        let seeds: Vec<SocketAddr> =
            setup.peers.iter().copied().filter(|peer| *peer != setup.address).collect();
        Cluster {
            key: Arc::from(&setup.key[..]),
            links: Slab::new(),
            generation: 0,
            listed: VecDeque::new(),
            closed: Vec::new(),
            have: VersionVector::default(),
            logs: Logs::default(),
            replication: Replication::default(),
            joining: Joining::new(seeds.is_empty(), now.tick),
            dialing: Dialing::new(&seeds),
            members: Members::new(&setup, now),
            events: VecDeque::new(),
            counts: Counts::default(),
            random: Random::new(setup.seed),
            next_step: now.tick,
            warned: None,
            setup,
        }
    }

    /// This node did something: the next entry of its own log.
    pub fn append(&mut self, seq: u64, frame: Arc<[u8]>) {
        let id = MessageId { origin: self.setup.origin, seq };
        self.have.set(id.origin, seq);
        self.logs.append(id, frame, self.log_bytes_max());
        self.list_all();
    }

    /// While a snapshot is on its way, more of the log must last until it has arrived.
    fn log_bytes_max(&self) -> usize {
        let serving = self.links.iter().any(|(_, link)| link.peer().is_some_and(|peer| peer.snapshot));
        self.setup.log_bytes_max * if serving { 4 } else { 1 }
    }

    /// The next thing for the node to do.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What was handed out, of every origin.
    pub fn have(&self) -> &VersionVector {
        &self.have
    }

    /// Whether this node has caught up with the others.
    pub fn is_ready(&self) -> bool {
        self.joining.is_ready()
    }

    /// How many other nodes are known to have these entries.
    pub fn holders(&self, entries: &VersionVector) -> usize {
        let has_all = |peer: &&Peer| entries.iter().all(|(origin, seq)| peer.has.seq(origin) >= seq);
        if self.setup.planted.is(Bug::AckOfAnyNode) {
            return self.peers().count();
        }
        self.peers().filter(has_all).count()
    }

    /// Whether a link stands.
    pub fn is_up(&self, id: LinkId) -> bool {
        self.peer(id).is_some()
    }

    fn peer(&self, id: LinkId) -> Option<&Peer> {
        self.links.get(id.index as usize).filter(|link| link.generation == id.generation)?.peer()
    }

    /// How many other nodes make a majority together with this one. Nodes that are down count,
    /// until they are forgotten; so do those that were named and never seen.
    pub fn majority(&self) -> usize {
        let known = self.members.iter().count().max(self.dialing.seed_count()).max(self.peers().count());
        known.div_ceil(2)
    }

    fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.links.iter().filter_map(|(_, link)| link.peer())
    }

    /// Whether an origin may still say something: it is this node's or a member's.
    pub fn is_live(&self, origin: Origin) -> bool {
        origin == self.setup.origin
            || self.members.iter().any(|member| member.origin == origin)
            || self.peers().any(|peer| peer.hello.origin == origin)
    }

    /// All origins that may still say something.
    pub fn live_origins(&self) -> Vec<Origin> {
        let members = self.members.iter().map(|member| member.origin);
        let peers = self.peers().map(|peer| peer.hello.origin);
        let mut live: Vec<Origin> = members.chain(peers).collect();
        live.sort_unstable();
        live.dedup();
        live
    }

    /// Whether what an origin said may still be on its way here.
    pub fn expects(&self, origin: Origin) -> bool {
        self.is_live(origin) && !self.setup.planted.is(Bug::ResetInDoubt)
    }

    /// Forgets origins of which nothing is known to the node any more.
    pub fn keep_origins(&mut self, keeps: impl Fn(Origin) -> bool) {
        let gone: Vec<Origin> =
            self.have.iter().map(|entry| entry.0).filter(|origin| !keeps(*origin)).collect();
        gone.into_iter().for_each(|origin| self.have.set(origin, 0));
        self.logs.keep(keeps);
    }

    /// Memory in use, in bytes, as far as it is counted.
    pub fn bytes(&self) -> usize {
        let link = |(_, link): (usize, &Link)| link.inbox.capacity() + link.out.capacity();
        self.logs.bytes() + self.replication.bytes() + self.links.iter().map(link).sum::<usize>()
    }

    /// Of them, those of the logs, as far as these have a bound of their own.
    pub fn log_bytes(&self) -> usize {
        self.logs.bytes().min(self.setup.log_bytes_max)
    }

    /// This node's rank among the live members for a channel's name; 0 is the channel's home.
    pub fn rank(&self, name: &str) -> usize {
        self.members.rank(name)
    }

    /// Tells the others that this node goes, so that none waits for it.
    pub fn leave(&mut self, now: Now) {
        self.members.leave(now.tick);
    }

    /// Whether every peer was given all of this node's log.
    pub fn is_flushed(&self) -> bool {
        let own = self.own();
        self.links.iter().all(|(_, link)| {
            link.peer().is_none_or(|peer| !peer.digested || peer.was_given_all(&own)) && !link.has_output()
        })
    }

    fn own(&self) -> Own<'_> {
        Own { origin: self.setup.origin, have: &self.have, ready: self.joining.is_ready() }
    }
}

// -- Output ----------------------------------------------------------------------------

impl Cluster {
    pub(super) fn list(&mut self, id: LinkId) {
        if let Some(link) = self.link(id)
            && !link.listed
        {
            link.listed = true;
            self.listed.push_back(id);
        }
    }

    fn list_all(&mut self) {
        for (index, link) in &mut self.links {
            if !link.listed && link.peer().is_some() {
                link.listed = true;
                self.listed.push_back(LinkId { index: index as u32, generation: link.generation });
            }
        }
    }

    /// The next link that may have something to send.
    pub fn poll_listed(&mut self) -> Option<LinkId> {
        loop {
            let id = self.listed.pop_front()?;
            if let Some(link) = self.link(id) {
                link.listed = false;
                return Some(id);
            }
        }
    }

    /// What a link has to send; empty for nothing.
    pub fn output(&mut self, id: LinkId, now: Now) -> &[u8] {
        let own = Own { origin: self.setup.origin, have: &self.have, ready: self.joining.is_ready() };
        match self.links.get_mut(id.index as usize) {
            Some(link) if link.generation == id.generation => {
                link.fill(&own, &self.logs, now.tick);
                if self.setup.planted.is(Bug::AckAtSending)
                    && let Some(peer) = link.peer_mut()
                {
                    peer.count_sent(&own);
                }
                link.out.get(link.sent..).unwrap_or_default()
            }
            _ => &[],
        }
    }

    /// So much of it went by.
    pub fn handle_sent(&mut self, id: LinkId, len: usize, now: Now) {
        let Some(link) = self.link(id) else { return };
        link.sent += len;
        link.sent_bytes += len as u64;
        if matches!(link.phase, Phase::Ending) && !link.has_output() {
            self.close(id, now);
        }
    }

    /// Whether a link that is sent a snapshot has room for more of it.
    pub fn wants_pieces(&self, id: LinkId) -> bool {
        self.peer(id).is_some_and(|peer| peer.pieces.is_empty())
    }

    /// Pieces of a snapshot for a link; `last` with the end.
    pub fn push_pieces(&mut self, id: LinkId, frames: &mut Vec<u8>, last: bool) {
        if let Some(peer) = self.link(id).and_then(Link::peer_mut) {
            peer.pieces.append(frames);
            peer.snapshot = !last;
        }
        self.list(id);
    }

    /// A datagram came.
    pub fn handle_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Now) {
        let before = self.members.rejected();
        self.members.handle_datagram(from, bytes, now.tick);
        if let Some((_, why)) = self.members.last_rejected().filter(|_| self.members.rejected() > before) {
            self.refuse(from, &why, now.tick);
        }
    }

    /// The next datagram to send.
    pub fn poll_datagram(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.members.poll_datagram()
    }
}

// -- Time ------------------------------------------------------------------------------

impl Cluster {
    /// When [`Cluster::handle_time`] should be called next.
    pub fn next_deadline(&self) -> Tick {
        self.members.next_deadline().map_or(self.next_step, |next| next.min(self.next_step))
    }

    /// Lets time pass.
    pub fn handle_time(&mut self, now: Now) {
        self.members.handle_time(now.tick);
        if self.next_step > now.tick {
            return;
        }
        self.next_step = now.tick.plus_ms(CLUSTER_STEP_MS);
        self.end_silent_links(now);
        self.dialing.learn(self.members.iter(), &self.setup.node);
        let linked: Vec<SocketAddr> = self.links.iter().flat_map(|(_, link)| link_addresses(link)).collect();
        self.dialing.plan(&linked, now.tick);
        self.join(now);
        self.pull_missing(now.tick);
        let own = Own { origin: self.setup.origin, have: &self.have, ready: self.joining.is_ready() };
        for (index, link) in &mut self.links {
            let wants = link.peer().is_some_and(|peer| peer.wants_output(&own, now.tick));
            if wants && !link.listed {
                link.listed = true;
                self.listed.push_back(LinkId { index: index as u32, generation: link.generation });
            }
        }
    }

    /// Cuts links that are not up in time, or from which nothing comes.
    fn end_silent_links(&mut self, now: Now) {
        let over = |link: &Link| match link.phase {
            Phase::Up(_) => now.tick.since_ms(link.heard) >= LINK_SILENT_MS,
            _ => link.until <= now.tick,
        };
        let over: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| over(link))
            .map(|(index, link)| LinkId { index: index as u32, generation: link.generation })
            .collect();
        for id in over {
            if let Some(Link { phase: Phase::Shaking(_), address, .. }) = self.link(id) {
                let address = *address;
                self.refuse(address, &"the handshake took too long", now.tick);
            }
            self.close(id, now);
        }
    }
}

/// Where the other end of a link can be called, as far as is known.
fn link_addresses(link: &Link) -> impl Iterator<Item = SocketAddr> {
    let called = (link.role == Role::Dialer).then_some(link.address);
    called.into_iter().chain(link.peer().map(|peer| peer.hello.address))
}

#[cfg(test)]
mod tests;
