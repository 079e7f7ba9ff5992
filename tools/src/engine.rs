//! The event-driven client: any number of pollers and their publishers on one loop in one thread.
//!
//! What it owns: connections, the requests on them, and the count of what arrives. What it
//! refuses to know: which experiment this is. Latency counts from the moment for which a
//! publication was planned, whether or not the client or the server were ready then.
//!
//! Invariant: every message that was published in a run must reach every audited poller of
//! its channel exactly once, however polls, publications and reconnections interleave. A
//! poller is audited if it stays ([`Habit::LongPoll`], [`Habit::Pull`]) and reads promptly.
//!
//! How to use it, in this order: [`Engine::new`], [`Engine::add`] the pollers, [`Engine::run`]
//! until they are held, [`Engine::publish`] (now or for later), [`Engine::run`],
//! [`Engine::drain`], and read [`Engine::tally`].
//!
//! ```text
//!   poller:   Idle ──▶ Queued ──▶ Connecting ──▶ Asked ◀──▶ Resting
//!              ▲                       │           │           │
//!              └───── reset, closed, dropped, left ┴───────────┘
//! ```

mod channels;
mod companions;
mod dial;
mod judging;
mod poller;
mod publisher;
mod tally;
mod timers;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Fallible;
use crate::answers::Splitter;
use crate::dialect::{ChannelNames, Dialect};
use crate::marker::{MarkerFinder, RunId};
use crate::random::Random;
use channels::Channels;
pub use channels::{ROUNDS_MAX, Round};
pub use companions::Onward;
pub use dial::LOOPBACK_SOURCES;
use poller::Slot;
use publisher::Publisher;
pub use tally::{Latencies, Tally, Trouble, Troubles, latencies};
use timers::Timers;

/// Events that are taken from the kernel at once.
const EVENTS: usize = 1_024;
/// Bytes that are read at once; the answers in them are judged where they are.
const INPUT_BYTES: usize = 64 * 1_024;
/// Connections that are begun before events are looked at again.
const DIALS_PER_TURN: usize = 64;
/// Publications that are handed to their connections before events are looked at again.
const PUBLICATIONS_PER_TURN: usize = 1_024;
/// The loop looks at its deadline and at its caller's wish at least so often.
const TURN_MAX: Duration = Duration::from_millis(100);
/// Tokens from here on are publishers', below are pollers'.
const PUBLISHERS: usize = 1 << 40;

/// When a poller asks again, and how long it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// At once after each answer, on the same connection.
    LongPoll,
    /// So long after it asked last, or at once if the answer took longer.
    Pull {
        /// From one request to the next.
        every: Duration,
        /// What its connection does in between.
        between: Between,
    },
    /// It comes, long-polls, stays a while and leaves, again and again, as another client each time.
    Visit {
        /// From one arrival to the next.
        every: Duration,
        /// From the first poll of a visit to its end.
        stay: Duration,
    },
}

/// What the connection of a poller that pulls does between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// It stays open.
    KeepAlive,
    /// It is closed, and another one is opened for the next request.
    Reconnect,
}

/// How a poller reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As soon as there is something.
    Promptly,
    /// Not at all.
    Never,
    /// So many bytes in a second.
    Slowly {
        /// Bytes in a second, at least ten.
        bytes_per_s: u32,
    },
}

/// One client to be.
#[derive(Clone, Copy, Debug)]
pub struct Poller {
    /// The server.
    pub to: SocketAddr,
    /// Where it connects from; to a loopback address it matters, and `None` spreads pollers over several.
    pub from: Option<IpAddr>,
    /// The number of its channel. Numbers should be dense: each costs some bytes.
    pub channel: u32,
    /// When it connects.
    pub start: Instant,
    /// How it reads.
    pub reading: Reading,
    /// When it asks again.
    pub habit: Habit,
}

/// A poller of one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PollerId(u32);

/// Whether each publication is followed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounds {
    /// Yes, up to [`ROUNDS_MAX`] of them; see [`Engine::rounds`].
    Kept,
    /// No: only the sums.
    Dropped,
}

/// How an engine works.
#[derive(Clone, Debug)]
pub struct Options {
    /// The run's name: channels and messages carry it.
    pub run: RunId,
    /// From when messages count their planned time. Engines of one run share it.
    pub epoch: Instant,
    /// Where publications go; channels are spread over the addresses. May be empty if nothing is published.
    pub publish_to: Vec<SocketAddr>,
    /// What stands in the Host field; the address itself if `None`.
    pub host: Option<String>,
    /// Connections that publish. All messages of a channel go over the same one, in order.
    pub publishers: usize,
    /// Publications that may be sent and not answered on each of them.
    pub publish_window: usize,
    /// Pollers' connections that may be begun and not established.
    pub connecting_max: usize,
    /// Of the jitter when connections are begun again.
    pub seed: u64,
    /// Set by somebody who wants the engine to stop.
    pub stop: Option<Arc<AtomicBool>>,
    /// Whether each publication is followed.
    pub rounds: Rounds,
}

impl Options {
    /// The usual way of working, publishing to these addresses.
    pub fn new(publish_to: Vec<SocketAddr>) -> Options {
        Options {
            run: RunId::fresh(),
            epoch: Instant::now(),
            publish_to,
            host: None,
            publishers: 1,
            publish_window: 64,
            connecting_max: 512,
            seed: 1,
            stop: None,
            rounds: Rounds::Dropped,
        }
    }
}

/// Publications as fast as they are answered and arrive: a closed loop.
#[derive(Clone, Debug)]
pub struct Supply {
    /// The channels, one after the other and again from the first.
    pub channels: Range<u32>,
    /// How many publications there are to be; `u64::MAX` for no end.
    pub publications: u64,
    /// Publications without an answer, and deliveries still to come, that there may be at once.
    pub outstanding_max: u64,
    /// Bytes of each message.
    pub body_bytes: usize,
}

/// A publication whose time has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Planned {
    at: Instant,
    /// Of two for the same time, the one that was planned first is first.
    order: u64,
    channel: u32,
    body_bytes: u32,
}

struct Target {
    to: SocketAddr,
    host: String,
}

/// What several pollers have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Manner {
    target: u16,
    from: Option<IpAddr>,
    reading: Reading,
    habit: Habit,
}

impl Manner {
    fn is_audited(&self) -> bool {
        self.reading == Reading::Promptly && !matches!(self.habit, Habit::Visit { .. })
    }
}

/// The client.
pub struct Engine {
    dialect: Dialect,
    options: Options,
    poll: mio::Poll,
    slots: Vec<Slot>,
    manners: Vec<Manner>,
    targets: Vec<Target>,
    /// Pollers that want to connect.
    queued: VecDeque<u32>,
    connecting: usize,
    /// Pollers that have more to read than one event was given.
    unread: Vec<u32>,
    publishers: Vec<Publisher>,
    channels: Channels,
    timers: Timers,
    planned: BinaryHeap<Reverse<Planned>>,
    plans: u64,
    supply: Option<Supply>,
    supply_next: u32,
    /// Whether those that read slowly read promptly now.
    draining: bool,
    /// Where pollers go on to.
    onward: Option<Onward>,
    /// Messages that pollers had not got when they went on.
    lost_behind: u64,
    splitter: Splitter,
    finder: MarkerFinder,
    names: ChannelNames,
    random: Random,
    input: Vec<u8>,
    request: Vec<u8>,
    channel_name: Vec<u8>,
    tally: Tally,
}

impl Engine {
    /// An engine without pollers; publishers connect with the first publication.
    pub fn new(dialect: Dialect, options: Options) -> Fallible<Engine> {
        let hosts = |to: &SocketAddr| options.host.clone().unwrap_or_else(|| to.to_string());
        let publishers = match options.publish_to.len() {
            0 => Vec::new(),
            count => (0..options.publishers.max(1))
                .map(|index| options.publish_to[index % count])
                .map(|to| Publisher::new(to, hosts(&to)))
                .collect(),
        };
        Ok(Engine {
            splitter: Splitter::new(dialect.fields()),
            finder: MarkerFinder::new(options.run),
            names: ChannelNames::new(options.run),
            random: Random::new(options.seed),
            dialect,
            options,
            poll: mio::Poll::new()?,
            slots: Vec::new(),
            manners: Vec::new(),
            targets: Vec::new(),
            queued: VecDeque::new(),
            connecting: 0,
            unread: Vec::new(),
            publishers,
            channels: Channels::default(),
            timers: Timers::default(),
            planned: BinaryHeap::new(),
            plans: 0,
            supply: None,
            supply_next: 0,
            draining: false,
            onward: None,
            lost_behind: 0,
            input: vec![0; INPUT_BYTES],
            request: Vec::with_capacity(1_024),
            channel_name: Vec::with_capacity(32),
            tally: Tally::new(),
        })
    }

    /// What was counted so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Forgets the latencies so far: what comes is measured, what was is not.
    pub fn begin_measuring(&mut self) {
        self.tally.latency.reset();
        self.tally.publish_latency.reset();
        self.tally.connect_latency.reset();
    }

    /// What became of each publication on a channel, in order, if [`Rounds::Kept`].
    pub fn rounds(&self, channel: u32) -> &[Round] {
        self.channels.get(channel).map_or(&[], |channel| &channel.rounds)
    }

    /// Whether somebody wants the engine to stop.
    pub fn is_stopped(&self) -> bool {
        self.options.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// Plans one publication of `body_bytes` (more if its marker is longer) on a channel.
    pub fn publish(&mut self, at: Instant, channel: u32, body_bytes: usize) {
        let body_bytes = u32::try_from(body_bytes).unwrap_or(u32::MAX);
        self.plans += 1;
        self.tally.planned += 1;
        self.planned.push(Reverse(Planned { at, order: self.plans, channel, body_bytes }));
    }

    /// Publishes as fast as it is answered and arrives; `None` ends that.
    pub fn supply(&mut self, supply: Option<Supply>) {
        self.supply_next = supply.as_ref().map_or(0, |supply| supply.channels.start);
        self.supply = supply;
    }

    /// Runs until `done` says so, which is asked often (at least ten times a second), until
    /// the time is over, or until somebody wants the engine to stop.
    pub fn run(&mut self, until: Instant, mut done: impl FnMut(&Tally) -> bool) -> Fallible<()> {
        let mut events = mio::Events::with_capacity(EVENTS);
        while !self.is_stopped() && !done(&self.tally) {
            let now = Instant::now();
            if now >= until {
                break;
            }
            self.turn(now, until, &mut events)?;
        }
        Ok(())
    }

    /// Lets everything that was planned be published and arrive, at most so long, and counts
    /// what is lost; nothing is if somebody wants the engine to stop before. Those that read
    /// slowly read promptly from now on.
    pub fn drain(&mut self, limit: Duration, mut show: impl FnMut(&Tally)) -> Fallible<()> {
        self.supply = None;
        self.draining = true;
        self.run(Instant::now() + limit, |tally| {
            show(tally);
            tally.is_complete()
        })?;
        if !self.is_stopped() {
            self.audit();
        }
        Ok(())
    }

    /// Counts the messages that have not reached an audited poller of their channel. Only after a
    /// drain are they lost; before they may be under way.
    pub fn audit(&mut self) -> u64 {
        let audited = self.slots.iter().filter(|slot| self.manners[usize::from(slot.manner)].is_audited());
        self.tally.lost = self.lost_behind + audited.map(|slot| self.lacks(slot)).sum::<u64>();
        self.tally.lost
    }

    /// Messages of its channel that a poller has not got.
    fn lacks(&self, slot: &Slot) -> u64 {
        let Some(channel) = self.channels.get(slot.channel) else { return 0 };
        let void = channel.void.iter().filter(|&&sequence| !slot.ledger.has(sequence)).count();
        slot.ledger.missing(channel.published).saturating_sub(void as u64)
    }

    fn turn(&mut self, now: Instant, until: Instant, events: &mut mio::Events) -> Fallible<()> {
        self.fire(now);
        self.plan_out(now);
        self.dial_queued();
        self.serve_publishers();
        for poller in std::mem::take(&mut self.unread) {
            self.receive(poller, poller::End::Seen);
        }
        match self.poll.poll(events, Some(self.patience(now, until))) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &*events {
            match event.token().0 {
                token if token >= PUBLISHERS => self.publisher_ready(token - PUBLISHERS, event),
                token => self.poller_ready(token as u32, event),
            }
        }
        Ok(())
    }

    /// How long there is nothing to do without an event. The kernel counts in milliseconds; the
    /// rest of one is spent looking, as a publication that is late by it would spoil the latency.
    fn patience(&self, now: Instant, until: Instant) -> Duration {
        let busy = !self.unread.is_empty() || (!self.queued.is_empty() && self.may_connect());
        if busy || self.has_more_to_publish() {
            return Duration::ZERO;
        }
        let planned = self.planned.peek().map(|Reverse(planned)| planned.at.saturating_duration_since(now));
        let precise = planned.map(|wait| Duration::from_millis(wait.as_millis() as u64));
        let timer = self.timers.next().map(|at| at.saturating_duration_since(now));
        let end = until.saturating_duration_since(now);
        [precise, timer, Some(end)].into_iter().flatten().fold(TURN_MAX, Duration::min)
    }

    /// Hands publications whose time has come to their connections.
    fn plan_out(&mut self, now: Instant) {
        for _ in 0..PUBLICATIONS_PER_TURN {
            match self.planned.peek() {
                Some(Reverse(planned)) if planned.at <= now => {}
                _ => break,
            }
            if let Some(Reverse(planned)) = self.planned.pop() {
                self.tally.planned -= 1;
                self.hand_out(planned.at, planned.channel, planned.body_bytes);
            }
        }
        self.plan_supply(now);
    }

    fn plan_supply(&mut self, now: Instant) {
        let Some(mut supply) = self.supply.take() else { return };
        let mut handed_out = 0;
        while supply.publications > 0 && handed_out < PUBLICATIONS_PER_TURN {
            let unanswered = self.tally.in_flight + self.tally.overdue;
            if unanswered.max(self.tally.outstanding()) >= supply.outstanding_max {
                break;
            }
            self.hand_out(now, self.supply_next, supply.body_bytes as u32);
            supply.publications -= 1;
            handed_out += 1;
            self.supply_next += 1;
            if self.supply_next >= supply.channels.end {
                self.supply_next = supply.channels.start;
            }
        }
        self.supply = Some(supply).filter(|supply| supply.publications > 0);
    }

    fn has_more_to_publish(&self) -> bool {
        let unanswered = self.tally.in_flight + self.tally.overdue;
        let wants = |supply: &Supply| unanswered.max(self.tally.outstanding()) < supply.outstanding_max;
        self.supply.as_ref().is_some_and(wants)
    }
}

#[cfg(test)]
mod tests;
