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
use super::publisher::not_yet;
use super::timers::{Due, Timer};
use super::{Between, Engine, Habit, INPUT_BYTES, Manner, Poller, PollerId, Reading, Target, Trouble};
use crate::Fallible;
use crate::answers::{Afterwards, Answer, Malformed, Split};
use crate::dialect::{Captures, Filling, Verdict};
use crate::ledger::{Ledger, Receipt};

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
const RETRY_MAX: Duration = Duration::from_secs(1);
/// A time-out that comes sooner than this after its poll is not asked for again at once.
const EMPTY_MIN: Duration = Duration::from_millis(20);
/// How long such a poller waits.
const EMPTY_REST: Duration = Duration::from_millis(500);

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
struct Side {
    /// The beginning of an answer.
    input: Vec<u8>,
    /// Looking at it is of no use before it has so many bytes.
    need: usize,
    /// The rest of a poll.
    output: Vec<u8>,
}

/// One poller.
#[derive(Debug)]
pub(super) struct Slot {
    stream: Option<TcpStream>,
    pub state: State,
    pub manner: u16,
    pub channel: u32,
    /// Timers of an earlier generation are void.
    generation: u32,
    /// Connections in a row that brought no answer.
    failures: u8,
    was_connected: bool,
    /// When its poll was sent or its connection begun, in milliseconds after the epoch.
    since_ms: u32,
    /// When its visit was to begin, in milliseconds after the epoch.
    visit_ms: u32,
    side: Option<Box<Side>>,
    pub ledger: Ledger,
    captures: Captures,
}

/// What a poller does after an answer.
enum Next {
    Ask,
    AskAt(Instant),
    Reconnect,
    ReconnectAt(Instant),
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

    /// Closes a poller's connection now and lets it go on at another server, with what it knows.
    pub fn redirect(&mut self, poller: PollerId, to: SocketAddr) -> Fallible<()> {
        let old = self.manners[usize::from(self.slots[poller.0 as usize].manner)];
        let manner = Manner { target: self.target(to)?, ..old };
        self.disconnect(poller.0);
        self.slots[poller.0 as usize].manner = self.manner_index(manner)?;
        self.timer(poller.0, Instant::now(), Due::Connect);
        Ok(())
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

    fn timer(&mut self, poller: u32, at: Instant, due: Due) {
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
    fn ask(&mut self, poller: u32, now: Instant) {
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
            // What is not read hides the end; a reset comes through.
            Reading::Never if event.is_error() => self.fail(poller, Trouble::Reset, String::new()),
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

    /// Judges the whole answers in `bytes` and keeps what is left.
    fn answers(&mut self, poller: u32, bytes: &[u8]) {
        let now = Instant::now();
        let mut rest = bytes;
        while !rest.is_empty() {
            // What is borrowed from the splitter must not borrow the engine.
            let mut splitter = std::mem::take(&mut self.splitter);
            let (taken, next) = match splitter.first(rest) {
                Ok(Split::Whole(answer)) => (answer.whole_bytes, self.answer(poller, &answer, now)),
                Ok(Split::Incomplete { need }) => {
                    self.splitter = splitter;
                    return self.keep(poller, rest, need);
                }
                Err(why) => {
                    self.splitter = splitter;
                    return self.fail_malformed(poller, why, rest);
                }
            };
            self.splitter = splitter;
            rest = &rest[taken..];
            match next {
                Some(next) => self.go_on(poller, next, now),
                None => return self.fail(poller, Trouble::Unasked, bytes.escape_ascii().to_string()),
            }
            if self.slots[poller as usize].stream.is_none() {
                return;
            }
        }
    }

    fn keep(&mut self, poller: u32, rest: &[u8], need: usize) {
        let side = self.slots[poller as usize].side.get_or_insert_default();
        side.input.clear();
        side.input.extend_from_slice(rest);
        side.need = need;
    }

    fn fail_malformed(&mut self, poller: u32, why: Malformed, bytes: &[u8]) {
        self.tally.malformed(why, bytes);
        self.disconnect(poller);
        self.retry(poller);
    }

    /// Judges one answer; `None` if nobody asked for it.
    fn answer(&mut self, poller: u32, answer: &Answer<'_>, now: Instant) -> Option<Next> {
        let slot = &mut self.slots[poller as usize];
        if slot.state != State::Asked {
            return None;
        }
        slot.state = State::Resting;
        slot.failures = 0;
        self.tally.held -= 1;
        self.tally.answers += 1;
        self.tally.closed_by_server += u64::from(answer.afterwards == Afterwards::Closes);
        let verdict = self.dialect.verdict(answer.status);
        if verdict == Verdict::Refused {
            let shown = answer.head.escape_ascii();
            self.tally.troubles.note(Trouble::PollStatus(answer.status), || shown.to_string());
        } else {
            self.dialect.note(answer, &mut slot.captures);
        }
        let messages = match verdict {
            Verdict::Answered => self.messages(poller, answer.body, now),
            Verdict::Empty | Verdict::Refused => 0,
        };
        if messages == 0 && verdict != Verdict::Refused {
            self.tally.empty_answers += 1;
        }
        Some(self.next(poller, verdict, messages, answer.afterwards, now))
    }

    fn next(
        &mut self,
        poller: u32,
        verdict: Verdict,
        messages: u32,
        afterwards: Afterwards,
        now: Instant,
    ) -> Next {
        let slot = &self.slots[poller as usize];
        let asked = self.options.epoch + Duration::from_millis(u64::from(slot.since_ms));
        let manner = &self.manners[usize::from(slot.manner)];
        let (at, closes) = match manner.habit {
            Habit::Pull { every, between } => (Some(asked + every), between == Between::Reconnect),
            _ if verdict == Verdict::Refused => (Some(now + RETRY_MAX), false),
            // A server that answers at once with nothing would be asked without end.
            _ if messages == 0 && now.saturating_duration_since(asked) < EMPTY_MIN => {
                (Some(now + EMPTY_REST), false)
            }
            _ => (None, false),
        };
        let closes = closes || afterwards == Afterwards::Closes;
        match at.filter(|at| *at > now) {
            Some(at) if closes => Next::ReconnectAt(at),
            Some(at) => Next::AskAt(at),
            None if closes => Next::Reconnect,
            None => Next::Ask,
        }
    }

    fn go_on(&mut self, poller: u32, next: Next, now: Instant) {
        match next {
            Next::Ask => self.ask(poller, now),
            Next::AskAt(at) => self.timer(poller, at, Due::Ask),
            Next::Reconnect => {
                self.disconnect(poller);
                self.timer(poller, now, Due::Connect);
            }
            Next::ReconnectAt(at) => {
                self.disconnect(poller);
                self.timer(poller, at, Due::Connect);
            }
        }
    }

    /// Judges the messages of an answer and returns how many there were.
    fn messages(&mut self, poller: u32, body: &[u8], now: Instant) -> u32 {
        let (mut count, mut rest) = (0, body);
        while let Some((marker, after)) = self.finder.first(rest) {
            count += 1;
            rest = after;
            let slot = &self.slots[poller as usize];
            let published = self.channels.get(slot.channel).map_or(0, |channel| channel.published);
            if marker.channel != slot.channel || marker.sequence >= published {
                self.tally.troubles.note(Trouble::Stray, || format!("{marker:?} came to {}", slot.channel));
                continue;
            }
            let planned = self.options.epoch + Duration::from_nanos(marker.planned_ns);
            self.message(poller, marker.sequence, planned, now);
        }
        count
    }

    fn message(&mut self, poller: u32, sequence: u32, planned: Instant, now: Instant) {
        let slot = &mut self.slots[poller as usize];
        let tally = &mut self.tally;
        match slot.ledger.receive(sequence) {
            Receipt::Again => {
                tally.duplicated += 1;
                return;
            }
            Receipt::Late => tally.out_of_order += 1,
            Receipt::InOrder => {}
        }
        tally.deliveries += 1;
        if !self.manners[usize::from(slot.manner)].is_audited() {
            return;
        }
        let us = now.saturating_duration_since(planned).as_micros() as u64;
        tally.latency.saturating_record(us);
        let Some(channel) = self.channels.get_mut(slot.channel) else { return };
        channel.note(sequence, us);
        tally.received += u64::from(!channel.is_void(sequence));
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

    fn fail(&mut self, poller: u32, trouble: Trouble, what: String) {
        let slot = &self.slots[poller as usize];
        let reading = self.manners[usize::from(slot.manner)].reading;
        if trouble == Trouble::Reset && reading != Reading::Promptly {
            // Just what a server does to those who do not read.
            self.tally.cut_by_server += 1;
        } else {
            self.tally.troubles.note(trouble, || what);
        }
        self.disconnect(poller);
        self.retry(poller);
    }

    /// Lets the poller connect again after a while that grows with its failures.
    fn retry(&mut self, poller: u32) {
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
    fn disconnect(&mut self, poller: u32) {
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
