//! One run: time steps from event to event, faults come and go, then everything heals and must
//! come to agree.

use std::collections::BTreeSet;

use pushup::ids::MessageId;
use pushup::session::route::Door;

use crate::agenda::{Event, Ms};
use crate::host::{Host, address};
use crate::judge;
use crate::keeper::Keeper;
use crate::ledger::{self, Ledger};
use crate::net::{Holder, Machine, Net, Signal, WireId};
use crate::plan::{Make, Plan, Trouble};
use crate::publisher::Publisher;
use crate::random::Random;
use crate::reader::Reader;
use crate::scene::{Scene, Totals};
use crate::trace::Trace;

/// After everything healed, all must agree within this time, in milliseconds.
const SETTLE_MS_MAX: Ms = 90_000;
/// How often it is looked whether all agree, in milliseconds.
const LOOK_MS: Ms = 250;
/// For so long after all agreed it is still watched for what comes twice, in milliseconds.
const WATCH_MS: Ms = 1_500;
/// A run of more events than this does not end.
const EVENTS_MAX: u64 = 3_000_000;
/// What a node may take in memory at most, in bytes; no run publishes a tenth of it.
const MEMORY_BYTES_MAX: usize = 64 << 20;

/// Whoever talks to the cluster from outside.
#[derive(Debug)]
enum Actor {
    Reader(Reader),
    Publisher(Publisher),
    Keeper(Keeper),
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    pub failure: Option<String>,
    pub totals: Totals,
    pub hash: u64,
    pub lines: Vec<String>,
}

/// What a node that joined must hold before it says that it is ready.
#[derive(Debug)]
struct Debt {
    node: usize,
    ids: BTreeSet<(usize, MessageId)>,
}

/// A run.
#[derive(Debug)]
pub struct World {
    pub scene: Scene,
    pub hosts: Vec<Host>,
    actors: Vec<Actor>,
    active: Vec<bool>,
    debts: Vec<Debt>,
    /// Faults that wait for a receipt.
    traitors: Vec<usize>,
    /// What was wrong when somebody last looked.
    seen: String,
    /// Since when all agree.
    agreed: Option<Ms>,
    over: bool,
}

/// Runs a seed.
pub fn run(seed: u64, make: Make, trace: bool) -> Report {
    World::new(Plan::of(seed, make), trace).run()
}

// -- Time ------------------------------------------------------------------------

impl World {
    pub fn new(plan: Plan, trace: bool) -> World {
        let mut random = Random::new(plan.seed.wrapping_mul(31).wrapping_add(7));
        let net = Net::new(plan.nodes, plan.delay_ms_max, random.fork(), Trace::new(trace));
        let hosts = (0..plan.nodes)
            .map(|node| Host::new(node, plan.recipes[node].clone(), plan.wall_off_ms[node], random.fork()))
            .collect();
        let active = vec![false; plan.faults.len()];
        let scene = Scene {
            net,
            random,
            ledger: Ledger::default(),
            totals: Totals::default(),
            receipts: Vec::new(),
            failure: None,
            plan,
        };
        let mut world = World {
            scene,
            hosts,
            actors: Vec::new(),
            active,
            debts: Vec::new(),
            traitors: Vec::new(),
            seen: String::new(),
            agreed: None,
            over: false,
        };
        world.open();
        world
    }

    fn open(&mut self) {
        for node in 0..self.hosts.len() {
            self.boot(node);
        }
        let plan = self.scene.plan.clone();
        for (number, reader) in plan.readers.into_iter().enumerate() {
            let record = ledger::Reader::new(reader.channels.clone(), reader.from_now);
            self.scene.ledger.readers.push(record);
            let actor = Reader::new(self.actors.len(), number, reader, &mut self.scene);
            self.actors.push(Actor::Reader(actor));
        }
        for (number, publisher) in plan.publishers.into_iter().enumerate() {
            let actor = Publisher::new(self.actors.len(), number, publisher, &mut self.scene);
            self.actors.push(Actor::Publisher(actor));
        }
        for number in 0..plan.keepers {
            let actor = Keeper::new(self.actors.len(), number, &mut self.scene);
            self.actors.push(Actor::Keeper(actor));
        }
        for (index, fault) in plan.faults.iter().enumerate() {
            self.scene.net.agenda.at(fault.at, Event::Fault { index });
        }
        self.scene.net.agenda.at(plan.heal_ms, Event::Heal);
        self.finish_ticks();
    }

    /// Runs until everything has settled, or something is wrong.
    pub fn run(mut self) -> Report {
        let mut events = 0;
        while !self.over && self.scene.failure.is_none() {
            let Some(next) = self.scene.net.agenda.next() else { break };
            self.scene.net.agenda.advance(next);
            while let Some(event) = self.scene.net.agenda.pop_due() {
                events += 1;
                self.handle(event);
            }
            self.betray();
            self.finish_ticks();
            if events > EVENTS_MAX {
                self.scene.failure = Some("endless: time does not pass".into());
            }
        }
        if self.scene.failure.is_some() {
            self.show_nodes();
        }
        self.scene.totals.add("events", events);
        self.scene.totals.add("virtual ms", self.scene.now());
        Report {
            failure: self.scene.failure,
            totals: self.scene.totals,
            hash: self.scene.net.trace.hash,
            lines: self.scene.net.trace.lines,
        }
    }

    /// What each node thinks of the others, for whoever looks for what is wrong.
    fn show_nodes(&mut self) {
        for host in self.hosts.iter_mut().filter(|host| host.is_up() && !host.paused) {
            let page = host.ask(0, Door::Publisher, "/cluster", &self.scene.net).text();
            self.scene.note(&format!("node-{}", host.index), || page);
        }
    }

    /// Whether all publishers have published what they wanted to.
    pub fn is_published(&self) -> bool {
        let is_done = |actor: &Actor| match actor {
            Actor::Publisher(publisher) => publisher.is_done(),
            Actor::Reader(_) | Actor::Keeper(_) => true,
        };
        self.actors.iter().all(is_done)
    }

    /// Runs for so long.
    pub fn run_for(&mut self, ms: Ms) {
        let end = self.scene.now() + ms;
        while let Some(next) = self.scene.net.agenda.next().filter(|next| *next <= end) {
            self.scene.net.agenda.advance(next);
            while let Some(event) = self.scene.net.agenda.pop_due() {
                self.handle(event);
            }
            self.finish_ticks();
        }
        self.scene.net.agenda.advance(end);
    }

    fn finish_ticks(&mut self) {
        for node in 0..self.hosts.len() {
            let host = &mut self.hosts[node];
            if !host.dirty {
                continue;
            }
            host.finish_tick(&mut self.scene.net);
            for shard in host.newly_ready(&self.scene.net) {
                let who = self.hosts[node].label(shard);
                self.scene.note(&who, || "says that it is ready");
                self.collect(node, shard);
            }
            if self.hosts[node].ready {
                self.debts.retain(|debt| debt.node != node);
            }
            let bytes = self.hosts[node].memory_bytes();
            if bytes > MEMORY_BYTES_MAX {
                let verdict = Err(format!("unbounded: it takes {bytes} bytes of memory"));
                self.scene.judge::<()>(&format!("node-{node}"), verdict);
            }
        }
    }

    fn handle(&mut self, event: Event) {
        self.scene.net.trace.mix(self.scene.now());
        match event {
            Event::Arrive { wire, from } => self.arrive(wire, from),
            Event::Knock { wire } => {
                if let Some(holder) = self.scene.net.knock(wire) {
                    self.tell(wire, 1, holder, Signal::Called);
                }
            }
            Event::Connected { wire, stands } => {
                let signal = self.scene.net.connected(wire, stands);
                self.tell_side(wire, 0, signal);
            }
            Event::Writable { wire, side } => {
                let signal = self.scene.net.is_held(wire, side).then_some(Signal::Writable);
                self.tell_side(wire, side, signal);
            }
            Event::GiveUp { wire, side } => {
                let signal = self.scene.net.give_up(wire, side);
                self.tell_side(wire, side, signal);
            }
            Event::Datagram { from, to, bytes } => self.datagram(from, to, &bytes),
            Event::Letter { node, serial } => self.hosts[node].handle_letter(serial, &mut self.scene.net),
            Event::Deadline { node, serial } => self.hosts[node].handle_deadline(serial),
            Event::Timer { actor, serial } => match &mut self.actors[actor] {
                Actor::Reader(reader) => reader.handle_timer(serial, &mut self.scene),
                Actor::Publisher(publisher) => publisher.handle_timer(serial, &mut self.scene),
                Actor::Keeper(keeper) => keeper.handle_timer(serial, &mut self.scene),
            },
            Event::Fault { index } => self.strike(index),
            Event::Relief { index } => self.relieve(index),
            Event::Heal => self.heal(),
            Event::Look => self.look(),
        }
    }

    fn arrive(&mut self, wire: WireId, from: usize) {
        let signal = self.scene.net.arrive(wire, from);
        let unread = self.scene.net.unread(wire, 1 - from);
        self.scene.net.trace.mix((wire.0 as u64) << 32 | unread as u64);
        self.tell_side(wire, 1 - from, signal);
    }

    fn datagram(&mut self, from: usize, to: usize, bytes: &[u8]) {
        self.scene.net.trace.mix_bytes(bytes);
        if !self.scene.net.weather.blocked[from][to] && self.hosts[to].is_up() {
            self.hosts[to].handle_datagram(address(from), bytes, &mut self.scene.net);
        }
    }

    fn tell_side(&mut self, wire: WireId, side: usize, signal: Option<Signal>) {
        if let Some(signal) = signal {
            let holder = self.scene.net.wire(wire).holders[side];
            self.tell(wire, side, holder, signal);
        }
    }

    fn tell(&mut self, wire: WireId, side: usize, holder: Holder, signal: Signal) {
        match holder {
            Holder::Node { node, life } if self.hosts[node].life == life => {
                self.hosts[node].handle_signal(wire, side, signal, &mut self.scene.net);
            }
            Holder::Node { .. } => {}
            Holder::Actor(actor) => match &mut self.actors[actor] {
                Actor::Reader(reader) => reader.handle_signal(wire, signal, &mut self.scene),
                Actor::Publisher(publisher) => publisher.handle_signal(wire, signal, &mut self.scene),
                Actor::Keeper(keeper) => keeper.handle_signal(wire, signal, &mut self.scene),
            },
        }
    }
}

// -- Faults ----------------------------------------------------------------------

impl World {
    fn strike(&mut self, index: usize) {
        let fault = self.scene.plan.faults[index].clone();
        if fault.at >= self.scene.plan.heal_ms {
            return;
        }
        self.scene.note("fault", || format!("{:?} until {}", fault.trouble, fault.until));
        match fault.trouble {
            Trouble::CutLink => self.cut(true),
            Trouble::CutClient => self.cut(false),
            Trouble::Step { node, ms } => self.hosts[node].wall_off_ms += ms,
            Trouble::Crash { node, .. } | Trouble::Betray { node, .. } | Trouble::Pause { node }
                if !self.may_fall(node) =>
            {
                return;
            }
            Trouble::Crash { node, machine, .. } => {
                self.active[index] = true;
                self.crash(node, machine);
            }
            Trouble::Betray { .. } => {
                self.traitors.push(index);
                return;
            }
            Trouble::Pause { node } => {
                self.active[index] = true;
                self.hosts[node].pause();
            }
            Trouble::Stall { node, shard } => {
                if !self.hosts[node].stall(shard) {
                    return;
                }
                self.active[index] = true;
            }
            _ => self.active[index] = true,
        }
        self.scene.totals.add(fault.trouble.name(), 1);
        self.change_weather();
        self.scene.net.agenda.at(fault.until, Event::Relief { index });
    }

    /// Whether a node may crash or stand still: if it runs, and most others run and are ready.
    fn may_fall(&self, node: usize) -> bool {
        let is_well = |host: &Host| host.is_up() && !host.paused && (host.ready || host.life == 1);
        let well = self.hosts.iter().filter(|host| host.index != node && is_well(host)).count();
        self.hosts[node].is_up() && !self.hosts[node].paused && 2 * well > self.hosts.len()
    }

    fn crash(&mut self, node: usize, machine: Machine) {
        self.scene.ledger.crashed.insert(self.hosts[node].origin);
        self.scene.ledger.fallen.insert(node);
        self.hosts[node].crash(machine, &mut self.scene.net);
        self.debts.retain(|debt| debt.node != node);
    }

    /// A node that is to crash right after a receipt does so.
    fn betray(&mut self) {
        for from in std::mem::take(&mut self.scene.receipts) {
            let is_his = |index: &usize| match self.scene.plan.faults[*index].trouble {
                Trouble::Betray { node, .. } => node == from,
                _ => false,
            };
            let Some(at) = self.traitors.iter().position(is_his) else { continue };
            let index = self.traitors.swap_remove(at);
            let fault = self.scene.plan.faults[index].clone();
            let Trouble::Betray { node, machine, .. } = fault.trouble else { continue };
            let now = self.scene.now();
            if now >= self.scene.plan.heal_ms || !self.may_fall(node) {
                continue;
            }
            self.scene.note("fault", || format!("node-{node} crashes after a receipt"));
            self.scene.totals.add(fault.trouble.name(), 1);
            self.active[index] = true;
            self.crash(node, machine);
            self.change_weather();
            self.scene.net.agenda.at(now + fault.until - fault.at, Event::Relief { index });
        }
    }

    fn relieve(&mut self, index: usize) {
        if !std::mem::take(&mut self.active[index]) {
            return;
        }
        let trouble = self.scene.plan.faults[index].trouble.clone();
        self.scene.note("relief", || format!("{trouble:?}"));
        match trouble {
            Trouble::Crash { node, back: true, .. } | Trouble::Betray { node, back: true, .. } => {
                self.boot(node);
            }
            Trouble::Crash { node, .. } | Trouble::Betray { node, .. } => {
                self.scene.net.machines[node] = Machine::Vacant;
            }
            Trouble::Pause { node } if self.hosts[node].is_up() => {
                self.hosts[node].resume(&mut self.scene.net);
            }
            Trouble::Stall { node, shard } => self.hosts[node].go_on(shard, &self.scene.net),
            _ => {}
        }
        self.change_weather();
    }

    fn heal(&mut self) {
        // Whoever stands still does so until its time is over.
        let still = |trouble: &Trouble| matches!(trouble, Trouble::Pause { .. });
        for index in 0..self.active.len() {
            if !still(&self.scene.plan.faults[index].trouble) {
                self.relieve(index);
            }
        }
        self.scene.note("heal", || "");
        self.scene.net.agenda.after(LOOK_MS, Event::Look);
    }

    fn boot(&mut self, node: usize) {
        let again = self.hosts[node].life > 0;
        if again {
            let ids = judge::held_by_all(&mut self.hosts, &self.scene);
            self.debts.push(Debt { node, ids });
        }
        self.hosts[node].boot(&mut self.scene.net);
        let (life, origin) = (self.hosts[node].life, self.hosts[node].origin);
        self.scene.note(&format!("node-{node}"), || format!("starts, life {life}, origin {origin}"));
        self.scene.net.stir();
    }

    /// A node's shard says that it is ready: it must hold what all others had when the node came.
    fn collect(&mut self, node: usize, shard: usize) {
        let Some(debt) = self.debts.iter().find(|debt| debt.node == node) else { return };
        let verdict = judge::holds(&mut self.hosts[node], shard, &debt.ids, &self.scene);
        let who = self.hosts[node].label(shard);
        self.scene.judge(&who, verdict);
    }

    /// The weather that all present faults make together.
    fn change_weather(&mut self) {
        let scene = &mut self.scene;
        let nodes = scene.plan.nodes;
        let weather = &mut scene.net.weather;
        weather.blocked = vec![vec![false; nodes]; nodes];
        weather.slow = vec![vec![false; nodes]; nodes];
        weather.refusing = vec![false; nodes];
        (weather.loss_percent, weather.twice_percent, weather.jitter_ms) = (0, 0, 1);
        let active = scene.plan.faults.iter().zip(&self.active).filter(|(_, active)| **active);
        for (fault, _) in active {
            match &fault.trouble {
                Trouble::Partition { side, one_way } => {
                    for from in 0..nodes {
                        for to in 0..nodes {
                            let apart = side[from] != side[to] && (side[from] || !one_way);
                            weather.blocked[from][to] |= apart;
                        }
                    }
                }
                Trouble::Slow { from, to } => weather.slow[*from][*to] = true,
                Trouble::Refuse { node } => weather.refusing[*node] = true,
                Trouble::Jitter { ms } => weather.jitter_ms = *ms,
                Trouble::Datagrams { loss_percent, twice_percent } => {
                    (weather.loss_percent, weather.twice_percent) = (*loss_percent, *twice_percent);
                }
                _ => {}
            }
        }
        scene.net.stir();
    }

    /// Cuts a link or a client's connection, if there is one.
    fn cut(&mut self, link: bool) {
        let all = if link { self.scene.net.links() } else { self.scene.net.clients() };
        if all.is_empty() {
            return;
        }
        let wire = self.scene.random.pick(&all);
        for (side, signal) in self.scene.net.cut(wire).into_iter().enumerate() {
            self.tell_side(wire, side, signal);
        }
    }
}

// -- The end ---------------------------------------------------------------------

impl World {
    fn look(&mut self) {
        let now = self.scene.now();
        let waited = now - self.scene.plan.heal_ms;
        let quiet = self.actors.iter().all(|actor| match actor {
            Actor::Reader(_) => true,
            Actor::Publisher(publisher) => publisher.is_done(),
            Actor::Keeper(keeper) => keeper.is_done(),
        });
        let up = self.hosts.iter().all(|host| !host.paused && (!host.is_up() || host.ready));
        let verdict = if !quiet {
            Err("settled: publishers still wait".into())
        } else if !up {
            let late: Vec<usize> =
                self.hosts.iter().filter(|host| host.is_up() && !host.ready).map(|host| host.index).collect();
            Err(format!("settled: nodes {late:?} are not ready"))
        } else {
            judge::judge(&mut self.hosts, &mut self.scene)
        };
        match verdict {
            Ok(()) => {
                let since = *self.agreed.get_or_insert(now);
                self.over = now >= since + WATCH_MS;
                if self.over {
                    let verdict = judge::keys_are_known(&mut self.hosts, &self.scene);
                    self.scene.judge("end", verdict);
                }
                if since == now {
                    self.scene.note("agreed", || format!("after {waited} ms"));
                    self.scene.totals.add("ms to agree", waited);
                }
            }
            Err(message) if waited >= SETTLE_MS_MAX => {
                self.scene.judge::<()>("end", Err(message));
            }
            Err(message) => {
                if self.seen != message {
                    self.scene.note("look", || &message);
                    self.seen = message;
                }
                self.agreed = None;
            }
        }
        self.scene.net.agenda.after(LOOK_MS, Event::Look);
    }
}
