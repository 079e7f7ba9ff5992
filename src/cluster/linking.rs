//! Links from their first byte to their end: accepted or called, let in or refused, one for each
//! pair of nodes.

use std::cmp::Reverse;
use std::net::SocketAddr;

use super::Cluster;
use super::link::{Link, Peer, Phase};
use crate::ids::LinkId;
use crate::limits::{
    FRAME_BYTES_MAX, HANDSHAKE_BYTES_MAX, HANDSHAKE_MS, LINK_DIAL_MS, LINK_ENDING_MS, LINKS_MAX,
    LINKS_UNPROVEN_MAX, WARNING_MS,
};
use crate::time::{Now, Tick};
use crate::wire::frame::handshake::{Handshake, HandshakeError, Progress, Purpose, Role};
use crate::wire::frame::message::{Bye, Hello, VERSION};
use crate::wire::frame::{Frame, decode};

impl Cluster {
    /// A peer connected; `None` if too many are.
    pub fn accept(&mut self, from: SocketAddr, now: Now) -> Option<LinkId> {
        let strangers = self.strangers().count();
        if (strangers >= LINKS_UNPROVEN_MAX || self.links.len() >= LINKS_MAX) && !self.cut_stranger(now) {
            self.refuse(from, &"there are too many links", now.tick);
            return None;
        }
        let id = self.add_link(Role::Acceptor, from, now.tick);
        self.begin_handshake(id, now);
        Some(id)
    }

    /// Who called and has not proved to belong.
    fn strangers(&self) -> impl Iterator<Item = (usize, &Link)> {
        self.links.iter().filter(|(_, link)| link.role == Role::Acceptor && link.peer().is_none())
    }

    /// Cuts one of the strangers, if there are any, to make room for another: whoever holds a place
    /// without a word must not keep those out who belong here. It is one of the address that has most;
    /// of these one that is refused already, or the one that has had most time.
    fn cut_stranger(&mut self, now: Now) -> bool {
        let of_its_address = |link: &Link| {
            self.strangers().filter(|(_, other)| other.address.ip() == link.address.ip()).count()
        };
        let worst = self.strangers().max_by_key(|(_, link)| {
            (
                of_its_address(link),
                matches!(link.phase, Phase::Ending),
                Reverse((link.until, link.generation)),
            )
        });
        let Some((index, link)) = worst else { return false };
        let (id, address) = (LinkId { index: index as u32, generation: link.generation }, link.address);
        self.refuse(address, &"too many peers have not proved to belong", now.tick);
        self.close(id, now);
        true
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

    pub(super) fn link(&mut self, id: LinkId) -> Option<&mut Link> {
        let link = self.links.get_mut(id.index as usize)?;
        (link.generation == id.generation).then_some(link)
    }

    /// A connection that was asked for stands.
    pub fn handle_up(&mut self, id: LinkId, now: Now) {
        self.begin_handshake(id, now);
    }

    fn begin_handshake(&mut self, id: LinkId, now: Now) {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.random.next_u64().to_be_bytes());
        nonce[8..].copy_from_slice(&self.random.next_u64().to_be_bytes());
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
        link.phase =
            Phase::Shaking(Box::new(Handshake::new(Purpose::Peers, link.role, hello, key, &mut link.out)));
        self.list(id);
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
                self.dialing.failed(link.address, now.tick, self.random.salt());
            }
            _ => {}
        }
        self.snapshot_source_lost(id);
        self.pull_missing(now.tick);
    }

    /// Closes a link from our side.
    pub(super) fn close(&mut self, id: LinkId, now: Now) {
        if self.link(id).is_some() {
            self.handle_down(id, now);
            self.closed.push(id);
        }
    }

    /// Ends a link with a reason that the peer is told.
    pub(super) fn end(&mut self, id: LinkId, reason: &str, now: Now) {
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

    pub(super) fn refuse(&mut self, from: SocketAddr, reason: &dyn std::fmt::Display, now: Tick) {
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
            let goes_on = !inbox.is_empty();
            link.inbox = inbox;
            if goes_on {
                self.snapshot_goes_on(id, now.tick);
            }
        }
        if std::mem::take(&mut self.replication.has_news) {
            self.pull_missing(now.tick);
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
            let reason =
                if reborn { "another node of the same name has come" } else { "there is another link" };
            self.end(other_id, reason, now);
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
