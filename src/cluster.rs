//! Several nodes that look like one (paper §3.4 and §7): logs, links, members, catch-up.
//!
//! Every node numbers what it does in a log of its own and gives each entry to every other at
//! once; what one misses it pulls from any other that has it, and who comes too late for the
//! logs takes a snapshot. No node is special.
//!
//! Pure: bytes, the fates of connections and `now` in; bytes and [`Event`]s out. Knows no channel:
//! an entry is a numbered frame here. In reading order: [`handshake`] lets a peer in, a `link` is
//! one connection, `log` keeps what was said, `replication` sees to it that nothing is missing,
//! `joining` says when a node may serve, `dialing` whom to connect to, [`members`] who there is.
//!
//! Invariant: [`Cluster::have`] covers exactly the entries that were handed out as events, of each
//! origin in order and without a hole.

mod dialing;
pub mod handshake;
mod joining;
mod link;
mod log;
pub mod members;
mod replication;
pub mod view;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use slab::Slab;

use self::dialing::Dialing;
use self::handshake::{Handshake, HandshakeError, Progress, Role};
use self::joining::Joining;
use self::link::{Link, Own, Peer, Phase};
use self::log::Logs;
use self::members::Members;
use self::replication::Replication;
use crate::cursor::VersionVector;
use crate::ids::{MessageId, NodeId, Origin};
use crate::limits::{
    CLUSTER_STEP_MS, FRAME_BYTES_MAX, HANDSHAKE_BYTES_MAX, HANDSHAKE_MS, LINK_DIAL_MS, LINK_ENDING_MS,
    LINK_SILENT_MS, LINKS_MAX, LINKS_UNPROVEN_MAX, WARNING_MS,
};
use crate::planted::{Bug, Planted};
use crate::time::{Now, Tick};
use crate::wire::frame::message::{Bye, Hello, VERSION};
use crate::wire::frame::{Frame, decode};

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

/// A link between two nodes, by its place and which owner of that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    /// The place.
    pub index: u32,
    /// Rises each time the place is given to a new link.
    pub generation: u32,
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
    /// Peers that were refused.
    pub refused: u64,
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
    random: u64,
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
            random: setup.seed,
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
        let link = self.links.get(id.index as usize).filter(|link| link.generation == id.generation);
        link.and_then(Link::peer).is_some()
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

    /// Whether what an origin said may still be on its way here.
    pub fn expects(&self, origin: Origin) -> bool {
        self.is_live(origin) && !self.setup.planted.is(Bug::ResetInDoubt)
    }

    /// Whether all members are linked and nothing that they have is missing here, so that what is
    /// unknown here is unknown everywhere.
    pub fn is_whole(&self) -> bool {
        let linked = |node: &NodeId| self.peers().any(|peer| peer.hello.node == *node && peer.digested);
        self.is_ready()
            && self.members.iter().all(|member| linked(&member.node))
            && self.dialing.seed_count() <= self.peers().count()
            && self.peers().all(|peer| peer.has.iter().all(|(origin, seq)| self.have.seq(origin) >= seq))
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

    /// What is counted.
    pub fn counts(&self) -> Counts {
        self.counts
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

// -- Links -----------------------------------------------------------------------------

impl Cluster {
    /// A peer connected; `None` if too many do.
    pub fn accept(&mut self, from: SocketAddr, now: Now) -> Option<LinkId> {
        let unproven = self.links.iter().filter(|(_, link)| link.peer().is_none()).count();
        if unproven >= LINKS_UNPROVEN_MAX || self.links.len() >= LINKS_MAX {
            self.refuse(from, &"too many peers that have not proved to belong", now.tick);
            return None;
        }
        let id = self.add_link(Role::Acceptor, from, now.tick);
        self.begin_handshake(id, now);
        Some(id)
    }

    /// The next address to connect to.
    pub fn poll_dial(&mut self, now: Now) -> Option<(LinkId, SocketAddr)> {
        if self.links.len() >= LINKS_MAX {
            return None;
        }
        let address = self.dialing.poll()?;
        Some((self.add_link(Role::Dialer, address, now.tick), address))
    }

    fn add_link(&mut self, role: Role, address: SocketAddr, now: Tick) -> LinkId {
        self.generation = self.generation.wrapping_add(1);
        let link = Link::new(self.generation, role, address, now.plus_ms(LINK_DIAL_MS), now);
        let index = self.links.insert(link) as u32;
        LinkId { index, generation: self.generation }
    }

    fn link(&mut self, id: LinkId) -> Option<&mut Link> {
        let link = self.links.get_mut(id.index as usize)?;
        (link.generation == id.generation).then_some(link)
    }

    /// A connection that was asked for stands.
    pub fn handle_up(&mut self, id: LinkId, now: Now) {
        self.begin_handshake(id, now);
    }

    fn begin_handshake(&mut self, id: LinkId, now: Now) {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.next_random().to_be_bytes());
        nonce[8..].copy_from_slice(&self.next_random().to_be_bytes());
        let hello = Hello {
            version: VERSION,
            cluster: self.setup.cluster_name.clone(),
            node: self.setup.node.clone(),
            origin: self.setup.origin,
            address: self.setup.address,
            nonce,
            features: Vec::new(),
        };
        let key = self.key.clone();
        let Some(link) = self.link(id) else { return };
        link.until = now.tick.plus_ms(HANDSHAKE_MS);
        link.heard = now.tick;
        link.phase = Phase::Shaking(Box::new(Handshake::new(link.role, hello, key, &mut link.out)));
        self.list(id);
    }

    /// SplitMix64 (Steele, Lea, Flood 2014) from the seed that was handed in.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A connection failed or ended.
    pub fn handle_down(&mut self, id: LinkId, now: Now) {
        if self.link(id).is_none() {
            return;
        }
        let link = self.links.remove(id.index as usize);
        match &link.phase {
            Phase::Up(peer) => {
                ::log::warn!("link to {} ({}) is down", peer.hello.node, link.address);
                self.dialing.lost(peer.hello.address, now.tick);
            }
            Phase::Shaking(_) | Phase::Dialing if link.role == Role::Dialer => {
                self.dialing.failed(link.address, now.tick, self.random);
            }
            _ => {}
        }
        self.snapshot_source_lost(id);
        self.pull_missing(now.tick);
    }

    /// Closes a link from our side.
    fn close(&mut self, id: LinkId, now: Now) {
        if self.link(id).is_some() {
            self.handle_down(id, now);
            self.closed.push(id);
        }
    }

    /// Ends a link with a reason that the peer is told.
    fn end(&mut self, id: LinkId, reason: &str, now: Now) {
        let mut bye = Vec::new();
        Bye { reason: reason.to_owned() }.write(&mut bye);
        let Some(link) = self.link(id) else { return };
        if let Phase::Up(peer) = &link.phase {
            let address = peer.hello.address;
            self.dialing.failed(address, now.tick, 0);
        } else if link.role == Role::Dialer {
            let address = link.address;
            self.dialing.failed(address, now.tick, 0);
        }
        let Some(link) = self.link(id) else { return };
        link.phase = Phase::Ending;
        link.until = now.tick.plus_ms(LINK_ENDING_MS);
        link.inbox = Vec::new();
        link.out.append(&mut bye);
        self.snapshot_source_lost(id);
        self.list(id);
    }

    /// The next link whose connection is to be closed.
    pub fn poll_closed(&mut self) -> Option<LinkId> {
        self.closed.pop()
    }

    fn refuse(&mut self, from: SocketAddr, reason: &dyn std::fmt::Display, now: Tick) {
        self.counts.refused += 1;
        if self.warned.is_none_or(|warned| now.since_ms(warned) >= WARNING_MS) {
            self.warned = Some(now);
            ::log::warn!("peer {from} is refused: {reason}");
        }
    }

    /// Bytes of a peer. Whatever they are, they cost this link at most.
    pub fn handle_input(&mut self, id: LinkId, input: &[u8], now: Now) {
        let Some(link) = self.link(id) else { return };
        link.heard = now.tick;
        link.received_bytes += input.len() as u64;
        let mut inbox = std::mem::take(&mut link.inbox);
        if inbox.is_empty() {
            let used = self.take_frames(id, input, now);
            inbox.extend_from_slice(input.get(used..).unwrap_or_default());
        } else {
            inbox.extend_from_slice(input);
            let used = self.take_frames(id, &inbox, now);
            inbox.drain(..used.min(inbox.len()));
        }
        if let Some(link) = self.link(id)
            && !matches!(link.phase, Phase::Ending)
        {
            inbox.shrink_to(inbox.len().max(1024) * 2);
            link.inbox = inbox;
        }
    }

    /// Handles the whole frames at the beginning of `input`; tells how long they are.
    fn take_frames(&mut self, id: LinkId, input: &[u8], now: Now) -> usize {
        let mut used = 0;
        loop {
            let Some(link) = self.link(id) else { return input.len() };
            let bytes_max = match link.phase {
                Phase::Up(_) => FRAME_BYTES_MAX,
                Phase::Shaking(_) => HANDSHAKE_BYTES_MAX,
                Phase::Dialing | Phase::Ending => return input.len(),
            };
            let rest = input.get(used..).unwrap_or_default();
            match decode(rest, bytes_max) {
                Ok(Some((frame, len))) => {
                    self.handle_frame(id, &frame, rest.get(..len).unwrap_or_default(), now);
                    used += len;
                }
                Ok(None) => return used,
                Err(error) => {
                    let address = link.address;
                    self.refuse(address, &error, now.tick);
                    self.end(id, &error.to_string(), now);
                    return input.len();
                }
            }
        }
    }

    fn handle_frame(&mut self, id: LinkId, frame: &Frame, bytes: &[u8], now: Now) {
        let Some(link) = self.link(id) else { return };
        let Phase::Shaking(handshake) = &mut link.phase else {
            return self.handle_peer_frame(id, frame, bytes, now);
        };
        let result = handshake.handle(frame, &mut link.out);
        let address = link.address;
        self.list(id);
        match result {
            Ok(Progress::Going) => {}
            Ok(Progress::Established(hello)) => self.establish(id, hello, now),
            Err(error) => {
                if matches!(error, HandshakeError::Ourselves) {
                    self.dialing.is_ourselves(address);
                }
                self.refuse(address, &error, now.tick);
                self.end(id, &error.to_string(), now);
            }
        }
    }

    /// A peer has proved to belong here. Of two links between the same two nodes one goes: both
    /// sides keep the one that the node with the lesser name asked for.
    fn establish(&mut self, id: LinkId, hello: Hello, now: Now) {
        let Some(link) = self.link(id) else { return };
        let (role, from) = (link.role, link.address);
        let same = |link: &Link| link.peer().is_some_and(|peer| peer.hello.node == hello.node);
        let other = self.links.iter().find(|(_, link)| same(link));
        if let Some((index, other)) = other {
            let other_id = LinkId { index: index as u32, generation: other.generation };
            let reborn = other.peer().is_some_and(|peer| peer.hello.origin != hello.origin);
            let ours_first = self.setup.node < hello.node;
            let is_preferred = |role: Role| (role == Role::Dialer) == ours_first;
            if !reborn && other.role != role && !is_preferred(role) {
                return self.end(id, "there is another link", now);
            }
            self.end(other_id, "there is another link", now);
        }
        ::log::info!("link to {} ({from}) stands", hello.node);
        self.counts.links += 1;
        self.dialing.linked(if role == Role::Dialer { from } else { hello.address }, hello.address);
        self.members.meet(hello.address, now.tick);
        if let Some(link) = self.link(id) {
            (link.sent_bytes, link.received_bytes) = (0, 0);
            link.phase = Phase::Up(Box::new(Peer::new(hello)));
        }
        self.list(id);
    }
}

// -- Output ----------------------------------------------------------------------------

impl Cluster {
    fn list(&mut self, id: LinkId) {
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
        let link = self.links.get(id.index as usize).filter(|link| link.generation == id.generation);
        link.and_then(Link::peer).is_some_and(|peer| peer.pieces.is_empty())
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
        self.members.handle_datagram(from, bytes, now.tick);
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
