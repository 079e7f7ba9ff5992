//! What an operator is shown of the cluster.

use std::net::SocketAddr;

use super::link::Peer;
use super::members::MemberState;
use super::{Cluster, Counts, Setup};
use crate::ids::{NodeId, Origin};
use crate::sorted::SortedMap;

/// Another node, as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its name.
    pub node: NodeId,
    /// Where it is reached.
    pub address: SocketAddr,
    /// Its present incarnation, as far as is known.
    pub origin: Origin,
    /// What gossip says of it; `None` if only a link tells of it.
    pub state: Option<MemberState>,
    /// A link to it stands; what follows is of that link.
    pub linked: bool,
    /// It says that it has caught up.
    pub ready: bool,
    /// Entries of this node's log that it is not known to have.
    pub lacks: u64,
    /// Entries that it has and this node lacks.
    pub ahead: u64,
    /// Bytes sent to it.
    pub sent_bytes: u64,
    /// Bytes received from it.
    pub received_bytes: u64,
}

/// The cluster, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub cluster: String,
    /// This node's name.
    pub node: NodeId,
    /// This node's incarnation.
    pub origin: Origin,
    /// Where this node is reached.
    pub address: SocketAddr,
    /// Whether this node has caught up.
    pub ready: bool,
    /// The others, by name.
    pub members: Vec<MemberView>,
    /// Origins of which something is known.
    pub origins: usize,
    /// Entries that are kept for others.
    pub log_entries: usize,
    /// What these take, in bytes.
    pub log_bytes: usize,
    /// What was counted since the start.
    pub counts: Counts,
}

impl Cluster {
    /// What an operator is shown.
    pub fn view(&self) -> View {
        let Setup { cluster_name, node, origin, address, .. } = self.setup.clone();
        let mut members = SortedMap::default();
        for member in self.members.iter() {
            let mut view = blank(member.node.clone(), member.address, member.origin);
            view.state = Some(member.state);
            members.insert(member.node.clone(), view);
        }
        for (_, link) in &self.links {
            let Some(peer) = link.peer() else { continue };
            let hello = &peer.hello;
            let fresh = || blank(hello.node.clone(), hello.address, hello.origin);
            let view = members.get_or_insert_with(hello.node.clone(), fresh);
            view.linked = true;
            view.ready = peer.ready;
            (view.lacks, view.ahead) = self.lag(peer);
            (view.sent_bytes, view.received_bytes) = (link.sent_bytes, link.received_bytes);
        }
        View {
            cluster: cluster_name,
            node,
            origin,
            address,
            ready: self.is_ready(),
            members: members.into_values().collect(),
            origins: self.have.len(),
            log_entries: self.logs.len(),
            log_bytes: self.logs.bytes(),
            counts: self.counts,
        }
    }

    /// Links that stand.
    pub fn link_count(&self) -> usize {
        self.peers().count()
    }

    /// How many entries of ours it lacks, and how many it has that we lack.
    fn lag(&self, peer: &Peer) -> (u64, u64) {
        let own = self.setup.origin;
        let lacks = self.have.seq(own).saturating_sub(peer.has.seq(own));
        let ahead = |(origin, seq): (Origin, u64)| seq.saturating_sub(self.have.seq(origin));
        (lacks, peer.has.iter().map(ahead).fold(0, u64::saturating_add))
    }
}

fn blank(node: NodeId, address: SocketAddr, origin: Origin) -> MemberView {
    MemberView {
        node,
        address,
        origin,
        state: None,
        linked: false,
        ready: false,
        lacks: 0,
        ahead: 0,
        sent_bytes: 0,
        received_bytes: 0,
    }
}
