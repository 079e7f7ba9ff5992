//! The shard's side of the cluster: links' bytes in and out, entries applied and handed on.

use std::net::SocketAddr;

use super::Shard;
use crate::cluster::{LinkId, Setup};
use crate::time::Now;

impl Shard {
    /// Makes this node one of a cluster's.
    pub fn join_cluster(&mut self, _setup: Setup, _now: Now) {}

    /// A peer was accepted on the cluster's listener; `None` if there is no room for it.
    pub fn open_link(&mut self, _from: SocketAddr, _now: Now) -> Option<LinkId> {
        None
    }

    /// The next address to connect to; its fate is told by [`Shard::handle_link_up`] or
    /// [`Shard::handle_link_down`].
    pub fn poll_dial(&mut self) -> Option<(LinkId, SocketAddr)> {
        None
    }

    /// The connection that was asked for stands.
    pub fn handle_link_up(&mut self, _link: LinkId, _now: Now) {}

    /// The connection failed or ended.
    pub fn handle_link_down(&mut self, _link: LinkId, _now: Now) {}

    /// Bytes from a peer.
    pub fn handle_link_input(&mut self, _link: LinkId, _input: &[u8], _now: Now) {}

    /// The next link that has something to send since it was last asked for.
    pub fn poll_link_listed(&mut self) -> Option<LinkId> {
        None
    }

    /// What a link has to send; empty for nothing.
    pub fn link_output(&mut self, _link: LinkId, _now: Now) -> &[u8] {
        &[]
    }

    /// So much of it went by.
    pub fn handle_link_sent(&mut self, _link: LinkId, _len: usize, _now: Now) {}

    /// The next link whose socket is to be closed.
    pub fn poll_link_closed(&mut self) -> Option<LinkId> {
        None
    }

    /// Whether every peer has been sent what it is to have.
    pub fn links_flushed(&self) -> bool {
        true
    }

    /// A datagram came to the cluster's address.
    pub fn handle_datagram(&mut self, _from: SocketAddr, _bytes: &[u8], _now: Now) {}

    /// The next datagram to send.
    pub fn poll_datagram(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        None
    }
}
