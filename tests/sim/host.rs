//! A node of the simulation: whole [`Shard`]s and their sockets, which are ends of virtual wires.
//!
//! It calls each shard as the reactor does and in that order, edge-triggered: an event comes once,
//! and what is left unread is asked for by the shard's own list. The first shard is the hub, which
//! has the links and the datagrams; each client is some shard's.

mod links;
mod oracle;
mod post;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use pushup::cluster::Setup;
use pushup::ids::{ConnId, LinkId, Origin};
use pushup::limits::{READS_PER_TICK, SCRATCH_BYTES};
use pushup::planted::{Bug, Planted};
use pushup::session::access::Keys;
use pushup::session::route::Door;
use pushup::shard::{Flushed, Parting, Settings, Shard};
use pushup::time::{Now, Tick, Timestamp};

use crate::agenda::{Event, Ms};
use crate::net::{Machine, Net, Purpose, Signal, WireId};
use crate::random::Random;

use self::post::Post;

/// A Monday afternoon.
const WALL_MS: u64 = 1_795_361_093_123;
/// The port of every node's cluster address.
const PORT: u16 = 7_000;
/// A tick whose work does not end has failed.
const TURNS_MAX: usize = 10_000;

/// Where a node's peers reach it.
pub fn address(node: usize) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(10, 0, (node >> 8) as u8, node as u8 + 1).into(), PORT)
}

/// What a node is made of, each time that it starts.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// How many shards it has.
    pub shards: usize,
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

/// The number of the shard that has the links.
const HUB: usize = 0;

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

/// What a socket is to its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plug {
    Conn(Conn),
    /// To the hub.
    Link(LinkId),
}

/// A connection, and which shard it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Conn {
    shard: usize,
    id: ConnId,
}

impl Conn {
    fn key(self) -> (usize, usize) {
        (self.shard, self.id.to_token())
    }
}

/// A node.
#[derive(Debug)]
pub struct Host {
    pub index: usize,
    /// Which life it is, from 1.
    pub life: u32,
    pub origin: Origin,
    pub paused: bool,
    /// All its shards have said that they are ready.
    pub ready: bool,
    /// How far its wall clock is off, in milliseconds.
    pub wall_off_ms: i64,
    /// It has been given something since its tick ended.
    pub dirty: bool,
    recipe: Recipe,
    random: Random,
    /// None while its process does not exist.
    shards: Vec<Shard>,
    /// Which of them have said that they are ready.
    said_ready: Vec<bool>,
    post: Post,
    /// Letters that were ever sent.
    letters: u64,
    born: Ms,
    sockets: BTreeMap<WireId, Socket>,
    conns: BTreeMap<(usize, usize), WireId>,
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
            shards: Vec::new(),
            said_ready: Vec::new(),
            post: Post::default(),
            letters: 0,
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
        assert!(self.shards.is_empty(), "it runs already");
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
        let count = self.recipe.shards;
        let settings = self.recipe.settings.clone().for_one_of(count);
        let mut hub = Shard::new(settings.clone(), keys.clone(), self.origin, seed, now);
        let enlistment = (count > 1).then(|| hub.lead(count - 1, false));
        hub.join_cluster(self.setup(), now);
        self.shards.push(hub);
        for _ in 1..count {
            let Some(enlistment) = enlistment.clone() else { break };
            let own = Origin(self.random.next());
            self.shards.push(Shard::follow(settings.clone(), keys.clone(), enlistment, own, now));
        }
        self.said_ready = vec![false; count];
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
        self.shards.clear();
        self.post = Post::default();
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
        !self.shards.is_empty()
    }

    /// How many shards it has.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
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
        self.take_what_waited(net);
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
        if let Some(hub) = self.shards.first_mut() {
            hub.handle_datagram(from, bytes, now);
            self.dirty = true;
        }
    }

    /// Its deadline came; void if another was set since.
    pub fn handle_deadline(&mut self, serial: u64) {
        self.dirty |= serial == self.deadline && self.is_up() && !self.paused;
    }

    fn shard(&mut self, number: usize) -> &mut Shard {
        self.shards.get_mut(number).expect("its process exists")
    }

    fn hub(&mut self) -> &mut Shard {
        self.shard(HUB)
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
        let shard = match self.shards.len() {
            1 => HUB,
            count => self.random.index(count),
        };
        let Some(id) = self.shard(shard).open(door, now) else { return net.reset(wire, 1) };
        let conn = Conn { shard, id };
        self.conns.insert(conn.key(), wire);
        self.plug(wire, 1, Plug::Conn(conn));
    }

    fn plug(&mut self, wire: WireId, side: usize, plug: Plug) {
        self.sockets.insert(wire, Socket { side, plug, armed: false, pending: false, ended: false });
    }

    fn broken(&mut self, wire: WireId, net: &mut Net) {
        let now = self.now(net);
        match self.sockets.get(&wire).map(|socket| socket.plug) {
            Some(Plug::Conn(conn)) => self.shard(conn.shard).handle_gone(conn.id),
            Some(Plug::Link(link)) => {
                let index = self.index;
                net.note(format_args!("node-{index}"), || format!("lost {wire:?}"));
                self.sockets.remove(&wire);
                self.links.remove(&link);
                self.hub().handle_link_down(link, now);
            }
            None => {}
        }
    }

    fn readable(&mut self, wire: WireId, net: &mut Net) {
        match self.sockets.get(&wire).map(|socket| socket.plug) {
            Some(Plug::Conn(conn)) => self.read(wire, conn, net),
            Some(Plug::Link(link)) => self.read_link(wire, link, net),
            None => {}
        }
    }

    fn writable(&mut self, wire: WireId, net: &mut Net) {
        let Some(socket) = self.sockets.get_mut(&wire).filter(|socket| socket.armed) else { return };
        socket.armed = false;
        match socket.plug {
            Plug::Link(link) => self.flush_link(wire, link, net),
            Plug::Conn(conn) => {
                self.shard(conn.shard).handle_writable(conn.id);
                self.flush(wire, conn, net);
                let blocked = self.shard(conn.shard).is_blocked(conn.id);
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
            Plug::Conn(conn) => {
                if !self.shard(conn.shard).is_waiting(conn.id) {
                    self.read(wire, conn, net);
                }
                if self.shard(conn.shard).is_waiting(conn.id) {
                    self.shard(conn.shard).handle_end_of_input(conn.id);
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
        for turns in 0.. {
            assert!(turns < TURNS_MAX, "the loop does not come to rest");
            (0..self.shards.len()).for_each(|shard| self.step(shard, net));
            let again: Vec<WireId> = self.take_pending();
            for wire in &again {
                self.readable(*wire, net);
            }
            if again.is_empty() && self.shards.iter().all(|shard| shard.listed_count() == 0) {
                break;
            }
        }
        self.send_mail(net);
        self.set_deadline(net);
    }

    /// What a loop does once it has read.
    fn step(&mut self, shard: usize, net: &mut Net) {
        let now = self.now(net);
        self.shard(shard).handle_time(now);
        self.serve_listed(shard, net);
        if shard == HUB {
            self.serve_links(net);
        }
        self.close_freed(shard, net);
    }

    fn take_pending(&mut self) -> Vec<WireId> {
        let pending =
            |(wire, socket): (&WireId, &mut Socket)| std::mem::take(&mut socket.pending).then_some(*wire);
        self.sockets.iter_mut().filter_map(pending).collect()
    }

    fn set_deadline(&mut self, net: &mut Net) {
        self.deadline += 1;
        let (now, born) = (net.now(), self.born);
        if let Some(next) = self.shards.iter().filter_map(Shard::next_deadline).min() {
            // Never at this very moment again: a loop that spins would not let time pass.
            let at = (born + next.0.min(u64::from(u32::MAX))).max(now + 1);
            net.agenda.at(at, Event::Deadline { node: self.index, serial: self.deadline });
        }
    }

    fn read(&mut self, wire: WireId, conn: Conn, net: &mut Net) {
        let now = self.now(net);
        for _ in 0..READS_PER_TICK {
            let Some(Socket { side, ended, .. }) = self.sockets.get(&wire) else { return };
            let (side, ended) = (*side, *ended);
            if !self.shard(conn.shard).wants_input(conn.id) {
                return;
            }
            let input = net.read(wire, side, SCRATCH_BYTES);
            if input.is_empty() {
                if ended {
                    self.shard(conn.shard).handle_end_of_input(conn.id);
                    self.flush(wire, conn, net);
                }
                return;
            }
            self.shard(conn.shard).handle_input(conn.id, &input, now);
            self.flush(wire, conn, net);
        }
        self.shard(conn.shard).handle_more_to_read(conn.id);
    }

    fn flush(&mut self, wire: WireId, conn: Conn, net: &mut Net) {
        let now = self.now(net);
        let Some(side) = self.sockets.get(&wire).map(|socket| socket.side) else { return };
        let Conn { shard, id } = conn;
        loop {
            let [first, second] = self.shard(shard).output(id, now);
            let total = first.len() + second.len();
            if total == 0 {
                break;
            }
            let len = total.min(net.room(wire, side));
            if len == 0 {
                net.wait_for_room(wire, side);
                self.shard(shard).handle_blocked(id, now);
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
                self.shard(shard).handle_all_sent(id, len);
            } else {
                self.shard(shard).handle_sent(id, len);
            }
        }
        if self.shard(shard).handle_flushed(id, now) == Flushed::Shut {
            net.shut(wire, side);
        }
    }

    fn serve_listed(&mut self, shard: usize, net: &mut Net) {
        let now = self.now(net);
        for _ in 0..self.shard(shard).listed_count() {
            let Some(id) = self.shard(shard).poll_listed(now) else { return };
            let conn = Conn { shard, id };
            let Some(wire) = self.conns.get(&conn.key()).copied() else { continue };
            self.flush(wire, conn, net);
            if self.shard(shard).is_unread(id) {
                self.read(wire, conn, net);
            }
        }
    }

    fn close_freed(&mut self, shard: usize, net: &mut Net) {
        while let Some((id, parting)) = self.shard(shard).poll_freed() {
            let Some(wire) = self.conns.remove(&Conn { shard, id }.key()) else { continue };
            let Some(socket) = self.sockets.remove(&wire) else { continue };
            match parting {
                Parting::Close => net.close(wire, socket.side),
                Parting::Reset => net.reset(wire, socket.side),
            }
        }
    }
}
