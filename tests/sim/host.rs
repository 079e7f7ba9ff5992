//! A node of the simulation: a whole [`Shard`] and its sockets, which are ends of virtual wires.
//!
//! It calls the shard as the reactor does and in that order, edge-triggered: an event comes once,
//! and what is left unread is asked for by the shard's own list.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use pushup::cluster::{LinkId, Setup};
use pushup::ids::{ConnId, Origin};
use pushup::limits::{READS_PER_TICK, SCRATCH_BYTES};
use pushup::planted::{Bug, Planted};
use pushup::session::access::Keys;
use pushup::session::route::Door;
use pushup::shard::{Flushed, Parting, Settings, Shard};
use pushup::time::{Now, Tick, Timestamp};

use crate::agenda::{Event, Ms};
use crate::http::{Response, request};
use crate::net::{Holder, Machine, Net, Purpose, Signal, WireId};
use crate::random::Random;

/// A Monday afternoon.
const WALL_MS: u64 = 1_795_361_093_123;
/// The port of every node's cluster address.
const PORT: u16 = 7_000;
/// Nothing that a node hands out at once may be longer, in bytes: a peer's queue and one frame.
const OUTPUT_BYTES_MAX: usize = 16 << 20;
/// A tick whose work does not end has failed.
const TURNS_MAX: usize = 10_000;

/// Where a node's peers reach it.
pub fn address(node: usize) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(10, 0, (node >> 8) as u8, node as u8 + 1).into(), PORT)
}

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

/// What a node is made of, each time that it starts.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub settings: Settings,
    pub cluster_name: String,
    pub key: Vec<u8>,
    pub peers: Vec<usize>,
    pub log_bytes_max: usize,
    pub planted: Planted,
}

/// What came while a node was paused.
#[derive(Debug)]
enum Input {
    Signal(WireId, usize, Signal),
    Datagram(SocketAddr, Vec<u8>),
}

/// An end of a wire.
#[derive(Debug)]
struct Socket {
    side: usize,
    plug: Plug,
    /// It is told when there is room.
    armed: bool,
    /// It was registered anew, so that what it has is told again.
    pending: bool,
    ended: bool,
}

/// What a socket is to the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plug {
    Conn(ConnId),
    Link(LinkId),
}

/// A node.
#[derive(Debug)]
pub struct Host {
    pub index: usize,
    /// Which life it is, from 1.
    pub life: u32,
    pub origin: Origin,
    pub paused: bool,
    /// It has said that it is ready.
    pub ready: bool,
    /// How far its wall clock is off, in milliseconds.
    pub wall_off_ms: i64,
    /// It has been given something since its tick ended.
    pub dirty: bool,
    recipe: Recipe,
    random: Random,
    shard: Option<Box<Shard>>,
    born: Ms,
    sockets: BTreeMap<WireId, Socket>,
    conns: BTreeMap<usize, WireId>,
    links: BTreeMap<LinkId, WireId>,
    backlog: Vec<Input>,
    deadline: u64,
}

// -- Life and death --------------------------------------------------------------

impl Host {
    pub fn new(index: usize, recipe: Recipe, wall_off_ms: i64, random: Random) -> Host {
        Host {
            index,
            life: 0,
            origin: Origin(0),
            paused: false,
            ready: false,
            wall_off_ms,
            dirty: false,
            recipe,
            random,
            shard: None,
            born: 0,
            sockets: BTreeMap::new(),
            conns: BTreeMap::new(),
            links: BTreeMap::new(),
            backlog: Vec::new(),
            deadline: 0,
        }
    }

    /// Starts the node's process.
    pub fn boot(&mut self, net: &mut Net) {
        assert!(self.shard.is_none(), "it runs already");
        self.life += 1;
        self.born = net.now();
        self.ready = false;
        let fresh = Origin(self.random.next());
        if self.life == 1 || !self.recipe.planted.is(Bug::OriginReused) {
            self.origin = fresh;
        }
        let now = self.now(net);
        let seed = self.random.next();
        let keys = Arc::new(Keys::default());
        let mut shard = Shard::new(self.recipe.settings.clone(), keys, self.origin, seed, now);
        shard.join_cluster(self.setup(), now);
        self.shard = Some(Box::new(shard));
        net.machines[self.index] = Machine::Up { life: self.life };
        self.dirty = true;
    }

    fn setup(&mut self) -> Setup {
        Setup {
            node: format!("node-{}", self.index).parse().expect("a node's name"),
            origin: self.origin,
            address: address(self.index),
            peers: self.recipe.peers.iter().map(|peer| address(*peer)).collect(),
            cluster_name: self.recipe.cluster_name.clone(),
            key: self.recipe.key.clone(),
            seed: self.random.next(),
            log_bytes_max: self.recipe.log_bytes_max,
            planted: self.recipe.planted,
        }
    }

    /// Ends the node's process without a word, as `kill -9` does, or the whole machine.
    pub fn crash(&mut self, machine: Machine, net: &mut Net) {
        self.shard = None;
        self.paused = false;
        self.ready = false;
        self.backlog.clear();
        self.sockets.clear();
        self.conns.clear();
        self.links.clear();
        for (wire, side) in net.wires_of(self.index, self.life) {
            match machine {
                Machine::Vacant => net.reset(wire, side),
                _ => net.lose(wire, side),
            }
        }
        net.machines[self.index] = machine;
    }

    /// Whether its process exists.
    pub fn is_up(&self) -> bool {
        self.shard.is_some()
    }

    /// What its clocks say.
    pub fn now(&self, net: &Net) -> Now {
        let wall = (WALL_MS + net.now()).saturating_add_signed(self.wall_off_ms);
        Now { wall: Timestamp(wall), tick: Tick(net.now() - self.born) }
    }

    /// The process is stopped: what comes waits.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// The process goes on; it sees that time has passed.
    pub fn resume(&mut self, net: &mut Net) {
        self.paused = false;
        self.dirty = true;
        for input in std::mem::take(&mut self.backlog) {
            match input {
                Input::Signal(wire, side, signal) => self.handle_signal(wire, side, signal, net),
                Input::Datagram(from, bytes) => self.handle_datagram(from, &bytes, net),
            }
        }
    }
}

// -- What happens to it ----------------------------------------------------------

impl Host {
    /// Something happened to one of its sockets, or somebody called.
    pub fn handle_signal(&mut self, wire: WireId, side: usize, signal: Signal, net: &mut Net) {
        if self.paused {
            return self.backlog.push(Input::Signal(wire, side, signal));
        }
        if !self.is_up() {
            return;
        }
        self.dirty = true;
        match signal {
            Signal::Called => self.accept(wire, net),
            Signal::Connected => self.link_up(wire, net),
            Signal::Refused | Signal::Reset => self.broken(wire, net),
            Signal::Readable => self.readable(wire, net),
            Signal::Writable => self.writable(wire, net),
            Signal::Ended => self.ended(wire, net),
        }
    }

    pub fn handle_datagram(&mut self, from: SocketAddr, bytes: &[u8], net: &mut Net) {
        if self.paused {
            return self.backlog.push(Input::Datagram(from, bytes.to_vec()));
        }
        let now = self.now(net);
        if let Some(shard) = &mut self.shard {
            shard.handle_datagram(from, bytes, now);
            self.dirty = true;
        }
    }

    /// Its deadline came; void if another was set since.
    pub fn handle_deadline(&mut self, serial: u64) {
        self.dirty |= serial == self.deadline && self.is_up() && !self.paused;
    }

    fn shard(&mut self) -> &mut Shard {
        self.shard.as_mut().expect("its process exists")
    }

    fn accept(&mut self, wire: WireId, net: &mut Net) {
        let now = self.now(net);
        if !net.is_held(wire, 1) {
            return;
        }
        let door = match net.wire(wire).purpose {
            Purpose::Public => Door::Public,
            Purpose::Publisher => Door::Publisher,
            Purpose::Link => return self.accept_link(wire, net),
        };
        let Some(id) = self.shard().open(door, now) else { return net.reset(wire, 1) };
        self.conns.insert(id.to_token(), wire);
        self.plug(wire, 1, Plug::Conn(id));
    }

    fn accept_link(&mut self, wire: WireId, net: &mut Net) {
        let now = self.now(net);
        let Holder::Node { node, .. } = net.wire(wire).holders[0] else { return };
        let from = SocketAddr::new(address(node).ip(), 40_000 + (wire.0 % 20_000) as u16);
        let Some(link) = self.shard().open_link(from, now) else { return net.close(wire, 1) };
        let index = self.index;
        net.note(format_args!("node-{index}"), || format!("accepts node-{node}, {wire:?}"));
        self.links.insert(link, wire);
        self.plug(wire, 1, Plug::Link(link));
    }

    fn plug(&mut self, wire: WireId, side: usize, plug: Plug) {
        self.sockets.insert(wire, Socket { side, plug, armed: false, pending: false, ended: false });
    }

    fn link_up(&mut self, wire: WireId, net: &mut Net) {
        let now = self.now(net);
        if let Some(Socket { plug: Plug::Link(link), .. }) = self.sockets.get(&wire) {
            let (link, index) = (*link, self.index);
            net.note(format_args!("node-{index}"), || format!("has a link, {wire:?}"));
            self.shard().handle_link_up(link, now);
            self.flush_link(wire, link, net);
        }
    }

    fn broken(&mut self, wire: WireId, net: &mut Net) {
        let now = self.now(net);
        match self.sockets.get(&wire).map(|socket| socket.plug) {
            Some(Plug::Conn(id)) => self.shard().handle_gone(id),
            Some(Plug::Link(link)) => {
                let index = self.index;
                net.note(format_args!("node-{index}"), || format!("lost {wire:?}"));
                self.sockets.remove(&wire);
                self.links.remove(&link);
                self.shard().handle_link_down(link, now);
            }
            None => {}
        }
    }

    fn readable(&mut self, wire: WireId, net: &mut Net) {
        match self.sockets.get(&wire).map(|socket| socket.plug) {
            Some(Plug::Conn(id)) => self.read(wire, id, net),
            Some(Plug::Link(link)) => self.read_link(wire, link, net),
            None => {}
        }
    }

    fn writable(&mut self, wire: WireId, net: &mut Net) {
        let Some(socket) = self.sockets.get_mut(&wire).filter(|socket| socket.armed) else { return };
        socket.armed = false;
        match socket.plug {
            Plug::Link(link) => self.flush_link(wire, link, net),
            Plug::Conn(id) => {
                self.shard().handle_writable(id);
                self.flush(wire, id, net);
                let blocked = self.shard().is_blocked(id);
                if let Some(socket) = self.sockets.get_mut(&wire) {
                    socket.pending |= !blocked;
                }
            }
        }
    }

    fn ended(&mut self, wire: WireId, net: &mut Net) {
        let Some(socket) = self.sockets.get_mut(&wire) else { return };
        socket.ended = true;
        match socket.plug {
            Plug::Link(_) => {
                let side = socket.side;
                self.readable(wire, net);
                net.close(wire, side);
                self.broken(wire, net);
            }
            Plug::Conn(id) => {
                if !self.shard().is_waiting(id) {
                    self.read(wire, id, net);
                }
                if self.shard().is_waiting(id) {
                    self.shard().handle_end_of_input(id);
                }
            }
        }
    }
}

// -- What the reactor does -------------------------------------------------------

impl Host {
    /// Ends a tick: time passes, and what is to be sent is sent. Sets the next deadline.
    pub fn finish_tick(&mut self, net: &mut Net) {
        self.dirty = false;
        if !self.is_up() || self.paused {
            return;
        }
        let now = self.now(net);
        for turns in 0.. {
            assert!(turns < TURNS_MAX, "the loop does not come to rest");
            self.shard().handle_time(now);
            self.serve_listed(net);
            self.serve_links(net);
            self.close_freed(net);
            let again: Vec<WireId> = self.take_pending();
            for wire in &again {
                self.readable(*wire, net);
            }
            if again.is_empty() && self.shard().listed_count() == 0 {
                break;
            }
        }
        self.set_deadline(net);
    }

    fn take_pending(&mut self) -> Vec<WireId> {
        let pending =
            |(wire, socket): (&WireId, &mut Socket)| std::mem::take(&mut socket.pending).then_some(*wire);
        self.sockets.iter_mut().filter_map(pending).collect()
    }

    fn set_deadline(&mut self, net: &mut Net) {
        self.deadline += 1;
        let (now, born) = (net.now(), self.born);
        if let Some(next) = self.shard().next_deadline() {
            // Never at this very moment again: a loop that spins would not let time pass.
            let at = (born + next.0.min(u64::from(u32::MAX))).max(now + 1);
            net.agenda.at(at, Event::Deadline { node: self.index, serial: self.deadline });
        }
    }

    fn read(&mut self, wire: WireId, id: ConnId, net: &mut Net) {
        let now = self.now(net);
        for _ in 0..READS_PER_TICK {
            let Some(Socket { side, ended, .. }) = self.sockets.get(&wire) else { return };
            let (side, ended) = (*side, *ended);
            if !self.shard().wants_input(id) {
                return;
            }
            let input = net.read(wire, side, SCRATCH_BYTES);
            if input.is_empty() {
                if ended {
                    self.shard().handle_end_of_input(id);
                    self.flush(wire, id, net);
                }
                return;
            }
            self.shard().handle_input(id, &input, now);
            self.flush(wire, id, net);
        }
        self.shard().handle_more_to_read(id);
    }

    fn flush(&mut self, wire: WireId, id: ConnId, net: &mut Net) {
        let now = self.now(net);
        let Some(side) = self.sockets.get(&wire).map(|socket| socket.side) else { return };
        loop {
            let [first, second] = self.shard().output(id, now);
            let total = first.len() + second.len();
            if total == 0 {
                break;
            }
            let len = total.min(net.room(wire, side));
            if len == 0 {
                net.wait_for_room(wire, side);
                self.shard().handle_blocked(id, now);
                if let Some(socket) = self.sockets.get_mut(&wire) {
                    socket.armed = true;
                    // To register anew asks anew what there is.
                    socket.pending |= net.unread(wire, side) > 0;
                }
                return;
            }
            let bytes: Vec<u8> = first.iter().chain(second).take(len).copied().collect();
            net.send(wire, side, &bytes);
            if len == total {
                self.shard().handle_all_sent(id, len);
            } else {
                self.shard().handle_sent(id, len);
            }
        }
        if self.shard().handle_flushed(id, now) == Flushed::Shut {
            net.shut(wire, side);
        }
    }

    fn serve_listed(&mut self, net: &mut Net) {
        let now = self.now(net);
        for _ in 0..self.shard().listed_count() {
            let Some(id) = self.shard().poll_listed(now) else { return };
            let Some(wire) = self.conns.get(&id.to_token()).copied() else { continue };
            self.flush(wire, id, net);
            if self.shard().is_unread(id) {
                self.read(wire, id, net);
            }
        }
    }

    fn close_freed(&mut self, net: &mut Net) {
        while let Some((id, parting)) = self.shard().poll_freed() {
            let Some(wire) = self.conns.remove(&id.to_token()) else { continue };
            let Some(socket) = self.sockets.remove(&wire) else { continue };
            match parting {
                Parting::Close => net.close(wire, socket.side),
                Parting::Reset => net.reset(wire, socket.side),
            }
        }
    }

    fn serve_links(&mut self, net: &mut Net) {
        let now = self.now(net);
        while let Some((link, to)) = self.shard().poll_dial(now) {
            self.dial(link, to, net);
        }
        while let Some(link) = self.shard().poll_link_listed() {
            if let Some(wire) = self.links.get(&link).copied() {
                self.flush_link(wire, link, net);
            }
        }
        while let Some((to, bytes)) = self.shard().poll_datagram() {
            if let Some(to) = node_at(to).filter(|to| *to < net.machines.len()) {
                net.send_datagram(self.index, to, bytes);
            }
        }
        while let Some(link) = self.shard().poll_link_closed() {
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
            return self.shard().handle_link_down(link, now);
        };
        let holder = Holder::Node { node: self.index, life: self.life };
        let room = 8_192 << net.random.below(6);
        let wire = net.connect(holder, to, Purpose::Link, room);
        self.links.insert(link, wire);
        self.plug(wire, 0, Plug::Link(link));
    }

    fn read_link(&mut self, wire: WireId, link: LinkId, net: &mut Net) {
        let now = self.now(net);
        let Some(side) = self.sockets.get(&wire).map(|socket| socket.side) else { return };
        loop {
            let input = net.read(wire, side, SCRATCH_BYTES);
            if input.is_empty() {
                return;
            }
            self.shard().handle_link_input(link, &input, now);
        }
    }

    fn flush_link(&mut self, wire: WireId, link: LinkId, net: &mut Net) {
        let now = self.now(net);
        let Some(Socket { side, .. }) = self.sockets.get(&wire) else { return };
        let side = *side;
        if !net.is_standing(wire) {
            return;
        }
        loop {
            let output = self.shard().link_output(link, now);
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
            self.shard().handle_link_sent(link, len, now);
        }
    }
}

// -- What oracles ask ------------------------------------------------------------

impl Host {
    /// Asks the node at once, without the network.
    pub fn ask(&mut self, door: Door, target: &str, net: &Net) -> Response {
        self.send(door, &request(&format!("GET {target}"), "", &[]), net)
    }

    /// The same with any request.
    pub fn send(&mut self, door: Door, request: &[u8], net: &Net) -> Response {
        let now = self.now(net);
        let shard = self.shard();
        let id = shard.open(door, now).expect("there is room for one more connection");
        let mut received = Vec::new();
        shard.handle_input(id, request, now);
        for _ in 0..TURNS_MAX {
            let [first, second] = shard.output(id, now);
            let len = first.len() + second.len();
            if len == 0 {
                break;
            }
            received.extend_from_slice(first);
            received.extend_from_slice(second);
            shard.handle_all_sent(id, len);
        }
        shard.handle_flushed(id, now);
        shard.handle_gone(id);
        let response = Response::parse(&received).map(|(response, _)| response);
        response
            .unwrap_or_else(|| panic!("no answer to {}: {}", request.escape_ascii(), received.escape_ascii()))
    }

    /// Whether it says that it is ready.
    pub fn says_ready(&mut self, net: &Net) -> bool {
        self.is_up() && !self.paused && self.ask(Door::Public, "/readyz", net).status == 200
    }

    /// Memory as it counts it, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.shard.as_ref().map_or(0, |shard| shard.memory_bytes())
    }
}
