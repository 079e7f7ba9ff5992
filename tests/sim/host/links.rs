//! A node's links and datagrams, which are the hub's.

use std::net::SocketAddr;

use pushup::ids::LinkId;
use pushup::limits::SCRATCH_BYTES;

use super::{Host, Plug, Socket, address};
use crate::net::{Holder, Net, Purpose, WireId};

/// Nothing that a node hands out at once may be longer, in bytes: a peer's queue and one frame.
const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// The node of an address.
fn node_at(address: SocketAddr) -> Option<usize> {
    match address {
        SocketAddr::V4(address) => {
            let [_, _, high, low] = address.ip().octets();
            Some(usize::from(high) << 8 | usize::from(low.checked_sub(1)?))
        }
        SocketAddr::V6(_) => None,
    }
}

impl Host {
    pub(super) fn accept_link(&mut self, wire: WireId, net: &mut Net) {
        let now = self.now(net);
        let Holder::Node { node, .. } = net.wire(wire).holders[0] else { return };
        let from = SocketAddr::new(address(node).ip(), 40_000 + (wire.0 % 20_000) as u16);
        let Some(link) = self.hub().open_link(from, now) else { return net.close(wire, 1) };
        let index = self.index;
        net.note(format_args!("node-{index}"), || format!("accepts node-{node}, {wire:?}"));
        self.links.insert(link, wire);
        self.plug(wire, 1, Plug::Link(link));
    }

    pub(super) fn link_up(&mut self, wire: WireId, net: &mut Net) {
        let now = self.now(net);
        if let Some(Socket { plug: Plug::Link(link), .. }) = self.sockets.get(&wire) {
            let (link, index) = (*link, self.index);
            net.note(format_args!("node-{index}"), || format!("has a link, {wire:?}"));
            self.hub().handle_link_up(link, now);
            self.flush_link(wire, link, net);
        }
    }

    pub(super) fn serve_links(&mut self, net: &mut Net) {
        let now = self.now(net);
        while let Some((link, to)) = self.hub().poll_dial(now) {
            self.dial(link, to, net);
        }
        while let Some(link) = self.hub().poll_link_listed() {
            if let Some(wire) = self.links.get(&link).copied() {
                self.flush_link(wire, link, net);
            }
        }
        while let Some((to, bytes)) = self.hub().poll_datagram() {
            if let Some(to) = node_at(to).filter(|to| *to < net.machines.len()) {
                net.send_datagram(self.index, to, bytes);
            }
        }
        while let Some(link) = self.hub().poll_link_closed() {
            let Some(wire) = self.links.remove(&link) else { continue };
            let index = self.index;
            net.note(format_args!("node-{index}"), || format!("closes {wire:?}"));
            if let Some(socket) = self.sockets.remove(&wire) {
                net.close(wire, socket.side);
            }
        }
    }

    fn dial(&mut self, link: LinkId, to: SocketAddr, net: &mut Net) {
        let now = self.now(net);
        let Some(to) = node_at(to).filter(|to| *to < net.machines.len()) else {
            return self.hub().handle_link_down(link, now);
        };
        let holder = Holder::Node { node: self.index, life: self.life };
        let room = 8_192 << net.random.below(6);
        let wire = net.connect(holder, to, Purpose::Link, room);
        self.links.insert(link, wire);
        self.plug(wire, 0, Plug::Link(link));
    }

    pub(super) fn read_link(&mut self, wire: WireId, link: LinkId, net: &mut Net) {
        let now = self.now(net);
        let Some(side) = self.sockets.get(&wire).map(|socket| socket.side) else { return };
        loop {
            let input = net.read(wire, side, SCRATCH_BYTES);
            if input.is_empty() {
                return;
            }
            self.hub().handle_link_input(link, &input, now);
        }
    }

    pub(super) fn flush_link(&mut self, wire: WireId, link: LinkId, net: &mut Net) {
        let now = self.now(net);
        let Some(Socket { side, .. }) = self.sockets.get(&wire) else { return };
        let side = *side;
        if !net.is_standing(wire) {
            return;
        }
        loop {
            let output = self.hub().link_output(link, now);
            assert!(output.len() <= OUTPUT_BYTES_MAX, "{} bytes for a peer", output.len());
            let len = output.len().min(net.room(wire, side));
            if output.is_empty() {
                return;
            }
            if len == 0 {
                net.wait_for_room(wire, side);
                if let Some(socket) = self.sockets.get_mut(&wire) {
                    socket.armed = true;
                }
                return;
            }
            let bytes = output[..len].to_vec();
            net.send(wire, side, &bytes);
            self.hub().handle_link_sent(link, len, now);
        }
    }
}
