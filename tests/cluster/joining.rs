//! Nodes that come with nothing: they serve once they hold what the others have.

use std::time::Duration;

use rustix::process::Signal;

use crate::ask::{ask, publication};
use crate::fleet::Fleet;
use crate::wait_for;

/// What is there before the node comes.
const MESSAGES: usize = 1_500;

fn publish_many(fleet: &Fleet) {
    for number in 0..MESSAGES {
        let text = format!("{number}-{}", "x".repeat(400));
        let request = publication("/pub/a", &format!("key-{number}"), &text);
        let reply = ask(fleet.places[number % 2].publisher, &request, Duration::from_secs(5)).unwrap();
        assert_eq!(reply.status, 201, "{reply:?}");
    }
}

#[test]
fn a_node_that_comes_back_serves_once_it_has_what_the_others_have() {
    let fleet = Fleet::start(3);
    publish_many(&fleet);
    fleet.wait_linked();
    fleet.kill(2);
    // It cannot have caught up while nobody talks to it.
    [0, 1].into_iter().for_each(|node| fleet.signal(node, Signal::STOP));
    fleet.launch(2);
    for path in ["/readyz", "/healthz"] {
        let reply = fleet.ask_public(2, path).unwrap();
        assert_eq!(reply.status, 503, "{path}: {reply:?}");
    }
    // Neither is anybody told that there is nothing.
    assert_eq!(fleet.ask_public(2, "/sub/a?timeout=0").unwrap().status, 503);
    assert_eq!(fleet.ask_public(2, "/livez").unwrap().status, 200);
    [0, 1].into_iter().for_each(|node| fleet.signal(node, Signal::CONT));
    fleet.wait_ready(2);
    // At once, and to one who does not know the past.
    assert_eq!(fleet.contents(2, "a").len(), MESSAGES);
    assert_eq!(fleet.contents(2, "a"), fleet.contents(0, "a"));
    assert_eq!(fleet.ask_public(2, "/healthz").unwrap().status, 200);
}

#[test]
fn whenever_a_node_that_comes_back_says_that_it_is_ready_it_has_everything() {
    let fleet = Fleet::start(3);
    publish_many(&fleet);
    fleet.wait_linked();
    for node in [2, 0, 1] {
        fleet.kill(node);
        fleet.launch(node);
        wait_for("the node to be ready", || fleet.is_ready(node).then_some(()));
        assert_eq!(fleet.contents(node, "a").len(), MESSAGES, "n{}", node + 1);
    }
}
