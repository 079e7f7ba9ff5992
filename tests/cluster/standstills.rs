//! Nodes that stand still, as on a machine that is suspended, and go on as if nothing had been.

use std::time::Duration;

use rustix::process::Signal;

use crate::fleet::Fleet;
use crate::traffic::{Load, nothing_is_lost_while};

fn stand_still(pause: Duration) {
    let fleet = Fleet::start(3);
    let tally = nothing_is_lost_while(&fleet, Load::default(), |_| {
        fleet.signal(1, Signal::STOP);
        std::thread::sleep(pause);
        fleet.signal(1, Signal::CONT);
    });
    assert!(tally.failed_polls > 0, "nobody saw that anything happened: {tally:?}");
}

#[test]
fn nothing_is_lost_while_a_node_stands_still_until_its_links_are_cut() {
    stand_still(Duration::from_secs(7));
}

#[test]
#[ignore = "takes three quarters of a minute"]
fn nothing_is_lost_while_a_node_stands_still_for_half_a_minute() {
    stand_still(Duration::from_secs(30));
}
