//! The cluster's sockets: links to other nodes, the listener for theirs, and datagrams.
//!
//! As the rest of the reactor it knows readiness and bytes, and nothing of what they mean. Links
//! are few, so they are looked at one by one.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Token};

use super::listen::ClusterSockets;
use super::socket::{Change, Input, Output, Socket};
use super::{Reactor, Verdict, is_exhausted, own_token};
use crate::ids::LinkId;
use crate::limits::{
    ACCEPT_PAUSE_MS, DATAGRAM_RECEIVED_BYTES_MAX, DATAGRAMS_PER_TICK, DIALS_PER_TICK, DRAIN_LINKS_MS,
    EVENTS_PER_TICK, EVICTIONS_PER_TICK, LINK_ACCEPTS_PER_TICK, LINK_WRITES_PER_TICK, LISTED_ENOUGH,
    READS_PER_TICK,
};

/// From here on the reactor's own tokens are links, by their places.
pub(super) const LINK_BASE: u32 = 1 << 24;
/// The token of the listener for other nodes.
const LINK_LISTENER: u32 = u32::MAX - 1;
/// The token of the socket for datagrams.
const DATAGRAMS: u32 = u32::MAX - 2;

/// The sockets of a node that belongs to a cluster.
pub(super) struct Links {
    /// None once the node has said good-bye.
    listener: Option<TcpListener>,
    /// Someone may be waiting to be accepted.
    has_callers: bool,
    datagrams: UdpSocket,
    /// Datagrams may have come.
    has_datagrams: bool,
    /// IPv4 addresses must be given to this socket in IPv6's form (RFC 4291 §2.5.5.2).
    is_ipv6: bool,
    sockets: Vec<Option<LinkSocket>>,
    /// The shard may have more connections to begin, or datagrams to send, than a round takes.
    has_left_over: bool,
    /// The node has said all: links are only read, until they end.
    is_leaving: bool,
}

/// A link's socket.
struct LinkSocket {
    socket: Socket,
    generation: u32,
    /// The shard may have output for it.
    is_listed: bool,
}

impl Links {
    fn get(&mut self, id: LinkId) -> Option<&mut LinkSocket> {
        let socket = self.sockets.get_mut(id.index as usize)?.as_mut()?;
        (socket.generation == id.generation).then_some(socket)
    }

    /// The link at a place, if the connection stands.
    fn standing(&mut self, index: u32) -> Option<(LinkId, &mut LinkSocket)> {
        let one = self.sockets.get_mut(index as usize)?.as_mut()?;
        let id = LinkId { index, generation: one.generation };
        one.socket.is_up().then_some((id, one))
    }

    /// Whether there is something to do, though the kernel will not tell it again.
    pub(super) fn has_work(&self, reads: bool) -> bool {
        let is_unfinished =
            |one: &LinkSocket| reads && one.socket.is_unread() || one.is_listed && one.socket.takes_more();
        self.has_left_over || self.has_datagrams || self.sockets.iter().flatten().any(is_unfinished)
    }

    /// Whether someone waits to be accepted.
    pub(super) fn has_callers(&self) -> bool {
        self.has_callers
    }

    fn insert(&mut self, id: LinkId, socket: Socket) {
        let index = id.index as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        if let Some(place) = self.sockets.get_mut(index) {
            *place = Some(LinkSocket { socket, generation: id.generation, is_listed: false });
        }
    }

    fn remove(&mut self, id: LinkId) -> Option<LinkSocket> {
        let place = self.sockets.get_mut(id.index as usize)?;
        place.take_if(|socket| socket.generation == id.generation)
    }
}

// -- Events ------------------------------------------------------------------------

impl Reactor {
    /// Accepts other nodes' links and takes their datagrams.
    pub fn add_cluster(&mut self, sockets: ClusterSockets) -> io::Result<()> {
        let is_ipv6 = sockets.address()?.is_ipv6();
        let mut listener = TcpListener::from_std(sockets.listener);
        let mut datagrams = UdpSocket::from_std(sockets.datagrams);
        let registry = self.poll.registry();
        registry.register(&mut listener, own_token(LINK_LISTENER), Interest::READABLE)?;
        registry.register(&mut datagrams, own_token(DATAGRAMS), Interest::READABLE)?;
        self.links = Some(Links {
            listener: Some(listener),
            has_callers: false,
            datagrams,
            has_datagrams: false,
            is_ipv6,
            sockets: Vec::new(),
            has_left_over: false,
            is_leaving: false,
        });
        Ok(())
    }

    /// Remembers what a socket of the cluster is ready for; `number` is its token's.
    pub(super) fn handle_link_event(&mut self, number: u32, event: &Event) {
        let Some(links) = &mut self.links else { return };
        match number {
            LINK_LISTENER => links.has_callers = true,
            DATAGRAMS => links.has_datagrams = true,
            _ => {
                let index = number - LINK_BASE;
                let Some(Some(one)) = links.sockets.get_mut(index as usize) else { return };
                let id = LinkId { index, generation: one.generation };
                match one.socket.handle_event(event) {
                    Change::None => {}
                    Change::Up => self.shard.handle_link_up(id, self.now),
                    Change::Gone => self.drop_link(id),
                }
            }
        }
    }

    /// The connection broke or ended.
    fn drop_link(&mut self, id: LinkId) {
        if self.links.as_mut().and_then(|links| links.remove(id)).is_some() {
            self.shard.handle_link_down(id, self.now);
        }
    }
}

// -- Input -------------------------------------------------------------------------

impl Reactor {
    /// Reads what other nodes have sent, a bounded part of it. The scratch buffer must be free.
    pub(super) fn read_links(&mut self) {
        // While other shards are too far behind, what peers send stays in their sockets.
        let places = if self.shard.wants_links() { self.link_places() } else { 0 };
        for index in 0..places {
            self.read_link(index);
        }
        if self.links.is_some() {
            self.read_datagrams();
        }
    }

    fn link_places(&self) -> u32 {
        self.links.as_ref().map_or(0, |links| links.sockets.len() as u32)
    }

    fn read_link(&mut self, index: u32) {
        for _ in 0..READS_PER_TICK {
            let Some((id, one)) = self.links.as_mut().and_then(|links| links.standing(index)) else {
                return;
            };
            match one.socket.receive(&mut self.scratch) {
                Input::Bytes(input) => self.shard.handle_link_input(id, input, self.now),
                Input::Nothing => return,
                Input::Gone => return self.drop_link(id),
            }
            if self.shard.listed_count() >= LISTED_ENOUGH {
                // Deliver first, as with publishers.
                return;
            }
        }
    }

    fn read_datagrams(&mut self) {
        for _ in 0..DATAGRAMS_PER_TICK {
            let Some(links) = &mut self.links else { return };
            if !links.has_datagrams {
                return;
            }
            match links.datagrams.recv_from(&mut self.scratch) {
                Ok((len, from)) if len <= DATAGRAM_RECEIVED_BYTES_MAX => {
                    let bytes = self.scratch.get(..len).unwrap_or_default();
                    self.shard.handle_datagram(canonical(from), bytes, self.now);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => links.has_datagrams = false,
                // A peer that was sent something is not there: the protocol finds that out itself.
                Err(error) => log::debug!("receiving datagrams: {error}"),
            }
        }
    }
}

// -- Output ------------------------------------------------------------------------

impl Reactor {
    /// Sends what the shard has for other nodes, closes links that are over and begins new ones.
    pub(super) fn write_links(&mut self) {
        let Some(links) = &mut self.links else { return };
        links.has_left_over = false;
        if links.is_leaving {
            return;
        }
        while let Some(id) = self.shard.poll_link_listed() {
            if let Some(socket) = links.get(id) {
                socket.is_listed = true;
            }
        }
        for index in 0..self.link_places() {
            self.write_link(index);
        }
        self.close_links();
        self.dial();
        self.send_datagrams();
    }

    fn write_link(&mut self, index: u32) {
        for _ in 0..LINK_WRITES_PER_TICK {
            let Some((id, one)) = self.links.as_mut().and_then(|links| links.standing(index)) else {
                return;
            };
            if !(one.is_listed && one.socket.takes_more()) {
                return;
            }
            let output = self.shard.link_output(id, self.now);
            if output.is_empty() {
                one.is_listed = false;
                return;
            }
            match one.socket.send(output) {
                Output::Sent(len) => self.shard.handle_link_sent(id, len, self.now),
                Output::Full => return,
                Output::Gone => return self.drop_link(id),
            }
        }
    }

    fn close_links(&mut self) {
        let Some(links) = &mut self.links else { return };
        while let Some(id) = self.shard.poll_link_closed() {
            links.remove(id);
        }
    }

    fn dial(&mut self) {
        for _ in 0..DIALS_PER_TICK {
            let Some(links) = &mut self.links else { return };
            let Some((id, address)) = self.shard.poll_dial(self.now) else { return };
            match Socket::dial(address, self.poll.registry(), link_token(id)) {
                Ok(socket) => links.insert(id, socket),
                Err(error) => {
                    log::debug!("cannot connect to {address}: {error}");
                    self.shard.handle_link_down(id, self.now);
                }
            }
        }
        self.leave_over();
    }

    fn send_datagrams(&mut self) {
        for _ in 0..DATAGRAMS_PER_TICK {
            let Some(links) = &mut self.links else { return };
            let Some((to, bytes)) = self.shard.poll_datagram() else { return };
            let to = if links.is_ipv6 { in_ipv6(to) } else { to };
            if let Err(error) = links.datagrams.send_to(&bytes, to) {
                // Lost, as any datagram may be.
                log::debug!("sending a datagram to {to}: {error}");
            }
        }
        self.leave_over();
    }

    fn leave_over(&mut self) {
        if let Some(links) = &mut self.links {
            links.has_left_over = true;
        }
    }
}

fn link_token(id: LinkId) -> Token {
    own_token(LINK_BASE + id.index)
}

/// An address as other nodes know it: IPv4's not in IPv6's form.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
            SocketAddr::new(address.ip().to_canonical(), address.port())
        }
        other => other,
    }
}

/// An address as a socket of IPv6 takes it.
fn in_ipv6(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 => v6,
    }
}

// -- Accepting and leaving -----------------------------------------------------------

impl Reactor {
    pub(super) fn accept_links(&mut self) {
        for _ in 0..LINK_ACCEPTS_PER_TICK {
            let Some(links) = &mut self.links else { return };
            let (Some(listener), true) = (&links.listener, links.has_callers) else { return };
            match listener.accept() {
                Ok((stream, from)) => self.admit_link(stream, canonical(from)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => links.has_callers = false,
                Err(error) if is_exhausted(&error) => return self.make_room_for_links(&error),
                // The caller left before we came, or some such: on to the next.
                Err(_) => {}
            }
        }
    }

    fn admit_link(&mut self, stream: TcpStream, from: SocketAddr) {
        let Some(links) = &mut self.links else { return };
        // One for whom there is no room is cut; it will come back by itself.
        let Some(id) = self.shard.open_link(from, self.now) else { return };
        match Socket::accepted(stream, self.poll.registry(), link_token(id)) {
            Ok(socket) => links.insert(id, socket),
            Err(_) => self.shard.handle_link_down(id, self.now),
        }
    }

    /// Another node comes before idle connections; without any, it waits.
    fn make_room_for_links(&mut self, error: &io::Error) {
        self.warn_exhausted(error);
        if self.shard.evict_idle(EVICTIONS_PER_TICK) > 0 {
            return self.close_freed();
        }
        self.accept_pause = self.now.tick.plus_ms(ACCEPT_PAUSE_MS);
    }

    /// The end of a node of a cluster: sends its peers what they do not have yet, for a bounded time,
    /// and parts from them in such a way that nothing of it is lost on the way.
    pub fn flush_links(&mut self) -> io::Result<()> {
        let Some(links) = &mut self.links else { return Ok(()) };
        links.listener = None;
        links.has_callers = false;
        let until = self.clock.now().tick.plus_ms(DRAIN_LINKS_MS);
        self.run(|shard, now| {
            let over = shard.links_flushed() || now.tick >= until;
            if over { Verdict::Stop } else { Verdict::GoOn }
        })?;
        self.write_links();
        self.leave_links();
        let mut events = Events::with_capacity(EVENTS_PER_TICK);
        let is_linked = |links: &Links| links.sockets.iter().any(Option::is_some);
        while self.now.tick < until && self.links.as_ref().is_some_and(is_linked) {
            self.tick(&mut events)?;
        }
        Ok(())
    }

    /// Ends our side of every link. Whoever has read all ends the other; were the sockets closed
    /// while there is unread input, the kernel would throw away what is still to be sent.
    fn leave_links(&mut self) {
        let Some(links) = &mut self.links else { return };
        links.is_leaving = true;
        for place in &mut links.sockets {
            place.take_if(|one| !one.socket.is_up() || one.socket.stream.shutdown(Shutdown::Write).is_err());
            if let Some(socket) = place {
                socket.is_listed = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_has_two_forms_and_others_know_the_short_one() {
        let of = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (short, long) in [("192.0.2.1:5", "[::ffff:192.0.2.1]:5"), ("[2001:db8::1]:5", "[2001:db8::1]:5")]
        {
            assert_eq!(in_ipv6(of(short)), of(long));
            assert_eq!(canonical(of(long)), of(short));
            assert_eq!(canonical(of(short)), of(short));
        }
    }
}
