//! Nodes that are one cluster: publish at any, poll through HAProxy, and lose nothing whichever dies.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::balancer::{Balancer, Mode, held, wait_held};
use crate::deaths::kill;
use crate::drains::stop;
use crate::http::Client;
use crate::node::{Launch, Node, fixed_addresses};
use crate::{PATIENCE, wait_for};

/// Readers that go by their cursor.
const READERS: usize = 8;
/// Messages between two changes.
const MESSAGES: usize = 100;
/// Nobody has anything else to say after this.
const END: &str = "end";

/// Where a node of the cluster lives, also when it comes back.
#[derive(Clone, Copy)]
struct Place {
    number: usize,
    public: SocketAddr,
    publisher: SocketAddr,
    cluster: SocketAddr,
}

impl Place {
    fn choose(number: usize) -> Place {
        let ((public, publisher), (cluster, _)) = (fixed_addresses(), fixed_addresses());
        Place { number, public, publisher, cluster }
    }

    /// Starts a node here that knows where the others are; waits until it may be sent work.
    fn start(self, places: &[Place]) -> Node {
        let node = self.launch(places);
        wait_ready(&node);
        node
    }

    fn launch(self, places: &[Place]) -> Node {
        let mut flags = vec!["--cluster-listen".to_string(), self.cluster.to_string()];
        flags.extend(["--node-id".to_string(), format!("n{}", self.number)]);
        flags.extend(["--drain-time".to_string(), "2".to_string()]);
        for peer in places.iter().filter(|peer| peer.number != self.number) {
            flags.extend(["--peer".to_string(), peer.cluster.to_string()]);
        }
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Launch::new(&flags).at(self.public, self.publisher).start()
    }
}

fn wait_ready(node: &Node) {
    wait_for("a node to be ready", || (node.subscriber().get("/readyz").status == 200).then_some(()));
}

/// Three nodes that are ready.
fn start_three() -> (Vec<Place>, Vec<Node>) {
    let places: Vec<Place> = (1..=3).map(Place::choose).collect();
    // The first is only ready when it has found others, or has waited for them.
    let nodes: Vec<Node> = places.iter().map(|place| place.launch(&places)).collect();
    nodes.iter().for_each(wait_ready);
    (places, nodes)
}

/// Publishes the next messages in turn at these nodes; each is at a second node when it is acknowledged.
fn publish_some(nodes: &[&Node], next: &mut usize) {
    for _ in 0..MESSAGES {
        let node = nodes[*next % nodes.len()];
        let answer = node.publisher().post("/pub/news?ack=one", next.to_string().as_bytes());
        assert_eq!(answer.status, 201, "{answer:?}");
        *next += 1;
    }
}

/// Reads from cursor to cursor until the end is told; returns all that was read, in order.
fn read_all(balancer: &Balancer, cursor: String, begun: &AtomicBool) -> Vec<String> {
    let fresh = || balancer.client().patient(PATIENCE * 2);
    let (mut client, mut cursor, mut seen): (Client, _, Vec<String>) = (fresh(), cursor, Vec::new());
    loop {
        let answer = client.get(&format!("/sub/news?after={cursor}&timeout=30"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let poll = answer.json();
        assert!(poll.get("gap").is_none() && poll.get("reset").is_none(), "{poll}");
        begun.store(true, Ordering::Relaxed);
        seen.extend(answer.data().iter().map(|data| data.as_str().unwrap().to_string()));
        if seen.last().is_some_and(|last| last == END) {
            return seen;
        }
        cursor = answer.cursor();
        if answer.closes() {
            client = fresh();
        }
    }
}

/// Readers go on all the time while `change` happens to the nodes; each must be given everything once.
fn nothing_is_lost_while(change: impl Fn(&[Place], &mut Vec<Node>, usize, &Balancer)) {
    let (places, mut nodes) = start_three();
    let Some(balancer) = Balancer::before(Mode::Http, &nodes) else { return };
    let begun = AtomicBool::new(false);
    let cursor = balancer.client().get("/sub/news?after=now&timeout=0").cursor();
    let mut next = 0;
    let told: Vec<Vec<String>> = std::thread::scope(|scope| {
        let read = || read_all(&balancer, cursor.clone(), &begun);
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
        publish_some(&nodes.iter().collect::<Vec<_>>(), &mut next);
        wait_for("a reader to have begun", || begun.load(Ordering::Relaxed).then_some(()));
        for index in 0..2 {
            // Meanwhile only the others are published at: who published at a dead node would be told.
            change(&places, &mut nodes, index, &balancer);
            publish_some(&nodes.iter().collect::<Vec<_>>(), &mut next);
        }
        // The end is another node's than the last message: it may overtake it where that has not come.
        for node in &nodes {
            wait_for("every node to have all", || {
                (node.figure("cached_messages") == next as u64).then_some(())
            });
        }
        wait_held(&nodes, READERS as u64);
        nodes[0].publish("news", END);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    for mut seen in told {
        assert_eq!(seen.pop().as_deref(), Some(END));
        let mut numbers: Vec<usize> = seen.iter().map(|text| text.parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..next).collect::<Vec<_>>());
    }
}

#[test]
fn readers_miss_nothing_while_nodes_are_killed_and_come_back() {
    nothing_is_lost_while(|places, nodes, index, balancer| {
        kill(nodes.remove(index));
        nodes.insert(index, places[index].start(places));
        balancer.wait_status(&format!("n{}", index + 1), "UP");
    });
}

#[test]
fn readers_miss_nothing_in_a_rolling_restart() {
    nothing_is_lost_while(|places, nodes, index, balancer| {
        stop(nodes.remove(index));
        nodes.insert(index, places[index].start(places));
        balancer.wait_status(&format!("n{}", index + 1), "UP");
    });
}

#[test]
fn what_is_published_at_one_node_reaches_the_polls_of_all() {
    let (_, nodes) = start_three();
    let Some(balancer) = Balancer::before(Mode::Tcp, &nodes) else { return };
    for node in &nodes {
        let mut polls = balancer.hold("/sub/news?after=now", 9, &nodes);
        node.publish("news", "to all");
        for poll in &mut polls {
            assert_eq!(poll.read().data(), ["to all"]);
        }
        assert_eq!(held(&nodes), 0);
    }
}

#[test]
fn a_poll_that_its_node_took_to_the_grave_is_told_what_it_missed() {
    let (_, mut nodes) = start_three();
    let Some(balancer) = Balancer::before(Mode::Http, &nodes) else { return };
    let first = nodes[0].publish("news", "before");
    assert!(first["id"].is_string());
    let cursor = wait_for("the message everywhere", || {
        let answers: Vec<_> = nodes.iter().map(|node| node.read("news")).collect();
        let everywhere = answers.iter().all(|answer| answer["messages"][0]["data"] == "before");
        everywhere.then(|| answers[0]["cursor"].as_str().unwrap().to_string())
    });
    let mut polls = balancer.hold(&format!("/sub/news?after={cursor}"), 30, &nodes);
    kill(nodes.remove(0));
    nodes[0].publish("news", "after");
    for poll in &mut polls {
        let answer = poll.read();
        assert_eq!(answer.data(), ["after"]);
        assert!(answer.json().get("gap").is_none() && answer.json().get("reset").is_none());
    }
}
