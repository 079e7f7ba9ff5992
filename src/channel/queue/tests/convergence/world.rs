//! Some queues with the logs between them, and what may happen to them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::*;
use super::oracle;
use super::reader::Reader;
use crate::limits::ORIGIN_KEPT_MS;

pub const NODES: usize = 3;
pub const NAMES: [&str; 3] = ["a", "b", "c"];
const READERS: usize = 2;

#[derive(Clone, Debug)]
pub enum Op {
    Create {
        node: usize,
        name: usize,
        ttl_ms: u64,
    },
    Renew {
        node: usize,
        name: usize,
        ttl_ms: Option<u64>,
    },
    Close {
        node: usize,
        name: usize,
    },
    Publish {
        node: usize,
        channels: u8,
        ttl_ms: u64,
    },
    /// A poll comes and stays.
    Wait {
        node: usize,
        name: usize,
    },
    /// Time passes; a node proposes what is overdue there, or looks again later.
    Advance {
        ms: u64,
        proposes: [bool; NODES],
    },
    /// Some entries of one log reach a node.
    Deliver {
        log: usize,
        to: usize,
        count: usize,
    },
    /// A client reads all channels at a node.
    Read {
        reader: usize,
        node: usize,
    },
    /// A node begins to give another a snapshot.
    Begin {
        from: usize,
        to: usize,
    },
    /// The next of it.
    Give {
        bytes: usize,
    },
    /// A node loses all that it has.
    Restart(usize),
    /// So much time passes that the dead are forgotten.
    Retire,
}

fn everyday() -> impl Strategy<Value = Op> {
    let node = 0..NODES;
    let name = prop_oneof![3 => Just(0), 2 => Just(1), 1 => Just(2)];
    let ttl = prop_oneof![Just(1_000_u64), Just(5_000), Just(100_000)];
    let both = (node.clone(), name);
    prop_oneof![
        3 => (both.clone(), ttl.clone()).prop_map(|((node, name), ttl_ms)| Op::Create { node, name, ttl_ms }),
        2 => (both.clone(), proptest::option::of(ttl.clone()))
            .prop_map(|((node, name), ttl_ms)| Op::Renew { node, name, ttl_ms }),
        2 => both.clone().prop_map(|(node, name)| Op::Close { node, name }),
        6 => (node.clone(), 1_u8..1 << NAMES.len(), ttl)
            .prop_map(|(node, channels, ttl_ms)| Op::Publish { node, channels, ttl_ms }),
        1 => both.prop_map(|(node, name)| Op::Wait { node, name }),
        3 => (prop_oneof![0..5_u64, 500..6_000_u64], any::<[bool; NODES]>())
            .prop_map(|(ms, proposes)| Op::Advance { ms, proposes }),
        8 => (0..NODES + 2, node.clone(), 1..6_usize)
            .prop_map(|(log, to, count)| Op::Deliver { log, to, count }),
        6 => (0..READERS, node).prop_map(|(reader, node)| Op::Read { reader, node }),
    ]
}

pub fn op() -> impl Strategy<Value = Op> {
    let node = 0..NODES;
    let bytes = prop_oneof![Just(1_usize), 1..3_000_usize, Just(usize::MAX)];
    prop_oneof![
        30 => everyday(),
        2 => (node.clone(), node.clone()).prop_map(|(from, to)| Op::Begin { from, to }),
        6 => bytes.prop_map(|bytes| Op::Give { bytes }),
        1 => node.prop_map(Op::Restart),
        1 => Just(Op::Retire),
    ]
}

/// What a world's caches hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caches {
    /// All that there ever was.
    Everything,
    /// The last few messages of a channel, for a short time.
    Little,
}

/// A snapshot under way.
struct Transfer {
    from: usize,
    to: usize,
    at: Snapshot,
    staged: Staged,
}

pub struct World {
    caches: Caches,
    pub queues: Vec<MessageQueue>,
    pub nows: Vec<Now>,
    /// All entries of each origin.
    pub logs: BTreeMap<Origin, Vec<Entry>>,
    readers: Vec<Reader>,
    transfer: Option<Transfer>,
    origins: u64,
    retirements: usize,
}

impl World {
    pub fn new(caches: Caches) -> World {
        // The nodes' clocks differ.
        let nows = [0, 3, 1_500].map(|skew_ms| Now { wall: START.wall.plus_ms(skew_ms), ..START });
        let mut world = World {
            caches,
            queues: Vec::new(),
            nows: nows.to_vec(),
            logs: BTreeMap::new(),
            readers: (0..READERS).map(|_| Reader::default()).collect(),
            transfer: None,
            origins: 0,
            retirements: 0,
        };
        world.queues = (0..NODES).map(|_| world.fresh()).collect();
        world
    }

    pub fn fresh(&mut self) -> MessageQueue {
        self.origins += 1;
        let origin = Origin(self.origins);
        let long = 1_000_000_000;
        let channel_messages_max = if self.caches == Caches::Little { 3 } else { 1_000 };
        let bounds = Bounds { channel_ttl_ms: long, message_ttl_ms: long, channel_messages_max, ..bounds() };
        let mut queue = MessageQueue::new(bounds, origin, self.origins);
        queue.set_replicated(true);
        self.logs.insert(origin, Vec::new());
        queue
    }

    pub fn play(&mut self, op: Op) {
        match op {
            Op::Create { node, name: at, ttl_ms } => {
                self.queues[node].create(Some(name(NAMES[at])), Some(ttl_ms), self.nows[node]).unwrap();
            }
            // What is not open is refused.
            Op::Renew { node, name, ttl_ms } => {
                let _ = self.queues[node].renew(NAMES[name], ttl_ms, self.nows[node]);
            }
            Op::Close { node, name } => {
                let _ = self.queues[node].close(NAMES[name], self.nows[node]);
            }
            Op::Publish { node, channels, ttl_ms } => self.publish(node, channels, ttl_ms),
            Op::Wait { node, name: at } => {
                if let Ok(ix) = self.queues[node].open(&name(NAMES[at]), self.nows[node].tick) {
                    self.queues[node].join(ix, Subscriber(0));
                }
            }
            Op::Advance { ms, proposes } => self.advance(ms, proposes),
            Op::Deliver { log, to, count } => {
                let origin = self.logs.keys().rev().nth(log).copied();
                origin.into_iter().for_each(|origin| {
                    (0..count).for_each(|_| {
                        self.deliver(origin, to);
                    });
                });
            }
            Op::Read { reader, node } => {
                self.readers[reader].read(&self.queues[node], self.nows[node].tick);
            }
            Op::Begin { from, to } if from != to => self.begin(from, to),
            Op::Begin { .. } => {}
            Op::Give { bytes } => self.give(bytes),
            Op::Retire if self.retirements < 3 => self.retire(),
            Op::Retire => {}
            Op::Restart(node) => self.restart(node),
        }
        self.take_logs();
    }

    fn publish(&mut self, node: usize, channels: u8, ttl_ms: u64) {
        let names: Vec<_> =
            (0..NAMES.len()).filter(|at| channels >> at & 1 == 1).map(|at| NAMES[at]).collect();
        let ttl_ms = (self.caches == Caches::Little).then_some(ttl_ms);
        let publication = Publication { ttl_ms, ..publication(&names.join(","), 1) };
        // What is closed is refused.
        let _ = self.queues[node].publish(publication, self.nows[node]);
    }

    fn take_logs(&mut self) {
        for queue in &mut self.queues {
            self.logs.get_mut(&queue.origin).unwrap().extend(queue.take_log());
            check_counts(queue);
        }
    }

    fn advance(&mut self, ms: u64, proposes: [bool; NODES]) {
        for (node, proposes) in proposes.into_iter().enumerate() {
            self.nows[node] = self.nows[node].plus_ms(ms);
            let (queue, now) = (&mut self.queues[node], self.nows[node]);
            expire(queue, now);
            for overdue in queue.take_overdue() {
                if proposes {
                    queue.propose_expiry(overdue.name.as_str(), now);
                } else {
                    queue.postpone_expiry(overdue.name.as_str(), 500, now);
                }
            }
        }
    }

    /// Not so often that a tombstone's time ends, and not before the living know all: what comes later than
    /// that may come twice. With messages that live for ever there is nothing to be retired.
    fn retire(&mut self) {
        self.retirements += 1;
        self.deliver_entries();
        let living: Vec<Origin> = self.queues.iter().map(|queue| queue.origin).collect();
        for ms in [100_000, ORIGIN_KEPT_MS] {
            self.advance(ms, [false; NODES]);
            for (queue, now) in self.queues.iter_mut().zip(&self.nows) {
                queue.retire_dead(|origin| living.contains(&origin), *now);
            }
        }
    }

    fn restart(&mut self, node: usize) {
        self.queues[node] = self.fresh();
        self.transfer.take_if(|transfer| transfer.from == node || transfer.to == node);
        if self.retirements > 0 {
            // In an old log messages stand that expired long ago, and would live again.
            self.begin((node + 1) % NODES, node);
            while self.transfer.is_some() {
                self.give(usize::MAX);
            }
        }
    }

    fn begin(&mut self, from: usize, to: usize) {
        let at = self.queues[from].snapshot();
        self.transfer = Some(Transfer { from, to, at, staged: Staged::default() });
    }

    fn give(&mut self, bytes: usize) {
        let Some(transfer) = &mut self.transfer else { return };
        let mut pieces = Vec::new();
        let now = self.nows[transfer.from];
        self.queues[transfer.from].next_pieces(&mut transfer.at, bytes, now, &mut pieces);
        assert!(!pieces.is_empty() && (bytes > 1 || pieces.len() <= 3), "{pieces:?}");
        pieces.into_iter().for_each(|piece| transfer.staged.add(piece, usize::MAX).unwrap());
        assert_eq!(transfer.at.is_over(), transfer.staged.is_complete());
        if let Some(done) = self.transfer.take_if(|transfer| transfer.at.is_over()) {
            assert!(self.queues[done.to].install(&done.staged, self.nows[done.to]));
        }
    }

    /// The next entry of a log reaches a node; whether there was one.
    pub fn deliver(&mut self, origin: Origin, to: usize) -> bool {
        let seen = self.queues[to].known(origin) as usize;
        match self.logs[&origin].get(seen) {
            Some(entry) if self.queues[to].origin != origin => {
                let applied = self.queues[to].apply(entry.clone(), self.nows[to]);
                assert!(!matches!(applied, Applied::OutOfTurn | Applied::NoRoom), "{applied:?}");
                true
            }
            _ => false,
        }
    }

    pub fn deliver_all(&mut self) {
        while self.transfer.is_some() {
            self.give(1_000);
        }
        self.deliver_entries();
    }

    fn deliver_entries(&mut self) {
        let origins: Vec<Origin> = self.logs.keys().copied().collect();
        for (origin, to) in origins.into_iter().flat_map(|origin| (0..NODES).map(move |to| (origin, to))) {
            while self.deliver(origin, to) {}
        }
        self.take_logs();
    }

    pub fn check(&mut self) {
        let entries: Vec<&Entry> = self.logs.values().flatten().collect();
        for (queue, now) in self.queues.iter().zip(&self.nows) {
            let known = |queue: &MessageQueue| {
                self.logs.keys().map(|origin| queue.known(*origin)).collect::<Vec<_>>()
            };
            assert_eq!(known(queue), known(&self.queues[0]));
            check_counts(queue);
            let exact = self.caches == Caches::Everything;
            NAMES.iter().for_each(|name| oracle::check(queue, name, &entries, exact));
            for reader in &mut self.readers.clone() {
                reader.read(queue, now.tick);
                NAMES.iter().for_each(|name| reader.check(name, &oracle::messages(queue, name, &entries)));
            }
        }
    }
}
