//! Some queues with the logs between them, and what may happen to them.

use proptest::prelude::*;

use super::super::*;
use super::oracle;
use crate::channel::queue::applying::Applied;

pub const NODES: usize = 3;
pub const NAMES: [&str; 3] = ["a", "b", "c"];

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
    /// Some entries of one node reach another.
    Deliver {
        from: usize,
        to: usize,
        count: usize,
    },
}

pub fn op() -> impl Strategy<Value = Op> {
    let node = 0..NODES;
    let name = prop_oneof![3 => Just(0), 2 => Just(1), 1 => Just(2)];
    let ttl = prop_oneof![Just(1_000_u64), Just(5_000), Just(100_000)];
    let both = (node.clone(), name);
    prop_oneof![
        3 => (both.clone(), ttl.clone()).prop_map(|((node, name), ttl_ms)| Op::Create { node, name, ttl_ms }),
        2 => (both.clone(), proptest::option::of(ttl))
            .prop_map(|((node, name), ttl_ms)| Op::Renew { node, name, ttl_ms }),
        2 => both.clone().prop_map(|(node, name)| Op::Close { node, name }),
        6 => (node.clone(), 1_u8..1 << NAMES.len()).prop_map(|(node, channels)| Op::Publish { node, channels }),
        1 => both.prop_map(|(node, name)| Op::Wait { node, name }),
        3 => (prop_oneof![0..5_u64, 500..6_000_u64], any::<[bool; NODES]>())
            .prop_map(|(ms, proposes)| Op::Advance { ms, proposes }),
        8 => (node.clone(), node, 1..6_usize).prop_map(|(from, to, count)| Op::Deliver { from, to, count }),
    ]
}

pub struct World {
    pub queues: Vec<MessageQueue>,
    pub nows: Vec<Now>,
    /// All entries of each node.
    pub logs: Vec<Vec<Entry>>,
}

pub fn origin(node: usize) -> Origin {
    Origin(node as u64 + 1)
}

pub fn fresh(node: usize) -> MessageQueue {
    let bounds = Bounds { channel_ttl_ms: 1_000_000_000, message_ttl_ms: 1_000_000_000, ..bounds() };
    let mut queue = MessageQueue::new(bounds, origin(node), node as u64);
    queue.set_replicated(true);
    queue
}

impl World {
    pub fn new() -> World {
        // The nodes' clocks differ.
        let nows = [0, 3, 1_500].map(|skew_ms| Now { wall: START.wall.plus_ms(skew_ms), ..START });
        World { queues: (0..NODES).map(fresh).collect(), nows: nows.to_vec(), logs: vec![Vec::new(); NODES] }
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
            Op::Publish { node, channels } => {
                let names: Vec<_> =
                    (0..NAMES.len()).filter(|at| channels >> at & 1 == 1).map(|at| NAMES[at]).collect();
                let _ = self.queues[node].publish(publication(&names.join(","), 1), self.nows[node]);
            }
            Op::Wait { node, name: at } => {
                if let Ok(ix) = self.queues[node].open(&name(NAMES[at]), self.nows[node].tick) {
                    self.queues[node].join(ix, Subscriber(0));
                }
            }
            Op::Advance { ms, proposes } => self.advance(ms, proposes),
            Op::Deliver { from, to, count } => {
                (0..count).for_each(|_| {
                    self.deliver(from, to);
                });
            }
        }
        self.take_logs();
    }

    fn take_logs(&mut self) {
        for (queue, log) in self.queues.iter_mut().zip(&mut self.logs) {
            log.extend(queue.take_log());
            check_counts(queue);
        }
    }

    fn advance(&mut self, ms: u64, proposes: [bool; NODES]) {
        for node in 0..NODES {
            self.nows[node] = self.nows[node].plus_ms(ms);
            let (queue, now) = (&mut self.queues[node], self.nows[node]);
            expire(queue, now);
            for overdue in queue.take_overdue() {
                if proposes[node] {
                    queue.propose_expiry(overdue.name.as_str(), now);
                } else {
                    queue.postpone_expiry(overdue.name.as_str(), 500, now);
                }
            }
        }
    }

    /// The next entry of one node's log reaches another; whether there was one.
    pub fn deliver(&mut self, from: usize, to: usize) -> bool {
        let seen = self.queues[to].head().seq(origin(from)) as usize;
        match self.logs[from].get(seen) {
            Some(entry) if from != to => {
                let applied = self.queues[to].apply(entry.clone(), self.nows[to]);
                assert!(!matches!(applied, Applied::OutOfTurn | Applied::NoRoom), "{applied:?}");
                true
            }
            _ => false,
        }
    }

    pub fn deliver_all(&mut self) {
        for (from, to) in (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to))) {
            while self.deliver(from, to) {}
        }
        self.take_logs();
    }

    pub fn check(&self) {
        let entries: Vec<&Entry> = self.logs.iter().flatten().collect();
        for queue in &self.queues {
            assert_eq!(queue.head(), self.queues[0].head());
            check_counts(queue);
            NAMES.iter().for_each(|name| oracle::check(queue, name, &entries));
        }
    }
}
