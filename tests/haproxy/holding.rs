//! A held poll is held: no time-out cuts it, and a client that leaves is not held for.

use std::time::{Duration, Instant};

use crate::balancer::{Balancer, Mode, held};
use crate::node::Node;
use crate::wait_within;

/// Longer than every time-out of the files that could be taken for one of polls; the long ones are compared
/// in `files`.
const POLL_S: u64 = 6;

#[test]
fn a_poll_is_not_cut_by_the_time_outs_of_requests() {
    let nodes = [Node::start(&[])];
    let (Some(tcp), Some(http)) = (Balancer::before(Mode::Tcp, &nodes), Balancer::before(Mode::Http, &nodes))
    else {
        return;
    };
    let began = Instant::now();
    let target = format!("/sub/news?timeout={POLL_S}");
    for mut poll in [tcp.hold(&target, 1, &nodes), http.hold(&target, 1, &nodes)].into_iter().flatten() {
        let answer = poll.read();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(began.elapsed() >= Duration::from_secs(POLL_S));
        // The connection goes on, after the poll and after a pause.
        poll.send_get("/sub/news?timeout=0");
        assert_eq!(poll.read().status, 200);
    }
}

#[test]
fn a_client_that_leaves_frees_its_poll_on_the_node_within_a_second() {
    for mode in [Mode::Tcp, Mode::Http] {
        let nodes = [Node::start(&[])];
        let Some(balancer) = Balancer::before(mode, &nodes) else { return };
        let mut polls = balancer.hold("/sub/news", 10, &nodes);
        // In order, as browsers do: all but the last.
        let last = polls.pop();
        drop(polls);
        let what = format!("{mode:?} mode to let go");
        wait_within(Duration::from_secs(1), &what, || (held(&nodes) == 1).then_some(()));
        drop(last);
        wait_within(Duration::from_secs(1), &what, || (held(&nodes) == 0).then_some(()));
    }
}
