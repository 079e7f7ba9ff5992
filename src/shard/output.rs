//! What goes out: replies of a connection's own, and answers that many share.

use super::answers::Answers;
use super::connection::{Marks, NOWHERE, State};
use super::timers::Class;
use super::{Flushed, Shard};
use crate::error::{Afterwards, Refusal, Refused};
use crate::ids::ConnId;
use crate::limits::{PROGRESS_BYTES_PER_S, PROGRESS_MS, RETRY_AFTER_S};
use crate::time::Now;
use crate::wire::http::response::{
    Connection as Persistence, Cors, Head, PROBLEM_JSON, push_decimal, write_problem_body,
};

/// A reply of a connection's own.
pub struct Reply<'a> {
    /// The status.
    pub status: u16,
    /// The body's media type; `None` for no body at all (204).
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: &'a [u8],
    /// More fields.
    pub extra: &'a [(&'static str, &'a str)],
}

/// `application/json`, the type of every answer.
pub const JSON: &str = "application/json";

/// Bytes that a peer must have moved in one period of judgement.
const PROGRESS_BYTES: usize = (PROGRESS_BYTES_PER_S * PROGRESS_MS / 1000) as usize;

impl Shard {
    /// Makes room for a connection's own output.
    pub(super) fn begin_output(&mut self, index: u32) {
        if self.out_of != index {
            self.stash_output();
            self.out_of = index;
        }
    }

    /// Writes a reply to the request that is being executed.
    pub(super) fn reply(&mut self, index: u32, reply: Reply, now: Now) {
        self.begin_output(index);
        self.decide_persistence(index);
        let date = self.date(now.wall);
        let slot = &self.connections[index as usize];
        let head = Head {
            status: reply.status,
            content_type: reply.content_type,
            content_length: reply.content_type.map(|_| reply.body.len()),
            date: &date,
            connection: persistence(slot.marks),
            cors: cors(&self.settings.cors_origins, slot.cors),
            extra: reply.extra,
        };
        head.write(&mut self.out);
        if !slot.marks.has(Marks::HEAD_ONLY) {
            self.out.extend_from_slice(reply.body);
        }
    }

    /// Refuses the request that is being executed.
    pub(super) fn refuse(&mut self, index: u32, refused: &Refused, now: Now) {
        let retry = RETRY_AFTER_S.to_string();
        let challenge = "Bearer realm=\"pushup\"";
        let extra: &[(&'static str, &str)] = match refused.reason.status() {
            429 | 503 => &[("Retry-After", &retry)],
            401 => &[("WWW-Authenticate", challenge)],
            _ => &[],
        };
        self.refuse_with(index, refused, extra, now);
    }

    /// Refuses with more fields.
    pub(super) fn refuse_with(
        &mut self,
        index: u32,
        refused: &Refused,
        extra: &[(&'static str, &str)],
        now: Now,
    ) {
        self.counters.requests_refused += 1;
        if refused.reason.afterwards() == Afterwards::Close {
            self.slot_mut(index).marks.set(Marks::CLOSE);
        }
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        write_problem_body(refused.reason, refused.specific.as_deref(), &mut body);
        let status = refused.reason.status();
        self.reply(index, Reply { status, content_type: Some(PROBLEM_JSON), body: &body, extra }, now);
        self.body = body;
    }

    /// Ends the connection with this answer if the node is ending.
    pub(super) fn decide_persistence(&mut self, index: u32) {
        if self.drain.is_some() {
            self.slot_mut(index).marks.set(Marks::CLOSE);
        }
    }

    /// Gives a connection a shared answer, of which it is counted a user already.
    pub(super) fn send_shared(&mut self, index: u32, answer: u32) {
        self.decide_persistence(index);
        let slot = self.slot_mut(index);
        slot.state = State::Sending;
        slot.answer = answer;
        self.list(index);
    }

    /// What is to be sent on a connection now, in two pieces; empty when nothing is.
    pub fn output(&mut self, id: ConnId, now: Now) -> [&[u8]; 2] {
        let Some(index) = self.find(id) else { return [&[], &[]] };
        let (side, answer) = (self.slot(index).side, self.slot(index).answer);
        let sent = self.sides.get(side as usize).map_or(0, |side| side.sent);
        if self.sides.get(side as usize).is_some_and(|side| !side.outbox.is_empty()) {
            return [self.sides[side as usize].outbox.get(sent..).unwrap_or_default(), &[]];
        }
        if self.out_of == index && !self.out.is_empty() {
            return [self.out.get(self.out_sent..).unwrap_or_default(), &[]];
        }
        if answer == NOWHERE {
            return [&[], &[]];
        }
        self.shared_output(index, answer, sent, now)
    }

    fn shared_output(&mut self, index: u32, answer: u32, sent: usize, now: Now) -> [&[u8]; 2] {
        let date = self.date(now.wall);
        let slot = &self.connections[index as usize];
        let variant = u16::from(slot.marks.only(Marks::ANSWER).bits()) | u16::from(slot.cors) << 8;
        let (marks, cors) = (slot.marks, cors(&self.settings.cors_origins, slot.cors));
        let write_head = |body_len: usize, out: &mut Vec<u8>| {
            let applied: &[_] = &[("Preference-Applied", "wait")];
            let head = Head {
                status: 200,
                content_type: Some(JSON),
                content_length: Some(body_len),
                date: &date,
                connection: persistence(marks),
                cors,
                extra: if marks.has(Marks::PREFER) { applied } else { &[] },
            };
            head.write(out);
        };
        let (first, second) = Answers::pieces(&mut self.answers, answer, variant, sent, write_head);
        [first, second]
    }

    /// So many bytes of [`Shard::output`] went out.
    pub fn handle_sent(&mut self, id: ConnId, len: usize) {
        let Some(index) = self.find(id) else { return };
        self.counters.sent_bytes += len as u64;
        let number = self.slot(index).side as usize;
        let in_side = self.sides.get(number).is_some_and(|side| !side.outbox.is_empty());
        if !in_side && self.out_of == index && !self.out.is_empty() {
            self.out_sent += len;
            if self.out_sent == self.out.len() {
                self.clear_out();
            }
            return;
        }
        let side = self.side_mut(index);
        side.sent += len;
        side.progress += len;
        if !side.outbox.is_empty() && side.sent == side.outbox.len() {
            side.outbox = Vec::new();
            side.sent = 0;
        }
        self.recount_side(index);
    }

    /// All of [`Shard::output`] went out at once; the usual case of a shared answer.
    pub fn handle_all_sent(&mut self, id: ConnId, len: usize) {
        let Some(index) = self.find(id) else { return };
        let slot = self.slot(index);
        if slot.answer == NOWHERE || slot.side != NOWHERE || self.out_of == index && !self.out.is_empty() {
            return self.handle_sent(id, len);
        }
        self.counters.sent_bytes += len as u64;
        self.finish_shared(index);
    }

    /// The socket takes no more for now. What is left is kept, and the reader judged.
    pub fn handle_blocked(&mut self, id: ConnId, now: Now) {
        let Some(index) = self.find(id) else { return };
        if self.out_of == index {
            self.stash_output();
            self.relieve(0);
            if !self.has_room(0) {
                // An answer that is not taken is the dearest thing to keep.
                self.counters.connections_evicted += 1;
                return self.cut_off(index);
            }
        }
        let judged = self.timers.is_set(&self.connections, index, Class::Progress);
        let slot = self.slot_mut(index);
        slot.marks.set(Marks::BLOCKED);
        match slot.state {
            // A poll behind an answer that is not taken: judged as a poll first.
            State::Held | State::HeldWide | State::Acking | State::Lingering => return,
            // How long it may take is the use case's to say; until it is taken nothing more is asked for.
            State::Streaming => return,
            // It is being judged already: a few bytes now and then do not buy time.
            State::Sending if judged => return,
            _ => slot.state = State::Sending,
        }
        self.side_mut(index).progress = 0;
        self.timers.set(&mut self.connections, index, Class::Progress, now.tick);
    }

    /// The socket takes more again.
    pub fn handle_writable(&mut self, id: ConnId) {
        if let Some(index) = self.find(id) {
            self.slot_mut(index).marks.clear(Marks::BLOCKED);
        }
    }

    /// Whether the socket is to say when it takes more.
    pub fn is_blocked(&self, id: ConnId) -> bool {
        self.find(id).is_some_and(|index| self.slot(index).marks.has(Marks::BLOCKED))
    }

    /// Nothing is left to send: what becomes of the connection?
    pub fn handle_flushed(&mut self, id: ConnId, now: Now) -> Flushed {
        let Some(index) = self.find(id) else { return Flushed::Close };
        if self.slot(index).answer != NOWHERE {
            self.finish_shared(index);
        }
        let (marks, state) = (self.slot(index).marks, self.slot(index).state);
        if !matches!(state, State::Held | State::HeldWide) {
            self.release_poll(index);
        }
        match state {
            State::Held | State::HeldWide | State::Acking | State::Lingering => {
                self.drop_empty_side(index);
                Flushed::Open
            }
            State::Streaming => {
                self.stream_on(index, now);
                Flushed::Open
            }
            _ if marks.has(Marks::CLOSE) => self.shut(index, now),
            State::Sending => {
                self.go_on(index, now);
                Flushed::Open
            }
            State::Idle | State::Head | State::Body => Flushed::Open,
        }
    }

    /// After an answer: the next request that waited, or between requests.
    fn go_on(&mut self, index: u32, now: Now) {
        let number = self.slot(index).side as usize;
        let (waiting, in_body) = match self.sides.get_mut(number) {
            Some(side) => (!side.inbox.is_empty(), side.begin_judgement_if_in_body()),
            None => (false, false),
        };
        let (state, class) =
            if in_body { (State::Body, Class::Progress) } else { (State::Idle, Class::Idle) };
        let slot = self.slot_mut(index);
        slot.state = state;
        slot.marks.clear(Marks::OF_REQUEST);
        let marks = slot.marks;
        self.timers.set(&mut self.connections, index, class, now.tick);
        if waiting || marks.has(Marks::UNREAD) || marks.has(Marks::INPUT_ENDED) {
            self.list(index);
        } else {
            self.drop_side(index);
        }
    }

    fn finish_shared(&mut self, index: u32) {
        let slot = self.slot_mut(index);
        let answer = std::mem::replace(&mut slot.answer, NOWHERE);
        let side = slot.side;
        if answer != NOWHERE {
            self.answers.release(answer);
        }
        if let Some(side) = self.sides.get_mut(side as usize) {
            side.sent = 0;
        }
    }

    /// Our side is done. The peer gets a moment to take the answer: a close with unread
    /// input in the socket would reset the connection and could lose it (RFC 9112 §9.6).
    fn shut(&mut self, index: u32, now: Now) -> Flushed {
        self.drop_side(index);
        if self.slot(index).marks.has(Marks::INPUT_ENDED) {
            self.remove(index);
            return Flushed::Close;
        }
        let slot = self.slot_mut(index);
        slot.state = State::Lingering;
        // From now on it counts what is thrown away.
        slot.position = 0;
        self.timers.set(&mut self.connections, index, Class::Linger, now.tick);
        if self.slot(index).marks.has(Marks::UNREAD) {
            self.list(index);
        }
        Flushed::Shut
    }

    /// Whether a connection has something to send.
    pub(super) fn has_output(&self, index: u32) -> bool {
        let slot = self.slot(index);
        let in_side = self.sides.get(slot.side as usize).is_some_and(|side| !side.outbox.is_empty());
        in_side || slot.answer != NOWHERE || self.out_of == index && !self.out.is_empty()
    }

    /// Output in one piece at a connection of its own, in bytes.
    pub(super) fn own_output_len(&self, index: u32) -> usize {
        if self.out_of == index { self.out.len() } else { 0 }
    }

    /// Moves what the last connection was not able to send to its side.
    pub(super) fn stash_output(&mut self) {
        let index = self.out_of;
        if index != NOWHERE && !self.out.is_empty() && self.connections.contains(index as usize) {
            let rest = self.out.get(self.out_sent..).unwrap_or_default().to_vec();
            let side = self.side_mut(index);
            if side.outbox.is_empty() {
                side.outbox = rest;
                side.sent = 0;
            } else {
                side.outbox.extend_from_slice(&rest);
            }
            self.recount_side(index);
        }
        self.clear_out();
    }

    fn clear_out(&mut self) {
        self.out.clear();
        self.out_sent = 0;
        self.out_of = NOWHERE;
        // One large answer must not keep its buffer for ever.
        self.out.shrink_to(crate::limits::OUTPUT_BYTES_MAX);
    }

    /// Forgets what a connection had to send.
    pub(super) fn drop_output(&mut self, index: u32) {
        if self.out_of == index {
            self.clear_out();
        }
        self.finish_shared(index);
    }

    /// Has the reader taken enough since it was last judged? If not, it is cut off.
    pub(super) fn judge_reader(&mut self, index: u32, now: Now) {
        if !self.slot(index).marks.has(Marks::BLOCKED) {
            // It waits for us.
            return self.timers.set(&mut self.connections, index, Class::Progress, now.tick);
        }
        let side = self.side_mut(index);
        if side.progress >= PROGRESS_BYTES {
            side.progress = 0;
            self.timers.set(&mut self.connections, index, Class::Progress, now.tick);
        } else {
            self.counters.connections_too_slow += 1;
            self.cut_off(index);
        }
    }

    /// Has enough of the body come since it was last judged? If not, 408.
    pub(super) fn judge_body(&mut self, index: u32, now: Now) {
        let side = self.side_mut(index);
        if side.progress >= PROGRESS_BYTES {
            side.progress = 0;
            self.timers.set(&mut self.connections, index, Class::Progress, now.tick);
        } else {
            self.refuse_slow(index, Refusal::BodyTooSlow, now);
        }
    }

    /// The head is not complete in time: 408 if any of it came, else a silent close.
    pub(super) fn refuse_slow_head(&mut self, index: u32, now: Now) {
        self.refuse_slow(index, Refusal::HeadTooSlow, now);
    }

    fn refuse_slow(&mut self, index: u32, reason: Refusal, now: Now) {
        self.counters.connections_too_slow += 1;
        self.drop_side(index);
        // Of the request before it may be known that it was a HEAD; of this one it is not.
        self.slot_mut(index).marks.clear(Marks::OF_REQUEST);
        self.refuse(index, &reason.into(), now);
        self.stash_output();
        self.slot_mut(index).state = State::Sending;
        self.timers.set(&mut self.connections, index, Class::Progress, now.tick);
        self.list(index);
    }
}

pub(super) fn persistence(marks: Marks) -> Persistence {
    if marks.has(Marks::CLOSE) {
        Persistence::Close
    } else if marks.has(Marks::HTTP10) {
        Persistence::KeepAliveHttp10
    } else {
        Persistence::KeepAlive
    }
}

pub(super) fn cors(origins: &[String], number: u8) -> Option<Cors<'_>> {
    if origins.is_empty() {
        return None;
    }
    let at = usize::from(number).checked_sub(1);
    Some(Cors { allow_origin: at.and_then(|at| origins.get(at)).map(String::as_str) })
}

/// The answer for whoever cannot be let in at all, complete with its head.
pub fn full_house(now: Now) -> Vec<u8> {
    let mut body = Vec::new();
    write_problem_body(Refusal::Overloaded, Some("This node has no room for another connection."), &mut body);
    let mut retry = Vec::new();
    push_decimal(&mut retry, RETRY_AFTER_S);
    let mut out = Vec::new();
    let head = Head {
        status: 503,
        content_type: Some(PROBLEM_JSON),
        content_length: Some(body.len()),
        date: &crate::wire::http::date::http_date(now.wall),
        connection: Persistence::Close,
        cors: None,
        extra: &[("Retry-After", std::str::from_utf8(&retry).unwrap_or("1"))],
    };
    head.write(&mut out);
    out.extend_from_slice(&body);
    out
}
