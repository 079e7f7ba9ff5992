//! What an answer means to its poller: its messages, its captures, and what the poller does next.
//!
//! What it refuses to know: sockets. Invariant: every message that arrives is entered in the
//! poller's ledger once, and counted as what the ledger says that it is.

use std::time::{Duration, Instant};

use super::poller::{RETRY_MAX, State};
use super::timers::Due;
use super::{Between, Engine, Habit, Trouble};
use crate::answers::{Afterwards, Answer, Malformed, Split};
use crate::dialect::Verdict;
use crate::ledger::Receipt;

/// A time-out that comes sooner than this after its poll is not asked for again at once.
const EMPTY_MIN: Duration = Duration::from_millis(20);
/// How long such a poller waits.
const EMPTY_REST: Duration = Duration::from_millis(500);

/// Room that is made for an answer before it has come, in bytes.
const RESERVED_BYTES_MAX: usize = 512 * 1_024;

/// What a poller does after an answer.
pub(super) enum Next {
    Ask,
    AskAt(Instant),
    Reconnect,
    ReconnectAt(Instant),
}

impl Engine {
    /// Judges the whole answers in `bytes` and keeps what is left.
    pub(super) fn answers(&mut self, poller: u32, bytes: &[u8]) {
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
        side.input.reserve(need.min(RESERVED_BYTES_MAX));
        side.input.extend_from_slice(rest);
        side.need = need;
    }

    pub(super) fn fail_malformed(&mut self, poller: u32, why: Malformed, bytes: &[u8]) {
        self.tally.malformed(why, bytes);
        self.disconnect(poller);
        self.retry(poller);
    }

    /// Judges one answer; `None` if nobody asked for it.
    pub(super) fn answer(&mut self, poller: u32, answer: &Answer<'_>, now: Instant) -> Option<Next> {
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
        if messages > 0 {
            self.go_onward(poller);
        }
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

    pub(super) fn go_on(&mut self, poller: u32, next: Next, now: Instant) {
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
}
