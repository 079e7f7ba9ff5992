//! One life of a node, as gossip knows it.
//!
//! A node's name is its address for the protocol: a life that begins later under the same name
//! takes the place of the former one at once, wherever it runs. Invariant: of two lives of a name
//! one wins, and all nodes agree which.

use std::net::{Ipv4Addr, SocketAddr};

use crate::ids::{NodeId, Origin};

/// One life of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The node's name; none for whoever is reached at the address, and only where a datagram says
    /// to whom it goes.
    pub node: Option<NodeId>,
    /// Where the node is reached.
    pub address: SocketAddr,
    /// Its incarnation as a source of log entries; it outlives a renewal.
    pub origin: Origin,
    /// Which life: at boot the wall clock's Unix milliseconds, one more with each renewal. A restart
    /// takes longer than a millisecond and renewals are a second apart, so a restart always wins.
    pub life: u64,
    /// The node left in good order; this is the last that is heard of it.
    pub left: bool,
}

impl Identity {
    /// Whoever is reached at this address.
    pub fn anyone(address: SocketAddr) -> Identity {
        Identity { node: None, address, origin: Origin(0), life: 0, left: false }
    }

    /// An identity that is only read: its address is unknown.
    pub fn anyone_anywhere() -> Identity {
        Identity::anyone(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }

    /// The same node in a later life than `former`.
    pub fn after(&self, former: &Identity) -> Identity {
        Identity { life: former.life.saturating_add(1), ..self.clone() }
    }

    /// Whether this life of the node takes the place of that one.
    pub fn supersedes(&self, other: &Identity) -> bool {
        self.node == other.node && self.order() > other.order()
    }

    /// Whether both are about the same start of the same process.
    pub fn is_same_process(&self, other: &Identity) -> bool {
        self.node == other.node && self.origin == other.origin
    }

    /// By life; the rest only so that no two are equal.
    fn order(&self) -> (u64, Origin, bool, SocketAddr) {
        (self.life, self.origin, self.left, self.address)
    }
}

impl foca::Identity for Identity {
    type Addr = Option<NodeId>;

    fn renew(&self) -> Option<Identity> {
        (!self.left).then(|| self.after(self))
    }

    fn addr(&self) -> Option<NodeId> {
        self.node.clone()
    }

    fn win_addr_conflict(&self, adversary: &Identity) -> bool {
        self.supersedes(adversary)
    }
}
