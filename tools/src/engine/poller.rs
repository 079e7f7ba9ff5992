//! One poller: connecting, asking, taking answers, and what it does when something fails.
//!
//! What it refuses to know: who publishes. Invariant: a poller has at most one connection and
//! one unanswered poll; its ledger and what it took from its last answer outlive connections.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Token};

use super::dial::{self, Buffer};
use super::judging::Next;
use super::publisher::not_yet;
use super::timers::{Due, Timer};
use super::{Engine, Habit, INPUT_BYTES, Manner, Poller, PollerId, Reading, Target, Trouble};
use crate::Fallible;
use crate::answers::Malformed;
use crate::dialect::{Captures, Filling};
use crate::ledger::Ledger;

/// Pollers of one engine.
pub const POLLERS_MAX: usize = 10_000_000;
/// Kinds of pollers (target, source, reading, habit) of one engine.
const MANNERS_MAX: usize = 60_000;
/// Reads of one poller before others have their turn.
const READS_PER_EVENT: usize = 64;
/// A slow reader reads so often.
const SLOW_TICK: Duration = Duration::from_millis(100);
/// A connection that is not established after so long is given up.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// A poller that failed begins again after so long at first, and then twice as long each time…
const RETRY_MIN: Duration = Duration::from_millis(10);
/// …up to this.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(1);

/// What a poller is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has no connection, and a timer will change that, or nothing.
    Idle,
    /// It wants a connection and waits for its turn.
    Queued,
    /// Its connection is not established.
    Connecting,
    /// It has sent a poll, or is sending it, and has no answer.
    Asked,
    /// It has an answer, and a timer will make it ask again.
    Resting,
}

/// Whether the kernel said that the other side has ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    NotSeen,
    Seen,
}

/// What is not done yet on a connection; nearly always nothing.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// The beginning of an answer.
    pub input: Vec<u8>,
    /// Looking at it is of no use before it has so many bytes.
    pub need: usize,
    /// The rest of a poll.
    pub output: Vec<u8>,
}

/// One poller.
#[derive(Debug)]
pub(super) struct Slot {
    pub stream: Option<TcpStream>,
    pub state: State,
    pub manner: u16,
    pub channel: u32,
    /// Timers of an earlier generation are void.
    pub generation: u32,
    /// Connections in a row that brought no answer.
    pub failures: u8,
    pub was_connected: bool,
    /// When its poll was sent or its connection begun, in milliseconds after the epoch.
    pub since_ms: u32,
    /// When its visit was to begin, in milliseconds after the epoch.
    pub visit_ms: u32,
    pub side: Option<Box<Side>>,
    pub ledger: Ledger,
    pub captures: Captures,
}

impl Engine {
    /// Adds a poller. An audited one must get everything that was ever published on its channel.
    pub fn add(&mut self, poller: Poller) -> Fallible<PollerId> {
        if self.slots.len() >= POLLERS_MAX {
            return Err(format!("more than {POLLERS_MAX} pollers").into());
        }
        let index = self.slots.len() as u32;
        let manner = self.manner(&poller, index)?;
        let channel = self.channels.entry(poller.channel);
        if self.manners[usize::from(manner)].is_audited() {
            channel.audience += 1;
            self.tally.expected += u64::from(channel.published) - channel.void.len() as u64;
        }
        self.slots.push(Slot {
            stream: None,
            state: State::Idle,
            manner,
            channel: poller.channel,
            generation: 0,
            failures: 0,
            was_connected: false,
            since_ms: 0,
            visit_ms: ms_since(self.options.epoch, poller.start),
            side: None,
            ledger: Ledger::default(),
            captures: Captures::default(),
        });
        self.timer(index, poller.start, Due::Connect);
        Ok(PollerId(index))
    }

    /// Closes every poller's connection now and lets all connect again at a time, with what they know.
    pub fn drop_all(&mut self, reconnect: Instant) {
        for index in 0..self.slots.len() as u32 {
            self.disconnect(index);
            self.timer(index, reconnect, Due::Connect);
        }
    }

    fn manner(&mut self, poller: &Poller, number: u32) -> Fallible<u16> {
        let target = self.target(poller.to)?;
        let from = dial::source(poller.to, poller.from, number);
        self.manner_index(Manner { target, from, reading: poller.reading, habit: poller.habit })
    }

    fn manner_index(&mut self, manner: Manner) -> Fallible<u16> {
        // Pollers that are alike come one after the other.
        let known = self.manners.iter().rposition(|known| *known == manner);
        index_or_push(&mut self.manners, known, manner)
    }

    fn target(&mut self, to: SocketAddr) -> Fallible<u16> {
        let known = self.targets.iter().position(|known| known.to == to);
        let host = self.options.host.clone().unwrap_or_else(|| to.to_string());
        index_or_push(&mut self.targets, known, Target { to, host })
    }

    pub(super) fn timer(&mut self, poller: u32, at: Instant, due: Due) {
        let generation = self.slots[poller as usize].generation;
        self.timers.push(Timer { at, poller, generation, due });
    }

    /// Does what is due.
    pub(super) fn fire(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            let slot = &mut self.slots[timer.poller as usize];
            if slot.generation != timer.generation {
                continue;
            }
            match timer.due {
                Due::Connect if slot.state == State::Idle => {
                    slot.state = State::Queued;
                    self.queued.push_back(timer.poller);
                }
                Due::GiveUp if slot.state == State::Connecting => {
                    self.fail(timer.poller, Trouble::ConnectTimeout, String::new());
                }
                Due::Ask if slot.state == State::Resting => self.ask(timer.poller, now),
                Due::Leave => self.leave(timer.poller, now),
                Due::Read => self.read_a_little(timer.poller, now),
                Due::Connect | Due::GiveUp | Due::Ask => {}
            }
        }
    }

    pub(super) fn may_connect(&self) -> bool {
        self.connecting < self.options.connecting_max.max(1)
    }

    /// Begins connections, as many as may be under way.
    pub(super) fn dial_queued(&mut self) {
        for _ in 0..super::DIALS_PER_TURN {
            if !self.may_connect() {
                return;
            }
            let Some(poller) = self.queued.pop_front() else { return };
            if self.slots[poller as usize].state == State::Queued {
                self.dial(poller);
            }
        }
    }

    fn dial(&mut self, poller: u32) {
        let slot = &mut self.slots[poller as usize];
        let manner = self.manners[usize::from(slot.manner)];
        let to = self.targets[usize::from(manner.target)].to;
        let begun = Instant::now();
        slot.since_ms = ms_since(self.options.epoch, begun);
        let dialled = dial::dial(to, manner.from, buffer(manner.reading)).and_then(|mut stream| {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(poller as usize), both)?;
            Ok(stream)
        });
        match dialled {
            Ok(stream) => {
                slot.stream = Some(stream);
                slot.state = State::Connecting;
                self.connecting += 1;
                // Over loopback it is established when connect() returns.
                self.try_established(poller, begun);
            }
            Err(error) => {
                slot.state = State::Idle;
                self.fail(poller, Trouble::Connect, format!("{to} from {:?}: {error}", manner.from));
            }
        }
    }

    fn try_established(&mut self, poller: u32, begun: Instant) {
        let slot = &mut self.slots[poller as usize];
        let Some(stream) = &slot.stream else { return };
        match stream.peer_addr() {
            Ok(_) => self.established(poller, begun),
            Err(_) => self.timer(poller, begun + CONNECT_MAX, Due::GiveUp),
        }
    }

    fn established(&mut self, poller: u32, begun: Instant) {
        let slot = &mut self.slots[poller as usize];
        let now = Instant::now();
        self.connecting -= 1;
        self.tally.connected += 1;
        self.tally.connects += 1;
        self.tally.reconnects += u64::from(slot.was_connected);
        slot.was_connected = true;
        let us = now.saturating_duration_since(begun).as_micros() as u64;
        self.tally.connect_latency.saturating_record(us);
        let manner = self.manners[usize::from(slot.manner)];
        if let Habit::Visit { stay, .. } = manner.habit {
            self.timer(poller, now + stay, Due::Leave);
        }
        if let Reading::Slowly { .. } = manner.reading {
            self.timer(poller, now + SLOW_TICK, Due::Read);
        }
        self.ask(poller, now);
    }

    /// Sends a poll; its request is far smaller than a socket's buffer, so it is nearly always taken whole.
    pub(super) fn ask(&mut self, poller: u32, now: Instant) {
        let slot = &mut self.slots[poller as usize];
        let Some(stream) = &mut slot.stream else { return };
        let manner = &self.manners[usize::from(slot.manner)];
        self.names.write(slot.channel, &mut self.channel_name);
        self.request.clear();
        let host = &self.targets[usize::from(manner.target)].host;
        let filling = Filling { host, channel: &self.channel_name, captures: &slot.captures, body: b"" };
        self.dialect.poll(&filling, &mut self.request);
        let sent = match stream.write(&self.request) {
            Ok(sent) => sent,
            Err(error) if not_yet(&error) => 0,
            Err(error) => return self.fail(poller, Trouble::Reset, error.to_string()),
        };
        if sent < self.request.len() {
            let side = slot.side.get_or_insert_default();
            side.output.extend_from_slice(&self.request[sent..]);
        }
        slot.state = State::Asked;
        slot.since_ms = ms_since(self.options.epoch, now);
        self.tally.bytes_out += sent as u64;
        self.tally.polls += 1;
        self.tally.held += 1;
    }

    pub(super) fn poller_ready(&mut self, poller: u32, event: &Event) {
        let Some(slot) = self.slots.get_mut(poller as usize) else { return };
        if slot.state == State::Connecting {
            return self.connected_or_failed(poller, event);
        }
        if event.is_writable() && slot.side.as_ref().is_some_and(|side| !side.output.is_empty()) {
            self.send_rest(poller);
        }
        let end = if event.is_read_closed() || event.is_error() { End::Seen } else { End::NotSeen };
        if !event.is_readable() && end == End::NotSeen {
            return;
        }
        let slot = &self.slots[poller as usize];
        match self.manners[usize::from(slot.manner)].reading {
            Reading::Promptly => self.receive(poller, end),
            Reading::Never if end == End::Seen => self.fail(poller, Trouble::Reset, String::new()),
            // The timer reads, or nobody does.
            Reading::Slowly { .. } | Reading::Never => {}
        }
    }

    fn connected_or_failed(&mut self, poller: u32, event: &Event) {
        let slot = &mut self.slots[poller as usize];
        let Some(stream) = &slot.stream else { return };
        if let Ok(Some(error)) | Err(error) = stream.take_error() {
            return self.fail(poller, Trouble::Connect, error.to_string());
        }
        if event.is_writable() && stream.peer_addr().is_ok() {
            let begun = self.options.epoch + Duration::from_millis(u64::from(slot.since_ms));
            self.established(poller, begun);
        }
    }

    fn send_rest(&mut self, poller: u32) {
        let slot = &mut self.slots[poller as usize];
        let (Some(stream), Some(side)) = (&mut slot.stream, &mut slot.side) else { return };
        match stream.write(&side.output) {
            Ok(sent) => {
                side.output.drain(..sent);
                self.tally.bytes_out += sent as u64;
            }
            Err(error) if not_yet(&error) => {}
            Err(error) => self.fail(poller, Trouble::Reset, error.to_string()),
        }
    }

    /// Reads and judges what there is.
    pub(super) fn receive(&mut self, poller: u32, end: End) {
        for _ in 0..READS_PER_EVENT {
            match self.read(poller, INPUT_BYTES) {
                Some(received) if received == INPUT_BYTES || end == End::Seen => {}
                _ => return,
            }
        }
        self.unread.push(poller);
    }

    fn read_a_little(&mut self, poller: u32, now: Instant) {
        let slot = &self.slots[poller as usize];
        let Reading::Slowly { bytes_per_s } = self.manners[usize::from(slot.manner)].reading else { return };
        if self.draining {
            self.receive(poller, End::Seen);
        } else {
            self.read(poller, (bytes_per_s as usize / 10).clamp(1, INPUT_BYTES));
        }
        if self.slots[poller as usize].stream.is_some() {
            self.timer(poller, now + SLOW_TICK, Due::Read);
        }
    }

    /// One read of at most so many bytes; `None` if there is no more to be read now.
    fn read(&mut self, poller: u32, bytes_max: usize) -> Option<usize> {
        let stream = self.slots[poller as usize].stream.as_mut()?;
        match stream.read(&mut self.input[..bytes_max]) {
            Ok(0) => {
                self.ended(poller);
                None
            }
            Ok(received) => {
                self.tally.bytes_in += received as u64;
                let input = std::mem::take(&mut self.input);
                self.take(poller, &input[..received]);
                self.input = input;
                Some(received)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Some(bytes_max),
            Err(error) if not_yet(&error) => None,
            Err(error) => {
                self.fail(poller, Trouble::Reset, error.to_string());
                None
            }
        }
    }

    /// Takes bytes that arrived: usually a whole answer, judged where it was received.
    fn take(&mut self, poller: u32, received: &[u8]) {
        let slot = &mut self.slots[poller as usize];
        match slot.side.as_mut().filter(|side| !side.input.is_empty()) {
            None => self.answers(poller, received),
            Some(side) => {
                side.input.extend_from_slice(received);
                if side.input.len() >= side.need {
                    let bytes = std::mem::take(&mut side.input);
                    self.answers(poller, &bytes);
                }
            }
        }
    }

    /// The server ended the connection; that may complete an answer.
    fn ended(&mut self, poller: u32) {
        let slot = &mut self.slots[poller as usize];
        let input = slot.side.as_mut().map(|side| std::mem::take(&mut side.input)).unwrap_or_default();
        if !input.is_empty() {
            let mut splitter = std::mem::take(&mut self.splitter);
            let now = Instant::now();
            let last = splitter.at_close(&input).map(|answer| self.answer(poller, &answer, now));
            self.splitter = splitter;
            match last {
                // Just what a server does to those who do not read.
                Err(Malformed::Truncated) if !self.is_prompt(poller) => {
                    return self.fail(poller, Trouble::Reset, String::new());
                }
                Err(why) => return self.fail_malformed(poller, why, &input),
                Ok(next) => return self.go_on(poller, next.unwrap_or(Next::Reconnect), now),
            }
        }
        self.tally.closed_by_server += 1;
        self.disconnect(poller);
        let slot = &mut self.slots[poller as usize];
        if slot.failures > 0 {
            return self.retry(poller);
        }
        // A server may close what is idle; the first time it is asked again at once.
        slot.failures = 1;
        self.timer(poller, Instant::now(), Due::Connect);
    }

    pub(super) fn fail(&mut self, poller: u32, trouble: Trouble, what: String) {
        if trouble == Trouble::Reset && !self.is_prompt(poller) {
            self.tally.cut_by_server += 1;
        } else {
            self.tally.troubles.note(trouble, || what);
        }
        self.disconnect(poller);
        self.retry(poller);
    }

    fn is_prompt(&self, poller: u32) -> bool {
        let manner = self.slots[poller as usize].manner;
        self.manners[usize::from(manner)].reading == Reading::Promptly
    }

    /// Lets the poller connect again after a while that grows with its failures.
    pub(super) fn retry(&mut self, poller: u32) {
        let slot = &mut self.slots[poller as usize];
        let wait = (RETRY_MIN * (1 << slot.failures.min(10))).min(RETRY_MAX);
        slot.failures = slot.failures.saturating_add(1);
        let at = Instant::now() + wait / 2 + self.random.up_to(wait / 2);
        self.timer(poller, at, Due::Connect);
    }

    /// Ends a visit; the next one is another client's.
    fn leave(&mut self, poller: u32, now: Instant) {
        let slot = &self.slots[poller as usize];
        let Habit::Visit { every, .. } = self.manners[usize::from(slot.manner)].habit else { return };
        self.disconnect(poller);
        let epoch = self.options.epoch;
        let slot = &mut self.slots[poller as usize];
        slot.ledger = Ledger::default();
        slot.captures.forget();
        slot.was_connected = false;
        slot.failures = 0;
        let planned = epoch + Duration::from_millis(u64::from(slot.visit_ms)) + every;
        let next = planned.max(now);
        slot.visit_ms = ms_since(epoch, next);
        self.tally.visits += 1;
        self.tally.visits_late += u64::from(planned < now);
        self.timer(poller, next, Due::Connect);
    }

    /// Closes the connection, if there is one, and makes all timers void.
    pub(super) fn disconnect(&mut self, poller: u32) {
        let slot = &mut self.slots[poller as usize];
        match slot.state {
            State::Idle | State::Queued => {}
            State::Connecting => self.connecting -= 1,
            State::Asked => {
                self.tally.held -= 1;
                self.tally.connected -= 1;
            }
            State::Resting => self.tally.connected -= 1,
        }
        slot.state = State::Idle;
        slot.stream = None;
        slot.side = None;
        slot.generation = slot.generation.wrapping_add(1);
    }
}

fn index_or_push<T>(all: &mut Vec<T>, known: Option<usize>, new: T) -> Fallible<u16> {
    let index = known.unwrap_or_else(|| {
        all.push(new);
        all.len() - 1
    });
    if index >= MANNERS_MAX {
        return Err(format!("more than {MANNERS_MAX} kinds of pollers").into());
    }
    Ok(index as u16)
}

fn buffer(reading: Reading) -> Buffer {
    match reading {
        Reading::Promptly => Buffer::Usual,
        Reading::Never | Reading::Slowly { .. } => Buffer::Small,
    }
}

fn ms_since(epoch: Instant, now: Instant) -> u32 {
    u32::try_from(now.saturating_duration_since(epoch).as_millis()).unwrap_or(u32::MAX)
}
