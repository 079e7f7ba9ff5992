//! Nothing is missing for long: entries in their order, digests, pulls, snapshots.
//!
//! An entry is handed out only if it is the next of its origin. One that came early is held, if
//! there is room, and what is missing before it is pulled, from its origin if that is there and
//! gives, else from any peer that has it. Who is told that the logs no longer reach back that far
//! asks for a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::link::Link;
use super::{Cluster, Event};
use crate::cursor::VersionVector;
use crate::ids::{LinkId, MessageId, Origin};
use crate::limits::{
    EARLY_BYTES_MAX, EARLY_ENTRIES_MAX, ORIGINS_MAX, PULL_ENTRIES_MAX, PULL_MS, SNAPSHOT_SILENT_MS,
};
use crate::planted::Bug;
use crate::sorted::SortedMap;
use crate::time::{Now, Tick};
use crate::wire::frame::message::{Bye, Digest, Pull, Truncated, entry_id, write_snapshot_request};
use crate::wire::frame::{ACK_WANTED, Frame, Kind};

/// What is missing, and what is done about it.
#[derive(Debug, Default)]
pub(super) struct Replication {
    /// Entries that came before one that is missing, by origin and number.
    early: BTreeMap<(Origin, u64), Arc<[u8]>>,
    early_bytes: usize,
    /// Origins of which something is missing.
    missing: SortedMap<Origin, Missing>,
    /// The snapshot that is being taken.
    taking: Option<Taking>,
    /// Someone has said what there is: it is to be compared with what is here, once for all that was read.
    pub(super) has_news: bool,
}

/// What is missing of one origin.
#[derive(Clone, Copy, Debug)]
struct Missing {
    /// What we had when there was last progress, and when that was.
    have: u64,
    since: Tick,
    /// Whom we asked, and up to which entry.
    asked: Option<(LinkId, u64)>,
    /// How often, to ask another the next time.
    times: usize,
}

/// A snapshot that is being taken.
#[derive(Clone, Copy, Debug)]
struct Taking {
    from: LinkId,
    /// When the last piece came.
    heard: Tick,
}

impl Replication {
    pub fn bytes(&self) -> usize {
        self.early_bytes
    }
}

// -- Frames of a peer --------------------------------------------------------------------

impl Cluster {
    pub(super) fn handle_peer_frame(&mut self, id: LinkId, frame: &Frame, bytes: &[u8], now: Now) {
        match frame.kind {
            Kind::ENTRY => {
                let Ok(entry) = entry_id(frame) else { return self.end_misunderstood(id, now) };
                self.handle_entry(id, entry, frame.flags, bytes, now);
            }
            Kind::DIGEST => match Digest::parse(frame) {
                Ok(digest) => self.handle_digest(id, &digest),
                Err(_) => self.end_misunderstood(id, now),
            },
            Kind::PULL => {
                let Ok(mut pull) = Pull::parse(frame.meta) else { return self.end_misunderstood(id, now) };
                pull.from += u64::from(self.setup.planted.is(Bug::PullOffByOne));
                if let Some(peer) = self.link(id).and_then(Link::peer_mut) {
                    peer.pull(&pull);
                    self.list(id);
                }
            }
            Kind::TRUNCATED => {
                let Ok(truncated) = Truncated::parse(frame.meta) else {
                    return self.end_misunderstood(id, now);
                };
                let lacks = self.have.seq(truncated.origin).saturating_add(1) < truncated.first;
                if lacks && !self.setup.planted.is(Bug::NoSnapshotWhenTruncated) {
                    self.ask_snapshot(id, now.tick);
                }
            }
            Kind::SNAPSHOT => {
                if let Some(peer) = self.link(id).and_then(Link::peer_mut) {
                    peer.snapshot = true;
                    self.events.push_back(Event::SnapshotAsked(id));
                    self.list(id);
                }
            }
            Kind::PIECE => self.handle_piece(id, bytes, now),
            Kind::BYE => {
                let reason = Bye::parse(frame.meta).map_or_else(|_| String::new(), |bye| bye.reason);
                ::log::info!("a peer ends its link: {}", reason.escape_debug());
                self.close(id, now);
            }
            // A later version may say more.
            _ => {}
        }
    }

    fn end_misunderstood(&mut self, id: LinkId, now: Now) {
        if let Some(link) = self.link(id) {
            let address = link.address;
            self.refuse(address, &"a frame is not what its kind says", now.tick);
        }
        self.end(id, "a frame is not what its kind says", now);
    }

    fn handle_entry(&mut self, link: LinkId, id: MessageId, flags: u8, bytes: &[u8], now: Now) {
        let own = self.setup.origin;
        if let Some(peer) = self.link(link).and_then(Link::peer_mut) {
            if id.origin != own {
                peer.note(id.origin, id.seq);
            }
            peer.tell |= flags & ACK_WANTED != 0;
            if peer.tell {
                self.list(link);
            }
        }
        let have = self.have.seq(id.origin);
        if id.origin == self.setup.origin || id.seq <= have {
            self.counts.repeated += 1;
        } else if have == 0 && self.have.len() >= ORIGINS_MAX {
            // It can be pulled once others are forgotten.
            self.refuse_origin(link, now);
        } else if id.seq == have + 1 || self.setup.planted.is(Bug::ApplyOutOfOrder) {
            self.hand_out(id, bytes.into());
            self.hand_out_early(id.origin);
        } else {
            self.hold_early(id, bytes);
        }
    }

    fn refuse_origin(&mut self, id: LinkId, now: Now) {
        if let Some(link) = self.link(id) {
            let address = link.address;
            self.refuse(address, &"it tells of more origins than can be remembered", now.tick);
        }
    }

    /// Whether all of a snapshot's origins can be remembered.
    pub fn has_room_for(&self, head: &VersionVector) -> bool {
        let added = head.iter().filter(|(origin, _)| self.have.seq(*origin) == 0).count();
        self.have.len() + added <= ORIGINS_MAX
    }

    /// An entry that is the next of its origin.
    fn hand_out(&mut self, id: MessageId, frame: Arc<[u8]>) {
        self.have.set(id.origin, id.seq);
        self.counts.entries += 1;
        self.logs.append(id, frame.clone(), self.log_bytes_max());
        self.events.push_back(Event::Entry(id, frame));
    }

    /// What had come early and is next now.
    fn hand_out_early(&mut self, origin: Origin) {
        if self.replication.early.is_empty() {
            return;
        }
        loop {
            let next = self.have.seq(origin) + 1;
            let Some(frame) = self.replication.early.remove(&(origin, next)) else { break };
            self.replication.early_bytes -= frame.len();
            if self.setup.planted.is(Bug::EarlyDropped) {
                self.have.set(origin, next);
                continue;
            }
            self.hand_out(MessageId { origin, seq: next }, frame);
        }
        let have = self.have.seq(origin);
        let stale: Vec<u64> = self.early_of(origin).take_while(|seq| *seq <= have).collect();
        for seq in stale {
            self.drop_early(origin, seq);
        }
    }

    fn early_of(&self, origin: Origin) -> impl Iterator<Item = u64> + '_ {
        self.replication.early.range((origin, 0)..=(origin, u64::MAX)).map(|(key, _)| key.1)
    }

    fn drop_early(&mut self, origin: Origin, seq: u64) {
        if let Some(frame) = self.replication.early.remove(&(origin, seq)) {
            self.replication.early_bytes -= frame.len();
        }
    }

    /// Keeps an entry until what is missing before it has come; without room it will be pulled.
    fn hold_early(&mut self, id: MessageId, bytes: &[u8]) {
        self.counts.early += 1;
        if self.setup.planted.is(Bug::DigestAhead) {
            self.have.set(id.origin, id.seq);
        }
        let key = (id.origin, id.seq);
        let replication = &mut self.replication;
        let has_room = replication.early_bytes + bytes.len() <= EARLY_BYTES_MAX
            && replication.early.len() < EARLY_ENTRIES_MAX;
        if has_room && !replication.early.contains_key(&key) {
            replication.early_bytes += bytes.len();
            replication.early.insert(key, bytes.into());
        }
    }

    fn handle_digest(&mut self, id: LinkId, digest: &Digest) {
        let (own, own_head) = (self.setup.origin, self.have.seq(self.setup.origin));
        let planted = self.setup.planted;
        let Some(peer) = self.link(id).and_then(Link::peer_mut) else { return };
        let resumes = !peer.digested && planted.is(Bug::ResumeTooFar);
        peer.digest(digest, own, own_head);
        if resumes {
            peer.skip_one();
        }
        self.replication.has_news = true;
        self.list(id);
    }
}

// -- What is missing -----------------------------------------------------------------------

impl Cluster {
    /// Asks for what others have and we lack.
    pub(super) fn pull_missing(&mut self, now: Tick) {
        let forgets = self.setup.planted.is(Bug::NoPull);
        if self.replication.taking.is_some() || self.joining.is_meeting() || forgets {
            return self.give_up_silent_snapshot(now);
        }
        let mut lacking = VersionVector::default();
        for peer in self.links.iter().filter_map(|(_, link)| link.peer()) {
            let lacks = |(origin, seq): &(Origin, u64)| *seq > self.have.seq(*origin);
            peer.has.iter().filter(lacks).for_each(|(origin, seq)| lacking.raise(origin, seq));
        }
        lacking.set(self.setup.origin, 0);
        self.replication.missing.retain(|origin, _| lacking.seq(*origin) > 0);
        for (origin, _) in lacking.iter() {
            self.pull(origin, now);
        }
    }

    /// Asks for one origin's missing entries, unless they are on their way.
    fn pull(&mut self, origin: Origin, now: Tick) {
        let have = self.have.seq(origin);
        if have == 0 && self.have.len() >= ORIGINS_MAX {
            return;
        }
        let fresh = || Missing { have, since: now, asked: None, times: 0 };
        let missing = self.replication.missing.get_or_insert_with(origin, fresh);
        if missing.have != have {
            (missing.have, missing.since) = (have, now);
        }
        let Missing { since, asked, times, .. } = *missing;
        let answers = asked.is_some_and(|(link, upto)| have < upto && self.is_up(link));
        let pushes = self.peers().any(|peer| peer.hello.origin == origin && peer.has.seq(origin) > have);
        if now.since_ms(since) < PULL_MS && (answers || pushes) {
            return;
        }
        let able: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| {
                link.peer().is_some_and(|peer| peer.has.seq(origin) > have && peer.takes_questions())
            })
            .map(|(index, link)| LinkId { index: index as u32, generation: link.generation })
            .collect();
        let Some(id) = able.get(times % able.len().max(1)).copied() else { return };
        self.counts.pulls += 1;
        let Some(peer) = self.link(id).and_then(Link::peer_mut) else { return };
        let to = peer.has.seq(origin).min(have.saturating_add(PULL_ENTRIES_MAX));
        Pull { origin, from: have + 1, to }.write(&mut peer.urgent);
        if let Some(missing) = self.replication.missing.get_mut(&origin) {
            *missing = Missing { have, since: now, asked: Some((id, to)), times: times + 1 };
        }
        self.list(id);
    }
}

// -- Snapshots -----------------------------------------------------------------------------

impl Cluster {
    /// Whether a snapshot is being taken.
    pub fn takes_snapshot(&self) -> bool {
        self.replication.taking.is_some()
    }

    /// Asks a peer for a snapshot, unless one is being taken already.
    pub(super) fn ask_snapshot(&mut self, id: LinkId, now: Tick) {
        if self.replication.taking.is_some() {
            return;
        }
        let Some(peer) = self.link(id).and_then(Link::peer_mut) else { return };
        write_snapshot_request(&mut peer.urgent);
        ::log::info!("asking {} for a snapshot", peer.hello.node);
        self.replication.taking = Some(Taking { from: id, heard: now });
        self.events.push_back(Event::SnapshotBegins);
        self.list(id);
    }

    fn handle_piece(&mut self, id: LinkId, bytes: &[u8], now: Now) {
        if let Some(taking) = &mut self.replication.taking
            && taking.from == id
        {
            taking.heard = now.tick;
            self.events.push_back(Event::Piece(bytes.into()));
        }
    }

    /// The snapshot was installed: the node has all that `known` covers.
    pub fn handle_installed(&mut self, known: &VersionVector, now: Now) {
        self.replication.taking = None;
        self.counts.snapshots += 1;
        for (origin, seq) in known.iter() {
            self.have.raise(origin, seq);
            self.hand_out_early(origin);
        }
        self.list_all();
        self.pull_missing(now.tick);
    }

    /// The snapshot was no good, or there was no room for it.
    pub fn handle_not_installed(&mut self, now: Now) {
        if let Some(Taking { from, .. }) = self.replication.taking.take() {
            self.end(from, "the snapshot cannot be used", now);
        }
    }

    /// The link that a snapshot came over is no more.
    pub(super) fn snapshot_source_lost(&mut self, id: LinkId) {
        self.replication.taking.take_if(|taking| taking.from == id);
    }

    /// More of a frame came that is not whole: a large message may take long, and to begin anew
    /// would never end.
    pub(super) fn snapshot_goes_on(&mut self, id: LinkId, now: Tick) {
        if let Some(taking) = &mut self.replication.taking
            && taking.from == id
        {
            taking.heard = now;
        }
    }

    fn give_up_silent_snapshot(&mut self, now: Tick) {
        self.replication.taking.take_if(|taking| now.since_ms(taking.heard) >= SNAPSHOT_SILENT_MS);
    }
}
