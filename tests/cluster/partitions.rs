//! Networks that are cut, in one direction or in both, and heal.

use std::time::Duration;

use crate::fleet::Fleet;
use crate::relay::Way;
use crate::traffic::{Load, nothing_is_lost_while};

/// Longer than a silent link is kept (5 s).
const LONG: Duration = Duration::from_secs(7);
/// Shorter than that.
const SHORT: Duration = Duration::from_secs(2);

#[test]
fn nothing_is_lost_while_a_node_is_cut_off_from_all_others() {
    let (fleet, relay) = Fleet::start_relayed(3);
    nothing_is_lost_while(&fleet, Load::default(), |_| {
        relay.set_around(2, Way::Gone);
        std::thread::sleep(LONG);
        relay.heal();
    });
}

#[test]
fn nothing_is_lost_while_a_node_hears_another_that_does_not_hear_it() {
    let (fleet, relay) = Fleet::start_relayed(3);
    nothing_is_lost_while(&fleet, Load::default(), |_| {
        for pause in [SHORT, LONG] {
            relay.set(0, 1, Way::Gone);
            std::thread::sleep(pause);
            relay.heal();
        }
    });
}

#[test]
fn nothing_is_lost_while_links_are_slow_and_cut_again_and_again() {
    let (fleet, relay) = Fleet::start_relayed(3);
    nothing_is_lost_while(&fleet, Load::default(), |_| {
        for from in fleet.all() {
            relay.set(from, (from + 1) % 3, Way::Slow(Duration::from_millis(40)));
        }
        for node in [0, 1, 2, 0] {
            std::thread::sleep(Duration::from_millis(500));
            relay.set(node, (node + 1) % 3, Way::Cut);
            std::thread::sleep(Duration::from_millis(300));
            relay.set(node, (node + 1) % 3, Way::Slow(Duration::from_millis(20)));
        }
        relay.heal();
    });
}
