//! Several nodes that look like one (paper §3.4 and §7): logs, links, members, catch-up.
//!
//! Pure: bytes, connections' fates and `now` in, bytes and events out. Knows no channel: an entry
//! is a numbered frame here.

pub mod handshake;
pub mod members;

use std::net::SocketAddr;

use crate::ids::{NodeId, Origin};

/// Who a node is, and whom it starts from.
#[derive(Clone, Debug)]
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
}

/// A link between two nodes, by its place and which owner of that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    /// The place.
    pub index: u32,
    /// Rises each time the place is given to a new link.
    pub generation: u32,
}
