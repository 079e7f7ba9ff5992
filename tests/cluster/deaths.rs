//! Nodes that die without a word or end in good order, and come back.

use crate::fleet::Fleet;
use crate::random::Random;
use crate::traffic::{Load, nothing_is_lost_while};

/// Nodes that are killed, one after another.
const ROUNDS: usize = 5;

#[test]
fn nothing_is_lost_while_nodes_are_killed_at_random_and_come_back() {
    let fleet = Fleet::start(3);
    let tally = nothing_is_lost_while(&fleet, Load::default(), |go_on| {
        let (mut random, mut node) = (Random::new(), 0);
        for _ in 0..ROUNDS {
            node = random.other_than(node, 3);
            fleet.kill(node);
            // Not always long enough for the others to notice.
            go_on(random.below(100) as u64);
            fleet.launch(node);
            fleet.wait_ready(node);
        }
    });
    assert!(tally.failed_polls > 0, "nobody saw that anything happened: {tally:?}");
}

#[test]
fn nothing_is_lost_in_a_rolling_restart() {
    let fleet = Fleet::start(3);
    let tally = nothing_is_lost_while(&fleet, Load::default(), |go_on| {
        for node in fleet.all() {
            fleet.stop(node);
            go_on(30);
            fleet.launch(node);
            fleet.wait_ready(node);
        }
    });
    assert_eq!(tally.twice, 0, "{tally:?}");
}

#[test]
fn nothing_is_lost_when_a_minority_dies_at_once() {
    let fleet = Fleet::start(5);
    nothing_is_lost_while(&fleet, Load::default(), |go_on| {
        for node in [1, 3] {
            fleet.kill(node);
        }
        go_on(200);
        for node in [3, 1] {
            fleet.launch(node);
        }
        for node in [1, 3] {
            fleet.wait_ready(node);
        }
    });
}
