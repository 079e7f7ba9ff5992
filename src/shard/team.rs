//! Several shards that are one node: what they tell each other, as letters.
//!
//! One of them is the *hub*: it numbers what this node does, owns the links to other nodes, and
//! executes what concerns the node as a whole. The others, the *followers*, each have connections of
//! their own and a message queue that does what the hub's has done, in its order: to them the hub is what
//! another node is to a node, without a wire in between. A request that a follower cannot answer by
//! itself is handed to the hub, and the hub's answer goes out on the follower's connection.
//!
//! ```text
//!   publish ─▶ follower ── errand ─▶ hub: number, apply, deliver ── changes ─▶ every follower: apply, deliver
//!                 ▲                   │  ◀───────────── done, so many woken ─────────────┘
//!                 └───── outcome ─────┘
//! ```
//!
//! Whoever publishes, or creates, renews or closes a channel, is answered when every shard has delivered:
//! whoever polls then, at whatever shard, finds it done. Letters hold what gathered since the last one was
//! taken; that is bounded, because the hub takes no more work while a follower is too far behind, and a
//! follower hands over no more than the hub takes. What peers say cannot be refused: it is to be left in
//! their sockets ([`Shard::wants_links`]). Pure: who carries the letters is not known here.

mod follower;
mod hub;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) use self::follower::Follower;
pub(super) use self::hub::{ChannelChange, Form, Hub, Publishing, Question};
use super::clients::Polls;
use super::{Settings, Shard};
use crate::channel::entry::Entry;
use crate::channel::queue::{ChannelInfo, Retired, Staged};
use crate::ids::{ChannelName, ConnId, MessageId, Origin};
use crate::metrics::{Counters, Gauges};
use crate::session::access::Keys;
use crate::time::Now;

/// A letter.
#[derive(Debug)]
pub enum Mail {
    /// From the hub to a follower.
    Orders(Box<Orders>),
    /// From a follower to the hub.
    Report(Box<Report>),
}

/// What the hub tells a follower.
#[derive(Debug, Default)]
pub struct Orders {
    /// What is to be done before all else.
    commands: Vec<Command>,
    standing: Option<Standing>,
    /// Each was delivered together by the hub, and is here.
    groups: Vec<Arc<[Change]>>,
    /// The number of the last group, these included.
    last_group: u64,
    /// How far this tells of [`Progress::news`].
    news: u64,
    asks: Vec<(u64, Ask)>,
    outcomes: Vec<Outcome>,
}

/// What a follower tells the hub.
#[derive(Debug, Default)]
pub struct Report {
    /// The number of the last group that it has delivered.
    last_group: u64,
    /// Its held polls that were woken, by the entry of this node's log.
    woken: Vec<(u64, usize)>,
    errands: Vec<Errand>,
    told: Vec<(u64, Told)>,
    /// It has ended.
    over: bool,
    /// There is something in it that the hub waits for.
    is_due: bool,
}

/// Something that the hub's queue did.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// It applied an entry, its own or another node's.
    Apply(Entry),
    /// It left out an entry that it did not understand.
    PassOver(MessageId),
    /// It took in another node's snapshot.
    Install(Arc<Staged>),
    /// It took dead origins out of cursors.
    Retire(Retired),
}

/// What an operator wants of all shards.
#[derive(Clone, Debug)]
enum Command {
    /// Begin the end, which is over in so many milliseconds.
    Drain(u64),
    /// Take new settings and keys.
    Reconfigure(Box<Settings>, Arc<Keys>),
}

/// What the hub knows of the cluster, as far as polls are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    ready: bool,
    settled: bool,
    /// The origins of all members.
    live: Vec<Origin>,
}

/// A question to all followers.
#[derive(Clone, Debug)]
enum Ask {
    /// What they count.
    Figures,
    /// What they know of some channels.
    Channels(Arc<[ChannelName]>),
}

/// An answer to an [`Ask`].
#[derive(Debug)]
enum Told {
    Figures(Box<(Counters, Gauges)>),
    Channels(Vec<Option<ChannelInfo>>),
}

/// A request that the hub is to execute.
#[derive(Debug)]
struct Errand {
    conn: ConnId,
    /// The head as it came, and behind it the body without its framing.
    request: Box<[u8]>,
    head_len: usize,
}

/// What a connection is to be sent for its errand.
#[derive(Debug)]
struct Outcome {
    conn: ConnId,
    response: Vec<u8>,
    /// The connection ends with it.
    closes: bool,
}

/// A shard's part among several.
#[derive(Debug)]
pub(super) enum Team {
    Hub(Box<Hub>),
    Follower(Box<Follower>),
}

impl Team {
    /// Whether nobody waits for anything.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        match self {
            Team::Hub(hub) => hub.is_at_rest(),
            Team::Follower(follower) => follower.bytes() == 0 && !follower.has_report(),
        }
    }

    /// What waits to be told, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Team::Hub(hub) => hub.bytes(),
            Team::Follower(follower) => follower.bytes(),
        }
    }
}

/// How far the hub has come: what a follower sees at once, before it is told by letter what that was.
#[derive(Debug, Default)]
struct Progress {
    /// The last number of the node's log.
    numbered: AtomicU64,
    /// How often an origin became known, or something of the cluster changed.
    news: AtomicU64,
}

impl Progress {
    fn numbered(&self) -> u64 {
        self.numbered.load(Ordering::Acquire)
    }

    fn set_numbered(&self, numbered: u64) {
        self.numbered.store(numbered, Ordering::Release);
    }

    fn news(&self) -> u64 {
        self.news.load(Ordering::Acquire)
    }

    fn add_news(&self) {
        self.news.fetch_add(1, Ordering::Release);
    }
}

/// What a follower is made with; the hub gives it.
#[derive(Clone, Debug)]
pub struct Enlistment {
    /// The node's origin.
    origin: Origin,
    progress: Arc<Progress>,
    /// Polls by client, of all shards.
    polls: Polls,
    standing: Standing,
}

impl Orders {
    fn is_empty(&self) -> bool {
        self.commands.is_empty()
            && self.standing.is_none()
            && self.groups.is_empty()
            && self.asks.is_empty()
            && self.outcomes.is_empty()
    }
}

// -- Letters ---------------------------------------------------------------------------

impl Shard {
    /// To whom there is something to say: shards by number; the hub is 0.
    pub fn mail_for(&self) -> impl Iterator<Item = usize> {
        let count = match &self.team {
            Some(Team::Hub(hub)) => hub.follower_count(),
            Some(Team::Follower(_)) => 1,
            None => 0,
        };
        let first = usize::from(matches!(self.team, Some(Team::Hub(_))));
        (first..first + count).filter(|to| self.has_mail(*to))
    }

    fn has_mail(&self, to: usize) -> bool {
        match &self.team {
            Some(Team::Hub(hub)) => hub.has_orders(to),
            Some(Team::Follower(follower)) => follower.has_report(),
            None => false,
        }
    }

    /// The letter to a shard that there is something to say to.
    pub fn write_mail(&mut self, to: usize) -> Mail {
        match &mut self.team {
            Some(Team::Hub(hub)) => Mail::Orders(hub.write_orders(to)),
            Some(Team::Follower(follower)) => Mail::Report(follower.write_report()),
            None => Mail::Report(Box::default()),
        }
    }

    /// A letter came.
    pub fn handle_mail(&mut self, from: usize, mail: Mail, now: Now) {
        match mail {
            Mail::Orders(orders) => self.handle_orders(*orders, now),
            Mail::Report(report) => self.handle_report(from, *report, now),
        }
    }

    pub(super) fn hub(&mut self) -> Option<&mut Hub> {
        match &mut self.team {
            Some(Team::Hub(hub)) => Some(hub),
            _ => None,
        }
    }

    pub(super) fn follower(&mut self) -> Option<&mut Follower> {
        match &mut self.team {
            Some(Team::Follower(follower)) => Some(follower),
            _ => None,
        }
    }
}
