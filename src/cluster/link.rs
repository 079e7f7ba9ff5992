//! One link: a connection to another node, from its first byte to its end.
//!
//! ```text
//!   Dialing ──▶ Shaking ──▶ Up ──▶ Ending ──▶ (closed)
//!                  └────────────────▲ refused, with the reason
//! ```
//!
//! Nothing is queued for a peer that could be had from the logs: a link holds positions in them
//! and fills its one buffer from there whenever the last was sent. A peer that is slow therefore
//! costs this much and no more; one that is too slow finds its position gone and takes a snapshot.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::log::Logs;
use crate::cursor::VersionVector;
use crate::ids::{MessageId, Origin};
use crate::limits::{DIGEST_MS, HEARTBEAT_MS, LINK_OUTPUT_BYTES, ORIGINS_MAX, PULLS_SERVED_MAX};
use crate::time::Tick;
use crate::wire::frame::handshake::{Handshake, Role};
use crate::wire::frame::message::{Digest, Hello, Pull, Truncated};

/// What a link is doing.
#[derive(Debug)]
pub(super) enum Phase {
    /// The connection is being made.
    Dialing,
    /// Both sides say who they are.
    Shaking(Box<Handshake>),
    /// Both sides proved to belong.
    Up(Box<Peer>),
    /// What is left is sent, then the connection is closed.
    Ending,
}

/// A connection to another node.
#[derive(Debug)]
pub(super) struct Link {
    /// Which owner of its place this is.
    pub generation: u32,
    /// Who connected to whom.
    pub role: Role,
    /// The other end: where it was called, or where it calls from.
    pub address: SocketAddr,
    /// What it is doing.
    pub phase: Phase,
    /// When a phase that must not last is over.
    pub until: Tick,
    /// When something last came from it.
    pub heard: Tick,
    /// A frame that is not whole.
    pub inbox: Vec<u8>,
    /// What is being sent.
    pub out: Vec<u8>,
    /// How much of it is.
    pub sent: usize,
    /// It stands in the list of those with something to send.
    pub listed: bool,
    /// Bytes sent since it is up.
    pub sent_bytes: u64,
    /// Bytes received since it is up.
    pub received_bytes: u64,
}

impl Link {
    /// A link whose connection is being made or was accepted.
    pub fn new(generation: u32, role: Role, address: SocketAddr, until: Tick, now: Tick) -> Link {
        Link {
            generation,
            role,
            address,
            phase: Phase::Dialing,
            until,
            heard: now,
            inbox: Vec::new(),
            out: Vec::new(),
            sent: 0,
            listed: false,
            sent_bytes: 0,
            received_bytes: 0,
        }
    }

    /// The peer, once it has proved to be one.
    pub fn peer(&self) -> Option<&Peer> {
        match &self.phase {
            Phase::Up(peer) => Some(peer),
            _ => None,
        }
    }

    /// The same, to change.
    pub fn peer_mut(&mut self) -> Option<&mut Peer> {
        match &mut self.phase {
            Phase::Up(peer) => Some(peer),
            _ => None,
        }
    }

    /// Whether something is left of what is being sent.
    pub fn has_output(&self) -> bool {
        self.sent < self.out.len()
    }

    /// Fills the empty buffer with what the peer should have next.
    pub fn fill(&mut self, own: &Own, logs: &Logs, now: Tick) {
        if self.has_output() {
            return;
        }
        self.out.clear();
        self.sent = 0;
        if let Phase::Up(peer) = &mut self.phase {
            peer.fill(own, logs, &mut self.out, now);
        }
        self.out.shrink_to(4 * LINK_OUTPUT_BYTES);
    }
}

/// What a link's output depends on, of this node.
pub(super) struct Own<'a> {
    /// This node's origin.
    pub origin: Origin,
    /// What it has applied.
    pub have: &'a VersionVector,
    /// It has caught up.
    pub ready: bool,
}

/// Entries of one origin that the peer asked for.
#[derive(Clone, Copy, Debug)]
struct Serving {
    origin: Origin,
    next: u64,
    upto: u64,
}

/// A node at the other end, with what it has and what it is to be given.
#[derive(Debug)]
pub(super) struct Peer {
    /// Who it is.
    pub hello: Hello,
    /// What it has, as far as is known.
    pub has: VersionVector,
    /// It has said what it has.
    pub digested: bool,
    /// It has said that it has caught up.
    pub ready: bool,
    /// What it was told that we have; `None` before the first time.
    told: Option<VersionVector>,
    told_ready: bool,
    told_at: Tick,
    /// It is to be told at once.
    pub tell: bool,
    /// The next entry of this node's own log that it is to be given.
    next_own: u64,
    /// The log no longer reaches back to what it needs.
    behind: bool,
    pulls: VecDeque<Serving>,
    /// Frames that go out before entries do.
    pub urgent: Vec<u8>,
    /// A snapshot's pieces that are ready to go.
    pub pieces: Vec<u8>,
    /// It is being sent a snapshot.
    pub snapshot: bool,
}

impl Peer {
    /// A peer that has just proved to be one.
    pub fn new(hello: Hello) -> Peer {
        Peer {
            hello,
            has: VersionVector::default(),
            digested: false,
            ready: false,
            told: None,
            told_ready: false,
            told_at: Tick(0),
            tell: false,
            next_own: 1,
            behind: false,
            pulls: VecDeque::new(),
            urgent: Vec::new(),
            pieces: Vec::new(),
            snapshot: false,
        }
    }

    /// It has that entry and all before it. Of origins beyond those that can be remembered nothing is noted.
    pub fn note(&mut self, origin: Origin, seq: u64) {
        if self.has.len() < ORIGINS_MAX || self.has.seq(origin) > 0 {
            self.has.raise(origin, seq);
        }
    }

    /// Whether it can be asked for more: it has taken what it was asked.
    pub fn takes_questions(&self) -> bool {
        self.urgent.len() < LINK_OUTPUT_BYTES
    }

    /// It says what it has.
    pub fn digest(&mut self, digest: &Digest, own: Origin, own_head: u64) {
        for (origin, seq) in digest.have.iter() {
            // Nobody can have more of our log than there is.
            self.note(origin, if origin == own { seq.min(own_head) } else { seq });
        }
        self.ready = digest.ready;
        self.digested = true;
        let known = self.has.seq(own) + 1;
        if self.behind || known > self.next_own {
            self.behind = false;
            self.next_own = known;
        }
    }

    /// It asks for entries.
    pub fn pull(&mut self, pull: &Pull) {
        if self.pulls.len() < PULLS_SERVED_MAX {
            self.pulls.push_back(Serving { origin: pull.origin, next: pull.from, upto: pull.to });
        }
    }

    /// Whether all of this node's own log was handed to the connection.
    pub fn was_given_all(&self, own: &Own) -> bool {
        self.next_own > own.have.seq(own.origin)
    }

    /// Leaves one entry out: a bug for the simulator to find.
    pub fn skip_one(&mut self) {
        self.next_own += 1;
    }

    /// Counts what it was given as if it had said that it has it: a bug for the simulator to find.
    pub fn count_sent(&mut self, own: &Own) {
        self.has.raise(own.origin, self.next_own.saturating_sub(1));
    }

    /// Whether it is being given the entries of its own accord: whoever begins with nothing takes
    /// a snapshot first.
    fn takes_pushes(&self) -> bool {
        let has_others = || self.has.iter().any(|(origin, _)| origin != self.hello.origin);
        self.digested && !self.behind && (self.ready || has_others())
    }

    /// Whether there would be something to fill a buffer with.
    pub fn wants_output(&self, own: &Own, now: Tick) -> bool {
        let pushes = self.takes_pushes() && !self.was_given_all(own);
        !self.urgent.is_empty()
            || !self.pieces.is_empty()
            || !self.pulls.is_empty()
            || pushes
            || self.owes_digest(own, now)
    }

    fn owes_digest(&self, own: &Own, now: Tick) -> bool {
        let Some(told) = &self.told else { return true };
        let news = self.told_ready != own.ready || told != own.have;
        let since = now.since_ms(self.told_at);
        news && (self.tell || since >= DIGEST_MS) || since >= HEARTBEAT_MS
    }

    fn fill(&mut self, own: &Own, logs: &Logs, out: &mut Vec<u8>, now: Tick) {
        out.append(&mut self.urgent);
        if self.owes_digest(own, now) {
            self.write_digest(own, out, now);
        }
        self.tell = false;
        if self.takes_pushes() {
            self.push_own(own, logs, out);
        }
        self.serve_pulls(own, logs, out);
        if out.len() < LINK_OUTPUT_BYTES {
            out.append(&mut self.pieces);
        }
    }

    /// Tells what changed since it was told last; the first time everything.
    fn write_digest(&mut self, own: &Own, out: &mut Vec<u8>, now: Tick) {
        let mut have = VersionVector::default();
        let told = self.told.get_or_insert_default();
        let full = told.is_empty();
        own.have
            .iter()
            .filter(|(origin, seq)| told.seq(*origin) < *seq)
            .for_each(|(o, seq)| have.set(o, seq));
        Digest { have, full, ready: own.ready }.write(out);
        told.clone_from(own.have);
        self.told_ready = own.ready;
        self.told_at = now;
    }

    /// Gives it what is new in this node's own log (paper §3.4, publication).
    fn push_own(&mut self, own: &Own, logs: &Logs, out: &mut Vec<u8>) {
        while out.len() < LINK_OUTPUT_BYTES && !self.was_given_all(own) {
            let id = MessageId { origin: own.origin, seq: self.next_own };
            let Some(frame) = logs.frame(id) else {
                self.behind = true;
                let first = logs.first(own.origin).unwrap_or(own.have.seq(own.origin) + 1);
                return Truncated { origin: own.origin, first }.write(out);
            };
            out.extend_from_slice(frame);
            self.next_own += 1;
        }
    }

    /// Gives it the entries that it asked for, of whatever origin.
    fn serve_pulls(&mut self, own: &Own, logs: &Logs, out: &mut Vec<u8>) {
        while out.len() < LINK_OUTPUT_BYTES
            && let Some(serving) = self.pulls.front_mut()
        {
            let Serving { origin, next, upto } = *serving;
            match logs.frame(MessageId { origin, seq: next }) {
                Some(frame) if next <= upto => {
                    out.extend_from_slice(frame);
                    serving.next += 1;
                }
                None if next <= upto && logs.first(origin).is_none_or(|first| first > next) => {
                    let first = logs.first(origin).unwrap_or(own.have.seq(origin).saturating_add(1));
                    Truncated { origin, first }.write(out);
                    self.pulls.pop_front();
                }
                _ => {
                    self.pulls.pop_front();
                }
            }
        }
    }
}
