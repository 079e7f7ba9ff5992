//! The virtual network: connections as ordered pipes of bytes, datagrams, and the weather.
//!
//! A connection is a [`Wire`] with two sides, the caller's (0) and the called one's (1), and a
//! pipe from each. What is sent arrives later, in order, cut where it pleases the network; each
//! wire has a delay of its own, so that nothing can be said of the order between two. While the
//! way is blocked, by a partition or because a machine has no power, freight waits as it would be
//! sent again and again; a writer whose kernel has waited too long is told of a broken connection,
//! and the other side learns it when the way is open again, if it still asks.

use std::collections::VecDeque;
use std::fmt::Display;

use crate::agenda::{Agenda, Event, Ms};
use crate::random::Random;
use crate::trace::Trace;

/// After this long without an acknowledgement a kernel gives a connection up.
const GIVE_UP_MS: Ms = pushup::limits::USER_TIMEOUT_MS;
/// A connection that is not answered at all fails after at most this long.
const KNOCK_MS_MAX: Ms = 4_000;
/// What may be under way to a slow peer, in bytes.
const SLOW_ROOM_BYTES: usize = 1_000;
/// The largest datagram that any network takes.
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// A connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireId(pub usize);

impl std::fmt::Debug for WireId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "wire {}", self.0)
    }
}

/// Who holds an end of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A node, and which of its lives.
    Node { node: usize, life: u32 },
    /// An actor outside of the cluster.
    Actor(usize),
}

/// What a wire is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The public listener.
    Public,
    /// The publishers' listener.
    Publisher,
    /// From node to node.
    Link,
}

/// What the holder of a wire's side is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Somebody called.
    Called,
    /// The connection that was asked for stands.
    Connected,
    /// It does not.
    Refused,
    /// There is something to read.
    Readable,
    /// There is room to write.
    Writable,
    /// The other side will send nothing more.
    Ended,
    /// The connection is broken.
    Reset,
}

/// A machine, as far as the network sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// The node runs (or is paused: its kernel answers all the same).
    Up { life: u32 },
    /// The node's process is gone; its kernel refuses and resets.
    Vacant,
    /// Nothing answers.
    Dark,
}

#[derive(Debug)]
enum Freight {
    Bytes(Vec<u8>),
    End,
    Reset,
}

#[derive(Debug, Default)]
struct Pipe {
    flight: VecDeque<(Ms, Freight)>,
    flight_bytes: usize,
    /// With the reader's kernel, unread.
    arrived: VecDeque<u8>,
    /// So many bytes may be under way or unread.
    room: usize,
    last_arrival: Ms,
    /// Nothing gets through since then.
    blocked_since: Option<Ms>,
    writer_waits: bool,
    /// Its end was sent.
    sealed: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    pub purpose: Purpose,
    pub holders: [Holder; 2],
    /// Whether each side's holder still has its socket.
    pub open: [bool; 2],
    stands: bool,
    pipes: [Pipe; 2],
    delay: Ms,
    jitter: Ms,
}

/// What is wrong with the network at the moment.
#[derive(Debug)]
pub struct Weather {
    /// From which node to which nothing gets through.
    pub blocked: Vec<Vec<bool>>,
    /// From which node to which it is slow.
    pub slow: Vec<Vec<bool>>,
    /// Connections to which node are refused.
    pub refusing: Vec<bool>,
    /// Of a hundred datagrams so many are lost.
    pub loss_percent: u64,
    /// Of a hundred datagrams so many come twice.
    pub twice_percent: u64,
    /// How much later than others a datagram or a segment may come, in milliseconds.
    pub jitter_ms: Ms,
}

/// Bytes that went over the network, for who wants to know what a cluster costs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    pub link_bytes: u64,
    pub datagrams: u64,
    pub datagram_bytes: u64,
}

/// The network.
#[derive(Debug)]
pub struct Net {
    pub agenda: Agenda,
    pub random: Random,
    pub weather: Weather,
    pub machines: Vec<Machine>,
    pub traffic: Traffic,
    pub trace: Trace,
    /// The longest delay that a wire is born with, in milliseconds.
    delay_ms_max: Ms,
    wires: Vec<Wire>,
}

// -- Connections -----------------------------------------------------------------

impl Net {
    pub fn new(nodes: usize, delay_ms_max: Ms, random: Random, trace: Trace) -> Net {
        let weather = Weather {
            blocked: vec![vec![false; nodes]; nodes],
            slow: vec![vec![false; nodes]; nodes],
            refusing: vec![false; nodes],
            loss_percent: 0,
            twice_percent: 0,
            jitter_ms: 1,
        };
        Net {
            agenda: Agenda::default(),
            random,
            weather,
            machines: vec![Machine::Vacant; nodes],
            traffic: Traffic::default(),
            trace,
            delay_ms_max,
            wires: Vec::new(),
        }
    }

    pub fn now(&self) -> Ms {
        self.agenda.now()
    }

    /// A line of the trace; it is made only if somebody reads it.
    pub fn note<T: Display>(&mut self, who: impl Display, what: impl FnOnce() -> T) {
        if self.trace.on {
            let who = who.to_string();
            let line = format!("{:>9.3} {who:<12} {}", self.now() as f64 / 1000.0, what());
            self.trace.lines.push(line);
        }
    }

    pub fn wire(&self, wire: WireId) -> &Wire {
        &self.wires[wire.0]
    }

    /// Begins to connect to a node; the fate is told by a [`Signal`]. `room` bounds what may be
    /// under way in each direction, in bytes.
    pub fn connect(&mut self, from: Holder, to: usize, purpose: Purpose, room: usize) -> WireId {
        let wire = WireId(self.wires.len());
        let called = Holder::Node { node: to, life: 0 };
        let pipe = || Pipe { room, ..Pipe::default() };
        let delay = self.random.mostly_small(1, self.delay_ms_max);
        let jitter = self.random.mostly_small(0, 3);
        self.wires.push(Wire {
            purpose,
            holders: [from, called],
            open: [true, false],
            stands: false,
            pipes: [pipe(), pipe()],
            delay,
            jitter,
        });
        self.agenda.after(delay, Event::Knock { wire });
        wire
    }

    /// The first segment comes to a machine. Gives whom to tell that somebody called.
    pub fn knock(&mut self, wire: WireId) -> Option<Holder> {
        let (delay, purpose) = (self.wire(wire).delay, self.wire(wire).purpose);
        let Holder::Node { node, .. } = self.wire(wire).holders[1] else { return None };
        if self.is_blocked(wire, 0) || self.is_blocked(wire, 1) {
            let patience = self.random.between(500, KNOCK_MS_MAX);
            self.agenda.after(patience, Event::Connected { wire, stands: false });
            return None;
        }
        let refused = purpose == Purpose::Link && self.weather.refusing[node];
        let Machine::Up { life } = self.machines[node] else {
            self.agenda.after(delay, Event::Connected { wire, stands: false });
            return None;
        };
        self.agenda.after(delay, Event::Connected { wire, stands: !refused });
        if refused {
            return None;
        }
        let entry = &mut self.wires[wire.0];
        entry.holders[1] = Holder::Node { node, life };
        entry.open[1] = true;
        entry.stands = true;
        Some(entry.holders[1])
    }

    /// Whoever asked for a connection learns its fate, if it still wants to know.
    pub fn connected(&mut self, wire: WireId, stands: bool) -> Option<Signal> {
        let entry = &mut self.wires[wire.0];
        if !entry.open[0] {
            return None;
        }
        if !stands {
            entry.open[0] = false;
            return Some(Signal::Refused);
        }
        Some(Signal::Connected)
    }

    /// How many bytes can be written now.
    pub fn room(&mut self, wire: WireId, side: usize) -> usize {
        let room_max = if self.is_slow(wire, side) { SLOW_ROOM_BYTES } else { usize::MAX };
        let pipe = &mut self.wires[wire.0].pipes[side];
        let used = pipe.flight_bytes + pipe.arrived.len();
        pipe.room.min(room_max).saturating_sub(used)
    }

    /// A writer found no room and wants to be told.
    pub fn wait_for_room(&mut self, wire: WireId, side: usize) {
        self.wires[wire.0].pipes[side].writer_waits = true;
    }

    /// Writes; there must be room. On a broken connection, of which the writer will be told,
    /// it leads nowhere.
    pub fn send(&mut self, wire: WireId, side: usize, bytes: &[u8]) {
        assert!(bytes.len() <= self.room(wire, side), "more is written than there is room for");
        let entry = &self.wires[wire.0];
        if !entry.open[side] {
            return;
        }
        assert!(!entry.pipes[side].sealed, "written after the end");
        if entry.purpose == Purpose::Link {
            self.traffic.link_bytes += bytes.len() as u64;
        }
        // Cut where no frame ends.
        let mut rest = bytes;
        while rest.len() > 1 && self.random.percent(20) {
            let (first, behind) = rest.split_at(1 + self.random.index(rest.len() - 1));
            self.load(wire, side, Freight::Bytes(first.to_vec()));
            rest = behind;
        }
        self.load(wire, side, Freight::Bytes(rest.to_vec()));
    }

    /// A side closes its socket: the other is told after all that was sent.
    pub fn close(&mut self, wire: WireId, side: usize) {
        self.leave(wire, side, Freight::End);
    }

    /// The same at once: what was not delivered is lost.
    pub fn reset(&mut self, wire: WireId, side: usize) {
        self.leave(wire, side, Freight::Reset);
    }

    /// A side sends nothing more and still reads.
    pub fn shut(&mut self, wire: WireId, side: usize) {
        if !self.wires[wire.0].pipes[side].sealed {
            self.load(wire, side, Freight::End);
            self.wires[wire.0].pipes[side].sealed = true;
        }
    }

    fn leave(&mut self, wire: WireId, side: usize, last: Freight) {
        let entry = &mut self.wires[wire.0];
        if !std::mem::replace(&mut entry.open[side], false) || !entry.stands {
            return;
        }
        let pipe = &mut entry.pipes[side];
        let silent = pipe.sealed && !matches!(last, Freight::Reset);
        if matches!(last, Freight::Reset) {
            pipe.flight.clear();
            pipe.flight_bytes = 0;
        }
        if !silent {
            self.load(wire, side, last);
            self.wires[wire.0].pipes[side].sealed = true;
        }
        self.wires[wire.0].pipes[1 - side].arrived = VecDeque::new();
    }

    /// The network cuts a connection: of what is under way a part arrives, then both sides learn.
    pub fn cut(&mut self, wire: WireId) -> [Option<Signal>; 2] {
        for side in [0, 1] {
            let pipe = &mut self.wires[wire.0].pipes[side];
            pipe.flight.clear();
            pipe.flight_bytes = 0;
            pipe.sealed = true;
        }
        [0, 1].map(|side| self.break_side(wire, side))
    }

    /// A machine loses its power: what it had sent and nobody had taken is lost, and nobody is told.
    pub fn lose(&mut self, wire: WireId, side: usize) {
        let pipe = &mut self.wires[wire.0].pipes[side];
        pipe.flight.clear();
        pipe.flight_bytes = 0;
    }

    /// A side is told that its connection is broken.
    fn break_side(&mut self, wire: WireId, side: usize) -> Option<Signal> {
        let entry = &mut self.wires[wire.0];
        entry.pipes[1 - side].arrived = VecDeque::new();
        let was_open = std::mem::replace(&mut entry.open[side], false);
        (was_open && entry.stands).then_some(Signal::Reset)
    }

    fn load(&mut self, wire: WireId, side: usize, freight: Freight) {
        let now = self.now();
        let slow = self.is_slow(wire, side);
        let noise = self.weather.jitter_ms;
        let entry = &mut self.wires[wire.0];
        let mut delay = entry.delay + self.random.mostly_small(0, entry.jitter + noise);
        let pipe = &mut entry.pipes[side];
        if let Freight::Bytes(bytes) = &freight {
            pipe.flight_bytes += bytes.len();
            delay += if slow { 20 + bytes.len() as Ms / 2 } else { bytes.len() as Ms / 10_000 };
        }
        let at = pipe.last_arrival.max(now + delay);
        pipe.last_arrival = at;
        pipe.flight.push_back((at, freight));
        self.agenda.at(at, Event::Arrive { wire, from: side });
    }
}

// -- Arriving --------------------------------------------------------------------

impl Net {
    /// The next freight that is due; tells whom to tell what.
    pub fn arrive(&mut self, wire: WireId, from: usize) -> Option<Signal> {
        let now = self.now();
        if self.is_blocked(wire, from) {
            let pipe = &mut self.wires[wire.0].pipes[from];
            if pipe.blocked_since.is_none() && !pipe.flight.is_empty() {
                pipe.blocked_since = Some(now);
                self.agenda.after(GIVE_UP_MS, Event::GiveUp { wire, side: from });
            }
            return None;
        }
        let pipe = &mut self.wires[wire.0].pipes[from];
        pipe.blocked_since = None;
        if pipe.flight.front().is_none_or(|next| next.0 > now) {
            return None;
        }
        let (_, freight) = pipe.flight.pop_front()?;
        let to = 1 - from;
        if let Freight::Bytes(bytes) = &freight {
            pipe.flight_bytes -= bytes.len();
        }
        if !self.is_held(wire, to) {
            return self.answer_for_the_dead(wire, to, &freight);
        }
        let pipe = &mut self.wires[wire.0].pipes[from];
        match freight {
            Freight::Bytes(bytes) => {
                pipe.arrived.extend(bytes);
                Some(Signal::Readable)
            }
            Freight::End => Some(Signal::Ended),
            Freight::Reset => self.break_side(wire, to),
        }
    }

    /// Bytes for a socket that is no more are answered with a reset.
    fn answer_for_the_dead(&mut self, wire: WireId, to: usize, freight: &Freight) -> Option<Signal> {
        let sealed = self.wires[wire.0].pipes[to].sealed;
        if matches!(freight, Freight::Bytes(_)) && !sealed {
            self.load(wire, to, Freight::Reset);
            self.wires[wire.0].pipes[to].sealed = true;
        }
        None
    }

    /// Whether a side's holder is alive and has its socket.
    pub fn is_held(&self, wire: WireId, side: usize) -> bool {
        let entry = self.wire(wire);
        entry.open[side]
            && match entry.holders[side] {
                Holder::Actor(_) => true,
                Holder::Node { node, life } => self.machines[node] == Machine::Up { life },
            }
    }

    /// Whether the called side has taken the connection.
    pub fn is_standing(&self, wire: WireId) -> bool {
        self.wire(wire).stands
    }

    /// Reads at most so much of what arrived.
    pub fn read(&mut self, wire: WireId, side: usize, most: usize) -> Vec<u8> {
        let pipe = &mut self.wires[wire.0].pipes[1 - side];
        let len = pipe.arrived.len().min(most);
        let bytes: Vec<u8> = pipe.arrived.drain(..len).collect();
        if len > 0 && std::mem::take(&mut pipe.writer_waits) {
            let delay = self.wires[wire.0].delay;
            self.agenda.after(delay, Event::Writable { wire, side: 1 - side });
        }
        bytes
    }

    /// How much arrived and was not read.
    pub fn unread(&self, wire: WireId, side: usize) -> usize {
        self.wire(wire).pipes[1 - side].arrived.len()
    }

    /// A writer's kernel has waited for long; gives the signal if it was in vain.
    pub fn give_up(&mut self, wire: WireId, side: usize) -> Option<Signal> {
        let now = self.now();
        let since = self.wires[wire.0].pipes[side].blocked_since?;
        if now < since + GIVE_UP_MS || !self.is_held(wire, side) {
            return None;
        }
        let signal = self.break_side(wire, side);
        let pipe = &mut self.wires[wire.0].pipes[side];
        pipe.flight.clear();
        pipe.flight_bytes = 0;
        pipe.blocked_since = None;
        self.load(wire, side, Freight::Reset);
        self.wires[wire.0].pipes[side].sealed = true;
        signal
    }

    /// The weather changed: what waited comes.
    pub fn stir(&mut self) {
        let now = self.now();
        for at in 0..self.wires.len() {
            let wire = WireId(at);
            for side in [0, 1] {
                if self.wires[at].pipes[side].blocked_since.is_none() || self.is_blocked(wire, side) {
                    continue;
                }
                let again = now + self.random.between(1, 200);
                let pipe = &mut self.wires[at].pipes[side];
                pipe.blocked_since = None;
                let mut due = again;
                for entry in &mut pipe.flight {
                    due = due.max(entry.0);
                    entry.0 = due;
                    self.agenda.at(due, Event::Arrive { wire, from: side });
                }
                pipe.last_arrival = pipe.last_arrival.max(due);
            }
        }
    }

    /// All wires that a node holds, and on which side.
    pub fn wires_of(&self, node: usize, life: u32) -> Vec<(WireId, usize)> {
        let holder = Holder::Node { node, life };
        let held = |(at, wire): (usize, &Wire)| {
            let side = wire.holders.iter().position(|other| *other == holder)?;
            wire.open[side].then_some((WireId(at), side))
        };
        self.wires.iter().enumerate().filter_map(held).collect()
    }

    /// Links that stand.
    pub fn links(&self) -> Vec<WireId> {
        self.standing(|purpose| purpose == Purpose::Link)
    }

    /// Clients' connections that stand.
    pub fn clients(&self) -> Vec<WireId> {
        self.standing(|purpose| purpose != Purpose::Link)
    }

    fn standing(&self, is_wanted: impl Fn(Purpose) -> bool) -> Vec<WireId> {
        let stands = |wire: &Wire| is_wanted(wire.purpose) && wire.stands && wire.open == [true, true];
        (0..self.wires.len()).filter(|at| stands(&self.wires[*at])).map(WireId).collect()
    }

    /// Whether nothing that this side sends gets through.
    fn is_blocked(&self, wire: WireId, from: usize) -> bool {
        let holders = &self.wire(wire).holders;
        let node = |side: usize| match holders[side] {
            Holder::Node { node, .. } => Some(node),
            Holder::Actor(_) => None,
        };
        let dark = |node: usize| self.machines[node] == Machine::Dark;
        match (node(from), node(1 - from)) {
            (Some(from), Some(to)) => self.weather.blocked[from][to] || dark(from) || dark(to),
            (from, to) => from.is_some_and(dark) || to.is_some_and(dark),
        }
    }

    fn is_slow(&self, wire: WireId, from: usize) -> bool {
        match (self.wire(wire).holders[from], self.wire(wire).holders[1 - from]) {
            (Holder::Node { node: from, .. }, Holder::Node { node: to, .. }) => self.weather.slow[from][to],
            _ => false,
        }
    }
}

// -- Datagrams -------------------------------------------------------------------

impl Net {
    /// Sends a datagram, which may arrive once, twice or never.
    pub fn send_datagram(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        assert!(bytes.len() <= DATAGRAM_BYTES_MAX, "a datagram of {} bytes", bytes.len());
        self.traffic.datagrams += 1;
        self.traffic.datagram_bytes += bytes.len() as u64;
        if self.weather.blocked[from][to] || self.random.percent(self.weather.loss_percent) {
            return;
        }
        if self.random.percent(self.weather.twice_percent) {
            self.fly(from, to, bytes.clone());
        }
        self.fly(from, to, bytes);
    }

    fn fly(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let noise = 2 + self.weather.jitter_ms;
        let delay = self.random.mostly_small(1, self.delay_ms_max + noise);
        self.agenda.after(delay, Event::Datagram { from, to, bytes });
    }
}
