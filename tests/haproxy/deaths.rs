//! Nodes that die without a word.

use std::time::Duration;

use rustix::process::Signal;

use crate::balancer::{Balancer, Mode, held, wait_held};
use crate::http::Client;
use crate::node::{Launch, Node, fixed_addresses};
use crate::wait_for;

const POLLS: u64 = 30;

/// Ends a node as a power failure would, as far as one machine can.
pub fn kill(mut node: Node) {
    node.running.signal(Signal::KILL);
    node.running.end_within(Duration::from_secs(10));
}

#[test]
fn a_node_that_is_killed_under_held_polls_is_not_seen_by_any_client() {
    let mut nodes: Vec<Node> = (0..3).map(|_| Node::start(&[])).collect();
    let Some(balancer) = Balancer::before(Mode::Http, &nodes) else { return };
    let mut polls = balancer.hold("/sub/news?after=now", POLLS as usize, &nodes);
    for left in [2, 1] {
        let victim = nodes.remove(0);
        assert!(victim.figure("held_polls") > 0);
        kill(victim);
        // Replayed there, with nothing said to the clients.
        wait_held(&nodes, POLLS);
        assert_eq!(nodes.len(), left);
        polls.iter_mut().for_each(|poll| poll.assert_quiet());
    }
    assert_eq!(nodes[0].publish("news", "still here")["subscribers"], POLLS);
    for poll in &mut polls {
        let answer = poll.read();
        assert!(!answer.closes());
        assert_eq!(answer.data(), ["still here"]);
        // On the same connection, as if nothing had been.
        poll.send_get("/sub/news?timeout=0");
        assert_eq!(poll.read().data(), ["still here"]);
    }
}

#[test]
fn a_node_that_was_killed_gets_no_poll_until_it_is_back() {
    let (public, publisher) = fixed_addresses();
    let launch = || Launch::default().at(public, publisher).start();
    let stays = [Node::start(&[])];
    let victim = launch();
    let Some(balancer) = Balancer::start(Mode::Http, &[victim.public, stays[0].public], None) else { return };
    kill(victim);
    // Before HAProxy has found out, and after.
    let first = balancer.hold("/sub/news", 5, &stays);
    balancer.wait_status("n1", "DOWN");
    let second = balancer.hold("/sub/news", 5, &stays);
    let back = [launch()];
    balancer.wait_status("n1", "UP");
    // The one that holds fewer is asked first.
    let third = balancer.hold("/sub/news", 1, &back);
    assert_eq!(held(&stays), (first.len() + second.len()) as u64);
    drop(third);
}

#[test]
fn in_tcp_mode_a_client_of_a_killed_node_comes_back_to_another() {
    let mut nodes: Vec<Node> = (0..2).map(|_| Node::start(&[])).collect();
    let Some(balancer) = Balancer::before(Mode::Tcp, &nodes) else { return };
    let mut polls = balancer.hold("/sub/news", 10, &nodes);
    kill(nodes.remove(0));
    // HAProxy does not know what was asked: those who waited there see the end of their connection.
    wait_for("five to be lost", || (count_lost(&polls) == 5).then_some(()));
    let mut lost: Vec<Client> = polls.extract_if(.., |poll| !poll.is_quiet()).collect();
    for poll in &mut lost {
        assert_eq!(poll.read_until_cut(), 0);
    }
    let _again = balancer.hold("/sub/news", lost.len(), &nodes);
    assert_eq!(held(&nodes), 10);
}

fn count_lost(polls: &[Client]) -> usize {
    polls.iter().filter(|poll| !poll.is_quiet()).count()
}
