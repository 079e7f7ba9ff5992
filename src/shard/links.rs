//! The shard's side of the cluster: what this node does becomes entries of its log, what others
//! did is applied here, in their order.
//!
//! A shard without a cluster has none of this, and its queue keeps no log.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Shard;
use super::acknowledge::Waiting;
use super::team::{Change, Team};
use crate::channel::queue::{Applied, Fates, Snapshot, Staged};
use crate::cluster::{Cluster, Event, Setup};
use crate::ids::{LinkId, MessageId, Origin};
use crate::limits::{
    ANSWER_MESSAGES_MAX, EXPIRY_PATIENCE_MS, FRAME_BYTES_MAX, PIECES_BYTES, RETIRE_MS, WARNING_MS,
};
use crate::session::{peer, roster};
use crate::time::{Now, Tick};
use crate::wire::frame::{ACK_WANTED, decode};

/// All that a shard has for the cluster.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) cluster: Cluster,
    /// The snapshot that is being taken.
    staged: Staged,
    /// Snapshots that are being given.
    giving: Vec<(LinkId, Snapshot)>,
    /// Publishers that wait for acknowledgements.
    pub(super) waiting: Waiting,
    /// What is logged next is to be acknowledged at once.
    pub(super) ack_wanted: bool,
    next_retirement: Tick,
    /// When an entry that is not understood was last logged.
    warned: Option<Tick>,
    /// Where frames are written.
    frame: Vec<u8>,
}

// -- Its connections -------------------------------------------------------------------

impl Shard {
    /// Makes this node one of a cluster's.
    pub fn join_cluster(&mut self, setup: Setup, now: Now) {
        self.queue.set_replicated(true);
        self.queue.set_planted(setup.planted);
        self.links = Some(Box::new(Links {
            cluster: Cluster::new(setup, now),
            staged: Staged::default(),
            giving: Vec::new(),
            waiting: Waiting::default(),
            ack_wanted: false,
            next_retirement: now.tick.plus_ms(RETIRE_MS),
            warned: None,
            frame: Vec::new(),
        }));
    }

    /// A peer was accepted on the cluster's listener; `None` if there is no room for it.
    pub fn open_link(&mut self, from: SocketAddr, now: Now) -> Option<LinkId> {
        self.links.as_mut()?.cluster.accept(from, now)
    }

    /// The next address to connect to; its fate is told by [`Shard::handle_link_up`] or
    /// [`Shard::handle_link_down`].
    pub fn poll_dial(&mut self, now: Now) -> Option<(LinkId, SocketAddr)> {
        self.links.as_mut()?.cluster.poll_dial(now)
    }

    /// The connection that was asked for stands.
    pub fn handle_link_up(&mut self, link: LinkId, now: Now) {
        if let Some(links) = &mut self.links {
            links.cluster.handle_up(link, now);
        }
    }

    /// The connection failed or ended.
    pub fn handle_link_down(&mut self, link: LinkId, now: Now) {
        if let Some(links) = &mut self.links {
            links.cluster.handle_down(link, now);
            self.settle_links(now);
        }
    }

    /// Bytes from a peer.
    pub fn handle_link_input(&mut self, link: LinkId, input: &[u8], now: Now) {
        if let Some(links) = &mut self.links {
            links.cluster.handle_input(link, input, now);
            self.settle_links(now);
        }
    }

    /// The next link that has something to send since it was last asked for.
    pub fn poll_link_listed(&mut self) -> Option<LinkId> {
        self.links.as_mut()?.cluster.poll_listed()
    }

    /// What a link has to send; empty for nothing.
    pub fn link_output(&mut self, link: LinkId, now: Now) -> &[u8] {
        self.give_pieces(link, now);
        match &mut self.links {
            Some(links) => links.cluster.output(link, now),
            None => &[],
        }
    }

    /// So much of it went by.
    pub fn handle_link_sent(&mut self, link: LinkId, len: usize, now: Now) {
        if let Some(links) = &mut self.links {
            links.cluster.handle_sent(link, len, now);
        }
    }

    /// The next link whose socket is to be closed.
    pub fn poll_link_closed(&mut self) -> Option<LinkId> {
        self.links.as_mut()?.cluster.poll_closed()
    }

    /// A datagram came to the cluster's address.
    pub fn handle_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Now) {
        if let Some(links) = &mut self.links {
            links.cluster.handle_datagram(from, bytes, now);
        }
    }

    /// The next datagram to send.
    pub fn poll_datagram(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.links.as_mut()?.cluster.poll_datagram()
    }

    /// Whether every peer was given all that this node did.
    pub fn links_flushed(&self) -> bool {
        self.links.as_ref().is_none_or(|links| links.cluster.is_flushed())
    }

    /// Whether this node holds what the others held when it came.
    pub fn is_ready(&self) -> bool {
        if let Some(Team::Follower(follower)) = &self.team {
            return follower.is_ready();
        }
        self.links.as_ref().is_none_or(|links| links.cluster.is_ready())
    }

    /// When the cluster wants [`Shard::handle_time`].
    pub(super) fn links_deadline(&self) -> Option<Tick> {
        self.links.as_ref().map(|links| links.cluster.next_deadline())
    }

    /// What an operator is told; `None` without a cluster.
    pub(super) fn cluster_page(&self) -> Option<String> {
        self.links.as_ref().map(|links| roster::write(&links.cluster.view()))
    }

    /// Memory in use for the cluster, in bytes.
    pub(super) fn links_bytes(&self) -> usize {
        self.links
            .as_ref()
            .map_or(0, |links| links.cluster.bytes() + links.staged.bytes() + links.waiting.bytes())
    }

    /// Of them, those of the logs, as far as these have a bound of their own.
    pub(super) fn log_bytes(&self) -> usize {
        self.links.as_ref().map_or(0, |links| links.cluster.log_bytes())
    }

    /// Whether an origin is a member's, of which something may be on its way.
    pub(super) fn expects(&self, origin: Origin) -> bool {
        if let Some(Team::Follower(follower)) = &self.team {
            return follower.expects(origin);
        }
        self.links.as_ref().is_some_and(|links| links.cluster.expects(origin))
    }

    /// Whether an origin of which nothing is known here is unknown everywhere.
    pub(super) fn is_settled(&self) -> bool {
        if let Some(Team::Follower(follower)) = &self.team {
            return follower.is_settled();
        }
        self.links.as_ref().is_none_or(|links| links.cluster.is_settled())
    }
}

// -- Entries ---------------------------------------------------------------------------

impl Shard {
    /// Hands what this node did to other nodes and shards.
    pub(super) fn log_out(&mut self) {
        if self.links.is_none() && self.team.is_none() {
            return;
        }
        let log = self.queue.take_log();
        if let Some(links) = &mut self.links {
            let flags = if std::mem::take(&mut links.ack_wanted) { ACK_WANTED } else { 0 };
            for entry in &log {
                links.frame.clear();
                peer::write_entry(entry, flags, &mut links.frame);
                links.cluster.append(entry.id.seq, Arc::from(&links.frame[..]));
            }
        }
        if let Some(Team::Hub(hub)) = &mut self.team {
            log.iter().for_each(|entry| hub.note_entry(entry));
            hub.close_group(self.queue.head().seq(self.queue.origin()));
        }
    }

    /// Does what the cluster asks for, and answers whoever waited for it.
    fn settle_links(&mut self, now: Now) {
        let together = self.settings.bounds.channel_messages_max.min(ANSWER_MESSAGES_MAX);
        let mut applied = 0;
        while let Some(event) = self.links.as_mut().and_then(|links| links.cluster.poll_event()) {
            match event {
                Event::Entry(id, frame) => {
                    self.apply_entry(id, &frame, now);
                    applied += 1;
                    if applied % together == 0 {
                        // Before a channel drops what those who wait on it have not been given.
                        self.deliver(now);
                    }
                }
                Event::SnapshotAsked(link) => self.begin_giving(link),
                Event::SnapshotBegins => drop(self.take_staged()),
                Event::Piece(frame) if self.takes_snapshot() => self.take_piece(&frame, now),
                // It came behind the end.
                Event::Piece(_) => {}
            }
        }
        self.deliver(now);
        self.answer_acknowledged(now);
    }

    fn apply_entry(&mut self, id: MessageId, frame: &[u8], now: Now) {
        let entry = match decode(frame, FRAME_BYTES_MAX) {
            Ok(Some((frame, _))) => peer::parse_entry(&frame).ok(),
            _ => None,
        };
        let Some(entry) = entry else {
            // Of a later version perhaps: what follows in its log must not wait for it.
            self.counters.entries_dropped += 1;
            self.note_misunderstood(id, now);
            if let Some(hub) = self.hub() {
                hub.note(Change::PassOver(id));
            }
            return self.queue.pass_over(id);
        };
        if let Some(hub) = self.hub() {
            hub.note_entry(&entry);
        }
        match self.queue.apply(entry, now) {
            Applied::Message(Fates { closed, no_room, .. }) => {
                self.counters.entries_dropped += (closed + no_room) as u64;
            }
            Applied::NoRoom | Applied::OutOfTurn => self.counters.entries_dropped += 1,
            Applied::Changed | Applied::Void => {}
        }
    }
}

impl Shard {
    /// All of a later version's log may be so: it must not fill ours.
    fn note_misunderstood(&mut self, id: MessageId, now: Now) {
        let Some(links) = &mut self.links else { return };
        if links.warned.is_none_or(|warned| now.tick.since_ms(warned) >= WARNING_MS) {
            links.warned = Some(now.tick);
            let count = self.counters.entries_dropped;
            log::warn!("entry {id} is not understood; {count} entries were dropped so far");
        }
    }
}

// -- Snapshots -------------------------------------------------------------------------

impl Shard {
    fn begin_giving(&mut self, link: LinkId) {
        let position = self.queue.snapshot();
        let Some(links) = &mut self.links else { return };
        links.giving.retain(|(other, _)| *other != link);
        links.giving.push((link, position));
    }

    /// More of the snapshot that a link is being given, if it has room for it.
    fn give_pieces(&mut self, link: LinkId, now: Now) {
        let Some(links) = &mut self.links else { return };
        let Some(at) = links.giving.iter().position(|(other, _)| *other == link) else { return };
        if !links.cluster.wants_pieces(link) {
            return;
        }
        let mut pieces = Vec::new();
        let (_, position) = &mut links.giving[at];
        self.queue.next_pieces(position, PIECES_BYTES, now, &mut pieces);
        let mut frames = Vec::new();
        pieces.iter().for_each(|piece| peer::write_piece(piece, &mut frames));
        let last = position.is_over();
        links.cluster.push_pieces(link, &mut frames, last);
        if last {
            links.giving.swap_remove(at);
        }
    }

    fn takes_snapshot(&self) -> bool {
        self.links.as_ref().is_some_and(|links| links.cluster.takes_snapshot())
    }

    fn take_staged(&mut self) -> Staged {
        self.links.as_mut().map_or_else(Staged::default, |links| std::mem::take(&mut links.staged))
    }

    fn take_piece(&mut self, frame: &[u8], now: Now) {
        let Ok(Some((frame, _))) = decode(frame, FRAME_BYTES_MAX) else { return };
        let bytes_max = self.settings.memory_bytes_max;
        let Some(links) = &mut self.links else { return };
        let taken = peer::parse_piece(&frame).is_ok_and(|piece| links.staged.add(piece, bytes_max).is_ok())
            && (!links.staged.is_complete() || links.cluster.has_room_for(links.staged.head()));
        if !taken {
            log::warn!(
                "a snapshot cannot be used: not understood, or larger than the memory, or of too many origins"
            );
            links.staged = Staged::default();
            return links.cluster.handle_not_installed(now);
        }
        if !links.staged.is_complete() {
            return;
        }
        self.deliver(now);
        let mut staged = self.take_staged();
        self.queue.correct(&mut staged);
        self.queue.install(&staged, now);
        if let Some(hub) = self.hub() {
            hub.note(Change::Install(Arc::new(staged)));
        }
        self.deliver(now);
        self.relieve(0);
        if let Some(links) = &mut self.links {
            links.cluster.handle_installed(&self.queue.all_known(), now);
        }
    }
}

// -- Time ------------------------------------------------------------------------------

impl Shard {
    /// Lets time pass for the cluster.
    pub(super) fn handle_links_time(&mut self, now: Now) {
        let Some(links) = &mut self.links else { return };
        links.giving.retain(|(link, _)| links.cluster.is_up(*link));
        if links.cluster.next_deadline() <= now.tick {
            links.cluster.handle_time(now);
        }
        if links.next_retirement <= now.tick {
            links.next_retirement = now.tick.plus_ms(RETIRE_MS);
            let retired = self.queue.retire_dead(|origin| links.cluster.is_live(origin), now);
            links.cluster.keep_origins(|origin| self.queue.known(origin) > 0);
            if !retired.is_empty() && self.hub().is_some() {
                // First what marks the moment, as it was done here.
                self.deliver(now);
                let hub = self.hub().into_iter();
                hub.for_each(|hub| {
                    retired.iter().for_each(|retired| hub.note(Change::Retire(retired.clone())))
                });
            }
        }
        self.settle_links(now);
        self.tell_standing();
    }

    /// Created channels whose time is over: the channel's home closes it, the next in rank only
    /// if that did not happen.
    pub(super) fn expire_channels(&mut self, now: Now) {
        if self.follower().is_some() {
            return self.leave_expiry_to_the_hub(now);
        }
        for overdue in self.queue.take_overdue() {
            let rank = self.links.as_ref().map_or(0, |links| links.cluster.rank(overdue.name.as_str()));
            let patience_ms = rank as u64 * EXPIRY_PATIENCE_MS;
            match patience_ms.checked_sub(overdue.ms) {
                None | Some(0) => drop(self.queue.propose_expiry(overdue.name.as_str(), now)),
                Some(left_ms) => self.queue.postpone_expiry(overdue.name.as_str(), left_ms, now),
            }
        }
    }
}
