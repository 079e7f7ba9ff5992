//! Nodes that end in good order while polls are held: a rolling restart.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::balancer::{Balancer, Mode, held, wait_held};
use crate::http::Client;
use crate::node::{Launch, Node, fixed_addresses};
use crate::wait_for;

/// Clients that poll all the time.
const CLIENTS: u64 = 12;
/// Longer than a whole test takes.
const POLL_S: u64 = 60;

/// Ends a node in good order.
pub fn stop(mut node: Node) {
    node.running.signal(Signal::TERM);
    let output = node.running.end_within(Duration::from_secs(20));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_draining_node_answers_what_it_holds_and_gets_nothing_new() {
    for mode in [Mode::Tcp, Mode::Http] {
        let (staying, leaving) = ([Node::start(&[])], [Node::start(&["--drain-time", "10"])]);
        let addresses = [staying[0].public, leaving[0].public];
        let Some(balancer) = Balancer::start(mode, &addresses, None) else { return };
        let mut polls: Vec<Client> = (0..20).map(|_| balancer.client()).collect();
        polls.iter_mut().for_each(|poll| poll.send_get("/sub/news?after=now"));
        wait_for("all to be held", || (held(&staying) + held(&leaving) == 20).then_some(()));
        assert!(held(&leaving) > 5);

        leaving[0].running.signal(Signal::TERM);
        balancer.wait_status("n2", "NOLB");
        let new = balancer.hold("/sub/news?after=now", 10, &staying);

        // What is published there still reaches those who are held there.
        let told = leaving[0].publish("news", "last words")["subscribers"].as_u64().unwrap();
        assert!(told > 0, "{mode:?}");
        staying[0].publish("news", "to those who stay");
        let mut counts = [0, 0, 0];
        for mut poll in polls.into_iter().chain(new) {
            let answer = poll.read();
            match answer.data().first().and_then(|data| data.as_str()) {
                None => counts[0] += 1,
                Some("last words") => counts[1] += 1,
                Some(_) => counts[2] += 1,
            }
        }
        assert_eq!(counts[1], told, "{mode:?}");
        assert!(counts[2] >= 20, "{mode:?}: {counts:?}");
        assert_eq!(counts.iter().sum::<u64>(), 30, "{mode:?}: {counts:?}");
    }
}

/// A client as a page has one: polls until it is told that this was the end; returns how often.
fn poll_until_end(balancer: &Balancer, answered: &AtomicU64) {
    let mut client = balancer.client().patient(Duration::from_secs(POLL_S + 10));
    loop {
        let answer = client.get(&format!("/sub/news?after=now&timeout={POLL_S}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answered.fetch_add(1, Ordering::Relaxed);
        if answer.data() == ["end"] {
            return;
        }
        assert!(answer.data().is_empty());
        if answer.closes() {
            client = balancer.client().patient(Duration::from_secs(POLL_S + 10));
        }
    }
}

#[test]
fn a_rolling_restart_is_not_seen_by_any_client() {
    let addresses: Vec<(SocketAddr, SocketAddr)> = (0..2).map(|_| fixed_addresses()).collect();
    let launch = |at: (SocketAddr, SocketAddr)| Launch::new(&["--drain-time", "2"]).at(at.0, at.1).start();
    let mut nodes: Vec<Node> = addresses.iter().map(|at| launch(*at)).collect();
    for mode in [Mode::Tcp, Mode::Http] {
        let Some(balancer) = Balancer::before(mode, &nodes) else { return };
        let answered = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| poll_until_end(&balancer, &answered));
            }
            wait_held(&nodes, CLIENTS);
            for (index, at) in addresses.iter().enumerate() {
                let held_there = nodes[index].figure("held_polls");
                let before = answered.load(Ordering::Relaxed);
                assert!(held_there > 0, "{mode:?}: a restart of n{} proves nothing", index + 1);
                stop(nodes.remove(index));
                // What it held was answered, and came back at the other one.
                wait_held(&nodes, CLIENTS);
                assert!(answered.load(Ordering::Relaxed) >= before + held_there);
                nodes.insert(index, launch(*at));
                balancer.wait_status(&format!("n{}", index + 1), "UP");
            }
            for node in &nodes {
                node.publish("news", "end");
            }
        });
        assert_eq!(held(&nodes), 0);
    }
}
