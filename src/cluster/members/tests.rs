//! Whole clusters in virtual time.

mod garbage;
mod network;

use self::network::{Network, address, name, setup};
use super::{MemberState, Members, Rejection};
use crate::ids::Origin;
use crate::limits::MEMBER_KEPT_MS;

const SECOND: u64 = 1_000;

fn together(count: usize, seed: u64) -> Network {
    let mut network = Network::new(count, seed);
    let all: Vec<usize> = (0..count).collect();
    network.run_until(10 * SECOND, |network| network.know_each_other(&all));
    network
}

fn state(network: &Network, index: usize, other: usize) -> Option<MemberState> {
    network.view(index, other).map(|member| member.state)
}

#[test]
fn nodes_meet_from_one_seed_address() {
    for count in 2..=8 {
        for seed in 0..5 {
            let mut network = Network::new(count, seed);
            let all: Vec<usize> = (0..count).collect();
            let took = network.run_until(3 * SECOND, |network| network.know_each_other(&all));
            assert!(took < 2 * SECOND, "{count} nodes, seed {seed}: {took} ms");
        }
    }
}

#[test]
fn nodes_meet_although_their_seed_starts_last() {
    let mut network = Network::new(0, 1);
    for index in [1, 2, 0] {
        network.add(setup(index, &[0], 1));
        network.run_for(20 * SECOND);
    }
    assert!(network.know_each_other(&[0, 1, 2]), "{}", network.views());
}

#[test]
fn nodes_meet_and_stay_together_although_a_fifth_of_the_datagrams_is_lost() {
    for seed in 0..5 {
        let mut network = Network::new(5, seed);
        network.lost = 20;
        network.delay_ms_max = 100;
        network.run_until(20 * SECOND, |network| network.know_each_other(&[0, 1, 2, 3, 4]));
        let mut down = 0;
        for _ in 0..300 {
            network.run_for(SECOND);
            let pairs = (0..5).flat_map(|one| (0..5).map(move |other| (one, other)));
            down +=
                pairs.filter(|(one, other)| state(&network, *one, *other) == Some(MemberState::Down)).count();
        }
        assert!(down < 30, "seed {seed}: of 6,000 looks {down} saw a living node down");
    }
}

#[test]
fn a_dead_node_is_suspect_then_down_everywhere_and_comes_back() {
    for seed in 0..5 {
        let mut network = together(4, seed);
        network.kill(2);
        let suspect = network.run_until(8 * SECOND, |network| {
            [0, 1, 3].iter().any(|one| state(network, *one, 2) == Some(MemberState::Suspect))
        });
        assert!(network.nodes[0].members.as_ref().unwrap().iter().count() == 3);
        let down = network.run_until(10 * SECOND, |network| {
            [0, 1, 3].iter().all(|one| state(network, *one, 2) == Some(MemberState::Down))
        });
        assert!(down > 2 * SECOND && suspect + down < 8 * SECOND, "after {suspect} and {down} ms");
        network.run_for(60 * SECOND);
        network.restart(2);
        let back = network.run_until(SECOND, |network| network.know_each_other(&[0, 1, 2, 3]));
        assert!(back < SECOND, "back after {back} ms");
    }
}

#[test]
fn a_node_that_is_down_is_shown_for_ten_minutes() {
    let mut network = together(3, 1);
    network.kill(2);
    network.run_until(10 * SECOND, |network| state(network, 0, 2) == Some(MemberState::Down));
    network.run_for(MEMBER_KEPT_MS - 5 * SECOND);
    assert_eq!(state(&network, 0, 2), Some(MemberState::Down));
    network.run_for(10 * SECOND);
    assert_eq!((state(&network, 0, 2), state(&network, 1, 2)), (None, None));
    network.restart(2);
    network.run_until(SECOND, |network| network.know_each_other(&[0, 1, 2]));
}

#[test]
fn a_node_that_leaves_is_gone_at_once_and_may_return() {
    let mut network = together(8, 1);
    network.lost = 20;
    network.leave(3);
    let all_but_it = [0, 1, 2, 4, 5, 6, 7];
    let gone = |network: &Network| all_but_it.iter().all(|one| network.view(*one, 3).is_none());
    let took = network.run_until(3 * SECOND, gone);
    assert!(took < 2 * SECOND, "{took} ms");
    for _ in 0..120 {
        network.run_for(SECOND);
        assert!(gone(&network), "{}", network.views());
    }
    network.lost = 0;
    network.restart(3);
    network.run_until(3 * SECOND, |network| network.know_each_other(&[0, 1, 2, 3, 4, 5, 6, 7]));
}

#[test]
fn a_node_that_left_neither_speaks_nor_listens() {
    let mut network = together(3, 1);
    let now = crate::time::Tick(network.now);
    let datagram = network.trace.iter().rev().find(|sent| sent.2 == address(1)).unwrap().3.clone();
    let members = network.members(1);
    members.leave(now);
    while members.poll_datagram().is_some() {}
    members.leave(now);
    members.meet(address(0), now);
    members.handle_datagram(address(0), &datagram, now);
    members.handle_time(now.plus_ms(60 * SECOND));
    assert_eq!((members.poll_datagram(), members.next_deadline()), (None, None));
}

#[test]
fn a_restart_takes_the_place_of_the_former_life_at_once() {
    for seed in 0..5 {
        let mut network = together(5, seed);
        network.restart(3);
        let took = network.run_until(SECOND, |network| network.know_each_other(&[0, 1, 2, 3, 4]));
        assert!(took < SECOND, "{took} ms");
        network.run_for(30 * SECOND);
        assert!(network.know_each_other(&[0, 1, 2, 3, 4]), "{}", network.views());
    }
}

#[test]
fn a_restart_at_another_address_takes_the_place_of_the_former_life() {
    let mut network = together(5, 1);
    network.nodes[3].setup.address = address(77);
    network.restart(3);
    network.run_until(SECOND, |network| network.know_each_other(&[0, 1, 2, 3, 4]));
    assert_eq!(network.view(1, 3).unwrap().address, address(77));
}

#[test]
fn a_restart_is_let_in_although_the_wall_clock_was_set_back() {
    for (seed, leaves) in (0..6).map(|seed| (seed, seed % 2 == 0)) {
        let mut network = together(4, seed);
        network.wall_skew = -3_600_000;
        if leaves {
            network.leave(3);
        }
        network.run_for(seed * 3 * SECOND);
        network.restart(3);
        network.run_until(3 * SECOND, |network| network.know_each_other(&[0, 1, 2, 3]));
        network.run_for(30 * SECOND);
        assert!(network.know_each_other(&[0, 1, 2, 3]), "{}", network.views());
    }
}

#[test]
fn of_two_nodes_with_one_name_the_later_belongs_and_the_other_is_no_burden() {
    let mut network = together(3, 1);
    let mut twin = setup(9, &[0], 1);
    twin.node = name(2).parse().unwrap();
    network.add(twin);
    network.run_for(10 * SECOND);
    let before: u64 = network.nodes.iter().map(|node| node.sent).sum();
    network.run_for(60 * SECOND);
    let sent = network.nodes.iter().map(|node| node.sent).sum::<u64>() - before;
    assert!(sent < 60 * 4 * 20, "{sent} datagrams in a minute");
    for index in [0, 1] {
        assert_eq!(network.view(index, 2).unwrap().origin, Origin(1_009));
    }
    network.kill(3);
    network.run_until(30 * SECOND, |network| network.view(0, 2).unwrap().origin == Origin(1_002));
}

#[test]
fn a_paused_node_comes_back_by_itself_with_the_same_origin() {
    for (seed, count) in [(1, 2), (2, 3), (3, 5), (4, 5)] {
        let mut network = together(count, seed);
        let all: Vec<usize> = (0..count).collect();
        network.nodes[1].paused = true;
        network.run_for(30 * SECOND);
        assert_eq!(state(&network, 0, 1), Some(MemberState::Down));
        network.resume(1);
        let woken = network.now;
        let took = network.run_until(10 * SECOND, |network| network.know_each_other(&all));
        assert!(took < 6 * SECOND, "{count} nodes, seed {seed}: {took} ms since {woken}");
        for index in &all[1..] {
            assert_ne!(state(&network, 0, *index), Some(MemberState::Down));
        }
        network.run_for(30 * SECOND);
        assert!(network.know_each_other(&all), "{}", network.views());
    }
}

#[test]
fn a_node_that_stood_still_does_not_call_the_others_down() {
    let mut network = together(5, 4);
    network.nodes[1].paused = true;
    network.run_for(30 * SECOND);
    network.resume(1);
    for _ in 0..1_000 {
        network.run_for(10);
        for other in [0, 2, 3, 4] {
            assert_ne!(state(&network, 1, other), Some(MemberState::Down), "{}", network.views());
        }
    }
}

/// Of one that it suspected before, it first reads that the suspicion was refuted meanwhile.
#[test]
fn a_node_that_stood_still_does_not_end_its_suspicions_before_it_has_read() {
    for seed in 0..10 {
        let mut network = together(3, seed);
        network.nodes[2].paused = true;
        network.run_until(8 * SECOND, |network| state(network, 1, 2) == Some(MemberState::Suspect));
        network.nodes[1].paused = true;
        network.resume(2);
        network.run_for(30 * SECOND);
        let now = crate::time::Tick(network.now);
        network.members(1).handle_time(now);
        assert_eq!(state(&network, 1, 2), Some(MemberState::Suspect), "seed {seed}");
        network.resume(1);
        network.run_for(10 * SECOND);
        assert!(network.know_each_other(&[0, 1, 2]), "seed {seed}:\n{}", network.views());
    }
}

#[test]
fn a_short_pause_is_refuted() {
    for seed in 0..10 {
        let mut network = together(4, seed);
        network.nodes[1].paused = true;
        network.run_until(4 * SECOND, |network| {
            [0, 2, 3].iter().any(|one| state(network, *one, 1) == Some(MemberState::Suspect))
        });
        network.run_for(SECOND);
        network.resume(1);
        for _ in 0..100 {
            network.run_for(100);
            assert!(
                [0, 2, 3].iter().all(|one| state(&network, *one, 1) != Some(MemberState::Down)),
                "seed {seed}:\n{}",
                network.views()
            );
        }
        assert!(network.know_each_other(&[0, 1, 2, 3]), "{}", network.views());
    }
}

#[test]
fn a_partition_heals() {
    for (seed, length) in [(1, 20), (2, 60), (3, 3_600)] {
        for groups in [&[0, 0, 0, 1, 1][..], &[0, 1], &[0, 1, 2], &[1, 0, 0, 0]] {
            let mut network = together(groups.len(), seed);
            let all: Vec<usize> = (0..groups.len()).collect();
            network.partition(groups);
            network.run_for(length * SECOND);
            assert_ne!(state(&network, 0, groups.len() - 1), Some(MemberState::Alive));
            network.partition(&vec![0; groups.len()]);
            let took = network.run_until(30 * SECOND, |network| network.know_each_other(&all));
            assert!(took < 15 * SECOND, "{groups:?} after {length} s took {took} ms");
        }
    }
}

#[test]
fn who_holds_another_key_or_belongs_to_another_cluster_never_joins() {
    let mut network = together(3, 1);
    let mut other_key = setup(3, &[0], 1);
    other_key.key = b"another key".to_vec();
    let mut other_cluster = setup(4, &[0], 1);
    other_cluster.cluster_name = "other".into();
    network.add(other_key);
    network.add(other_cluster);
    network.run_for(60 * SECOND);
    let members = network.members(0);
    assert_eq!(members.iter().count(), 2);
    assert!(members.rejected() > 30, "{}", members.rejected());
    assert!(matches!(members.last_rejected(), Some((from, Rejection::Unsealed)) if from.port() == 7_000));
    for stranger in [3, 4] {
        assert_eq!(network.members(stranger).iter().count(), 0);
    }
}

#[test]
fn a_node_that_is_met_over_a_link_needs_no_seed() {
    let mut network = Network::new(0, 1);
    network.add(setup(0, &[], 1));
    network.add(setup(1, &[], 1));
    network.run_for(10 * SECOND);
    assert!(!network.know_each_other(&[0, 1]));
    let now = crate::time::Tick(network.now);
    network.members(0).meet(address(1), now);
    network.run_until(3 * SECOND, |network| network.know_each_other(&[0, 1]));
}

#[test]
fn a_node_among_its_own_seeds_is_not_met() {
    let mut network = Network::new(0, 1);
    network.add(setup(0, &[0, 1], 1));
    network.add(setup(1, &[0, 1], 1));
    network.run_until(3 * SECOND, |network| network.know_each_other(&[0, 1]));
    assert!(network.trace.iter().all(|(_, from, to, _)| from != to));
    assert_eq!(network.members(0).rejected() + network.members(1).rejected(), 0);
}

#[test]
fn a_seed_replays_exactly() {
    let run = |seed| {
        let mut network = Network::new(6, seed);
        network.lost = 10;
        network.run_for(10 * SECOND);
        network.kill(2);
        network.run_for(10 * SECOND);
        network.restart(2);
        network.partition(&[0, 0, 0, 1, 1, 1]);
        network.run_for(20 * SECOND);
        network.partition(&[0; 6]);
        network.run_for(20 * SECOND);
        (network.views(), network.trace)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).1, run(8).1);
}

#[test]
fn sixty_four_nodes_find_one_another_with_few_datagrams() {
    let mut network = Network::new(64, 1);
    let all: Vec<usize> = (0..64).collect();
    let took = network.run_until(30 * SECOND, |network| network.know_each_other(&all));
    let sent: u64 = network.nodes.iter().map(|node| node.sent).sum();
    println!("64 nodes: {took} ms, {sent} datagrams");
    assert!(took < 15 * SECOND, "{took} ms");
    assert!(sent / 64 < 20 * (took / SECOND + 5), "{sent} datagrams in {took} ms");
    network.run_for(30 * SECOND);
    let before: u64 = network.nodes.iter().map(|node| node.sent).sum();
    network.run_for(60 * SECOND);
    let sent = network.nodes.iter().map(|node| node.sent).sum::<u64>() - before;
    println!("idle: {} datagrams per node and second", sent as f64 / 64.0 / 60.0);
    assert!(sent < 64 * 60 * 4, "{sent} datagrams in a minute");
    assert!(network.know_each_other(&all));
}

#[test]
fn all_nodes_agree_on_every_rank() {
    let mut network = together(5, 1);
    for channel in 0..100 {
        let channel = format!("channel-{channel}");
        let mut ranks: Vec<usize> = (0..5).map(|index| network.members(index).rank(&channel)).collect();
        ranks.sort_unstable();
        assert_eq!(ranks, [0, 1, 2, 3, 4], "{channel}");
    }
    network.kill(4);
    network.run_for(15 * SECOND);
    let members: &Members = network.members(0);
    assert!((0..100).all(|channel| members.rank(&format!("channel-{channel}")) < 4));
}
