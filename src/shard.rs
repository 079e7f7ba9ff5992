//! All that one core owns: its connections, their held polls and timers, the message
//! queue, and what is on its way out.
//!
//! Pure: no socket, no clock, no thread. The reactor drives it:
//!
//! 1. [`Shard::open`] for a new connection and [`Shard::handle_peer`] for its address, then what
//!    happens to it: [`Shard::handle_input`], [`Shard::handle_end_of_input`], [`Shard::handle_gone`].
//! 2. [`Shard::handle_time`] once per tick.
//! 3. For each connection that input was handled for, and for each that
//!    [`Shard::poll_listed`] names: send what [`Shard::output`] has, tell how much went by
//!    [`Shard::handle_sent`] or [`Shard::handle_blocked`], and when nothing is left do
//!    what [`Shard::handle_flushed`] says.
//! 4. [`Shard::next_deadline`] tells when to come back at the latest.
//!
//! Invariants: a connection in state Held or HeldWide has examined everything up to the
//! queue's head; whatever a command changed is delivered before the next is executed.

mod acknowledge;
pub mod answers;
mod clients;
pub mod connection;
mod drain;
mod input;
pub mod links;
mod memory;
pub mod output;
mod polls;
mod requests;
mod scatter;
pub mod team;
pub mod timers;

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

use self::answers::Answers;
use self::clients::{Clients, Polls};
use self::connection::{Connection, Marks, NOWHERE, Side, State};
use self::drain::Drain;
use self::links::Links;
use self::polls::WidePoll;
use self::team::Team;
use self::timers::{Class, Timers};
use crate::channel::queue::{Bounds, MessageQueue};
use crate::cluster::log_bytes_max;
use crate::config::Config;
use crate::config::network::Network;
use crate::cursor::{ClusterTag, VersionVector};
use crate::ids::{ConnId, Origin};
use crate::limits::{EXPIRIES_PER_TICK, TIMERS_PER_TICK};
use crate::metrics::{Counters, Gauges};
use crate::scatter::frontend::Frontend;
use crate::session::access::Keys;
use crate::session::route::Door;
use crate::session::subscriber::Timeouts;
use crate::time::{Now, Tick, Timestamp};
use crate::wire::http::date::http_date;

/// What an operator decides, as far as a shard needs it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bounds of the message queue.
    pub bounds: Bounds,
    /// Time-outs of polls.
    pub timeouts: Timeouts,
    /// The largest body, in bytes.
    pub body_bytes_max: usize,
    /// Memory of the node, as far as it is counted, in bytes.
    pub memory_bytes_max: usize,
    /// Of it, what this shard may use beside what the node's shards share: of a single shard, all.
    pub share_bytes_max: usize,
    /// Open connections.
    pub connections_max: usize,
    /// Polls that one client may have at once; 0 is any number.
    pub polls_per_client_max: usize,
    /// Whose word about the client is taken.
    pub trusted_proxies: Vec<Network>,
    /// Origins that browsers may poll from.
    pub cors_origins: Vec<String>,
    /// Which cluster's cursors are ours.
    pub tag: ClusterTag,
}

impl Settings {
    /// The settings that a configuration stands for; `connections_max` is what the
    /// descriptor limit allows.
    pub fn new(config: &Config, connections_max: usize) -> Settings {
        let asked = if config.connections_max == 0 { usize::MAX } else { config.connections_max };
        Settings {
            bounds: Bounds {
                message_ttl_ms: config.message_ttl_s * 1000,
                channel_ttl_ms: config.channel_ttl_s * 1000,
                channel_messages_max: config.channel_messages_max,
                channel_bytes_max: config.channel_bytes_max,
                cache_bytes_max: config.cache_bytes_max,
                channels_max: config.channels_max,
                existing_only: config.existing_only,
            },
            timeouts: Timeouts { default_s: config.poll_timeout_s, max_s: config.poll_timeout_s_max },
            body_bytes_max: config.body_bytes_max,
            memory_bytes_max: config.memory_bytes_max,
            share_bytes_max: config.memory_bytes_max,
            connections_max: connections_max.min(asked),
            polls_per_client_max: config.polls_per_client_max,
            trusted_proxies: config.trusted_proxies.clone(),
            cors_origins: config.cors_origins.clone(),
            tag: ClusterTag::of(&config.cluster_name),
        }
    }

    /// The share of one of so many shards: an equal part of the memory that neither the cache nor the
    /// logs may fill, which have bounds of their own.
    pub fn for_one_of(mut self, shards: usize) -> Settings {
        let logs = log_bytes_max(self.memory_bytes_max);
        let of_their_own = if shards > 1 { self.bounds.cache_bytes_max + logs } else { 0 };
        self.share_bytes_max = self.memory_bytes_max.saturating_sub(of_their_own) / shards.max(1);
        self
    }
}

/// What becomes of a connection whose output is all sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// It goes on.
    Open,
    /// Shut our side; the rest of its input is still to be read.
    Shut,
    /// Close it; the slot is free already.
    Close,
}

/// How a connection's socket is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// What was written still goes out.
    Close,
    /// At once: its reader does not read, and the kernel would keep for a long time what was
    /// written to it.
    Reset,
}

/// All that one core owns.
#[derive(Debug)]
pub struct Shard {
    settings: Settings,
    keys: Arc<Keys>,
    queue: MessageQueue,
    /// What all held polls had examined when the command began that is being executed.
    base: VersionVector,
    connections: Slab<Connection>,
    generation: u32,
    sides: Slab<Side>,
    /// Bytes of sides.
    side_bytes: usize,
    wides: Slab<WidePoll>,
    /// Bytes of wide polls.
    wide_bytes: usize,
    answers: Answers,
    /// The answer without messages: of which second, and of which head of the queue.
    idle_answer: Option<(u64, VersionVector, u32)>,
    timers: Timers,
    held: usize,
    /// None while polls are not limited.
    clients: Option<Clients>,
    /// What clients are counted in.
    polls: Polls,
    /// When it was last logged that a proxy was refused.
    proxy_warned: Option<Tick>,
    /// Output of the connection that was handled last.
    out: Vec<u8>,
    out_of: u32,
    out_sent: usize,
    /// Where bodies are written before they go out.
    body: Vec<u8>,
    /// Connections with work of their own: an answer to send, or requests that waited.
    listed: VecDeque<u32>,
    /// Connections that are no more, whose sockets are still open.
    freed: Vec<(ConnId, Parting)>,
    drain: Option<Drain>,
    date: (u64, [u8; 29]),
    counters: Counters,
    started: Tick,
    /// The queue has more to expire than one tick's worth.
    expiry_overdue: bool,
    /// What it has for the cluster; `None` for a node by itself.
    links: Option<Box<Links>>,
    /// Its part among several shards; `None` for a node of one.
    team: Option<Team>,
    /// Its part as a front-end of back-ends; `None` for a node without.
    scatter: Option<Box<Frontend>>,
}

// -- Connections -----------------------------------------------------------------

impl Shard {
    /// A shard without connections. `origin` and `seed` are random, fresh at each boot.
    pub fn new(settings: Settings, keys: Arc<Keys>, origin: Origin, seed: u64, now: Now) -> Shard {
        let polls = Polls::default();
        let clients = (settings.polls_per_client_max > 0).then(|| Clients::new(polls.clone()));
        Shard {
            queue: MessageQueue::new(settings.bounds.clone(), origin, seed),
            settings,
            keys,
            base: VersionVector::default(),
            connections: Slab::new(),
            generation: 0,
            sides: Slab::new(),
            side_bytes: 0,
            wides: Slab::new(),
            wide_bytes: 0,
            answers: Answers::default(),
            idle_answer: None,
            timers: Timers::default(),
            held: 0,
            clients,
            polls,
            proxy_warned: None,
            out: Vec::new(),
            out_of: NOWHERE,
            out_sent: 0,
            body: Vec::new(),
            listed: VecDeque::new(),
            freed: Vec::new(),
            drain: None,
            date: (u64::MAX, http_date(Timestamp(0))),
            counters: Counters::default(),
            started: now.tick,
            expiry_overdue: false,
            links: None,
            team: None,
            scatter: None,
        }
    }

    /// What this node's log is numbered under.
    pub(crate) fn origin(&self) -> Origin {
        match &self.team {
            Some(Team::Follower(follower)) => follower.origin(),
            Some(Team::Hub(_)) | None => self.queue.origin(),
        }
    }

    /// The last number of this node's log.
    fn numbered(&self) -> u64 {
        match &self.team {
            Some(Team::Follower(follower)) => follower.numbered(),
            Some(Team::Hub(_)) | None => self.queue.head().seq(self.queue.origin()),
        }
    }

    /// Takes in a connection that came through `door`; `None` if there is no room, which
    /// the peer should be told.
    pub fn open(&mut self, door: Door, now: Now) -> Option<ConnId> {
        self.relieve(size_of::<Connection>());
        if self.connections.len() >= self.settings.connections_max || !self.has_room(0) {
            self.counters.connections_refused += 1;
            return None;
        }
        // The highest generation never occurs: the reactor's own tokens have it.
        self.generation = (self.generation + 1) % u32::MAX;
        let connection = Connection::new(self.generation, door);
        let index = self.connections.insert(connection) as u32;
        self.counters.connections_accepted += 1;
        // A proxy speaks first, and at once.
        let class = if door == Door::Proxied { Class::Head } else { Class::Idle };
        self.timers.set(&mut self.connections, index, class, now.tick);
        Some(ConnId { index, generation: self.generation })
    }

    /// The slot of a connection, if it is still that connection's.
    fn find(&self, id: ConnId) -> Option<u32> {
        let slot = self.connections.get(id.index as usize)?;
        (slot.generation == id.generation).then_some(id.index)
    }

    fn id(&self, index: u32) -> ConnId {
        let generation = self.slot(index).generation;
        ConnId { index, generation }
    }

    fn slot(&self, index: u32) -> &Connection {
        &self.connections[index as usize]
    }

    fn slot_mut(&mut self, index: u32) -> &mut Connection {
        &mut self.connections[index as usize]
    }

    /// Whether input should be read for it now. If not, what comes stays in the socket
    /// (that is the back-pressure) and is asked for later by [`Shard::poll_listed`].
    pub fn wants_input(&mut self, id: ConnId) -> bool {
        let Some(index) = self.find(id) else { return false };
        let slot = self.slot_mut(index);
        let wants = match slot.state {
            State::Idle | State::Head | State::Body | State::Lingering => true,
            State::Held | State::HeldWide | State::Acking | State::Streaming | State::Sending => false,
        };
        if wants {
            slot.marks.clear(Marks::UNREAD);
        } else {
            slot.marks.set(Marks::UNREAD);
        }
        wants
    }

    /// Whether what comes next on it is a poll, as far as one can know: a short request.
    pub fn expects_poll(&self, id: ConnId) -> bool {
        let expects = |index| {
            let slot = self.slot(index);
            slot.state == State::Idle && slot.door == Door::Public && slot.side == NOWHERE
        };
        self.find(id).is_some_and(expects)
    }

    /// Input of it was read and will be handed over soon: it is not idle, and must not be evicted
    /// to make room for another.
    pub fn handle_gathered(&mut self, id: ConnId) {
        if let Some(index) = self.find(id) {
            self.timers.clear(&mut self.connections, index);
        }
    }

    /// The socket may hold more input than was read in this tick: come back to it.
    pub fn handle_more_to_read(&mut self, id: ConnId) {
        if let Some(index) = self.find(id) {
            self.slot_mut(index).marks.set(Marks::UNREAD);
            self.list(index);
        }
    }

    /// The peer will send nothing more. Whoever waits is gone then: a browser that leaves
    /// and a proxy whose client left look just like this.
    pub fn handle_end_of_input(&mut self, id: ConnId) {
        let Some(index) = self.find(id) else { return };
        let slot = self.slot_mut(index);
        slot.marks.set(Marks::INPUT_ENDED);
        slot.marks.clear(Marks::UNREAD);
        match slot.state {
            State::Held | State::HeldWide => {
                self.counters.polls_abandoned += 1;
                self.remove(index);
            }
            State::Streaming => self.remove(index),
            State::Sending | State::Acking => {}
            State::Idle | State::Head | State::Body | State::Lingering => {
                if self.has_output(index) {
                    self.slot_mut(index).marks.set(Marks::CLOSE);
                } else {
                    self.remove(index);
                }
            }
        }
    }

    /// The connection broke.
    pub fn handle_gone(&mut self, id: ConnId) {
        let Some(index) = self.find(id) else { return };
        if matches!(self.slot(index).state, State::Held | State::HeldWide) {
            self.counters.polls_abandoned += 1;
        }
        self.remove(index);
    }

    /// The next connection whose socket is to be closed, and how.
    pub fn poll_freed(&mut self) -> Option<(ConnId, Parting)> {
        self.freed.pop()
    }

    /// Whether the connection's poll is held, or it is given results as they come.
    pub fn is_waiting(&self, id: ConnId) -> bool {
        let waits =
            |index| matches!(self.slot(index).state, State::Held | State::HeldWide | State::Streaming);
        self.find(id).is_some_and(waits)
    }

    /// Open connections.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Frees a connection's slot and all that it held.
    fn remove(&mut self, index: u32) {
        self.part(index, Parting::Close);
    }

    /// The same for a reader that does not read.
    fn cut_off(&mut self, index: u32) {
        self.part(index, Parting::Reset);
    }

    fn part(&mut self, index: u32, parting: Parting) {
        self.stop_waiting(index);
        if self.slot(index).state == State::Acking {
            self.forget_receipt(self.id(index));
        }
        if self.slot(index).state == State::Streaming {
            self.cancel_call(index);
        }
        self.drop_output(index);
        self.drop_side(index);
        self.forget_client(index);
        self.timers.clear(&mut self.connections, index);
        self.freed.push((self.id(index), parting));
        self.connections.remove(index as usize);
    }

    /// Puts a connection among those with work of their own.
    fn list(&mut self, index: u32) {
        let slot = self.slot_mut(index);
        if !slot.marks.has(Marks::LISTED) {
            slot.marks.set(Marks::LISTED);
            self.listed.push_back(index);
        }
    }

    /// The next connection with work of its own: requests that waited are executed now,
    /// what is to be sent should be, and input read if it wants some.
    pub fn poll_listed(&mut self, now: Now) -> Option<ConnId> {
        loop {
            let index = self.listed.pop_front()?;
            // The slot may be free, or another's: then that one is simply looked at.
            let Some(slot) = self.connections.get_mut(index as usize) else { continue };
            slot.marks.clear(Marks::LISTED);
            let id = self.id(index);
            self.resume(index, now);
            return Some(id);
        }
    }

    /// How many connections have work of their own.
    pub fn listed_count(&self) -> usize {
        self.listed.len()
    }

    /// Whether a listed connection left input unread in its socket.
    pub fn is_unread(&self, id: ConnId) -> bool {
        self.find(id).is_some_and(|index| self.slot(index).marks.has(Marks::UNREAD))
    }
}

// -- Time ------------------------------------------------------------------------

impl Shard {
    /// When [`Shard::handle_time`] must be called at the latest; `None` for never.
    pub fn next_deadline(&self) -> Option<Tick> {
        let timer = self.timers.next(&self.connections).map(|next| next.0);
        let queue = if self.expiry_overdue { Some(Tick(0)) } else { self.queue.next_expiry() };
        let drain = self.drain.as_ref().map(Drain::next_step);
        [timer, queue, drain, self.links_deadline(), self.scatter_deadline()].into_iter().flatten().min()
    }

    /// Lets time pass: polls end, slow peers are cut, channels and messages expire.
    pub fn handle_time(&mut self, now: Now) {
        self.expiry_overdue = !self.queue.expire(now.tick, EXPIRIES_PER_TICK);
        self.expire_channels(now);
        self.handle_links_time(now);
        self.handle_scatter_time(now);
        self.deliver(now);
        self.step_drain(now);
        for _ in 0..TIMERS_PER_TICK {
            match self.timers.next(&self.connections) {
                Some((deadline, index)) if deadline <= now.tick => self.fire(index, now),
                _ => return,
            }
        }
    }

    /// A connection's time is over.
    fn fire(&mut self, index: u32, now: Now) {
        let slot = self.slot(index);
        match slot.state {
            State::Idle | State::Head if slot.door == Door::Proxied => {
                self.refuse_proxy(index, "its PROXY header has not come in time", now);
            }
            State::Held | State::HeldWide => self.end_poll(index, now),
            State::Idle | State::Lingering => self.close_silently(index),
            State::Head => self.refuse_slow_head(index, now),
            State::Body => self.judge_body(index, now),
            State::Sending => self.judge_reader(index, now),
            // It has no timer.
            State::Streaming => {}
            State::Acking => self.refuse_unacknowledged(index, now),
        }
    }

    fn close_silently(&mut self, index: u32) {
        if self.slot(index).state == State::Idle {
            // A keep-alive connection at its end, or one that never asked anything.
            log::trace!("closing an idle connection");
        }
        self.remove(index);
    }

    /// The Date field for now, made once a second (RFC 9110 §6.6.1).
    fn date(&mut self, now: Timestamp) -> [u8; 29] {
        if self.date.0 != now.seconds() {
            self.date = (now.seconds(), http_date(now));
        }
        self.date.1
    }
}

// -- Looking and changing --------------------------------------------------------

impl Shard {
    /// What it has counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What is so now.
    pub fn gauges(&self, now: Now) -> Gauges {
        let errands = match &self.team {
            Some(Team::Hub(hub)) => hub.errand_count(),
            Some(Team::Follower(_)) | None => 0,
        };
        Gauges {
            connections: (self.connections.len() - errands) as u64,
            held_polls: self.held as u64,
            channels: self.queue.channel_count() as u64,
            cached_messages: self.queue.cached_messages() as u64,
            cached_bytes: self.queue.cached_bytes() as u64,
            memory_bytes: self.memory_bytes() as u64,
            log_entries: self.numbered(),
            uptime_seconds: now.tick.since_ms(self.started) / 1000,
        }
    }

    /// A connection was turned away at the door, for want of descriptors.
    pub fn count_refused(&mut self) {
        self.counters.connections_refused += 1;
    }

    /// Takes new settings and keys; held polls stay as they are, and connections from before there was
    /// a limit per client are not counted. The allowed origins stay
    /// too, since connections know theirs by number.
    pub fn reconfigure(&mut self, settings: Settings, keys: Arc<Keys>) {
        self.reconfigure_followers(&settings, &keys);
        self.queue.reconfigure(settings.bounds.clone());
        let cors_origins = std::mem::take(&mut self.settings.cors_origins);
        self.settings = Settings { cors_origins, ..settings };
        self.keys = keys;
        self.reconfigure_clients();
    }
}

#[cfg(test)]
mod tests;
