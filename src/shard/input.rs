//! Bytes become requests: whole, in pieces, or many at once.
//!
//! The usual request is complete in one read and is executed from the shard's own buffer,
//! without a copy. Only what is incomplete, or must wait for an answer before it, is
//! kept in the connection's side. A request in pieces gives the same result as in one.

use super::Shard;
use super::connection::{Connection, Marks, NOWHERE, Side, State};
use super::timers::Class;
use crate::error::Refusal;
use crate::ids::ConnId;
use crate::limits::{LINGER_BYTES_MAX, OUTPUT_BYTES_MAX};
use crate::session::route::Door;
use crate::time::Now;
use crate::wire::http::body::{ChunkDecoder, ChunkProgress};
use crate::wire::http::request::{self, Framing, Parsed, RequestHead, Version};
use crate::wire::http::response::CONTINUE;

/// How a step through the input ended.
enum Step {
    /// So many bytes are done with.
    Used(usize),
    /// Nothing can be done before more comes.
    Wait,
}

impl Shard {
    /// Input of a connection. Whatever it calls for is done at once; see
    /// [`Shard::output`] for what there is to send.
    pub fn handle_input(&mut self, id: ConnId, input: &[u8], now: Now) {
        let Some(index) = self.find(id) else { return };
        self.counters.received_bytes += input.len() as u64;
        match self.slot(index).state {
            State::Lingering => self.discard(index, input.len()),
            State::Held | State::HeldWide | State::Acking | State::Streaming | State::Sending => {
                self.keep(index, input, now);
            }
            State::Idle | State::Head | State::Body => self.take_input(index, input, now),
        }
    }

    /// Executes requests that waited for an answer before them.
    pub(super) fn resume(&mut self, index: u32, now: Now) {
        let slot = self.slot(index);
        let (state, side) = (slot.state, slot.side);
        if matches!(state, State::Idle | State::Head | State::Body) {
            if self.sides.get(side as usize).is_some_and(|side| !side.inbox.is_empty()) {
                self.take_input(index, &[], now);
            }
            self.end_after_input(index);
        }
    }

    /// The peer had ended its input while requests waited; they are executed now.
    fn end_after_input(&mut self, index: u32) {
        let Some(slot) = self.connections.get_mut(index as usize) else { return };
        if !slot.marks.has(Marks::INPUT_ENDED) {
            return;
        }
        match slot.state {
            State::Acking | State::Sending | State::Lingering => {}
            State::Held | State::HeldWide | State::Streaming => self.remove(index),
            State::Idle | State::Head | State::Body => {
                slot.marks.set(Marks::CLOSE);
                if !self.has_output(index) {
                    self.remove(index);
                }
            }
        }
    }

    /// A connection that lingers may send only so much more.
    fn discard(&mut self, index: u32, len: usize) {
        let slot = self.slot_mut(index);
        slot.position = slot.position.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        if slot.position as usize > LINGER_BYTES_MAX {
            self.remove(index);
        }
    }

    fn take_input(&mut self, index: u32, input: &[u8], now: Now) {
        let Connection { side: number, state, door, .. } = *self.slot(index);
        let Some(side) = self.sides.get_mut(number as usize) else {
            let used = self.process(index, input, now);
            return self.settle_input(index, input.get(used..).unwrap_or_default(), now);
        };
        side.progress += input.len();
        if side.decoder.is_some() {
            return self.take_chunks(index, input, now);
        }
        side.inbox.extend_from_slice(input);
        let in_head = state == State::Head && door != Door::Proxied;
        let waits_for_line = in_head && !request::may_conclude(&side.inbox, input.len());
        if side.inbox.len() < side.inbox_min || waits_for_line {
            return self.settle_input(index, &[], now);
        }
        side.inbox_min = 0;
        let inbox = std::mem::take(&mut side.inbox);
        let used = self.process(index, &inbox, now);
        self.settle_input(index, inbox.get(used..).unwrap_or_default(), now);
    }

    /// More of a chunked body.
    fn take_chunks(&mut self, index: u32, input: &[u8], now: Now) {
        let body_bytes_max = self.settings.body_bytes_max;
        let side = self.side_mut(index);
        let Some(mut decoder) = side.decoder.take() else { return };
        match decoder.decode(input, &mut side.body, body_bytes_max) {
            Ok((_, ChunkProgress::NeedMore)) => {
                side.decoder = Some(decoder);
                self.settle_input(index, &[], now);
            }
            Ok((used, ChunkProgress::Done)) => {
                let (head, body) = (std::mem::take(&mut side.inbox), std::mem::take(&mut side.body));
                if let Ok(Parsed::Complete { head, .. }) = request::parse(&head) {
                    self.begin_request(index, &head);
                    self.execute(index, &head, &body, now);
                }
                let rest = input.get(used..).unwrap_or_default();
                let used = self.process(index, rest, now);
                self.settle_input(index, rest.get(used..).unwrap_or_default(), now);
            }
            Err(refusal) => {
                self.refuse(index, &refusal.into(), now);
                self.settle_input(index, &[], now);
            }
        }
    }

    /// Executes what is complete in `input`; tells how much of it is done with.
    fn process(&mut self, index: u32, input: &[u8], now: Now) -> usize {
        let mut used = 0;
        while self.may_process(index) {
            match self.step(index, input.get(used..).unwrap_or_default(), now) {
                Step::Used(len) => used += len,
                Step::Wait => break,
            }
        }
        used
    }

    /// Answers go out in the order of their requests, and only so many are gathered
    /// before they do.
    fn may_process(&self, index: u32) -> bool {
        let Some(slot) = self.connections.get(index as usize) else { return false };
        let between = matches!(slot.state, State::Idle | State::Head | State::Body);
        between && !slot.marks.has(Marks::CLOSE) && self.own_output_len(index) < OUTPUT_BYTES_MAX
    }

    /// One request, or what there is of it.
    fn step(&mut self, index: u32, input: &[u8], now: Now) -> Step {
        if input.is_empty() {
            return Step::Wait;
        }
        if self.slot(index).door == Door::Proxied {
            return self.take_proxy_header(index, input, now).map_or(Step::Wait, Step::Used);
        }
        match request::parse(input) {
            Ok(Parsed::Complete { head, len }) => {
                self.begin_request(index, &head);
                self.identify(index, input.get(..len).unwrap_or_default());
                let rest = input.get(len..).unwrap_or_default();
                match head.framing {
                    Framing::None => {
                        self.execute(index, &head, &[], now);
                        Step::Used(len)
                    }
                    Framing::Length(body_len) => self.step_length(index, &head, len, rest, body_len, now),
                    Framing::Chunked => self.step_chunked(index, &head, input, len, now),
                }
            }
            Ok(Parsed::Partial) => Step::Wait,
            Err(refusal) => {
                self.slot_mut(index).marks.clear(Marks::OF_REQUEST);
                self.refuse(index, &refusal.into(), now);
                Step::Used(input.len())
            }
        }
    }

    /// A request with a body of known length.
    fn step_length(
        &mut self,
        index: u32,
        head: &RequestHead,
        len: usize,
        rest: &[u8],
        body_len: u64,
        now: Now,
    ) -> Step {
        let body_len = usize::try_from(body_len).unwrap_or(usize::MAX);
        if let Some(body) = rest.get(..body_len) {
            self.execute(index, head, body, now);
            return Step::Used(len.saturating_add(body_len));
        }
        if !self.expect_body(index, head, rest.is_empty(), now) {
            return Step::Used(len);
        }
        self.side_mut(index).inbox_min = len.saturating_add(body_len);
        Step::Wait
    }

    /// A request with a chunked body.
    fn step_chunked(&mut self, index: u32, head: &RequestHead, input: &[u8], len: usize, now: Now) -> Step {
        let (head_bytes, rest) = input.split_at(len.min(input.len()));
        let mut decoder = ChunkDecoder::new();
        let mut body = Vec::new();
        match decoder.decode(rest, &mut body, self.settings.body_bytes_max) {
            Ok((used, ChunkProgress::Done)) => {
                self.execute(index, head, &body, now);
                Step::Used(len + used)
            }
            Ok((_, ChunkProgress::NeedMore)) => {
                if self.expect_body(index, head, rest.is_empty(), now) {
                    let side = self.side_mut(index);
                    side.inbox = head_bytes.to_vec();
                    side.body = body;
                    side.decoder = Some(decoder);
                }
                Step::Used(input.len())
            }
            Err(refusal) => {
                self.refuse(index, &refusal.into(), now);
                Step::Used(input.len())
            }
        }
    }

    /// The rest of a body has to come. A request that will be refused is refused before
    /// it does; for others, `Expect: 100-continue` is answered (RFC 9110 §10.1.1).
    fn expect_body(&mut self, index: u32, head: &RequestHead, nothing_yet: bool, now: Now) -> bool {
        if let Err(refused) = self.admit(index, head) {
            // What follows is a body that nobody will read.
            self.slot_mut(index).marks.set(Marks::CLOSE);
            self.refuse_route(index, head, &refused, now);
            return false;
        }
        if head.expect_continue && nothing_yet {
            self.begin_output(index);
            self.out.extend_from_slice(CONTINUE);
        }
        let slot = self.slot_mut(index);
        slot.state = State::Body;
        // That the connection is to be closed after this request counts once the body is here.
        slot.marks.clear(Marks::CLOSE);
        self.timers.set(&mut self.connections, index, Class::Progress, now.tick);
        true
    }

    pub(super) fn begin_request(&mut self, index: u32, head: &RequestHead) {
        // Whoever asks is not idle, and must not be evicted to make room for itself.
        self.timers.clear(&mut self.connections, index);
        let cors = self.cors_number(head);
        let slot = self.slot_mut(index);
        slot.state = State::Idle;
        slot.cors = cors;
        slot.marks.clear(Marks::OF_REQUEST);
        if head.version == Version::Http10 {
            slot.marks.set(Marks::HTTP10);
        }
        if head.method == request::Method::Head {
            slot.marks.set(Marks::HEAD_ONLY);
        }
        if !head.keep_alive {
            slot.marks.set(Marks::CLOSE);
        }
    }

    /// Which of the allowed origins a request comes from, from 1; 0 for none of them.
    fn cors_number(&self, head: &RequestHead) -> u8 {
        let allowed = |origin: &String| origin == "*" || head.origin == Some(origin.as_bytes());
        match self.settings.cors_origins.iter().position(allowed) {
            Some(at) => u8::try_from(at + 1).unwrap_or(0),
            None => 0,
        }
    }

    /// After input: what is left of it is kept, and the timer is right for the new state.
    fn settle_input(&mut self, index: u32, rest: &[u8], now: Now) {
        let Some(slot) = self.connections.get_mut(index as usize) else { return };
        if slot.marks.has(Marks::CLOSE) && matches!(slot.state, State::Idle | State::Head | State::Body) {
            // The last answer is made; whatever follows is ignored (RFC 9112 §9.6).
            slot.state = State::Sending;
            self.drop_inbox(index);
            self.timers.set(&mut self.connections, index, Class::Progress, now.tick);
            return;
        }
        let stopped = self.own_output_len(index) >= OUTPUT_BYTES_MAX;
        match self.slot(index).state {
            State::Idle if rest.is_empty() => {
                self.drop_side(index);
                self.timers.set(&mut self.connections, index, Class::Idle, now.tick);
                return;
            }
            State::Idle if stopped => {
                self.slot_mut(index).state = State::Sending;
                self.timers.set(&mut self.connections, index, Class::Progress, now.tick);
            }
            State::Idle => {
                let slot = self.slot_mut(index);
                slot.state = State::Head;
                // The time for a PROXY header runs since the connection was accepted.
                if slot.door != Door::Proxied {
                    self.timers.set(&mut self.connections, index, Class::Head, now.tick);
                }
            }
            State::Head => {}
            State::Body
            | State::Held
            | State::HeldWide
            | State::Acking
            | State::Streaming
            | State::Sending
            | State::Lingering => {}
        }
        self.keep(index, rest, now);
    }

    /// Keeps input for later, if there is room.
    fn keep(&mut self, index: u32, input: &[u8], now: Now) {
        if input.is_empty() && self.slot(index).side == NOWHERE {
            return;
        }
        self.side_mut(index).inbox.extend_from_slice(input);
        self.recount_side(index);
        self.relieve(0);
        if self.has_room(0) {
            return;
        }
        match self.slot(index).state {
            State::Head | State::Body => {
                self.drop_inbox(index);
                self.slot_mut(index).marks.clear(Marks::OF_REQUEST);
                self.refuse(index, &Refusal::Overloaded.into(), now);
                self.slot_mut(index).state = State::Sending;
                self.timers.set(&mut self.connections, index, Class::Progress, now.tick);
            }
            // Who asks more before the answer cannot be refused before it either: the answer
            // is given, and what was asked behind it is not.
            State::Held | State::HeldWide if !input.is_empty() => {
                self.drop_inbox(index);
                self.slot_mut(index).marks.set(Marks::CLOSE);
                self.end_poll(index, now);
            }
            State::Sending if !input.is_empty() && self.slot(index).answer == NOWHERE => {
                self.drop_inbox(index);
                self.slot_mut(index).marks.set(Marks::CLOSE);
            }
            State::Sending if !input.is_empty() => {
                self.counters.connections_evicted += 1;
                self.remove(index);
            }
            _ => {}
        }
    }

    /// Forgets input that will not be used.
    fn drop_inbox(&mut self, index: u32) {
        if let Some(side) = self.sides.get_mut(self.slot(index).side as usize) {
            let kept = Side {
                outbox: std::mem::take(&mut side.outbox),
                sent: side.sent,
                counted: side.counted,
                ..Side::default()
            };
            *side = kept;
            self.recount_side(index);
        }
    }
}
