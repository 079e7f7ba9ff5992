//! Nodes without shards: what they are handed is written down instead of applied.

use std::collections::BTreeMap;

use super::*;
use crate::limits::{
    DIGEST_ORIGINS_MAX, HANDSHAKE_BYTES_MAX, HANDSHAKE_MS, JOIN_MS, JOIN_MS_MAX, LINK_ENDING_MS,
    LINK_OUTPUT_BYTES, LINKS_UNPROVEN_MAX, ORIGINS_MAX, PULL_MS, SEQ_MAX, SNAPSHOT_SILENT_MS,
};
use crate::time::Timestamp;
use crate::wire::frame::message::{Digest, Pull, Truncated};
use crate::wire::frame::{Kind, encode};

/// A node, and what it was handed.
struct Node {
    cluster: Cluster,
    /// Entries in the order in which they were handed out.
    taken: Vec<MessageId>,
    asked: Vec<LinkId>,
    pieces: usize,
    seq: u64,
}

/// Two ends of a connection: which node has which link.
type Pipe = [(usize, LinkId); 2];

/// Some nodes and the connections between them.
struct Mesh {
    nodes: Vec<Node>,
    pipes: Vec<Pipe>,
    now: Now,
}

fn address(at: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7001 + at as u16))
}

fn setup(at: usize, peers: &[usize]) -> Setup {
    Setup {
        node: format!("n{at}").parse().unwrap(),
        origin: Origin(100 + at as u64),
        address: address(at),
        peers: peers.iter().map(|peer| address(*peer)).collect(),
        cluster_name: "test".into(),
        key: b"a key of sixteen".to_vec(),
        seed: at as u64,
        log_bytes_max: 1_000_000,
        planted: Planted::default(),
    }
}

fn entry(id: MessageId, body_len: usize) -> Arc<[u8]> {
    let meta = format!("{{\"origin\":\"{}\",\"seq\":{}}}", id.origin, id.seq);
    let mut frame = Vec::new();
    encode(Kind::ENTRY, 0, meta.as_bytes(), &vec![b'x'; body_len], &mut frame);
    frame.into()
}

impl Node {
    fn new(setup: Setup, now: Now) -> Node {
        let cluster = Cluster::new(setup, now);
        Node { cluster, taken: Vec::new(), asked: Vec::new(), pieces: 0, seq: 0 }
    }

    fn publish(&mut self, body_len: usize) -> MessageId {
        self.seq += 1;
        let id = MessageId { origin: self.cluster.setup.origin, seq: self.seq };
        self.cluster.append(self.seq, entry(id, body_len));
        id
    }

    fn take_events(&mut self) {
        while let Some(event) = self.cluster.poll_event() {
            match event {
                Event::Entry(id, _) => self.taken.push(id),
                Event::SnapshotAsked(link) => self.asked.push(link),
                Event::SnapshotBegins => {}
                Event::Piece(_) => self.pieces += 1,
            }
        }
    }
}

impl Mesh {
    /// Nodes of which each knows all that were before it.
    fn new(count: usize) -> Mesh {
        let now = Now { wall: Timestamp(1_000_000), tick: Tick(1_000) };
        let all: Vec<usize> = (0..count).collect();
        let nodes = all.iter().map(|at| Node::new(setup(*at, &all[..*at]), now)).collect();
        Mesh { nodes, pipes: Vec::new(), now }
    }

    /// Lets time pass in steps of 10 ms; everything that is sent arrives in the same step.
    fn run(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.now = self.now.plus_ms(10);
            self.nodes.iter_mut().for_each(|node| node.cluster.handle_time(self.now));
            while self.step() {}
        }
    }

    fn step(&mut self) -> bool {
        let mut moved = self.dial();
        for at in 0..self.nodes.len() {
            while let Some((to, bytes)) = self.nodes[at].cluster.poll_datagram() {
                if let Some(other) = (0..self.nodes.len()).find(|other| address(*other) == to) {
                    self.nodes[other].cluster.handle_datagram(address(at), &bytes, self.now);
                    moved = true;
                }
            }
            while let Some(link) = self.nodes[at].cluster.poll_listed() {
                moved |= self.carry(at, link);
            }
            while let Some(link) = self.nodes[at].cluster.poll_closed() {
                self.cut(at, link);
                moved = true;
            }
            self.nodes[at].take_events();
        }
        moved
    }

    fn dial(&mut self) -> bool {
        let mut moved = false;
        for at in 0..self.nodes.len() {
            while let Some((link, to)) = self.nodes[at].cluster.poll_dial(self.now) {
                moved = true;
                let other = (0..self.nodes.len()).find(|other| address(*other) == to);
                let accepted = other.and_then(|other| {
                    Some((other, self.nodes[other].cluster.accept(address(at), self.now)?))
                });
                match accepted {
                    Some(end) => {
                        self.pipes.push([(at, link), end]);
                        self.nodes[at].cluster.handle_up(link, self.now);
                    }
                    None => self.nodes[at].cluster.handle_down(link, self.now),
                }
            }
        }
        moved
    }

    fn other_end(&self, at: usize, link: LinkId) -> Option<(usize, LinkId)> {
        self.pipes.iter().find_map(|[a, b]| match (at, link) {
            end if end == *a => Some(*b),
            end if end == *b => Some(*a),
            _ => None,
        })
    }

    /// Sends all that a link has.
    fn carry(&mut self, at: usize, link: LinkId) -> bool {
        let mut moved = false;
        loop {
            let bytes = self.nodes[at].cluster.output(link, self.now).to_vec();
            let Some((other, end)) = self.other_end(at, link).filter(|_| !bytes.is_empty()) else {
                return moved;
            };
            assert!(bytes.len() <= LINK_OUTPUT_BYTES + 200_000, "{}", bytes.len());
            self.nodes[at].cluster.handle_sent(link, bytes.len(), self.now);
            // In two pieces, that frames are not always whole.
            let (first, second) = bytes.split_at(bytes.len() / 3);
            self.nodes[other].cluster.handle_input(end, first, self.now);
            self.nodes[other].cluster.handle_input(end, second, self.now);
            self.nodes[other].take_events();
            moved = true;
        }
    }

    fn cut(&mut self, at: usize, link: LinkId) {
        if let Some((other, end)) = self.other_end(at, link) {
            self.nodes[other].cluster.handle_down(end, self.now);
        }
        self.pipes.retain(|ends| !ends.contains(&(at, link)));
    }

    /// Breaks every connection of a node.
    fn cut_off(&mut self, at: usize) {
        for pipe in self.pipes.clone().into_iter().filter(|pipe| pipe.iter().any(|end| end.0 == at)) {
            for (node, link) in pipe {
                self.nodes[node].cluster.handle_down(link, self.now);
            }
            self.pipes.retain(|other| *other != pipe);
        }
    }

    /// Who was handed what of which origin.
    fn taken_of(&self, at: usize, origin: u64) -> Vec<u64> {
        let of = |id: &&MessageId| id.origin == Origin(origin);
        self.nodes[at].taken.iter().filter(of).map(|id| id.seq).collect()
    }
}

#[test]
fn three_nodes_meet_and_share_what_they_do() {
    let mut mesh = Mesh::new(3);
    mesh.run(1_000);
    assert_eq!(mesh.pipes.len(), 3, "one connection for each pair");
    for _ in 0..50 {
        for at in 0..3 {
            mesh.nodes[at].publish(10);
        }
        mesh.run(10);
    }
    mesh.run(500);
    for at in 0..3 {
        assert!(mesh.nodes[at].cluster.is_ready());
        for origin in (0..3).filter(|origin| *origin != at) {
            assert_eq!(
                mesh.taken_of(at, 100 + origin as u64),
                (1..=50).collect::<Vec<_>>(),
                "{at} of {origin}"
            );
        }
        let all: BTreeMap<_, _> = mesh.nodes[at].cluster.have().iter().collect();
        assert!(all.values().all(|seq| *seq == 50) && all.len() == 3, "{all:?}");
        let view = mesh.nodes[at].cluster.view();
        assert!(
            view.members.iter().all(|member| member.linked && member.ready && member.lacks == 0),
            "{view:?}"
        );
    }
}

#[test]
fn what_was_missed_comes_after_the_link_is_back() {
    let mut mesh = Mesh::new(2);
    mesh.run(1_000);
    mesh.nodes[0].publish(1);
    mesh.run(50);
    mesh.cut_off(1);
    for _ in 0..20 {
        mesh.nodes[0].publish(1);
    }
    mesh.nodes[1].publish(1);
    mesh.run(2_000);
    assert_eq!(mesh.taken_of(1, 100), (1..=21).collect::<Vec<_>>());
    assert_eq!(mesh.taken_of(0, 101), [1]);
}

#[test]
fn what_a_dead_node_gave_to_one_the_other_has_from_there() {
    let mut mesh = Mesh::new(3);
    mesh.run(1_000);
    let between: Vec<Pipe> =
        mesh.pipes.iter().filter(|pipe| pipe.iter().all(|end| end.0 != 1)).copied().collect();
    // 2 hears nothing of 0 any more, 1 does; then 0 is gone.
    for pipe in between {
        mesh.pipes.retain(|other| *other != pipe);
    }
    for _ in 0..5 {
        mesh.nodes[0].publish(1);
    }
    while mesh.step() {}
    assert_eq!((mesh.taken_of(1, 100).len(), mesh.taken_of(2, 100).len()), (5, 0));
    mesh.cut_off(0);
    mesh.nodes[0] = Node::new(setup(9, &[]), mesh.now);
    mesh.run(PULL_MS + 1_000);
    assert_eq!(mesh.taken_of(2, 100), [1, 2, 3, 4, 5]);
}

#[test]
fn who_comes_too_late_for_the_log_takes_a_snapshot() {
    let mut mesh = Mesh::new(2);
    mesh.run(1_000);
    mesh.cut_off(1);
    for _ in 0..40 {
        mesh.nodes[0].publish(100_000);
    }
    mesh.run(2_000);
    let Some(link) = mesh.nodes[0].asked.first().copied() else { panic!("nobody asked") };
    assert!(mesh.nodes[0].cluster.wants_pieces(link));
    let mut piece = Vec::new();
    encode(Kind::PIECE, 0, b"{}", &[], &mut piece);
    mesh.nodes[0].cluster.push_pieces(link, &mut piece, true);
    mesh.run(100);
    assert_eq!(mesh.nodes[1].pieces, 1);
    let have = mesh.nodes[0].cluster.have().clone();
    mesh.nodes[1].cluster.handle_installed(&have, mesh.now);
    mesh.nodes[0].publish(1);
    mesh.run(1_000);
    assert_eq!(mesh.taken_of(1, 100).last(), Some(&41));
    assert_eq!(mesh.nodes[1].cluster.have().seq(Origin(100)), 41);
}

#[test]
fn a_fresh_node_is_ready_once_it_holds_what_the_others_have() {
    let mut mesh = Mesh::new(2);
    mesh.run(1_000);
    for _ in 0..3 {
        mesh.nodes[0].publish(1);
    }
    mesh.run(300);
    mesh.nodes.push(Node::new(setup(2, &[0, 1]), mesh.now));
    mesh.run(1_000);
    assert!(!mesh.nodes[2].cluster.is_ready(), "it has asked for a snapshot");
    assert!(mesh.nodes[2].taken.is_empty(), "nothing of the past lives again");
    let have = mesh.nodes[0].cluster.have().clone();
    mesh.nodes[2].cluster.handle_installed(&have, mesh.now);
    mesh.run(500);
    assert!(mesh.nodes[2].cluster.is_ready());
    mesh.nodes[1].publish(1);
    mesh.run(300);
    assert_eq!(mesh.taken_of(2, 101), [1]);
}

#[test]
fn a_node_that_reaches_nobody_begins_alone() {
    let now = Now { wall: Timestamp(1_000_000), tick: Tick(0) };
    let mut mesh = Mesh { nodes: vec![Node::new(setup(0, &[5]), now)], pipes: Vec::new(), now };
    mesh.run(JOIN_MS_MAX - 100);
    assert!(!mesh.nodes[0].cluster.is_ready());
    mesh.run(1_000);
    assert!(mesh.nodes[0].cluster.is_ready());
}

#[test]
fn the_time_in_which_a_node_was_stopped_is_not_time_that_it_waited() {
    let now = Now { wall: Timestamp(1_000_000), tick: Tick(0) };
    let mut mesh = Mesh { nodes: vec![Node::new(setup(0, &[5]), now)], pipes: Vec::new(), now };
    mesh.run(100);
    mesh.now = mesh.now.plus_ms(JOIN_MS_MAX);
    mesh.run(JOIN_MS);
    assert!(!mesh.nodes[0].cluster.is_ready());
}

/// The one that has something perhaps cannot be reached; three that begin together need not wait.
#[test]
fn those_who_only_meet_others_that_are_new_wait_long() {
    let now = Now { wall: Timestamp(1_000_000), tick: Tick(0) };
    let node = |at, peers: &[usize]| Node::new(setup(at, peers), now);
    let nodes = vec![node(0, &[1, 5]), node(1, &[0, 5])];
    let mut mesh = Mesh { nodes, pipes: Vec::new(), now };
    mesh.run(JOIN_MS_MAX - 1_000);
    assert!(mesh.nodes.iter().all(|node| !node.cluster.is_ready()));
    mesh.nodes.push(Node::new(setup(2, &[]), mesh.now));
    mesh.nodes.push(Node::new(setup(3, &[2, 5]), mesh.now));
    mesh.run(JOIN_MS + 500);
    assert!(mesh.nodes[3].cluster.is_ready(), "it met one that serves");
    mesh.run(1_000);
    assert!(mesh.nodes[0].cluster.is_ready());
}

#[test]
fn acknowledgements_are_counted_by_node() {
    let mut mesh = Mesh::new(3);
    mesh.run(1_000);
    assert_eq!(mesh.nodes[0].cluster.majority(), 1);
    let id = mesh.nodes[0].publish(1);
    let mut entries = VersionVector::default();
    entries.raise(id.origin, id.seq);
    assert_eq!(mesh.nodes[0].cluster.holders(&entries), 0);
    mesh.run(500);
    assert_eq!(mesh.nodes[0].cluster.holders(&entries), 2);
    mesh.cut_off(2);
    assert_eq!(mesh.nodes[0].cluster.holders(&entries), 1);
}

/// Whatever a stranger sends costs its link and nothing else.
#[test]
fn strangers_are_bounded_and_cut() {
    let mut mesh = Mesh::new(1);
    mesh.run(100);
    let now = mesh.now;
    let cluster = &mut mesh.nodes[0].cluster;
    let from = address(40);
    for (what, bytes) in [
        ("too long", vec![0xff; 100]),
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("an entry first", entry(MessageId { origin: Origin(1), seq: 1 }, 3).to_vec()),
    ] {
        let link = cluster.accept(from, now).unwrap();
        cluster.handle_input(link, &bytes, now);
        let sent = cluster.output(link, now).len();
        cluster.handle_sent(link, sent, now);
        assert_eq!(cluster.poll_closed(), Some(link), "{what}");
    }
    let silent: Vec<LinkId> = (0..LINKS_UNPROVEN_MAX).map(|_| cluster.accept(from, now).unwrap()).collect();
    silent.iter().for_each(|link| cluster.handle_input(*link, &[0, 0, 15], now));
    let before = cluster.bytes();
    assert!(before < LINKS_UNPROVEN_MAX * 2 * HANDSHAKE_BYTES_MAX, "{before}");
    assert_eq!(cluster.links.len(), LINKS_UNPROVEN_MAX);
    assert!(cluster.accept(from, now).is_some());
    assert_eq!((cluster.poll_closed(), cluster.links.len()), (Some(silent[0]), LINKS_UNPROVEN_MAX));
    cluster.handle_time(now.plus_ms(HANDSHAKE_MS + LINK_ENDING_MS));
    assert_eq!(cluster.links.len(), 0);
}

#[test]
fn what_is_refused_is_counted_and_shown() {
    let mut mesh = Mesh::new(1);
    mesh.run(100);
    let now = mesh.now;
    let cluster = &mut mesh.nodes[0].cluster;
    cluster.handle_datagram(address(40), b"not of this cluster", now);
    let link = cluster.accept(address(41), now).unwrap();
    cluster.handle_input(link, b"GET / HTTP/1.1\r\n\r\n", now);
    assert_eq!(cluster.view().counts.refused, 2);
}

/// However many come from one address, whoever calls from another is heard out.
#[test]
fn strangers_shut_nobody_out() {
    let mut mesh = Mesh::new(1);
    let now = mesh.now;
    let cluster = &mut mesh.nodes[0].cluster;
    let of = |host: u8| SocketAddr::from(([127, 0, 0, host], 9));
    for _ in 0..LINKS_UNPROVEN_MAX {
        cluster.accept(of(7), now);
    }
    let others = [2, 3].map(|host| cluster.accept(of(host), now).unwrap());
    for _ in 0..3 * LINKS_UNPROVEN_MAX {
        cluster.accept(of(7), now);
    }
    assert_eq!(cluster.links.len(), LINKS_UNPROVEN_MAX);
    assert!(others.into_iter().all(|other| cluster.link(other).is_some()));
}

/// What a peer says that there is, and never gives, is not remembered without end.
#[test]
fn origins_that_a_peer_makes_up_are_bounded() {
    let mut mesh = Mesh::new(2);
    mesh.run(1_000);
    let (node, link) = mesh.pipes[0][0];
    let now = mesh.now;
    let cluster = &mut mesh.nodes[node].cluster;
    let origins =
        |from: usize| (from * DIGEST_ORIGINS_MAX..(from + 1) * DIGEST_ORIGINS_MAX).map(|n| 1_000 + n as u64);
    for from in 0..4 {
        let (mut bytes, mut have) = (Vec::new(), VersionVector::default());
        origins(from).for_each(|origin| have.set(Origin(origin), 9));
        Digest { have, full: false, ready: true }.write(&mut bytes);
        cluster.handle_input(link, &bytes, now);
    }
    assert!(cluster.links[link.index as usize].peer().unwrap().has.len() <= ORIGINS_MAX);
    for origin in (0..4).flat_map(origins) {
        cluster.handle_input(link, &entry(MessageId { origin: Origin(origin), seq: 1 }, 1), now);
    }
    assert!(cluster.have().len() <= ORIGINS_MAX, "{}", cluster.have().len());
    let known = Origin(1_000);
    cluster.handle_input(link, &entry(MessageId { origin: known, seq: 2 }, 1), now);
    assert_eq!(cluster.have().seq(known), 2, "what was known goes on");
}

/// A peer that says that it has much, and takes nothing of what it is asked.
#[test]
fn questions_do_not_pile_up_for_a_peer_that_does_not_read() {
    let mut mesh = Mesh::new(2);
    mesh.run(1_000);
    let (node, link) = mesh.pipes[0][0];
    let cluster = &mut mesh.nodes[node].cluster;
    let mut have = VersionVector::default();
    (0..DIGEST_ORIGINS_MAX).for_each(|n| have.set(Origin(1_000 + n as u64), SEQ_MAX));
    let mut bytes = Vec::new();
    Digest { have, full: false, ready: true }.write(&mut bytes);
    for step in 0..200 {
        let now = mesh.now.plus_ms(step * PULL_MS);
        cluster.handle_input(link, &bytes, now);
        cluster.handle_time(now);
    }
    let urgent = cluster.links[link.index as usize].peer().unwrap().urgent.len();
    assert!(urgent < 2 * LINK_OUTPUT_BYTES, "{urgent}");
}

/// Over a slow link a large message takes longer than silence is put up with.
#[test]
fn a_snapshot_of_which_something_comes_is_not_given_up() {
    let mut mesh = Mesh::new(2);
    mesh.run(1_000);
    let (node, link) = mesh.pipes[0][0];
    let mut now = mesh.now;
    let cluster = &mut mesh.nodes[node].cluster;
    let (mut bytes, mut piece) = (Vec::new(), Vec::new());
    Truncated { origin: Origin(77), first: 9 }.write(&mut bytes);
    cluster.handle_input(link, &bytes, now);
    encode(Kind::PIECE, 0, b"{}", &[0; 1_000], &mut piece);
    for part in piece.chunks(100) {
        assert!(cluster.takes_snapshot());
        now = now.plus_ms(1_000);
        cluster.handle_input(link, part, now);
        cluster.handle_time(now);
    }
    cluster.handle_time(now.plus_ms(SNAPSHOT_SILENT_MS));
    assert!(!cluster.takes_snapshot());
    mesh.nodes[node].take_events();
    assert_eq!(mesh.nodes[node].pieces, 1);
}

/// A peer that has proved to belong may still be of another mind.
#[test]
fn frames_of_a_peer_that_make_no_sense_do_no_harm() {
    let mut mesh = Mesh::new(2);
    mesh.run(1_000);
    let (node, link) = mesh.pipes[0][0];
    let now = mesh.now;
    let cluster = &mut mesh.nodes[node].cluster;
    let mut bytes = Vec::new();
    let far = Origin(77);
    encode(Kind(99), 0, b"{}", b"later", &mut bytes);
    Pull { origin: far, from: 1, to: SEQ_MAX }.write(&mut bytes);
    Pull { origin: cluster.setup.origin, from: SEQ_MAX, to: SEQ_MAX }.write(&mut bytes);
    let mut have = VersionVector::default();
    have.set(cluster.setup.origin, SEQ_MAX);
    have.set(far, SEQ_MAX);
    Digest { have, full: false, ready: true }.write(&mut bytes);
    bytes.extend_from_slice(&entry(MessageId { origin: far, seq: SEQ_MAX }, 1));
    cluster.handle_input(link, &bytes, now);
    cluster.publish_nothing(link, now);
    assert!(cluster.is_up(link));
    mesh.run(3_000);
    mesh.nodes[1 - node].publish(1);
    mesh.run(1_000);
    assert_eq!(mesh.taken_of(node, 100 + (1 - node) as u64), [1]);
}

impl Cluster {
    /// Takes a link's output for sent.
    fn publish_nothing(&mut self, link: LinkId, now: Now) {
        let len = self.output(link, now).len();
        self.handle_sent(link, len, now);
    }
}
