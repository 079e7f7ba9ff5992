//! A small virtual network: datagrams are lost, late and cut off, nodes pause, die and start again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use crate::cluster::Setup;
use crate::cluster::members::{Member, MemberState, Members};
use crate::ids::Origin;
use crate::planted::Planted;
use crate::random::Random;
use crate::time::{Now, Tick, Timestamp};

/// Wall-clock time at tick 0.
pub const EPOCH: u64 = 1_700_000_000_000;

/// When it arrives, its number, to which node, from where, and what.
type UnderWay = (u64, u64, usize, SocketAddr, Vec<u8>);

pub struct Node {
    pub members: Option<Members>,
    pub setup: Setup,
    pub paused: bool,
    pub group: u32,
    /// What arrives while the node is paused, as in its socket's buffer.
    unread: Vec<(SocketAddr, Vec<u8>)>,
    /// What it sent.
    pub sent: u64,
}

pub struct Network {
    pub nodes: Vec<Node>,
    pub now: u64,
    /// Of 100 datagrams.
    pub lost: u64,
    pub delay_ms_max: u64,
    /// What is added to the wall clock of nodes that start.
    pub wall_skew: i64,
    /// Everything that was sent, for one that wants to look at it.
    pub trace: Vec<(u64, SocketAddr, SocketAddr, Vec<u8>)>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    numbered: u64,
    random: Random,
}

pub fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (index / 200) as u8, (index % 200) as u8 + 1], 7_000))
}

pub fn name(index: usize) -> String {
    format!("n{index:02}")
}

pub fn setup(index: usize, seeds: &[usize], seed: u64) -> Setup {
    Setup {
        node: name(index).parse().unwrap(),
        origin: Origin(1_000 + index as u64),
        address: address(index),
        peers: seeds.iter().map(|seed| address(*seed)).collect(),
        cluster_name: "test".into(),
        key: b"a key for the test".to_vec(),
        seed: seed ^ (index as u64) << 32,
        log_bytes_max: 0,
        planted: Planted::default(),
    }
}

impl Network {
    /// So many nodes that all know the address of node 0 and start together.
    pub fn new(count: usize, seed: u64) -> Network {
        let mut network = Network {
            nodes: Vec::new(),
            now: 0,
            lost: 0,
            delay_ms_max: 3,
            wall_skew: 0,
            trace: Vec::new(),
            under_way: BinaryHeap::new(),
            numbered: 0,
            random: Random::new(seed),
        };
        (0..count).for_each(|index| network.add(setup(index, &[0], seed)));
        network
    }

    pub fn add(&mut self, setup: Setup) {
        let node = Node { members: None, setup, paused: false, group: 0, unread: Vec::new(), sent: 0 };
        self.nodes.push(node);
        self.start(self.nodes.len() - 1);
    }

    pub fn start(&mut self, index: usize) {
        let now = Now {
            wall: Timestamp(EPOCH.saturating_add_signed(self.wall_skew) + self.now),
            tick: Tick(self.now),
        };
        self.nodes[index].members = Some(Members::new(&self.nodes[index].setup, now));
        self.collect(index);
    }

    /// The process dies without a word.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].members = None;
        self.nodes[index].unread.clear();
    }

    /// A new process of the same node.
    pub fn restart(&mut self, index: usize) {
        self.kill(index);
        self.nodes[index].setup.origin.0 += 1_000;
        self.nodes[index].setup.seed += 1;
        self.start(index);
    }

    pub fn leave(&mut self, index: usize) {
        let now = Tick(self.now);
        self.members(index).leave(now);
        self.collect(index);
        self.kill(index);
    }

    pub fn resume(&mut self, index: usize) {
        self.nodes[index].paused = false;
        for (from, bytes) in std::mem::take(&mut self.nodes[index].unread) {
            self.receive(index, from, &bytes);
        }
    }

    pub fn partition(&mut self, groups: &[u32]) {
        for (node, group) in self.nodes.iter_mut().zip(groups) {
            node.group = *group;
        }
    }

    pub fn members(&mut self, index: usize) -> &mut Members {
        self.nodes[index].members.as_mut().unwrap()
    }

    pub fn origin(&self, index: usize) -> Origin {
        self.nodes[index].setup.origin
    }

    /// What a node knows of another.
    pub fn view(&self, index: usize, other: usize) -> Option<Member> {
        let other = &self.nodes[other].setup.node;
        self.nodes[index].members.as_ref().unwrap().iter().find(|member| member.node == *other).cloned()
    }

    /// Whether all of these know one another as alive with their present origins.
    pub fn know_each_other(&self, indices: &[usize]) -> bool {
        let knows = |one: usize, other: usize| {
            self.view(one, other).is_some_and(|member| {
                member.state == MemberState::Alive && member.origin == self.origin(other)
            })
        };
        indices.iter().all(|one| indices.iter().all(|other| one == other || knows(*one, *other)))
    }

    pub fn run_for(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(next) = self.next_event().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    /// Runs until it is so, and says how long that took.
    #[track_caller]
    pub fn run_until(&mut self, ms_max: u64, is_so: impl Fn(&Network) -> bool) -> u64 {
        let begin = self.now;
        while !is_so(self) {
            assert!(self.now - begin <= ms_max, "not so after {} ms:\n{}", self.now - begin, self.views());
            self.run_for(10);
        }
        self.now - begin
    }

    pub fn views(&self) -> String {
        let running = self.nodes.iter().filter_map(|node| Some((node, node.members.as_ref()?)));
        let line = |(node, members): (&Node, &Members)| {
            let others: Vec<String> =
                members.iter().map(|m| format!("{}:{:?}:{}", m.node, m.state, m.origin.0)).collect();
            format!("{}: {}", node.setup.node, others.join(" "))
        };
        running.map(line).collect::<Vec<_>>().join("\n")
    }

    fn next_event(&self) -> Option<u64> {
        let arrival = self.under_way.peek().map(|Reverse(datagram)| datagram.0);
        let running = self.nodes.iter().filter(|node| !node.paused);
        let deadlines = running.filter_map(|node| node.members.as_ref()?.next_deadline());
        deadlines.map(|tick| tick.0).chain(arrival).min()
    }

    fn step(&mut self) {
        while let Some(Reverse(datagram)) = self.under_way.peek() {
            if datagram.0 > self.now {
                break;
            }
            let Some(Reverse((_, _, to, from, bytes))) = self.under_way.pop() else { break };
            self.arrive(to, from, bytes);
        }
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            let Some(members) = node.members.as_mut().filter(|_| !node.paused) else { continue };
            if members.next_deadline().is_some_and(|deadline| deadline.0 <= self.now) {
                members.handle_time(Tick(self.now));
                self.collect(index);
            }
        }
    }

    fn arrive(&mut self, to: usize, from: SocketAddr, bytes: Vec<u8>) {
        match &mut self.nodes[to] {
            Node { members: None, .. } => {}
            Node { paused: true, unread, .. } => unread.push((from, bytes)),
            _ => self.receive(to, from, &bytes),
        }
    }

    fn receive(&mut self, to: usize, from: SocketAddr, bytes: &[u8]) {
        let now = Tick(self.now);
        self.members(to).handle_datagram(from, bytes, now);
        self.collect(to);
    }

    fn collect(&mut self, index: usize) {
        let from = self.nodes[index].setup.address;
        while let Some((to, bytes)) = self.members(index).poll_datagram() {
            assert!(bytes.len() <= crate::limits::DATAGRAM_BYTES_MAX);
            self.nodes[index].sent += 1;
            self.trace.push((self.now, from, to, bytes.clone()));
            let lost = self.below(100) < self.lost;
            let delay = self.below(self.delay_ms_max) + 1;
            let Some(to) = self.nodes.iter().position(|node| node.setup.address == to) else { continue };
            if lost || self.nodes[to].group != self.nodes[index].group {
                continue;
            }
            self.numbered += 1;
            self.under_way.push(Reverse((self.now + delay, self.numbered, to, from, bytes)));
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random.next_u64() % end
    }
}
