//! When a node may serve: once it holds what the others held when it came.
//!
//! A node that begins with nothing takes a snapshot from the peer that is furthest, even if the
//! logs would reach back: what expired elsewhere must not live again here.

use super::Cluster;
use crate::cursor::VersionVector;
use crate::ids::{LinkId, NodeId};
use crate::limits::{JOIN_MS, JOIN_MS_MAX, JOIN_STEP_MS_MAX};
use crate::planted::Bug;
use crate::time::{Now, Tick};

/// How far a node is with joining.
#[derive(Clone, Debug)]
enum Stage {
    /// Waiting for those that it was told of.
    Meeting,
    /// Holding less than this, which the others have.
    Catching(VersionVector),
    Ready,
}

/// A node's way into the cluster.
#[derive(Debug)]
pub(super) struct Joining {
    stage: Stage,
    /// How long it has been at it, and how long it has been ready since, in milliseconds; without the
    /// time in which it was stopped, for nothing could reach it then.
    waited_ms: u64,
    ready_ms: u64,
    stepped: Tick,
}

impl Joining {
    pub fn new(alone: bool, now: Tick) -> Joining {
        let stage = if alone { Stage::Ready } else { Stage::Meeting };
        Joining { stage, waited_ms: 0, ready_ms: 0, stepped: now }
    }

    fn step(&mut self, now: Tick) {
        let passed_ms = now.since_ms(self.stepped).min(JOIN_STEP_MS_MAX);
        let counted = if self.is_ready() { &mut self.ready_ms } else { &mut self.waited_ms };
        *counted = counted.saturating_add(passed_ms);
        self.stepped = now;
    }

    /// Whether it is too early to ask for anything.
    pub fn is_meeting(&self) -> bool {
        matches!(self.stage, Stage::Meeting)
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready)
    }
}

impl Cluster {
    /// Whether an origin of which nothing is known here is unknown everywhere: all members are
    /// linked and nothing that they have is missing, after a time in which gossip tells of all
    /// members; or it has been waited for long enough.
    pub fn is_settled(&self) -> bool {
        let linked = |node: &NodeId| self.peers().any(|peer| peer.hello.node == *node && peer.digested);
        let is_whole = || {
            self.members.iter().all(|member| linked(&member.node))
                && self.dialing.seed_count() <= self.peers().count()
                && self.peers().all(|peer| peer.has.iter().all(|(origin, seq)| self.have.seq(origin) >= seq))
        };
        let ready_ms = self.joining.ready_ms;
        self.setup.planted.is(Bug::ResetInDoubt)
            || ready_ms >= JOIN_MS_MAX
            || ready_ms >= JOIN_MS && is_whole()
    }

    /// A step towards being ready.
    pub(super) fn join(&mut self, now: Now) {
        self.joining.step(now.tick);
        match &self.joining.stage {
            Stage::Ready => {}
            Stage::Meeting => {
                let met = || self.peers().filter(|peer| peer.digested);
                let all = met().count() >= self.dialing.seed_count();
                // Without one that serves only after long: those that do perhaps cannot be reached.
                let patience_ms = if met().any(|peer| peer.ready) { JOIN_MS } else { JOIN_MS_MAX };
                if all || self.joining.waited_ms >= patience_ms {
                    self.begin_catching(now.tick);
                }
            }
            Stage::Catching(target) => {
                let target = target.clone();
                self.catch_up(&target, now);
            }
        }
    }

    fn begin_catching(&mut self, now: Tick) {
        let mut target = VersionVector::default();
        for peer in self.peers() {
            peer.has.iter().for_each(|(origin, seq)| target.raise(origin, seq));
        }
        if !self.covers(&target) {
            self.ask_furthest(now);
        }
        let early = self.setup.planted.is(Bug::ReadyTooEarly);
        self.joining.stage = if early { Stage::Ready } else { Stage::Catching(target) };
    }

    fn covers(&self, target: &VersionVector) -> bool {
        target.iter().all(|(origin, seq)| self.have.seq(origin) >= seq)
    }

    /// Ready once nothing is missing that one of those who are there could give.
    fn catch_up(&mut self, target: &VersionVector, now: Now) {
        let to_be_had =
            |origin, seq| self.peers().any(|peer| peer.has.seq(origin).min(seq) > self.have.seq(origin));
        let missing = target.iter().any(|(origin, seq)| to_be_had(origin, seq));
        let alone = !self.peers().any(|peer| peer.digested);
        if (missing || alone) && self.joining.waited_ms < JOIN_MS_MAX {
            if !self.takes_snapshot() && self.counts.snapshots == 0 {
                self.ask_furthest(now.tick);
            }
            return;
        }
        ::log::info!("ready: holds the entries of {} origins", self.have.len());
        self.joining.stage = Stage::Ready;
        self.list_all();
    }

    /// Asks the peer that has most for a snapshot.
    fn ask_furthest(&mut self, now: Tick) {
        let links = self.links.iter().filter_map(|(index, link)| {
            let peer = link.peer().filter(|peer| peer.digested && !peer.has.is_empty())?;
            let total = peer.has.iter().map(|entry| entry.1).fold(0, u64::saturating_add);
            Some((peer.ready, total, LinkId { index: index as u32, generation: link.generation }))
        });
        if let Some((_, _, id)) = links.max() {
            self.ask_snapshot(id, now);
        }
    }
}
